"""The commands show, diff and export-skill, as a person types them."""

from __future__ import annotations

import io
import json
import re
import sys

import pytest
import yaml

from planish.cli import main
from planish.methods import Method, cowork
from planish.methods.cowork.data import Patch
from planish.methods.cowork.improving.patches import Limits, apply
from planish.methods.cowork.showing import skill as skills
from planish.methods.cowork.skills import load_library, parse_library, save_library
from planish.runs import Run
from support.skills import document, small

STAGES = {
    "show": "planish.methods.cowork.library:show",
    "diff": "planish.methods.cowork.library:diff",
    "export-skill": "planish.methods.cowork.library:export_skill",
}


@pytest.fixture(autouse=True)
def room(monkeypatch, tmp_path):
    """Only these stages, whatever else the room has; an empty place to work in."""
    found = Method(name="cowork", title="t", paper="2602.05004", config="", stages=STAGES)
    monkeypatch.setattr(cowork, "METHOD", found, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def planish(capsys):
    def run(*words):
        """(exit code, standard output, standard error) of `planish cowork ...`."""
        with pytest.raises(SystemExit) as caught:
            main(["cowork", *map(str, words)])
        out, err = capsys.readouterr()
        return caught.value.code, out, err

    return run


@pytest.fixture
def mine(tmp_path):
    save_library(small(), tmp_path / "mine.json")
    return "mine.json"


@pytest.fixture
def other(tmp_path):
    made = document()
    made["name"] = "other"
    made["params"][0]["value"] = 8
    made["methods"][0]["priority"] = 40
    made["methods"][1]["when"] = []
    made["operators"].append(
        {"id": "serve_it", "controller": "serve", "expect": ["!holding(soup)"]}
    )
    made["methods"].append({"id": "finish", "task": "work", "subtasks": ["serve_it"]})
    del made["params"][1]
    save_library(parse_library(made), tmp_path / "other.json")
    return "other.json"


def a_run(tmp_path, library=None, room="cowork"):
    with Run.create(room, "evolve", {}, root=tmp_path / "runs") as run:
        if library is not None:
            save_library(library, run.artifact("library.json"))
        run.finish()
    return run.path


# ---- show -------------------------------------------------------------------------------------


def test_show_draws_the_tree_from_the_root_by_priority(planish, mine):
    code, out, err = planish("show", mine)
    assert (code, err) == (0, "")
    library = small()
    assert f"small {library.digest}: 11 nodes, about {library.tokens} tokens, 1 locked" in out
    lines = out.splitlines()
    tree = lines[lines.index("work:") : lines.index("    wait = stay()") + 1]
    assert tree == [
        "work:",
        "  90 give_way when blocked_for(patience) and gives_way",
        "    aside = step_aside()",
        "  60 cook when wanted(onion)",
        "    supply:",
        "      70 fill_now when holding(onion)",
        "        fill = put() until holding(nothing) or 60 ticks",
        "      50 fetch_and_fill when holding(nothing)",
        "        get_onion = take(thing=onion) while holding(nothing) until holding(onion) or 60"
        " ticks",
        "        fill = put() until holding(nothing) or 60 ticks",
        "  0 rest [locked]",
        "    wait = stay()",
    ]
    row = next(line for line in lines if "patience  " in line)
    assert row.split() == ["patience", "3", "0", "10", "1"]
    assert lines[-1].endswith("planish cowork diff impaired mine.json")


def test_show_names_a_task_that_comes_again_and_an_operator_that_nobody_uses(planish, tmp_path):
    made = document()
    made["methods"].append(
        {"id": "again", "task": "work", "subtasks": ["supply", "wait"], "roles": ["seat_1"],
         "interrupt_when": ["gives_way"], "priority": 10, "stats": {"tried": 9, "succeeded": 4}}
    )  # fmt: skip
    made["operators"].append({"id": "spare", "controller": "stay"})
    save_library(parse_library(made), tmp_path / "mine.json")
    _, out, _ = planish("show", "mine.json")
    assert "  10 again for seat_1 until gives_way [4 of 9 ended well]\n    supply: as above" in out
    assert "used by no method: spare" in out


def test_show_as_json_holds_the_whole_library(planish, mine):
    code, out, err = planish("show", mine, "--json")
    assert (code, err) == (0, "")
    shown = json.loads(out)
    assert parse_library(shown["library"]) == small()
    assert shown["digest"] == small().digest
    assert shown["nodes"] == 11
    assert shown["locked"] == ["methods/rest"]
    assert shown["tasks"] == {
        "work": ["give_way", "cook", "rest"],
        "supply": ["fill_now", "fetch_and_fill"],
    }


@pytest.mark.parametrize("columns", [30, 40, 80])
def test_show_and_diff_fit_a_narrow_terminal(columns, monkeypatch, planish, mine, other):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    for words in (("show", mine), ("diff", mine, other)):
        terminal = Terminal()
        monkeypatch.setattr(sys, "stdout", terminal)
        with pytest.raises(SystemExit):
            main(["cowork", *words])
        lines = re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue()).splitlines()
        assert max(len(line) for line in lines if not line.startswith("next")) <= columns
        assert len(lines) > 12


