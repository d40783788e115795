"""What the documents show is what the code reads."""

import json
import re
import shlex
from pathlib import Path
from typing import get_args

import pytest

from planish.cli import build_app
from planish.judges.formats import read_outputs, read_pairs
from planish.judges.formats.own import gold_slot
from planish.methods.cowork.acting.episodes import Job, play
from planish.methods.cowork.data import Cell
from planish.methods.cowork.improving.reasons import REASONS
from planish.methods.cowork.kitchen import Kitchen
from planish.methods.cowork.kitchen.layouts import parse_layout
from planish.methods.cowork.skills import parse_library
from planish.methods.lookahead import METHOD as LOOKAHEAD_ROOM
from planish.methods.lookahead.config import Dumping, Training
from planish.methods.lookahead.dumping.reading import items_of_file
from planish.methods.lookahead.evaluate.settings import ARMS as CHOOSERS
from planish.methods.lookahead.evaluate.settings import Settings
from planish.methods.lookahead.running.generate import Plan
from planish.methods.lookahead.running.generate import _requests as requests
from planish.methods.s2j.data import pair_items
from planish.methods.s2j.measuring.baselines_plan import BaselinesConfig, make_plan
from planish.methods.vfaith.building.photographs import Photograph, read_photographs
from planish.methods.vfaith.data import ARMS, Outcome
from planish.methods.vfaith.running.planted import PLANTED, AnswerSheet
from planish.methods.vfaith.scoring.records import METRICS
from planish.methods.vfaith.verifying.gates import CODES, GATES
from planish.models.memory.budget import Budget
from planish.models.memory.loading import MemoryOptions
from planish.tasks.base import prove
from planish.tasks.load import load_task

DOCS = Path(__file__).parents[1] / "docs"


def blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)


def first_column(page, header):
    """Names in backticks in the first column of the table that begins with `header`."""
    _, found, rest = (DOCS / page).read_text().partition(f"\n| {header} |")
    assert found, f"{page} has no table that begins with {header}"
    rows = [line.split("|")[1] for line in rest.split("\n\n")[0].splitlines()[2:]]
    return [name for cell in rows for name in re.findall(r"`([\w.-]+)`", cell)]


@pytest.mark.parametrize(("index", "rows"), [(0, 2), (1, 1)])
def test_documented_pairs_are_read(tmp_path, index, rows):
    path = tmp_path / "pairs.jsonl"
    path.write_text(blocks("rise.md", "json")[index])
    assert len(read_pairs(path)) == rows


@pytest.mark.parametrize(("index", "rows"), [(2, 2), (3, 1), (4, 1)])
def test_documented_outputs_are_read(tmp_path, index, rows):
    path = tmp_path / "outputs.jsonl"
    path.write_text(blocks("rise.md", "json")[index])
    assert len(read_outputs(path)) == rows


@pytest.mark.parametrize(
    "page",
    ["cowork.md", "lookahead.md", "mistakes.md", "reheat.md", "rise.md", "s2j.md", "vfaith.md"],
)
def test_documented_python_names_exist(page):
    for block in blocks(page, "python"):
        for line in block.splitlines():
            if line.startswith("from "):
                exec(line, {})


def test_documented_questions_are_a_task(tmp_path):
    path = tmp_path / "questions.jsonl"
    path.write_text(next(b for b in blocks("rise.md", "json") if '"target"' in b))
    task = load_task(str(path))
    assert prove(task, split="report", limit=task.capped("report", 9)) > 0
    graders = [
        example.meta["grader"]
        for split in ("train", "gate", "report")
        for example in task.examples(split, task.capped(split, 9))
    ]
    assert sorted(graders) == ["choice", "exact", "math", "math"]


