"""What rollouts earn, and the file that keeps it, without any training."""

from dataclasses import dataclass, field, replace

import pytest

from planish.judges.templates import named
from planish.methods.s2j.data import Item, Items, task_items
from planish.methods.s2j.learning.earnings import earnings
from planish.methods.s2j.learning.lesson import Lesson, prompt_gold
from planish.methods.s2j.learning.rewarding import (
    ItemRewarder,
    RewardLog,
    RewardRow,
    merge_parts,
    read_rewards,
)
from planish.methods.s2j.method import ARMS, Weights
from planish.records import Completion, write_jsonl
from planish.tasks.chain import ChainTask
from planish.training.groups import Rollout, Score, Scored


def lesson(template="chain", **options):
    items = task_items(
        ChainTask(), split="train", limit=6, both_wrong=options.pop("both_wrong", 0), seed=0
    )
    return Lesson(items, named(template), count_tokens=lambda text: len(text.split()), **options)


def written(template, solution, label):
    if template == "chain":
        return f"{solution} V [[{label}]]"
    return (
        f"<solution> {solution} </solution> <eval> one is wrong </eval> "
        f"<answer>[[{label}]]</answer>"
    )


def rollout(group, prompt, text, finish="stop"):
    return Rollout(group, prompt, Completion(text=text, finish=finish, token_ids=(1, 2, 3)))


@pytest.mark.parametrize("template", ["chain", "solve_first"])
@pytest.mark.parametrize("arm", ARMS)
def test_a_question_alone_earns_its_solution_in_every_arm(template, arm):
    taught = lesson(template)
    taught = replace(taught, alone=taught.items.items[:2])
    group = taught.groups[len(taught.items)]
    item = taught.asked(len(taught.items))
    assert (group.id, len(set(group.prompts))) == (item.id, 1)
    assert "[[A]]" not in group.prompts[0][-1].content
    right, wrong = ChainTask().gold(item.example), ChainTask().wrong(item.example)
    if template == "solve_first":
        right, wrong = (f"<solution> {text} </solution>" for text in (right, wrong))
    scores = ItemRewarder(taught, arm, Weights())(
        [
            rollout(len(taught.items), 0, right),
            rollout(len(taught.items), 1, wrong),
            rollout(len(taught.items), 1, right, "length"),
        ]
    )
    assert [(score.total, score.readable) for score in scores] == [
        (1.0, True),
        (0.0, True),
        (-0.5, False),
    ]
    assert [score.parts["alone"] for score in scores] == [1.0, 0.0, None]
    judged = rollout(0, 0, written(template, right, "A"))
    [score] = ItemRewarder(taught, arm, Weights())([judged])
    assert score.parts.keys() == scores[0].parts.keys()  # all processes log the same names


@pytest.mark.parametrize("template", ["chain", "solve_first"])
@pytest.mark.parametrize("order", [0, 1])
def test_the_right_verdict_is_that_of_the_prompt(template, order):
    taught = lesson(template)
    rewarder = ItemRewarder(taught, "additive", Weights(judge=2, solve=3, penalty=0.25))
    for group, item in enumerate(taught.items.items):
        gold = prompt_gold(item, ((0, 1), (1, 0))[order])
        right, wrong = ChainTask().gold(item.example), ChainTask().wrong(item.example)
        shown = taught.prompts(item)[order][-1].content
        assert (shown.index(right) < shown.index(wrong)) == (gold == "A")
        other = "B" if gold == "A" else "A"
        scores = rewarder(
            [
                rollout(group, order, written(template, right, gold)),
                rollout(group, order, written(template, right, other)),
                rollout(group, order, written(template, wrong, gold)),
                rollout(group, order, written(template, wrong, other)),
                rollout(group, order, written(template, right, gold), "length"),
                rollout(group, order, f"{written(template, right, gold)} [[{gold}]]"),
            ]
        )
        assert [score.total for score in scores] == [5, 3, 2, 0, -0.25, -0.25]
        assert [score.readable for score in scores] == [True] * 4 + [False] * 2
        assert scores[1].parts == {"form": 1.0, "judge": 0.0, "solve": 1.0}
        assert scores[4].parts == {"form": 0.0, "judge": None, "solve": None}


def test_where_both_are_wrong_only_the_solution_counts():
    taught = lesson(both_wrong=6)
    rewarder = ItemRewarder(taught, "additive", Weights())
    group = len(taught.items.items) - 1
    right = ChainTask().gold(taught.items.items[group].example)
    for label in "AB":
        (score,) = rewarder([rollout(group, 0, written("chain", right, label))])
        assert (score.total, score.parts["judge"]) == (1, None)


@pytest.mark.parametrize("template", ["chain", "solve_first"])
def test_credit_goes_to_the_stretch_that_earned_it(template):
    taught = lesson(template)
    rewarder = ItemRewarder(taught, "segment_credit", Weights(judge=2, solve=3))
    item = taught.items.items[0]
    gold, right = prompt_gold(item, (0, 1)), ChainTask().gold(item.example)
    text = written(template, right, gold)
    (score,) = rewarder([rollout(0, 0, text)])
    (end, solve), (last, judge) = score.credit
    assert (solve, judge, last) == (3, 2, len(text))
    assert text[:end].endswith("V" if template == "chain" else "</solution>")
    assert "[[" not in text[:end]
    assert f"[[{gold}]]" in text[end:]
    (broken,) = rewarder([rollout(0, 0, "no form")])
    assert broken.credit == ()
    assert not ItemRewarder(taught, "additive", Weights())([rollout(0, 0, text)])[0].credit


