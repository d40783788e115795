"""The metrics: tables worked out by hand, planted answers found again, and nothing made up."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planish.methods.vfaith.bench import PAIRS, read_bench
from planish.methods.vfaith.config import Config
from planish.methods.vfaith.data import Response, Source
from planish.methods.vfaith.running.planted import AnswerSheet as Planted
from planish.methods.vfaith.scoring.metrics import (
    compare_models,
    estimate,
    score_model,
    terms,
)
from planish.methods.vfaith.scoring.records import METRICS
from planish.methods.vfaith.scoring.sheets import (
    ERROR,
    MISSING,
    UNPARSED,
    Sheet,
    pair_scores,
    read_sheet,
)
from planish.records import BadInput, write_jsonl
from support.pictures import make_bench

QUICK = Config(resamples=200, min_ratio_items=1)


def sheet(raw, edited, placebo=None, text=None, *, see_raw=None, see_edited=None, **changes):
    """Pairs with gold 0 before and 1 after; one answer a pair, or a list of repeats."""

    def codes(values):
        if values is None:
            return np.full((n, repeats), MISSING, np.int16)
        return np.array(values, np.int16).reshape(n, repeats)

    n, repeats = len(raw), np.array(raw).reshape(len(raw), -1).shape[1]
    fields = {
        "label": "m",
        "model": "m",
        "revision": "",
        "pair_ids": tuple(f"p{number}" for number in range(n)),
        "source": np.arange(n),
        "subset": np.array(["REA"] * n),
        "family": np.array(["colours"] * n),
        "item": np.zeros(n, bool),
        "options": np.full(n, 4, np.int16),
        "gold_raw": np.zeros(n, np.int16),
        "gold_edited": np.ones(n, np.int16),
        "arms": {
            "raw": codes(raw), "edited": codes(edited), "placebo": codes(placebo),
            "text": codes(text),
        },
        "perception": {
            "perception_raw": codes(see_raw)[:, None, :],
            "perception_edited": codes(see_edited)[:, None, :],
        },
        "has_placebo": np.ones(n, bool),
        "questions": np.ones(n, np.int16),
    }  # fmt: skip
    return Sheet(**{**fields, **changes})


def values(found, config=QUICK):
    return {name: each.value for name, each in score_model(found, config).overall.metrics.items()}


def test_a_table_worked_out_by_hand():
    # right+right, right+kept, right+kept, right+other, wrong+right, wrong+same wrong
    found = values(
        sheet(
            raw=[0, 0, 0, 0, 2, 3],
            edited=[1, 0, 0, 2, 1, 3],
            placebo=[0, 0, 0, 3, 2, 0],
            text=[1, 0, 2, 1, 3, 3],
            see_raw=[1, 1, 1, 0, 1, 1],
            see_edited=[1, 1, 0, 1, 0, 1],
        )
    )
    assert found == pytest.approx(
        {
            "pair_acc": 1 / 6,
            "acc_raw": 4 / 6,
            "acc_edited": 2 / 6,
            "average_accuracy": 3 / 6,
            "delta": 2 / 6,
            "acc_placebo": 4 / 6,
            "delta_placebo": 0.0,
            "delta_net": 2 / 6,
            "placebo_stability": 4 / 6,
            "repeat_ratio": 2 / 3,
            "rr_star": (2 / 3 - 1 / 3) / (1 - 1 / 3),
            "rr_base": 2 / 4,
            "rr_all": 2 / 6,
            "stuck": 3 / 6,
            # Right on raw and cue seen: pairs 0, 1, 3; lost: 1 and 3. Seen in both: 0, 1.
            "gated_unfaithfulness": 2 / 3,
            "gated_both": 1 / 2,
            "perception_raw": 5 / 6,
            "perception_edited": 4 / 6,
            "perception_accuracy": 9 / 12,
            "acc_text": 2 / 6,
            "acc_text_raw": 1 / 6,
            "item_accuracy": None,
            "item_pair_acc": None,
        }
    )
    assert set(found) == set(METRICS)


def test_mcnemar_counts_what_changed():
    score = score_model(sheet(raw=[0] * 6 + [1], edited=[0] * 5 + [1, 1]), QUICK)
    assert (score.overall.mcnemar.only_a, score.overall.mcnemar.only_b) == (5, 1)
    assert score.overall.mcnemar.p_value == pytest.approx(2 * 7 / 64)


def test_answers_that_are_missing_or_unread_are_not_wrong():
    found = sheet(raw=[0, 0, UNPARSED, ERROR, 0], edited=[1, MISSING, 1, 1, 0], placebo=[0] * 5)
    score = score_model(found, QUICK)
    assert score.overall["acc_raw"].value == 1.0
    assert score.overall["pair_acc"].value == 0.5
    assert score.overall.used == 2
    assert score.coverage == pytest.approx(2 / 5)
    assert not score.covered
    # Unread as wrong: the third pair comes back; lost calls stay out.
    assert score.strict["acc_raw"].value == pytest.approx(2 / 3)
    assert score.strict["pair_acc"].value == pytest.approx(1 / 3)
    assert (
        score.arms["raw"].unparsed == score.arms["raw"].error == score.arms["edited"].missing == 1
    )


def test_without_a_placebo_there_is_no_net_drop():
    score = score_model(sheet(raw=[0] * 30, edited=[0] * 30), QUICK)
    for name in ("delta_net", "delta_placebo", "acc_placebo", "placebo_stability", "acc_text"):
        assert score.overall[name].value is None, name
    assert score.overall["delta"].value == 1.0
    assert "placebo" not in score.arms


def test_a_ratio_over_few_pairs_is_none():
    found = sheet(raw=[0] * 40, edited=[0] * 19 + [1] * 21, see_edited=[1] * 40)
    config = Config(resamples=400)
    assert values(found, config)["repeat_ratio"] is None
    assert values(found, config)["rr_star"] is None
    assert values(found, config)["gated_unfaithfulness"] == pytest.approx(19 / 40)
    found = sheet(raw=[0] * 40, edited=[0] * 20 + [1] * 20)
    assert values(found, config)["repeat_ratio"] == 1.0
    assert values(found, config)["gated_unfaithfulness"] is None


def test_repeats_are_averaged_within_a_pair():
    found = sheet(
        raw=[[0, 0], [0, 2], [0, UNPARSED]],
        edited=[[1, 0], [0, 1], [1, 1]],
        placebo=[[0, 0]] * 3,
        see_edited=[[1, 1]] * 3,
    )
    told = values(found)
    assert told["pair_acc"] == pytest.approx((0.5 + 0 + 1) / 3)
    assert told["acc_raw"] == pytest.approx((1 + 0.5 + 1) / 3)
    assert told["repeat_ratio"] == 1.0  # two repeats lost, both to the raw answer
    # Half of the first pair and half of the second, of 1 + 0.5 + 1 that were right.
    assert told["rr_base"] == pytest.approx((0.5 + 0.5) / 2.5)
    assert score_model(found, QUICK).coverage == pytest.approx(5 / 6)


def test_pairs_of_one_source_are_drawn_together():
    rng = np.random.default_rng(0)
    right = np.repeat(rng.random(40) < 0.5, 10)
    raw, edited = np.zeros(400, int), np.where(right, 1, 0)
    alone = score_model(sheet(raw, edited), QUICK).overall["pair_acc"]
    together = score_model(sheet(raw, edited, source=np.arange(400) // 10), QUICK).overall[
        "pair_acc"
    ]
    assert together.value == alone.value
    assert together.high - together.low > 2 * (alone.high - alone.low)
    test = score_model(sheet(raw, edited, source=np.arange(400) // 10), QUICK).overall.mcnemar
    assert test.only_a == 40 - right.sum() // 10


def test_perception_items_are_a_number_of_their_own():
    found = sheet(
        raw=[0, 0, 1, 0], edited=[1, 0, 1, 1], item=np.array([False, False, True, True]),
        options=np.array([4, 4, 2, 2], np.int16),
    )  # fmt: skip
    told = values(found)
    assert told["pair_acc"] == 0.5
    assert told["item_pair_acc"] == 0.5
    assert told["item_accuracy"] == pytest.approx(3 / 4)
    assert score_model(found, QUICK).overall.pairs == 2


def test_two_options_have_no_rr_star():
    told = values(sheet(raw=[0] * 5, edited=[0] * 5, options=np.full(5, 2, np.int16)))
    assert told["repeat_ratio"] == 1.0
    assert told["rr_star"] is None


def test_a_guesser_repeats_by_chance():
    rng = np.random.default_rng(1)
    told = score_model(sheet(rng.integers(0, 4, 20_000), rng.integers(0, 4, 20_000)), QUICK).overall
    assert told["repeat_ratio"].value == pytest.approx(1 / 3, abs=0.02)
    assert told["rr_star"].value == pytest.approx(0, abs=0.03)


def test_where_all_pairs_agree_there_is_still_an_interval():
    told = score_model(sheet([0] * 100, [1] * 100, [0] * 100), QUICK).overall
    assert told["delta"].value == 0
    assert -0.06 < told["delta"].low < 0 < told["delta"].high < 0.06
    stuck = score_model(sheet([0] * 100, [0] * 100, [0] * 100), QUICK).overall
    assert stuck["delta_net"].value == stuck["delta_net"].high == 1
    assert 0.9 < stuck["delta_net"].low < 1


def test_holm_over_subsets():
    subset = np.array(["RWS"] * 20 + ["TIF"] * 20)
    score = score_model(
        sheet([0] * 40, [0] * 8 + [1] * 12 + [0] * 6 + [1] * 14, subset=subset), QUICK
    )
    p = {name: group.mcnemar.p_value for name, group in score.subsets.items()}
    assert list(p) == ["RWS", "TIF"]
    assert score.subsets["RWS"].p_holm == pytest.approx(2 * p["RWS"])
    assert score.subsets["TIF"].p_holm == pytest.approx(max(p["TIF"], 2 * p["RWS"]))
    assert score.families["colours"].p_holm is None


def test_two_models_are_compared_on_the_pairs_that_both_answered():
    one = sheet([0, 0, 0, UNPARSED], [1, 1, 1, 1], [0] * 4)
    two = sheet([0, 0, MISSING, 0], [1, 0, 1, 1], [0] * 4, label="n")
    (found,) = compare_models([one, two], QUICK)
    assert (found.a, found.b, found.n) == ("m", "n", 2)
    assert found.differences["pair_acc"].value == 0.5
    assert found.differences["delta"].value == -0.5
    assert found.differences["delta_net"].value == -0.5
    assert (found.mcnemar.only_a, found.mcnemar.only_b) == (1, 0)
    assert found.p_holm == 1.0
    assert compare_models([one], QUICK) == []


def test_the_paired_difference_is_sharper_than_two_intervals():
    rng = np.random.default_rng(3)
    hard = rng.random(600) < 0.4
    one = sheet([0] * 600, np.where(hard, 0, 1))
    two = sheet([0] * 600, np.where(hard & (rng.random(600) < 0.8), 0, 1), label="n")
    (found,) = compare_models([one, two], QUICK)
    gap = found.differences["pair_acc"]
    alone = score_model(one, QUICK).overall["pair_acc"]
    assert gap.high < 0
    assert gap.high - gap.low < 0.75 * (alone.high - alone.low)


def planted(rng, n, p):
    """Answers with the probabilities of a planted sheet, drawn apart from the room's own."""

    def other(*known):
        weights = rng.random((n, 4))
        for each in known:
            weights[np.arange(n), each] = -1
        return weights.argmax(axis=1)

    zeros, ones = np.zeros(n, int), np.ones(n, int)
    raw = np.where(rng.random(n) < p.raw, 0, other(zeros))
    sees = rng.random(n) < p.perceive
    right = rng.random(n) < np.where(sees, p.edited, p.unseen)
    wrong = np.where(rng.random(n) < p.stick, 0, other(zeros, ones))
    edited = np.where(right, 1, wrong)
    placebo = np.where(rng.random(n) < p.placebo, raw, other(raw))
    answers = [raw, edited, placebo, rng.integers(0, 4, n)]
    answers = [np.where(rng.random(n) < p.unparsed, UNPARSED, each) for each in answers]
    return sheet(*answers, see_raw=rng.random(n) < p.perceive, see_edited=sees)


