"""reasoning-gym's tasks: right is 1.0 and nothing else, splits are apart, graders only compute."""

import importlib.util
import time

import pytest

from planish.records import BadInput
from planish.tasks.base import prove
from planish.tasks.gym import GymTask
from planish.tasks.gym_grading import Grader, Source
from planish.tasks.load import load_task

installed = pytest.mark.skipif(
    importlib.util.find_spec("reasoning_gym") is None, reason="reasoning-gym is an extra"
)


@pytest.mark.parametrize(
    "spec",
    ["gym:", "gym::5", "gym:countdown:0", "gym:countdown:x", "gym:countdown:5:4", "gym:a:5:=3"],
)
def test_what_is_no_gym_task_is_refused(spec):
    with pytest.raises(BadInput, match=r"cannot read.*write it like gym:countdown:2000"):
        load_task(spec)


def test_a_name_says_everything_that_decides_the_questions():
    task = load_task('gym:countdown:20:min_numbers=3:operators=["+","-"]:seed=4')
    assert task.name == 'gym:countdown:20:min_numbers=3:operators=["+","-"]:seed=4'
    assert load_task(task.name).name == task.name
    assert load_task("gym:countdown").name == "gym:countdown:1000"
    with pytest.raises(BadInput, match="the seed 'x' is no number"):
        load_task("gym:countdown:seed=x")


@pytest.mark.skipif(
    importlib.util.find_spec("reasoning_gym") is not None, reason="reasoning-gym is here"
)
def test_without_the_package_there_is_the_one_line_that_mends_it():
    with pytest.raises(BadInput, match=r"not installed .*run: pip install 'planish\[gym\]'"):
        next(load_task("gym:countdown:20").examples("train", 1))


@installed
@pytest.mark.parametrize(
    "spec", ["gym:countdown:60:min_numbers=3:max_numbers=3", "gym:chain_sum:60", "gym:gcd:60"]
)
def test_gold_verifies_and_another_answer_does_not(spec):
    assert prove(load_task(spec), split="train", limit=10) == 10


@installed
def test_only_the_full_score_is_right():
    task = load_task("gym:countdown:40")
    [example] = task.examples("report", 1)
    gold = example.target
    for reply in (gold, f"Let me see: 3 + 4. <answer>1</answer> No. <answer> {gold} </answer>"):
        assert task.verify(example, reply).score == 1.0
    for reply, why in (("1 + 1", "its grader gives 0.05"), ("no idea", "its grader gives 0.01")):
        verdict = task.verify(example, reply)
        assert (verdict.score, verdict.why) == (0.0, why)
    for reply in ("", "  \n", "<answer> </answer>"):
        assert task.verify(example, reply).score is None


@installed
def test_splits_are_apart_and_a_smaller_draw_is_a_prefix():
    task = load_task("gym:gcd:80")
    splits = {
        split: {each.prompt for each in task.examples(split, task.capped(split, 999))}
        for split in ("train", "gate", "report")
    }
    assert all(splits.values())
    assert sum(map(len, splits.values())) == len(set.union(*splits.values()))
    ten, five = list(task.examples("train", 10, 3)), list(task.examples("train", 5, 3))
    assert ten[:5] == five
    assert ten == list(load_task("gym:gcd:80").examples("train", 10, 3))
    assert ten != list(task.examples("train", 10, 4))
    with pytest.raises(BadInput, match="give a larger size"):
        task.examples("train", 999)


@installed
def test_an_answer_may_only_compute(tmp_path):
    grader = Grader(Source("spiral_matrix", 5, 0), seconds=2.0)
    right = grader.item(0).answer
    assert grader.score(0, right) == (1.0, "")
    target = tmp_path / "written"
    for hostile in (
        f"[open({str(target)!r}, 'w').write('x')]",
        f"[__import__('os').system('touch {target}')]",
        f"[__import__('subprocess').run(['touch', {str(target)!r}])]",
        "[__import__('socket').socket()]",
        "[exit()]",
        "[input()]",
        "[" * 5000,
        "\ud800 \x00 </answer>",
    ):
        assert grader.score(0, hostile)[0] < 1.0
    assert not target.exists()
    begin = time.monotonic()
    assert grader.score(0, "[9 ** 9 ** 9 ** 9]") == (0.0, "its grader took more than 2 seconds")
    assert time.monotonic() - begin < 10
    assert grader.score(0, right) == (1.0, "")


@installed
def test_what_the_package_refuses_is_said():
    with pytest.raises(BadInput, match=r"no data set 'nothing'; use one of .*countdown"):
        load_task("gym:nothing").capped("train", 1)
    with pytest.raises(BadInput, match="cannot be made"):
        load_task("gym:countdown:9:min_numbers=-1").capped("train", 1)
    with pytest.raises(BadInput, match="cannot be made"):
        load_task("gym:countdown:9:wings=2").capped("train", 1)
    one, other = load_task("gym:gcd:20"), load_task("gym:gcd:20:seed=1")
    with pytest.raises(BadInput, match="is no question of this data set"):
        other.verify(next(one.examples("train", 1)), "3")
    assert isinstance(one, GymTask)
