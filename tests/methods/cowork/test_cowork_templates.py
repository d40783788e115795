"""The embedded proposer: its edits are accepted, answer what was found, and never come twice."""

from __future__ import annotations

import json
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planish.methods.cowork.acting.episodes import Job, play
from planish.methods.cowork.data import Cell, Diagnosis, GateResult, Patch, Signal, Stage
from planish.methods.cowork.improving.diagnosis import SIGNALS, diagnose
from planish.methods.cowork.improving.patches import Limits, apply, node_of
from planish.methods.cowork.improving.proposing import Budget
from planish.methods.cowork.improving.remedies import REMEDIES, guard, move, prune
from planish.methods.cowork.improving.templates import LIMITS, EmbeddedProposer
from planish.methods.cowork.kitchen.layouts import load_layout
from planish.methods.cowork.method import drift
from planish.methods.cowork.skills import Library, load_library, parse_library
from support.skills import edits, small

FULL, IMPAIRED = load_library("full"), load_library("impaired")
SHIPPED = {"impaired": IMPAIRED, "full": FULL, "small": small()}
NAMES = [remedy.name for remedy in REMEDIES]
NOTHING = Budget(0)


def remedy(name):
    return next(each for each in REMEDIES if each.name == name)


def patched(library, draft):
    patch = Patch(base_hash=library.digest, rationale="a test", ops=tuple(draft.ops))
    return apply(patch, library, limits=Limits(), anchor=library)


def signals(**lost):
    """A diagnosis with these kinds, by lost ticks."""
    found = sorted(lost.items(), key=lambda item: -item[1])
    return Diagnosis(
        library_hash=IMPAIRED.digest,
        signals=tuple(
            Signal(kind=kind, cell="here", count=1, lost_ticks=ticks, evidence_ids=(f"{kind}@1",))
            for kind, ticks in found
        ),
    )


def told(proposer, patch, *, accepted=False, reason="no_gain", gain=None):
    """What the gate said of a patch; `gain`: its mean gain, where it was played."""
    stages = () if gain is None else (Stage(seeds=2, deltas={"here": gain}, mean=gain, lower=gain),)
    proposer.learn(
        GateResult(
            fingerprint="f", base_hash=patch.base_hash, patch=patch, accepted=accepted,
            reason=reason, stages=stages,
        )
    )  # fmt: skip


def shape(patch):
    return json.dumps(patch.ops, sort_keys=True)


# ---- remedies ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("which", SHIPPED)
def test_a_remedy_writes_what_is_accepted_and_then_has_nothing_to_add(name, which):
    library = SHIPPED[which]
    draft = remedy(name).write(library)
    if draft is None:
        return
    after = patched(library, draft)
    assert draft.drift == pytest.approx(drift(after, library))
    assert draft.touched == {node_of(op) for op in draft.ops}
    assert remedy(name).write(after) is None


def test_remedies_answer_known_signals_and_each_signal_has_one():
    assert len(set(NAMES)) == len(NAMES)
    answered = {kind for each in REMEDIES for kind in each.mends}
    assert answered <= SIGNALS.keys()
    assert SIGNALS.keys() - answered == {"never_succeeds", "guard"}  # these name their method
    assert all(each.why.endswith(".") and len(each.why) > 20 for each in REMEDIES)


def test_who_has_nothing_to_do_makes_way_only_for_a_partner_that_stands_still_before_it():
    draft = remedy("let_through").write(IMPAIRED)
    method = patched(IMPAIRED, draft).method("let_through")
    assert set(method.when) == {"in_the_way", "partner_within(1)", "partner_still_for(2)"}
    lowest = min(node.priority for node in IMPAIRED.methods if node.id not in ("pause", "shift"))
    assert 0 < method.priority < lowest


def evolved(*names):
    """The impaired library with the edits of these remedies."""
    library = IMPAIRED
    for name in names:
        library = patched(library, remedy(name).write(library))
    return library


def earned(library, layout, seed, partner="self", seat=0):
    cell = Cell(layout=layout, partner=partner, seat=seat)
    return play(Job(cell, library, seed)).episode.score


@pytest.mark.parametrize("layout", ["coordination_ring", "counter_circuit_o_1order"])
def test_who_stands_idle_where_its_partner_keeps_coming_lets_it_by(layout):
    # The partner steps back and comes again, so it never stands still and nobody lets it through.
    before = evolved("give_way", "dish_later")
    stuck = earned(evolved("give_way", "dish_later", "let_through"), layout, 0)
    assert stuck == earned(before, layout, 0) <= 40
    assert earned(evolved("give_way", "dish_later", "make_way"), layout, 0) >= 3 * stuck


