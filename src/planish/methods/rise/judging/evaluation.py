"""What one or two models were found to be able to do, side by side.

found = Evaluation(benches, after, before)
print(found.bench("judgebench").difference, found.sentence("chain:3", floor=0.9))
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from planish.judges.benches import Bench, BenchResult
from planish.judges.pages import covered, headline
from planish.judges.recording import below_floor, lost_calls, lost_kinds
from planish.methods.rise.judging.pages import percent
from planish.models.harness import HarnessResult, HarnessResults
from planish.records import Cost
from planish.runs.console import flat
from planish.stats import Estimate, Paired, paired
from planish.tasks.ability import SolveResult

__all__ = ["Evaluation", "Outcome", "beside", "board_rows", "place", "rates_of", "statuses"]


@dataclass
class Outcome:
    """Everything that was asked of one model."""

    name: str
    benches: dict[str, BenchResult] = field(default_factory=dict)
    ability: dict[str, SolveResult] = field(default_factory=dict)
    harness: HarnessResults | None = None

    @property
    def costs(self) -> dict[str, Cost]:
        """What each part cost."""
        found = {name: result.cost for name, result in self.benches.items()}
        found |= {name: result.cost for name, result in self.ability.items()}
        return found | ({"lm-evaluation-harness": self.harness.cost} if self.harness else {})

    def metrics(self) -> dict[str, HarnessResult]:
        """The harness's results by task and metric."""
        results = self.harness.results if self.harness else ()
        return {f"{result.task} {result.metric}": result for result in results}

    def losses(self) -> Iterator[tuple[str, int, int]]:
        """Each part that lost calls: its name, how many, and of how many."""
        for name, bench in self.benches.items():
            if bench.lost:
                yield name, bench.lost, bench.calls
        for name, task in self.ability.items():
            if task.lost:
                yield name, len(task.lost), task.num_examples
        for name, metric in self.metrics().items():
            if metric.lost:
                yield name, metric.lost, metric.num_documents

    def reason(self, name: str) -> str:
        """Why calls of a part were lost: every kind with its count, and one message in full."""
        if name in self.benches:
            judged = self.benches[name].judgments.values()
            return lost_calls(call for judgment in judged for call in judgment.calls)
        if name in self.ability:
            return next(iter(self.ability[name].lost.values()))
        return self.metrics()[name].reason

    def lost_kinds(self, name: str) -> list[str]:
        """What kind of failure lost each call of a part; of the harness only the first is known."""
        if name in self.benches:
            judged = self.benches[name].judgments.values()
            return lost_kinds(call for judgment in judged for call in judgment.calls)
        if name in self.ability:
            return [why.partition(":")[0] for why in self.ability[name].lost.values()]
        metric = self.metrics()[name]
        return [metric.reason.partition(":")[0], *["unknown"] * (metric.lost - 1)]


