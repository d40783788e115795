"""The right program that a wrong one is laid beside."""

from planish.methods.mistakes.data import CodeTask, Diagnosed, Observation, Search
from planish.methods.mistakes.ruling.beside import beside
from planish.methods.mistakes.ruling.signals import signals
from planish.methods.mistakes.running.diagnose import PASSED
from planish.methods.mistakes.running.diagnosing import FAILURE
from planish.runs import read_rows
from support import programs
from support.typed import Typed

STAGE = Typed("mistakes", "diagnose")

REFERENCE = "def f(xs):\n    return sum(x for x in xs if x >= 3)\n"
PEER = (
    "def f(xs):\n    total = 0\n    for x in xs:\n        if x >= 3:\n            total += x\n"
    "    return total\n"
)
WRONG = PEER.replace(">=", ">")
TASK = CodeTask(task_id="t", entry_point="f", prompt="", reference=REFERENCE)


def test_of_right_programs_the_one_most_like_it():
    assert beside(TASK, WRONG, ()) is TASK
    assert beside(TASK, WRONG, [PEER]).reference == PEER
    assert beside(TASK, REFERENCE.replace(">=", ">"), [PEER]) is TASK


def test_of_equal_ones_the_reference():
    other = REFERENCE.replace("3", "4")  # the same structure
    assert beside(TASK, REFERENCE.replace(">=", ">"), [other]) is TASK


def test_a_program_is_not_laid_beside_itself():
    """One that passes at times would be right and wrong at once."""
    assert beside(TASK, WRONG, [f"{WRONG}\n# again\n"]) is TASK


def test_what_cannot_be_read_is_beside_nothing():
    assert beside(TASK, "def f(:", [PEER]) is TASK
    assert beside(TASK, WRONG, ["def f(:"]) is TASK


def test_what_differs_is_what_differs_from_a_program_that_passes():
    told = {
        name: signals(TASK, WRONG, Observation(key="k", status="wrong_value"), Search(), right)
        for name, right in (("reference", ()), ("peer", (PEER,)))
    }
    rules = {name: {each.rule for each in evidence} for name, evidence in told.items()}
    assert "place: test" in rules["peer"]
    assert "place: test" not in rules["reference"]
    assert "other calls" in rules["reference"]  # sum, which the other hand does without
    assert "other calls" not in rules["peer"]
    assert any("one that passes" in each.note for each in told["peer"])
    assert not any("the reference" in each.note for each in told["peer"])


def test_diagnose_lays_failures_beside_what_passed_on_the_same_task(capsys, tmp_path):
    tasks, runs = programs.write(tmp_path, "share", "middle")
    words = (runs, "--tasks", tasks, "--inputs", 12, "--mutants", 60)
    found = STAGE.told(capsys, tmp_path, *words)
    rows = [row.read(Diagnosed) for row in read_rows(found["run"], FAILURE)]
    notes = {case.run.key: " ".join(each.note for each in case.evidence) for case in rows}
    assert "one that passes" in notes["share|by-hand|2"]
    assert "one that passes" not in notes["middle|by-hand|1"]  # only the reference passed
    path = tmp_path / found["run"] / "artifacts" / PASSED
    assert len(path.read_text("utf-8").splitlines()) == 2
