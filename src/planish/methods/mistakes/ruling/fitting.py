"""Fits the weights of `confidence.py` on labelled programs of the split "train".

    python -m planish.methods.mistakes.ruling.fitting --work work [--injected 2 --most 24]
    python -m planish.methods.mistakes.ruling.fitting --work work --rows FILE ...

The programs are those made by hand and, with `--injected`, so many of each category and task that
`injecting` makes of the same split. They are observed and repaired once and kept in the work
folder. Regularisation and temperature are chosen by cross-validation over tasks, so that no program
of a task helps with another of the same one. The split "report" is refused.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planish.errors import BadInput
from planish.methods.mistakes.config import Config
from planish.methods.mistakes.data import CATEGORIES, Category, CodeTask, Labelled
from planish.methods.mistakes.injecting.keeping import bounded, injected
from planish.methods.mistakes.own import hand_made, own_tasks
from planish.methods.mistakes.ruling.confidence import Weights, features, probabilities
from planish.methods.mistakes.ruling.gathering import Row, gather, known_rows
from planish.methods.mistakes.ruling.signals import signals
from planish.records import write_text
from planish.stats import expected_calibration_error, macro_f1
from planish.tasks.sandbox import Sandbox

__all__ = ["choose", "cross_validated", "fit", "table", "training_rows"]

STRENGTHS = (0.1, 0.2, 0.4, 0.8, 1.5, 3.0, 6.0)
"""Inverse regularisation that is tried."""

TEMPERATURES = tuple(round(0.4 + 0.05 * at, 2) for at in range(33))

FOLDS = 8

Floats = NDArray[np.float64]


def fit(values: Sequence[dict[str, float]], labels: Sequence[Category], strength: float) -> Weights:
    """A multinomial logistic model with an L2 penalty, every class weighted alike.

    Args:
        values: features of each program; labels: its category; strength: of the data against the
            penalty.

    Raises:
        BadInput: a category without a program.
    """
    if lacking := set(CATEGORIES) - set(labels):
        raise BadInput(f"no program has the category {min(lacking)}")
    from sklearn.linear_model import LogisticRegression

    names = tuple(sorted({name for each in values for name in each}))
    table = np.array([[each.get(name, 0.0) for name in names] for each in values])
    model = LogisticRegression(C=strength, class_weight="balanced", max_iter=5000)
    model.fit(table, list(labels))
    order = [list(model.classes_).index(category) for category in CATEGORIES]
    return Weights(
        features=names,
        weights={
            category: tuple(round(float(each), 6) for each in model.coef_[at])
            for category, at in zip(CATEGORIES, order, strict=True)
        },
        bias={
            category: round(float(model.intercept_[at]), 6)
            for category, at in zip(CATEGORIES, order, strict=True)
        },
    )


def cross_validated(
    values: Sequence[dict[str, float]],
    labels: Sequence[Category],
    tasks: Sequence[str],
    strength: float,
    seed: int = 0,
) -> Floats:
    """Confidence (program, category) by models that saw no program of the same task."""
    names = sorted(set(tasks))
    order = np.random.default_rng(seed).permutation(len(names))
    fold = {names[at]: number % FOLDS for number, at in enumerate(order)}
    out = np.zeros((len(labels), len(CATEGORIES)))
    for number in sorted(set(fold.values())):
        inside = [at for at, task in enumerate(tasks) if fold[task] != number]
        model = fit([values[at] for at in inside], [labels[at] for at in inside], strength)
        for at, task in enumerate(tasks):
            if fold[task] == number:
                told = probabilities(values[at], model)
                out[at] = [told[category] for category in CATEGORIES]
    return out


def training_rows(tasks: Sequence[CodeTask], rows: Sequence[Row]) -> list[Row]:
    """Rows of the split "train", one for each program, in a fixed order.

    Raises:
        BadInput: a row of another split, or none at all.
    """
    by_id = {task.task_id: task for task in tasks}
    kept: dict[Labelled, Row] = {}
    for row in rows:
        task = by_id.get(row.labelled.task_id)
        if task is None or task.split != "train":
            raise BadInput(
                f"{row.labelled.task_id} is not of the split train",
                fix="weights are fitted on tasks of that split alone",
            )
        kept.setdefault(row.labelled, row)
    if not kept:
        raise BadInput("no rows to fit on")
    return sorted(kept.values(), key=lambda row: (row.labelled.task_id, row.key))


def table(
    tasks: Sequence[CodeTask], rows: Sequence[Row]
) -> tuple[list[dict[str, float]], list[Category], list[str]]:
    """Features, category and task of each row."""
    by_id = {task.task_id: task for task in tasks}
    values = [
        features(
            signals(by_id[row.labelled.task_id], row.labelled.code, row.observation, row.search)
        )
        for row in rows
    ]
    return values, [row.labelled.category for row in rows], [row.labelled.task_id for row in rows]


def choose(
    values: Sequence[dict[str, float]],
    labels: Sequence[Category],
    names: Sequence[str],
    seed: int = 0,
) -> Weights:
    """The model with the regularisation and the temperature that cross-validation chose.

    Args:
        values: features of each program; labels: its category; names: its task.
        seed: of the folds.
    """
    tried = {
        strength: cross_validated(values, labels, names, strength, seed) for strength in STRENGTHS
    }
    gold = np.array([CATEGORIES.index(label) for label in labels])
    losses = {strength: _best_temperature(told, gold) for strength, told in tried.items()}
    strength = min(losses, key=lambda each: losses[each][1])
    temperature, loss = losses[strength]
    told = _warmed(tried[strength], temperature)
    guessed = [CATEGORIES[at] for at in told.argmax(axis=1)]
    right = (told.argmax(axis=1) == gold).astype(float)
    model = fit(values, labels, strength)
    meta: dict[str, Any] = {
        "seed": seed,
        "strength": strength,
        "programs": len(labels),
        "tasks": len(set(names)),
        "by_category": dict(sorted(Counter(labels).items())),
        "rows_sha256": _digest(values, labels),
        "versions": _versions(),
        "cross_validation": {
            "folds": FOLDS,
            "log_loss": round(loss, 4),
            "macro_f1": round(macro_f1(labels, guessed) or 0.0, 4),
            "top_1": round(float(right.mean()), 4),
            "ece": round(
                expected_calibration_error(told.max(axis=1).tolist(), right.tolist()) or 0.0, 4
            ),
        },
    }
    return model.model_copy(update={"temperature": temperature, "meta": meta})


def _warmed(told: Floats, temperature: float) -> Floats:
    powers = np.exp(np.log(np.maximum(told, 1e-12)) / temperature)
    warmed: Floats = powers / powers.sum(axis=1, keepdims=True)
    return warmed


def _best_temperature(told: Floats, gold: NDArray[np.int_]) -> tuple[float, float]:
    """The temperature with the smallest log loss, and that."""
    found = {}
    for temperature in TEMPERATURES:
        warmed = _warmed(told, temperature)
        chosen = np.maximum(warmed[np.arange(len(gold)), gold], 1e-12)
        found[temperature] = float(-np.log(chosen).mean())
    best = min(found, key=lambda each: found[each])
    return best, found[best]


def _digest(values: Sequence[dict[str, float]], labels: Sequence[str]) -> str:
    told = [[label, dict(sorted(each.items()))] for label, each in zip(labels, values, strict=True)]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def _versions() -> dict[str, str]:
    import platform
    from importlib.metadata import version

    packages = ("planish", "numpy", "scikit-learn")
    return {"python": platform.python_version(), **{each: version(each) for each in packages}}


def main(arguments: Sequence[str] | None = None) -> None:
    """Observes, repairs and fits; writes weights.json beside this file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder of the rows")
    parser.add_argument("--rows", type=Path, nargs="*", help="files of rows; nothing is run then")
    parser.add_argument("--injected", type=int, help="of a category and task, so many at most")
    parser.add_argument("--most", type=int, help="of a category, so many injected ones at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("weights.json"))
    chosen = parser.parse_args(arguments)
    tasks = [task for task in own_tasks() if task.split == "train"]
    names = {task.task_id for task in tasks}
    if chosen.rows:
        rows = [row for path in chosen.rows for row in known_rows(path).values()]
    else:
        labelled = [each for each in hand_made() if each.task_id in names]
        if chosen.injected:
            with Sandbox() as box:
                made = injected(tasks, box, seed=chosen.seed, per_category=chosen.injected)
            labelled += bounded(made, chosen.most, chosen.seed)
        dials = Config.tiny().diagnosing
        rows = gather(
            tasks,
            labelled,
            chosen.work / "train.jsonl",
            dials=dials,
            progress=lambda done, whole: _say(f"{done} of {whole} programs"),
        )
    rows = training_rows(tasks, rows)
    model = choose(*table(tasks, rows), chosen.seed)
    model.meta["by"] = dict(sorted(Counter(row.labelled.by for row in rows).items()))
    write_text(chosen.out, json.dumps(model.model_dump(mode="json"), indent=1) + "\n")
    _say(json.dumps(model.meta, indent=1))


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
