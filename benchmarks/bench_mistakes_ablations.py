"""What is each part of the rules and of the statistics worth? One part is left out at a time.

    python benchmarks/bench_mistakes_ablations.py --train FILE ... --hand FILE --injected FILE ...

The files hold rows of programs that were observed and repaired, as `ruling.fitting` and
`bench_mistakes_categories.py` keep them in their work folders (`train.jsonl`, `report.jsonl`,
`injected-rows-*.jsonl`); nothing is run here. Every arm is fitted anew on the split "train", with
regularisation and temperature chosen there, for each of three orders of the folds, and measured on
the split "report": mistakes made by hand and injected ones apart. The metric is macro-F1 with a
miss for each abstention, averaged over the three. Differences to the whole, fitted in the same way,
are paired: tasks are drawn once for both. There are two for each arm, each with a 95 % interval, so
that one or two may miss zero by chance.

Left out of the evidence: repairs; the roles of places (no data-flow gate: an operator speaks for
what it is most often right about in "train"); all categories of a repair but its first; all repairs
but the best; what repairs do on generated inputs, so that passing the tests is enough; the order of
repairs (drawn by chance in its place); relations of outputs; exceptions; properties that tell
failing inputs; lines; the places where trees part; all text of the reference. Left out of the
model: fitting (each rule's strength is a vote), the temperature, injected programs of "train", or
those made by hand; abstention.

Without a placebo, and a coder that any change helps, the machinery itself is measured in
`bench_mistakes_reasons.py`. Here its statistics are drawn alone, 40 samples an arm, 2,000 tasks for
each row: Holm, the interval that has to lie above zero, the placebo and the check that the
unchanged prompt is stable.

And the hand that wrote the reference is taken away. Programs of the split that one change mends,
right on every input, are right programs by another hand, where they share less than .9 of their
structure with the reference. Each program is laid beside one of them, never its own: the one that
is least like the reference, or of all of them the one that is most like the program, as
`signals(..., right=...)` chooses. By the package's weights, on the programs that have such another.

Predictions, fixed before any arm was fitted (by hand, without repairs, roles, relations, places or
text had been measured unpaired, and are no predictions):

1. Without repairs injected mistakes lose less than those by hand: one change mends fewer of them.
2. Without roles injected ones lose at least .03.
3. First category, best repair, generated inputs and order of repairs: each within .03 on both.
4. Votes lose at least .10 on both.
5. Without injected programs to fit on, injected ones lose at least .05; without those by hand,
   those by hand do.
6. Without Holm more than 10 % of the tasks get a reason where there is none; with it at most 5 %.
7. The interval changes at most 1 % of the decisions.
8. Beside another hand's program those by hand lose at least .05, injected ones at least .25 (on
   "train" .08 and .38, cross-validated).
9. For those by hand the nearest of several gives back some of that (.02 on "train"), and the
   nearest of these and the reference is within .02 of the reference alone, for both kinds.

Not measured here: operators that are not gated by role when they are tried (the gate is part of
each), inputs that are not made small, and longer searches, for all of these need programs to be run
again; and detectors that ask a model, at equal calls and tokens, in `bench_mistakes_detectors.py`.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench_mistakes_categories import (
    PLACES,
    TEXT,
    THRESHOLD,
    Answer,
    Values,
    calibration,
    macro_beside_all,
    without,
    without_roles,
)
from mistakes_statistics import DRAWN, SAMPLES, statistics_table
from planish.methods.mistakes.data import CATEGORIES, Category, CodeTask, Repair, Search
from planish.methods.mistakes.observing.structure import ast_diff
from planish.methods.mistakes.own import own_tasks
from planish.methods.mistakes.ruling.confidence import Weights, features, probabilities
from planish.methods.mistakes.ruling.fitting import choose, training_rows
from planish.methods.mistakes.ruling.gathering import Row, known_rows
from planish.methods.mistakes.ruling.signals import signals
from planish.methods.mistakes.showing.pairs import repaired_code
from support import write_result

SEEDS = (0, 1, 2)
RESAMPLES = 1000
WHOLE = "whole"
TASKS = {task.task_id: task for task in own_tasks()}

Valued = Callable[[Row], Values]
Kept = Callable[[tuple[Repair, ...]], tuple[Repair, ...]]
Counts = NDArray[np.float64]
Arm = list[list[Answer]]
"""Answers, seed by seed."""


# ---- what is left out ------------------------------------------------------------------------


def changed(search: Callable[[Row], Search]) -> Valued:
    """Features where the search had come out otherwise."""

    def valued(row: Row) -> Values:
        task: CodeTask = TASKS[row.labelled.task_id]
        return features(signals(task, row.labelled.code, row.observation, search(row)))

    return valued


def repairs(kept: Kept) -> Valued:
    """Features where of the repairs this is kept."""
    return changed(lambda row: row.search.model_copy(update={"repairs": kept(row.search.repairs)}))


def _first_category(found: tuple[Repair, ...]) -> tuple[Repair, ...]:
    return tuple(each.model_copy(update={"categories": each.categories[:1]}) for each in found)


def _by_tests(found: tuple[Repair, ...]) -> tuple[Repair, ...]:
    """Those that pass the tests, as if nothing else had been looked at."""
    passing = [each for each in found if each.passes_tests]
    return tuple(each.model_copy(update={"agreement": each.inputs}) for each in passing)


def _in_any_order(found: tuple[Repair, ...]) -> tuple[Repair, ...]:
    """In an order of chance, the same for the same repairs."""
    order = sorted(found, key=lambda each: each.diff)
    random.Random(len(order)).shuffle(order)
    return tuple(order)


def evidence(train: Sequence[Row]) -> dict[str, Valued]:
    """Name of an arm -> features without what it lacks."""
    return {
        WHOLE: without(TASKS),
        "repairs": changed(lambda row: Search()),
        "roles (no data-flow gate)": without_roles(TASKS, train),
        "all categories of a repair but the first": repairs(_first_category),
        "all repairs but the best": repairs(lambda found: found[:1]),
        "what repairs do on generated inputs": repairs(_by_tests),
        "the order of repairs": repairs(_in_any_order),
        "relations of outputs": without(TASKS, "relation", "shared relation", "format repair"),
        "exceptions": without(
            TASKS, "index error", "call error", "value error", "undefined", "edge error"
        ),
        "properties of failing inputs": without(TASKS, "kind of input", "kind of answer"),
        "lines": without(TASKS, "branch never run", "branch of failures"),
        "places where trees part": without(TASKS, *PLACES),
        "the reference's text": without(TASKS, *TEXT, *PLACES),
    }


# ---- answers ---------------------------------------------------------------------------------


def fitted(train: Sequence[Row], valued: Valued) -> list[Weights]:
    """One model for each order of the folds."""
    values = [valued(row) for row in train]
    labels = [row.labelled.category for row in train]
    names = [row.labelled.task_id for row in train]
    return [choose(values, labels, names, seed) for seed in SEEDS]


def answered(
    models: Sequence[Weights], rows: Sequence[Row], valued: Valued, threshold: float = THRESHOLD
) -> Arm:
    """What each model says of the programs."""
    pairs = [(row, valued(row)) for row in rows]
    return [
        [_said(row, probabilities(each, model), threshold) for row, each in pairs]
        for model in models
    ]


def voted(rows: Sequence[Row], valued: Valued) -> Arm:
    """The category for which the rules speak most strongly, with its share of all they say."""
    said = []
    for row in rows:
        values = valued(row)
        votes = {category: values.get(f"sum:{category}", 0.0) for category in CATEGORIES}
        total = sum(votes.values()) or 1.0
        said.append(_said(row, {name: vote / total for name, vote in votes.items()}, 0.0))
    return [said]


def _said(row: Row, told: Mapping[Category, float], threshold: float) -> Answer:
    first = max(told, key=lambda category: told[category])
    return Answer(row, first, told[first], told[first] >= threshold)


def arms(train: Sequence[Row], rows: Sequence[Row]) -> dict[str, Arm]:
    """Name of what is left out -> what is said of the programs without it."""
    found: dict[str, Arm] = {}
    every = evidence(train)
    for name, valued in every.items():
        models = fitted(train, valued)
        found[name] = answered(models, rows, valued)
        if name == WHOLE:
            cold = [each.model_copy(update={"temperature": 1.0}) for each in models]
            whole = models
        print(f"fitted: {name}", flush=True)
    valued = every[WHOLE]
    by_hand = [row for row in train if row.labelled.by == "hand"]
    made = [row for row in train if row.labelled.by != "hand"]
    found |= {
        "fitting (rules vote)": voted(rows, valued),
        "the temperature": answered(cold, rows, valued),
        "injected programs to fit on": answered(fitted(by_hand, valued), rows, valued),
        "programs made by hand to fit on": answered(fitted(made, valued), rows, valued),
        "abstention": answered(whole, rows, valued, 0.0),
    }
    return found


# ---- figures ---------------------------------------------------------------------------------


def _average(arm: Arm) -> float:
    return sum(macro_beside_all(answers) or 0.0 for answers in arm) / len(arm)


def _counts(answers: Sequence[Answer], group: Sequence[int], groups: int) -> Counts:
    """(task, category, 3): programs of a label, answers that say it, and both."""
    counts = np.zeros((groups, len(CATEGORIES), 3))
    for each, at in zip(answers, group, strict=True):
        label = CATEGORIES.index(each.row.labelled.category)
        counts[at, label, 0] += 1
        if each.said:
            first = CATEGORIES.index(each.first)
            counts[at, first, 1] += 1
            counts[at, first, 2] += first == label
    return counts


def _macro(weights: Counts, counts: Counts) -> Counts:
    """`macro_beside_all` for each row of weights (draw, task): how often a task was drawn."""
    labels, said, right = np.moveaxis(np.tensordot(weights, counts, axes=(1, 0)), 2, 0)
    occurs = labels + said > 0
    scores = np.divide(2 * right, labels + said, out=np.zeros_like(right), where=occurs)
    return np.asarray(scores.sum(axis=1) / np.maximum(occurs.sum(axis=1), 1))


def difference(arm: Arm, whole: Arm) -> tuple[float, float, float]:
    """The arm less the whole, with its 95 % interval over tasks that are drawn once for both."""
    names = [each.row.labelled.task_id for each in whole[0]]
    order = {name: at for at, name in enumerate(dict.fromkeys(names))}
    group = [order[name] for name in names]
    size = len(order)
    weights = np.random.default_rng(0).multinomial(size, [1 / size] * size, RESAMPLES).astype(float)
    means = [
        np.mean([_macro(weights, _counts(each, group, size)) for each in side], axis=0)
        for side in (arm, whole)
    ]
    low, high = np.percentile(means[0] - means[1], [2.5, 97.5])
    return _average(arm) - _average(whole), float(low), float(high)


def table(found: dict[str, Arm]) -> tuple[str, dict[str, float]]:
    """A line for each arm, and the differences."""
    lines = [
        "| without | macro-F1 | less the whole | right, said or not | answered | calibration |",
        "|---" * 6 + "|",
    ]
    gaps = {}
    for name, arm in found.items():
        told = ""
        if name != WHOLE:
            gap, low, high = difference(arm, found[WHOLE])
            gaps[name] = gap
            told = f"{gap:+.3f} [{low:+.3f}, {high:+.3f}]"
        size = len(arm) * len(arm[0])
        right = sum(each.right for answers in arm for each in answers) / size
        said = sum(each.said for answers in arm for each in answers) / size
        off = sum(calibration(answers) or 0.0 for answers in arm) / len(arm)
        label = "nothing" if name == WHOLE else name
        lines.append(
            f"| {label} | {_average(arm):.3f} | {told} | {right:.3f} | {said:.3f} | {off:.3f} |"
        )
    return "\n".join(lines), gaps


# ---- another hand ------------------------------------------------------------------------------

LIKE = 0.9
"""A right program that shares more with the reference is by the same hand."""

OWN, FAR, NEAR, BOTH = (
    "the reference",
    "another hand's program",
    "the nearest of such programs",
    "the nearest of these and the reference",
)


def right_programs(rows: Sequence[Row]) -> dict[str, list[tuple[str, float, str]]]:
    """Task -> key of a row, what its mended program shares with the reference, and that."""
    found: dict[str, list[tuple[str, float, str]]] = {}
    for row in rows:
        task, best = TASKS[row.labelled.task_id], next(iter(row.search.repairs), None)
        if best is None or not best.passes_tests or best.agreement < best.inputs:
            continue
        code = repaired_code(row.labelled.code, best)
        if code and (share := ast_diff(task.reference, code).share) < LIKE:
            found.setdefault(task.task_id, []).append((row.key, share, code))
    return found


def beside_others(
    rows: Sequence[Row], right: Mapping[str, Sequence[tuple[str, float, str]]]
) -> dict[str, Arm]:
    """What is said of programs beside the reference, and beside others' right programs."""
    said: dict[str, list[Answer]] = {name: [] for name in (OWN, FAR, NEAR, BOTH)}
    for row in rows:
        task = TASKS[row.labelled.task_id]
        others = [each for each in right.get(task.task_id, ()) if each[0] != row.key]
        if not others:
            continue
        codes = [code for _, _, code in others]
        far = min(others, key=lambda each: each[1])[2]
        foreign = task.model_copy(update={"reference": far})
        for name, laid, known in (
            (OWN, task, []),
            (FAR, foreign, []),
            (NEAR, foreign, codes),
            (BOTH, task, codes),
        ):
            seen = signals(laid, row.labelled.code, row.observation, row.search, known)
            said[name].append(_said(row, probabilities(features(seen)), THRESHOLD))
    return {name: [answers] for name, answers in said.items()}