def test_a_short_solution_is_readable_and_has_not_the_form():
    rewarder = ItemRewarder(lesson(), "judge_only", Weights(), min_solution_tokens=3)
    short, long = rewarder(
        [rollout(0, 0, "1 2 V [[A]]"), rollout(0, 0, "1 2 3 V [[A]]")],
    )
    assert (short.readable, short.total, short.parts["form"]) == (True, -0.5, 0.0)
    assert long.parts["form"] == 1.0
    assert long.total in (0.0, 1.0)


@dataclass(frozen=True)
class Fussy(ChainTask):
    """Breaks down on some solutions."""

    broken: list[str] = field(default_factory=list, compare=False)

    def verify(self, example, reply):
        if reply in self.broken:
            raise RuntimeError("too long")
        return super().verify(example, reply)


def test_a_solution_without_an_answer_is_wrong_one_that_broke_the_verifier_is_not():
    task = Fussy()
    items = task_items(task, split="train", limit=1)
    taught = Lesson(items, named("chain"), count_tokens=len)
    task.broken.append("1 1")
    score, other = ItemRewarder(taught, "solve_only", Weights())(
        [rollout(0, 0, "none V [[A]]"), rollout(0, 0, "1 1 V [[A]]")]
    )
    assert (score.total, other.total) == (0.0, None)
    assert items.unknown == {"the verifier failed (RuntimeError: too long)": 1}


def test_an_item_without_an_answer_has_no_solution_to_reward():
    item = task_items(ChainTask(), split="train", limit=1).items[0]
    example = item.example.model_copy(update={"target": None})
    item = Item(case=item.case.model_copy(update={"example": example}), slice="one_right")
    taught = Lesson(Items((item,), "file"), named("chain"), count_tokens=len)
    (score,) = ItemRewarder(taught, "solve_only", Weights())([rollout(0, 0, "1 2 V [[A]]")])
    assert score.total is None
    assert score.readable
    assert not taught.items.unknown


def scored(step, group=0, prompt=0, text="7 2 V [[A]]", total=1.0):
    score = Score(total=total, parts={"form": 1.0, "judge": 1.0, "solve": None})
    return Scored(step, rollout(group, prompt, text), score, advantage=0.5, group_std=0.25)


def test_rows_of_steps_that_come_again_are_dropped(tmp_path):
    taught, path = lesson(), tmp_path / "rewards.jsonl"
    items = taught.items.items
    log = RewardLog(path, taught, "additive", last_step=0)
    for step in (1, 2, 3):
        log.append([scored(step), scored(step, prompt=1, text="häßlich 🙂\n\u2028")])
    log.close()
    with path.open("a") as torn:
        torn.write('{"step": 3, "it')
    log = RewardLog(path, taught, "additive", last_step=2)
    log.append([scored(3, group=1, total=None)])
    log.close()
    rows = list(read_rewards(path))
    assert [(row.step, row.item_id, row.order) for row in rows] == [
        *((step, items[0].id, order) for step in (1, 2) for order in ("AB", "BA")),
        (3, items[1].id, "AB"),
    ]
    assert rows[1].text == "häßlich 🙂\n\u2028"
    assert (rows[-1].r_total, rows[-1].s, rows[-1].num_tokens) == (None, None, 3)
    RewardLog(path, taught, "additive", last_step=0).close()
    assert path.read_text() == ""


def row(step, item="a", r=1.0, **changes):
    values = {"step": step, "item_id": item, "order": "AB", "f": 1.0, "j": 1.0, "s": 0.0}
    values |= {"r_total": r, "arm": "additive", "advantage": 0.0, "group_std": 0.0}
    return RewardRow(**values | {"num_tokens": 5, "text": ""} | changes)


def test_what_several_processes_wrote_becomes_one_file_whatever_happens(tmp_path):
    parts = [[row(1, "a"), row(2, "b")], [row(1, "c"), row(2, "d")]]
    for rank, rows in enumerate(parts):
        write_jsonl(tmp_path / f"rewards-{rank}.jsonl", rows)
    for _ in range(2):
        merged = merge_parts(tmp_path)
        assert [one.item_id for one in read_rewards(merged)] == ["a", "c", "b", "d"]
        assert [path.name for path in tmp_path.iterdir()] == ["rewards.jsonl"]
        write_jsonl(tmp_path / "rewards-1.jsonl", parts[1])  # as if killed before the removal


def test_first_and_last_steps_are_means_with_an_interval_over_items(tmp_path):
    rows = [
        row(step, item, r=float(step), j=None, s=None) for step in range(1, 21) for item in "abcdef"
    ]
    rows[-1] = row(20, "f", r=None, j=None, s=None, f=0.0)
    write_jsonl(tmp_path / "rewards.jsonl", rows)
    earned = earnings(tmp_path / "rewards.jsonl", num_steps=20)
    numbers = earned.numbers()
    assert numbers["reward_first"].value == pytest.approx(5.5)  # steps 1 to 10
    assert numbers["reward_last"].value == pytest.approx((6 * 155 - 20) / 59)  # steps 11 to 20
    assert numbers["reward_first"].n == 6
    assert numbers["judge_last"].value is None
    assert numbers["parse_rate_last"].value == pytest.approx(59 / 60)
    assert (numbers["rollouts"], numbers["without_reward"]) == (120, 1)
    assert numbers["unverified"] == 119
    assert len(earned.shown) == 6
