"""Files of tasks and runs in every shape, what is refused, and what a reply's code is."""

import ast
import gzip
import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planish.methods.mistakes.data import CodeTask, RunRecord
from planish.methods.mistakes.jobs import agree, support_of
from planish.methods.mistakes.loading import chat_of, code_of, load_runs, load_tasks
from planish.methods.mistakes.loading.replies import function_name
from planish.methods.mistakes.loading.sources import defined, free_names, parse, without
from planish.records import BadInput, write_jsonl
from planish.tasks.sandbox.values import dumps, loads
from support import programs


def lines(path, *rows):
    path.write_text(
        "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
    )
    return path


def refused(path, what, loader=lambda path: load_tasks(str(path)), line=1):
    with pytest.raises(BadInput) as found:
        loader(path)
    told = str(found.value)
    assert what in told, told
    assert told.startswith(f"{path}:{line}" if line else str(path)), told
    assert "\n" not in told
    return told


OURS = {
    "task_id": "a",
    "entry_point": "f",
    "prompt": "",
    "reference": "def f(x):\n    return x\n",
    "tests": "def check(candidate):\n    assert candidate(1) == 1\n",
}
HUMANEVAL = {
    "task_id": "H/0",
    "entry_point": "grow",
    "prompt": 'def grow(x):\n    """One more."""\n',
    "canonical_solution": "    return x + 1\n",
    "test": "def check(candidate):\n    assert candidate(1) == 2\n",
}


# ---- tasks -----------------------------------------------------------------------------------


def test_tasks_of_ours_come_back_as_they_were(tmp_path):
    plain, _ = programs.write(tmp_path)
    assert load_tasks(str(plain)) == programs.tasks()
    packed = tmp_path / "tasks.jsonl.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert load_tasks(str(packed)) == programs.tasks()


def test_a_reference_that_is_glued_to_its_docstring_is_mended(tmp_path):
    prompt = 'def grow(x):\n    """One more."""'
    row = OURS | {
        "entry_point": "grow",
        "prompt": prompt + "\n\n",
        "reference": prompt + "if x:\n        x += 1\n    return x",
    }
    (task,) = load_tasks(str(lines(tmp_path / "t.jsonl", row)))
    assert task.reference == prompt + "\n    if x:\n        x += 1\n    return x\n"


def test_a_reference_after_a_stripped_prompt_is_no_subscript_of_its_docstring(tmp_path):
    body = "    [more] = [x + 1]\n    return more\n"
    row = HUMANEVAL | {"prompt": HUMANEVAL["prompt"].rstrip(), "canonical_solution": body}
    (task,) = load_tasks(str(lines(tmp_path / "t.jsonl", row)))
    assert task.reference == f"{row['prompt']}\n{body}"


def test_humaneval_in_its_own_shape(tmp_path):
    (task,) = load_tasks(str(lines(tmp_path / "t.jsonl", HUMANEVAL)))
    assert task.reference == HUMANEVAL["prompt"] + HUMANEVAL["canonical_solution"]
    assert task.tests == HUMANEVAL["test"]


EVALPLUS = {
    "task_id": "E/0",
    "entry_point": "far",
    "prompt": "import math\n\n\ndef far(a: float, b=2.0):\n    '''How far.'''\n",
    "canonical_solution": "    return math.sqrt(a * a + b * b)\n",
    "contract": "\n    assert a > 0, 'no' # $_CONTRACT_$\n    assert math.isfinite(a)\n",
    "base_input": [[3, 4.0]],
    "plus_input": [[1e400, 1.0], [3, 4.0], [2.5]],
    "atol": 0,
}


def test_a_reference_of_evalplus_after_a_stripped_prompt_gets_a_line_of_its_own(tmp_path):
    stripped = HUMANEVAL | {"prompt": HUMANEVAL["prompt"].rstrip(), "base_input": [[1]]}
    stripped |= {"plus_input": []}
    (task,) = load_tasks(str(lines(tmp_path / "plus.jsonl", stripped)))
    assert task.reference == HUMANEVAL["prompt"] + HUMANEVAL["canonical_solution"]


