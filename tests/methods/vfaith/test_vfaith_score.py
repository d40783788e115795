"""Stage score: from run folders to a leaderboard and its page; what does not fit is refused."""

import errno
import json
import re
import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planish.cli import main
from planish.methods.vfaith.bench import PAIRS, REJECTED, read_bench
from planish.methods.vfaith.data import ARMS, Check, Response
from planish.methods.vfaith.running.prompts import gold_of
from planish.methods.vfaith.scoring import score as stage
from planish.methods.vfaith.scoring.metrics import MAIN
from planish.methods.vfaith.scoring.names import short_names, wrapped
from planish.methods.vfaith.usable import chosen
from planish.records import write_jsonl
from planish.runs import Run
from support.pictures import make_bench

FAST = ("--resamples", "200", "--min-ratio-items", "1")


def faithful(pair, arm):
    return pair.edited.gold if arm == "edited" else pair.raw.gold


def stubborn(pair, arm):
    return pair.raw.gold


def responses(bench, model, choose, arms=ARMS, revision="1", yes_to_all=False):
    for pair in bench.pairs:
        for arm in arms:
            if arm == "placebo" and pair.placebo is None:
                continue
            if arm.startswith("perception"):
                if not pair.perception:
                    continue
                parsed = gold = gold_of(pair, arm)
                if yes_to_all:
                    parsed = "yes"
            else:
                parsed, gold = choose(pair, arm), faithful(pair, arm)
            outcome = "unparsed" if parsed is None else "correct" if parsed == gold else "wrong"
            if parsed == "lost":
                parsed, outcome = None, "error"
            yield Response(
                key=f"{model}{revision}{pair.pair_id}{arm}", pair_id=pair.pair_id, arm=arm,
                model=model, revision=revision, text="", parsed=parsed, gold=gold, outcome=outcome,
            )  # fmt: skip


def make_run(root, bench, model="planted:a", choose=faithful, settings=(), **changes):
    """A run folder as the stage run leaves it."""
    config = {"model": model, "bench": str(bench.folder), "bench_digest": bench.digest}
    config |= dict(settings)
    run = Run.create("vfaith", f"run-{model[-8:]}", config, root=root, stage="run")
    wanted = {pair.pair_id for pair in chosen(bench.pairs, config.get("limit"))}
    with run:
        for reply in responses(bench, model, choose, **changes):
            if reply.pair_id in wanted:
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
    assert re.search(r"sheet\?raw=\.9&\s+0\.000\s+1\.000\s+0\.000\s+1\.000\s+1\.000\s+1\.0", out)


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


def test_no_pair_is_shown_twice_and_pictures_come_before_long_tables(page, bench, runs, capsys):
    made = [
        make_run(runs, bench, f"planted:{name}", choose)
        for name, choose in (("a", faithful), ("b", stubborn), *((c, faithful) for c in "cdefgh"))
    ]
    found = scored(runs, capsys, *made)
    text = (runs.parent / found["report"]).read_text("utf-8")
    assert len(re.findall(r'<image href="data:image/png', text)) == 2  # one pair, both pictures
    assert text.index(">Pictures<") < text.index(">Model less model<")
    assert "PairAcc of each model less each other" in text  # 28 rows are folded away
    assert "p, Holm" in text
    assert "PairAcc: right on both pictures" in text


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
    assert score(runs) == 0
    assert "containment leak 2" in capsys.readouterr().out


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
    assert set(model["strict"]["metrics"].values()) == {None}  # it is errors, too, that are many
    # Beside a whole one it is the last line, and the command succeeds.
    good = make_run(runs, bench, "planted:good", stubborn)
    found = scored(runs, capsys, bad, good)
    assert [each["label"] for each in found["models"]] == ["planted:good", "planted:lossy"]
    # Nothing tells its numbers by a detour.
    assert found["comparisons"] == []
    assert score(runs, bad, "--min-coverage", "0.5") == 0