@pytest.mark.parametrize("seat", [0, 1])
def test_a_cook_gives_in_to_a_partner_that_never_gives_way(seat):
    layout = "counter_circuit_o_1order"
    assert earned(evolved("give_way"), layout, 2, "greedy", seat) <= 60
    assert earned(evolved("give_way", "give_in"), layout, 2, "greedy", seat) >= 150


def test_an_edit_that_only_a_standoff_had_made_a_loss_is_none_once_a_cook_gives_in():
    where = ("cramped_room", 4, "greedy", 1)
    assert earned(evolved("give_way"), *where) >= 200
    assert earned(evolved("give_way", "free_hands_for_an_onion"), *where) <= 40
    assert earned(evolved("give_way", "free_hands_for_an_onion", "give_in"), *where) >= 200


def test_the_impaired_library_lacks_most_and_the_full_one_little():
    lacks = {
        name: {each.name for each in REMEDIES if each.write(SHIPPED[name])} for name in SHIPPED
    }
    assert len(lacks["impaired"]) >= 20
    assert len(lacks["full"] - {"plan_ahead"}) <= 8  # that one is made of three others
    assert "give_way" in lacks["impaired"] - lacks["full"]


@pytest.mark.parametrize("name", NAMES)
def test_a_remedy_never_touches_a_locked_node(name):
    for library in SHIPPED.values():
        document = library.model_dump(mode="json")
        for kind in ("params", "operators", "methods"):
            for node in document[kind]:
                node["locked"] = True
        locked = parse_library(document)
        draft = remedy(name).write(locked)
        if draft is not None:
            patched(locked, draft)
            assert all(op["op"] == "add" and op["path"].endswith("/-") for op in draft.ops)
            assert all(op["path"].count("/") == 2 for op in draft.ops)


@settings(max_examples=25)
@given(edits())
def test_remedies_suit_any_sound_library(library):
    for each in REMEDIES:
        draft = each.write(library)
        if draft is not None:
            after = patched(library, draft)
            assert each.write(after) is None


def test_a_value_beyond_a_bound_stops_at_it_once():
    document = IMPAIRED.model_dump(mode="json")
    place = next(n for n, node in enumerate(document["params"]) if node["id"] == "detour")
    document["params"][place] |= {"max": 6}
    tight = parse_library(document)
    draft = remedy("walk_around").write(tight)
    after = patched(tight, draft)
    assert after.values["detour"] == 6
    assert remedy("walk_around").write(after) is None


def test_a_guard_is_added_to_the_method_that_it_was_found_for():
    draft = guard(IMPAIRED, "plate if !wanted(onion)")
    assert patched(IMPAIRED, draft).method("plate").when[-1] == "!wanted(onion)"
    assert guard(IMPAIRED, "plate if can_use") is None
    assert guard(IMPAIRED, "missing if can_use") is None


def test_a_method_that_never_ends_well_sinks_and_goes():
    library = IMPAIRED
    priorities = []
    while (method := library.method("fetch_dish")) is not None:
        priorities.append(method.priority)
        library = patched(library, prune(library, "fetch_dish"))
    assert priorities == [60, 30, 15, 8, 4]
    assert prune(library, "fetch_dish") is None
    assert prune(IMPAIRED, "shift") is None  # the root's
    assert prune(IMPAIRED, "pause") is None  # without a condition: what is done at the end


def test_parameters_move_by_their_steps_inside_their_bounds():
    found = [(name, value) for name, value, _ in move(IMPAIRED)]
    assert len(set(found)) == len(found)
    assert {value for name, value in found if name == "dishes_ahead"} == {25, 15, 35, 5}
    assert {value for name, value in found if name == "claim_ttl"} == {5, 15}
    assert {value for name, value in found if name == "yield_after"} == {3, 1, 5}
    for name, value, draft in move(IMPAIRED):
        assert patched(IMPAIRED, draft).values[name] == value


# ---- proposing --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ring():
    played = [
        play(Job(Cell(layout="coordination_ring"), IMPAIRED, seed), trace=True) for seed in range(2)
    ]
    return diagnose(IMPAIRED, played)