@dataclass(frozen=True)
class Evaluation:
    """One model, and the one before it where there is one."""

    benches: Sequence[Bench]
    after: Outcome
    before: Outcome | None = None
    seed: int = 0

    @property
    def outcomes(self) -> list[Outcome]:
        """The model's, then that of the model before."""
        return [self.after] if self.before is None else [self.after, self.before]

    def bench(self, name: str, score: str = "right") -> Paired | None:
        """After minus before on one bench's cases; None without a model before."""
        if self.before is None or score not in self.after.benches[name].scores:
            return None
        before, after = self.before.benches[name], self.after.benches[name]
        sides = [
            {
                # As in the rates: what could not be read counts as wrong in official mode.
                case: 0 if value is None and result.mode == "official" else value
                for case, value in result.scores.get(score, {}).items()
            }
            for result in (before, after)
        ]
        return paired(*sides, seed=self.seed)

    def task(self, name: str) -> Paired | None:
        """After minus before on one task's examples."""
        if self.before is None:
            return None
        before, after = self.before.ability[name], self.after.ability[name]
        return paired(before.scores, after.scores, seed=self.seed)

    def metric(self, name: str) -> Paired | None:
        """After minus before on one metric of the harness; None where it is no mean."""
        before = self.before.metrics().get(name) if self.before is not None else None
        after = self.after.metrics()[name]
        if before is None or not before.scores or not after.scores:
            return None
        return paired(before.scores, after.scores, seed=self.seed)

    def sentence(self, name: str, *, floor: float) -> str:
        """Whether one ability, or one metric of the harness, is what it was before."""
        if self.before is None:
            return ""
        if name in self.after.ability:
            ours, theirs = self.after.ability[name], self.before.ability[name]
            below = any(
                below_floor(len(result.lost), result.num_examples, floor)
                for result in (ours, theirs)
            )
            after, before, up = ours.rate, theirs.rate, True
        else:
            mine, other = self.after.metrics()[name], self.before.metrics().get(name)
            if other is None or mine.higher_is_better is None:
                return f"{name}: nothing can be said about this metric."
            below = min(mine.coverage, other.coverage) < floor
            after, before, up = mine.value, other.value, mine.higher_is_better
        if below:
            return f"{name}: too many replies were lost to say anything."
        where = place(after, before)
        if where is None:
            return f"{name}: there is no interval to compare with."
        better = (where == "above") == up
        end = {"inside": "no change is shown"}.get(where, "it grew" if better else "it fell")
        return f"{name}: {after.value:.3f} after lies {where} the interval before, {before}: {end}."

    def score_rows(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """An item and its scores, for `planish runs compare`; an id of two benches is qualified."""
        ids = Counter(case.id for bench in self.benches for case in bench.cases)
        for bench in self.benches:
            for case in bench.cases:
                scores = {
                    f"{name}{end}": values[case.id]
                    for end, outcome in self._ends()
                    for name, values in outcome.benches[bench.name].scores.items()
                    if case.id in values
                }
                yield case.id if ids[case.id] == 1 else f"{bench.name}/{case.id}", scores
        for name, result in self.after.ability.items():
            for example in result.scores:
                solved = {
                    f"solved{end}": outcome.ability[name].scores.get(example)
                    for end, outcome in self._ends()
                }
                yield f"{name}/{example}", solved
        for name, metric in self.after.metrics().items():
            for document in metric.scores:
                found = {
                    f"{metric.metric}{end}": outcome.metrics()[name].scores.get(document)
                    for end, outcome in self._ends()
                    if name in outcome.metrics()
                }
                yield f"{metric.task}/{document}", found

    def _ends(self) -> list[tuple[str, Outcome]]:
        return [("", self.after), *([("_before", self.before)] if self.before else [])]

    def summary(self, floor: float) -> dict[str, Any]:
        """Every number, by the names that `--json` and run.json use.

        At the top stand the headlines: none for a bench below the coverage floor.
        """
        top: dict[str, Any] = {"num_cases": sum(len(bench.cases) for bench in self.benches)}
        if self.after.benches:
            top["mode"] = next(iter(self.after.benches.values())).mode
        for name, result in self.after.benches.items():
            results = [outcome.benches[name] for outcome in self.outcomes]
            if covered(result.coverage, floor):
                top[f"{name}_accuracy"] = result.accuracy
            if self.before and all(covered(each.coverage, floor) for each in results):
                top[f"{name}_before"] = results[1].accuracy
                top[f"{name}_difference"] = _difference(self.bench(name))
        for name, solved in self.after.ability.items():
            top[f"{name}_solved"] = solved.rate
            if self.before:
                top[f"{name}_solved_before"] = self.before.ability[name].rate
                top[f"{name}_solved_difference"] = _difference(self.task(name))
        for name, metric in self.after.metrics().items():
            top[name] = metric.value
        return {
            **top,
            "model": self.after.name,
            "before": self.before.name if self.before else None,
            "benches": {bench.name: self._bench_numbers(bench.name) for bench in self.benches},
            "ability": {name: self._task_numbers(name, floor) for name in self.after.ability},
            "lm_eval": {name: self._metric_numbers(name, floor) for name in self.after.metrics()},
            "cost": {
                outcome.name: sum(outcome.costs.values(), Cost()).model_dump()
                for outcome in self.outcomes
            },
        }

    def _bench_numbers(self, name: str) -> dict[str, Any]:
        numbers = _bench_numbers(self.after.benches[name])
        if self.before is not None:
            numbers["before"] = _bench_numbers(self.before.benches[name])
            numbers["difference"] = {
                score: _paired_numbers(self.bench(name, score))
                for score in self.after.benches[name].scores
            }
        return numbers

    def _task_numbers(self, name: str, floor: float) -> dict[str, Any]:
        numbers = _solve_numbers(self.after.ability[name])
        if self.before is not None:
            numbers["before"] = _solve_numbers(self.before.ability[name])
            numbers["difference"] = _paired_numbers(self.task(name))
            numbers["sentence"] = self.sentence(name, floor=floor)
        return numbers

    def _metric_numbers(self, name: str, floor: float) -> dict[str, Any]:
        numbers = _metric_numbers(self.after.metrics()[name])
        before = self.before.metrics().get(name) if self.before else None
        if before is not None:
            numbers["before"] = _metric_numbers(before)
            numbers["difference"] = _paired_numbers(self.metric(name))
            numbers["sentence"] = self.sentence(name, floor=floor)
        return numbers


def place(after: Estimate, before: Estimate) -> str | None:
    """ "below", "inside" or "above" the interval of before; None where one is unknown.

    >>> place(Estimate(value=0.4), Estimate(value=0.5, low=0.45, high=0.55))
    'below'
    """
    if after.value is None or before.low is None or before.high is None:
        return None
    if after.value < before.low:
        return "below"
    return "above" if after.value > before.high else "inside"


def _difference(found: Paired | None) -> Estimate:
    return found.difference if found else Estimate(value=None)


def _paired_numbers(found: Paired | None) -> dict[str, Any] | None:
    if found is None:
        return None
    numbers = {"value": found.difference, "n": found.n, "left_out": found.left_out}
    test = found.mcnemar.model_dump() if found.mcnemar else None
    return flat({**numbers, "mcnemar": test})


def _bench_numbers(result: BenchResult) -> dict[str, Any]:
    numbers: dict[str, Any] = {
        "num_cases": result.num_cases,
        "unscored_cases": result.unscored,
        "accuracy": result.accuracy,
        "coverage": result.coverage,
        "statuses": dict(result.statuses),
        "cost": result.cost.model_dump(),
    }
    found = result.agreement
    if found is not None:
        pairs = {**headline(found), "by_subset": flat(found.by_subset)}
        if found.num_cases == result.num_cases:  # the numbers of `judge`, under the same names
            numbers = {**pairs, **numbers}
        else:
            numbers["pairs"] = flat(pairs)
    if result.lists is not None:
        lists = {name: getattr(result.lists, name) for name in type(result.lists).model_fields}
        numbers["lists"] = flat(
            {
                **lists,
                "cost": result.lists.cost.model_dump(),
                "by_subset": flat(result.lists.by_subset),
            }
        )
    if result.boards:
        numbers["rewardbench"] = {mode: flat(board) for mode, board in result.boards.items()}
    return flat(numbers)


def _solve_numbers(result: SolveResult) -> dict[str, Any]:
    names = ("num_examples", "rate", "coverage", "counts")
    numbers = {name: getattr(result, name) for name in names}
    return flat({**numbers, "lost": len(result.lost), "cost": result.cost.model_dump()})


def _metric_numbers(result: HarnessResult) -> dict[str, Any]:
    names = ("value", "num_documents", "lost", "higher_is_better")
    return flat({name: getattr(result, name) for name in names})


def rates_of(result: BenchResult) -> dict[str, Estimate]:
    """Every rate of a bench by its name for people, those that do not apply left out."""
    rates = {"accuracy": result.accuracy}
    pairs, lists = result.agreement, result.lists
    if pairs is not None:
        rates |= {
            "call accuracy": pairs.call_accuracy,
            "both orders right": pairs.both_right,
            "consistency": pairs.consistency,
            "first-slot rate (0.5 is fair)": pairs.first_slot_rate,
            "tie rate": pairs.tie_rate,
            "read at the first try": pairs.first_parse_rate,
        }
    if lists is not None:
        fair = "" if lists.fair_first_slot is None else f" ({lists.fair_first_slot:.2g} is fair)"
        rates |= {
            "lists: every order right": lists.every_order_right,
            "lists: consistency": lists.consistency,
            f"lists: first-slot rate{fair}": lists.first_slot_rate,
        }
    rates["coverage (calls read)"] = result.coverage
    return {name: rate for name, rate in rates.items() if rate.value is not None}


def beside(result: BenchResult) -> dict[str, str]:
    """What stands beside the accuracy of pairs."""
    found = result.agreement
    if found is None:
        return {}
    return {
        "length slope (0 is none)": str(found.length_slope.slope),
        "calibration error": _number(found.calibration_error),
        "Brier score": _number(found.brier),
        "kappa with gold": str(found.kappa),
    }


def _number(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}"


def statuses(result: BenchResult) -> str:
    """Calls by status, in one line."""
    return ", ".join(f"{name} {count}" for name, count in sorted(result.statuses.items()))


def board_rows(results: Sequence[BenchResult]) -> list[tuple[str, ...]]:
    """RewardBench's own arithmetic: a row per subset, section and headline, a column per mode."""
    boards = [result.boards[mode] for result in results for mode in ("official", "honest")]
    names: dict[tuple[str, str], None] = {}
    for board in boards:
        names |= {("subsets", name): None for name in board["subsets"]}
    for board in boards:
        names |= {("sections", name): None for name in board.get("sections", {})}
    rows = [
        (
            f"  {name}" if part == "subsets" else name,
            *(percent(board.get(part, {}).get(name)) for board in boards),
        )
        for part, name in names
    ]
    return [*rows, ("RewardBench", *(percent(board["rewardbench"]) for board in boards))]
