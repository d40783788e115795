"""A model as a proposer: only sound patches come through, and no token is spent twice."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planish.methods.cowork.data import GateResult
from planish.methods.cowork.improving import prompts
from planish.methods.cowork.improving.asking import (
    Exchange,
    ModelProposer,
    load_asker,
    objects_in,
    worst_case,
)
from planish.methods.cowork.improving.patches import Limits, apply
from planish.methods.cowork.improving.proposing import Budget, History, Proposer
from planish.methods.cowork.skills import parse_library
from planish.models.scripted import ScriptedModel
from planish.records import Completion, Usage, to_json
from planish.runs import Run
from support import patcher
from support.skills import ANY_JSON, OPS, diagnosis, document, patch, replace, small

PLENTY = 1_000_000


def asked(model, library=None, budget=None, **options):
    """(patches, the proposer) of one round."""
    library = library or small()
    proposer = ModelProposer(model, **options)
    budget = budget or Budget(PLENTY)
    patches = proposer.propose(diagnosis(library), library, budget)
    assert bool(patches) == (not proposer.reason)
    assert budget.left == budget.total - budget.spent
    assert budget.spent == sum(each.charged for each in proposer.exchanges)
    return patches, proposer


def scripted(script):
    return ScriptedModel("scripted:test", script)


def one(*ops, **fields):
    return json.dumps({"rationale": "why", "ops": ops, **fields})


# ---- against a server -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server():
    from support.server import ChatServer

    with ChatServer(replies="patcher:reply") as running:
        yield running


def served(server, kind):
    return load_asker(f"openai:{kind}@{server.url}?retries=0")


def test_good_patches_pass_with_their_cost_and_every_word_on_record(server):
    library = small()
    patches, proposer = asked(served(server, "good"), library)
    assert [patch.ops[0]["path"] for patch in patches] == [
        "/methods/give_way/priority",
        "/params/patience/value",
    ]
    (exchange,) = proposer.exchanges
    assert {patch.proposer for patch in patches} == {f"openai:good@{server.url}"}
    assert sum(patch.tokens for patch in patches) == exchange.charged
    assert exchange.charged == exchange.usage.prompt_tokens + exchange.usage.completion_tokens
    assert exchange.charged < exchange.reserved
    made = [apply(patch, library, anchor=library).digest for patch in patches]
    assert exchange.verdicts == tuple(f"passed: {digest}" for digest in made)
    assert exchange.text == patcher.reply(server.log()[-1]["body"])
    assert [m.role for m in exchange.prompt] == ["system", "user"]


def test_a_list_of_patches_in_one_object_does_as_well(server):
    patches, _ = asked(served(server, "listed"))
    assert [patch.ops[0]["value"] for patch in patches] == [5]


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("malformed", "malformed: no JSON object"),
        ("chatty", "malformed: no JSON object"),
        ("untyped", "malformed: base_hash and rationale"),
        ("nested", "too_large"),
        ("stale", "stale_base"),
        ("many", "too_many_ops"),
        ("oversized", "too_large"),
        ("verbose", "too_large"),
        ("hostile", "code_smuggled"),
        ("locked", "locked"),
        ("drifting", "drift_round"),
        ("stubborn", "unknown_predicate"),
    ],
)
def test_what_is_wrong_is_told_to_the_model_three_times_and_never_passes(server, kind, code):
    patches, proposer = asked(served(server, kind))
    assert patches == []
    assert proposer.reason.startswith("nothing that could be used")
    assert [exchange.attempt for exchange in proposer.exchanges] == [0, 1, 2, 3]
    for exchange in proposer.exchanges:
        assert exchange.verdicts[0].startswith(code)
        assert exchange.finish in ("stop", "length")
    for before, after in zip(proposer.exchanges, proposer.exchanges[1:], strict=False):
        assert [m.role for m in after.prompt[2:]] == ["assistant", "user"]
        assert before.verdicts[0][:60] in after.prompt[-1].content
        assert len(after.prompt[2].content) <= 6_010


def test_a_repair_that_says_what_was_wrong_is_enough(server):
    patches, proposer = asked(served(server, "mended"))
    assert len(patches) == 2
    assert len(proposer.exchanges) == 2
    assert "unknown predicate 'flying'" in proposer.exchanges[1].prompt[-1].content


def test_one_sound_candidate_among_bad_ones_is_kept_and_no_more_than_three_are_read(server):
    patches, proposer = asked(served(server, "mixed"))
    assert len(patches) == 1
    codes = [verdict.partition(":")[0] for verdict in proposer.exchanges[0].verdicts]
    assert codes == ["unknown_predicate", "stale_base", "passed"]


def test_a_harmful_patch_that_is_sound_is_left_to_the_gate(server):
    library = small()
    patches, _ = asked(served(server, "harmful"), library)
    found = apply(patches[0], library, anchor=library)
    assert found.method("idle").priority == 100


def test_the_budget_agrees_with_the_server_to_the_token(server):
    library, proposers = small(), []
    start = len(server.log())
    budget = Budget(160_000, per_round=60_000)
    for kind in ("good", "mended", "stubborn", "good", "stubborn", "good") * 3:
        budget.begin_round()
        proposer = ModelProposer(served(server, kind), max_tokens=500)
        proposer.propose(diagnosis(library), library, budget)
        proposers.append(proposer)
        assert budget.spent_in_round <= budget.per_round
    rows = [row for row in server.log()[start:] if row["kind"] == "ok"]
    used = sum(
        len(str(row["body"]["messages"])) + min(500, len(patcher.reply(row["body"]).split()))
        for row in rows
    )
    assert budget.spent == used <= budget.total
    assert budget.overrun == 0
    assert any("budget" in proposer.reason for proposer in proposers)
    assert budget.left < worst_case(proposers[0].exchanges[0].prompt, 500)


def test_an_attempt_that_broke_off_is_charged_for_and_only_repeated_where_it_fits(chat_server):
    server = chat_server(replies="patcher:reply", script=("drop", "ok"))
    model = load_asker(f"openai:good@{server.url}?retries=2")
    patches, proposer = asked(model)
    exchange = proposer.exchanges[0]
    assert patches
    used = exchange.usage.prompt_tokens + exchange.usage.completion_tokens
    assert exchange.charged == exchange.reserved + used

    tight = Budget(exchange.reserved + 10)
    server = chat_server(replies="patcher:reply", script=("drop", "ok"))
    patches, proposer = asked(load_asker(f"openai:good@{server.url}?retries=2"), budget=tight)
    assert not patches
    assert "no tokens for another attempt" in proposer.reason
    assert server.count() == 1
    assert tight.spent <= tight.total


@pytest.mark.parametrize("fault", ["500", "400", "401", "html", "list", "short", "empty"])
def test_a_server_that_fails_costs_a_round_and_not_the_run(chat_server, fault):
    server = chat_server(replies="patcher:reply", faults={fault: 1.0})
    patches, proposer = asked(served(server, "good"))
    assert patches == []
    assert proposer.reason
    assert proposer.exchanges[0].problem == proposer.reason
    free = fault.startswith("4")
    assert proposer.exchanges[0].charged == (0 if free else proposer.exchanges[0].reserved)


def test_a_server_that_dies_between_rounds_leaves_the_proposer_usable(chat_server):
    server = chat_server(replies="patcher:reply")
    library, budget = small(), Budget(PLENTY)
    proposer = ModelProposer(load_asker(f"openai:good@{server.url}?retries=0"))
    assert proposer.propose(diagnosis(library), library, budget)
    server.kill()
    spent = budget.spent
    assert proposer.propose(diagnosis(library), library, budget) == []
    assert "no connection" in proposer.reason
    # Whoever tells of it says the model's name.
    assert "BadInput" not in proposer.reason
    assert proposer.name not in proposer.reason
    assert budget.spent == spent
    assert [exchange.finish for exchange in proposer.exchanges] == ["error"]


def test_a_server_that_never_answers_is_given_up(chat_server):
    server = chat_server(replies="patcher:reply", faults={"hang": 1.0})
    model = load_asker(f"openai:good@{server.url}?timeout=0.2&retries=5")
    patches, proposer = asked(model, deadline_s=0.3)
    assert not patches
    assert proposer.reason.startswith("timeout")
    assert server.count() <= 3


def test_replies_are_cached_and_a_run_can_be_replayed(server, tmp_path):
    from planish.models import load

    library = small()
    model = load_asker(f"openai:mended@{server.url}", cache=tmp_path / "replies.jsonl")
    first, proposer = asked(model, library)
    calls = server.count()
    again, _ = asked(model, library)
    assert again == first
    assert server.count() == calls
    model.close()
    with Run.create("cowork", "asked", {}, root=tmp_path) as run:
        for exchange in proposer.exchanges:
            run.record("exchange", exchange)
        run.finish()
    for file in (tmp_path / "replies.jsonl", run.path / "records.jsonl"):
        replayed, _ = asked(load(f"replay:{file}"), library)
        assert [each.ops for each in replayed] == [each.ops for each in first]
    stored = list(run.records("exchange", Exchange))
    assert stored == proposer.exchanges


# ---- without one ------------------------------------------------------------------------------


def test_it_is_a_proposer_like_any_other():
    proposer: Proposer = ModelProposer(scripted(lambda *_: ""))
    assert proposer.name == "scripted:test"


@settings(max_examples=60)
@given(st.data())
def test_whatever_a_model_writes_only_sound_patches_come_of_it(data):
    library = small()
    reply = st.one_of(
        st.text(max_size=200),
        ANY_JSON.map(json.dumps),
        st.builds(
            lambda ops, base, extra: json.dumps({"ops": ops, "base_hash": base, **extra}),
            st.lists(OPS, max_size=3),
            st.sampled_from([library.digest, "stale"]),
            st.dictionaries(
                st.sampled_from(["rationale", "evidence_ids", "tokens"]), ANY_JSON, max_size=2
            ),
        ),
        st.sampled_from(["</think>", "<think>", '{"ops": [1e999]}', "\ud800", '{"ops":' * 3000]),
    )
    replies = data.draw(st.lists(reply, min_size=1, max_size=3))
    usage = data.draw(st.sampled_from([Usage(), Usage(prompt_tokens=900, completion_tokens=50)]))
    budget = Budget(data.draw(st.sampled_from([0, 9_000, 30_000, 60_000])))

    def script(chat, seed, sample):
        return Completion(text="\n".join(replies), usage=usage)

    patches, proposer = asked(scripted(script), library, budget)
    for each in patches:
        apply(each, library, anchor=library)
        assert each.proposer == proposer.name
    assert budget.spent <= budget.total
    for exchange in proposer.exchanges:
        to_json(exchange)  # as a run records it


def test_a_model_that_does_not_say_what_it_cost_is_charged_the_worst_case():
    reply = one(replace("/params/patience/value", 2))
    patches, proposer = asked(scripted(lambda *_: reply))
    assert patches
    assert proposer.exchanges[0].charged == proposer.exchanges[0].reserved
    half = Completion(text=reply, usage=Usage(completion_tokens=7))
    _, proposer = asked(scripted(lambda *_: half), max_tokens=100)
    assert proposer.exchanges[0].charged == proposer.exchanges[0].reserved - 100 + 7


def test_a_server_that_counts_more_than_there_is_is_believed_and_ends_the_budget():
    library, budget = small(), Budget(20_000)
    reply = Completion(
        text=one(replace("/params/patience/value", 2)), usage=Usage(prompt_tokens=30_000)
    )
    proposer = ModelProposer(scripted(lambda *_: reply))
    assert proposer.propose(diagnosis(library), library, budget)
    assert budget.spent > budget.total
    assert budget.overrun == budget.spent - proposer.exchanges[0].reserved
    assert budget.left == 0
    assert proposer.propose(diagnosis(library), library, budget) == []
    assert proposer.reason.startswith("budget")


@pytest.mark.parametrize("error", [RuntimeError("out of\nmemory"), MemoryError(), KeyError("x")])
def test_a_model_that_raises_brings_no_candidates(error):
    def script(*_):
        raise error

    patches, proposer = asked(scripted(script))
    assert patches == []
    assert type(error).__name__ in proposer.reason
    assert "\n" not in proposer.reason
    assert proposer.exchanges[0].charged == proposer.exchanges[0].reserved


def test_an_interrupt_is_passed_on_and_the_budget_is_settled():
    def script(*_):
        raise KeyboardInterrupt

    library, budget = small(), Budget(PLENTY)
    with pytest.raises(KeyboardInterrupt):
        ModelProposer(scripted(script)).propose(diagnosis(library), library, budget)
    assert budget.left == PLENTY - budget.spent < PLENTY


def test_nothing_is_asked_where_the_worst_case_does_not_fit():
    calls = []
    patches, proposer = asked(scripted(lambda *_: calls.append(1) or ""), budget=Budget(3_000))
    assert not calls
    assert not patches
    assert proposer.reason.startswith("budget: the call may cost")


def test_a_refused_edit_is_not_proposed_again():
    library = small()
    reply = one(replace("/params/patience/value", 2))
    proposer = ModelProposer(scripted(lambda *_: reply))
    (first,) = proposer.propose(diagnosis(library), library, Budget(PLENTY))
    made = apply(first, library, anchor=library).digest
    result = GateResult(
        fingerprint=made,
        base_hash=library.digest,
        patch=first,
        accepted=False,
        reason="tie",
        detail="no better on 24 seeds",
    )
    proposer.learn(result)
    assert proposer.propose(diagnosis(library), library, Budget(PLENTY)) == []
    assert "repeated: refused before: tie: no better on 24 seeds" in proposer.reason
    assert f"{made}: tie: no better on 24 seeds; why" in proposer.exchanges[0].prompt[1].content
    for open_still in (
        {"accepted": True},
        *({"reason": reason} for reason in ("outrun", "doubted", "budget_spent")),
    ):
        proposer.learn(result.model_copy(update={"fingerprint": "other", **open_still}))
    proposer.propose(diagnosis(library), library, Budget(PLENTY))
    assert "other" not in proposer.exchanges[0].prompt[1].content


def test_the_owners_locks_and_the_anchor_bind_a_model_too():
    loose = document()
    loose["methods"][-1]["locked"] = False
    library = parse_library(loose)
    reply = one(replace("/methods/rest/priority", 5))
    assert asked(scripted(lambda *_: reply), library)[0]
    history = History(original=small())
    patches, proposer = asked(scripted(lambda *_: reply), library, history=history)
    assert not patches
    assert "locked" in proposer.reason
    far = apply(
        patch(library, {"op": "remove", "path": "/methods/give_way"}), library, anchor=library
    )
    history = History(anchor=library)
    limits = Limits(delta_total=1)
    patches, proposer = asked(scripted(lambda *_: reply), far, history=history, limits=limits)
    assert not patches
    assert "drift_total" in proposer.reason


def test_candidates_are_found_in_any_surroundings():
    assert list(objects_in("")) == []
    assert list(objects_in('x {"a": {"b": 1}} y {"c": [')) == [{"a": {"b": 1}}]
    assert list(objects_in('{"patches": [{"ops": 1}, {"ops": 2}, {"op')) == [{"ops": 1}, {"ops": 2}]
    assert list(objects_in("{" * 100_000)) == []


# ---- the prompt -------------------------------------------------------------------------------


def test_the_prompt_says_everything_in_its_order():
    library = small()
    anchor = apply(patch(library, replace("/params/detour/value", 5)), library, anchor=library)
    history = History(
        anchor=anchor,
        best=anchor,
        best_score=120.0,
        metrics=[{"round": number, "score": 10.0 * number} for number in range(9)],
    )
    facts = prompts.Facts(
        library,
        diagnosis(library),
        history=history,
        refused=[prompts.Refused("feed", "harmful: coordination_ring", "more\nspeed")],
        tokens_left=777,
    )
    chat = prompts.ask(facts)
    text = "\n".join(message.content for message in chat)
    order = [
        "RFC 6902",
        "# Schema",
        "## Nodes that matter",
        "## Changes since the anchor",
        "drift 0.12",
        "## Best library until now",
        "mean score 120.0",
        "## Diagnosis",
        "mutual_block give_way: 7 times, 310 ticks lost",
        "t=10 seat 0 stay",
        "t=14 seat 1 stay",
        "## Last 5 rounds",
        "round 4,",
        "round 8,",
        "## Edits that were refused",
        "feed: harmful: coordination_ring; more speed",
        "## Budget",
        "777 tokens",
        f"candidates for the library {library.digest}",
    ]
    places = [text.index(part) for part in order]
    assert places == sorted(places)
    assert "round 3," not in text
    assert "written by hand" not in text


def test_the_schema_is_the_registries_own(monkeypatch):
    from planish.methods.cowork.acting.registry import CONTROLLERS, PREDICATES, THINGS

    text = prompts.schema()
    for predicate in PREDICATES.values():
        assert f"\n{predicate.name}" in text
        assert predicate.doc in text
    for controller in CONTROLLERS.values():
        assert f"\n{controller.name}(" in text
    assert all(thing in text for thing in THINGS)
    assert "priority (number 0 to 100 = 50)" in text
    assert "stats" not in text
    assert "locked (" not in text
    monkeypatch.setitem(PREDICATES, "is_tuesday", PREDICATES["gives_way"])
    assert prompts.schema() != text


def test_of_a_large_library_only_what_the_diagnosis_is_about_is_shown():
    made = document()
    made["methods"] += [
        {"id": f"spare_{n}", "task": f"t{n}", "subtasks": ["wait"], "when": ["can_cook"] * 9}
        for n in range(60)
    ]
    made["methods"] += [
        {"id": f"leads_{n}", "task": "rare", "subtasks": [f"t{n + i}" for i in range(12)]}
        for n in range(0, 60, 12)
    ]
    made["methods"].append({"id": "seldom", "task": "work", "subtasks": ["rare"]})
    library = parse_library(made)
    found = diagnosis(library)
    shown = prompts.relevant(library, found)
    assert {"give_way", "cook", "fetch_and_fill", "fill_now", "rest", "seldom"} == shown
    text = prompts.ask(prompts.Facts(library, found))[1].content
    assert "spare_7 (for t7)" in text
    assert '"id":"spare_7"' not in text
    assert '"id":"give_way"' in text
    nothing = found.model_copy(update={"signals": (), "windows": {}})
    assert len(prompts.relevant(library, nothing)) == len(library.methods)


# ---- the budget -------------------------------------------------------------------------------


@given(
    st.integers(0, 300),
    st.integers(0, 300) | st.none(),
    st.lists(st.tuples(st.sampled_from("acr"), st.integers(0, 120), st.floats(0, 1)), max_size=30),
)
def test_a_budget_is_never_overspent_by_a_token(total, per_round, steps):
    budget, held = Budget(total, per_round), []
    in_round = settled = 0
    for action, tokens, share in steps:
        if action == "a":
            fits = tokens <= budget.left
            assert budget.reserve(tokens) == fits
            if fits:
                held.append(tokens)
        elif action == "c" and held:
            reserved = held.pop()
            used = int(reserved * share)
            budget.settle(reserved, used)
            in_round, settled = in_round + used, settled + used
        elif not held:
            budget.begin_round()
            in_round = 0
        assert budget.spent == settled
        assert budget.spent + sum(held) <= total
        assert in_round + sum(held) <= budget.per_round
        assert budget.left == min(total - settled, budget.per_round - in_round) - sum(held)
    assert budget.overrun == 0


def test_a_budget_that_is_used_wrongly_says_so():
    budget = Budget(100)
    assert budget.reserve(40)
    for reserved, used in ((41, 0), (-1, 0), (40, -1)):
        with pytest.raises(ValueError, match="cannot settle"):
            budget.settle(reserved, used)
    with pytest.raises(ValueError, match="fewer than 0"):
        budget.reserve(-1)
    with pytest.raises(ValueError, match="negative"):
        Budget(-1)