@pytest.mark.parametrize(
    ("reference", "precondition", "what"),
    [
        ("def f(x):\n    return x\n", "", "2 arguments, and the reference takes 1"),
        ("def f(x, y, z, *, w=0):\n    return x\n", "", "and the reference takes 3"),
        ("def f(x, y, z, v=1):\n    return x\n", "", "and the reference takes 3 to 4"),
        ("def f(x, y, z, *v):\n    return x\n", "", "and the reference takes 3 or more"),
        (
            "def f(x, y):\n    return x\n",
            "def precondition(x):\n    return True\n",
            "2 arguments, and its precondition takes 1",
        ),
    ],
)
def test_a_strategy_of_another_number_of_arguments_is_refused(
    tmp_path, reference, precondition, what
):
    row = OURS | {
        "reference": reference,
        "precondition": precondition,
        "strategy": [{"kind": "integer", "min": 0, "max": 9}] * 2,
    }
    refused(lines(tmp_path / "tasks.jsonl", row), what)


@pytest.mark.parametrize(
    "reference",
    [
        "def f(x, y):\n    return x\n",
        "def f(x, y=0):\n    return x\n",
        "def f(*x):\n    return x\n",
        "import functools\n\n@functools.cache\ndef f(x):\n    return x\n",
        "f = max\n",
        "def f(x):\n    return x\ndef f(x, y):\n    return x\n",
    ],
)
def test_a_strategy_is_taken_where_the_number_fits_or_cannot_be_read(tmp_path, reference):
    row = OURS | {
        "reference": reference,
        "strategy": [{"kind": "integer", "min": 0, "max": 9}] * 2,
    }
    assert len(load_tasks(str(lines(tmp_path / "tasks.jsonl", row)))) == 1


def test_evalplus_inputs_are_the_tests_and_its_contract_a_precondition(tmp_path):
    (task,) = load_tasks(str(lines(tmp_path / "t.jsonl", EVALPLUS)))
    assert [loads(each) for each in task.inputs] == [(3, 4.0), (math.inf, 1.0), (2.5,)]
    assert (task.tests, task.tolerance) == ("", 1e-6)
    names = {}
    exec(task.precondition, names)  # the file is ours
    assert names["precondition"](3) is True
    assert names["precondition"](-3) is False
    assert names["precondition"](math.inf) is False


def test_evalplus_of_whole_functions_gets_the_types_that_json_lacks(tmp_path):
    row = EVALPLUS | {
        "prompt": '"""How many are in both."""\n',
        "canonical_solution": "def far(a, b):\n    return len(set(a) & b)\n",
        "contract": "  assert isinstance(a, tuple) and isinstance(b, set)\n"
        "  assert all(isinstance(each, tuple) for each in a)\n",
        "base_input": [[[[1, 2], [3]], [1]]],
        "plus_input": None,
        "atol": 0.5,
    }
    (task,) = load_tasks(str(lines(tmp_path / "t.jsonl", row)))
    assert task.reference == row["canonical_solution"]
    assert loads(task.inputs[0]) == (((1, 2), (3,)), {1})
    assert task.tolerance == 0.5


MODULE = (
    "from .units import GRAM\n\n\n"
    "class Scale:\n"
    "    def weigh(self, count):\n"
    "        return count * GRAM\n\n"
    "    def reset(self):\n"
    "        return 0\n"
)
CODEREVAL = {
    "_id": "C1",
    "name": "weigh",
    "level": "project_runnable",
    "project": "some/scales",
    "file_path": "scales/scale.py",
    "file_content": MODULE,
    "lineno": 5,
    "end_lineno": 6,
    "code": "    def weigh(self, count):\n        return count * GRAM\n",
    "docstring": "What so many weigh.",
    "entry_point": "scales.desk:weigh",
    "tests": "def check(candidate):\n    assert candidate(2) == 20\n",
    "human_label": "weigh things",
}
PROJECT = {"scales/__init__.py": "", "scales/units.py": "GRAM = 10\n", "scales/scale.py": "old\n"}


