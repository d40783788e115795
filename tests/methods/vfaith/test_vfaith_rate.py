"""A sample that two people rate: the page, their files, how far they agree, where it is told."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planish.cli import main as command
from planish.methods.vfaith.bench import PAIRS, Bench, read_bench
from planish.methods.vfaith.data import ARMS, Response
from planish.methods.vfaith.running.prompts import gold_of, has_arm
from planish.methods.vfaith.scoring import score as stage
from planish.methods.vfaith.verifying.rating_page import rating_page
from planish.methods.vfaith.verifying.ratings import RATINGS, agreement, sampled
from planish.records import read_jsonl, write_jsonl
from planish.runs import Run
from support.pictures import make_bench

GOOD = {"follows": "yes", "one_true": "yes", "else_changed": "no"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return make_bench(tmp_path_factory.mktemp("rated"), 12, perception=2)


@pytest.fixture
def bench(made: Bench) -> Bench:
    (made.folder / RATINGS).unlink(missing_ok=True)
    return made


def call(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        command(["vfaith", *(str(word) for word in words)])
    out, err = capsys.readouterr()
    return int(str(left.value.code)), out, err


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    code, out, err = call(capsys, *words)
    assert (code, out) == (2, ""), err
    (line,) = err.splitlines()
    return line


def rows(bench: Bench, rater: str, size: int = 10, **answers: str) -> list[dict[str, Any]]:
    """A good sample; `answers` names what was said of the first pair."""
    found = [
        {
            "pair_id": pair.pair_id, "rater": rater, **GOOD, "sample": size, "seed": 0,
            "bench": bench.digest,
        }
        for pair in sampled(bench, size, 0)
    ]  # fmt: skip
    found[0] |= answers
    return found


def files(folder: Path, *told: list[dict[str, Any]]) -> list[Path]:
    paths = [folder / f"{'ab'[place]}.jsonl" for place in range(len(told))]
    for path, own in zip(paths, told, strict=True):
        write_jsonl(path, own)
    return paths


# ---- the sample ------------------------------------------------------------------------------


def test_a_page_and_a_file_are_made_and_can_be_rated(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "rating"
    code, told, _ = call(capsys, "rate", bench.folder, "--sample", 10, "--out", out, "--json")
    assert code == 0
    assert json.loads(told)["pairs"] == 10
    page = (out / "rate.html").read_text()
    assert len(re.findall(r'<section class="pair"', page)) == 10
    assert page.count("data:image/png;base64,") == 20
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    blank = [row for _, row in read_jsonl(out / "ratings.jsonl")]
    assert re.findall(r'data-pair="([^"]+)"', page) == [row["pair_id"] for row in blank]
    assert all(row["follows"] == row["rater"] == "" for row in blank)
    # What is not filled in is no answer.
    write_jsonl(tmp_path / "a.jsonl", [{**row, "rater": "a", **GOOD} for row in blank])
    words = ("rate", bench.folder, "--ratings", tmp_path / "a.jsonl", out / "ratings.jsonl")
    assert "ratings.jsonl:1: rater is not filled in" in refused(capsys, *words)
    # And what is filled in is not written over.
    again = refused(capsys, "rate", bench.folder, "--out", out)
    assert "there are ratings already" in again


def test_the_sample_is_by_chance_and_the_same_again(bench: Bench) -> None:
    first = [pair.pair_id for pair in sampled(bench, 5, 0)]
    assert first == [pair.pair_id for pair in sampled(bench, 5, 0)]
    assert first != [pair.pair_id for pair in sampled(bench, 5, 1)]
    everything = sampled(bench, 99, 0)
    assert sorted(pair.pair_id for pair in everything) == [
        pair.pair_id for pair in bench.pairs if pair.kind == "pair"
    ]


def test_hostile_texts_of_a_bench_stay_text(bench: Bench) -> None:
    pair = bench.pairs[0]
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
    changed = pair.model_copy(
        update={
            "pair_id": f'"{evil}',
            "question": f"{evil}\u202e",
            "cue": pair.cue.model_copy(update={"name": evil, "old": evil, "new": evil + "\x00"}),
        }
    )
    page = rating_page(bench, [changed], 1, 0)
    assert page.count("<script") == 1
    assert "<img src=x" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "\u202e" not in page
    assert "\x00" not in page
    assert "default-src 'none'" in page


def test_large_pictures_are_shown_smaller(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("planish.methods.vfaith.verifying.rating_page._SMALL", 10)
    page = rating_page(bench, bench.pairs[:1], 1, 0)
    assert page.count("data:image/jpeg;base64,") == 2


# ---- how far they agree ----------------------------------------------------------------------


def test_two_raters_are_told_with_intervals_and_kept(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = rows(bench, "anna", follows="no"), rows(bench, "ben", follows="no")
    one[1]["else_changed"] = "yes"
    two[2]["one_true"] = "no"
    two.pop()  # one that he did not rate
    paths = files(tmp_path, one, two)
    code, out, err = call(capsys, "rate", bench.folder, "--ratings", *paths, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["pairs"] == 9
    assert found["raters"] == ["anna", "ben"]
    follows, other = found["questions"]["follows"], found["questions"]["else_changed"]
    assert follows["agreement"]["value"] == follows["kappa"]["value"] == 1
    assert 0 < follows["agreement"]["low"] < 1
    assert other["kappa"] == {"value": None, "low": None, "high": None, "n": 9}  # ben: never
    assert other["agreement"]["value"] == pytest.approx(8 / 9)
    # bad: anna of pairs 0 and 1, ben of 0 and 2: kappa = (7/9 - p) / (1 - p), p = 4/81 + 49/81
    chance = 53 / 81
    kappa = found["questions"]["bad"]["kappa"]
    assert kappa["value"] == pytest.approx((7 / 9 - chance) / (1 - chance))
    assert kappa["low"] < kappa["value"] < kappa["high"]
    assert found["bad_either"]["value"] == pytest.approx(3 / 9)
    assert found["bad_both"]["value"] == pytest.approx(1 / 9)
    assert {(each["pair_id"], each["question"]) for each in found["disagreements"]} == {
        (one[1]["pair_id"], "else_changed"), (one[2]["pair_id"], "one_true"),
    }  # fmt: skip
    kept = json.loads((bench.folder / RATINGS).read_text())
    assert len(kept["ratings"]) == 19
    assert read_bench(bench.folder).digest == bench.digest  # it is no part of what is asked
    code, out, _ = call(capsys, "rate", bench.folder, "--ratings", *paths)
    assert code == 0
    assert "bad edits, by one of them at least" in out
    assert one[1]["pair_id"] in out


@settings(max_examples=25)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=10, max_size=12))
def test_kappa_is_scikit_learns_and_none_where_a_rater_never_varies(
    made: Bench, tmp_path_factory: pytest.TempPathFactory, answers: list[tuple[bool, bool]]
) -> None:
    from sklearn.metrics import cohen_kappa_score

    told = [rows(made, name, len(answers)) for name in ("anna", "ben")]
    for place, both in enumerate(answers):
        for own, said in zip(told, both, strict=True):
            own[place]["follows"] = "yes" if said else "no"
    paths = files(tmp_path_factory.mktemp("kappa"), *told)
    kappa = agreement(made, paths).questions["follows"].kappa
    columns = list(zip(*answers, strict=True))
    if any(len(set(column)) == 1 for column in columns):
        assert kappa.value is None
    else:
        assert kappa.value == pytest.approx(cohen_kappa_score(*columns))


# ---- bad input -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "change", "message"),
    [
        (3, {"pair_id": "nobody-0001"}, "pair 'nobody-0001' is not in the bench"),
        (3, {"pair_id": "colours-p0001"}, "pair 'colours-p0001' is not in the sample"),
        (3, {"follows": "maybe"}, "follows: "),
        (3, {"follows": True}, "follows: "),
        (3, {"one_true": ""}, "one_true is not filled in"),
        (3, {"colour": "red"}, "colour: "),
        (3, {"rater": "carl"}, "rater is 'carl', and 'ben' in the first line"),
        (3, {"seed": 4}, "seed is 4, and 0 in the first line"),
        (1, {"bench": "0" * 16}, "it rates another bench"),
        (1, {"sample": 0}, "sample: "),
    ],
)
def test_a_bad_line_is_told_with_its_number(
    bench: Bench,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    line: int,
    change: dict[str, Any],
    message: str,
) -> None:
    other = rows(bench, "ben")
    other[line - 1] |= change
    paths = files(tmp_path, rows(bench, "anna"), other)
    told = refused(capsys, "rate", bench.folder, "--ratings", *paths)
    assert f"{paths[1]}:{line}: " in told
    assert message in told
    assert not (bench.folder / RATINGS).exists()


def test_files_that_do_not_go_together(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = files(tmp_path, rows(bench, "anna"), rows(bench, "anna"))

    def told(*words: object) -> str:
        return refused(capsys, "rate", bench.folder, *words)

    assert "both files are by 'anna'" in told("--ratings", one, two)
    assert "the same file twice" in told("--ratings", one, one)
    assert "1 files are given" in told("--ratings", one)
    assert "no such file" in told("--ratings", one, tmp_path / "no.jsonl")
    assert "give one of the two" in told()
    assert "give one of the two" in told("--out", tmp_path / "x", "--ratings", one, two)
    assert "which sample" in told("--sample", 5, "--ratings", one, two)
    write_jsonl(two, [*rows(bench, "ben"), rows(bench, "ben")[2]])
    assert f"{two}:11: pair" in (line := told("--ratings", one, two))
    assert "is also rated in line 3" in line
    write_jsonl(two, rows(bench, "ben")[:8])
    assert "8 of 10 pairs rated, fewer than 90%" in told("--ratings", one, two)
    two.write_text("")
    assert "no pair rated" in told("--ratings", one, two)
    write_jsonl(two, rows(bench, "ben", 9))
    assert "b.jsonl:1: its sample is 9" in told("--ratings", one, two)
    two.write_text("{\n")
    assert "b.jsonl:1: broken JSON" in told("--ratings", one, two)


# ---- beside the numbers ----------------------------------------------------------------------


def answered(bench: Bench, root: Path) -> Path:
    config = {"model": "planted:a", "bench": str(bench.folder), "bench_digest": bench.digest}
    with Run.create("vfaith", "run-a", config, root=root, stage="run") as run:
        for pair in bench.pairs:
            for arm in (arm for arm in ARMS if has_arm(pair, arm)):
                gold = gold_of(pair, arm)
                reply = Response(
                    key=f"{pair.pair_id}{arm}", pair_id=pair.pair_id, arm=arm, model="planted:a",
                    revision="1", text="", parsed=gold, gold=gold, outcome="correct",
                )  # fmt: skip
                run.record("response", reply, id=reply.key)
        run.finish()
    return run.path


def test_the_score_tells_what_people_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = make_bench(tmp_path / "bench", 12)
    run = answered(bench, tmp_path / "runs")
    words = ("score", run, "--resamples", 200, "--runs", tmp_path / "runs")
    told = rows(bench, "<b>anna</b>", follows="no")
    paths = files(tmp_path, told, rows(bench, "ben"))
    assert call(capsys, "rate", bench.folder, "--ratings", *paths)[0] == 0
    code, out, err = call(capsys, *words, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["raters"]["bad_either"]["value"] == 0.1
    assert found["verifiers"] == []
    page = Path(found["report"]).read_text()
    assert "Rated by two people" in page
    assert "&lt;b&gt;anna&lt;/b&gt;" in page
    assert "<b>anna" not in page
    monkeypatch.setattr(stage, "write_report", lambda run, results: run.report_path)
    _, out, _ = call(capsys, *words)
    assert "rated 10 of its edits: bad by one of them at least 0.100" in " ".join(out.split())
    # What was said of other pairs, or cannot be read, is not told, and that is.
    kept = json.loads((bench.folder / RATINGS).read_text())
    for text, why in (
        (json.dumps({**kept, "bench": "0" * 16}), "the bench has changed since people rated it"),
        ("{}", "cannot be read"),
    ):
        (bench.folder / RATINGS).write_text(text)
        code, out, err = call(capsys, *words, "--json")
        assert code == 0
        assert json.loads(out)["raters"] is None
        assert why in err
    assert (bench.folder / PAIRS).exists()
