"""The history of a library's patches: everything that was judged, readable and escaped."""

import html
import re

import pytest

from planish.methods.cowork.data import GateResult, Patch, Promotion, Stage
from planish.methods.cowork.showing.edits import Edit, edits
from planish.methods.cowork.showing.timeline import OVERALL, CurvePoint, add_timeline
from planish.methods.cowork.skills import Library
from planish.runs.report import Report

LIBRARY = Library.model_validate(
    {
        "name": "small",
        "params": [{"id": "yield_after", "value": 3, "min": 1, "max": 9, "step": 1}],
        "operators": [{"id": "fill_pot", "controller": "fill", "args": {}}],
        "methods": [
            {"id": "cook", "task": "work", "when": ["wanted(onion)"], "subtasks": ["fill_pot"]}
        ],
    }
)
RING, ROOM = "coordination_ring with self, seat 0", "cramped_room with greedy, seat 1"


def patch(*ops, **more):
    more = {"rationale": "cooks meet", "proposer": "embedded:yield", "tokens": 7, **more}
    return Patch(base_hash=LIBRARY.digest, ops=ops, **more)


def result(round, accepted=False, reason="no_gain", stages=(), **more):
    given = more.pop("patch", None) or patch(
        {"op": "replace", "path": "/methods/cook/priority", "value": 80}
    )
    return GateResult(
        fingerprint=f"{round:016x}",
        base_hash=LIBRARY.digest,
        patch=given,
        accepted=accepted,
        reason="accepted" if accepted else reason,
        stages=stages,
        sim_steps=12800,
        round=round,
        **more,
    )


def promotion(round, kind="promoted", **more):
    return Promotion(
        kind=kind,
        from_hash="a" * 16,
        to_hash="b" * 16,
        anchor_hash="a" * 16,
        time="2025-01-02T03:04:05Z",
        round=round,
        **more,
    )


def stage(seeds, ring, room, lower=0.5):
    return Stage(seeds=seeds, deltas={RING: ring, ROOM: room}, mean=(ring + room) / 2, lower=lower)


def point(round, ring, room, tokens=0, **more):
    scores = {RING: (ring, ring - 5, ring + 5), ROOM: (room, room - 5, room + 5), **more}
    return CurvePoint(round, 24 * round, 90_000 * round, tokens, scores)


def page(points=(), results=(), promotions=(), **options):
    report = Report("How a library grew")
    add_timeline(report, points, results, promotions, **options)
    return report.html()


def text_of(markup):
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", markup)).split())


def headings(markup):
    return [text_of(found) for found in re.findall(r"<h2>(.*?)</h2>", markup, re.S)]


@pytest.mark.parametrize(
    ("op", "expected"),
    [
        (
            {"op": "replace", "path": "/params/yield_after/value", "value": 5},
            Edit("params/yield_after", "value", "3", "5"),
        ),
        (
            {"op": "replace", "path": "/methods/cook/when", "value": []},
            Edit("methods/cook", "when", "wanted(onion)", "none"),
        ),
        (
            {"op": "add", "path": "/methods/cook/when/-", "value": "!blocked"},
            Edit("methods/cook", "when", "", "!blocked"),
        ),
        (
            {"op": "remove", "path": "/methods/cook/when/wanted(onion)"},
            Edit("methods/cook", "when", "wanted(onion)", ""),
        ),
        (
            {"op": "replace", "path": "/methods/cook/when/wanted(onion)", "value": "blocked"},
            Edit("methods/cook", "when", "wanted(onion)", "blocked"),
        ),
        (
            {
                "op": "add",
                "path": "/methods/-",
                "value": {"id": "wait", "task": "work", "priority": 0, "subtasks": ["fill_pot"]},
            },
            Edit("methods/wait", "", "", "task work; priority 0; subtasks fill_pot"),
        ),
        (
            {"op": "test", "path": "/methods/cook/priority", "value": 50},
            Edit("methods/cook", "priority", "must be 50", ""),
        ),
        ({"op": "move", "path": "/a"}, Edit("a/", "", "not an operation: move", "")),
        ({}, Edit("/", "", "not an operation: no name", "")),
    ],
)
def test_an_operation_in_words(op, expected):
    assert edits(patch(op), LIBRARY) == [expected]


def test_a_node_that_goes_shows_what_it_was():
    (edit,) = edits(patch({"op": "remove", "path": "/methods/cook"}), LIBRARY)
    assert edit.node == "methods/cook"
    assert "task work; when wanted(onion); subtasks fill_pot; priority 50" in edit.before
    assert edit.after == "removed"


def test_a_test_operation_gives_the_value_before():
    ops = [
        {"op": "test", "path": "/params/yield_after/value", "value": 4},
        {"op": "replace", "path": "/params/yield_after/value", "value": 5},
    ]
    assert edits(patch(*ops)) == [Edit("params/yield_after", "value", "4", "5")]


def test_a_value_nested_too_deeply_is_still_told():
    deep = []
    for _ in range(5000):
        deep = [deep]
    made = patch().model_copy(update={"ops": ({"op": "add", "path": "/methods/-", "value": deep},)})
    (edit,) = edits(made)
    assert edit.after == "nested too deeply to be shown"


