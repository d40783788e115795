"""Arms over real models: equal bytes, exactness, and nothing that is decoded twice."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from planish.embedded.recall_model import build_tokenizer
from planish.errors import BadInput
from planish.methods.lookahead.arms.perfect import OracleScorer
from planish.methods.lookahead.arms.scorers import RecencyScorer
from planish.methods.lookahead.evaluate.bench import Bench, Play, plays
from planish.methods.lookahead.evaluate.decoding import Decoded, decode
from planish.methods.lookahead.evaluate.dense import Looked, run_dense
from planish.methods.lookahead.evaluate.documents import Document, batches
from planish.methods.lookahead.evaluate.evaluating import run_batch
from planish.methods.lookahead.evaluate.outcomes import outcome_id
from planish.methods.lookahead.evaluate.scene import Scene
from planish.methods.lookahead.evaluate.settings import ARMS, Settings
from planish.models.memory.budget import Budget, Bytes, WindowRecord
from planish.records import Example, Verdict, user
from support import backbones

DIALS = Settings(interval=6, chunk_tokens=8, recent_tokens=8, observed=6)
LENGTH, REPLY = 120, 14
OTHERS = ARMS[1:]  # the indexer has tests of its own


class Said:
    """Knows nothing, and tells what was said."""

    name = "said"

    def verify(self, example, reply):
        return Verdict(score=None if "7" in reply else 1.0, why="a seven")


def batch(rows=2, needs=((0, 3, 9),), max_tokens=(REPLY, REPLY)):
    torch.manual_seed(1)
    ids = torch.randint(2, 90, (rows, LENGTH)).tolist()
    return [
        Document(
            id=f"d{place}", task=Said(), seed=0, family="one", needs=needs,
            max_tokens=max_tokens[place],
            example=Example(id=str(place), prompt=user("x")), prompt_ids=tuple(each),
        )
        for place, each in enumerate(ids)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    folder = backbones.make("gemma3", tmp_path_factory.mktemp("model") / "gemma3")
    return Bench(backbones.load(folder), build_tokenizer(), settings=DIALS, eos_ids=())


@pytest.fixture(scope="module")
def found(bench):
    pairs = list(run_batch(bench, batch(), plays(OTHERS, (0.4,)), traced=True))
    return {(each.arm, each.document_id): (each, trace) for each, trace in pairs}


def test_every_arm_stays_within_its_bytes_and_comes_near_them(found):
    for (arm, _), (each, _) in found.items():
        if arm in ("dense", "omnikv"):
            continue
        assert each.kv_fraction <= 0.4
        # What is left is less than a chunk, and what the reply adds to the dense bytes.
        assert each.kv_fraction > (0.4 * LENGTH - 2 * 8) / (LENGTH + REPLY)
        assert each.resident_bytes + each.digest_bytes <= 0.4 * each.dense_bytes
        assert each.dense_bytes == 2 * 2 * 2 * 16 * 4 * (LENGTH + REPLY - 1)
        assert each.host_bytes > 0
        assert each.steps == REPLY


def test_free_places_of_the_buffers_are_told_beside_what_is_occupied(found):
    for (arm, _), (each, _) in found.items():
        if arm == "dense":
            assert (each.allocated_bytes, each.allocated_fraction) == (each.dense_bytes, 1.0)
        elif each.steps:
            assert each.allocated_bytes > each.resident_bytes
            assert each.allocated_fraction > each.kv_fraction
            held = each.allocated_bytes + each.digest_bytes
            assert each.allocated_fraction <= held / (2 * 2 * 2 * 16 * 4 * LENGTH)
        else:
            assert (each.allocated_bytes, each.allocated_fraction) == (None, None)


def test_an_arm_that_cannot_pay_is_not_measured_and_says_why(found):
    each, trace = found["omnikv", "d0"]
    assert each.correct is None
    assert each.kv_fraction is None
    assert "cannot pay its digests" in each.why
    assert trace is None


def test_digests_cost_chunks(found):
    assert found["quest", "d0"][0].max_chunks < found["recency", "d0"][0].max_chunks
    assert found["quest", "d0"][0].digest_bytes > 0


def test_choosing_by_reading_everything_is_counted_as_moved(found):
    moved = {arm: each.moved_per_token for (arm, name), (each, _) in found.items() if name == "d0"}
    assert moved["recency"] == moved["snapkv"] == 0.0
    assert moved["last-query"] > moved["random"]


def test_traces_tell_the_windows_of_the_first_document(found):
    each, trace = found["recency", "d0"]
    assert trace.steps == (1, 7, 13)
    assert trace.num_chunks == (LENGTH + REPLY - 1) // 8
    last = [chunk for chunk in trace.resident[0] if chunk < 15]
    assert last == list(range(15 - each.max_chunks, 15))
    assert found["recency", "d1"][1] is None


def test_what_could_not_be_scored_keeps_its_reason(found):
    for each, _ in found.values():
        if each.steps:
            assert (each.correct is None) == ("7" in each.reply)
            assert each.why == ("a seven" if each.correct is None else "")


def test_dense_is_what_arms_are_measured_against(found):
    dense = found["dense", "d0"][0]
    assert (dense.kv_fraction, dense.logit_kl, dense.mass_recall) == (1.0, 0.0, 1.0)
    assert found["oracle", "d0"][0].mass_recall >= found["random", "d0"][0].mass_recall


def test_what_is_done_is_not_decoded_again(bench, found):
    done = {each.id for each, _ in found.values()}
    assert list(run_batch(bench, batch(), plays(OTHERS, (0.4,)), done=done)) == []
    missing = outcome_id("recency", 0.4, "d1")
    [(again, _)] = run_batch(bench, batch(), plays(OTHERS, (0.4,)), done=done - {missing})
    first = found["recency", "d1"][0]
    free = {"score_ms": None}
    assert again.model_copy(update=free) == first.model_copy(update=free)


def test_a_document_alone_gives_what_it_gives_in_a_batch(bench, found):
    [(alone, _)] = run_batch(bench, batch()[1:], [Play("random", 0.4)])
    beside = found["random", "d1"][0]
    assert alone.reply == beside.reply
    assert alone.moved_per_token == beside.moved_per_token
    assert alone.logit_kl == pytest.approx(beside.logit_kl, abs=1e-4)


@pytest.mark.parametrize("arm", ["last-query", "random"])
def test_a_reply_that_ended_is_not_charged_for_those_that_go_on(bench, arm):
    ends = Bench(bench.model, bench.tokenizer, settings=DIALS, eos_ids=(8,))  # the second says it
    pairs = list(run_batch(ends, batch(), [Play(arm, 0.4)]))
    [(alone, _)] = run_batch(ends, batch()[1:], [Play(arm, 0.4)])
    long, short = (each for each, _ in pairs)
    assert long.steps > 6
    assert short.steps == alone.steps < 6  # before there is another decision
    assert short.moved_per_token == alone.moved_per_token
    assert short.decisions == 1
    if arm == "last-query":  # read at the first decision, with everything there: nothing absent
        assert short.moved_per_token == 0 < long.moved_per_token


def test_what_a_share_buys_a_document_does_not_depend_on_those_beside_it(bench):
    """Digests grow with the reply: a longer one beside it would leave it fewer chunks."""
    documents = batch(3, max_tokens=(REPLY, 4, 4))
    documents[2] = replace(documents[2], needs=None)
    arms = [Play(arm, 0.8) for arm in ("omnikv", "oracle-task", "random")]
    together = {(each.arm, each.document_id): each for each, _ in run_batch(bench, documents, arms)}
    alone = {
        (each.arm, each.document_id): each
        for document in documents
        for each, _ in run_batch(bench, [document], arms)
    }
    assert together.keys() == alone.keys()
    for key, each in together.items():
        for name in ("reply", "max_chunks", "why", "kv_fraction", "moved_per_token", "recall"):
            assert getattr(each, name) == getattr(alone[key], name), (key, name)
    assert together["omnikv", "d0"].max_chunks < together["omnikv", "d1"].max_chunks
    assert together["oracle-task", "d1"].steps == 4
    assert "does not tell" in together["oracle-task", "d2"].why


def test_decisions_of_a_reply_that_ended_are_nobodys():
    def window(row, step, moved=8):
        return WindowRecord(
            request=row, step=step, num_chunks=1, kept=1, thresholded=0, moved_bytes=moved,
            bytes=Bytes(), score_ms=1.0, fallback=step > LENGTH + 6,
        )  # fmt: skip

    windows = [window(row, LENGTH + step) for step in (0, 6, 12) for row in (0, 1)]
    found = Decoded([[], []], [REPLY, 6], torch.zeros(2, REPLY), [], [], windows)
    assert found.decisions(0, LENGTH) == [0, 6, 12]
    assert found.decisions(1, LENGTH) == [0]
    assert not any(each.fallback for each in found.own(1, LENGTH))


def test_what_a_reply_would_look_at_after_its_end_pushes_nothing_out(bench):
    documents = batch(max_tokens=(REPLY, 4))
    run = run_dense(bench.model, bench.backbone, documents, (), DIALS, 8)
    mass = torch.zeros_like(run.looked.mass_BMTC)
    mass[1, :, 2, 5], mass[1, :, 5, 9] = 0.4, 0.9  # the reply ends behind step 3
    looked = Looked(mass, mass, torch.ones_like(run.looked.total_BMT))
    future = Scene(bench, documents, replace(run, looked=looked)).future
    oracle = OracleScorer(future.needed_BTC, future.mass_BTC, future.start_B)
    oracle.prepare(bench.backbone, Budget(interval=6, recent_tokens=8), 8)
    made = SimpleNamespace(num_chunks=future.needed_BTC.shape[2])
    scores = oracle.score(SimpleNamespace(cache=made, positions_B=future.start_B))
    assert scores[1].argmax() == 5
    assert scores[1, 9] == 0
    assert not future.needed_BTC[1, 4:].any()


def test_chance_draws_by_document_and_seed_whatever_is_decoded_beside_it(bench):
    together = [
        replace(each, seed=place) for place, each in enumerate(batch(3, max_tokens=[9] * 3))
    ]
    apart = [replace(each, id=f"apart/{each.id}") for each in together]

    def played(documents, size):
        return {
            outcome.document_id.removeprefix("apart/"): (outcome.reply, outcome.moved_per_token)
            for some in batches(documents, size)
            for outcome, _ in run_batch(bench, some, [Play("random", 0.4)])
        }

    one = {}
    for each in apart:
        one |= played([each], 1)
    assert played(together, 3) == one
    again = [replace(each, seed=9) for each in together]
    assert played(again, 3) != one


def test_a_task_that_tells_nothing_has_no_oracle(bench):
    [(each, _)] = run_batch(bench, batch(1, needs=None), [Play("oracle-task", 0.4)])
    assert each.correct is None
    assert "does not tell" in each.why


def test_without_quality_only_answers_and_bytes_are_measured(bench):
    plain = Bench(
        bench.model, bench.tokenizer, eos_ids=(),
        settings=DIALS.model_copy(update={"quality": False}),
    )  # fmt: skip
    [(each, _)] = run_batch(plain, batch(1), [Play("recency", 0.4)])
    assert (each.mass_recall, each.logit_kl) == (None, None)
    assert each.kv_fraction <= 0.4
    assert each.steps == REPLY


@pytest.mark.parametrize("forced", [True, False])
def test_an_arm_that_keeps_everything_is_the_dense_model(bench, forced):
    dense = run_dense(bench.model, bench.backbone, batch(), (), DIALS, 8)
    found = decode(
        bench.model, bench.backbone, dense, RecencyScorer(),
        Budget(interval=6, recent_tokens=LENGTH + REPLY), 8,
        eos_ids=(), max_tokens=[REPLY] * 2, forced=forced,
    )  # fmt: skip
    assert torch.equal(found.chosen_BT, dense.chosen_BT)
    assert found.replies == dense.replies
    if forced:
        assert found.kl_BT.abs().max() < 1e-6


@given(st.lists(st.sampled_from(ARMS), min_size=1, unique=True), st.sets(st.floats(0.01, 1)))
def test_each_arm_plays_each_share_and_dense_once(arms, fractions):
    choosing = set(arms) - {"dense"}
    if choosing and not fractions:
        with pytest.raises(BadInput, match="share"):
            plays(arms, sorted(fractions))
        return
    found = plays(arms, sorted(fractions))
    assert len(found) == len(set(found)) == len(choosing) * len(fractions) + ("dense" in arms)


@pytest.mark.parametrize(
    ("arms", "fractions", "says"),
    [
        (("best",), (0.1,), "no arm is called 'best'"),
        (("dense", "dense"), (), "name each arm once"),
        ((), (0.1,), "at least one"),
        (("recency",), (0.0,), "0 is no share"),
        (("recency",), (1.5,), "1.5 is no share"),
        (("recency",), (0.1, 0.1), "name each share once"),
    ],
)
def test_what_cannot_be_compared_is_refused(arms, fractions, says):
    with pytest.raises(BadInput, match=says):
        plays(arms, fractions)


def test_the_hooks_are_gone_after_an_arm_that_fails(bench):
    class Broken(RecencyScorer):
        def score(self, moment):
            raise RuntimeError("broken")

    dense = run_dense(bench.model, bench.backbone, batch(1), (), DIALS, 8)
    with pytest.raises(RuntimeError, match="broken"):
        decode(
            bench.model, bench.backbone, dense, Broken(), Budget(recent_tokens=8), 8,
            eos_ids=(), max_tokens=[REPLY], forced=True,
        )  # fmt: skip
    hooks = [h for module in bench.model.modules() for h in module._forward_pre_hooks.values()]
    assert hooks == []