# ---- naming a library -------------------------------------------------------------------------


def test_a_library_is_named_by_file_by_run_by_beginning_or_last(planish, tmp_path, mine):
    path = a_run(tmp_path, small(name="evolved"))
    a_run(tmp_path, room="rise")  # newer, and of another room
    for name in (
        path,
        path.name,
        f"cowork/{path.name}",
        path.name[:10],
        "last",
        path / "artifacts",
    ):
        code, out, err = planish("show", name, "--json")
        if name == path / "artifacts":
            assert (code, "is a folder" in err) == (2, True)
        else:
            assert code == 0, err
            assert json.loads(out)["name"] == "evolved"


def test_runs_may_lie_elsewhere(planish, tmp_path):
    a_run(tmp_path / "elsewhere", small())
    assert planish("show", "last")[0] == 2
    assert planish("show", "last", "--runs", tmp_path / "elsewhere" / "runs")[0] == 0


def test_bad_names_and_broken_files_are_one_line_and_exit_2(planish, tmp_path, mine):
    empty = a_run(tmp_path)
    (tmp_path / "cut.json").write_text(small().canonical()[:100])
    (tmp_path / "deep.json").write_text("[" * 100_000)
    (tmp_path / "latin.json").write_bytes(b'{"name": "\xe9"}')
    (tmp_path / "folder.json").mkdir()
    with (tmp_path / "huge.json").open("wb") as file:
        file.truncate(50_000_000)
    loop = document()
    loop["methods"][2]["subtasks"] = ["work"]
    (tmp_path / "loop.json").write_text(json.dumps(loop))
    for name, says in {
        "nowhere.json": "nowhere.json: no such library",
        "nobody": "no library is called 'nobody'",
        empty: "the run has left no library",
        "cut.json": "cut.json:1:",
        "deep.json": "nested too deeply",
        "latin.json": "not UTF-8",
        "folder.json": "is a folder",
        "huge.json": "50.0 MB are too much",
        "loop.json": "loop.json, methods/fetch_and_fill: task 'work' contains itself (cycle)",
    }.items():
        for words in (("show", name), ("diff", mine, name), ("export-skill", name, "--out", "x")):
            code, out, err = planish(*words)
            assert (code, out) == (2, ""), words
            assert says in err
            assert len(err.splitlines()) == 1
            assert "; " in err  # what to do about it
    assert not (tmp_path / "x").exists()


def test_what_is_left_out_is_asked_for(planish):
    for words in (("show",), ("diff", "full"), ("export-skill", "full")):
        code, _, err = planish(*words)
        assert code == 2
        assert "requires an argument" in err


# ---- diff -------------------------------------------------------------------------------------


def test_diff_tells_every_node_with_its_drift(planish, mine, other):
    code, out, err = planish("diff", mine, other)
    assert (code, err) == (0, "")
    assert "drift 4.50, 6 nodes differ" in out
    assert re.search(r"^~ params/patience\n +value: 3 -> 8$", out, re.M)
    assert re.search(r"^~ methods/give_way\n +priority: 90 -> 40$", out, re.M)
    assert re.search(r"^~ methods/cook\n +when: wanted\(onion\) -> none$", out, re.M)
    assert re.search(r"^- params/detour$", out, re.M)
    assert re.search(r"^\+ methods/finish\n +task work; subtasks serve_it$", out, re.M)
    assert re.search(r"^\+ operators/serve_it$", out, re.M)


def test_diff_as_json_is_a_patch_that_can_be_applied(planish, mine, other):
    _, out, _ = planish("diff", mine, other, "--json")
    found = json.loads(out)
    a, b = load_library(mine), load_library(other)
    patch = Patch(base_hash=found["from"], rationale="", ops=tuple(found["ops"]))
    assert apply(patch, a, anchor=a, limits=Limits(delta_round=5)).digest == b.digest == found["to"]
    assert found["drift"] == 4.5
    assert len(found["nodes"]) == 6


def test_diff_of_equals_says_so(planish, mine, tmp_path):
    save_library(small(name="twin", description="another text"), tmp_path / "twin.json")
    code, out, _ = planish("diff", mine, "twin.json")
    assert code == 0
    assert "they act in the same way" in out
    assert json.loads(planish("diff", mine, mine, "--json")[1])["ops"] == []


