"""The skill library as a document: what it is known by, and every way in which it can be broken."""

from __future__ import annotations

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planish.methods.cowork.checking import MAX_DEPTH, MAX_NODES
from planish.methods.cowork.skills import (
    MAX_BYTES,
    Unsound,
    check,
    load_library,
    parse_library,
    read_call,
    save_library,
)
from planish.records import BadInput
from support.skills import document, edits, small

KINDS = ("params", "operators", "methods")


def changed(path, value):
    """The small library's document with one value replaced, by keys and positions."""
    made = document()
    *parents, last = path
    node = made
    for step in parents:
        node = node[step]
    node[last] = value
    return made


# ---- what it is known by ----------------------------------------------------------------------


@given(edits())
def test_the_canonical_text_reads_back_as_the_same_library(library):
    again = parse_library(json.loads(library.canonical()))
    assert again == library
    assert again.canonical() == library.canonical()
    assert again.digest == library.digest
    assert library.tokens == -(-len(library.canonical()) // 4)


@given(edits(), st.randoms())
def test_the_digest_ignores_what_changes_no_behaviour(library, random):
    made = library.model_dump(mode="json")
    for kind in KINDS:
        random.shuffle(made[kind])
    made |= {"name": "renamed", "description": "another text"}
    for method in made["methods"]:
        method |= {"provenance": "elsewhere", "stats": {"tried": 9, "succeeded": 3}}
    assert parse_library(made).digest == library.digest


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("params", 0, "value"), 4),
        (("params", 0, "max"), 11),
        (("params", 0, "step"), 2),
        (("operators", 0, "args"), {"thing": "dish"}),
        (("operators", 0, "pre"), []),
        (("operators", 1, "expect"), []),
        (("operators", 1, "timeout_ticks"), 61),
        (("operators", 2, "controller"), "stand_by"),
        (("methods", 0, "when"), ["gives_way"]),
        (("methods", 0, "priority"), 91),
        (("methods", 0, "interrupt_when"), ["gives_way"]),
        (("methods", 0, "roles"), ["seat_1"]),
        (("methods", 0, "subtasks"), ["aside", "wait"]),
        (("methods", 3, "task"), "work"),
        (("methods", 4, "locked"), False),
    ],
)
def test_the_digest_tells_every_behaviour_apart(path, value):
    assert parse_library(changed(path, value)).digest != small().digest


def test_a_blank_more_or_less_makes_no_other_library():
    tight = changed(("methods", 0, "when"), ["at_least(onion,2)", "!holding( soup )"])
    wide = changed(("methods", 0, "when"), ["at_least( onion ,  2)", "!holding(soup)"])
    assert parse_library(tight) == parse_library(wide)
    assert parse_library(tight).methods[0].when == ("at_least(onion, 2)", "!holding(soup)")


def test_a_copy_with_other_nodes_has_a_digest_of_its_own():
    library = small()
    assert library.values["patience"] == 3
    before = library.digest
    other = library.model_copy(update={"params": library.params[1:]})
    assert other.digest != before
    assert "patience" not in other.values
    assert library.digest == before


@pytest.mark.parametrize(
    ("text", "name", "args", "negated"),
    [
        ("gives_way", "gives_way", (), False),
        ("gives_way()", "gives_way", (), False),
        ("!at_least(onion, 2)", "at_least", ("onion", "2"), True),
    ],
)
def test_a_condition_is_read(text, name, args, negated):
    call = read_call(text)
    assert (call.name, call.args, call.negated) == (name, args, negated)


@pytest.mark.parametrize(
    "text", ["", "!", "A", "a b", "a(b", "a(b(c))", "a.b", "not a", "!!a", "1"]
)
def test_what_is_no_condition_is_said_to_be_none(text):
    with pytest.raises(Unsound) as caught:
        read_call(text)
    assert caught.value.code == "bad_condition"


def test_it_answers_for_its_nodes():
    library = small()
    assert library.size == 11
    assert library.method("cook").task == "work"
    assert library.method("nobody") is None
    assert ("methods/give_way", "gives_way") in set(library.conditions())
    assert ("operators/get_onion", "holding(onion)") in set(library.conditions())


# ---- unsound ----------------------------------------------------------------------------------

LOOP = [
    {"id": "one", "task": "a", "subtasks": ["b"]},
    {"id": "two", "task": "b", "subtasks": ["wait", "a"]},
]