def test_what_could_not_be_read_still_counts_as_wrong_where_enough_came(bench, runs, capsys):
    def mumbles(pair, arm):
        return None if arm == "raw" else faithful(pair, arm)

    assert score(runs, make_run(runs, bench, "planted:mumbles", mumbles), "--json") == 1
    (model,) = json.loads(capsys.readouterr().out)["models"]
    assert set(model["overall"]["metrics"].values()) == {None}
    assert model["strict"]["metrics"]["acc_raw"]["value"] == 0


def test_a_run_has_its_own_floor_unless_another_is_given(bench, runs, capsys):
    first = bench.pairs[0].pair_id

    def loses(pair, arm):
        return "lost" if pair.pair_id == first else faithful(pair, arm)

    lax = make_run(runs, bench, "planted:lax", loses, {"min_coverage": 0.5})
    assert scored(runs, capsys, lax)["best"] == "planted:lax"
    assert score(runs, lax, "--min-coverage", "0.95") == 1
    assert "fewer than 95%" in capsys.readouterr().out
    strict = make_run(runs, bench, "planted:strict", loses, {"min_coverage": 0.95})
    assert score(runs, strict) == 1


def test_models_asked_different_pairs_are_told_on_those_that_all_were_asked(bench, runs, capsys):
    few = {pair.pair_id for pair in chosen(bench.pairs, 3)}  # two pairs and an item

    def slips(pair, arm):  # right on the few, wrong on all the rest
        return faithful(pair, arm) if pair.pair_id in few else pair.raw.gold

    whole = make_run(runs, bench, "planted:whole", slips)
    part = make_run(runs, bench, "planted:part", faithful, {"limit": 3})
    found = scored(runs, capsys, whole, part)
    told = {each["label"]: each for each in found["models"]}
    assert told["planted:whole"]["overall"]["metrics"]["pair_acc"]["value"] == 1.0
    assert {each["overall"]["pairs"] for each in told.values()} == {2}
    assert (told["planted:whole"]["asked"], told["planted:part"]["asked"]) == (8, 2)
    assert score(runs, whole, part) == 0
    out = capsys.readouterr().out
    assert "planted:whole 8, planted:part 2" in out
    assert out.index("asked different pairs") < out.index("PairAcc")
    assert "2 of 8 pairs" in out
    # Alone, each has all of its own.
    assert scored(runs, capsys, whole)["pair_acc"] == pytest.approx(2 / 8)
    assert scored(runs, capsys, part)["pair_acc"] == 1.0


NAMES = ["hf:Qwen/Qwen2.5-VL-3B-Instruct", "hf:Qwen/Qwen2.5-VL-7B-Instruct"]


def test_names_are_never_cut_to_the_same(bench, runs, capsys):
    for model in NAMES:
        make_run(runs, bench, model)
    paths = sorted((runs / "vfaith").iterdir())
    assert score(runs, *paths) == 0
    out = capsys.readouterr().out
    for size in "37":
        assert re.search(rf"Qwen2\.5-VL-\s.*\n\s+{size}B-Instruct\s", out), out
        assert re.search(rf"RWS\s+Qwen2\.5-VL-{size}B-\s", out), out
    assert "model less model" in out
    assert max(len(line.rstrip()) for line in out.splitlines() if line.startswith(" ")) <= 101


@given(st.lists(st.text("ab/:-?=.", min_size=1, max_size=70), unique=True), st.integers(8, 24))
def test_short_names_differ_and_fit(labels, width):
    names = short_names(labels, width, 3)
    assert len(set(names.values())) == len(labels)
    for label, name in names.items():
        lines = wrapped(name, width)
        assert max(map(len, lines)) <= width
        assert len(lines) <= 4
        if len(label) <= width:
            assert name.startswith(label)


def test_an_unpinned_model_is_marked(page, bench, runs, capsys):
    run = make_run(runs, bench, "openai:gpt-5", settings={"unpinned": True})
    assert score(runs, run) == 0
    out = capsys.readouterr().out
    assert "openai:gpt-5*  " in out
    assert "* not pinned" in out
    found = scored(runs, capsys, run)
    assert found["models"][0]["pinned"] is False
    assert "gpt-5 *" in (runs.parent / found["report"]).read_text("utf-8")


