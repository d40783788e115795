"""The offline demonstration: who looks, who remembers, and what tells them apart.

A bench of drawn pairs goes through every gate. Ten models answer it: five tiny networks of one
architecture and one training budget, of which one learned to look, three learned from worlds in
which memory pays, and one is blind; and five answer sheets whose faults are planted. Accuracy on
the raw pictures cannot tell them apart. The pairs can, and where a network saw the cue and answered
from memory all the same, the perception questions say so.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planish.methods import Shown
from planish.methods.vfaith.bench import Bench, read_bench
from planish.methods.vfaith.building.build import build_bench, make_plan
from planish.methods.vfaith.claims import (
    BLIND,
    HABITS,
    PLANTED,
    SEEING,
    VIEWED,
    claims,
)
from planish.methods.vfaith.config import Building, Config
from planish.methods.vfaith.data import ARMS, Response
from planish.methods.vfaith.running.planted import load_model
from planish.methods.vfaith.running.records import calls_of, respond
from planish.methods.vfaith.scoring.pages import build_report
from planish.methods.vfaith.scoring.records import METRICS, ModelScore
from planish.methods.vfaith.scoring.score import results_of
from planish.methods.vfaith.scoring.sheets import read_sheet
from planish.methods.vfaith.scoring.tables import Results, shown
from planish.models.base import Steps
from planish.parallel import one_thread
from planish.runs import Run
from planish.runs.console import Screen, command
from planish.stats import Claim, Estimate, claim_rows, tally, verdict

if TYPE_CHECKING:
    from planish.methods.vfaith.building.counting import Numbers
    from planish.runs.report import Report

__all__ = ["MODELS", "demo"]

MODELS = (SEEING, *HABITS, BLIND, *PLANTED)
_NUM, _SIZE = 228, 256  # two hundred pairs, and perception items in the paper's proportion
_CLAIM = (
    "A model that answers a question about a picture rightly need not have looked. Change the one "
    "thing that the answer hangs on: whoever looked follows, whoever remembered does not."
)
_AT_CHANCE = (
    "n/a under saw, did not use: it sees the cue at chance, so what it did not follow it has not "
    "seen; or fewer than 20 pairs qualify."
)
_LIMITS = (
    "Drawn scenes and networks of half a million weights: they show the mechanism, not the paper's "
    "numbers. Intervals are over pairs; each network was trained once, and they say nothing of "
    "another training."
)


def demo(*, screen: Screen, seed: int = 0, root: Path = Path("runs")) -> Shown:
    """Builds a bench, lets ten models answer it, and tells who followed the edit."""
    config = Config.tiny().model_copy(update={"seed": seed})
    settings = {"num": _NUM, "size": _SIZE, "models": MODELS} | config.model_dump()
    with Run.create("vfaith", "demo", settings, seed=seed, root=root, stage="demo") as run:
        screen.note(f"run {run.path}")
        with one_thread():
            folder = run.path / "artifacts" / "bench"
            plan, _ = make_plan(num=_NUM, families=VIEWED, building=Building(size=_SIZE, seed=seed))
            numbers, _ = build_bench(folder, plan, screen)
            bench = read_bench(folder)
            results = _answered(bench, config, run, screen)
        told = claims(results, numbers)
        summary = _summary(results, numbers, told)
        run.finish(**summary)
        report = _report(run, results, numbers, told)
        report.save(run.report_path)
    _show(screen, results, numbers, told)
    return Shown(
        report=report,
        summary=summary,
        folder=run.path,
        then=(
            command(
                *("planish", "vfaith", "build", "--num", 100, "--size", _SIZE, "--out", "bench"),
                *("--family", *VIEWED),
            ),
            command("planish", "vfaith", "run", "--model", SEEING, "--bench", "bench"),
            command("planish", "vfaith", "score", "last"),
        ),
    )


def _answered(bench: Bench, config: Config, run: Run, screen: Screen) -> Results:
    """Every model's replies to every arm; each is kept."""
    calls = calls_of(bench.pairs, ARMS)
    chats = [call.chat(bench) for call in calls]
    sheets = []
    with screen.progress("asking ten models", len(MODELS) * len(calls)) as step:
        for name in MODELS:
            model = load_model(name, bench)
            replies = model.generate(chats, config.sampling(), watcher=Steps(step))
            responses: list[Response] = []
            for call, drawn in zip(calls, replies, strict=True):
                key = call.key(model, config.sampling(), 0)
                responses.append(respond(call, drawn[0], key=key, model=model, repeat=0))
                run.record("response", responses[-1], id=f"{name}/{call.id(0)}")
            sheets.append(read_sheet(bench, responses))
    return results_of(bench, sheets, config)


