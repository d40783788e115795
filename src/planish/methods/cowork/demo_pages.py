"""The demonstration in words, numbers, tables and figures.

round_in_words(row)                        # as the rounds go by
summary(found, told)                       # what --json and run.json hold
show(screen, found, told)
report(run, found, told, replays).save(run.report_path)
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planish.methods.cowork.acting.episodes import TICK_SECONDS
from planish.methods.cowork.claims import CLAIMS_READ, SITUATIONS, Claim, Found, shown
from planish.methods.cowork.data import GateResult
from planish.methods.cowork.improving.reasons import meaning
from planish.methods.cowork.improving.rounds import OVERALL, Round
from planish.methods.cowork.improving.watching import mean_score
from planish.methods.cowork.method import drift
from planish.methods.cowork.showing.curves import CurvePoint
from planish.methods.cowork.showing.timeline import add_timeline
from planish.runs import Run
from planish.runs.console import Screen
from planish.stats import Estimate

if TYPE_CHECKING:
    from planish.runs.report import Report

__all__ = ["report", "round_in_words", "show", "summary"]

_WIDTH = 100
_CLAIM = (
    "Agents that must act within milliseconds can act from a shared library of skills, without a "
    "model, and still get better: between episodes the library is patched, and a gate lets through "
    "only what proves a gain."
)
_LIMITS = (
    "Two small kitchens, two cooks, onions only. The kitchen and the runtime are deterministic: in "
    "self-play a seed only draws where the two cooks begin, so where all starts end alike there is "
    "no interval. The first library is impaired on purpose, so its curve rises by construction; "
    "the one written by hand belongs beside it. How far a library gets on more layouts and with "
    "more partners is measured in the benchmark."
)
_NAMES = {
    "impaired": "impaired library",
    "evolved": "evolved library",
    "parameters": "parameters alone",
    "by hand": "written by hand",
    "greedy": "two greedy cooks",
}
_TABLES = {
    "both cooks act from the library": ("ring", "forced"),
    "one does, the other is a greedy cook that it never met": ("ring met", "forced met"),
}


# ---- rounds in words


def round_in_words(row: Round) -> Iterator[str]:
    """What was diagnosed, what was tried against it, what the gate said, and what it cost."""
    yield from _folded(f"round {row.round}: {_diagnosed(row)}", "")
    for result in row.results:
        yield from _folded(_verdict(result), "  ")
    used = [f"{each.kind} {each.to_hash[:8]}" for each in row.promotions]
    verdicts = dict.fromkeys(look.verdict for look in row.looks)
    looks = [f"monitoring on fresh seeds: {verdict}" for verdict in verdicts]
    score = row.point.scores[OVERALL][0] if OVERALL in row.point.scores else None
    now = "n/a" if score is None else f"{score:.1f}"
    parts = [*used, *looks, f"report seeds {now}", f"{row.standing.sim_steps:,} ticks until now"]
    yield from _folded("; ".join(parts), "  = ")


def _diagnosed(row: Round) -> str:
    lost: Counter[str] = Counter()
    for signal in row.diagnosis.signals:
        if signal.kind not in ("guard", "never_succeeds"):  # these say where, not how much
            lost[signal.kind] += round(signal.lost_ticks)
    worst = ", ".join(f"{kind.replace('_', ' ')} ({ticks})" for kind, ticks in lost.most_common(3))
    trained = "n/a" if row.train_score is None else f"{row.train_score:.0f}"
    return f"training episodes score {trained}; ticks lost to {worst or 'nothing that was seen'}"


def _verdict(result: GateResult) -> str:
    name = result.patch.proposer.removeprefix("embedded:").replace("_", " ")
    why = result.patch.rationale.partition(" (")[0].rstrip(".")
    word = "ACCEPTED" if result.accepted else result.reason.replace("_", " ")
    detail = result.detail or meaning(result.reason)
    return f"{name}: {why}. {word}: {detail} ({result.sim_steps:,} ticks)"


def _folded(text: str, mark: str) -> list[str]:
    return textwrap.wrap(
        text, _WIDTH, initial_indent=mark, subsequent_indent="      ", break_on_hyphens=False
    )


# ---- numbers


def _key(name: str) -> str:
    return name.replace(" ", "_")


def summary(found: Found, told: Sequence[Claim]) -> dict[str, Any]:
    """By the names that `--json` and run.json use; the same on every machine."""
    evolutions = found.evolutions
    kinds = Counter(each.kind for one in evolutions for each in one.promotions)
    return {
        **{
            f"score_{_key(name)}_{situation.key}": found.score(name, situation)
            for name in found.players
            for situation in SITUATIONS.values()
        },
        "runs": len(evolutions),
        "rounds": [len(each.rounds) for each in evolutions],
        "curve": [point.scores[OVERALL][0] for point in evolutions[0].points],
        "judged": sum(len(each.results) for each in evolutions),
        "promoted": kinds["promoted"],
        "reverted": kinds["reverted"],
        "sim_steps": [each.standing.sim_steps for each in evolutions],
        "sim_steps_parameters": found.parameters.standing.sim_steps,
        "library_hashes": [each.active.digest for each in evolutions],
        "drift": [drift(each.active, each.library(each.points[0].library)) for each in evolutions],
        "optimizer_tokens": sum(each.standing.tokens for each in evolutions),
        "online_tokens": sum(each.tokens for each in found.episodes.values()),
        "unscored": sum(each.score is None for each in found.episodes.values()),
        "harmful_verdict": found.drill.refused[0].reason,
        "unsound_verdicts": [each.reason for each in found.drill.refused[1:]],
        **{f"score_at_{ticks}_ticks": _late(found, ticks) for ticks in found.delayed},
        **{claim.key: claim.number for claim in told},
        "claims": {claim.key: claim.held for claim in told},
        "claims_held": sum(claim.held for claim in told),
        "num_claims": len(told),
    }


def _late(found: Found, ticks: int) -> Estimate:
    return mean_score([score for score in found.delayed[ticks] if score is not None])


def _rows(found: Found, situations: Sequence[str], show: Any = lambda each: each) -> list[Any]:
    return [
        (_NAMES[name], *(show(found.score(name, SITUATIONS[each])) for each in situations))
        for name in found.players
    ]


# ---- on the screen


def show(screen: Screen, found: Found, told: Sequence[Claim]) -> None:
    """Tables and verdict."""
    for title, situations in _TABLES.items():
        screen.table(
            ("", *(SITUATIONS[each].layout for each in situations)),
            _rows(found, situations, shown),
            title=f"score of an episode, {len(found.seeds)} report seeds a cell; {title}",
        )
    screen.table(
        ("patches that should not get through", "the gate", "ticks"),
        [
            (each.patch.rationale, each.reason.replace("_", " "), f"{each.sim_steps:,}")
            for each in found.drill.refused
        ],
        title="handed to the gate of the evolved library",
    )
    for line in _folded(_forced(found), ""):
        screen.say(line)
    screen.say()
    screen.say(_paced(found))
    screen.say(_delays(found))
    screen.table(
        ("claim", "found", "held"),
        [(claim.text, claim.shown, "yes" if claim.held else "NO") for claim in told],
        title="claims, fixed before the demonstration first ran; a difference is paired by seed",
    )
    screen.say(_conclusion(found, told))
    screen.say(_LIMITS)


def _forced(found: Found) -> str:
    forced = found.drill.forced
    kinds = ", then ".join(
        f"{each.kind} ({each.detail})" if each.detail else each.kind for each in forced.promotions
    )
    return f"The first one, forced past the gate: {kinds or 'not promoted'}."


def _paced(found: Found) -> str:
    pace = found.pace
    p50, p99, longest = pace.quantiles_ms
    return (
        f"A decision took {p50:.2f} ms (p50), {p99:.2f} ms (p99), {longest:.2f} ms at most on this "
        f"machine; of {pace.decisions:,} decisions {pace.misses} were later than "
        f"{pace.deadline_ms:g} ms. Tokens of a model: 0 online, for the runtime calls none, and 0 "
        "of the optimizer, which wrote its patches from templates."
    )


def _delays(found: Found) -> str:
    told = ", ".join(
        f"{shown(_late(found, ticks))} with {ticks * TICK_SECONDS:g} s a decision"
        for ticks in found.delayed
    )
    return f"The same library in the ring, if deciding took as long as asking a model: {told}."


def _conclusion(found: Found, told: Sequence[Claim]) -> str:
    """What came of it, also where that is not what was claimed."""
    held = sum(claim.held for claim in told)
    failed = [claim.text for claim in told if not claim.held]
    parts = [
        f"{each.layout} from {shown(found.score('impaired', each))} to "
        f"{shown(found.score('evolved', each))}, by hand {shown(found.score('by hand', each))}"
        for each in (SITUATIONS["ring"], SITUATIONS["forced"])
    ]
    steps = [each.standing.sim_steps for each in found.evolutions]
    unscored = sum(each.score is None for each in found.episodes.values())
    text = (
        f"One library on both: {'; '.join(parts)}. That took {len(found.evolutions[0].rounds)} "
        f"rounds and {min(steps):,} to {max(steps):,} ticks, the gate's included, and no token; "
        f"{unscored} of the report's {len(found.episodes)} episodes could not be scored. "
        f"{held} of {len(told)} claims held"
    )
    return f"{text}." if not failed else f"{text}. It did NOT hold that: {'; '.join(failed)}."


# ---- the page


def report(run: Run, found: Found, told: Sequence[Claim], replays: Mapping[str, Path]) -> Report:
    """The page."""
    from planish.runs.report import Report

    page = Report(
        "cowork: can agents act together in real time and get better?",
        subtitle="A skill library patched between episodes, after CoWork-X, arXiv 2602.05004",
        claim=_CLAIM,
        note=_LIMITS,
        run=run,
    )
    ring, forced = SITUATIONS["ring"], SITUATIONS["forced"]
    page.numbers(
        {
            f"{name}, {each.layout}": found.score(name, each)
            for each in (ring, forced)
            for name in ("impaired", "evolved", "by hand")
        }
    )
    page.section("Before and after", _conclusion(found, told))
    for title, situations in _TABLES.items():
        columns = ("", *(SITUATIONS[each].layout for each in situations))
        page.table(columns, _rows(found, situations), f"Score of an episode; {title}.")
    page.section(
        "See it play",
        "Each page plays one episode, and tells beside it why each cook did what it did.",
    )
    for title, path in replays.items():
        page.link(title, path)
    page.section("Round by round", "The first run of the optimizer, as it went.")
    for row in found.evolutions[0].rounds:
        page.details(f"round {row.round}: {_diagnosed(row)}", "\n".join(round_in_words(row)))
    _add_evolution(page, found)
    _add_drill(page, found)
    page.section("Decisions", f"{_paced(found)}\n\n{_delays(found)}")
    page.section("Claims, fixed before the demonstration first ran", CLAIMS_READ)
    page.table(
        ("claim", "compared", "found", "held"),
        [
            (claim.text, claim.compared, claim.shown, "yes" if claim.held else "NO")
            for claim in told
        ],
    )
    return page


def _add_evolution(page: Report, found: Found) -> None:
    first = found.evolutions[0]
    points = [
        CurvePoint(each.round, each.episodes, each.sim_steps, each.tokens, each.scores)
        for each in first.points
    ]
    by_hand = found.by_seed(found.players["by hand"][0], [SITUATIONS["ring"], SITUATIONS["forced"]])
    level = mean_score([score for score in by_hand if score is not None]).value
    libraries = {each.library: first.library(each.library) for each in first.points}
    add_timeline(
        page,
        points,
        first.results,
        first.promotions,
        references={} if level is None else {"written by hand": level},
        libraries=libraries,
        seeds=f"{len(found.seeds)} report seeds",
    )


def _add_drill(page: Report, found: Found) -> None:
    page.section(
        "Patches that should not get through",
        "Handed to the gate of the evolved library. " + _forced(found),
    )
    page.table(
        ("patch", "verdict", "which means", "ticks"),
        [
            (
                each.patch.rationale,
                each.reason,
                each.detail or meaning(each.reason),
                each.sim_steps,
            )
            for each in found.drill.refused
        ],
        align="lllr",
    )