@pytest.mark.parametrize("beside", [False, True])
def test_codereval_puts_the_code_back_into_its_class(tmp_path, beside):
    row = dict(CODEREVAL) if beside else CODEREVAL | {"files": PROJECT}
    for name, text in PROJECT.items() if beside else ():
        file = tmp_path / "c" / "some---scales" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    if beside:
        (tmp_path / "c" / "some---scales" / "logo.py").write_bytes(b"\xff\xfe")
        (tmp_path / "c" / "some---scales" / "out.py").symlink_to("/etc/hostname")
    (task,) = load_tasks(str(lines(tmp_path / "c.jsonl", row)))
    assert task.program(task.reference) == MODULE
    assert task.program("def weigh(self, count):\n    return 7\n") == MODULE.replace(
        "count * GRAM", "7"
    )
    assert [each.path for each in task.files] == ["scales/__init__.py", "scales/units.py"]
    assert (task.module, task.entry_point) == ("scales/scale.py", "scales.desk:weigh")
    assert "What so many weigh." in task.prompt
    assert "count * GRAM" not in task.prompt
    assert function_name(task) == "weigh"


BROKEN_TASKS = {
    "broken JSON": "{oops",
    "expected a JSON object": "[1]",
    "'reference' is missing": {"task_id": "a"},
    "'entry_point' is missing": {k: v for k, v in OURS.items() if k != "entry_point"},
    "'task_id' is empty": OURS | {"task_id": ""},
    "'reference' must be a text": OURS | {"reference": 3},
    "not a task: tolerance": OURS | {"tolerance": "much"},
    "not a task: tolerance: Input should be greater": OURS | {"tolerance": -1.0},
    "not a task: tolerance: Input should be a finite": OURS | {"tolerance": math.inf},
    "defines no precondition": OURS | {"precondition": "def allowed(x):\n    return True\n"},
    "'/etc/x.py' is no path inside": OURS | {"module": "/etc/x.py"},
    "'' is no path inside": OURS | {"module": ""},
    "'a/../../x' is no path inside": OURS | {"files": [{"path": "a/../../x", "text": ""}]},
    "'atol' must be a number from 0 on, found inf": EVALPLUS | {"atol": math.inf},
    "not a task: speed": OURS | {"speed": 1},
    "the reference of task 'a' is no Python": OURS | {"reference": "def f(:"},
    "the tests of task 'a' is no Python": OURS | {"tests": "def check("},
    "the precondition of task 'a'": OURS | {"precondition": "def"},
    "define no check(candidate)": OURS | {"tests": "assert f(1) == 1"},
    "does not define 'g'": OURS | {"entry_point": "g"},
    "neither 'tests' nor 'inputs'": OURS | {"tests": ""},
    "both 'tests' and 'inputs'": OURS | {"inputs": [dumps((1,))]},
    "input 1 of task 'a'": OURS | {"tests": "", "inputs": ["oops"]},
    "is no tuple of arguments": OURS | {"tests": "", "inputs": ["[1]"]},
    "template without its marker": OURS | {"template": "x = 1\n"},
    "argument 1": OURS | {"strategy": [{"kind": "odd"}]},
    "'test' or 'tests' is missing": {k: v for k, v in HUMANEVAL.items() if k != "test"},
    "'plus_input' must be a list": EVALPLUS | {"plus_input": "many"},
    "input 1 of 'base_input' is no list": EVALPLUS | {"base_input": [3]},
    "'atol' must be a number": EVALPLUS | {"atol": "0"},
    "unknown level": CODEREVAL | {"level": "easy"},
    "lines 5 to 60 are not in": CODEREVAL | {"end_lineno": 60},
    "'lineno' must be a whole number": CODEREVAL | {"lineno": "five"},
    "lines 5 to 5 of 'file_content' are no function": CODEREVAL | {"end_lineno": 5},
    "has no tests: those of CoderEval are in": CODEREVAL | {"tests": None},
    "a task of MBPP": {"task_id": 2, "prompt": "Add.", "code": "", "test_list": ["assert f(1)"]},
    "stands inside a class": CODEREVAL | {"entry_point": None},
    "files of the project 'some/scales' are missing": CODEREVAL,
    "'../x.py' is no path inside": CODEREVAL | {"files": {"../x.py": ""}},
    "'files.a.py' must be a text": CODEREVAL | {"files": {"a.py": 1}},
}


@pytest.mark.parametrize("what", BROKEN_TASKS)
def test_a_broken_task_is_refused_by_file_and_line(tmp_path, what):
    refused(
        lines(tmp_path / "t.jsonl", OURS | {"task_id": "fine"}, BROKEN_TASKS[what]), what, line=2
    )


