"""`planish rise label` through the real command line: rows, controls, counts, resume, bad input."""

import hashlib
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from planish.cli import main
from planish.methods.rise.teaching import label as stage
from planish.methods.rise.teaching.config import LabelConfig
from planish.models.scripted import ScriptedModel, find_replies, verdict
from planish.records import Completion, Failure, read_jsonl, write_jsonl
from planish.runs.presets import resolve
from planish.tasks.chain import ChainTask
from planish.training.rows import read_rows

TASK = ChainTask()
TINY = ("--preset", "tiny", "--temperature", "2", "--min-coverage", "0.5")


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return stop.value.code, captured.out, captured.err


def label(capsys, folder, *more, judge="scripted:judge", out="out", limit=60):
    code, printed, err = call(
        capsys,
        *("rise", "label", "--task", "chain"),
        *(() if "--policy" in more else ("--policy", "scripted:policy")),
        *(("--judge", judge) if judge else ()),
        *("--out", folder / out, "--runs", folder / "runs", "--limit", limit, "--json", *more),
    )
    return code, json.loads(printed) if printed else None, err


def rows_of(folder):
    return [row for _, row in read_jsonl(Path(folder) / "dpo.jsonl")]


def dropped_of(folder):
    return [row for _, row in read_jsonl(Path(folder) / "dpo.dropped.jsonl")]


# ---- a policy and judges that are made up --------------------------------------------------------


