"""The offline demonstration: a tenth of the memory, and what is lost by it.

A tiny reader answers from contexts of two thousand words, first with everything in memory, then
with a share of the bytes. Who chooses what stays differs: a trained indexer, the last tokens,
chance, what the last token looks at, what the prompt's last ones look at, and an oracle that knows
what will be looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planish.methods import Shown
from planish.methods.lookahead.claims import ARMS, FRACTIONS, OFTEN, SHORTER, claims
from planish.methods.lookahead.evaluate.outcomes import OUTCOME, TRACE, Outcome, Trace
from planish.methods.lookahead.evaluate.settings import Settings
from planish.methods.lookahead.evaluate.summary import DENSE, OURS, Summary
from planish.methods.lookahead.running.replies import readable
from planish.parallel import fan_out, one_thread
from planish.runs import Run
from planish.runs.console import Screen, command
from planish.stats import Claim, claim_rows, tally, verdict
from planish.tasks.recall import FAMILIES, RecallTask

if TYPE_CHECKING:
    from planish.runs.report import Report

__all__ = ["MODEL", "SETTINGS", "TASK", "demo"]

MODEL = "embedded:recall"
LENGTH, EACH = 2048, 2
TASK = f"recall:all:{LENGTH}"
SETTINGS = Settings(interval=64, recent_tokens=16)
_DOCUMENTS = EACH * len(FAMILIES)
_CLAIM = (
    "Of a long context the next few words need little. A small scorer that was trained without the "
    "model says which chunks of the history these are; only they stay on the device."
)
_ABSENT = (
    "quest and omnikv do not play: with chunks of four words what they choose by costs more than "
    "these shares. planish lookahead evaluate has them with --arms quest,omnikv,dense "
    "--chunk-tokens 16 --fractions 0.25,0.5, omnikv at half of the bytes."
)
_LIMITS = (
    "A reader of two million weights and contexts of numbers: they show the mechanism, not the "
    "paper's numbers. Intervals are over documents; reader and indexer were trained once."
)


def demo(*, screen: Screen, seed: int = 0, root: Path = Path("runs")) -> Shown:
    """Decodes the same documents under every arm at equal bytes, and tells who kept what."""
    settings = SETTINGS.model_dump() | {
        "model": MODEL, "task": TASK, "arms": ARMS, "fractions": FRACTIONS, "examples": _DOCUMENTS,
        "shorter_interval": SHORTER,
    }  # fmt: skip
    with Run.create("lookahead", "demo", settings, seed=seed, root=root, stage="demo") as run:
        screen.note(f"run {run.path}")
        outcomes, traces = _decoded(run, screen, seed)
        summary = Summary(outcomes, seed=seed)
        told = claims(summary)
        numbers = _numbers(summary, told)
        run.finish(**numbers)
        page = _page(run, summary, traces, told)
        page.save(run.report_path)
    _show(screen, summary, told)
    return Shown(
        report=page,
        summary=numbers,
        folder=run.path,
        then=(
            command(
                *("planish", "lookahead", "evaluate", "--model", MODEL, "--task", TASK),
                *("--interval", SHORTER),
            ),
            command(
                *("planish", "lookahead", "generate", "--model", f"{MODEL}?lookahead=embedded"),
                *("--prompt", "; 7 300 = 401 402 403 404 ? #0 7 300 :", "--check"),
            ),
        ),
    )


def _decoded(run: Run, screen: Screen, seed: int) -> tuple[list[Outcome], list[Trace]]:
    """Every family's documents, families side by side on the cores there are."""
    outcomes: list[Outcome] = []
    traces: list[Trace] = []
    jobs = [(family, seed) for family in FAMILIES]
    with screen.progress("decoding families of documents", len(jobs)) as step:
        found = fan_out(_family, jobs, progress=lambda done, total: step())
    for some, drawn in found:
        for outcome in some:
            run.record(OUTCOME, outcome, id=outcome.id)
        for trace in drawn:
            run.record(TRACE, trace, id=f"{trace.arm}@{trace.fraction:g}/{trace.document_id}")
        outcomes += some
        traces += drawn
    return outcomes, traces


