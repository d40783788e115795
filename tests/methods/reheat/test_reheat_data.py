"""Prompts by purpose, apart by construction, and what a rollout earns."""

import json

import pytest

from planish.methods.reheat.data import TaskRewarder, prompt_set, prompt_sets
from planish.records import BadInput, Completion
from planish.tasks.load import load_task
from planish.training.groups import Rollout

TASKS = ("routes:16:3:4:0", "chain:3", "countdown:3:9:99")


def ids(prompts):
    return [example.id for example in prompts.examples]


@pytest.mark.parametrize("spec", TASKS)
def test_no_prompt_serves_two_purposes(spec):
    task = load_task(spec)
    sets = prompt_sets(task, train=50, probe=20, report=20, seed=0)
    every = [example.prompt for each in vars(sets).values() for example in each.examples]
    assert len(set(every)) == len(every) == 90
    assert ids(prompt_sets(task, train=50, probe=20, report=20, seed=0).probe) == ids(sets.probe)
    assert ids(prompt_sets(task, train=50, probe=20, report=20, seed=1).probe) != ids(sets.probe)


def test_a_split_gives_what_it_has_and_a_hash_of_that():
    task = load_task("routes:8:2:4:0")
    whole = prompt_set(task, "gate", 10_000, 0, option="--probe-prompts")
    assert 0 < len(whole.examples) < 60
    few = prompt_set(task, "gate", 2, 0, option="--probe-prompts")
    assert ids(few) == ids(whole)[:2]
    assert few.hash != whole.hash
    assert few.hash == prompt_set(task, "gate", 2, 0, option="--probe-prompts").hash
    assert [group.id for group in few.groups] == ids(few)
    assert [group.prompts[0] for group in few.groups] == few.chats


def questions(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return load_task(str(path))


def test_an_empty_split_and_one_question_in_two_are_refused(tmp_path):
    one = {"question": "1 + 1?", "target": "2"}
    task = questions(tmp_path / "a.jsonl", [one | {"split": "report", "id": "x"}])
    with pytest.raises(BadInput, match=r"no question in 'gate'.*|.*--probe-prompts"):
        prompt_set(task, "gate", 4, 0, option="--probe-prompts")
    splits = ("train", "gate", "report")
    rows = [
        {"question": f"{i} + 1?", "target": str(i + 1), "split": splits[i % 3]} for i in range(6)
    ]
    apart = prompt_sets(questions(tmp_path / "b.jsonl", rows), train=9, probe=9, report=9, seed=0)
    assert len(apart.train.examples) == 2


@pytest.mark.parametrize(
    ("reply", "total", "readable"),
    [("gold", 1.0, True), ("wrong", 0.0, True), ("I do not know.", 0.0, False)],
)
def test_a_rollout_earns_what_the_grader_says(reply, total, readable):
    task = load_task("chain:3")
    examples = list(task.examples("train", 3, 0))
    text = {"gold": task.gold(examples[2]), "wrong": task.wrong(examples[2])}.get(reply, reply)
    [score] = TaskRewarder(task, examples)([Rollout(2, 0, Completion(text=text, finish="stop"))])
    assert (score.total, score.readable) == (total, readable)