def share(*parts):
    digest = hashlib.sha256(json.dumps(parts).encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def question_of(chat):
    """What a judge is asked about."""
    return chat[-1].content.partition("<question>\n")[2].partition("\n</question>")[0]


def solver(rate=0.5):
    """Right in `rate` of the draws of a prompt, in one of three wordings; some never, some always.

    Wordings of different lengths, so that length is free to lean.
    """

    def script(chat, seed, sample):
        question = chat[-1].content
        example = TASK.example(question)
        skill = min(1.0, max(0.0, rate * 2 * share("skill", question) + rate - 0.5))
        draw = seed if seed is not None else sample
        right = share(draw, question) < skill
        last = (TASK.gold if right else TASK.wrong)(example).split()[-1]
        return ("{}", "so {}", "we count and get {}")[int(3 * share("w", draw, question))].format(
            last
        )

    return script


def oracle(chat, seed, sample):
    example = TASK.example(question_of(chat))
    rights = [TASK.verify(example, reply).score for reply in find_replies(chat)]
    return verdict(chat, "A" if rights[0] > rights[1] else "B" if rights[1] > rights[0] else "tie")


def noisy(p):
    """Names the better reply with probability p in each order, else the other one."""

    def script(chat, seed, sample):
        example, replies = TASK.example(question_of(chat)), find_replies(chat)
        rights = [TASK.verify(example, reply).score for reply in replies]
        if rights[0] == rights[1]:
            return verdict(chat, "A" if share(*replies) < 0.5 else "B")
        better = "AB"[rights[1] > rights[0]]
        return verdict(
            chat, better if share(question_of(chat), *replies) < p else "BA"["AB".index(better)]
        )

    return script


class Counting:
    """A script that counts what it is asked, stops at some call, or loses calls."""

    def __init__(self, script, stop_at=None, lost=lambda asked: False, kind="timeout"):
        self.script, self.stop_at, self.lost, self.asked = script, stop_at, lost, 0
        self.kind = kind

    def __call__(self, chat, seed, sample):
        if self.asked == self.stop_at:
            raise KeyboardInterrupt
        self.asked += 1
        if self.lost(self.asked):
            failure = Failure(attempt=1, kind=self.kind)
            return Completion(text="", finish="error", failures=(failure,))
        return self.script(chat, seed, sample)


def never(chat, seed, sample):
    raise AssertionError("asked")


def use(monkeypatch, policy=None, judge=oracle):
    scripts = {"scripted:policy": policy or solver(), "scripted:judge": judge}
    load = stage.load
    monkeypatch.setattr(
        stage,
        "load",
        lambda spec: (
            ScriptedModel(spec, scripts[spec], revision=f"{spec}-1")
            if spec in scripts
            else load(spec)
        ),
    )


# ---- rows ----------------------------------------------------------------------------------------


def test_the_embedded_models_label_and_trl_can_read_it(capsys, tmp_path):
    code, out, err = call(
        capsys,
        *("rise", "label", "--policy", "embedded:reasoner", "--judge", "embedded:reasoner"),
        *("--task", "chain", "--out", tmp_path / "out", "--runs", tmp_path / "runs"),
        *("--limit", 80, *TINY, "--json"),
    )
    assert code == 0, err
    result, rows = json.loads(out), rows_of(tmp_path / "out")
    assert len(rows) == result["num_rows"] > 30
    for row in rows:
        [asked], [chosen], [rejected] = row["prompt"], row["chosen"], row["rejected"]
        assert (asked["role"], chosen["role"], rejected["role"]) == ("user", *["assistant"] * 2)
        assert " ".join(chosen["content"].split()) != " ".join(rejected["content"].split())
        assert row["margin"] == pytest.approx(row["chosen_score"] - row["rejected_score"])
        assert row["margin"] >= 0.25
        example = TASK.example(row["question"])
        assert (row["item_id"], asked["content"]) == (example.id, row["question"])
        for side, reply in (("chosen", chosen), ("rejected", rejected)):
            score = TASK.verify(example, reply["content"]).score
            assert row[f"right_{side}"] == (None if score is None else score == 1)
            assert row[f"{side}_chars"] == len(reply["content"])
        assert (row["by"], row["judge"]) == ("judge", "embedded:reasoner")
        assert row["judge_revision"].endswith("float32")
        assert row["source"] == "reward"
    # The judge knows something: far better than a coin where one of the two is right.
    assert result["label_accuracy_decided"] > 0.65
    assert 0.5 < result["policy_solve_rate"] < 0.95
    assert result["policy_calls"] == 80 * 8
    assert result["judge_calls"] == sum(result["statuses"].values())
    assert min(result["policy_completion_tokens"], result["judge_completion_tokens"]) > 500
    for suffix in ("jsonl", "parquet"):
        assert len(read_rows(tmp_path / "out" / f"dpo.{suffix}", "dpo")) == len(rows)
    run = Path(result["run"])
    assert json.loads((run / "run.json").read_text())["status"] == "done"
    page = (run / "report.html").read_text()
    assert rows[0]["item_id"].replace("+", "&#43;") in page or rows[0]["item_id"] in page
    assert "chosen right where one of them is" in page


@pytest.mark.parametrize(
    ("policy", "trained"),
    [
        ("scripted:policy", "hf:CHECKPOINT-OF-THE-POLICY"),
        ("embedded:reasoner", "embedded:reasoner"),
    ],
)
def test_the_next_command_trains_what_can_be_trained(
    capsys, monkeypatch, tmp_path, policy, trained
):
    """What a server answers with is no checkpoint: `improve` would refuse it."""
    use(monkeypatch)
    code, out, err = call(
        capsys,
        *("rise", "label", "--policy", policy, "--by", "verifier", "--task", "chain", *TINY),
        *("--out", tmp_path / "out", "--runs", tmp_path / "runs", "--limit", 40),
    )
    assert code == 0, err
    assert f"rise improve --policy {trained} --pairs" in " ".join(out.split())


def test_every_prompt_brings_a_row_or_is_dropped_for_one_reason(capsys, monkeypatch, tmp_path):
    use(monkeypatch)
    for by in ("judge", "verifier", "random"):
        code, result, err = label(
            capsys, tmp_path, "--by", by, judge="scripted:judge" if by == "judge" else None, out=by
        )
        assert code == 0, err
        rows, dropped = rows_of(tmp_path / by), dropped_of(tmp_path / by)
        assert len(rows) + len(dropped) == result["num_prompts"] == 60
        assert Counter(row["why"] for row in dropped) == result["dropped_prompts"]
        ids = [row["item_id"] for row in (*rows, *dropped)]
        assert len(set(ids)) == 60
        recorded = [row for _, row in read_jsonl(Path(result["run"]) / "records.jsonl")]
        assert [row["id"] for row in recorded] == [e.id for e in TASK.examples("train", 60)]
        assert result["length_difference"] == pytest.approx(
            sum(row["chosen_chars"] - row["rejected_chars"] for row in rows) / len(rows)
        )


def test_an_oracle_labels_as_the_verifier_does_and_chance_as_a_coin(capsys, monkeypatch, tmp_path):
    use(monkeypatch)
    results, files = {}, {}
    for by in ("judge", "verifier", "random"):
        judge = "scripted:judge" if by == "judge" else None
        code, results[by], err = label(
            *(capsys, tmp_path, "--by", by, "--cache", tmp_path / "cache.jsonl"),
            judge=judge,
            out=by,
            limit=400,
        )
        assert code == 0, err
        files[by] = rows_of(tmp_path / by)
        # Paid for once: all label the same replies.
        use(monkeypatch, policy=never)
    judged, verified = files["judge"], files["verifier"]
    assert [row["item_id"] for row in judged] == [row["item_id"] for row in verified]
    for by in ("judge", "verifier"):
        assert results[by]["label_accuracy"] == results[by]["label_accuracy_decided"] == 1
    reasons = results["verifier"]["dropped_prompts"]
    assert (
        {"never right", "never wrong"}
        <= set(reasons)
        <= {*("never right", "never wrong", "all replies the same")}
    )
    assert results["judge"]["dropped_prompts"]["margin below 0.25"] == (
        reasons["never right"] + reasons["never wrong"]
    )
    decided = sum(row["right_chosen"] != row["right_rejected"] for row in files["random"])
    chance = results["random"]["label_accuracy_decided"]
    assert decided > 100
    assert abs(chance - 0.5) < 4 * (0.25 / decided) ** 0.5
    assert {row["judge"] for row in (*verified, *files["random"])} == {None}
    rates = {result["policy_solve_rate"] for result in results.values()}
    assert len(rates) == 1


def test_a_planted_error_rate_is_what_the_labels_show(capsys, monkeypatch, tmp_path):
    """Two replies a prompt: one duel, in which both orders must not be wrong at once."""
    p = 0.8
    use(monkeypatch, judge=noisy(p))
    code, result, err = label(capsys, tmp_path, "--samples", "2", "--margin", "0.9", limit=1500)
    assert code == 0, err
    rows = [
        row for row in rows_of(tmp_path / "out") if row["right_chosen"] != row["right_rejected"]
    ]
    assert len(rows) > 200
    wanted = p**2 / (p**2 + (1 - p) ** 2)  # both orders agree, on the right one or the wrong one
    spread = (wanted * (1 - wanted) / len(rows)) ** 0.5
    assert abs(result["label_accuracy_decided"] - wanted) < 4 * spread


def test_a_judge_that_sees_slots_alone_makes_no_pair(capsys, monkeypatch, tmp_path):
    use(monkeypatch)
    for slot in ("always-a", "always-b"):
        code, _, err = label(capsys, tmp_path, judge=f"scripted:{slot}")
        assert code == 2
        assert "none of 60 prompts brings a pair (margin below 0.25 " in err
        assert f"the first is {next(TASK.examples('train', 1)).id}" in err
        assert len([line for line in err.splitlines() if line.startswith("planish:")]) == 1
        assert not list((tmp_path / "out").glob("*"))


def test_what_a_judge_prefers_beside_the_truth_is_told(capsys, monkeypatch, tmp_path):
    use(monkeypatch)
    code, long, err = label(capsys, tmp_path, judge="scripted:longest")
    assert code == 0, err
    rows = rows_of(tmp_path / "out")
    assert all(row["chosen_chars"] > row["rejected_chars"] for row in rows)
    assert long["length_difference"] > 2
    code, out, _ = call(
        capsys,
        *("rise", "label", "--policy", "scripted:policy", "--task", "chain", "--limit", "60"),
        *("--judge", "scripted:shortest", "--out", tmp_path / "s", "--runs", tmp_path / "runs"),
    )
    assert code == 0
    assert re.search(r"chosen is longer by \(characters\) +-\d", out)
    assert "rise improve --policy hf:CHECKPOINT-OF-THE-POLICY" in out


def test_replies_that_are_cut_or_empty_are_never_paired(capsys, monkeypatch, tmp_path):
    def script(chat, seed, sample):
        text = solver()(chat, seed, sample)
        if sample == 0:
            return Completion(text=f"cut {text}", finish="length")
        return " \n" if sample == 1 else text

    use(monkeypatch, policy=script, judge=oracle)
    code, result, err = label(capsys, tmp_path)
    assert code == 0, err
    assert result["dropped_replies"] == {"cut at the budget": 60, "empty": 60}
    assert {row[f"{side}_sample"] for row in rows_of(tmp_path / "out") for side in SIDES} <= {
        *range(2, 8)
    }


SIDES = ("chosen", "rejected")


def test_identical_replies_are_one_and_are_counted(capsys, monkeypatch, tmp_path):
    def script(chat, seed, sample):
        example = TASK.example(chat[-1].content)
        return [f" {TASK.gold(example)}", TASK.gold(example), TASK.wrong(example)][min(sample, 2)]

    judge = Counting(oracle)
    use(monkeypatch, policy=script, judge=judge)
    code, result, err = label(capsys, tmp_path, "--samples", "5")
    assert code == 0, err
    assert judge.asked == 2 * 60  # one duel a prompt
    assert result["different_replies"] == 2
    for row in rows_of(tmp_path / "out"):
        assert (row["chosen_count"], row["rejected_count"]) == (2, 3)
        assert (row["chosen_score"], row["rejected_score"]) == (1, 0)


def test_ratings_label_as_well(capsys, monkeypatch, tmp_path):
    def script(chat, seed, sample):
        reply = chat[-1].content.partition("<reply>\n")[2].partition("\n</reply>")[0]
        right = TASK.verify(TASK.example(question_of(chat)), reply).score
        return f"[[{10 if right else 4}]]"

    use(monkeypatch, judge=script)
    code, result, err = label(capsys, tmp_path, "--mode", "pointwise")
    assert code == 0, err
    assert result["label_accuracy"] == 1
    assert [row["margin"] for row in rows_of(tmp_path / "out")] == pytest.approx(
        [6 / 9] * result["num_rows"]
    )
    code, _, err = label(capsys, tmp_path, "--mode", "pointwise", "--margin", "0.7", out="none")
    assert code == 2
    assert "margin below 0.7" in err


def test_prompts_without_a_verifier(capsys, monkeypatch, tmp_path):
    prompts = tmp_path / "prompts.jsonl"
    questions = [example.prompt[0].content for example in TASK.examples("train", 30)]
    write_jsonl(
        prompts,
        [
            {"prompt": [{"role": "user", "content": text}], "id": number}
            if number % 2
            else {"question": text}
            for number, text in enumerate(questions)
        ],
    )
    use(monkeypatch)
    code, out, err = call(
        capsys,
        *("rise", "label", "--policy", "scripted:policy", "--judge", "scripted:judge"),
        *("--prompts", prompts, "--out", tmp_path / "out", "--runs", tmp_path / "runs", "--json"),
    )
    assert code == 0, err
    result, rows = json.loads(out), rows_of(tmp_path / "out")
    assert result["policy_solve_rate"] is None
    assert result["label_accuracy"] is None
    assert result["num_prompts"] == 30
    assert {row["right_chosen"] for row in rows} == {None}
    assert {row["item_id"] for row in rows} <= {
        str(n) if n % 2 else f"prompts.jsonl:{n + 1}" for n in range(30)
    }


# ---- going on ------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["policy", "judge"])
def test_an_interrupted_run_goes_on_without_repeating_a_call(capsys, monkeypatch, tmp_path, who):
    scripts = {"policy": solver(), "judge": noisy(0.8)}
    whole_scripts = {name: Counting(script) for name, script in scripts.items()}
    use(monkeypatch, **whole_scripts)
    _, whole, err = label(capsys, tmp_path)
    assert whole, err
    stops = {name: Counting(script) for name, script in scripts.items()}
    stops[who].stop_at = 101
    use(monkeypatch, **stops)
    code, _, err = label(capsys, tmp_path, out="again")
    assert code == 130
    assert "go on with: planish rise label --resume" in err
    [run] = {*tmp_path.glob("runs/rise/*")} - {Path(whole["run"])}
    assert json.loads((run / "run.json").read_text())["status"] == "interrupted"
    goes_on = {name: Counting(script) for name, script in scripts.items()}
    use(monkeypatch, **goes_on)
    code, out, err = call(capsys, "rise", "label", "--resume", run, "--json")
    assert code == 0, err
    # A script's draws hang on their number, so a prompt that was cut is asked from its start.
    repeated = 7 if who == "policy" else 0
    for name in scripts:
        paid = stops[name].asked + goes_on[name].asked
        assert whole_scripts[name].asked <= paid <= whole_scripts[name].asked + repeated
    for suffix in ("jsonl", "parquet", "dropped.jsonl"):
        files = [tmp_path / folder / f"dpo.{suffix}" for folder in ("out", "again")]
        assert files[0].read_bytes() == files[1].read_bytes()
    places = {"run": 0, "files": 0, "report": 0}
    assert {**json.loads(out), **places} == {**whole, **places}
    # Once more: nothing is left to do, and nothing is recorded twice.
    use(monkeypatch, policy=never, judge=never)
    code, _, err = call(capsys, "rise", "label", "--resume", run, "--json")
    assert code == 0, err
    records = [row["id"] for _, row in read_jsonl(run / "records.jsonl")]
    assert len(records) == len(set(records)) == 60


def test_resume_with_other_settings_is_refused(capsys, monkeypatch, tmp_path):
    use(monkeypatch)
    _, whole, _ = label(capsys, tmp_path)
    for options, field in [
        (["--margin", "0.5"], "margin"),
        (["--by", "random"], "--judge"),
        (["--judge", "scripted:tie"], "judge"),
        (["--split", "gate"], "split"),
        (["--out", tmp_path / "elsewhere"], "out"),
        (["--limit", "7"], "limit"),
    ]:
        code, _, err = call(capsys, "rise", "label", "--resume", whole["run"], *options)
        assert code == 2
        assert field in err
    monkeypatch.setattr(stage, "load", lambda spec: ScriptedModel(spec, never, revision="other"))
    code, _, err = call(capsys, "rise", "label", "--resume", whole["run"])
    assert code == 2
    assert "policy_revision" in err


def test_recorded_judgments_make_the_same_labels_without_a_judge(capsys, monkeypatch, tmp_path):
    options = ("--judge-samples", 3)
    use(monkeypatch, judge=noisy(0.7))
    code, asked, err = label(capsys, tmp_path, *options)
    assert code == 0, err
    recorded = Path(asked["run"]) / "artifacts" / "replies.jsonl"
    use(monkeypatch, judge=never)
    replay = f"replay:{recorded}"
    code, again, err = label(capsys, tmp_path, *options, judge=replay, out="judged")
    assert code == 0, err
    use(monkeypatch, policy=never, judge=never)
    code, _, err = label(capsys, tmp_path, *options, "--policy", replay, judge=replay, out="both")
    assert code == 0, err
    # All but who labelled and who answered is the same.
    names = {"judge", "judge_revision", "policy", "policy_revision"}
    first, *others = (
        [
            {key: value for key, value in row.items() if key not in names}
            for row in rows_of(tmp_path / folder)
        ]
        for folder in ("out", "judged", "both")
    )
    assert others == [first, first]
    for folder in ("judged", "both"):
        assert dropped_of(tmp_path / folder) == dropped_of(tmp_path / "out")
    assert again["num_rows"] == asked["num_rows"] > 20


@pytest.mark.parametrize("who", ["policy", "judge"])
def test_lost_calls_are_counted_and_too_many_fail_the_run(capsys, monkeypatch, tmp_path, who):
    scripts = {"policy": solver(), "judge": oracle}
    few = Counting(scripts[who], lost=lambda asked: asked % 25 == 0)
    use(monkeypatch, **(scripts | {who: few}))
    code, result, err = label(capsys, tmp_path, out="few")
    assert code == 0, err
    if who == "policy":
        assert result["dropped_replies"] == {"no reply": few.asked // 25}
    else:
        assert result["statuses"]["transport"] == few.asked // 25
    many = Counting(scripts[who], lost=lambda asked: asked % 4 == 0)
    use(monkeypatch, **(scripts | {who: many}))
    code, result, err = label(capsys, tmp_path, out="many")
    assert code == 1
    assert f"{many.asked // 4} of {many.asked} calls of the {who} brought no reply" in err
    assert f"no reply (timeout {many.asked // 4}), the first at prompt chain:" in err
    assert not (tmp_path / "many" / "dpo.jsonl").exists()
    assert json.loads((Path(result["run"]) / "run.json").read_text())["status"] == "failed"
    use(monkeypatch)
    code, out, err = call(capsys, "rise", "label", "--resume", result["run"], "--json")
    assert code == 0, err
    assert json.loads(out)["dropped_replies"] == {}
    assert "transport" not in json.loads(out)["statuses"]


@pytest.mark.parametrize(("who", "budget"), [("policy", "--max-"), ("judge", "--judge-max-")])
def test_a_prompt_that_does_not_fit_is_told_what_helps(capsys, monkeypatch, tmp_path, who, budget):
    scripts = {"policy": solver(), "judge": oracle}
    long = Counting(scripts[who], lost=lambda asked: asked % 4 == 0, kind="context")
    use(monkeypatch, **(scripts | {who: long}))
    code, _, err = label(capsys, tmp_path, limit=20)
    assert code == 1
    assert f"a longer context, leave such items out, or lower {budget}tokens" in err
    assert "--resume" not in err


# ---- bad input -----------------------------------------------------------------------------------


def test_a_judge_below_the_floor_exits_2_and_its_replies_are_kept(capsys, monkeypatch, tmp_path):
    def mute(chat, seed, sample):
        return "hm" if share(*find_replies(chat)) < 0.3 else oracle(chat, seed, sample)

    use(monkeypatch, judge=mute)
    code, _, err = label(capsys, tmp_path)
    assert code == 2
    assert re.search(
        r"\d+ of \d+ duels cannot be read in both orders \(coverage 0\.\d+, floor", err
    )
    assert "the first is of prompt chain:" in err
    assert "no_verdict" in err
    assert not list((tmp_path / "out").glob("*"))
    [cache] = re.findall(r"--cache (\S+),", err)
    use(monkeypatch, policy=never, judge=never)
    code, result, err = label(capsys, tmp_path, "--min-coverage", "0.2", "--cache", cache)
    assert code == 0, err
    assert 0.2 < result["coverage"] < 0.9


def test_a_policy_that_always_says_the_same_leaves_nothing(capsys, monkeypatch, tmp_path):
    use(monkeypatch, policy=lambda chat, seed, sample: "7", judge=never)
    code, _, err = label(capsys, tmp_path)
    assert code == 2
    assert "none of 60 prompts brings a pair (all replies the same 60)" in err
    assert "draw more --samples" in err


def test_a_budget_that_cuts_every_reply_is_what_is_told(capsys, monkeypatch, tmp_path):
    """More draws would be cut as well."""
    use(monkeypatch, policy=lambda *_: Completion(text="7 and so", finish="length"), judge=never)
    code, _, err = label(capsys, tmp_path, limit=5)
    assert code == 2
    assert "none of 5 prompts brings a pair (no whole reply: cut at the budget 5)" in err
    assert "raise --max-tokens (1024): 40 of 40 replies were cut" in err


def test_a_prompt_that_is_no_text_is_told_with_what_would_be_one(capsys, tmp_path):
    write_jsonl(tmp_path / "prompts.jsonl", [{"prompt": "hello"}, {"prompt": ["x"]}])
    code, _, err = call(
        capsys,
        *("rise", "label", "--policy", "scripted:tie", "--judge", "scripted:tie"),
        *("--prompts", tmp_path / "prompts.jsonl", "--out", tmp_path / "out"),
    )
    assert code == 2
    assert "prompts.jsonl:2: not a prompt" in err
    assert "write text, or a chat" in err


GIVEN = {
    "--policy": "scripted:policy",
    "--judge": "scripted:judge",
    "--task": "chain",
    "--out": "{tmp}/out",
}


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"--policy": None}, "--policy: is missing"),
        ({"--judge": None}, "--judge: is missing"),
        ({"--out": None}, "--out: is missing"),
        ({"--task": None}, "--task: is missing"),
        ({"--task": "chess"}, "no task is called 'chess'"),
        ({"--task": "{tmp}/none.jsonl"}, "none.jsonl"),
        ({"--prompts": "{tmp}/prompts.jsonl"}, "give one of --task and --prompts"),
        ({"--task": None, "--prompts": "{tmp}/none.jsonl"}, "none.jsonl"),
        ({"--task": None, "--prompts": "{tmp}/prompts.jsonl"}, "prompts.jsonl:2: the row has no"),
        ({"--by": "verifier"}, "--judge: has nothing to do where --by is verifier"),
        (
            {"--by": "random", "--judge": None, "--judge-samples": "3"},
            "--judge-samples: has nothing to do where --by is random",
        ),
        ({"--mode": "pointwise", "--reading": "direct"}, "--reading direct: ratings are read"),
        (
            {"--task": None, "--judge": None, "--by": "verifier", "--prompts": "{tmp}/x"},
            "nothing can verify",
        ),
        ({"--split": "report"}, "--split"),
        ({"--limit": "99999"}, "99999 examples asked"),
        ({"--samples": "1"}, "--samples"),
        ({"--temperature": "0"}, "--temperature"),
        ({"--margin": "0"}, "--margin"),
        ({"--judge-samples": "3", "--judge-temperature": "0"}, "temperature 0"),
        ({"--template": "rating"}, "is for a score"),
        ({"--template": "plain", "--mode": "pointwise"}, "is for a choice"),
        ({"--reading": "direct"}, "cannot tell the probability"),
        ({"--judge": "scripted:nobody"}, "nobody"),
        ({"--out": "{tmp}/full"}, "holds dpo rows already"),
        ({"--out": "{tmp}/prompts.jsonl"}, "--out"),
        ({"--resume": "{tmp}"}, "no run"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    capsys, monkeypatch, tmp_path, changes, complaint
):
    use(monkeypatch, policy=never, judge=never)
    write_jsonl(tmp_path / "prompts.jsonl", [{"prompt": "hello"}, {"text": "no prompt"}])
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "dpo.jsonl").touch()
    given = [
        part.format(tmp=tmp_path)
        for option, value in (GIVEN | changes).items()
        if value is not None
        for part in (option, value)
    ]
    before = sorted(tmp_path.rglob("*"))
    code, out, err = call(capsys, "rise", "label", *given, "--runs", tmp_path / "runs")
    assert code == 2
    assert out == ""
    assert len(err.splitlines()) == 1
    assert complaint in err
    assert sorted(tmp_path.rglob("*")) == before


def test_presets_are_a_start_that_flags_override():
    assert resolve("tiny", LabelConfig(max_tokens=7)).max_tokens == 7
    assert resolve("tiny", LabelConfig(max_tokens=7)).template == "chain"
    assert LabelConfig.paper().template == "rise"
    assert LabelConfig.laptop().samples < LabelConfig.paper().samples


def test_help_is_there_without_torch():
    script = (
        "import sys; import planish.methods.rise.teaching.label; "
        "sys.exit(bool({'torch', 'transformers', 'trl', 'datasets'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0