@pytest.mark.parametrize(
    "p",
    [
        Planted(raw=0.9, edited=0.6, stick=0.5, placebo=0.95, perceive=0.8, unparsed=0.02),
        Planted(raw=0.7, edited=0.9, unseen=0.2, stick=0.9, placebo=0.8, perceive=0.6),
        Planted(raw=0.4, edited=0.3, unseen=0.3, stick=1 / 3, placebo=0.5, perceive=0.5),
    ],
)
def test_planted_probabilities_are_found_again(p):
    p = p.model_copy(update={"unseen": p.edited if p.unseen is None else p.unseen})
    found = planted(np.random.default_rng(11), 2000, p)
    score = score_model(found, Config(resamples=400))
    for name, true in p.expected(4).items():
        if name == "coverage":
            assert score.coverage == pytest.approx((1 - p.unparsed) ** 2, abs=0.015)
            continue
        told = score.overall[name]
        slack = (told.high - told.low) / 4  # of twenty intervals, one may just miss
        assert told.low - slack <= true <= told.high + slack, (name, true, told)


CODES = st.sampled_from([0, 1, 2, 3, UNPARSED, ERROR, MISSING])
SEEN = st.sampled_from([0, 1, UNPARSED, ERROR, MISSING])


@settings(max_examples=40)
@given(st.lists(st.tuples(CODES, CODES, CODES, CODES, SEEN, SEEN), min_size=1, max_size=30))
def test_what_holds_of_any_answers(rows):
    raw, edited, placebo, text, see_raw, see_edited = zip(*rows, strict=True)
    found = sheet(raw, edited, placebo, text, see_raw=see_raw, see_edited=see_edited)
    for strict in (False, True):
        for name, term in terms(found, strict=strict).items():
            assert np.isfinite(term.top).all()
            assert (term.bottom >= 0).all()
            assert not term.top[term.bottom == 0].any(), name
            made = estimate(term, found.source, QUICK, name)
            if made.value is None:
                continue
            low = -1 if name.startswith("delta") else -0.5 if name == "rr_star" else 0
            assert low - 1e-9 <= made.value <= 1 + 1e-9, name
            if made.low is not None:
                assert made.low - 1e-9 <= made.value <= made.high + 1e-9
    told = {
        name: term.top.sum() / term.bottom.sum() if term.bottom.any() else None
        for name, term in terms(found).items()
    }
    if told["delta"] is not None:
        assert told["delta"] == pytest.approx(told["acc_raw"] - told["acc_edited"])
        assert told["pair_acc"] <= min(told["acc_raw"], told["acc_edited"]) + 1e-9
        assert told["rr_all"] + told["acc_edited"] <= 1 + 1e-9