def test_two_who_block_each_other_are_first_taught_to_let_pass(ring):
    patches = EmbeddedProposer(seed=0).propose(ring, IMPAIRED, NOTHING)
    names = [patch.proposer for patch in patches]
    assert len(patches) == 3
    assert {"embedded:give_way", "embedded:walk_around"} & set(names)
    for patch in patches:
        apply(patch, IMPAIRED, limits=Limits(), anchor=IMPAIRED)
        assert patch.tokens == 0
        assert patch.rationale
        assert set(patch.evidence_ids) <= {w for s in ring.signals for w in s.evidence_ids}


@pytest.mark.parametrize(
    ("kind", "first"),
    [
        ("out_of_reach", {"pass_on", "only_cooks_fetch", "supply_dishes", "supply_onions",
                          "pick_up_soup"}),
        ("ready_without_dish", {"dish_ahead", "dish_before_onion", "free_hands_for_a_dish",
                                "supply_dishes"}),
        ("not_started", {"start_first"}),
        ("useless_hold", {each.name for each in REMEDIES if "useless_hold" in each.mends}),
    ],
)  # fmt: skip
def test_what_was_found_decides_what_is_proposed_first(kind, first):
    patches = EmbeddedProposer(seed=0).propose(signals(**{kind: 300}), IMPAIRED, NOTHING)
    assert patches[0].proposer.removeprefix("embedded:") in first
    assert patches[0].evidence_ids == (f"{kind}@1",)
    assert kind.replace("_", " ") in patches[0].rationale


def test_the_dearer_signal_is_answered_first():
    for dear, cheap, first in (("not_started", "mutual_block", "start_first"),):
        patches = EmbeddedProposer(seed=0).propose(
            signals(**{dear: 500, cheap: 20}), IMPAIRED, NOTHING
        )
        assert patches[0].proposer == f"embedded:{first}"


def test_signals_that_name_a_method_are_answered():
    diagnosis = Diagnosis(
        library_hash=IMPAIRED.digest,
        signals=(
            Signal(kind="guard", cell="", count=9, lost_ticks=90, subject="plate if closer(dish)"),
            Signal(kind="never_succeeds", cell="", count=40, lost_ticks=80, subject="fetch_dish"),
        ),
    )
    patches = EmbeddedProposer(seed=0).propose(diagnosis, IMPAIRED, NOTHING)
    names = [patch.proposer for patch in patches[:2]]
    assert names == ["embedded:add_guard", "embedded:lower_priority"]
    assert patches[0].ops[0]["value"] == "closer(dish)"
    assert patches[1].ops[0]["value"] == 30


def rounds(proposer, diagnosis, library, count, reason="no_gain"):
    found = []
    for _ in range(count):
        patches = proposer.propose(diagnosis, library, NOTHING)
        found.append(patches)
        for patch in patches:
            told(proposer, patch, reason=reason)
    return found


def test_what_was_refused_does_not_come_back_for_the_same_library(ring):
    seen = [
        patch for each in rounds(EmbeddedProposer(seed=1), ring, IMPAIRED, 40) for patch in each
    ]
    assert len(seen) == 120
    assert len({shape(patch) for patch in seen}) == 120
    assert any("+" in patch.proposer for patch in seen)  # pairs, when every single edit was refused
    for patch in seen:
        apply(patch, IMPAIRED, limits=Limits(), anchor=IMPAIRED)


def test_for_another_library_it_may_come_back(ring):
    proposer = EmbeddedProposer(seed=1)
    first = proposer.propose(ring, IMPAIRED, NOTHING)[0]
    for patch in (first,):
        told(proposer, patch)
    again = [shape(patch) for patch in proposer.propose(ring, IMPAIRED, NOTHING)]
    assert shape(first) not in again
    document = IMPAIRED.model_dump(mode="json")
    document["params"][2]["value"] = 25
    other = parse_library(document)
    seen = [shape(patch) for each in rounds(proposer, ring, other, 8) for patch in each]
    assert shape(first) in seen


@pytest.mark.parametrize("reason", ["outrun", "budget_spent", "doubted"])
def test_what_was_not_judged_to_the_end_may_come_back(reason, ring):
    seen = rounds(EmbeddedProposer(seed=1), ring, IMPAIRED, 25, reason)
    shapes = [shape(patch) for patches in seen for patch in patches]
    assert len(set(shapes)) < len(shapes)
    assert shapes[0] in shapes[3:]


def outran(proposer, patch, gain):
    told(proposer, patch, reason="outrun", gain=gain)