def test_every_judged_patch_is_on_the_page_in_order():
    results = [
        result(1, reason="stale_base"),
        result(2, reason="noisy"),
        result(3, accepted=True, stages=(stage(2, 30, 4), stage(8, 22, -1))),
        result(3, reason="regression"),
        result(4, accepted=True),
        result(5),
    ]
    promotions = [promotion(3), promotion(6, "reverted", detail="worse on fresh seeds")]
    made = page((), results, promotions)
    assert headings(made)[2:] == [
        "Rounds 1 to 2: nothing accepted",
        "Round 3: promoted",
        "Round 4: accepted, not promoted",
        "Round 5: nothing accepted",
        "Round 6: reverted",
    ]
    folded = [text_of(found) for found in re.findall(r"<summary>(.*?)</summary>", made, re.S)]
    assert folded == [
        "The same by proposer",
        "Round 1 · embedded:yield · stale_base",
        "Round 2 · embedded:yield · noisy",
        "Every cell",
        "Round 3 · embedded:yield · regression",
        "Round 5 · embedded:yield · no_gain",
    ]
    assert "worse on fresh seeds" in made


def test_the_numbers_of_the_gate_are_shown():
    stages = (stage(2, 30, 4, lower=-2), stage(8, 22, -1, lower=3.25))
    words = text_of(page((), [result(3, accepted=True, stages=stages, drift=1.5)], [promotion(3)]))
    assert f"8 +10.50 +3.25 {ROOM} −1.00" in words
    assert f"2 +17.00 −2.00 {ROOM} +4.00" in words
    assert f"{ROOM} +4.00 −1.00 {RING} +30.00 +22.00" in words  # the worst cell first
    assert "drift 1.500, 12,800 ticks" in words
    assert "judged 1 accepted 1 promoted 1 reverted 0 thousand ticks of the gate 12.8 " in words
    assert "tokens of proposers 7" in words


def test_verdicts_are_counted_and_explained_and_by_proposer_in_a_fold():
    given = [result(1), result(1), result(2, reason="noisy_tie", patch=patch(proposer="a"))]
    made = page((), given)
    words = text_of(made)
    assert "no_gain 2 the mean gain is 0 or below noisy_tie 1 no episode went" in words
    assert "by proposer proposer verdict patches a noisy_tie 1 embedded:yield no_gain 2" in words


def test_a_replaced_value_is_shown_with_the_one_before():
    made = page((), [result(1, accepted=True)], libraries={LIBRARY.digest: LIBRARY})
    assert "methods/cook priority 50 80" in text_of(made)


def test_evidence_is_named():
    given = patch(evidence_ids=tuple(f"ring-{n}@{n}" for n in range(15)))
    words = text_of(page((), [result(1, accepted=True, patch=given)]))
    assert "Evidence: ring-0@0 , ring-1@1 " in words
    assert "and 3 more" in words


def test_the_curve_is_drawn_against_episodes_steps_and_tokens():
    points = [point(0, 0, 60), point(1, 40, 66, tokens=900)]
    made = page(points, (), [promotion(1)], references={"by hand": 120.0}, seeds="fresh seeds")
    figures = re.findall(r"<figure.*?</figure>", made, re.S)
    labels = [re.search(r'aria-label="([^"]*)"', figure)[1] for figure in figures]
    assert [label.partition(":")[0] for label in labels] == [
        "score over training episodes",
        "score over thousand simulator steps",
        "score over tokens of the proposers",
        "score by layout",
    ]
    assert all("by hand" in figure for figure in figures[:3])
    assert "coordination_ring" in figures[3]
    assert "fresh seeds" in made
    assert f"{RING} 0 [−5.000, 5.000] 40.0 [35.0, 45.0] +40.00" in text_of(made)


def test_without_a_score_over_all_cells_no_interval_is_claimed():
    assert point(1, 20, 60).overall().value == 40
    assert point(1, 20, 60).overall().low is None
    told = point(1, 20, 60, **{OVERALL: (41.0, 30.0, 52.0)}).overall()
    assert (told.value, told.low, told.high, told.n) == (41, 30, 52, 2)


def test_layouts_that_would_share_a_colour_get_a_plot_of_their_own():
    cells = {f"kitchen_{n} with self, seat 0": (float(n), 0.0, 9.0) for n in range(8)}
    made = page([CurvePoint(0, 0, 0, 0, cells), CurvePoint(1, 24, 90_000, 0, cells)])
    plots = re.findall(r'aria-label="score by layout".*?</svg>', made, re.S)
    assert [set(re.findall(r"kitchen_\d", plot)) for plot in plots] == [
        {f"kitchen_{n}" for n in range(6)},
        {"kitchen_6", "kitchen_7"},
    ]


def test_no_tokens_no_curve_of_tokens():
    made = page([point(0, 0, 60), point(1, 40, 66)])
    assert "tokens of the proposers" not in made


def test_a_run_in_which_nothing_happened():
    words = text_of(page())
    assert "No score was measured." in words
    assert "No patch was proposed." in words


def test_hostile_text_stays_text():
    evil = "</script><script>alert(1)</script>**`\x00\ud800"
    bad = patch(
        {"op": "add", "path": f"/methods/{evil}", "value": evil},
        rationale=evil,
        proposer=evil,
        evidence_ids=(evil,),
    )
    made = page(
        [point(0, 1, 2, **{f"{evil} with x, seat 0": (1.0, 0.0, 2.0)})],
        [result(1, patch=bad, detail=evil), result(2, accepted=True, patch=bad)],
        [promotion(2, detail=evil)],
    )
    assert "<script" not in made
    assert "&lt;script&gt;alert(1)" in made
    made.encode("utf-8")


def test_a_promotion_shows_what_it_did_with_watched_partners_the_worst_first():
    gains = {"ring with switcher, seat 0": 4.0, "ring with idle, seat 1": -1.5}
    shown = text_of(page([], [result(1, True, watched=gains)], [promotion(1)]))
    assert "Watched, beside the first library" in shown
    assert "ring with idle, seat 1 \u22121.50 ring with switcher, seat 0 +4.00" in shown
    assert "Watched" not in text_of(page([], [result(1, True)], [promotion(1)]))
