"""Stage score: from run folders to a leaderboard and its page; what does not fit is refused."""

import json
import re
import xml.etree.ElementTree as ElementTree

import pytest

from planish.cli import main
from planish.methods.vfaith.bench import PAIRS, REJECTED
from planish.methods.vfaith.data import ARMS, Check, Response
from planish.methods.vfaith.scoring import score as stage
from planish.methods.vfaith.scoring.metrics import MAIN
from planish.records import write_jsonl
from planish.runs import Run
from support.pictures import make_bench

FAST = ("--resamples", "200", "--min-ratio-items", "1")


def faithful(pair, arm):
    return pair.edited.gold if arm == "edited" else pair.raw.gold


def stubborn(pair, arm):
    return pair.raw.gold


def responses(bench, model, choose, arms=ARMS, revision="1"):
    for pair in bench.pairs:
        for arm in arms:
            if arm.startswith("perception"):
                if not pair.perception:
                    continue
                parsed = gold = "no" if arm == "perception_raw" else "yes"
            else:
                parsed, gold = choose(pair, arm), faithful(pair, arm)
            outcome = "unparsed" if parsed is None else "correct" if parsed == gold else "wrong"
            if parsed == "lost":
                parsed, outcome = None, "error"
            yield Response(
                key=f"{model}{revision}{pair.pair_id}{arm}", pair_id=pair.pair_id, arm=arm,
                model=model, revision=revision, text="", parsed=parsed, gold=gold, outcome=outcome,
            )  # fmt: skip


def make_run(root, bench, model="planted:a", choose=faithful, **changes):
    """A run folder as the stage run leaves it."""
    config = {"model": model, "bench": str(bench.folder), "bench_digest": bench.digest}
    run = Run.create("vfaith", f"run-{model[-8:]}", config, root=root, stage="run")
    with run:
        for reply in responses(bench, model, choose, **changes):
            run.record("response", reply, id=reply.key)
        run.finish()
    return run.path


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return make_bench(tmp_path_factory.mktemp("bench"), 8, perception=2)


@pytest.fixture
def runs(tmp_path):
    return tmp_path / "runs"


@pytest.fixture
def page():
    """The test looks at the page; drawing it takes longer than all the rest."""


@pytest.fixture(autouse=True)
def _page_or_none(request, monkeypatch):
    if "page" not in request.fixturenames:
        monkeypatch.setattr(stage, "write_report", lambda run, results: run.report_path)


def planish(*words):
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    return left.value.code


def score(runs, *words):
    return planish("vfaith", "score", *words, "--runs", runs, *FAST)


def scored(runs, capsys, *words):
    capsys.readouterr()
    assert score(runs, *words, "--json") == 0
    return json.loads(capsys.readouterr().out)


def refused(runs, capsys, *words):
    capsys.readouterr()
    assert score(runs, *words) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def test_two_models_side_by_side(bench, runs, capsys):
    one = make_run(runs, bench, "planted:stubborn", stubborn)
    two = make_run(runs, bench, "planted:faithful", faithful)
    found = scored(runs, capsys, one, two)
    assert [model["label"] for model in found["models"]] == ["planted:faithful", "planted:stubborn"]
    best, worst = (model["overall"]["metrics"] for model in found["models"])
    assert (best["pair_acc"]["value"], worst["pair_acc"]["value"]) == (1.0, 0.0)
    assert (best["delta_net"]["value"], worst["delta_net"]["value"]) == (0.0, 1.0)
    assert best["repeat_ratio"]["value"] is None
    assert worst["repeat_ratio"]["value"] == 1.0
    assert worst["gated_unfaithfulness"]["value"] == 1.0
    assert found["pair_acc"] == 1.0
    assert found["pair_acc_ci"][1] == 1.0
    (against,) = found["comparisons"]
    assert against["differences"]["pair_acc"]["value"] == 1.0
    assert against["mcnemar"] == {"only_a": 8, "only_b": 0, "p_value": pytest.approx(2 / 256)}
    assert set(MAIN) <= set(found["models"][0]["subsets"]["RWS"]["metrics"])
    rows = (runs.parent / found["run"] / "artifacts" / "pairs.jsonl").read_text().splitlines()
    assert len(rows) == 2 * len(bench.pairs)


