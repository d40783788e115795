"""The demonstration: the ladder is in order, and what does not come true is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from planish.methods.vfaith.building.counting import Numbers
from planish.methods.vfaith.claims import PLANTED, SEEING, claims, differing
from planish.methods.vfaith.config import Config
from planish.methods.vfaith.data import Response
from planish.methods.vfaith.demo import MODELS
from planish.methods.vfaith.running.planted import load_model
from planish.methods.vfaith.running.records import calls_of, respond
from planish.methods.vfaith.scoring.score import results_of
from planish.methods.vfaith.scoring.sheets import read_sheet
from planish.runs import Run
from support.pictures import make_bench


def _folder(every_demo: dict[str, Any]) -> Path:
    (folder,) = (Path(every_demo["report"]).parent / "vfaith").iterdir()
    return folder


def test_the_demo_of_the_room_vfaith(every_demo: dict[str, Any]) -> None:
    vfaith = every_demo["vfaith"]
    assert 190 <= vfaith["pairs"] <= 210
    assert vfaith["most_outside"] == 0
    assert vfaith["oracle_pair_acc"] == vfaith["cached_acc_raw"] == 1
    assert vfaith["cached_pair_acc"] == vfaith["position_pair_acc"] == vfaith["blind_pair_acc"] == 0
    ladder = [
        vfaith[f"{name}_pair_acc"]
        for name in ("oracle", "habit_60", "habit_90", "habit_97", "blind")
    ]
    assert ladder == sorted(ladder, reverse=True)
    assert vfaith["seeing_pair_acc"] > vfaith["habit_97_pair_acc"] + 0.3
    missed = {key for key, held in vfaith["claims"].items() if not held}
    # A tie at this budget of training, and 200 pairs too few for the words; both are told.
    assert missed <= {"seeing_over_habit-60", "words"}
    page = Path(every_demo["report"]).read_text()
    assert "strongest habit: right on both pictures" in page
    assert "Claims, fixed before looking" in page
    assert "data:image/png;base64" in page


def test_a_run_keeps_the_bench_and_every_reply(every_demo: dict[str, Any]) -> None:
    with Run.open(_folder(every_demo)) as run:
        replies = list(run.records("response", Response))
    assert {reply.model for reply in replies} == set(MODELS)
    assert len(replies) % len(MODELS) == 0
    assert (_folder(every_demo) / "artifacts" / "bench" / "pairs.parquet").is_file()


def test_claims_do_not_hold_where_nothing_bears_them_out(tmp_path: Path) -> None:
    """Every model answers like a guesser: only what is true of a guesser may hold."""
    bench = make_bench(tmp_path, 24)
    calls = calls_of(bench.pairs, ("raw", "edited", "placebo", "perception_edited"))
    sheets = []
    for number, name in enumerate(MODELS):
        model = load_model(f"planted:random?seed={number}", bench)
        replies = model.generate([call.chat(bench) for call in calls], Config().sampling())
        sheets.append(
            read_sheet(
                bench,
                [
                    respond(call, drawn[0], key=str(place), model=model, repeat=0)
                    for place, (call, drawn) in enumerate(zip(calls, replies, strict=True))
                ],
                label=name,
            )
        )
    results = results_of(bench, sheets, Config.tiny())
    every = claims(results, Numbers())
    assert max(len(each.text) for each in every) <= 62  # with the number 100 columns
    told = {each.key: each.held for each in every}
    assert told["outside"] is False
    assert not any(told[key] for key in ("blind_stuck", "saw_not_used", "net_drop", "pairs_tell"))
    forward = differing(results, SEEING, PLANTED[0], "pair_acc")
    back = differing(results, PLANTED[0], SEEING, "pair_acc")
    assert forward.value == -(back.value or 0)
    assert (forward.low, forward.high) == (-(back.high or 0), -(back.low or 0))