# ---- what is shown ---------------------------------------------------------------------------


def _rows(results: Results) -> list[tuple[Any, ...]]:
    names = ("acc_raw", "acc_edited", "pair_acc", "delta_net", "gated_unfaithfulness")
    by_label = {found.label: found for found in results.scores}
    return [
        (
            name,
            *(
                shown(by_label[name], by_label[name].overall, each)
                for each in (*names, "perception_accuracy")
            ),
        )
        for name in MODELS
    ]


_COLUMNS = ("model", "raw", "edited", "both", "Delta_net", "saw, did not use", "sees the cue")


def _show(screen: Screen, results: Results, numbers: Numbers, told: Sequence[Claim]) -> None:
    pairs = sum(pair.kind == "pair" for pair in results.bench.pairs)
    screen.table(
        _COLUMNS,
        [
            (name, *("n/a" if each.value is None else f"{each.value:.3f}" for each in row))
            for name, *row in _rows(results)
        ],
        title=f"{pairs} pairs, before and after the edit",
    )
    screen.table(
        ("claim, fixed before looking", "number", "held"),
        claim_rows(told, compared=False),
    )
    screen.say(verdict(told))
    screen.say(_AT_CHANCE)
    screen.say(_LIMITS)


def _report(run: Run, results: Results, numbers: Numbers, told: Sequence[Claim]) -> Report:
    def opening(page: Report) -> None:
        page.numbers(_headline(results))
        page.section("Claims, fixed before looking", f"{_CLAIM}\n\n{verdict(told)}\n\n{_LIMITS}")
        page.table(("claim", "compared", "number", "held"), claim_rows(told))

    report: Report = build_report(results, run, opening)
    return report


def _headline(results: Results) -> dict[str, Estimate]:
    """The one who looks beside the strongest habit: less apart on raw pictures than on pairs."""
    by_label = {found.label: found.overall for found in results.scores}
    return {
        f"{who}: {METRICS[name]}": by_label[label][name]
        for who, label in (("learned to look", SEEING), ("strongest habit", HABITS[-1]))
        for name in ("acc_raw", "pair_acc")
    }


def _summary(results: Results, numbers: Numbers, told: Sequence[Claim]) -> dict[str, Any]:
    """By the names that `--json` and run.json use."""
    found: dict[str, Any] = {}
    for score in results.scores:
        found |= _numbers_of(score)
    return {
        **found,
        "pairs": sum(pair.kind == "pair" for pair in results.bench.pairs),
        "items": sum(pair.kind == "perception" for pair in results.bench.pairs),
        "most_outside": numbers.most_outside,
        "text_only": None if numbers.findings is None else numbers.findings.text_only,
        "placebo_cue": None if numbers.findings is None else numbers.findings.placebo_cue,
        **tally(told),
    }


def _numbers_of(score: ModelScore) -> dict[str, Any]:
    short = score.label.rpartition(":")[2].replace("viewer-", "").replace("-", "_")
    names = ("pair_acc", "acc_raw", "acc_edited", "delta_net", "gated_unfaithfulness")
    return {f"{short}_{name}": shown(score, score.overall, name) for name in names}