# ---- export-skill -----------------------------------------------------------------------------


def front_and_body(path):
    _, front, body = path.read_text("utf-8").split("---\n", 2)
    return yaml.safe_load(front), body


def test_a_skill_is_written_as_its_format_asks(planish, mine, tmp_path):
    code, out, _ = planish("export-skill", mine, "--out", "skills/two-cooks")
    assert code == 0
    folder = tmp_path / "skills" / "two-cooks"
    assert sorted(each.name for each in folder.iterdir()) == ["SKILL.md", "library.json"]
    assert [each.name for each in folder.parent.iterdir()] == ["two-cooks"]
    assert load_library(folder / "library.json") == small()
    front, body = front_and_body(folder / "SKILL.md")
    assert front.keys() == {"name", "description"}
    assert front["name"] == "two-cooks"
    assert front["description"].startswith("Onions into pots.")
    assert len(front["description"]) <= 1024
    for node in (*small().methods, *small().operators):
        assert f"**{node.id}**" in body
    assert small().digest in body
    assert "- `patience` = 3 (0 to 10)" in body
    assert "- `gives_way`: " in body
    assert body.index("**fill_now**") < body.index("**fetch_and_fill**")
    assert "planish cowork show skills/two-cooks/library.json" in out


def test_the_name_of_a_skill(planish, mine):
    for words, name in (
        (("--out", "My_Skill"), "small"),
        (("--out", "any", "--name", "kitchen-2"), "kitchen-2"),
        (("--out", "x" * 65), "small"),
        (("--out", "a--b"), "small"),
    ):
        code, out, err = planish("export-skill", mine, *words, "--json")
        assert (code, json.loads(out)["name"]) == (0, name)
        assert f"in a folder called {name}" in err
    for bad in ("Kitchen", "a_b", "-a", "a-", "a--b", "x" * 65, "ké"):
        code, _, err = planish("export-skill", mine, "--out", "new", f"--name={bad}")
        assert code == 2, bad
        assert "cannot be the name of a skill" in err


def test_a_skill_that_is_there_is_not_replaced_unasked(planish, mine, other, tmp_path):
    assert planish("export-skill", mine, "--out", "s")[0] == 0
    before = (tmp_path / "s" / "SKILL.md").read_text()
    code, _, err = planish("export-skill", other, "--out", "s")
    assert code == 2
    assert "is there already" in err
    assert "--force" in err
    assert (tmp_path / "s" / "SKILL.md").read_text() == before
    (tmp_path / "s" / "notes.md").write_text("mine")
    assert planish("export-skill", other, "--out", "s", "--force")[0] == 0
    assert load_library(tmp_path / "s" / "library.json").name == "other"
    assert (tmp_path / "s" / "notes.md").read_text() == "mine"
    (tmp_path / "file").write_text("")
    code, _, err = planish("export-skill", mine, "--out", "file")
    assert code == 2
    assert "cannot be written" in err


@pytest.mark.parametrize("broken", ["library.json", "SKILL.md"])
def test_a_skill_is_never_half_written(planish, mine, tmp_path, monkeypatch, broken):
    real = skills.write_text

    def full(path, text):
        if path.name == broken:
            raise OSError(28, "No space left on device")
        real(path, text)

    monkeypatch.setattr(skills, "write_text", full)
    code, _, err = planish("export-skill", mine, "--out", "s")
    assert code == 2
    assert "No space left" in err
    assert sorted(each.name for each in tmp_path.iterdir()) == ["mine.json"]


def test_a_large_library_is_cut_below_5000_tokens_and_says_so(tmp_path):
    made = document()
    made["description"] = "---\nname: <b>evil</b>\n\x1b[31m: 'x' \"y\" " * 40
    made["methods"] += [
        {"id": f"{'spare' * 10}_{n}", "task": "work", "subtasks": ["wait"] * 12,
         "when": ["at_least(onion, 2)"] * 4}
        for n in range(150)
    ]  # fmt: skip
    library = parse_library({**made, "description": made["description"][:1024]})
    found = skills.make_skill(library, name="n" * 64)
    assert found.left_out > 50
    assert f"{found.left_out} more lines did not fit" in found.body
    assert found.tokens < 5000
    assert len(found.body.encode()) < 5000 * 3
    skills.write_skill(found, tmp_path / "s")
    front, _ = front_and_body(tmp_path / "s" / "SKILL.md")
    assert front == {"name": "n" * 64, "description": found.description}
    assert "<" not in found.description
    assert found.description.isprintable()
    assert len(found.description) <= 1024
    assert load_library(tmp_path / "s" / "library.json") == library