# ---- from replies ----------------------------------------------------------------------------


def reply(pair, arm="raw", parsed=None, outcome="wrong", **changes):
    fields = {
        "key": "k", "pair_id": pair.pair_id, "arm": arm, "model": "m", "revision": "1", "text": "",
        "parsed": parsed, "gold": pair.raw.gold, "outcome": outcome,
    }  # fmt: skip
    return Response(**{**fields, **changes})


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return make_bench(tmp_path_factory.mktemp("bench"), 4, perception=1)


def test_replies_become_rows(bench):
    one, two, *_, item = bench.pairs
    found = read_sheet(
        bench,
        [
            reply(one, "raw", one.raw.gold),
            reply(one, "edited", one.raw.gold),
            reply(one, "perception_edited", "yes"),
            reply(two, "raw", outcome="error"),
            reply(two, "edited", outcome="unparsed"),
            reply(item, "raw", item.raw.gold, repeat=1),
        ],
        label="x",
    )
    assert found.arms["raw"][:2].tolist() == [[found.gold_raw[0], MISSING], [ERROR, MISSING]]
    assert found.arms["edited"][1, 0] == UNPARSED
    assert found.arms["raw"][-1, 1] == found.gold_raw[-1]
    assert found.perception["perception_edited"][0, 0, 0] == 1
    assert found.asked.tolist() == [True, True, False, False, True]
    rows = {(row.pair_id, row.repeat): row for row in pair_scores(bench, found)}
    assert rows[one.pair_id, 0].seen == 1.0
    assert not rows[one.pair_id, 0].excluded
    assert rows[two.pair_id, 0].reason == "raw error, edited unparsed"