def test_the_table_is_narrow_and_tells_every_model(bench, runs, capsys):
    name = "planted:sheet?raw=.9&edited=.6&stick=.5&placebo=.95"
    one = make_run(runs, bench, name, stubborn)
    two = make_run(runs, bench, "openai:a-model@http://localhost:1/v1", faithful)
    assert score(runs, one, two) == 0
    out = capsys.readouterr().out
    tables = [line.rstrip() for line in out.splitlines() if line.startswith("  ")]
    assert max(map(len, tables)) <= 100
    assert "openai:a-model" in out
    assert "localhost" not in out
    assert re.search(r"planted…\S+\s+0\.000\s+1\.000\s+0\.000\s+1\.000\s+1\.000", out)


def test_last_is_the_last_run_and_not_the_last_score(bench, runs, capsys):
    make_run(runs, bench, "planted:first")
    make_run(runs, bench, "planted:second", stubborn)
    for _ in range(2):
        assert [each["label"] for each in scored(runs, capsys)["models"]] == ["planted:second"]


def test_the_page_holds_its_pictures_and_fetches_nothing(page, bench, runs, capsys):
    found = scored(runs, capsys, make_run(runs, bench, "planted:a<b>", stubborn))
    text = (runs.parent / found["report"]).read_text("utf-8")
    assert "img-src data:" in text
    pictures = re.findall(r'<image href="([^"]{20})', text)
    assert len(pictures) == 2  # of one family, before and after, where it kept its answer
    assert all(each.startswith("data:image/png") for each in pictures)
    assert not re.findall(r'(?:src|href)="(?!data:|#)', text)
    assert "planted:a&lt;b&gt;" in text
    for drawing in re.findall(r"<svg .*?</svg>", text, re.S):
        ElementTree.fromstring(drawing)


def test_a_picture_that_is_gone_costs_one_picture(page, runs, capsys, tmp_path):
    held = make_bench(tmp_path / "bench", 2)
    run = make_run(runs, held)
    for path in (tmp_path / "bench" / "images").iterdir():
        path.unlink()
    found = scored(runs, capsys, run)
    assert "is not shown" in (runs.parent / found["report"]).read_text("utf-8")


def test_exclusions_are_told_by_gate(page, tmp_path, runs, capsys):
    held = make_bench(tmp_path / "bench", 3)
    leak = Check(gate="containment", value=0.4, passed=False, code="leak")
    write_jsonl(
        tmp_path / "bench" / REJECTED,
        [pair.model_copy(update={"checks": (leak,)}) for pair in held.pairs[:2]],
    )
    found = scored(runs, capsys, make_run(runs, held))
    assert found["excluded"] == [
        {"gate": "containment", "code": "leak", "family": "colours", "editor": "scene", "pairs": 2}
    ]
    assert "leak" in (runs.parent / found["report"]).read_text("utf-8")


def test_without_a_placebo_delta_net_is_missing_and_asking_for_it_is_refused(bench, runs, capsys):
    run = make_run(runs, bench, arms=("raw", "edited"))
    assert score(runs, run) == 0
    assert "no Delta_net of planted:a" in capsys.readouterr().out
    found = scored(runs, capsys, run)
    assert found["delta_net"] is None
    assert "placebo" in refused(runs, capsys, run, "--by", "delta_net")
    assert "perception_edited" in refused(runs, capsys, run, "--by", "gated_unfaithfulness")


def test_models_are_ordered_by_what_is_asked(bench, runs, capsys):
    first = bench.pairs[0].pair_id

    def unsteady(pair, arm):
        return pair.edited.gold if arm in ("edited", "placebo") else pair.raw.gold

    def slips(pair, arm):
        return pair.raw.gold if pair.pair_id == first else faithful(pair, arm)

    paths = [
        make_run(runs, bench, "planted:u", unsteady),
        make_run(runs, bench, "planted:s", slips),
    ]
    labels = [each["label"] for each in scored(runs, capsys, *paths)["models"]]
    assert labels == ["planted:u", "planted:s"]
    labels = [each["label"] for each in scored(runs, capsys, *paths, "--by", "delta_net")["models"]]
    assert labels == ["planted:u", "planted:s"]  # the placebo costs it more than the edit


