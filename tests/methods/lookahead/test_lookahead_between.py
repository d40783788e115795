"""From one decision to the next: a scorer whose misses are known in advance, and fallbacks."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from planish.embedded.recall_model import build_tokenizer
from planish.methods.lookahead.arms.scorers import BaseScorer
from planish.methods.lookahead.evaluate import scene
from planish.methods.lookahead.evaluate.bench import Bench, Play
from planish.methods.lookahead.evaluate.between import between, marks
from planish.methods.lookahead.evaluate.documents import Document
from planish.methods.lookahead.evaluate.evaluating import run_batch
from planish.methods.lookahead.evaluate.outcomes import Outcome
from planish.methods.lookahead.evaluate.settings import Settings
from planish.methods.lookahead.evaluate.summary import Summary
from planish.methods.lookahead.showing import report, sentences
from planish.records import Example, Verdict, user
from support import backbones

CHUNK, LENGTH, REPLY = 8, 80, 14
DIALS = Settings(
    interval=6, chunk_tokens=CHUNK, recent_tokens=8, observed=6, fallback_ratio=0.5, fill=False
)
OURS = Play("lookahead", 0.7)


@given(st.integers(1, 300))
def test_quarters_of_a_window_cover_it(interval):
    found = marks(interval)
    assert list(found) == sorted(set(found))
    assert found[-1] == interval
    assert len(found) == min(4, interval)
    widths = [end - begin for begin, end in zip((0, *found), found, strict=False)]
    assert max(widths) - min(widths) <= 1


@given(st.integers(0, 999), st.integers(1, 9), st.integers(2, 20), st.none() | st.integers(0, 20))
def test_needs_are_counted_by_the_book(seed, interval, steps, turned):
    torch.manual_seed(seed)
    needs, here = torch.rand(steps, 5) > 0.5, torch.rand(steps, 5) > 0.5
    decisions = list(range(0, steps - 1, interval))
    windows = [range(d + 1, min(d + interval, steps - 1) + 1) for d in decisions]
    could = [torch.rand(5) > 0.3 for _ in windows]
    found = between(needs, here, windows, could, interval=interval, turned=turned)
    ends = marks(interval)
    expected = {end: [0, 0] for end in ends}
    missed = late = 0
    for place, (decided, window) in enumerate(zip(decisions, windows, strict=True)):
        for step in window:
            for chunk in range(5):
                behind_fallback = turned is not None and decided >= turned
                if behind_fallback or not (needs[step, chunk] and could[place][chunk]):
                    continue
                end = next(end for end in ends if step - decided <= end)
                expected[end][0] += 1
                expected[end][1] += bool(here[step, chunk])
                if not here[step, chunk] and place + 1 < len(windows):
                    missed += 1
                    late += bool(here[windows[place + 1].start, chunk])
    assert found.by_distance == tuple((end, *counts) for end, counts in expected.items())
    assert (found.missed, found.late) == (missed, late)


# ---- a scorer whose misses are known ---------------------------------------------------------


class Said:
    name = "said"

    def verify(self, example, reply):
        return Verdict(score=1.0)


class Scripted(BaseScorer):
    """Wants, for each document, what its script says of the step.

    One document asks for chunk 2 and, from the middle of the first window on, for chunk 5: the
    scorer learns of it at the next decision. The other wants the whole history at the second one.
    """

    name = "lookahead"

    def __init__(self, requests):
        super().__init__()
        self.requests = requests

    def _score(self, moment):
        scores = torch.zeros(len(self.requests), moment.cache.num_chunks)
        for row, (name, position) in enumerate(
            zip(self.requests, moment.positions_B.tolist(), strict=True)
        ):
            step = position - (LENGTH - 1)
            if name == "switch":
                scores[row, 2 if step < 6 else 5] = 0.9
            elif step < 6:
                scores[row, 3] = 0.9
            else:
                scores[row] = 0.9
        return scores


NEEDS = {"switch": {range(1, 4): 2, range(4, 14): 5}, "all": {range(1, 14): 4}}


def documents(*names):
    torch.manual_seed(1)
    ids = dict(zip(NEEDS, torch.randint(2, 90, (2, LENGTH)).tolist(), strict=True))
    return [
        Document(
            id=name, task=Said(), seed=0, family="one", max_tokens=REPLY,
            example=Example(id=name, prompt=user("x")), prompt_ids=tuple(ids[name]),
        )
        for name in names
    ]  # fmt: skip


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    folder = backbones.make("llama", tmp_path_factory.mktemp("model") / "llama")
    return Bench(backbones.load(folder), build_tokenizer(), settings=DIALS, eos_ids=())


@pytest.fixture
def play(bench, monkeypatch):
    def played(*names):
        def needed(run, settings, chunk_tokens):
            found = torch.zeros_like(run.looked.mass_BMTC[:, 0], dtype=torch.bool)
            for row, name in enumerate(names):
                for steps, chunk in NEEDS[name].items():
                    found[row, list(steps), chunk] = True
            return found

        monkeypatch.setattr(scene, "needed", needed)
        monkeypatch.setattr(scene, "make", lambda *_, requests, **__: Scripted(requests))
        return {each.document_id: each for each, _ in run_batch(bench, documents(*names), [OURS])}

    return played


def test_a_topic_that_changes_within_a_window_is_missed_until_the_next_decision(play):
    found = play("switch")["switch"]
    # Decisions behind steps 0, 6 and 12; steps 4, 5 and 6 need what only the second one brings.
    assert found.by_distance == ((2, 5, 5), (3, 2, 2), (5, 4, 2), (6, 2, 1))
    assert (found.missed_needs, found.late_needs) == (3, 3)
    assert (found.decisions, found.fallbacks, found.turned_dense) == (3, 0, None)
    assert found.recall == 3 / 4  # of the chunks of three windows
    assert found.miss_rate == 3 / 10


def test_a_fallback_ends_the_decisions_and_what_follows_is_not_counted(play):
    found = play("all")["all"]
    assert (found.decisions, found.fallbacks, found.turned_dense) == (2, 1, 6)
    assert found.by_distance == ((2, 2, 0), (3, 1, 0), (5, 2, 0), (6, 1, 0))
    assert (found.missed_needs, found.late_needs) == (6, 6)


def test_a_request_that_turns_dense_changes_no_number_of_the_one_beside_it(play):
    together = play("switch", "all")
    for name, each in together.items():
        [alone] = play(name).values()
        for field in Outcome.model_fields:
            if field in ("score_ms", "allocated_bytes", "allocated_fraction"):
                continue  # of the batch, which a dense row makes larger
            one, other = getattr(each, field), getattr(alone, field)
            same = one == pytest.approx(other, abs=1e-4) if isinstance(one, float) else one == other
            assert same, (name, field, one, other)


# ---- the report ------------------------------------------------------------------------------


def outcome(document, **others):
    return Outcome(
        task="t", seed=0, document_id=document, length=9, arm="lookahead", fraction=0.1,
        family=document[0], correct=1.0, steps=14, **others,
    )  # fmt: skip


def test_counts_are_pooled_told_and_kept_as_numbers():
    summary = Summary(
        [
            outcome("a1", by_distance=((2, 4, 4), (4, 4, 1)), missed_needs=3, late_needs=2),
            outcome("b1", by_distance=((2, 0, 0), (4, 4, 3)), missed_needs=1, turned_dense=7,
                    fallbacks=1),
        ]
    )  # fmt: skip
    assert summary.by_distance("lookahead", 0.1) == [(2, 4, 4), (4, 8, 4)]
    assert summary.by_distance("lookahead", 0.1, "a") == [(2, 4, 4), (4, 4, 1)]
    [numbers] = summary.numbers()["arms"]
    assert numbers["by_distance"] == [
        {"to": 2, "needs": 4, "kept": 1.0}, {"to": 4, "needs": 8, "kept": 0.5},
    ]  # fmt: skip
    assert (numbers["missed_needs"], numbers["late_needs"]) == (4, 2)
    assert (numbers["turned_dense"], numbers["fallback_rate"]) == ([7], 0.5)
    kept, turned = sentences(summary)
    assert "100.0 % of 4 needs at tokens 1 to 2 behind a decision, 50.0 % of 8 at tokens" in kept
    assert kept.endswith("at tokens 3 to 4; the next decision brought 2 of 4 missed ones")
    assert "turned dense in 1 of 2 requests, in the median after 7 tokens" in turned
    page = report(summary, [], "hf:x").html()
    for words in ("Between two decisions", "50.0 % of 8", "2 of 4", "1 of 2", "no needs"):
        assert words in page


def test_a_run_without_needs_says_nothing_of_them():
    plain = Summary([outcome("a1")])
    assert sentences(plain) == []
    assert "Between two decisions" not in report(plain, [], "hf:x").html()
    turned = Summary([outcome("a1", turned_dense=0, fallbacks=1)])
    assert "1 of 1 requests" in sentences(turned)[0]
    assert "Between two decisions" in report(turned, [], "hf:x").html()


def test_a_share_that_paid_for_nothing_and_a_family_that_did_not_run_leave_the_page_whole():
    refused = [
        Outcome(
            task="t", seed=0, document_id=name, length=9, arm="lookahead", fraction=fraction,
            family=name[0], why="too dear",
        )
        for name, fraction in (("a1", 0.05), ("b1", 0.05), ("b1", 0.1))
    ]  # fmt: skip
    summary = Summary([*refused, outcome("a1", by_distance=((2, 4, 4), (4, 4, 1)))])
    page = report(summary, [], "hf:x").html()
    assert "lookahead by family, at 10 % of the bytes" in page
    assert "lookahead by family, at 5 % of the bytes" not in page
    assert "25.0 % of 4" in page