def test_what_gained_and_was_outrun_comes_again_first_the_largest_gain_ahead(ring):
    proposer = EmbeddedProposer(seed=1, candidates=6)
    first = proposer.propose(ring, IMPAIRED, NOTHING)
    gains = (5.0, 0.0, 1.0, 9.0, 2.0, -3.0)
    for patch, gain in zip(first, gains, strict=True):
        outran(proposer, patch, gain)
    again = proposer.propose(ring, IMPAIRED, NOTHING)
    assert again[:3] == [first[3], first[0], first[4]]  # three places of six, and no more
    told(proposer, first[3])
    later = proposer.propose(ring, IMPAIRED, NOTHING)
    assert later[:3] == [first[0], first[4], first[2]]
    assert shape(first[3]) not in [shape(patch) for patch in later]


def test_to_be_outrun_with_a_gain_is_no_defeat(ring):
    one, other = EmbeddedProposer(seed=1, candidates=1), EmbeddedProposer(seed=1, candidates=1)
    patch = one.propose(ring, IMPAIRED, NOTHING)[0]
    other.propose(ring, IMPAIRED, NOTHING)
    outran(one, patch, 5.0)
    assert one.propose(ring, IMPAIRED, NOTHING) == [patch]
    for _ in range(9):
        outran(other, patch, -5.0)
    assert other.propose(ring, IMPAIRED, NOTHING) != [patch]


def test_what_others_propose_teaches_it_nothing(ring):
    one, other = EmbeddedProposer(seed=1), EmbeddedProposer(seed=1)
    patch = one.propose(ring, IMPAIRED, NOTHING)[0]
    other.propose(ring, IMPAIRED, NOTHING)
    told(one, patch.model_copy(update={"proposer": "some-model"}))
    assert one.propose(ring, IMPAIRED, NOTHING) == other.propose(ring, IMPAIRED, NOTHING)


def test_a_template_that_won_is_preferred_to_one_that_lost():
    diagnosis = signals(out_of_reach=100)
    names = {}
    for accepted in (False, True):
        proposer = EmbeddedProposer(seed=0, candidates=30)
        for patch in proposer.propose(diagnosis, IMPAIRED, NOTHING):
            if patch.proposer == "embedded:supply_onions":
                for _ in range(8):
                    told(proposer, patch, accepted=accepted)
        document = IMPAIRED.model_dump(mode="json")
        document["params"][2]["value"] = 25  # another library: nothing is refused for it
        patches = proposer.propose(diagnosis, parse_library(document), NOTHING)
        names[accepted] = [patch.proposer for patch in patches].index("embedded:supply_onions")
    assert names[True] < names[False]


@pytest.mark.parametrize(
    "options", [{}, {"only_parameters": True}, {"diagnosed": False}, {"candidates": 7}]
)
def test_the_seed_decides_everything(options, ring):
    first = rounds(EmbeddedProposer(seed=4, **options), ring, IMPAIRED, 6)
    assert first == rounds(EmbeddedProposer(seed=4, **options), ring, IMPAIRED, 6)
    assert all(len(patches) <= options.get("candidates", 3) for patches in first)


def test_parameter_search_moves_values_and_nothing_else(ring):
    seen = rounds(EmbeddedProposer(seed=0, only_parameters=True), ring, IMPAIRED, 9)
    flat = [patch for patches in seen for patch in patches]
    assert len(flat) == len(list(move(IMPAIRED)))
    assert not seen[-1]  # every move was refused
    for patch in flat:
        (op,) = patch.ops
        assert op["op"] == "replace"
        assert op["path"].startswith("/params/")
        assert op["path"].endswith("/value")
        apply(patch, IMPAIRED, limits=Limits(), anchor=IMPAIRED)


def test_without_a_diagnosis_templates_come_in_random_order(ring):
    orders = {
        tuple(
            patch.proposer
            for patch in EmbeddedProposer(seed=seed, diagnosed=False).propose(
                ring, IMPAIRED, NOTHING
            )
        )
        for seed in range(6)
    }
    assert len(orders) > 3
    steady = {
        tuple(p.proposer for p in EmbeddedProposer(seed=seed).propose(ring, IMPAIRED, NOTHING))
        for seed in range(6)
    }
    assert len(steady) == 1


def test_pairs_stay_within_a_rounds_drift(ring):
    assert Limits() == LIMITS
    drafts = [each for each in REMEDIES if each.write(IMPAIRED)]
    joined = 0
    for one, two in combinations(drafts, 2):
        first, second = one.write(IMPAIRED), two.write(IMPAIRED)
        if first.clashes(second) or first.drift + second.drift > LIMITS.delta_round:
            continue
        both = first.joined(second)
        assert drift(patched(IMPAIRED, both), IMPAIRED) == pytest.approx(both.drift)
        joined += 1
    assert joined > 50


