"""Stage `evolve`: a skill library gets better between episodes, behind a gate.

planish cowork evolve --layouts coordination_ring --episodes 30
planish cowork evolve --layouts cramped_room forced_coordination --proposer openai:m@http://...
planish cowork evolve --resume runs/cowork/20250102-030405-evolve

One episode of evolution plays every cell on fresh training seeds, diagnoses, asks for patches and
judges them. The run folder keeps every verdict (`records.jsonl`), the curve (`metrics.jsonl`), all
libraries that were in use (`artifacts/shelf`) and the one that is (`artifacts/library.json`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from planish.methods.cowork.acting.partners import check_partner
from planish.methods.cowork.config import Config
from planish.methods.cowork.improving.evolving import Evolution, Tools
from planish.methods.cowork.improving.proposing import History, Proposer
from planish.methods.cowork.improving.rounds import Journal
from planish.methods.cowork.improving.settings import (
    LOOKS,
    Seeds,
    cells_of,
    limits_of,
    watched_of,
)
from planish.methods.cowork.improving.snapshots import Shelf
from planish.methods.cowork.kitchen.asked import asked, unchanged
from planish.methods.cowork.library import LEFT_BY_RUN, check_named_again, find_library, new_file
from planish.methods.cowork.showing.evolved import (
    Outcome,
    reference_score,
    show_outcome,
    write_report,
)
from planish.methods.cowork.skills import SHIPPED, Library, load_library, save_library
from planish.records import BadInput
from planish.runs import Run
from planish.runs.console import Screen, command
from planish.runs.info import config_of, read_info
from planish.runs.options import RUNS, Count, Json, RunsDir
from planish.runs.presets import Preset, regiven, resolve
from planish.runs.store import find

__all__ = ["Plan", "evolve"]

AGAIN = "planish cowork evolve --resume"
EMBEDDED, PARAMETERS = "embedded", "parameters"
"""Proposers that are no model: templates, and a search over parameters alone."""

REFERENCE = "full"
"""A library written by hand: the curve begins with an impaired one, and rises by construction."""

_FREE = frozenset({"workers", "backend", "out"})  # they change no number
_BY_HAND = "written by hand"
_Several = Parameter(consume_multiple=True, negative="")


class Plan(Config):
    """What decides the result of a run; a resume must match it.

    Args:
        layouts: names or files; layout_hashes: of those that are files.
        library: where the first library comes from; library_hash: what it was.
        proposer: "embedded", "parameters", or a model, with the templates behind it.
        out: file for the evolved library, beside the run's own copy.
    """

    layouts: tuple[str, ...]
    layout_hashes: dict[str, str]
    episodes: int
    library: str
    library_hash: str
    proposer: str
    out: str | None


@dataclass(frozen=True)
class _Given:
    """A plan and what belongs to it, all of it known to be there."""

    plan: Plan
    start: Library
    model: Any = None


def evolve(
    *,
    layouts: Annotated[tuple[str, ...], _Several] = (),
    episodes: Count | None = None,
    library: str | None = None,
    proposer: str | None = None,
    out: Path | None = None,
    preset: Preset | None = None,
    config: Config = Config(),  # noqa: B008 - frozen
    resume: str | None = None,
    runs: RunsDir = RUNS,
    json: Json = False,
) -> int:
    """Evolve a skill library: play, diagnose, patch, and promote only what proves a gain.

    Args:
        layouts: Kitchens to evolve in: names that ship in the package, .layout files, or
            generated:KIND:SEED, which is drawn (open, divided, passage, round).
        episodes: Episodes of evolution; by default 30.
        library: The library to begin with: impaired (the default), full, a JSON file, or a run.
        proposer: embedded (templates, no model), parameters (a search over numbers alone), or a
            model such as openai:NAME@URL; where a model has no idea, embedded is asked.
        out: A file for the evolved library; it must not exist yet.
        preset: Settings to start from; single options override them.
        resume: Go on with this run (a path, a name, or last); what was played is not played again.
        runs: Folder that holds the runs.
        json: One JSON object on stdout.
    """
    screen = Screen(json=json)
    given = {
        "layouts": layouts or None,
        "episodes": episodes,
        "library": library,
        "proposer": proposer,
        "out": out,
    }
    before = find(runs, resume).path if resume else None
    if before is None:
        plan, start = make_plan(given, resolve(preset, config), runs)
    else:
        plan, start = resumed_plan(before, given, config, preset, runs)
    model = _model(plan.proposer)
    if before is None:
        run = Run.create(
            *("cowork", "evolve", plan), seed=plan.seed, root=runs, stage="evolve", again=AGAIN
        )
    else:
        run = Run.resume(before, plan, ignore=_FREE)
    return _carry_out(run, _Given(plan, start, model), screen)


# ---- the plan


def make_plan(given: Mapping[str, Any], config: Config, runs: Path = RUNS) -> tuple[Plan, Library]:
    """The plan that the options make, and the library to begin with.

    Raises:
        BadInput: an option is missing, or names what is not there.
    """
    hashes = asked(given["layouts"], "--layouts", old_dynamics=config.old_dynamics)
    for name in config.partners:
        check_partner(name)
    if config.backend == "ray" and find_spec("ray") is None:
        raise BadInput(
            "Ray is not installed", where="--backend ray", fix="run: pip install 'planish[ray]'"
        )
    seeds = Seeds(config)
    for purpose, count in (
        ("gate", config.rungs[-1] + (LOOKS[-1] if config.watch else 0)),
        ("train", config.train_episodes),
        ("monitor", config.monitor_episodes),
        ("report", config.report_episodes),
    ):
        seeds.take(purpose, 0, count)  # type: ignore[arg-type]
    source = given["library"] or "impaired"
    start = find_library(source, runs)
    out = new_file(given["out"])
    plan = Plan(
        **config.model_dump(),
        layouts=tuple(given["layouts"]),
        layout_hashes=hashes,
        episodes=given["episodes"] or 30,
        library=source,
        library_hash=start.digest,
        proposer=given["proposer"] or EMBEDDED,
        out=out,
    )
    return plan, start


def resumed_plan(
    folder: Path,
    given: Mapping[str, Any],
    config: Config,
    preset: Preset | None,
    runs: Path = RUNS,
) -> tuple[Plan, Library]:
    """The plan of a run that goes on, with whatever was given again to be compared.

    Raises:
        BadInput: not a run of this stage, a layout or library that has changed since, or a run of
            another version.
    """
    before = config_of(read_info(folder), "cowork", "evolve", Plan)
    unchanged(before.layout_hashes)
    check_named_again(given["library"], before.library, before.library_hash, runs)
    dials = regiven(Config(**before.model_dump(include=set(Config.model_fields))), config, preset)
    told = {name: value for name, value in given.items() if value is not None and name != "library"}
    if "out" in told and str(Path(told["out"]).absolute()) == before.out:
        del told["out"]  # what the run itself has written there may be written again
    if "out" in told:
        told["out"] = new_file(told["out"])
    start = _first_library(folder, before, runs)
    if given["library"] is not None:
        told |= {"library": given["library"]}
    return before.model_copy(update={**dials.model_dump(), **told}), start


def _first_library(folder: Path, plan: Plan, runs: Path) -> Library:
    """What the run began with: its own copy, wherever the file has gone."""
    own = _snapshot(folder, plan.library_hash)
    if own.exists():
        return load_library(own)
    found = find_library(plan.library, runs)
    if found.digest != plan.library_hash:
        raise BadInput("has changed since the run began", where=plan.library, fix="start a new run")
    return found


def _snapshot(folder: Path, library_hash: str) -> Path:
    return folder / "artifacts" / "shelf" / "snapshots" / f"{library_hash}.json"


def _model(proposer: str) -> Any:
    """The model behind a proposer; None where it is not one.

    Raises:
        BadInput: no such model.
    """
    if proposer in (EMBEDDED, PARAMETERS):
        return None
    from planish.methods.cowork.improving.asking import load_asker

    if ":" not in proposer:
        raise BadInput(
            f"no proposer {proposer[:80]!r}",
            where="--proposer",
            fix=f"use {EMBEDDED}, {PARAMETERS}, or a model such as openai:NAME@http://HOST/v1",
        )
    return load_asker(proposer)


# ---- the run


def _carry_out(run: Run, given: _Given, screen: Screen) -> int:
    from planish.judges.resumable import resumable

    plan = given.plan
    with run, resumable(run, screen), Shelf(run.artifact("shelf")) as shelf:
        history = History()
        cells = cells_of(plan.layouts, plan.partners)
        with proposers_of(given, history, run, screen) as proposers:
            evolution = Evolution(
                given.start,
                cells,
                plan,
                tools(),
                proposers=proposers,
                watched=watched_of(cells) if plan.watch else (),
                history=history,
                shelf=shelf,
                journal=Journal(run),
                tell=screen.note,
            )
            if not (run.path / LEFT_BY_RUN).exists():
                _leave(run, evolution)
            with screen.progress("evolving", plan.episodes) as advance:

                def step() -> None:
                    advance()
                    _leave(run, evolution)

                evolution.run(plan.episodes, step=step)
        return _close(run, plan, Outcome(evolution, given.start), screen)


def tools() -> Tools:
    """What plays and diagnoses."""
    from planish.methods.cowork.improving.diagnosis import diagnose

    return Tools(diagnose)


def embedded(plan: Plan) -> Proposer:
    """The templates, which need no model."""
    from planish.methods.cowork.improving.templates import EmbeddedProposer

    return EmbeddedProposer(
        seed=plan.seed,
        candidates=plan.candidates,
        only_parameters=plan.proposer == PARAMETERS,
        limits=limits_of(plan),
    )


@contextlib.contextmanager
def proposers_of(
    given: _Given, history: History, run: Run, screen: Screen
) -> Iterator[Sequence[Proposer]]:
    """Whom to ask, in this order; a model's replies are kept, so that none is paid for twice."""
    plan, templates = given.plan, embedded(given.plan)
    if given.model is None:
        yield [templates]
        return
    from planish.judges.resumable import kept
    from planish.methods.cowork.improving.asking import ModelProposer

    with kept(given.model, run.artifact("replies.jsonl"), screen) as model:
        yield [
            ModelProposer(
                model,
                limits=limits_of(plan),
                history=history,
                candidates=plan.candidates,
                seed=plan.seed,
            ),
            templates,
        ]


