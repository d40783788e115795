"""From evidence to ranked categories: confidence, abstention, and how weights are fitted."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planish.errors import BadInput
from planish.methods.mistakes.config import Config
from planish.methods.mistakes.data import (
    CATEGORIES,
    CodeTask,
    Evidence,
    Labelled,
    Observation,
    Search,
)
from planish.methods.mistakes.ruling import fitting, gathering
from planish.methods.mistakes.ruling.confidence import (
    features,
    load_weights,
    probabilities,
    rank,
)
from planish.methods.mistakes.ruling.gathering import Row, gather, known_rows, row_key

RULES = ("best repair", "all repairs", "shared relation", "other type", "call error", "residual")

evidences = st.lists(
    st.builds(
        Evidence,
        rule=st.sampled_from(RULES),
        category=st.sampled_from(CATEGORIES),
        strength=st.floats(0, 1),
    ),
    max_size=12,
)


@given(evidences)
def test_confidence_adds_up_to_one_and_the_order_of_evidence_does_not_count(
    evidence: list[Evidence],
) -> None:
    told = probabilities(features(evidence))
    assert set(told) == set(CATEGORIES)
    assert sum(told.values()) == pytest.approx(1)
    assert all(value >= 0 for value in told.values())
    assert probabilities(features(evidence[::-1])) == pytest.approx(told)


@given(evidences, st.floats(0, 1))
def test_a_diagnosis_is_ranked_or_abstains_and_says_why(
    evidence: list[Evidence], threshold: float
) -> None:
    told = rank("k", evidence, threshold=threshold)
    assert told.key == "k"
    assert told.why
    assert told.abstained == (not told.ranked)
    if told.ranked:
        confidence = [value for _, value in told.ranked]
        assert confidence == sorted(confidence, reverse=True)
        assert confidence[0] >= threshold
        assert all(evidence[at].category == told.category for at in told.evidence)


def test_without_evidence_it_abstains_at_any_threshold() -> None:
    assert rank("k", (), threshold=0.0).abstained


@given(evidences)
def test_features_are_the_strongest_of_each_rule(evidence: list[Evidence]) -> None:
    found = features(evidence)
    assert all(0 <= value <= 1 for value in found.values())
    for each in evidence:
        assert found[f"{each.rule}:{each.category}"] >= each.strength
        assert found[f"sum:{each.category}"] >= 0.9 * each.strength - 1e-12


@pytest.mark.parametrize("category", [each for each in CATEGORIES if each != "GC"])
def test_repairs_that_agree_everywhere_and_alone_decide(category: Any) -> None:
    evidence = [
        Evidence(rule=rule, category=category, strength=1.0)
        for rule in ("best repair", "all repairs")
    ]
    assert rank("k", evidence, threshold=0.0).category == category


def test_the_weights_say_what_they_were_fitted_on() -> None:
    model = load_weights()
    assert set(model.weights) == set(model.bias) == set(CATEGORIES)
    assert all(len(each) == len(model.features) for each in model.weights.values())
    assert model.meta["programs"] == sum(model.meta["by_category"].values())
    assert len(model.meta["rows_sha256"]) == 64
    assert model.meta["cross_validation"]["ece"] <= 0.08


# ---- fitting ---------------------------------------------------------------------------------


def separable(number: int = 8) -> tuple[list[dict[str, float]], list[Any]]:
    values = [{f"best repair:{category}": 1.0} for category in CATEGORIES for _ in range(number)]
    return values, [category for category in CATEGORIES for _ in range(number)]


def test_a_model_finds_what_tells_categories_apart_and_is_the_same_twice() -> None:
    values, labels = separable()
    model = fitting.fit(values, labels, 3.0)
    for each, label in zip(values, labels, strict=True):
        told = probabilities(each, model)
        assert max(told, key=lambda category: told[category]) == label
    assert fitting.fit(values, labels, 3.0) == model


def test_what_is_known_of_a_task_alone_does_not_help_with_its_other_programs() -> None:
    labels = [category for category in CATEGORIES for _ in range(8)]
    tasks = [f"task {at}" for at in range(len(labels) // 2) for _ in range(2)]
    values = [{task: 1.0} for task in tasks]
    told = fitting.cross_validated(values, labels, tasks, 6.0)
    gold = np.array([CATEGORIES.index(label) for label in labels])
    assert (told.argmax(axis=1) == gold).mean() < 0.5
    assert told.sum(axis=1) == pytest.approx(1)


def test_a_category_without_a_program_is_refused() -> None:
    with pytest.raises(BadInput, match="no program has the category CE"):
        fitting.fit([{"best repair:IOM": 1.0}], ["IOM"], 1.0)


def task_of(split: Any) -> CodeTask:
    return CodeTask(
        task_id=f"t/{split}",
        entry_point="f",
        prompt="",
        reference="def f(x): return x\n",
        split=split,
    )


def row_of(task: CodeTask, code: str = "def f(x): return 0\n") -> Row:
    labelled = Labelled(task_id=task.task_id, category="MFLE", code=code)
    return Row(
        key=row_key(task, labelled, Config.tiny().diagnosing),
        labelled=labelled,
        observation=Observation(key="k", status="wrong_value"),
        search=Search(),
    )


def test_programs_of_the_report_split_are_never_fitted_on() -> None:
    train, report = task_of("train"), task_of("report")
    assert fitting.training_rows([train, report], [row_of(train), row_of(train)]) == [row_of(train)]
    with pytest.raises(BadInput, match="not of the split train"):
        fitting.training_rows([train, report], [row_of(train), row_of(report)])
    with pytest.raises(BadInput, match="no rows"):
        fitting.training_rows([train], [])


def test_what_is_in_the_file_is_not_run_again_and_a_torn_line_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = task_of("train")
    rows = [row_of(task), row_of(task, "def f(x): return 1\n")]
    path = tmp_path / "rows.jsonl"
    torn = json.dumps({"key": "x"})[:-3]
    path.write_text("".join(row.model_dump_json() + "\n" for row in rows) + torn)
    assert list(known_rows(path)) == [row.key for row in rows]

    def closed(**_: Any) -> None:
        raise AssertionError("nothing is to be run")

    monkeypatch.setattr(gathering, "Sandbox", closed)
    dials = Config.tiny().diagnosing
    told = gather([task], [row.labelled for row in rows[::-1]], path, dials=dials)
    assert told == rows[::-1]
    with pytest.raises(AssertionError, match="nothing is to be run"):
        gather([task], [row_of(task, "def f(x): return 2\n").labelled], path, dials=dials)


def test_a_row_after_a_torn_line_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task, path = task_of("train"), tmp_path / "rows.jsonl"
    path.write_text('{"key": "to')
    wanted = row_of(task)
    seen = [wanted.observation]
    monkeypatch.setattr(gathering, "Sandbox", lambda **_: contextlib.nullcontext())
    monkeypatch.setattr(gathering, "observe_many", lambda *_, **__: seen)
    monkeypatch.setattr(gathering, "repair", lambda *_, **__: wanted.search)
    dials = Config.tiny().diagnosing
    assert gather([task], [wanted.labelled], path, dials=dials) == [wanted]
    assert known_rows(path) == {wanted.key: wanted}


def test_a_row_stands_for_its_label_its_task_and_its_dials() -> None:
    task, dials = task_of("train"), Config.tiny().diagnosing
    labelled = row_of(task).labelled
    other = dials.model_copy(update={"mutants": 7})
    assert row_key(task, labelled, dials) == row_key(
        task, labelled, dials.model_copy(update={"threshold": 0.9})
    )
    keys = {
        row_key(task, labelled, dials),
        row_key(task, labelled, other),
        row_key(task.model_copy(update={"tests": "x"}), labelled, dials),
        row_key(task, labelled.model_copy(update={"category": "CE"}), dials),
    }
    assert len(keys) == 4