def test_codereval_is_read_as_it_is_published(tmp_path):
    row = CODEREVAL | {"files": PROJECT, "lineno": "5", "end_lineno": "6"}
    path = tmp_path / "CoderEval4Python.json"
    path.write_text(json.dumps({"RECORDS": [row]}, indent=1))
    (task,) = load_tasks(str(path))
    assert task.program(task.reference) == MODULE
    path.write_text(json.dumps({"RECORDS": [row, 3]}))
    refused(path, "record 2: expected a JSON object, found int", line=None)
    path.write_text(json.dumps({"RECORDS": [row | {"tests": ""}]}))
    refused(path, "record 1: the field 'tests' is empty", line=None)


def test_files_that_are_no_tasks_are_refused(tmp_path):
    refused(lines(tmp_path / "empty.jsonl"), "holds no task", line=None)
    refused(tmp_path / "none.jsonl", "No such file", line=None)
    refused(lines(tmp_path / "t.jsonl", OURS, OURS), "there twice (first in", line=2)
    with pytest.raises(BadInput, match="own:plain"):
        load_tasks("own:odd")


# ---- runs ------------------------------------------------------------------------------------


def test_runs_come_back_as_they_were(tmp_path):
    _, path = programs.write(tmp_path)
    assert load_runs(path, programs.tasks()) == programs.runs()


def test_samples_are_numbered_and_completions_go_after_the_prompt(tmp_path):
    task = load_tasks(str(lines(tmp_path / "t.jsonl", HUMANEVAL)))[0]
    whole = "def grow(x):\n    return 3\n"
    path = lines(
        tmp_path / "s.jsonl",
        {"task_id": "H/0", "completion": "    return 1\n"},
        {"task_id": "H/0", "solution": whole, "_identifier": "x"},
        {"task_id": "H/0", "completion": f"Look:\n```python\n{whole}```\n", "passed": False},
    )
    runs = load_runs(path, [task])
    assert [run.run for run in runs] == [0, 1, 2]
    assert [run.code for run in runs] == [task.prompt + "    return 1\n", whole, whole]
    assert [run.recorded_pass for run in runs] == [None, None, False]
    rows = [{"task_id": "H/0", "model": model, "code": whole} for model in ("m", "n", "m")]
    numbered = load_runs(lines(path, *rows), [task])
    assert [(run.model, run.run) for run in numbered] == [("m", 0), ("n", 0), ("m", 1)]


@pytest.mark.parametrize(
    ("prompt", "completion", "code"),
    [
        ('def grow(x):\n    """More."""', "    return 1\n", "{0}\n{1}"),
        # glued to the docstring it would be a subscript of it, and Python would take it
        ('def grow(x):\n    """More."""', "    [a, b] = [x, 1]\n    return a\n", "{0}\n{1}"),
        ('def grow(x):\n    """More."""', "return 1\n", "{0}\n    {1}"),
        ('def grow(x):\n    """More."""', "\n    return 1\n", "{0}{1}"),
        ("def grow(x):\n    # one more", "    return 1\n", "{0}\n{1}"),
        ("def grow(x):\n    ", "return 1\n", "{0}{1}"),
        ("def grow(x):\n    return", " x + 1\n", "{0}{1}"),
        ('def grow(x):\n    """More."""', "    return (\n", "{0}\n{1}"),
    ],
)
def test_a_completion_of_a_stripped_prompt_gets_a_line_of_its_own(
    tmp_path, prompt, completion, code
):
    task = load_tasks(str(lines(tmp_path / "t.jsonl", OURS)))[0]
    task = task.model_copy(update={"prompt": prompt})
    row = {"task_id": task.task_id, "completion": completion}
    (run,) = load_runs(lines(tmp_path / "s.jsonl", row), [task])
    assert run.code == code.format(prompt, completion)


def sample(base, plus, code="def far(a, b):\n    return 3\n", **more):
    return {"solution": code, "base_status": base, "plus_status": plus} | more


def results(path, *samples, task="far"):
    path.write_text(json.dumps({"date": "2024", "hash": "x", "eval": {task: samples}}, indent=2))
    return path


