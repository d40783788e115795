"""Planted models answer as they promise, through prompts, pictures and words."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planish.methods.vfaith.data import ARMS, Edit, EditPair, Perception, Picture
from planish.methods.vfaith.extraction import extract
from planish.methods.vfaith.running.planted import (
    PLANTED,
    UNREADABLE,
    AnswerSheet,
    load_model,
)
from planish.methods.vfaith.running.prompts import gold_of, options_of
from planish.methods.vfaith.running.records import calls_of, respond
from planish.records import BadInput, Sampling, user
from support.pictures import make_bench


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return make_bench(tmp_path_factory.mktemp("bench"), 16, perception=8)


def replies(spec, bench, *, seed=0, repeats=1, pairs=None):
    """Id of a record -> its call and the response, of every arm."""
    model = load_model(spec, bench)
    calls = calls_of(bench.pairs if pairs is None else pairs, ARMS)
    drawn = model.generate([call.chat(bench) for call in calls], Sampling(n=repeats, seed=seed))
    return {
        call.id(repeat): (
            call,
            respond(call, completion, key="k", model=model, repeat=repeat),
        )
        for call, row in zip(calls, drawn, strict=True)
        for repeat, completion in enumerate(row)
    }


def by_arm(found, what):
    arms = {}
    for call, reply in found.values():
        arms.setdefault(call.arm, []).append(what(call, reply))
    return arms


def test_what_is_unreadable_is_unreadable():
    for options in (("yes", "no"), ("red", "blue", "green", "brown"), ("5", "6", "7", "8")):
        assert extract(UNREADABLE, options).option is None


def test_the_oracle_is_right_wherever_there_is_a_picture(bench):
    right = by_arm(replies("planted:oracle", bench), lambda _, reply: reply.outcome)
    text = right.pop("text")
    assert {outcome for outcomes in right.values() for outcome in outcomes} == {"correct"}
    assert set(text) == {"correct", "wrong"}


def test_the_cached_adversary_answers_from_the_raw_picture(bench):
    for call, reply in replies("planted:cached", bench).values():
        if call.arm in ("raw", "edited", "placebo"):
            assert reply.parsed == call.pair.raw.gold
        elif call.arm.startswith("perception"):
            assert reply.parsed == call.pair.perception[call.question].gold_raw


def test_memory_answers_as_the_usual_picture_would_have_it(bench):
    for call, reply in replies("planted:memory", bench).values():
        pair = call.pair
        if call.arm.startswith("perception"):
            asked = pair.perception[call.question]
            assert reply.parsed == (asked.gold_raw if pair.typical else asked.gold_edited)
        else:
            assert reply.parsed == (pair.raw if pair.typical else pair.edited).gold


def test_memory_with_a_rate_looks_at_the_rest(bench):
    none = replies("planted:memory?rate=0", bench).values()
    oracle = replies("planted:oracle", bench).values()
    assert [reply.parsed for _, reply in none] == [reply.parsed for _, reply in oracle]
    some = replies("planted:memory?rate=0.5&seed=3", bench)
    wrong = sum(reply.outcome == "wrong" for call, reply in some.values() if call.arm == "edited")
    assert 0 < wrong < 18  # 18 of 24 pairs begin with the usual picture


def test_position_and_blind_see_nothing(bench):
    for letter, place in (("B", 1), ("D", 3)):
        found = replies(f"planted:position?letter={letter}", bench)
        for call, reply in found.values():
            options = options_of(*call)
            assert reply.parsed == options[min(place, len(options) - 1)]
    blind = replies("planted:blind", bench)
    for pair in bench.pairs:
        same = {
            reply.parsed
            for call, reply in blind.values()
            if call.pair == pair and not call.arm.startswith("perception")
        }
        assert len(same) == 1
    assert len({reply.parsed for _, reply in blind.values()}) > 4


def test_the_same_call_gets_the_same_answer_and_another_seed_another(bench):
    spec = "planted:random?seed=1"
    first, again = replies(spec, bench), replies(spec, bench, pairs=bench.pairs[::-1])
    texts = {id: reply.text for id, (_, reply) in first.items()}
    assert texts == {id: reply.text for id, (_, reply) in again.items()}
    other = replies("planted:random?seed=2", bench)
    assert sum(texts[id] != reply.text for id, (_, reply) in other.items()) > len(first) / 3
    # Sample i of seed s is sample 0 of seed s + i, as in every model.
    three = replies(spec, bench, repeats=3)
    shifted = replies(spec, bench, seed=2)
    assert all(
        three[call.id(2)][1].text == reply.text for call, reply in shifted.values()
    )  # fmt: skip


def test_a_revision_is_that_of_the_options_and_the_bench(bench, tmp_path):
    one = load_model("planted:sheet?raw=0.9", bench)
    assert one.revision == load_model("planted:sheet?raw=.9", bench).revision
    assert one.revision != load_model("planted:sheet?raw=.8", bench).revision
    assert one.revision != load_model("planted:sheet?raw=.9", make_bench(tmp_path, 2)).revision


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("planted:wizard", "known: oracle, random"),
        ("planted:", "no planted model"),
        ("planted:sheet?raw=1.5", "option raw"),
        ("planted:sheet?raw", "option=value"),
        ("planted:oracle?letter=A", "no option 'letter'"),
        ("planted:position?letter=Z", "option letter"),
        ("nonsense", "does not name a model"),
    ],
)
def test_unknown_models_and_options_are_refused(bench, spec, words):
    with pytest.raises(BadInput, match=words):
        load_model(spec, bench)


def test_it_answers_only_what_its_bench_asks(bench):
    with pytest.raises(BadInput, match="nothing but the questions of its bench"):
        load_model("planted:oracle", bench).generate([user("What is it?")], Sampling())


# ---- the answer sheet ------------------------------------------------------------------------


class Paper:
    """A bench of numbers alone: its pictures are `data:` URLs, so that thousands cost nothing."""

    def __init__(self, number, options):
        self.digest = f"{number}:{options}"
        self.pairs = tuple(self._pair(i, options) for i in range(number))

    def path(self, picture):
        return f"data:,{picture.file}"

    @staticmethod
    def _pair(number, count):
        from hashlib import sha256

        options = tuple(f"w{i}" for i in range(count))
        raw, edited = options[number % count], options[(number + 1 + number // count) % count]
        if raw == edited:
            edited = options[(number + 1) % count]

        def picture(name, gold):
            file = f"{number}-{name}"
            return Picture(file=file, sha256=sha256(file.encode()).hexdigest(), gold=gold)

        return EditPair(
            pair_id=f"p{number:05d}",
            family="paper",
            subset="REA",
            source={"id": str(number), "licence": ""},
            question=f"What is {number}?",
            options=options,
            shuffle_seed=number,
            typical=number % 4 != 3,
            raw=picture("raw", raw),
            edited=picture("edited", edited),
            placebo=picture("placebo", raw),
            cue=dict.fromkeys(("name", "old", "new", "mask", "mask_sha256"), "")
            | {"box": (0, 0, 1, 1)},
            perception=(Perception(text=f"New {number}?", gold_raw="no", gold_edited="yes"),),
            edit=Edit(
                backend="", version="", instruction="", request="", deterministic=True,
                exact_mask=True, native_size=(1, 1),
            ),
        )  # fmt: skip


def share(values):
    known = [bool(value) for value in values]
    return (sum(known) / len(known), len(known)) if known else (None, 0)


def measured(found):
    """Every metric of a sheet from its replies, by its definition: (value, how many)."""
    table = {}
    for call, reply in found.values():
        table.setdefault(call.pair.pair_id, {"pair": call.pair})[call.arm] = reply
    rows = []
    for row in table.values():
        rows.append({arm: row[arm].parsed for arm in ARMS} | {"g": row["pair"].raw.gold,
                    "h": row["pair"].edited.gold})  # fmt: skip
    every = [row for row in rows if all(row[arm] is not None for arm in ARMS)]
    fell = [row for row in every if row["raw"] == row["g"] and row["edited"] != row["h"]]
    was_right = [row for row in every if row["raw"] == row["g"]]
    return {
        "acc_raw": share(row["raw"] == row["g"] for row in every),
        "acc_edited": share(row["edited"] == row["h"] for row in every),
        "repeat_ratio": share(row["edited"] == row["g"] for row in fell),
        "rr_base": share(row["edited"] == row["g"] for row in was_right),
        "rr_all": share(row["edited"] == row["g"] for row in every),
        "stuck": share(row["edited"] == row["raw"] for row in every),
        "pair_acc": share(row["raw"] == row["g"] and row["edited"] == row["h"] for row in every),
        "gated_unfaithfulness": share(
            row["edited"] != row["h"] for row in was_right if row["perception_edited"] == "yes"
        ),
        "placebo_stability": share(row["placebo"] == row["raw"] for row in every),
        "acc_placebo": share(row["placebo"] == row["g"] for row in every),
        "perception_raw": share(row["perception_raw"] == "no" for row in every),
        "perception_edited": share(row["perception_edited"] == "yes" for row in every),
        "acc_text": share(row["text"] == row["h"] for row in every),
        "coverage": share(row["raw"] is not None for row in rows),
    }


SHEETS = [
    "raw=.9&edited=.6&stick=.5&placebo=.95&perceive=.8&unparsed=.02&seed=1",
    "raw=.6&edited=.9&unseen=.2&stick=.8&placebo=.5&perceive=.7&seed=2",
    "raw=1&edited=0&stick=1&placebo=1&perceive=1",
]


@pytest.mark.parametrize(
    ("spec", "options"), [(SHEETS[0], 2), (SHEETS[0], 4), (SHEETS[1], 4), (SHEETS[2], 2)]
)
def test_a_sheet_gives_what_it_promises(spec, options):
    bench = Paper(500, options)
    found = measured(replies(f"planted:sheet?{spec}", bench))
    sheet = AnswerSheet.model_validate(dict(item.split("=") for item in spec.split("&")))
    expected = sheet.expected(options)
    for name, (value, number) in found.items():
        if not number:
            assert expected[name] is None or number == 0
            continue
        wanted = expected[name]
        # Four standard errors: a false alarm in 16,000 numbers.
        margin = 4 * math.sqrt(wanted * (1 - wanted) / number) + 1e-9
        assert value == pytest.approx(wanted, abs=margin), name
    assert expected["delta"] == pytest.approx(expected["acc_raw"] - expected["acc_edited"])
    assert expected["delta_net"] == pytest.approx(expected["delta"] - expected["delta_placebo"])


sheets = st.builds(
    AnswerSheet,
    **{
        name: st.floats(0, 1)
        for name in ("raw", "edited", "unseen", "stick", "placebo", "perceive", "unparsed")
    },
)


@given(sheets, st.integers(2, 8))
def test_expected_numbers_agree_with_each_other(sheet, options):
    found = sheet.expected(options)
    for name in ("stuck", "rr_all", "pair_acc", "acc_placebo", "acc_edited"):
        assert -1e-9 <= found[name] <= 1 + 1e-9
    # Answers to the edited picture: the new gold, the old gold, the rest.
    assert found["acc_edited"] + found["rr_all"] <= 1 + 1e-9
    assert found["average_accuracy"] == pytest.approx((found["acc_raw"] + found["acc_edited"]) / 2)
    if options == 2:
        assert found["rr_star"] is None
        assert found["acc_edited"] + found["rr_all"] == pytest.approx(1)


def test_every_planted_model_is_tested_here_and_speaks_of_all_arms(bench):
    assert set(PLANTED) == {"oracle", "random", "position", "memory", "cached", "blind", "sheet"}
    for name in PLANTED:
        found = replies(f"planted:{name}", bench, pairs=bench.pairs[:2])
        assert all(reply.parsed in options_of(*call) for call, reply in found.values())
        assert all(reply.gold == gold_of(*call) for call, reply in found.values())
