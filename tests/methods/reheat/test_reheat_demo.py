"""The demonstration: the walker is thawed as claimed, and what does not come true is told."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from planish.cli import main
from planish.methods.reheat import demo as room
from planish.methods.reheat.claims import Found, claims
from planish.methods.reheat.measuring.records import PromptRow
from planish.methods.reheat.method import EntropyProbe
from planish.runs import Run
from planish.runs.console import Screen
from planish.stats import Estimate

WAYS = ("final_norm", "all_weights", "anchored")


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return stop.value.code, captured.out, captured.err


def _folder(every_demo):
    """The room's run: a whole one, beside the page of all rooms."""
    (folder,) = (Path(every_demo["report"]).parent / "reheat").iterdir()
    return folder


def test_the_demo_of_the_room_reheat(capsys, tmp_path, every_demo):
    reheat = every_demo["reheat"]
    # The walker is frozen, and what it misses is out of its reach.
    assert reheat["sentence"].startswith("collapsed: 1")
    assert reheat["entropy_ratio"] <= 0.15
    assert reheat["zero_variance_collapsed"] >= 0.6
    assert reheat["pass_at_1_collapsed"] > 5 * reheat["pass_at_1_before_rl"]
    assert reheat["reach_collapsed"] < 0.1 * reheat["reach_before_rl"]
    # All ways bring the same share of its entropy back; the final norm moves nothing else.
    for way in WAYS:
        assert 0.4 <= reheat[f"entropy_{way}"] / reheat["entropy_before_rl"] < 0.5
        assert max(reheat[f"steps_{way}"]) <= 60
        assert reheat[f"reach_{way}_ci"] is not None
    assert reheat["gate_final_norm"] == ["passed"] * 3
    assert reheat["greedy_agreement_final_norm"] >= 0.96
    assert reheat["top10_overlap_final_norm"] >= 0.95
    assert reheat["reach_gain_ci"][0] > 0
    assert reheat["reach_over_all_ci"][0] > 0
    assert reheat["reach_over_norm_ci"][0] > 0

    # What did not come true is told, by its number and in words.
    missed = {key for key, held in reheat["claims"].items() if not held}
    assert missed == {"pass_k_gain", "greedy_change"}
    assert reheat["claims_held"] == reheat["num_claims"] - 2 == 10
    page = Path(every_demo["report"]).read_text()
    for title in ("Before and after", "Entropy, step by step", "The runaway drill", "did NOT hold"):
        assert title in page

    # The command that it proposes runs on the policy that it made.
    policy = _folder(every_demo) / "artifacts" / "anchored-0" / "policy"
    code, out, err = call(
        capsys,
        *("reheat", "diagnose", "--model", f"hf:{policy}", "--task", "routes:64:4:7:0"),
        *("--preset", "tiny", "--reference", "embedded:walker", "--report-prompts", 40),
        *("--runs", tmp_path, "--json"),
    )
    assert code == 0, err
    assert 0.35 < json.loads(out)["entropy_ratio"] < 0.5


def test_a_run_keeps_every_row_probe_and_policy(every_demo):
    folder, reheat = _folder(every_demo), every_demo["reheat"]
    with Run.open(folder) as run:
        rows = list(run.records("row", PromptRow))
        probes = list(run.records("probe", EntropyProbe))
    assert len(rows) == reheat["num_questions"] * (2 + 3 * len(WAYS))
    assert sum(row.n for row in rows) == len(rows) * 16
    steps = sum(step for way in WAYS for step in reheat[f"steps_{way}"])
    # Fresh and frozen replies at every step and before the first; then the drill.
    assert len(probes) == 2 * (steps + 3 * len(WAYS)) + 4
    for way in ("final-norm", "all-weights", "anchored"):
        for seed in range(3):
            assert (folder / "artifacts" / f"{way}-{seed}" / "policy" / "config.json").exists()
    assert not list(folder.glob("artifacts/*-checkpoints"))


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """The demonstration with two steps and few questions, what it measured, and what it said."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "_QUESTIONS", 30)
        patch.setattr(room, "_SEEDS", 1)
        patch.setattr(room, "_SHARED", room._SHARED | {"max_steps": 2, "reheat_prompts": 8})
        measured = []
        patch.setattr(room, "claims", lambda found: measured.append(found) or claims(found))
        shown = [
            room.demo(screen=Screen(), seed=1, root=tmp_path_factory.mktemp(f"demo-{number}"))
            for number in range(2)
        ]
    return shown, measured[0]


def test_the_same_seed_gives_the_same_numbers(quick):
    one, two = quick[0]
    assert one.summary == two.summary
    names = {
        str(file.relative_to(one.folder)) for file in one.folder.glob("artifacts/**/*.safetensors")
    }
    assert len(names) == 4  # three ways and the drill
    for name in names:
        assert (one.folder / name).read_bytes() == (two.folder / name).read_bytes()


def test_two_steps_warm_nothing_and_it_says_so(quick, capsys):
    one, found = quick[0][0], quick[1]
    assert one.summary["claims"]["norm_passes"] is False
    assert "did NOT hold that" in (one.folder / "report.html").read_text()
    from planish.methods.reheat.showing import show

    show(Screen(), found, claims(found))
    out = capsys.readouterr().out
    assert "NO" in out
    assert "did NOT hold that" in out
    # Sentences fold as wide as a pipe is taken to be; tables must not need to.
    assert max(len(line.rstrip()) for line in out.splitlines() if line.startswith("  ")) <= 100


def test_a_policy_that_did_not_change_bears_out_no_change(quick):
    found: Found = quick[1]
    same = replace(found, samples={way: [found.base] for way in found.samples})
    told = {claim.key: claim for claim in claims(same)}
    for key in ("reach_gain", "reach_over_all", "reach_over_norm", "pass_k_gain"):
        assert not told[key].held, key
        assert told[key].number.value == 0
    assert told["greedy_change"].held
    assert told["greedy_change"].shown == "+0.000"


def test_a_drill_that_restores_nothing_is_told(quick):
    found: Found = quick[1]
    assert found.drill.restored
    for broken in ({"restored": False}, {"ended": "target"}, {"highest": 0.1}):
        changed = replace(found, drill=replace(found.drill, **broken))
        told = {claim.key: claim for claim in claims(changed)}
        assert not told["runaway_taken_back"].held
        assert told["healthy_refused"].held
    silent = replace(found, drill=replace(found.drill, refusal=""))
    assert not {claim.key: claim for claim in claims(silent)}["healthy_refused"].held


def test_what_cannot_be_told_is_not_held(quick):
    found: Found = quick[1]
    blind = found.told.model_copy(update={"entropy_ratio": Estimate(value=None)})
    [claim] = (
        each for each in claims(replace(found, told=blind)) if each.key == "entropy_below_quarter"
    )
    assert claim.shown == "n/a"
    assert not claim.held
