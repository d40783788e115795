"""The demonstration: what holds, what does not, and that both are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from planish.methods.lookahead.claims import ARMS, FRACTIONS, OFTEN, claims
from planish.methods.lookahead.demo import _DOCUMENTS, LENGTH, _bench, _bytes
from planish.methods.lookahead.evaluate.bench import Bench, Play
from planish.methods.lookahead.evaluate.outcomes import OUTCOME, Outcome
from planish.methods.lookahead.evaluate.settings import Settings
from planish.methods.lookahead.evaluate.summary import Summary
from planish.runs import Run


def _folder(every_demo: dict[str, Any]) -> Path:
    (folder,) = (Path(every_demo["report"]).parent / "lookahead").iterdir()
    return folder


def test_the_demo_of_the_room_lookahead(every_demo: dict[str, Any]) -> None:
    found = every_demo["lookahead"]
    assert found["documents"] == _DOCUMENTS
    assert found["accuracy_dense"] > 0.8
    assert found["accuracy_lookahead_0.135"] > found["accuracy_recency_0.135"] + 0.3
    assert found["accuracy_oracle_0.135"] > found["accuracy_dense"] - 0.05
    assert found["kv_fraction"] <= 0.135
    held = found["claims"]
    assert held["above_recency"]
    assert held["above_random"]
    assert held["near_dense"]
    assert held["often_near_dense"]
    assert found["accuracy_lookahead_every_8_0.1"] > found["accuracy_lookahead_0.1"]
    # A tenth has no room for what 64 tokens of a list need, and the demo says so.
    assert not held["near_oracle"]
    page = Path(every_demo["report"]).read_text()
    assert "Claims, fixed before looking" in page
    assert "bytes on the device, chunks + digests; dense" in page


def test_a_run_keeps_every_document_under_every_arm(every_demo: dict[str, Any]) -> None:
    with Run.open(_folder(every_demo)) as run:
        outcomes = list(run.records(OUTCOME, Outcome))
    cells = len(ARMS) * len(FRACTIONS) + 1  # dense once, and ours again, asked more often
    assert len({each.id for each in outcomes}) == len(outcomes) == cells * _DOCUMENTS


def test_arms_that_do_not_play_could_not_pay_and_can_where_it_says_so() -> None:
    bench, most = _bench(64), 200  # tokens of the longest reply, and more
    others = ("quest", "omnikv")
    assert not {*others} & {*ARMS}
    for fraction in FRACTIONS:
        for arm in others:
            assert bench.chunks_for(Play(arm, fraction), LENGTH, most) is None
    wide = Bench(bench.model, bench.tokenizer, settings=Settings(chunk_tokens=16))
    bought = {(arm, share): wide.chunks_for(Play(arm, share), LENGTH, 32)
              for arm in others for share in (0.25, 0.5)}  # fmt: skip
    assert bought["quest", 0.25]
    assert bought["quest", 0.5]
    assert bought["omnikv", 0.5]


def test_bytes_are_told_as_chunks_and_digests() -> None:
    held = {"resident_bytes": 180_000, "digest_bytes": 30_000}
    outcomes = [
        _outcome(arm, fraction, 0, 1.0).model_copy(update=held if fraction > 0.1 else {})
        for arm in ("lookahead", "recency")
        for fraction in FRACTIONS
    ]
    assert _bytes(Summary(outcomes)) == [
        (arm, "n/a", "180.0 kB + 30.0 kB", "180.0 kB + 30.0 kB") for arm in ("lookahead", "recency")
    ]


def _outcome(arm: str, fraction: float, number: int, correct: float) -> Outcome:
    return Outcome(
        task="recall", seed=0, document_id=str(number), length=1, arm=arm, correct=correct,
        family="topic_switch" if number % 2 else "vt", fraction=fraction,
    )  # fmt: skip


def test_claims_hold_for_one_that_loses_nothing_and_not_for_chance() -> None:
    def summary(ours: float, often: float) -> Summary:
        return Summary(
            [
                _outcome(arm, 1.0 if arm == "dense" else fraction, number, score)
                for arm, score in {"lookahead": ours, OFTEN: often, **others}.items()
                for fraction in FRACTIONS
                for number in range(8)
                if arm != "dense" or fraction == FRACTIONS[0]
            ]
        )

    others = {"recency": 0.0, "random": 0.0, "last-query": 0.0, "oracle": 1.0, "dense": 1.0}
    perfect = {each.key: each.held for each in claims(summary(1.0, 1.0))}
    assert perfect.pop("topic_switch") is False  # nothing was lost there, nothing comes back
    assert perfect.pop("often_switch") is False
    assert all(perfect.values())
    useless = claims(summary(0.0, 0.0))
    assert [each.key for each in useless if each.held] == ["topic_switch"]
    mended = {each.key for each in claims(summary(0.0, 1.0)) if each.held}
    assert mended == {"topic_switch", "often_near_dense", "often_switch"}
    assert useless[0].shown == "-1.000"  # a difference carries its sign