def test_documented_pairs_of_solve_to_judge_are_items(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text(blocks("s2j.md", "json")[0])
    items = pair_items(path)
    assert [item.slice for item in items.items] == ["one_right"] * 4
    assert [item.case.gold for item in items.items] == ["A", gold_slot("half"), "B", "A"]
    assert [item.id for item in items.with_target] == ["sum-1", "half", "bird"]


def test_documented_templates_of_solve_to_judge_fit_each_other(tmp_path):
    plain, solving = tmp_path / "plain.txt", tmp_path / "solving.json"
    plain.write_text(blocks("s2j.md", "jinja")[0])
    solving.write_text(blocks("s2j.md", "json")[1])
    given = dict.fromkeys(("pairs", "format", "limit", "cache"))
    config = BaselinesConfig(template=str(solving), plain_template=str(plain))
    plan = make_plan({**given, "model": "scripted:tie", "task": "chain:3"}, config, None)
    asking, items = plan.asking(), plan.items()
    assert plan.checked(asking, items).template_hash
    assert asking.solving.solution == ("<mine>", "</mine>")
    assert asking.plain.labels == asking.solving.labels


def test_documented_library_and_kitchen_are_read():
    library = parse_library(json.loads(blocks("cowork.md", "json")[0]))
    assert [node.id for node in library.methods if node.locked] == ["fill"]
    text = blocks("cowork.md", "layout")[0]
    layout = parse_layout(text, name="mine", where="mine.layout")
    played = play(Job(Cell(layout="cramped_room"), library, seed=0, horizon=60))
    assert played.episode.score is not None
    assert Kitchen(layout).state().tick == 0


def test_documented_verdicts_are_those_of_the_gate():
    rows = re.findall(r"^\| (`[a-z_`, ]+`)(?:, \.\.\.)? \|", (DOCS / "cowork.md").read_text(), re.M)
    named = {name for row in rows for name in re.findall(r"[a-z_]+", row)}
    assert named <= set(REASONS)
    assert {"accepted", "noisy_tie", "code_smuggled"} <= named


def test_documented_photographs_are_read(tmp_path):
    path = tmp_path / "photos.jsonl"
    path.write_text(blocks("vfaith.md", "json")[0])
    assert [entry.photo.id for entry in read_photographs(path)] == ["helmet", "cup"]
    assert sorted(first_column("vfaith.md", "field")) == sorted(Photograph.model_fields)


@pytest.mark.parametrize(
    ("header", "names"),
    [
        ("metric", METRICS),
        ("gate", GATES),
        ("arm", ARMS),
        ("outcome", get_args(Outcome)),
        ("name", PLANTED),
    ],
)
def test_documented_names_of_vfaith_are_those_of_the_code(header, names):
    assert sorted(first_column("vfaith.md", header)) == sorted(names)


def test_documented_codes_of_vfaith_are_those_of_the_gates():
    # "refused" is what the builder says of an edit that never came; no gate measured anything.
    assert {*first_column("vfaith.md", "code")} == {*CODES, "refused"}


def test_documented_answer_sheet_is_one():
    options = re.search(r"^\| `sheet` \|.*`\?(.*?)` \|$", (DOCS / "vfaith.md").read_text(), re.M)[1]
    sheet = AnswerSheet(**dict(item.split("=") for item in options.split("&")))
    assert sheet.expected(4)["repeat_ratio"] == sheet.stick


LOOKAHEAD = "../src/planish/methods/lookahead/README.md"


@pytest.mark.parametrize("page", ["lookahead.md", LOOKAHEAD])
def test_documented_commands_of_lookahead_can_be_typed(page):
    shown = re.findall(r"^(?:\$ )?planish (.*)", (DOCS / page).read_text(), re.MULTILINE)
    found = [shlex.split(line) for line in shown]
    assert {words[1] for words in found if words[0] == "lookahead"} == {*LOOKAHEAD_ROOM.stages}
    app = build_app()
    for words in found:
        app.parse_args(words, exit_on_error=False, print_error=False)


@pytest.mark.parametrize(
    ("page", "header", "names"),
    [
        (LOOKAHEAD, "budget", Budget.model_fields),
        (LOOKAHEAD, "dump", Dumping.model_fields),
        (LOOKAHEAD, "train", Training.model_fields),
        (LOOKAHEAD, "evaluate", Settings.model_fields),
        (LOOKAHEAD, "arm", CHOOSERS),
        ("lookahead.md", "arm", CHOOSERS),
        ("lookahead.md", "option", MemoryOptions.model_fields),
    ],
)
def test_documented_names_of_lookahead_are_those_of_the_code(page, header, names):
    told = [name.removeprefix("--") for name in first_column(page, header)]
    dashed = [name if name in names else name.replace("-", "_") for name in told]
    assert dashed == list(names)


def test_documented_presets_of_lookahead_are_those_of_the_code():
    def plain(value):
        return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)

    def number(text):
        try:
            return str(float(text))
        except ValueError:
            return text

    text = (DOCS / LOOKAHEAD).read_text()
    for header, dials in (("dump", Dumping), ("train", Training)):
        table = text.partition(f"\n| {header} |")[2].split("\n\n")[0].splitlines()[2:]
        for row in table:
            name, usual, *cells = [cell.strip() for cell in row.split("|")[1:6]]
            field = name.strip("`-").replace("-", "_")
            for preset, cell in zip(
                (dials.tiny(), dials.laptop(), dials.paper()), cells, strict=True
            ):
                value = plain(getattr(preset, field))
                if field in ("min_layers", "stride"):  # None is told in words
                    assert value == (cell or "None"), (header, name)
                elif field == "budgets":
                    assert value.strip("()") == (cell or usual)
                else:
                    assert number(value) == number(cell or usual), (header, name)


def test_documented_documents_and_prompts_of_lookahead_are_read(tmp_path):
    path = tmp_path / "lines.jsonl"
    path.write_text(blocks("lookahead.md", "json")[0])
    found = [
        item.id
        for split in ("train", "gate", "report")
        for item in items_of_file(path, split, None)
    ]
    assert sorted(found) == ["lines.jsonl:2", "minutes-12"]
    path.write_text(blocks("lookahead.md", "json")[1])
    assert dict(requests(Plan(model="hf:x", prompts=str(path)))) == {"p0": "..."}