def test_a_bench_that_failed_its_own_gates_is_told_above_the_numbers(tmp_path, runs, capsys):
    held = make_bench(tmp_path / "bench", 2)
    checks = [
        {"gate": "letters", "value": 0.5, "passed": True, "code": ""},
        {"gate": "text_only", "value": 0.5, "passed": False, "code": "words"},
    ]
    built = {"complete": True, "numbers": {"bench_gates": {"checks": checks}}}
    (tmp_path / "bench" / "build.json").write_text(json.dumps(built))
    run = make_run(runs, held)
    assert score(runs, run) == 0
    out = capsys.readouterr().out
    assert "text_only words" in out
    assert out.index("its own gates") < out.index("PairAcc")
    assert "letters" not in out
    (warning,) = scored(runs, capsys, run)["warnings"]
    assert "text_only" in warning
    built["numbers"] = {"bench_gates": {}}
    (tmp_path / "bench" / "build.json").write_text(json.dumps(built))
    assert scored(runs, capsys, run)["warnings"] == []
    for broken in ("all passed", [], [{"passed": False}], [3], None):
        built["numbers"] = {"bench_gates": {"checks": broken}}
        (tmp_path / "bench" / "build.json").write_text(json.dumps(built))
        (warning,) = scored(runs, capsys, run)["warnings"]
        assert "whether the bench passed its own gates is not told" in warning
        assert "\n" not in warning


@pytest.mark.parametrize("names", ["openai:a", ["openai:a", 3], {"openai:a": 1}, None])
def test_verifiers_that_are_no_list_of_names_are_refused(tmp_path, runs, capsys, names):
    held = make_bench(tmp_path / "bench", 2)
    run = make_run(runs, held)
    built = {"complete": True, "settings": {"verifiers": names}}
    (tmp_path / "bench" / "build.json").write_text(json.dumps(built))
    assert "settings.verifiers is no list of names" in refused(runs, capsys, run)


def test_who_sees_the_cue_at_chance_has_no_gated_number(page, tmp_path, runs, capsys):
    """Like a network without eyes: right on every second perception question, and never moved."""
    held = make_bench(tmp_path / "bench", 24)
    blind = make_run(runs, held, "planted:none", stubborn, settings=(), yes_to_all=True)
    keen = make_run(runs, held, "planted:keen", stubborn)
    assert score(runs, blind, keen) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "no gated unfaithfulness of planted:none: it sees the cue at chance, 0.500" in out
    assert "of planted:keen" not in out
    found = scored(runs, capsys, blind, keen)
    told = {each["label"]: each["overall"]["metrics"] for each in found["models"]}
    gated = told["planted:none"]["gated_unfaithfulness"]
    assert (gated["value"], gated["low"], gated["reason"]) == (None, None, "sees the cue at chance")
    assert told["planted:none"]["gated_both"]["value"] is None
    assert told["planted:none"]["perception_accuracy"]["value"] == 0.5
    assert told["planted:keen"]["gated_unfaithfulness"]["value"] == 1
    assert "reason" not in told["planted:keen"]["gated_unfaithfulness"]
    by = scored(runs, capsys, blind, keen, "--by", "gated_unfaithfulness")
    assert [each["label"] for each in by["models"]] == ["planted:keen", "planted:none"]


def test_the_test_over_all_pairs_stands_on_screen_and_page(page, bench, runs, capsys):
    run = make_run(runs, bench, "planted:stubborn", stubborn)
    assert score(runs, run) == 0
    out = capsys.readouterr().out
    assert re.search(r"all\s+planted:stubborn\s+8\s+0\.000\s+1\.000\s+1\.000\s+8 / 0\s+0\.008", out)
    html = next(iter(sorted((runs / "vfaith").glob("*score*/report.html")))).read_text("utf-8")
    assert re.search(r"<td[^>]*>\s*all\s*</td>(?:(?!</tr>).)*8 / 0", html, re.DOTALL)