def others_table(found: Mapping[str, Arm]) -> tuple[str, dict[str, float]]:
    """A line for each, with differences to the reference and to one program by another hand."""
    lines = ["| beside | macro-F1 | less the reference | less another hand's |", "|---" * 4 + "|"]
    gaps = {}
    for name, arm in found.items():
        cells = []
        for other in (OWN, FAR):
            gap, low, high = difference(arm, found[other])
            gaps[f"{name}, {other}"] = gap
            cells.append("" if name == other else f"{gap:+.3f} [{low:+.3f}, {high:+.3f}]")
        lines.append(f"| {name} | {_average(arm):.3f} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines), gaps


# ---- the whole -------------------------------------------------------------------------------


def predictions(
    hand: dict[str, float],
    made: dict[str, float],
    shares: dict[str, float],
    others: tuple[dict[str, float], dict[str, float]],
) -> str:
    """What was fixed beforehand, and whether it came so."""
    small = (
        "all categories of a repair but the first",
        "all repairs but the best",
        "what repairs do on generated inputs",
        "the order of repairs",
    )
    vote = "fitting (rules vote)"
    names = dict.fromkeys(name.partition(":")[0] for name in shares)
    nulls = [name for name in names if name.startswith("none holds, pass rate")]
    most = {part: max(shares[f"{name}: {part}"] for name in nulls) for part in ("whole", "Holm")}
    moved = max(abs(shares[f"{name}: interval"] - shares[f"{name}: whole"]) for name in names)
    told = [
        ("Without repairs injected mistakes lose less than those by hand",
         hand["repairs"] < made["repairs"]),
        ("Without roles injected ones lose at least .03",
         made["roles (no data-flow gate)"] <= -0.03),
        ("First category, best repair, generated inputs and order: each within .03 on both",
         all(abs(gaps[name]) <= 0.03 for gaps in (hand, made) for name in small)),
        ("Votes lose at least .10 on both", hand[vote] <= -0.10 and made[vote] <= -0.10),
        ("Each kind of program to fit on is worth .05 to its own kind",
         made["injected programs to fit on"] <= -0.05
         and hand["programs made by hand to fit on"] <= -0.05),
        ("Without Holm above 10 % where there is no reason, with it at most 5 %",
         most["Holm"] > 0.10 and most["whole"] <= 0.05),
        ("The interval changes at most 1 % of the decisions", moved <= 0.01),
        ("Beside another hand's program those by hand lose .05, injected ones .25",
         others[0][f"{FAR}, {OWN}"] <= -0.05 and others[1][f"{FAR}, {OWN}"] <= -0.25),
        ("By hand the nearest gives some back; with the reference it is within .02 of that, both",
         others[0][f"{NEAR}, {FAR}"] > 0
         and all(abs(each[f"{BOTH}, {OWN}"]) <= 0.02 for each in others)),
    ]  # fmt: skip
    return "\n".join(
        f"{number}. {text}: {'held' if held else 'DID NOT HOLD'}."
        for number, (text, held) in enumerate(told, 1)
    )


def _rows(paths: Sequence[Path]) -> list[Row]:
    found = {key: row for path in paths for key, row in known_rows(path).items()}
    return sorted(found.values(), key=lambda row: (row.labelled.task_id, row.key))


def main() -> None:
    """Measures, and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--train", type=Path, nargs="+", required=True, help="files of rows")
    parser.add_argument("--hand", type=Path, nargs="+", required=True, help="of the split report")
    parser.add_argument("--injected", type=Path, nargs="+", required=True, help="of that, too")
    given = parser.parse_args()
    train = training_rows(own_tasks(), _rows(given.train))
    hand, made = _rows(given.hand), _rows(given.injected)
    if wrong := {row.labelled.task_id for row in [*hand, *made]} & {
        row.labelled.task_id for row in train
    }:
        raise SystemExit(f"{min(wrong)} is fitted on: rows of the split report are needed")
    found = arms(train, [*hand, *made])
    first = {name: [answers[: len(hand)] for answers in arm] for name, arm in found.items()}
    last = {name: [answers[len(hand) :] for answers in arm] for name, arm in found.items()}
    of_hand, hand_gaps = table(first)
    of_made, made_gaps = table(last)
    right = right_programs(hand)
    two = [beside_others(rows, right) for rows in (hand, made)]
    tables = [others_table(each) for each in two]
    of_draws, shares = statistics_table()
    write_result(
        "mistakes-ablations",
        "What each part of the rules is worth",
        "\n\n".join(
            [
                f"Fitted on {len(train)} programs of the split train, each arm anew, three orders "
                f"of the folds; macro-F1 has a miss for each abstention (threshold {THRESHOLD}). "
                "Intervals: 95 %, paired, over tasks.",
                f"## Made by hand, {len(hand)} programs of the split report",
                of_hand,
                f"## Injected, {len(made)} programs of the split report",
                of_made,
                f"## By another hand: {len(two[0][OWN][0])} programs made by hand",
                tables[0][0],
                f"## By another hand: {len(two[1][OWN][0])} injected programs",
                tables[1][0],
                f"## Statistics of reasons: share of {DRAWN} tasks with any, {SAMPLES} samples an "
                "arm",
                of_draws,
                "## Predictions",
                predictions(hand_gaps, made_gaps, shares, (tables[0][1], tables[1][1])),
            ]
        ),
    )


if __name__ == "__main__":
    main()
