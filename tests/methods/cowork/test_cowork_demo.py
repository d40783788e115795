"""The demonstration: a library evolves, harm is kept out, and what does not come true is told."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from planish.cli import main
from planish.methods.cowork import demo as room
from planish.methods.cowork.acting.episodes import play_all
from planish.methods.cowork.claims import SITUATIONS, Found, claims
from planish.methods.cowork.data import Episode, GateResult
from planish.methods.cowork.demo_pages import round_in_words, show, summary
from planish.methods.cowork.improving.rounds import Round
from planish.methods.cowork.skills import load_library
from planish.runs import Run
from planish.runs.console import Screen


def _folder(every_demo: dict[str, Any]) -> Path:
    """The room's run: a whole one, beside the page of all rooms."""
    (folder,) = (Path(every_demo["report"]).parent / "cowork").iterdir()
    return folder


def test_the_demo_of_the_room_cowork(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, every_demo: dict[str, Any]
) -> None:
    cowork = every_demo["cowork"]
    for layout in ("coordination_ring", "forced_coordination"):
        assert cowork[f"score_impaired_{layout}"] == 0
        assert cowork[f"score_evolved_{layout}"] >= 150
        assert cowork[f"score_greedy_{layout}"] <= 40
        assert 150 <= cowork[f"score_by_hand_{layout}"] <= 260
    assert cowork["score_parameters_forced_coordination"] == 0
    # Both begin with the same library; every tick is counted, and none more is given to the other.
    assert cowork["curve"][0] == 0
    assert cowork["curve"][-1] >= 150
    assert 0.8 * cowork["sim_steps"][0] <= cowork["sim_steps_parameters"] <= cowork["sim_steps"][0]
    assert cowork["online_tokens"] == cowork["optimizer_tokens"] == cowork["unscored"] == 0
    assert cowork["harmful_verdict"] == "no_gain"
    assert cowork["unsound_verdicts"] == ["code_smuggled", "stale_base"]
    assert cowork["score_at_0_ticks"] > cowork["score_at_1_ticks"] > cowork["score_at_4_ticks"] > 0
    missed = {key for key, held in cowork["claims"].items() if not held}
    assert missed == set()
    assert cowork["claims_held"] == cowork["num_claims"] == 12
    # Times differ from run to run, so they are shown and not compared.
    assert not [name for name in cowork if name.endswith("_ms")]

    page = Path(every_demo["report"]).read_text()
    for title in ("Before and after", "Round by round", "Patches that should not get through"):
        assert title in page
    replays = re.findall(r'href="(cowork/[^"]*replay-[^"]*)"', page)
    assert len(replays) == 3
    for link in replays:
        assert (Path(every_demo["report"]).parent / link).is_file()

    # The library that it left is found by the commands that it proposes.
    code, out, err = call(capsys, "cowork", "diff", "impaired", _folder(every_demo), "--json")
    assert code == 0, err
    assert json.loads(out)["to"] == cowork["library_hashes"][0]


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[Any, str, str]:
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return stop.value.code, captured.out, captured.err