def test_results_of_evalplus_are_runs_with_their_verdicts(tmp_path):
    wholes = load_tasks(str(lines(tmp_path / "t.jsonl", EVALPLUS | {"task_id": "far"})))
    path = results(
        tmp_path / "s_eval_results.json",
        sample("pass", "pass", base_fail_tests=[], plus_fail_tests=[]),
        sample("pass", "fail"),
        sample("timeout", None),
        sample("pass", None),
    )
    runs = load_runs(path, wholes)
    assert [(run.run, run.recorded_pass) for run in runs] == [
        (0, True),
        (1, False),
        (2, False),
        (3, True),
    ]
    # tests of HumanEval do not know what the other inputs have shown
    tests = load_tasks(str(lines(tmp_path / "h.jsonl", HUMANEVAL | {"task_id": "far"})))
    assert [run.recorded_pass for run in load_runs(path, tests)] == [True, None, False, True]


@pytest.mark.parametrize(
    ("whole", "what"),
    [
        ({"eval": {"far": {"nfiles": 1, "base": [["fail", None]]}}}, "without the code"),
        ({"eval": {"far": [{"base_status": "pass"}]}}, "far, sample 1: the field 'code' or"),
        ({"eval": {"far": [sample(1, "pass")]}}, "'base_status' must be a text"),
        ({"eval": {}}, "holds no run"),
        ([["def f(): pass"]], "item 1: expected a JSON object, found list"),
        ({"samples": []}, "'task_id' is missing"),
    ],
)
def test_other_documents_are_refused(tmp_path, whole, what):
    (task,) = load_tasks(str(lines(tmp_path / "t.jsonl", EVALPLUS | {"task_id": "far"})))
    path = tmp_path / "r.json"
    path.write_text(json.dumps(whole, indent=2))
    refused(path, what, lambda path: load_runs(path, [task]), line=None)


def test_a_document_may_be_a_list_or_lines(tmp_path):
    path = tmp_path / "r.json"
    path.write_text(json.dumps([RUN, RUN | {"run": 2}], indent=2))
    assert [run.run for run in load_runs(path, programs.tasks())] == [1, 2]
    assert len(load_runs(lines(path, RUN, RUN | {"run": 2}), programs.tasks())) == 2
    lines(path, RUN, "{oops")
    refused(path, "broken", lambda path: load_runs(path, programs.tasks()), line=2)


def test_what_codereval_is_given_is_read(tmp_path):
    (task,) = load_tasks(str(lines(tmp_path / "c.jsonl", CODEREVAL | {"files": PROJECT})))
    row = {"_id": "C1", "generate_results": ["def weigh(self, count):\n    return 7\n", ""]}
    runs = load_runs(lines(tmp_path / "r.jsonl", row), [task])
    assert [(run.run, run.code) for run in runs] == [(0, row["generate_results"][0]), (1, "")]


def test_a_complaint_about_a_huge_line_is_short(tmp_path):
    path = lines(tmp_path / "r.jsonl", {"task_id": "a" * 1_000_000, "code": ""})
    told = refused(path, "no task is called 'aaa", lambda path: load_runs(path, ()))
    assert len(told) < 1000


@given(st.text(st.characters(), max_size=30))
def test_code_may_hold_any_character(tmp_path_factory, text):
    code = f"{text}\0\ud800"
    path = lines(tmp_path_factory.mktemp("r") / "r.jsonl", {"task_id": "doubled", "code": code})
    (run,) = load_runs(path, programs.tasks())
    assert run.code == code
    assert len(run.digest) == 64


RUN = {"task_id": "doubled", "model": "m", "run": 1, "code": "pass"}
BROKEN_RUNS = {
    "broken JSON": '{"task_id": ',
    "'task_id' is missing": {"code": "pass"},
    "no task is called 'other'": RUN | {"task_id": "other"},
    "'code' or 'completion' or 'solution' is missing": {"task_id": "doubled"},
    "'code' must be a text": RUN | {"code": ["pass"]},
    "not a run: run": RUN | {"run": "2"},
    "not a run: recorded_pass": RUN | {"recorded_pass": 1},
    "'recorded_pass' must be true": {"task_id": "doubled", "solution": "", "recorded_pass": "yes"},
    "'run' must be a whole number": {"task_id": "doubled", "solution": "", "run": True},
    "model 'm', run 1 is there twice": RUN,
}


@pytest.mark.parametrize("what", BROKEN_RUNS)
def test_a_broken_run_is_refused_by_file_and_line(tmp_path, what):
    path = lines(tmp_path / "r.jsonl", RUN, BROKEN_RUNS[what])
    refused(path, what, lambda path: load_runs(path, programs.tasks()), line=2)