@pytest.mark.parametrize(
    ("made", "code", "where"),
    [
        ([], "schema", "library"),
        ({}, "schema", "name"),
        ({**document(), "format": "planish-skills-9"}, "schema", "format"),
        ({**document(), "scripts": []}, "schema", "scripts"),
        ({**document(), "name": "Small"}, "schema", "name"),
        (changed(("params", 0, "value"), 99), "schema", "params/patience"),
        (changed(("params", 0, "min"), 10), "schema", "params/patience"),
        (changed(("params", 0, "min"), float("-inf")), "schema", "params/patience/min"),
        (changed(("params", 0, "value"), float("nan")), "schema", "params/patience/value"),
        (changed(("params", 0, "step"), 0), "schema", "params/patience/step"),
        (changed(("params", 1, "id"), "patience"), "duplicate_id", "params/patience"),
        (changed(("params", 1, "id"), "soup"), "ambiguous_id", "params/soup"),
        (changed(("operators", 1, "id"), "supply"), "ambiguous_id", "methods/fetch_and_fill"),
        (changed(("operators", 0, "timeout_ticks"), 0), "schema", "operators/get_onion"),
        (
            changed(("operators", 0, "controller"), "fly"),
            "unknown_controller",
            "operators/get_onion",
        ),
        (changed(("operators", 0, "args"), {}), "wrong_arguments", "operators/get_onion"),
        (changed(("operators", 0, "args"), {"thing": "pan"}), "unknown_argument", "operators/get"),
        (changed(("operators", 0, "pre"), ["flies"]), "unknown_predicate", "operators/get_onion"),
        (changed(("methods", 0, "when"), ["flies"]), "unknown_predicate", "methods/give_way"),
        (changed(("methods", 0, "when"), ["holding"]), "wrong_arguments", "methods/give_way"),
        (changed(("methods", 0, "when"), ["holding(x)"]), "unknown_argument", "methods/give_way"),
        (changed(("methods", 0, "when"), ["holding()x"]), "schema", "methods/give_way/when"),
        (changed(("methods", 0, "subtasks"), ["fly"]), "unknown_subtask", "methods/give_way"),
        (changed(("methods", 0, "subtasks"), []), "schema", "methods/give_way/subtasks"),
        (changed(("methods", 0, "subtasks"), ["wait"] * 13), "schema", "methods/give_way"),
        (changed(("methods", 0, "roles"), ["seat_2"]), "schema", "methods/give_way/roles"),
        (changed(("methods", 2, "subtasks"), ["work"]), "cycle", "methods/fetch_and_fill"),
        ({**document(), "methods": document()["methods"] + LOOP}, "cycle", "methods/two"),
        (changed(("methods", 1, "subtasks"), ["wait"]), "unreachable", "methods/fetch_and_fill"),
        ({**document(), "methods": document()["methods"][2:4]}, "no_root", "methods"),
    ],
)
def test_every_fault_is_told_with_its_node(made, code, where):
    with pytest.raises(Unsound) as caught:
        parse_library(made)
    assert caught.value.code == code
    assert caught.value.where.startswith(where)
    assert caught.value.what


def test_a_library_has_no_more_nodes_than_a_person_reads():
    made = document()
    made["operators"] += [
        {"id": f"wait_{n}", "controller": "stay"} for n in range(MAX_NODES - small().size)
    ]
    check(parse_library(made))
    made["operators"].append({"id": "wait_more", "controller": "stay"})
    with pytest.raises(Unsound) as caught:
        parse_library(made)
    assert caught.value.code == "too_large"


def chain(length):
    """As many methods below one another, the last of them with an operator."""
    made = document()
    tasks = ["work", *(f"t{n}" for n in range(1, length))]
    ends = [*tasks[1:], "wait"]
    made["methods"] = [
        {"id": f"m{n}", "task": task, "subtasks": [end]}
        for n, (task, end) in enumerate(zip(tasks, ends, strict=True))
    ]
    return made


def test_a_chain_of_tasks_may_be_as_long_as_an_agent_decomposes():
    check(parse_library(chain(MAX_DEPTH)))
    for length in (MAX_DEPTH + 1, 150):
        with pytest.raises(Unsound, match=f"'t{MAX_DEPTH}' lies below") as caught:
            parse_library(chain(length))
        assert (caught.value.code, caught.value.where) == ("too_deep", f"methods/m{MAX_DEPTH - 1}")


