"""Stage `train`: an indexer from a dump, without the backbone.

planish lookahead train --dump dump --out indexer
planish lookahead train --dump dump-a dump-b --out indexer --preset tiny --report held-out
planish lookahead train --resume runs/lookahead/20250102-030405-train-indexer

One dual encoder for every scored layer, side by side with `--workers`; the layers that are kept
are chosen on validation documents. A run that was stopped goes on with the next layer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from planish.methods.lookahead.config import Training
from planish.methods.lookahead.data import SEEN, TRAINING
from planish.methods.lookahead.dumping.places import check_parent
from planish.parallel import fan_out
from planish.records import BadInput, Record, write_jsonl, write_text
from planish.runs import Run
from planish.runs.console import Screen, command
from planish.runs.info import config_of, dumps, read_info
from planish.runs.options import RUNS, Count, Json, RunsDir
from planish.runs.presets import Preset, digest, regiven, resolve
from planish.runs.store import find

if TYPE_CHECKING:
    from torch import Tensor

    from planish.methods.lookahead.train.lessons import Lesson

__all__ = ["TRAINING", "Layer", "Plan", "train"]

AGAIN = "planish lookahead train --resume"
LAYER = "layer"
_FREE = frozenset({"out"})
_Several = Parameter(consume_multiple=True, negative="", show_default=False)


class Plan(Training):
    """What determines the indexer.

    Args:
        dumps: folders. records: hash of the records of each, so that a resume finds the same.
        report: dumps of what will be reported on, none of whose documents may be trained on.
    """

    dumps: tuple[str, ...]
    records: tuple[str, ...]
    report: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    out: str


class Layer(Record):
    """A trained layer: its quality on validation, and its curve."""

    layer: str
    shift: float
    quality: dict[str, float | None]
    curve: tuple[dict[str, float], ...]


class Trained(Record):
    """What a worker leaves beside a layer's weights: its record, and what it would have logged."""

    layer: Layer
    metrics: tuple[dict[str, float], ...]


@dataclass(frozen=True)
class _Job:
    """A layer to train, here or in another process.

    Args:
        weights, told: files for its tensors, and for what is told of it.
        trainer: folder for what the trainer writes.
        log: takes numbers while they come; None: they wait in `told`.
    """

    lesson: Lesson
    layer: str
    weights: Path
    told: Path
    trainer: Path
    log: Callable[[int, Mapping[str, float]], None] | None


def train(
    *,
    dump: Annotated[tuple[Path, ...], _Several] = (),
    out: Path | None = None,
    report: Annotated[tuple[Path, ...], _Several] = (),
    layers: Annotated[tuple[str, ...], _Several] = (),
    preset: Preset | None = None,
    config: Training = Training(),  # noqa: B008 - frozen
    workers: Count = 1,
    resume: str | None = None,
    runs: RunsDir = RUNS,
    json: Json = False,
) -> int:
    """Train a memory indexer on dumps; the backbone is not loaded.

    Args:
        dump: Folders that planish lookahead dump made, of one backbone.
        out: Folder for the indexer; it must not exist yet.
        report: Dumps of documents that will be reported on: training on one of them is refused.
        layers: Train only these of the dumped layers, such as l12.
        preset: Settings to start from; single options override them.
        workers: Layers that are trained at once, each in a process with one thread.
        resume: Go on with this run (a path, a name, or last); no finished layer is trained again.
        runs: Folder that holds the runs.
        json: One JSON object on stdout.
    """
    screen = Screen(json=json)
    if resume is None:
        plan = _plan(dump, out, report, layers, preset, config)
        run = Run.create(
            "lookahead", f"train-{Path(plan.out).name}", plan,
            seed=plan.seed, root=runs, stage="train", again=AGAIN,
        )  # fmt: skip
    else:
        folder = find(runs, resume).path
        before = config_of(read_info(folder), "lookahead", "train", Plan)
        dials = regiven(before, config, preset)
        plan = before.model_copy(update=dials.model_dump())
        if out is not None:
            check_parent(out)
            plan = plan.model_copy(update={"out": str(out)})
        if _records(plan.dumps) != plan.records:
            raise BadInput("its dump has changed since", where=str(folder), fix="start a new run")
        run = Run.resume(folder, plan, ignore=_FREE)
    return _carry_out(run, plan, screen, workers)