@settings(max_examples=15)
@given(edits(), st.integers(0, 5))
def test_it_has_ideas_for_any_sound_library_and_all_are_accepted(library: Library, seed: int):
    proposer = EmbeddedProposer(seed=seed)
    for patches in rounds(proposer, signals(idle=50, blocked=20), library, 12):
        for patch in patches:
            apply(patch, library, limits=Limits(), anchor=library)


def test_nothing_is_proposed_that_the_dials_forbid(ring):
    tight = Limits(delta_round=1.0, max_ops=2)
    proposer = EmbeddedProposer(seed=0, candidates=30, limits=tight)
    patches = proposer.propose(ring, IMPAIRED, NOTHING)
    assert patches
    for patch in patches:
        apply(patch, IMPAIRED, limits=tight, anchor=IMPAIRED)
    wide = EmbeddedProposer(seed=0, candidates=30).propose(ring, IMPAIRED, NOTHING)
    assert "embedded:give_way" in {patch.proposer for patch in wide}
    assert "embedded:give_way" not in {patch.proposer for patch in patches}


def halves(patch):
    return patch.proposer.removeprefix("embedded:").split("+")


@pytest.mark.parametrize(("candidates", "places"), [(2, 0), (3, 1), (6, 2)])
def test_what_gained_and_lost_a_cell_comes_again_with_others_in_a_third_of_the_places(
    candidates, places, ring
):
    proposer = EmbeddedProposer(seed=1, candidates=candidates)
    good = proposer.propose(ring, IMPAIRED, NOTHING)[0]
    told(proposer, good, reason="cell_regressed", gain=40.0)
    seen = []
    for _ in range(4):
        patches = proposer.propose(ring, IMPAIRED, NOTHING)
        pairs = [patch for patch in patches if len(halves(patch)) == 2]
        assert patches[:places] == pairs
        assert all(halves(good)[0] in halves(patch) for patch in pairs)
        seen += map(shape, pairs)
        for patch in patches:
            told(proposer, patch)
    assert len(set(seen)) == len(seen) == 4 * places


@pytest.mark.parametrize(("reason", "gain"), [("cell_regressed", -3.0), ("noisy_tie", 3.0)])
def test_no_other_refusal_makes_an_edit_half_good(reason, gain, ring):
    proposer = EmbeddedProposer(seed=1)
    told(proposer, proposer.propose(ring, IMPAIRED, NOTHING)[0], reason=reason, gain=gain)
    assert all(len(halves(patch)) == 1 for patch in proposer.propose(ring, IMPAIRED, NOTHING))


def test_the_larger_gain_is_mended_first_whatever_the_diagnosis_says_by_then(ring):
    proposer = EmbeddedProposer(seed=1)
    less, more, _ = proposer.propose(ring, IMPAIRED, NOTHING)
    told(proposer, less, reason="cell_regressed", gain=10.0)
    told(proposer, more, reason="cell_regressed", gain=40.0)
    for found in (ring, signals(not_started=100)):
        pair = proposer.propose(found, IMPAIRED, NOTHING)[0]
        assert halves(more)[0] in halves(pair)
        assert len(halves(pair)) == 2


def test_two_edits_that_add_the_same_operator_go_together_and_pay_for_it_once():
    one, other = (remedy(name).write(IMPAIRED) for name in ("give_way", "let_through"))
    assert not one.clashes(other)
    both = one.joined(other)
    assert both.drift == pytest.approx(drift(patched(IMPAIRED, both), IMPAIRED))
    assert both.drift == one.drift + other.drift - 1
    sooner, later = (remedy(name).write(IMPAIRED) for name in ("dish_ahead", "dish_later"))
    assert sooner.clashes(later)


def test_a_pair_that_gained_and_was_outrun_comes_again_once_and_then_after_all_others(ring):
    proposer = EmbeddedProposer(seed=1)
    good = proposer.propose(ring, IMPAIRED, NOTHING)[0]
    told(proposer, good, reason="cell_regressed", gain=40.0)

    def first():
        return proposer.propose(ring, IMPAIRED, NOTHING)[0]

    pair = first()
    outran(proposer, pair, 9.0)
    assert first() == pair
    outran(proposer, pair, 9.0)
    others = []
    while (patch := first()) != pair:
        assert halves(good)[0] in halves(patch)
        others.append(shape(patch))
        told(proposer, patch)
    assert len(set(others)) == len(others) >= 8
    document = IMPAIRED.model_dump(mode="json")
    document["params"][2]["value"] = 25
    elsewhere = proposer.propose(ring, parse_library(document), NOTHING)
    assert max(len(halves(patch)) for patch in elsewhere) == 1, "of another library it says nothing"