def test_a_short_way_to_a_task_does_not_hide_the_long_one():
    made = chain(MAX_DEPTH)
    made["methods"].append({"id": "short", "task": "work", "subtasks": [f"t{MAX_DEPTH - 1}"]})
    check(parse_library(made))
    made["methods"][-1] |= {"task": f"t{MAX_DEPTH - 1}", "subtasks": ["more"]}
    made["methods"].append({"id": "more_so", "task": "more", "subtasks": ["wait"]})
    made["methods"].append({"id": "shorter", "task": "work", "subtasks": ["more"]})
    with pytest.raises(Unsound) as caught:
        parse_library(made)
    assert caught.value.code == "too_deep"


def test_a_circle_in_a_chain_as_long_as_a_library_is_found():
    made = chain(150)
    made["methods"][-1]["subtasks"] = ["t3"]
    with pytest.raises(Unsound, match="contains itself"):
        parse_library(made)


# ---- files ------------------------------------------------------------------------------------


@given(library=edits())
def test_what_is_saved_is_loaded(library, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "deep" / "library.json"
    save_library(library, path)
    assert load_library(path) == library
    assert load_library(str(path)) == library
    assert [each.name for each in path.parent.iterdir()] == ["library.json"]


def test_a_save_that_fails_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "library.json"
    save_library(small(), path)

    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="no space"):
        save_library(small(name="other"), path)
    monkeypatch.undo()
    assert load_library(path) == small()
    assert [each.name for each in tmp_path.iterdir()] == ["library.json"]


def write(path, content):
    if isinstance(content, str):
        content = content.encode()
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (json.dumps(document(), indent=1)[:300], [":", "broken JSON", "cut off"]),
        ('{\n "name": "x",,\n}', [":2:14", "broken JSON"]),
        ("", [":1:1", "broken JSON"]),
        (b"\xff\xfe{}", ["not UTF-8 text (byte 0)", "UTF-8"]),
        ('{"a":' * 100_000, ["nested too deeply", "not a library"]),
        ('{"name": ' + "1" * 5000 + "}", ["broken JSON", "not a library"]),
        ('{"name": "a", "name": "b"}', ["'name' is there twice", "duplicate_key"]),
        ("[]", ["schema", "mend that node"]),
        (json.dumps(changed(("methods", 0, "when"), ["flies"])), ["methods/give_way", "flies"]),
        (json.dumps(changed(("methods", 2, "subtasks"), ["work"])), ["contains itself", "cycle"]),
        (json.dumps(changed(("params", 0, "value"), 99)), ["params/patience", "outside 0 to 10"]),
        ('{"format": NaN}', ["format", "schema"]),
    ],
)
def test_a_broken_file_is_told_in_one_line_with_the_place(content, says, tmp_path):
    path = write(tmp_path / "mine.json", content)
    with pytest.raises(BadInput) as caught:
        load_library(path)
    line = str(caught.value)
    assert line.startswith(str(path))
    assert "\n" not in line
    for part in says:
        assert part in line


def test_a_truncated_file_names_line_and_column(tmp_path):
    text = json.dumps(document(), indent=1)
    path = write(tmp_path / "mine.json", text[: text.index('"value"')])
    with pytest.raises(BadInput, match=r"mine\.json:8:4: broken JSON"):
        load_library(path)


def test_a_place_that_holds_no_library_is_told(tmp_path):
    with pytest.raises(BadInput, match="no such library; give a JSON file or one of impaired"):
        load_library(tmp_path / "nowhere.json")
    with pytest.raises(BadInput, match="is a folder"):
        load_library(tmp_path)
    with pytest.raises(BadInput, match="cannot be read"):
        load_library(write(tmp_path / "file", "{}") / "below.json")
    with pytest.raises(BadInput, match="cannot be read"):
        load_library("x\0y")
    with pytest.raises(BadInput, match="cannot be read"):
        load_library("x" * 5000)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadInput, match="no ordinary file"):
        load_library(tmp_path / "pipe")


def test_a_file_of_fifty_megabytes_is_not_read(tmp_path, monkeypatch):
    path = tmp_path / "huge.json"
    with path.open("wb") as file:
        file.truncate(50_000_000)
    monkeypatch.setattr("pathlib.Path.read_bytes", lambda self: pytest.fail("it was read"))
    with pytest.raises(BadInput, match=r"50\.0 MB are too much"):
        load_library(path)
    assert MAX_BYTES < 50_000_000


def test_a_byte_order_mark_does_no_harm(tmp_path):
    path = write(tmp_path / "mine.json", b"\xef\xbb\xbf" + small().canonical().encode())
    assert load_library(path) == small()