def _plan(
    dump: tuple[Path, ...],
    out: Path | None,
    report: tuple[Path, ...],
    layers: tuple[str, ...],
    preset: Preset | None,
    config: Training,
) -> Plan:
    if not dump:
        raise BadInput("is missing", where="--dump", fix="make one: planish lookahead dump")
    if out is None:
        raise BadInput("is missing", where="--out", fix="give --out indexer")
    if out.exists():
        raise BadInput("is there already", where=str(out), fix="name a new folder")
    check_parent(out)
    dials = resolve(preset, config)
    if dials.stride and dials.tokens != "decisions":
        raise BadInput(
            "is between two decisions, but all tokens are learned from", where="--stride",
            fix="add --tokens decisions",
        )  # fmt: skip
    folders = tuple(str(one.resolve()) for one in dump)
    reported = tuple(str(one.resolve()) for one in report)
    _check(folders, reported)
    return Plan(
        **dials.model_dump(),
        dumps=folders,
        records=_records(folders),
        report=reported,
        layers=layers,
        out=str(out),
    )


def _check(dumps: tuple[str, ...], report: tuple[str, ...]) -> None:
    """Before there is a run: refused dumps leave nothing behind."""
    from planish.methods.lookahead.dumping.folder import Dump
    from planish.methods.lookahead.train.lessons import check_overlap

    found = [Dump(folder) for folder in dumps]
    if empty := [one.folder for one in found if not one.documents]:
        raise BadInput("holds no document", where=str(empty[0]), fix="dump some")
    check_overlap(found, [Dump(folder) for folder in report])
    for one in found:
        for document in one.documents:  # a file that is cut off cannot be opened
            one.tensors(document, ("positions",))


def _records(folders: tuple[str, ...]) -> tuple[str, ...]:
    from planish.methods.lookahead.data import RECORDS
    from planish.methods.lookahead.dumping.folder import read_header

    for folder in folders:
        read_header(Path(folder))
    return tuple(digest(Path(folder) / RECORDS) for folder in folders)


def _carry_out(run: Run, plan: Plan, screen: Screen, workers: int) -> int:
    from planish.judges.resumable import resumable
    from planish.methods.lookahead.dumping.folder import Dump
    from planish.methods.lookahead.showing_training import page
    from planish.methods.lookahead.train.lessons import prepare

    with run, resumable(run, screen):
        found = [Dump(folder) for folder in plan.dumps]
        lesson = prepare(found, plan)
        screen.note(_told(lesson))
        write_jsonl(run.artifact("labels.jsonl"), lesson.validation.records)
        names = _chosen(plan, lesson)
        _learn(run, lesson, names, screen, workers)
        summary = _save(run, plan, lesson, names)
        run.finish(**summary)
        screen.numbers(summary, title=f"indexer, {_apart(lesson)}")
        rows = list(run.records(LAYER, Layer))
        page(run, plan, lesson, rows, summary)
    then = command(
        *("planish", "lookahead", "evaluate", "--model", lesson.header.model),
        *("--indexer", plan.out, "--task", "recall:ruler:2048"),
    )
    screen.close({**summary, "out": plan.out}, run=run.path, report=run.report_path, then=[then])
    return 0


def _told(lesson: Lesson) -> str:
    rate = lesson.train.positives / max(lesson.train.candidates, 1)
    return (
        f"{len(lesson.train.tokens)} tokens to train on and {len(lesson.validation.tokens)} to "
        f"choose by; {lesson.train.unlabelled + lesson.validation.unlabelled} without a label are "
        f"left out; {rate:.1%} of the candidates are needed"
    )


def _apart(lesson: Lesson) -> str:
    """The validation documents, and how many of them have anything to measure."""
    documents, labelled = len(lesson.validation.documents), lesson.validation.labelled_documents
    some = "" if labelled == documents else f", {labelled} of them with a label"
    return f"{documents} documents apart{some}"


def _chosen(plan: Plan, lesson: Lesson) -> list[str]:
    from planish.methods.lookahead.data import layer_name

    there = [layer_name(layer) for layer in lesson.header.layers]
    if unknown := [layer for layer in plan.layers if layer not in there]:
        raise BadInput(
            f"{unknown[0]} was not dumped", where="--layers", fix=f"use {', '.join(there)}"
        )
    return [layer for layer in there if not plan.layers or layer in plan.layers]