def _leave(run: Run, evolution: Evolution) -> None:
    """The library in use, where other commands look for it."""
    path, library = run.path / LEFT_BY_RUN, evolution.offspring
    if path.exists():
        with contextlib.suppress(BadInput):
            if load_library(path) == library:
                return
    save_library(library, path)


def _close(run: Run, plan: Plan, outcome: Outcome, screen: Screen) -> int:
    evolution = outcome.evolution
    references: dict[str, float] = {}
    with contextlib.suppress(BadInput):
        by_hand = load_library(REFERENCE)
        if by_hand.digest != outcome.start.digest:
            score = reference_score(evolution, by_hand)
            references = {} if score is None else {_BY_HAND: score}
    summary = outcome.numbers() | {"score_by_hand": references.get(_BY_HAND)}
    libraries = {point.library: evolution.library(point.library) for point in evolution.points}
    write_report(run, outcome, references, libraries)
    if summary["score"].value is None:
        run.close("failed", "no episode of the report could be scored")
        screen.close(summary, run=run.path, report=run.report_path)
        return 1
    run.finish(**summary)
    left = run.path / LEFT_BY_RUN
    show_outcome(screen, outcome, references, Path(plan.library).stem)
    for row in evolution.rounds:
        if row.unscored:
            screen.warn(f"round {row.round}: {row.unscored} training episodes failed")
    first = plan.library if plan.library in SHIPPED else _snapshot(run.path, plan.library_hash)
    problem = _write_out(plan, evolution.offspring)
    if problem:
        screen.warn(f"{problem}; it is in {left}")
    screen.close(
        {**summary, "library": str(left) if problem else plan.out or str(left)},
        run=run.path,
        report=run.report_path,
        then=[
            command(
                "planish", "cowork", "play", "--library", run.path, "--layout", plan.layouts[0]
            ),
            command("planish", "cowork", "diff", first, run.path),
        ],
    )
    return 1 if problem else 0


def _write_out(plan: Plan, library: Library) -> str:
    """The evolved library where it was asked for. Returns why it is not there; else nothing."""
    if plan.out is None:
        return ""
    try:
        save_library(library, Path(plan.out))
    except OSError as error:
        return f"--out {plan.out}: the library cannot be written ({error.strerror or error})"
    return ""
