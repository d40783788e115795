"""Tables and pictures of `bench_rise`, from the numbers of its runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bench_rise import CURVE, MAIN, MANY_STEPS, NAMES, REPORT, TEACHERS
from planish.runs.plots import Series, line_plot
from planish.stats import Estimate, mean, paired_bootstrap
from support import RESULTS, write_result

Run = Mapping[str, Any]


def column(runs: Sequence[Run], arm: str, number: str = "right") -> list[float]:
    return [found[arm][number] for found in runs]


def difference(runs: Sequence[Run], arm: str, other: str, number: str = "right") -> Estimate:
    return paired_bootstrap(column(runs, arm, number), column(runs, other, number))


def write(bases: Mapping[str, Any], runs: Sequence[Run]) -> None:
    """Writes the result page and the picture of the curve beside it."""
    path = write_result(
        "rise",
        "Two stages against SFT on the tiny world",
        "\n\n".join((_intro(bases, runs), _arms(runs), _by_base(runs), _curve(runs),
                     _teachers(runs), _ability(runs))),
    )  # fmt: skip
    _picture(runs).savefig(RESULTS / f"{path.stem}-curve.svg")


def _intro(bases: Mapping[str, Any], runs: Sequence[Run]) -> str:
    rows = [found["rows"] for found in runs]
    told = "; ".join(
        f"{name.removeprefix('base-')}: {numbers['right']:.3f} right, coverage "
        f"{numbers['coverage']:.3f} (gate)"
        for name, numbers in bases.items()
    )
    return (
        f"{len(bases)} bases ({told}), {len(runs)} runs; {min(rows)} to {max(rows)} teacher rows "
        f"in all, the arms below at {MAIN:.0%} of them unless named otherwise; {REPORT} report "
        "pairs in both orders, temperature 1, unread counts as not right. Intervals: bootstrap "
        "over runs. A tiny model shows the mechanism, not the paper's number."
    )


def _arms(runs: Sequence[Run]) -> str:
    lines = [
        "| arm | right | greedy | both orders right | coverage | minus SFT, equal rows | "
        "minus two stages |",
        "|---|---|---|---|---|---|---|",
    ]
    for arm, text in NAMES.items():
        greedy = column(runs, arm, "greedy") if "greedy" in runs[0][arm] else []
        cells = [
            text,
            str(mean(column(runs, arm))),
            f"{sum(greedy) / len(greedy):.3f}" if greedy else "",
            f"{mean(column(runs, arm, 'both_right')).value:.3f}",
            f"{mean(column(runs, arm, 'coverage')).value:.3f}",
            "" if arm == "sft" else str(difference(runs, arm, "sft")),
            "" if arm == "two" else str(difference(runs, arm, "two")),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    extra = [
        f"Greedy, two stages minus SFT at equal rows: {difference(runs, 'two', 'sft', 'greedy')}; "
        f"minus SFT on all rows, {MANY_STEPS} steps: "
        f"{difference(runs, 'two', 'all longer', 'greedy')}.",
        f"Votes of 3, two stages minus SFT at equal rows: {difference(runs, 'two x3', 'sft x3')} "
        f"({mean(column(runs, 'two x3', 'tokens')).value:.1f} and "
        f"{mean(column(runs, 'sft x3', 'tokens')).value:.1f} tokens a case); two stages, one draw, "
        f"minus SFT with votes of 3: {difference(runs, 'two', 'sft x3')}.",
        "Fewest pairs found, where fewer than asked for: "
        + ", ".join(
            f"{arm} {min(found['pairs'][arm] for found in runs)}" for arm in runs[0]["pairs"]
        )
        + ".",
    ]
    return "\n".join(lines) + "\n\n" + " ".join(extra)


def _by_base(runs: Sequence[Run]) -> str:
    lines = ["| base | runs | two stages minus SFT, equal rows | minus SFT, all rows |"]
    lines.append("|---|---|---|---|")
    for base in dict.fromkeys(found["base_seed"] for found in runs):
        mine = [found for found in runs if found["base_seed"] == base]
        cells = (
            base.removeprefix("b"),
            str(len(mine)),
            str(difference(mine, "two", "sft")),
            str(difference(mine, "two", "all")),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _pairs(runs: Sequence[Run], key: str) -> tuple[list[float], list[float]]:
    return [found[key][0] for found in runs], [found[key][1] for found in runs]


def _table(
    runs: Sequence[Run], head: str, keys: Sequence[tuple[str, str]], last: Callable[[str], str]
) -> str:
    lines = [
        f"| {head} | SFT | two stages | difference | minus SFT on all rows, 250 / 1,000 steps |"
    ]
    lines.append("|---|---|---|---|---|")
    for text, key in keys:
        sft, two = _pairs(runs, key)
        cells = (text, str(mean(sft)), str(mean(two)), str(paired_bootstrap(two, sft)), last(key))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _curve(runs: Sequence[Run]) -> str:
    def to_all(key: str) -> str:
        two = _pairs(runs, key)[1]
        return " / ".join(
            str(paired_bootstrap(two, column(runs, arm))) for arm in ("all", "all longer")
        )

    keys = [(f"{share:.0%}", f"curve {share:g}") for share in CURVE]
    return _table(runs, "share of the rows", keys, to_all)


def _teachers(runs: Sequence[Run]) -> str:
    keys = [("3 of 10 (above)", f"curve {MAIN:g}")]
    keys += [
        ("never careless" if careful == 1 else f"{10 * careful:.0f} of 10", f"teacher {careful:g}")
        for careful in TEACHERS
    ]
    return _table(runs, f"careful judgments of the teacher, {MAIN:.0%} of the rows", keys,
                  lambda key: "")  # fmt: skip


def _ability(runs: Sequence[Run]) -> str:
    lines = ["| arm | solves alone, greedy | minus before | runs inside the interval before |"]
    lines.append("|---|---|---|---|")
    before = [found["base"]["solved"] for found in runs]
    for arm in ("base", "sft", "two", "supported", "solved", "two general", "supported general"):
        after = [found[arm]["solved"][0] for found in runs]
        inside = sum(
            low <= rate <= high for rate, (_, low, high) in zip(after, before, strict=True)
        )
        shift = paired_bootstrap(after, [rate for rate, *_ in before])
        # Runs that are all alike have no interval of their own.
        rate = str(mean(after)) if len(set(after)) > 1 else f"{after[0]:.3f}"
        cells = (NAMES[arm], rate, str(shift), f"{inside} of {len(runs)}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _picture(runs: Sequence[Run]) -> Any:
    """The whole data-efficiency curve, with SFT on all rows as the line to reach."""
    shares = [100 * share for share in CURVE]
    rates = [_pairs(runs, f"curve {share:g}") for share in CURVE]
    every = mean(column(runs, "all")).value or 0.0
    longer = mean(column(runs, "all longer")).value or 0.0
    series = [
        Series("SFT", shares, [sum(sft) / len(sft) for sft, _ in rates]),
        Series("SFT, then DPO + NLL", shares, [sum(two) / len(two) for _, two in rates]),
        Series("SFT, all rows", shares, [every] * len(shares)),
        Series("SFT, all rows, 1,000 steps", shares, [longer] * len(shares)),
    ]
    return line_plot(series, xlabel="share of the rows (%)", ylabel="calls right")