def _learn(run: Run, lesson: Lesson, names: list[str], screen: Screen, workers: int) -> None:
    """Trains what was not trained yet; a layer is recorded the moment it is known."""

    def job(layer: str) -> _Job:
        def log(number: int, numbers: Mapping[str, float]) -> None:
            run.log(number, layer=layer, **numbers)

        weights, told = (run.artifact(f"layers/{layer}.{end}") for end in ("safetensors", "json"))
        trainer = run.artifact("trainer") / layer
        return _Job(lesson, layer, weights, told, trainer, log if workers == 1 else None)

    with screen.progress("training layers", total=len(names)) as step:

        def keep(*_: int) -> None:
            for each in jobs:
                if run.done(each.layer, LAYER) or not each.told.exists():
                    continue
                found = Trained.model_validate_json(each.told.read_bytes())
                for point in found.metrics:
                    run.log(int(point["step"]), layer=each.layer, **_without_step(point))
                run.record(LAYER, found.layer, id=each.layer)
                step()

        for _ in range(sum(run.done(layer, LAYER) for layer in names)):
            step()
        jobs = [job(layer) for layer in names if not run.done(layer, LAYER)]
        keep()  # a worker may have ended after the run was stopped
        left = [each for each in jobs if not run.done(each.layer, LAYER)]
        fan_out(_train_layer, left, workers=workers, progress=keep)


def _train_layer(job: _Job) -> None:
    """Weights first, so that nothing is told of a layer that is not there."""
    from safetensors.torch import save_file

    from planish.methods.lookahead.train.lessons import learn_layer

    metrics: list[dict[str, float]] = []

    def later(number: int, numbers: Mapping[str, float]) -> None:
        metrics.append({**numbers, "step": float(number)})

    weights, fitted = learn_layer(job.lesson, job.layer, job.trainer, job.log or later)
    tensors = {f"weights.{name}": value for name, value in weights.items()}
    tensors |= {f"logits.{place}": one for place, one in enumerate(fitted.logits)}
    save_file({key: value.contiguous() for key, value in tensors.items()}, job.weights)
    record = Layer(
        layer=job.layer, shift=fitted.shift, quality=fitted.quality, curve=tuple(fitted.curve)
    )
    write_text(job.told, Trained(layer=record, metrics=tuple(metrics)).model_dump_json() + "\n")


def _without_step(point: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in point.items() if name != "step"}


def _save(run: Run, plan: Plan, lesson: Lesson, names: list[str]) -> dict[str, Any]:
    from planish.methods.lookahead.showing_training import value_of
    from planish.methods.lookahead.train.lessons import assemble

    learnt = {}
    for layer in names:
        tensors = _trained(run.artifact(f"layers/{layer}.safetensors"))
        weights = {
            name.removeprefix("weights."): value
            for name, value in tensors.items()
            if name.startswith("weights.")
        }
        logits = [tensors[f"logits.{place}"] for place in range(len(lesson.validation.documents))]
        learnt[layer] = (weights, logits)
    indexer, mode, quality = assemble(lesson, learnt)
    out = Path(plan.out)
    indexer.save_pretrained(out)
    seen = {
        name: sorted(document.digest for document in part.documents)
        for name, part in zip(SEEN, (lesson.train, lesson.validation), strict=True)
    }
    told = {
        **seen,
        "tasks": sorted({dump.header.task for dump in lesson.where.values()}),
        "layers": list(indexer.layers),
        "mode": mode,
        "labels": {name: getattr(plan, name) for name in _LABELS},
        "quality": {name: value_of(number) for name, number in quality.items()},
    }
    write_text(out / TRAINING, dumps(told, indent=2) + "\n")
    return {
        "layers": ", ".join(indexer.layers),
        "mode": mode,
        "train_tokens": len(lesson.train.tokens),
        "validation_documents": lesson.validation.labelled_documents,
        "validation_tokens": len(lesson.validation.tokens),
        "unlabelled_tokens": lesson.train.unlabelled + lesson.validation.unlabelled,
        "positive_rate": lesson.train.positives / max(lesson.train.candidates, 1),
        **quality,
    }


def _trained(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise BadInput(
            f"the trained layer cannot be read ({error})", where=str(path), fix="start a new run"
        ) from None


_LABELS = (
    "rule", "mass", "among", "min_layers", "head_mass", "interval", "sink_tokens",
    "recent_tokens", "max_positives",
)  # fmt: skip