def test_a_file_without_runs_is_refused(tmp_path):
    refused(
        lines(tmp_path / "r.jsonl"), "holds no run", lambda path: load_runs(path, ()), line=None
    )


# ---- sources and jobs ------------------------------------------------------------------------


def test_a_parser_that_gives_up_is_no_crash(monkeypatch):
    def disturbed(code):
        raise SystemError("AST constructor recursion depth mismatch")

    monkeypatch.setattr(ast, "parse", disturbed)
    assert parse("x = 1\n") is None
    assert defined("x = 1\n") == frozenset()


def test_other_halves_of_characters_make_other_programs():
    one, other = (RunRecord(task_id="t", code=f"x = '{half}'") for half in "\ud800\udfff")
    assert one.digest != other.digest


def test_names_are_told_without_running_anything():
    source = "import os.path as p, sys\nA, B = 1, 2\n\n\ndef f(x):\n    y = g(x, A)\n    return y\n"
    assert defined(source) == {"p", "sys", "A", "B", "f"}
    assert free_names(source) == {"g"}
    assert free_names("def f(x):\n    def h(): return k\n    return h\nprint(z)\n") == {"k", "z"}
    assert defined(without(source, "f")) == {"p", "sys", "A", "B"}


@pytest.mark.parametrize("source", ["def", "a\0b", "x = '\ud800'", "(" * 5000])
def test_what_is_no_python_defines_nothing(source):
    assert parse(source) is None
    assert defined(source) == free_names(source) == frozenset()
    assert without(source, "f") == ""


def test_the_tests_get_helpers_of_the_reference_and_never_the_function():
    assert "def half" in support_of(programs.task("middle"))
    assert "middle" not in defined(support_of(programs.task("middle")))
    assert [support_of(programs.task(name)) for name in ("doubled", "share", "tally")] == [""] * 3


@pytest.mark.parametrize(
    ("left", "right", "tolerance", "equal"),
    [
        (1, 1.0, 0, True),
        ((1, 2), [1, 2], 0, False),
        (1.0, 1.0 + 1e-7, 1e-6, True),
        (1.0, 1.0 + 1e-7, 0, False),
        ([math.nan], [math.nan], 0, True),
        ("1", 1, 0, False),
        ({"a": 1.0}, {"a": 1.0 + 1e-9}, 1e-6, True),
    ],
)
def test_values_agree_as_python_says_but_for_the_tolerance(left, right, tolerance, equal):
    assert agree(dumps(left), dumps(right), tolerance) is equal


# ---- replies ---------------------------------------------------------------------------------

DOUBLED = programs.task("doubled")
GOOD = "def doubled(numbers):\n    return [2 * each for each in numbers]\n"
BODY = "    return [2 * each for each in numbers]\n"
USE = "print(doubled([1]))\n"

REPLIES = {
    "nothing but code": GOOD,
    "one block": f"Sure!\n\n```python\n{GOOD}```\nDone.",
    "no language": f"```\n{GOOD}```",
    "tildes": f"~~~py\n{GOOD}~~~",
    "never closed": f"Here:\n```python\n{GOOD}",
    "carriage returns": f"```python\n{GOOD}```".replace("\n", "\r\n"),
    "in a list": "1. so\n   ```python\n"
    + "".join(f"   {x}\n" for x in GOOD.splitlines())
    + "   ```",
    "an example of use after it": f"```python\n{GOOD}```\nUse:\n```python\n{USE}```",
    "output after it": f"```python\n{GOOD}```\nprints\n```\n[2]\n```",
    "a first try before it": "```python\ndef doubled(numbers):\n    return numbers\n```\nNo:\n"
    f"```python\n{GOOD}```",
    "a shell before it": f"```bash\npip install x\n```\n```python\n{GOOD}```",
    "words around it": f"The function is\n\n{GOOD}\nand that is all of it.",
}


@pytest.mark.parametrize("kind", REPLIES)
def test_the_code_of_a_reply_is_found(kind):
    assert ast.dump(ast.parse(code_of(REPLIES[kind], DOUBLED))) == ast.dump(ast.parse(GOOD))


@pytest.mark.parametrize("reply", [BODY, f"```python\n{BODY}```", f"```\n{BODY.strip()}\n```"])
def test_a_body_alone_goes_after_the_prompt(reply):
    assert code_of(reply, DOUBLED) == DOUBLED.prompt + BODY