def test_too_few_usable_pairs_give_no_headline(bench, runs, capsys):
    ids = {pair.pair_id for pair in bench.pairs[:3]}

    def lossy(pair, arm):
        return (None if arm == "raw" else "lost") if pair.pair_id in ids else faithful(pair, arm)

    bad = make_run(runs, bench, "planted:lossy", lossy)
    assert score(runs, bad, "--json") == 1
    told = json.loads(capsys.readouterr().out)
    assert told["best"] is None
    assert told["pair_acc"] is None
    (model,) = told["models"]
    assert model["coverage"] == pytest.approx(5 / 8)
    assert set(model["overall"]["metrics"].values()) == {None}
    assert model["strict"]["metrics"]["acc_raw"] is not None
    # Beside a whole one it is the last line, and the command succeeds.
    good = make_run(runs, bench, "planted:good", stubborn)
    found = scored(runs, capsys, bad, good)
    assert [each["label"] for each in found["models"]] == ["planted:good", "planted:lossy"]
    assert score(runs, bad, "--min-coverage", "0.5") == 0


def test_two_benches_are_refused(bench, runs, capsys, tmp_path):
    other = make_bench(tmp_path / "other", 2)
    one, two = make_run(runs, bench), make_run(runs, other, "planted:b")
    assert "another bench" in refused(runs, capsys, one, two)


def test_a_bench_that_changed_is_refused_and_one_that_moved_is_named(runs, capsys, tmp_path):
    held = make_bench(tmp_path / "bench", 3)
    run = make_run(runs, held)
    (tmp_path / "bench").rename(tmp_path / "moved")
    assert "no such folder" in refused(runs, capsys, run)
    assert scored(runs, capsys, run, "--bench", tmp_path / "moved")["pairs"] == 3
    write_jsonl(tmp_path / "moved" / PAIRS, held.pairs[:2])
    assert "changed" in refused(runs, capsys, run, "--bench", tmp_path / "moved")


def test_a_reply_counts_once(bench, runs, capsys):
    one, two = make_run(runs, bench), make_run(runs, bench)
    assert "the same reply" in refused(runs, capsys, one, two)
    assert "named twice" in refused(runs, capsys, one, one)
    # The same model again with other settings has other keys: both are told by their runs.
    three = make_run(runs, bench, revision="2")
    labels = [each["label"] for each in scored(runs, capsys, one, three)["models"]]
    assert sorted(labels) == sorted(f"planted:a ({path.name})" for path in (one, three))


def test_other_runs_are_refused(bench, runs, capsys):
    assert "there is no run to score" in refused(runs, capsys)
    with Run.create("vfaith", "x", {}, root=runs, stage="build") as run:
        run.finish()
    assert "vfaith build" in refused(runs, capsys, run.path)
    assert "no run" in refused(runs, capsys, "nothing")
    config = {"model": "m", "bench": str(bench.folder), "bench_digest": bench.digest}
    with Run.create("vfaith", "empty", config, root=runs, stage="run") as run:
        run.finish()
    assert "no replies" in refused(runs, capsys, run.path)


def test_a_run_that_was_stopped_is_scored_with_a_warning(bench, runs, capsys):
    config = {"model": "m", "bench": str(bench.folder), "bench_digest": bench.digest}
    run = Run.create("vfaith", "part", config, root=runs, stage="run")
    for reply in list(responses(bench, "m", faithful))[:24]:
        run.record("response", reply, id=reply.key)
    run.close("interrupted")
    assert score(runs, run.path) == 0
    assert "interrupted" in capsys.readouterr().err


def test_from_a_planted_model_to_its_numbers(bench, runs, capsys):
    for name in ("oracle", "cached"):
        words = ["--model", f"planted:{name}", "--bench", bench.folder, "--runs", runs]
        assert planish("vfaith", "run", *words) == 0
    found = scored(runs, capsys, *sorted((runs / "vfaith").iterdir()))
    told = {each["label"]: each["overall"]["metrics"] for each in found["models"]}
    assert told["planted:oracle"]["pair_acc"]["value"] == 1.0
    assert told["planted:cached"]["pair_acc"]["value"] == 0.0
    assert told["planted:cached"]["repeat_ratio"]["value"] == 1.0
    assert told["planted:cached"]["placebo_stability"]["value"] == 1.0