def test_delta_net_tells_over_how_many_pairs_it_is(page, tmp_path, runs, capsys):
    whole = make_bench(tmp_path / "bench", 8)
    bare = [pair.model_copy(update={"placebo": None}) for pair in whole.pairs[:3]]
    write_jsonl(tmp_path / "bench" / PAIRS, [*bare, *whole.pairs[3:]])
    held = read_bench(tmp_path / "bench")
    run = make_run(runs, held, "planted:stubborn", stubborn)
    assert score(runs, run) == 0
    assert "n = 5" in capsys.readouterr().out
    html = next(iter(sorted((runs / "vfaith").glob("*score*/report.html")))).read_text("utf-8")
    assert "n = 5" in html
    assert score(runs, make_run(runs, whole_again(tmp_path), "planted:stubborn", stubborn)) == 0
    assert "n = " not in capsys.readouterr().out


def whole_again(folder):
    return make_bench(folder / "whole", 8)


def test_a_page_that_finds_no_room_is_told_in_one_line(bench, runs, capsys, monkeypatch):
    def full(run, results):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(stage, "write_report", full)
    run = make_run(runs, bench)
    capsys.readouterr()
    assert score(runs, run) == 1
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert "No space left on device: every finished line was kept; free some space" in last


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


def test_a_run_counts_once_and_equal_runs_are_told(bench, runs, capsys):
    one, two = make_run(runs, bench), make_run(runs, bench)
    assert "named twice" in refused(runs, capsys, one, one)
    assert "named twice" in refused(runs, capsys, one, one / ".." / one.name)
    found = scored(runs, capsys, one, two)
    assert "no independent samples" in found["warnings"][0]
    # The same model again with other settings has other keys: both are told by their runs.
    three = make_run(runs, bench, revision="2")
    found = scored(runs, capsys, one, three)
    assert found["warnings"] == []
    labels = [each["label"] for each in found["models"]]
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


def test_a_run_that_was_stopped_lacks_what_it_did_not_ask(bench, runs, capsys):
    config = {"model": "m", "bench": str(bench.folder), "bench_digest": bench.digest}
    run = Run.create("vfaith", "part", config | {"arms": ARMS}, root=runs, stage="run")
    for reply in list(responses(bench, "m", faithful))[:24]:
        run.record("response", reply, id=reply.key)
    run.close("interrupted")
    assert score(runs, run.path) == 1
    shown = capsys.readouterr()
    assert "interrupted" in shown.err
    assert "50.0% of whose 8 pairs" in shown.out
    whole = make_run(runs, bench, "planted:whole", stubborn)
    labels = [each["label"] for each in scored(runs, capsys, run.path, whole)["models"]]
    assert labels == ["planted:whole", "m"]
    assert score(runs, run.path, "--min-coverage", "0.5") == 0


def test_a_run_and_its_score_tell_the_same_numbers(bench, runs, capsys):
    spec = "planted:sheet?raw=.8&edited=.6&unparsed=.15&seed=3"
    words = ["--model", spec, "--bench", bench.folder, "--runs", runs, "--min-coverage", 0]
    for more in (["--repeats", 3], ["--arms", "raw"], ["--arms", "text"], ["--limit", 5]):
        capsys.readouterr()
        assert planish("vfaith", "run", *words, *more, "--json") == 0
        asked = json.loads(capsys.readouterr().out)
        (model,) = scored(runs, capsys, asked["run"])["models"]
        assert model["coverage"] == pytest.approx(asked["coverage"])
        assert model["overall"]["pairs"] == asked["pairs"]
        for name in ("acc_raw", "acc_edited"):
            value = model["overall"]["metrics"][name]["value"]
            assert value == (asked[name] and pytest.approx(asked[name])), (more, name)
    assert score(runs, "--min-coverage", "0.99") == 1


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