def test_a_reply_that_came_later_replaces_an_error(bench):
    pair = bench.pairs[0]
    lost, came = reply(pair, outcome="error"), reply(pair, parsed=pair.options[0])
    for order in ([lost, came], [came, lost]):
        assert read_sheet(bench, order).arms["raw"][0, 0] == 0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"pair_id": "nobody"}, "which the bench does not have"),
        ({"parsed": "mauve"}, "not among its options"),
        ({"model": "another", "repeat": 1}, "2 models"),
        ({}, "two replies"),
        ({"arm": "perception_raw", "question": 7}, "no perception question 7"),
        ({"question": 2}, "no such question"),
        ({"repeat": 64}, "at most 64"),
        ({"arm": "perception_raw", "repeat": 10**9, "parsed": "yes"}, "at most 64"),
    ],
)
def test_replies_that_do_not_fit_are_refused(bench, change, says):
    pair = bench.pairs[0]
    first = reply(pair, parsed=pair.options[0])
    with pytest.raises(BadInput, match=says):
        read_sheet(bench, [first, first.model_copy(update=change)], where="here")
    with pytest.raises(BadInput, match="no replies"):
        read_sheet(bench, [])


def test_a_pair_has_so_many_perception_questions_and_no_more(tmp_path):
    (pair,) = make_bench(tmp_path, 1).pairs
    many = pair.model_copy(update={"perception": pair.perception * 64})
    write_jsonl(tmp_path / PAIRS, [many])
    found = read_sheet(
        read_bench(tmp_path), [reply(pair, "perception_edited", "yes", question=63, repeat=2)]
    )
    assert found.questions.tolist() == [64]
    assert found.perception["perception_edited"][0, 63].tolist() == [MISSING, MISSING, 1]
    write_jsonl(tmp_path / PAIRS, [pair.model_copy(update={"perception": pair.perception * 200})])
    with pytest.raises(BadInput, match="perception"):
        read_bench(tmp_path)


def test_sources_come_from_the_bench(tmp_path):
    bench = make_bench(tmp_path, 4)
    source = Source(id="photo", licence="CC0")
    write_jsonl(
        tmp_path / PAIRS,
        [
            pair.model_copy(update={"source": source}) if number % 2 else pair
            for number, pair in enumerate(bench.pairs)
        ],
    )
    bench = read_bench(tmp_path)
    found = read_sheet(bench, [reply(bench.pairs[0], parsed=bench.pairs[0].options[0])])
    assert found.source[1] == found.source[3]
    assert len(set(found.source.tolist())) == 3