def _family(job: tuple[str, int]) -> tuple[list[Outcome], list[Trace]]:
    """The documents of one family under every arm; the first of them is traced.

    Last the indexer again, asked more often: it then keeps less room for what comes meanwhile.
    """
    from planish.methods.lookahead.evaluate.bench import plays
    from planish.methods.lookahead.evaluate.documents import documents
    from planish.methods.lookahead.evaluate.evaluating import run_batch

    family, seed = job
    bench = _bench(SETTINGS.interval)
    found = documents(
        [RecallTask(family, LENGTH)], bench.tokenizer, split="report", number=EACH, seeds=(seed,)
    )
    outcomes: list[Outcome] = []
    traces: list[Trace] = []
    with one_thread():
        for outcome, trace in run_batch(bench, found, plays(ARMS, FRACTIONS), traced=True):
            outcomes.append(outcome)
            if trace is not None:
                traces.append(trace)
        for outcome, _ in run_batch(_bench(SHORTER), found, plays((OURS,), FRACTIONS)):
            outcomes.append(outcome.model_copy(update={"arm": OFTEN}))
    return outcomes, traces


@lru_cache(maxsize=2)
def _bench(interval: int) -> Any:
    """Reader and indexer with so many tokens between two decisions, opened once in each process."""
    from planish.methods.lookahead.evaluate.bench import Bench
    from planish.models.load import load
    from planish.models.memory.indexer import MemoryIndexer
    from planish.models.memory.loading import indexer_path

    local: Any = load(MODEL)
    indexer = MemoryIndexer.from_pretrained(indexer_path("embedded"))
    settings = SETTINGS.model_copy(update={"interval": interval})
    return Bench(local.model, local.tokenizer, indexer=indexer, settings=settings)


# ---- what is shown ---------------------------------------------------------------------------


def _show(screen: Screen, summary: Summary, told: Sequence[Claim]) -> None:
    screen.table(
        _COLUMNS,
        [
            (arm, *(str(summary.accuracy(arm, fraction)) for fraction in FRACTIONS))
            for arm in summary.arms
        ],
        title=f"accuracy of {_DOCUMENTS} documents, by share of the dense bytes",
    )
    screen.table(_COLUMNS, _bytes(summary), title=_held(summary))
    screen.say(_ABSENT)
    screen.table(
        ("claim, fixed before looking", "number", "held"),
        claim_rows(told, compared=False),
    )
    screen.say(verdict(told, listed=":"))
    screen.say(_LIMITS)


_COLUMNS = ("arm", *(f"{100 * fraction:g} %" for fraction in FRACTIONS))


def _held(summary: Summary) -> str:
    dense = summary.measure("dense_bytes", DENSE, 1.0)
    return f"bytes on the device, chunks + digests; dense {readable(round(dense or 0))}"


def _bytes(summary: Summary) -> list[tuple[str, ...]]:
    """What each arm held, chunks and digests: the largest of a decode each, mean of documents."""

    def cell(arm: str, fraction: float) -> str:
        held = [summary.measure(f"{what}_bytes", arm, fraction) for what in ("resident", "digest")]
        return " + ".join(readable(round(each)) for each in held if each is not None) or "n/a"

    return [
        (arm, *(cell(arm, fraction) for fraction in FRACTIONS))
        for arm in summary.arms
        if arm != DENSE
    ]


def _page(run: Run, summary: Summary, traces: Sequence[Trace], told: Sequence[Claim]) -> Report:
    from planish.methods.lookahead.showing import report

    page: Report = report(summary, traces, MODEL, run=run, tiny=True)
    page.section("Bytes of each arm", _ABSENT)
    page.table(_COLUMNS, _bytes(summary), f"{_held(summary)}.")
    page.section("Claims, fixed before looking", f"{_CLAIM}\n\n{_LIMITS}")
    page.table(
        ("claim", "compared", "number", "held"),
        claim_rows(told),
    )
    return page


def _numbers(summary: Summary, told: Sequence[Claim]) -> dict[str, Any]:
    """By the names that `--json` and run.json use."""
    found: dict[str, Any] = {}
    for arm, fraction in summary.cells():
        name = "_".join(arm.replace(",", "").replace("-", " ").split())
        name += "" if arm == "dense" else f"_{fraction:g}"
        found[f"accuracy_{name}"] = summary.accuracy(arm, fraction)
    return {
        **found,
        "kv_fraction": summary.measure("kv_fraction", "lookahead", 0.135),
        "documents": _DOCUMENTS,
        **tally(told),
    }