def test_pairs_that_fail_are_no_defeat_of_their_halves(ring):
    calm, other = EmbeddedProposer(seed=1), EmbeddedProposer(seed=1)
    for proposer in (calm, other):
        good = proposer.propose(ring, IMPAIRED, NOTHING)[0]
        told(proposer, good, reason="cell_regressed", gain=40.0)
    for _ in range(8):
        told(other, other.propose(ring, IMPAIRED, NOTHING)[0])
    document = IMPAIRED.model_dump(mode="json")
    document["params"][2]["value"] = 25
    elsewhere = parse_library(document)
    assert other.propose(ring, elsewhere, NOTHING) == calm.propose(ring, elsewhere, NOTHING)


def test_what_was_doubted_and_is_outrun_with_a_gain_is_doubted_no_more(ring):
    proposer = EmbeddedProposer(seed=1)
    patch = proposer.propose(ring, IMPAIRED, NOTHING)[0]
    told(proposer, patch, reason="doubted", gain=-2.0)
    assert patch not in proposer.propose(ring, IMPAIRED, NOTHING)
    outran(proposer, patch, 9.0)
    assert proposer.propose(ring, IMPAIRED, NOTHING)[0] == patch


@pytest.mark.parametrize("only_parameters", [False, True])
def test_pairs_and_moves_that_were_doubted_come_after_those_that_were_not(only_parameters, ring):
    proposer = EmbeddedProposer(seed=1, only_parameters=only_parameters)
    if not only_parameters:
        good = proposer.propose(ring, IMPAIRED, NOTHING)[0]
        told(proposer, good, reason="cell_regressed", gain=40.0)
    seen = []
    for _ in range(6):
        patch = proposer.propose(ring, IMPAIRED, NOTHING)[0]
        seen.append(shape(patch))
        told(proposer, patch, reason="doubted", gain=-1.0)
    assert len(set(seen)) == 6


def test_what_was_doubted_comes_once_more_after_all_single_edits_the_smallest_loss_first(ring):
    proposer = EmbeddedProposer(seed=1)
    first = proposer.propose(ring, IMPAIRED, NOTHING)
    for patch, loss in zip(first, (6.0, 2.0, 4.0), strict=True):
        told(proposer, patch, reason="doubted", gain=-loss)
    seen = []
    while len(halves(patch := proposer.propose(ring, IMPAIRED, NOTHING)[0])) == 1:
        seen.append(shape(patch))
        told(proposer, patch)
    assert seen[-3:] == [shape(first[1]), shape(first[2]), shape(first[0])]
    assert len(set(seen)) == len(seen) > 20


def test_onions_come_ahead_only_with_dishes_before_them_and_hands_that_can_be_freed():
    alone, whole = evolved("give_way", "onion_ahead"), evolved("give_way", "plan_ahead")
    base = evolved("give_way")
    cramped = "cramped_room"
    assert earned(whole, cramped, 4) > earned(base, cramped, 4)

    def with_chance(library):
        return sum(earned(library, cramped, seed, "random") for seed in range(12)) / 12

    ahead = with_chance(whole)
    for part in (
        evolved("give_way", "onion_ahead", "dish_before_onion"),
        evolved("give_way", "onion_ahead", "drop"),
        alone,
    ):
        assert ahead > with_chance(part) + 5
    ticks = load_layout(cramped).recipes[3].ticks
    assert whole.values["drop_after"] > ticks, "what waits for a pot is not put down meanwhile"


def test_who_waits_for_onions_loses_nothing_to_a_partner_that_hands_none_over():
    kitchen = "forced_coordination"
    base = evolved("pass_on", "dish_ahead")
    waiting = patched(base, remedy("await_onions").write(base))
    assert earned(waiting, kitchen, 0) > earned(base, kitchen, 0)
    seeds = range(40)
    before = sum(earned(base, kitchen, seed, "random") for seed in seeds)
    assert sum(earned(waiting, kitchen, seed, "random") for seed in seeds) >= before > 0