def test_a_fence_inside_the_code_does_not_end_it():
    words = '"""As in\n\n    ```\n    x\n    ```\n    """'
    code = f"def doubled(numbers):\n    {words}\n    return numbers\n"
    assert code_of(f"```python\n{code}```", DOUBLED) == code


def test_what_the_prompt_and_earlier_blocks_define_is_taken_along():
    task = CodeTask(
        task_id="t",
        entry_point="area",
        prompt="import math\nfrom typing import List\n\n\ndef square(x):\n    return x * x\n\n\n"
        'def area(r: float) -> float:\n    """Of a circle."""\n',
        reference="def area(r): return 3",
    )
    area = "def area(r):\n    return HALF * math.pi * square(r)\n"
    reply = (
        "```python\nHALF = 0.5\nOTHER = 1\n```\nthen\n"
        f"```python\nfrom __future__ import annotations\n{area}```"
    )
    code = code_of(reply, task)
    assert defined(code) == {"annotations", "HALF", "math", "square", "area"}
    assert free_names(code) == frozenset()
    compile(code, "code", "exec")


def test_a_method_is_taken_out_of_its_class():
    task = programs.task("tally")
    method = "def total(self):\n    return 5\n"
    inside = "class Tally:\n    names = []\n\n    def total(self):\n        return 5\n"
    assert code_of(f"```python\n{method}```", task) == method
    assert code_of(f"```python\n{inside}```", task) == method


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        ("I cannot.", "I cannot."),
        ("", ""),
        ("```python\ndef doubled(numbers:\n    return\n```", "def doubled(numbers:\n    return\n"),
        ("```python\nx = 1\n```", "x = 1\n"),
        ("```\ndef twice(x):\n    return x\n```", "def twice(x):\n    return x\n"),
    ],
)
def test_what_cannot_be_read_stays_what_it_is(reply, code):
    assert code_of(reply, DOUBLED) == code


@given(st.text(st.sampled_from("`~\n dx:#\0\ud800(def doubled)"), max_size=200))
def test_no_reply_breaks_the_reader(text):
    assert isinstance(code_of(text, DOUBLED), str)
    assert isinstance(code_of(text, programs.task("tally")), str)


def test_what_is_asked_names_the_function_and_shows_the_prompt():
    for task in programs.tasks():
        chat = chat_of(task)
        assert f"`{function_name(task)}`" in chat[-1].content
        assert task.prompt.strip() in chat[-1].content
        assert task.reference.splitlines()[-1] not in chat[-1].content
    assert "other words" in chat_of(DOUBLED, "other words")[-1].content


# ---- the shared tasks ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shared():
    root = Path(__file__).parents[3]
    for base in (root, root.parent):
        folder = base / "shared" / "data" / "mistakes"
        if (folder / "humaneval_tasks.jsonl.gz").is_file():
            return folder
    pytest.skip("the shared tasks are not here")


def completion_of(task):
    body = task.reference[len(task.prompt.rstrip()) :].removeprefix("\n")
    return {"task_id": task.task_id, "completion": body}


def test_every_shared_reference_is_mended_and_every_run_is_read(tmp_path, shared):
    tasks = load_tasks(str(shared / "humaneval_tasks.jsonl.gz"))
    assert len(tasks) == 164
    assert [task.task_id for task in tasks if support_of(task)] == [
        f"HumanEval/{number}" for number in (32, 38, 50)
    ]
    for task in tasks:
        body = task.reference[len(task.prompt.rstrip()) :]
        assert code_of(f"```python\n{task.reference}```", task).strip() == task.reference.strip()
        assert code_of(body, task).strip() == task.reference.strip()
        (run,) = load_runs(lines(tmp_path / "s.jsonl", completion_of(task)), [task])
        assert run.code.strip() == task.reference.strip()
    runs = load_runs(shared / "recorded_runs_a.jsonl.gz", tasks)
    assert len(runs) == 1640
    assert sum(not run.recorded_pass for run in runs) == 378


def test_write_is_what_ours_reads(tmp_path):
    write_jsonl(tmp_path / "t.jsonl", programs.tasks())
    assert load_tasks(str(tmp_path / "t.jsonl")) == programs.tasks()
