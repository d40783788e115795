"""Stage `build`: a bench of pairs, each through every gate.

planish vfaith build --num 200 --out bench
planish vfaith build --subset RWS TIF --num 100 --size 256 --out small
planish vfaith build --photos photos.jsonl --editor openai:gpt-image-1.5 --out mine
planish vfaith build --photos photos.jsonl --verifier openai:gpt-5 hf:./qwen3-vl --out mine
planish vfaith build --photos photos.jsonl --propose openai:gpt-5

The same command goes on where it was stopped, and leaves the same bytes as if it had not been. What
an editor was paid for is kept in the bench, in `edits/`, and is never asked for again, and so is
what verifiers said of the cues (`cue_replies.jsonl`). A run folder holds the report. Exit code 0:
every place holds a pair and the bench passed the gates over all of it; 1: places stayed empty or
one of those gates failed, and `build.json` says which; 2: bad input.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from planish.methods.vfaith.bench import BUILD
from planish.methods.vfaith.building.filling import Filled, fill
from planish.methods.vfaith.building.photographs import Entry, read_photographs
from planish.methods.vfaith.building.plan import NUM, Plan, chosen_families
from planish.methods.vfaith.building.writing import Site
from planish.methods.vfaith.config import Building, Gates
from planish.methods.vfaith.editing.contract import Editor, load_editor
from planish.methods.vfaith.verifying.independence import check_apart
from planish.methods.vfaith.verifying.witnesses import Witnesses
from planish.models.base import LanguageModel
from planish.records import BadInput
from planish.runs import Run
from planish.runs.console import Screen, command
from planish.runs.lines import telling_full
from planish.runs.options import RUNS, Count, Json, RunsDir
from planish.runs.presets import digest

if TYPE_CHECKING:
    from planish.methods.vfaith.building.counting import Numbers

__all__ = ["build", "build_bench", "make_plan"]

_Several = Parameter(consume_multiple=True, negative="")


def build(
    *,
    out: Path = Path("bench"),
    num: Count | None = None,
    subset: Annotated[tuple[str, ...], _Several] = (),
    family: Annotated[tuple[str, ...], _Several] = (),
    editor: str = "scene",
    photos: Path | None = None,
    verifier: Annotated[tuple[str, ...], _Several] = (),
    propose: str | None = None,
    building: Building | None = None,
    gates: Gates | None = None,
    runs: RunsDir = RUNS,
    json: Json = False,
) -> int:
    """Build a bench of edited pairs; the same command goes on with one that was stopped.

    Args:
        out: Folder of the bench.
        num: Pairs and perception items together, in the paper's proportions; by default 755.
        subset: RWS, REA, PFK, CRE or TIF, one or several; by default all.
        family: Families of scenes; by default all of the subsets.
        editor: scene (exact, the default), openai:MODEL@URL or diffusers:FOLDER.
        photos: A list of photographs, one JSON object a line, in place of drawn scenes.
        verifier: Two models or more that say whether the cue of a photograph is there before and
            after; all must agree, and none of them can be ranked on this bench.
        propose: A model that proposes cues for the photographs; nothing is built.
        runs: Folder that holds the runs.
        json: One JSON object on stdout.
    """
    screen = Screen(json=json)
    dials = building or Building()
    if propose is not None:
        return _propose(photos, propose, screen)
    plan, entries = make_plan(
        num=num, subsets=subset, families=family, editor=editor, photos=photos,
        verifiers=verifier, building=dials, gates=gates, screen=screen,
    )  # fmt: skip
    return _carry_out(out, plan, entries, dials.workers, screen, runs)


def make_plan(
    *,
    num: int | None = None,
    subsets: Sequence[str] = (),
    families: Sequence[str] = (),
    editor: str = "scene",
    photos: Path | None = None,
    verifiers: Sequence[str] = (),
    building: Building | None = None,
    gates: Gates | None = None,
    screen: Screen | None = None,
) -> tuple[Plan, list[Entry]]:
    """The plan that the options make, and the photographs that it is made of.

    Raises:
        BadInput: a subset or family that is not there, options that do not go together, verifiers
            that are not two different models, or a list of photographs that cannot be used; with
            file and line.
    """
    if verifiers:
        if photos is None:
            raise BadInput(
                "what a drawn scene shows is known, and nobody needs to look",
                where="--verifier",
                fix="leave it out, or add --photos FILE.jsonl",
            )
        check_apart(verifiers)
    building = building or Building()
    common: dict[str, Any] = {
        "editor": editor,
        "size": building.size,
        "seed": building.seed,
        "gates": gates or Gates(),
    }
    if photos is None:
        names = chosen_families(subsets, families)
        return Plan(num=num or NUM, families=names, **common), []
    for name, value in (("--num", num), ("--subset", subsets), ("--family", families)):
        if value:
            raise BadInput(
                "a bench of photographs holds those of its list",
                where=name,
                fix="leave it out, or build scenes without --photos",
            )
    entries = read_photographs(photos)
    with (screen or Screen(json=True)).progress("opening photographs", len(entries)) as step:
        for entry in entries:
            entry.check(editor=editor != "scene")
            step()
    plan = Plan(
        num=len(entries),
        photos=photos.name,
        photos_sha256=digest(photos),
        verifiers=tuple(verifiers),
        **common,
    )
    return plan, entries


# ---- the run


def build_bench(
    out: Path,
    plan: Plan,
    screen: Screen,
    *,
    entries: Sequence[Entry] = (),
    workers: int | None = None,
) -> tuple[Numbers, int]:
    """Builds a bench or goes on with one, without a run folder.

    Args:
        entries: the photographs of a plan that is made of them.

    Returns:
        What it holds, and how many places stayed empty.

    Raises:
        BadInput: see `Site.open` and `fill`.
    """
    # Before anything is written: a missing key or extra is told at once.
    editor = load_editor(plan.editor)
    plan, models = _with_verifiers(plan)
    with Site.open(out, plan) as site:
        numbers, filled = _filled(site, editor, models, screen, entries, workers)
        return numbers, filled.empty


def _carry_out(
    out: Path, plan: Plan, entries: Sequence[Entry], workers: int | None, screen: Screen, runs: Path
) -> int:
    from planish.methods.vfaith.building.pages import write_report

    editor = load_editor(plan.editor)
    plan, models = _with_verifiers(plan)
    with Site.open(out, plan) as site:
        config = plan.model_dump(mode="json") | {"out": str(out)}
        slug = f"build-{out.name}"[:40]
        run = Run.create("vfaith", slug, config, seed=plan.seed, root=runs, stage="build")
        with run, _told(screen):
            numbers, filled = _filled(site, editor, models, screen, entries, workers)
            found = numbers.as_json() | {"unfilled": filled.empty}
            summary = _summary(out, found) | {
                "edits_failed": len(filled.failures),
                "cues_unseen": len(filled.unseen),
            }
            if not site.count():
                run.close("failed", "no pair passed its gates")
                _tell_failures(screen, filled)
                for reason, pairs in numbers.excluded.most_common(3):
                    screen.warn(f"{pairs} pairs failed gate {reason.gate}: {reason.code}")
                screen.close(summary, run=run.path)
                return 1
            run.finish(**summary)
            with telling_full(run.report_path):
                write_report(run, site, numbers)
        _show(screen, numbers)
    if plan.photos and not plan.verifiers:
        screen.note(
            "no model has looked whether the cues are there: that is the word of whoever confirmed "
            "them (--verifier MODEL MODEL)"
        )
    lacks = bool(filled.empty) or not summary["bench_gates_passed"]
    _tell_failures(screen, filled)
    if filled.empty:
        screen.warn(f"{filled.empty} places stayed empty")
    if lacks:
        screen.warn(f"exit code 1: {out} can be used, and its {BUILD} says what it lacks")
    then = command("planish", "vfaith", "run", "--model", "MODEL", "--bench", out)
    screen.close(summary, run=run.path, report=run.report_path, then=[then])
    return int(lacks)


def _with_verifiers(plan: Plan) -> tuple[Plan, list[LanguageModel]]:
    """The models that look for cues, opened before anything is written, and the plan that names
    them without options that change no reply, in an order of its own."""
    from planish.models.load import load

    models = sorted((load(spec) for spec in plan.verifiers), key=lambda model: model.name)
    for a, b in pairwise(sorted(models, key=lambda model: model.revision)):
        if a.revision == b.revision:
            raise BadInput(
                f"{a.name} and {b.name} are one model",
                where="--verifier",
                fix="name two models that differ",
            )
    return plan.model_copy(update={"verifiers": tuple(model.name for model in models)}), models


def _filled(
    site: Site,
    editor: Editor,
    models: Sequence[LanguageModel],
    screen: Screen,
    entries: Sequence[Entry],
    workers: int | None,
) -> tuple[Numbers, Filled]:
    from planish.methods.vfaith.building.counting import count

    for note in (*site.notes, *_without_placebo(entries)):
        screen.warn(note)
    witnesses = Witnesses(site.folder, models, screen) if models else None
    filled = fill(site, editor, screen, entries=entries, workers=workers, witnesses=witnesses)
    site.settle()
    numbers = count(site)
    if witnesses is not None:
        numbers.verifying = witnesses.numbers(entry.photo.id for entry in entries)
    if site.count():
        site.complete(numbers.as_json() | {"unfilled": filled.empty})
    return numbers, filled


def _without_placebo(entries: Sequence[Entry]) -> Iterator[str]:
    """What photographs without a placebo will not tell, before the first edit is paid for."""
    bare = sum(entry.photo.placebo_box is None for entry in entries)
    if bare == len(entries) > 0:
        yield (
            "no photograph has a placebo: there will be no Delta_net, and a drop may be no more "
            "than a harder picture (placebo_box with placebo_instruction or placebo)"
        )
    elif bare:
        yield (
            f"{bare} of {len(entries)} photographs have no placebo: Delta_net will be over the "
            "others"
        )


@contextlib.contextmanager
def _told(screen: Screen) -> Iterator[None]:
    """Says how to go on when the work is stopped half-way."""
    try:
        yield
    except BaseException:
        screen.note("what was built is kept: the same command goes on")
        raise


def _propose(photos: Path | None, model: str, screen: Screen) -> int:
    """Cues for photographs, for a person to confirm."""
    if photos is None:
        raise BadInput("no photographs", where="--propose", fix="add --photos FILE.jsonl")
    from planish.methods.vfaith.building.proposing import propose
    from planish.models.load import load

    found = propose(photos, load(model), screen)
    screen.say(f"{found.cues} cues for {found.photographs} photographs: {found.path}")
    if found.unusable or found.silent:
        screen.warn(
            f"{found.silent} photographs without a cue; {found.unusable} cues could not be used"
        )
    screen.say('look at each, mend it, then write "confirmed": true')
    go_on = command("planish", "vfaith", "build", "--photos", found.path, "--editor", "EDITOR")
    screen.close(found.model_dump(mode="json"), then=[go_on])
    return 0 if found.cues else 1


def _summary(out: Path, found: Mapping[str, Any]) -> dict[str, Any]:
    """What a run and `--json` keep: counts, and the gates over the whole bench."""
    gates = found["bench_gates"]
    checks = gates.get("checks", [])
    return {
        "bench": str(out),
        **{name: value for name, value in found.items() if name != "bench_gates"},
        "text_only": gates.get("text_only", {}).get("value"),
        "placebo_cue": gates.get("placebo_cue", {}).get("value"),
        "bench_gates_passed": all(check["passed"] for check in checks),
    }


def _tell_failures(screen: Screen, filled: Filled) -> None:
    if filled.unseen:
        screen.warn(
            f"{len(filled.unseen)} pairs wait for a verifier, the first because: "
            f"{filled.unseen[0]}; the same command asks again, and pays for nothing twice"
        )
    if filled.failures:
        number = len(filled.failures)
        screen.warn(
            f"no picture came of {number} edits, the first because: {filled.failures[0]}; "
            "the same command tries them again"
        )


def _show(screen: Screen, numbers: Numbers) -> None:
    from planish.methods.vfaith.verifying.gates import CODES

    rows = [
        (name, *(str(row[kind]) for kind in ("pair", "perception", "rejected")))
        for name, row in (*numbers.subsets.items(), *sorted(numbers.families.items()))
    ]
    screen.table(("subset or family", "pairs", "perception items", "kept out"), rows)
    found = numbers.findings
    if found is not None:
        screen.numbers(
            {
                f"words alone on edited items (chance {found.chance:.2f})": found.text_only,
                "telling cue from placebo by looks (chance 0.50)": found.placebo_cue,
                "largest change outside a mask, in levels": numbers.most_outside,
            }
        )
        for check in found.checks:
            if not check.passed:
                screen.warn(f"gate {check.gate} over the bench: {CODES.get(check.code, '')}")