def test_a_run_keeps_every_verdict_library_and_episode(every_demo: dict[str, Any]) -> None:
    folder, cowork = _folder(every_demo), every_demo["cowork"]
    with Run.open(folder) as run:
        rows = list(run.records("round", Round))
        episodes = list(run.records("episode", Episode))
        verdicts = list(run.records("gate", GateResult))
    assert len(rows) > sum(cowork["rounds"]) + 1  # the search over parameters, and the drill
    assert [each.reason for each in verdicts] == ["no_gain", "code_smuggled", "stale_base"]
    cells = sum(len(situation.cells) for situation in SITUATIONS.values())
    players = len({each.library_hash for each in episodes})
    assert len(episodes) == players * cells * 10
    for number, digest in enumerate(cowork["library_hashes"]):
        assert load_library(folder / "artifacts" / f"evolved-{number}.json").digest == digest
        assert (folder / "artifacts" / f"shelf-{number}" / "promotions.jsonl").is_file()


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Any], Found]:
    """The demonstration with one run of two rounds, what it measured, and what it said."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "_ROUNDS", 2)
        patch.setattr(room, "_RUNS", 1)
        patch.setattr(room, "_TIMED", 1)
        dials = {"rungs": (1, 2), "monitor_episodes": 2, "report_episodes": 2, "workers": 1}
        patch.setattr(room, "_DIALS", room._DIALS | dials)
        patch.setattr(room, "play_all", partial(play_all, workers=1))
        measured: list[Found] = []
        patch.setattr(room, "claims", lambda found: measured.append(found) or claims(found))
        shown = [
            room.demo(screen=Screen(json=True), seed=3, root=tmp_path_factory.mktemp(f"d{number}"))
            for number in range(2)
        ]
    return shown, measured[0]


def test_the_same_seed_gives_the_same_numbers(quick: tuple[list[Any], Found]) -> None:
    one, two = quick[0]
    assert one.summary == two.summary
    names = sorted(file.name for file in one.folder.glob("artifacts/*.json"))
    assert names == ["evolved-0.json", "forced-0.json", "library.json", "parameters-0.json"]
    for name in names:
        assert (one.folder / "artifacts" / name).read_bytes() == (
            two.folder / "artifacts" / name
        ).read_bytes()


def test_too_little_is_told_as_too_little(
    quick: tuple[list[Any], Found], capsys: pytest.CaptureFixture[str]
) -> None:
    one, found = quick[0][0], quick[1]
    held = one.summary["claims"]
    assert not held["gain_ring"]  # two rounds do not get that far
    assert not held["gain_forced"]  # two seeds do not tell, whatever they score
    assert "did NOT hold that" in (one.folder / "report.html").read_text()
    show(Screen(), found, claims(found))
    out = capsys.readouterr().out
    assert "NO" in out
    assert "did NOT hold that" in out
    # Sentences fold as wide as a pipe is taken to be; tables must not need to.
    assert max(len(line.rstrip()) for line in out.splitlines() if line.startswith("  ")) <= 100


def test_a_library_that_did_not_change_bears_out_no_change(
    quick: tuple[list[Any], Found],
) -> None:
    found = quick[1]
    same = replace(found, players={**found.players, "evolved": found.players["impaired"]})
    told = {claim.key: claim for claim in claims(same)}
    for key in ("gain_ring", "gain_forced", "over_parameters", "gain_partner"):
        assert not told[key].held, key
    assert told["gain_ring"].number.value == 0
    assert told["gain_ring"].shown == "+0.0"
    assert not told["over_hand"].held  # two seeds that both lose are no tie
    other_way = replace(
        found,
        players={
            **found.players,
            "impaired": found.players["by hand"],
            "evolved": found.players["impaired"],
        },
    )
    turned = {claim.key: claim for claim in claims(other_way)}
    assert turned["gain_ring"].number.value < -150
    assert not turned["gain_ring"].held


def test_enough_seeds_that_all_agree_bear_a_change_out(quick: tuple[list[Any], Found]) -> None:
    found = quick[1]
    seeds = tuple(range(10))
    (hand,), (start,) = found.players["by hand"], found.players["impaired"]
    template = next(iter(found.episodes.values()))
    episodes = {
        (player.digest if not isinstance(player, str) else player, cell, seed): (
            template.model_copy(update={"score": score})
        )
        for player, score in ((hand, 200.0), (start, 0.0))
        for situation in SITUATIONS.values()
        for cell in situation.cells
        for seed in seeds
    }
    players = {name: [start] for name in found.players} | {"evolved": [hand]}
    told = {
        claim.key: claim
        for claim in claims(replace(found, episodes=episodes, players=players, seeds=seeds))
    }
    assert told["gain_ring"].held
    assert told["gain_ring"].shown == "+200.0"
    assert told["gain_ring"].number.low is None
    few = replace(found, episodes=episodes, players=players, seeds=seeds[:3])
    assert not next(claim for claim in claims(few) if claim.key == "gain_ring").held
    # One run of several that loses is enough to hold the claim back.
    lost = {**players, "impaired": [start, hand, start], "evolved": [hand, start, hand]}
    mixed = replace(found, episodes=episodes, players=lost, seeds=seeds)
    assert not next(claim for claim in claims(mixed) if claim.key == "gain_ring").held


def test_an_episode_that_failed_is_left_out_and_counted(quick: tuple[list[Any], Found]) -> None:
    found = quick[1]
    key = next(key for key in found.episodes if key[1].partner == "self")
    broken = found.episodes[key].model_copy(update={"score": None, "error": "ValueError: x"})
    hurt = replace(found, episodes={**found.episodes, key: broken})
    numbers = summary(hurt, claims(hurt))
    assert numbers["unscored"] == 1
    layout = key[1].layout
    assert numbers[f"score_impaired_{layout}"].n == len(found.seeds) - 1


def test_harm_that_gets_through_is_told(quick: tuple[list[Any], Found]) -> None:
    found = quick[1]
    told = {claim.key: claim.held for claim in claims(found)}
    assert told["unsound_refused"]
    drill = found.drill
    through = drill.refused[0].model_copy(update={"accepted": True})
    for key, broken in (
        ("harm_refused", replace(drill, refused=[through, *drill.refused[1:]])),
        ("unsound_refused", replace(drill, refused=[drill.refused[0], through])),
        ("harm_taken_back", replace(drill, before="another library")),
    ):
        changed = {claim.key: claim for claim in claims(replace(found, drill=broken))}
        assert not changed[key].held
        assert changed[key].shown == "no"


def test_rounds_are_told_in_words(quick: tuple[list[Any], Found]) -> None:
    rows = quick[1].evolutions[0].rounds
    told = [list(round_in_words(row)) for row in rows]
    assert all(len(line) <= 100 for lines in told for line in lines)
    first = " ".join(" ".join(told[0]).split())
    assert first.startswith("round 1: training episodes score 0; ticks lost to out of reach (")
    for result in rows[0].results:
        assert f"({result.sim_steps:,} ticks)" in first
    accepted = [row for row in rows if any(result.accepted for result in row.results)]
    assert all("ACCEPTED" in " ".join(round_in_words(row)) for row in accepted)
    assert "ACCEPTED" not in first or any(result.accepted for result in rows[0].results)
