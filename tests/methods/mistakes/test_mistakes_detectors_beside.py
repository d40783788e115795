"""The benchmark that lays detectors beside each other, against a server that always says IOM."""

import sys
from pathlib import Path

import pytest

from planish.methods.mistakes.config import Diagnosing
from support.server import ChatServer

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


@pytest.fixture
def bench(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    _forget()  # the tests have a `support` of their own
    import bench_mistakes_categories
    import bench_mistakes_detectors as made
    import support

    monkeypatch.setattr(support, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(made, "DIALS", Diagnosing(inputs=8, mutants=8, repair_seconds=1))
    for each in (bench_mistakes_categories, made):
        monkeypatch.setattr(each, "RESAMPLES", 10)
    yield made
    _forget()


def _forget():
    for path in BENCHMARKS.glob("*.py"):
        sys.modules.pop(path.stem, None)


def table(text):
    """Name of a detector -> its cells."""
    lines = [line for line in text.split("\n\n## ")[0].split("\n") if line.startswith("| ")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    head, *rest = rows
    return {row[0]: dict(zip(head, row, strict=True)) for row in rest}


def test_every_detector_sees_the_same_programs_and_replies_are_kept(bench, monkeypatch, tmp_path):
    def run(url):
        words = ["--work", tmp_path / "work", "--model", f"openai:careful@{url}", "--most", 1]
        words += ["--tokens", 200_000]  # the server counts letters
        monkeypatch.setattr(sys, "argv", ["bench", *map(str, words)])
        bench.main()
        (page,) = (tmp_path / "results").glob("*-mistakes-detectors.md")
        return page.read_text("utf-8")

    with ChatServer(replies="detective:reply") as server:
        first = run(server.url)
        asked = len(server.log())
        again = run(server.url)
        assert len(server.log()) == asked  # nothing is asked twice
    assert first == again
    assert first.split("\n\n")[2].startswith("7 of 211 mistakes made by hand")
    told = table(first)
    assert list(told) == ["rules", "direct", "evidence", "react"]
    # One program of each category, of which it names one, with seven answers: 2/8 of a seventh.
    for name, calls in (("direct", "1.0"), ("evidence", "1.0"), ("react", "5.0")):
        row = told[name]
        assert row["macro-F1 (answered)"].startswith("0.036"), name
        assert row["macro-F1 (beside all)"].startswith("0.036"), name
        assert row["coverage"].startswith("1.000"), name
        assert row["calls"] == calls
        assert float(row["tokens"]) > 100
        assert row["no reply"] == "0"
        assert row["beside all, less the rules"]
    rules = told["rules"]
    assert (rules["calls"], rules["tokens"], rules["beside all, less the rules"]) == (
        "0.0",
        "0",
        "",
    )


def test_differences_are_paired(bench):
    from planish.methods.mistakes.data import Labelled, Observation, Search

    def answer(number, said):
        labelled = Labelled(task_id=f"t{number}", code="", category="CE", by="hand")
        row = bench.Row(
            key=str(number),
            labelled=labelled,
            observation=Observation(key=str(number), status="wrong_value"),
            search=Search(),
        )
        return bench.Answer(row, "CE" if said else "GC", 0.9 if said else 0.0, said)

    right = [answer(number, True) for number in range(6)]
    half = [answer(number, number % 2 == 0) for number in range(6)]
    assert bench.difference(right, right) == "+0.000 [+0.000, +0.000]"
    assert bench.difference(half, right).startswith("-")
    assert bench.difference(right, half).startswith("+")


def test_a_server_without_answers_is_told_apart_from_silence(bench, monkeypatch, tmp_path):
    words = ["--work", tmp_path / "work", "--most", 1, "--detectors", "direct"]
    with ChatServer(script=["400"] * 50) as server:
        words += ["--model", f"openai:m@{server.url}"]
        monkeypatch.setattr(sys, "argv", ["bench", *map(str, words)])
        bench.main()
    (page,) = (tmp_path / "results").glob("*-mistakes-detectors.md")
    row = table(page.read_text("utf-8"))["direct"]
    assert (row["no reply"], row["coverage"][:5]) == ("7", "0.000")
