"""`planish reheat diagnose`, through its real command: planted rates, local weights, resume, and
bad input."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from planish.cli import main
from planish.methods.reheat.measuring.looking import Looking
from planish.methods.reheat.measuring.records import ProbeRow, PromptRow
from planish.methods.reheat.method import EntropyProbe, TokenEntropy, pass_at_k
from planish.runs.rows import read_rows
from support import sampler
from support.checkpoints import make_tokenizer
from support.typed import next_commands

SMALL = (
    *("--task", "chain:2", "--max-tokens", 4, "--report-prompts", 12, "--probe-prompts", 5),
    *("--samples", 4, "--reach-samples", 3, "--batch-size", 64),
)


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main(["reheat", "diagnose", *(str(argument) for argument in arguments)])
    captured = capsys.readouterr()
    return stop.value.code, captured.out, captured.err


def measured(capsys, *arguments):
    code, out, err = call(capsys, *arguments, "--json")
    assert code == 0, err
    return json.loads(out)


def refused(capsys, *arguments):
    code, out, err = call(capsys, *arguments)
    assert code == 2, err
    assert "Traceback" not in err
    assert out == ""
    assert len(err.strip().splitlines()) == 1
    return err


def records(run, kind, model):
    return [row.read(model) for row in read_rows(run, kind)]


def plain(found):
    """What two runs of the same have in common."""
    return {name: value for name, value in found.items() if name not in ("run", "report", "cost")}


@pytest.fixture
def runs(tmp_path):
    return ("--runs", tmp_path / "runs")


@pytest.fixture
def endpoint(chat_server):
    def start(replies="reply", **options):
        server = chat_server(replies=f"sampler:{replies}", **options)
        return server, ("--model", f"openai:m@{server.url}?retries=1")

    return start


# --- planted chances ---------------------------------------------------------------------------


def test_planted_chances_are_recovered_within_their_intervals(capsys, endpoint, runs):
    server, model = endpoint()
    found = measured(
        capsys, *model, "--task", "chain:3", "--report-prompts", 150, "--reach-samples", 12, *runs
    )
    planted = {
        "pass_at_1": sampler.pass_at(1),
        "pass_at_2": sampler.pass_at(2),
        "pass_at_4": sampler.pass_at(4),
        "zero_variance": sampler.zero_variance(8),
        "reach": sampler.reach(8),
        "readable": 1.0,
        "coverage": 1.0,
    }
    for name, value in planted.items():
        low, high = found[f"{name}_ci"]
        assert low <= value <= high, (name, value, found[name])
    assert found["entropy"] is found["collapsed"] is found["entropy_ratio"] is None
    assert found["sentence"].endswith("groups without variance; the entropy needs local weights")
    assert found["cost"]["calls"] == server.count("ok") == 150 * 9 + 12 * found["num_unsolved"]
    rows = records(found["run"], "row", PromptRow)
    assert found["pass_at_4"] == pytest.approx(
        sum(pass_at_k(row.n, row.c, 4) for row in rows) / len(rows)
    )
    hard = [row for row in rows if row.c == 0]
    assert len(hard) == found["num_unsolved"]
    assert all(row.reach_n == 12 for row in hard)
    assert all(row.reach_n is None for row in rows if row.c)


def test_replies_without_an_answer_are_wrong_and_counted(capsys, endpoint, runs):
    _, model = endpoint("silent")
    found = measured(capsys, *model, *SMALL, *runs)
    assert found["pass_at_1"] == found["readable"] == found["reach"] == found["greedy"] == 0
    assert found["zero_variance"] == found["unsolved"] == found["coverage"] == 1
    assert found["distinct"] == 1 / 4


def test_two_endpoints_are_held_against_each_other_without_an_entropy(capsys, endpoint, runs):
    _, model = endpoint()
    _, (_, other) = endpoint("silent")
    found = measured(capsys, *model, "--reference", other, *SMALL, *runs)
    assert found["reference"]["pass_at_1"] == 0
    assert found["differences"]["pass_at_1"]["difference"] == pytest.approx(found["pass_at_1"])
    assert found["differences"]["entropy"]["n"] == 0
    assert found["entropy_reference"] is None


@pytest.mark.parametrize("many", [True, False])
def test_lost_calls_are_asked_for_again_and_too_many_end_the_run(capsys, endpoint, runs, many):
    _, (_, model) = endpoint(faults={"500": 0.25 if many else 0.02}, seed=1)
    model = ("--model", model.replace("retries=1", "retries=0"))
    code, out, err = call(capsys, *model, *SMALL, "--json", *runs)
    (run,) = (runs[1] / "reheat").iterdir()
    assert "calls brought no reply" in err
    assert f"planish reheat diagnose --resume {run}" in err
    if many:
        assert code == 1
        assert set(json.loads(out)) == {"calls", "lost", "run"}
        assert json.loads((run / "run.json").read_text())["status"] == "failed"
    else:
        assert code == 0
    for _ in range(6):
        code, out, err = call(capsys, "--resume", run, "--json")
    assert code == 0
    assert "calls brought no reply" not in err
    assert json.loads(out)["coverage"] == 1


def test_a_killed_process_asks_for_nothing_twice(capsys, endpoint, tmp_path, runs):
    server, model = endpoint(delay=0.05)
    model = ("--model", f"{model[1]}&in_flight=4")
    options = [str(part) for part in (*model, *SMALL, *runs)]
    command = [sys.executable, "-m", "planish.cli", "reheat", "diagnose", *options]
    process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        kept = list((tmp_path / "runs").glob("reheat/*/artifacts/replies.jsonl"))
        if kept and kept[0].read_text().count("\n") >= 20:
            process.send_signal(signal.SIGKILL)
        time.sleep(0.005)
    assert process.wait() == -signal.SIGKILL
    (run,) = (tmp_path / "runs" / "reheat").iterdir()
    found = measured(capsys, "--resume", run)
    assert server.count("ok") <= found["cost"]["calls"] + 4
    whole = measured(capsys, *model, *SMALL, "--runs", tmp_path / "whole")
    assert plain(found) == plain(whole)


# --- local weights -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pair(checkpoint):
    return ("--model", f"hf:{checkpoint()}", "--reference", f"hf:{checkpoint(seed=1)}")


@pytest.fixture(scope="module")
def compared(pair, tmp_path_factory):
    """A diagnosis of two random models, which several tests look at."""
    runs = tmp_path_factory.mktemp("runs")
    with pytest.raises(SystemExit) as stop:
        main(["reheat", "diagnose", *map(str, (*pair, *SMALL, "--runs", runs))])
    assert stop.value.code == 0
    (run,) = (runs / "reheat").iterdir()
    return run


def test_entropies_of_both_and_their_ratio(capsys, compared):
    found = measured(capsys, "--resume", compared)
    assert found["collapsed"] is False
    assert found["level"] == pytest.approx(0.67 * found["entropy_reference"])
    for name in ("entropy", "entropy_reference", "entropy_ratio", "pass_at_1", "zero_variance"):
        low, high = found[f"{name}_ci"]
        assert low <= found[name] <= high
    assert found["entropy_ratio"] == pytest.approx(found["entropy"] / found["entropy_reference"])
    assert found["entropy_p10"] <= found["entropy_p50"] <= found["entropy_p90"]
    assert {row.id for row in read_rows(compared, "probe")} == {"model", "reference"}
    [reference, model] = records(compared, "probe", EntropyProbe)
    assert reference.entropy_ref is None
    assert model.entropy_ref == reference.entropy.mean == pytest.approx(found["entropy_reference"])
    assert model.ratio == pytest.approx(found["entropy_ratio"])
    assert model.probe_set_hash == reference.probe_set_hash
    rows = [row for row in records(compared, "entropy", ProbeRow) if row.who == "model"]
    assert len(rows) == 5
    assert sum(row.num_tokens for row in rows) == found["entropy_num_tokens"]


def test_the_reference_is_asked_what_the_model_could_not_solve(compared):
    rows = {row.id: row.read(PromptRow) for row in read_rows(compared, "row")}
    ours = {name: row for name, row in rows.items() if row.who == "model"}
    assert len(ours) == 12
    hard = {name for name, row in ours.items() if row.c == 0}
    theirs = {row.item_id for row in rows.values() if row.who == "reference" and row.reach_n}
    assert theirs == hard == {name for name, row in ours.items() if row.reach_n}


def test_a_resume_draws_and_writes_nothing_anew(capsys, compared, monkeypatch):
    first = measured(capsys, "--resume", compared)

    def twice(*_):
        raise AssertionError("the entropies are known")

    monkeypatch.setattr("planish.methods.reheat.policy.entropies_of", twice)
    names = ("records.jsonl", "artifacts/replies.jsonl")
    before = [(compared / name).read_text() for name in names]
    code, _, err = call(capsys, "--resume", compared)
    assert code == 0
    assert "model: " in err
    assert "replies were there before" in err
    assert [(compared / name).read_text() for name in names] == before
    assert measured(capsys, "--resume", compared) == first


def test_stopped_by_hand_and_gone_on_with(capsys, pair, compared, runs, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Looking, "reach", stop)
        code, _, err = call(capsys, *pair, *SMALL, *runs)
    assert code == 130
    (run,) = (runs[1] / "reheat").iterdir()
    assert f"planish reheat diagnose --resume {run}" in err
    # The second model is cut at the end of its probe: it tells it again, the first does not.
    with monkeypatch.context() as patched:
        patched.setattr(TokenEntropy, "of", stop)
        assert call(capsys, "--resume", run)[0] == 130
    found = measured(capsys, "--resume", run)
    assert plain(found) == plain(measured(capsys, "--resume", compared))
    assert len({row.id for row in read_rows(run, "entropy")}) == 10


def test_the_screen_says_the_sentence_first_and_the_page_holds_both_figures(capsys, compared):
    code, out, _ = call(capsys, "--resume", compared)
    assert code == 0
    assert out.startswith("not collapsed: ")
    for words in ("of the reference entropy", "paired by prompt", "pass@2", "at least once in 3"):
        assert words in out
    page = (compared / "report.html").read_text()
    assert page.count("<figure") == 2
    for words in ("Every rate", "Unsolved prompts", "different replies in 4", "90 % below"):
        assert words in page


def test_runs_are_paired_by_prompt(capsys, pair, compared, runs):
    other = measured(capsys, *pair[2:], *SMALL, *runs, "--model", pair[3])["run"]
    with pytest.raises(SystemExit) as stop:
        main(["runs", "compare", str(compared), other, "--json"])
    assert stop.value.code == 0
    told = json.loads(capsys.readouterr().out)
    assert {row["name"] for row in told["paired"]} >= {"pass_at_1", "pass_at_2", "greedy"}
    assert all(row["n"] == 12 for row in told["paired"] if row["name"] == "pass_at_1")


def test_a_given_entropy_stands_for_a_reference(capsys, pair, runs):
    model = pair[:2]
    low = measured(capsys, *model, "--reference-entropy", 0.1, *SMALL, *runs)
    high = measured(capsys, *model, "--reference-entropy", 1000, *SMALL, *runs)
    assert (low["collapsed"], high["collapsed"]) == (False, True)
    assert high["entropy_ratio"] == pytest.approx(high["entropy"] / 1000)
    assert high["entropy_ratio_ci"][0] <= high["entropy_ratio"] <= high["entropy_ratio_ci"][1]
    assert high["sentence"].startswith("collapsed: 0% of the reference entropy; ")
    near = measured(capsys, *model, "--reference-entropy", low["entropy"] / 0.67, *SMALL, *runs)
    assert near["level_inside_interval"]


def test_two_draws_show_pass_at_1_once(capsys, pair, runs):
    code, out, err = call(capsys, *pair, *SMALL[:8], "--samples", 2, *runs)
    assert code == 0, err
    assert out.count("\n  pass@1 ") == 2  # of both policies, and their difference


def test_only_a_collapse_is_said_to_have_destroyed_anything(capsys, pair, runs):
    told = {}
    one, other = pair[1], pair[3]
    for model, reference in ((one, other), (other, one)):
        words = ("--model", model, "--reference", reference, "--collapse-ratio", 1)
        code, out, err = call(capsys, *words, *SMALL, *runs)
        assert code == 0, err
        assert "the reference solves the same prompts with probability" in out
        told[out.split(":")[0]] = "the collapse destroyed" in out
    assert told == {"collapsed": True, "not collapsed": False}


def test_as_many_draws_as_k_are_told_to_be_few(capsys, endpoint, runs):
    _, model = endpoint()
    code, out, err = call(capsys, *model, *SMALL, "--pass-k", 4, *runs)
    assert code == 0, err
    assert "pass@4 from 4 draws hangs on few of them: --samples 8" in out


def test_the_next_command_is_the_useful_one(capsys, pair, runs):
    model = pair[:2]
    [again] = next_commands(call(capsys, *model, *SMALL, *runs)[1])
    assert again[:3] == ["planish", "reheat", "diagnose"]
    again[again.index("hf:BEFORE")] = pair[3]
    code, out, err = call(capsys, *again[3:], *runs)
    assert code == 0, err
    [loop] = next_commands(out)
    assert loop[:3] == ["planish", "reheat", "loop"]
    _, out, _ = call(capsys, *model, "--reference-entropy", 1000, *SMALL, *runs)
    [thaw] = next_commands(out)
    assert thaw[:3] == ["planish", "reheat", "run"]
    assert thaw[thaw.index("--reference-entropy") + 1] == "1000.0"
    for words in (thaw, loop):
        assert words[words.index("--max-tokens") + 1] == "4"
        assert words[words.index("--probe-prompts") + 1] == "5"
    assert "--samples" in loop


def test_an_embedded_model_gets_the_tiny_settings(capsys, runs):
    found = measured(
        capsys,
        *("--model", "embedded:reasoner", "--task", "chain:3", "--report-prompts", 20),
        *("--reference", "embedded:reasoner", *runs),
    )
    assert found["entropy_ratio"] == 1
    assert found["samples"] == 16
    assert {"pass_at_1", "pass_at_2", "pass_at_4", "pass_at_8"} <= set(found)
    assert found["greedy"] > 0.9
    assert all(each["difference"] in (0, None) for each in found["differences"].values()), found[
        "differences"
    ]


def test_a_model_that_solves_everything_leaves_nothing_to_reach(capsys, runs):
    code, out, err = call(
        capsys,
        *("--model", "embedded:reasoner", "--task", "chain:2", "--report-prompts", 4),
        *("--probe-prompts", 2, *runs),
    )
    assert code == 0, err
    assert "nothing is out of reach" in out


# --- bad input ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--task", "chain:2"), "--model"),
        (("--model", "embedded:reasoner"), "--task"),
        (("--model", "embedded:none", "--task", "chain:2"), "no embedded model is called 'none'"),
        (("--model", "hf:./gone", "--task", "chain:2"), "no such folder"),
        (("--model", "what", "--task", "chain:2"), "does not name a model"),
        (("--model", "embedded:reasoner", "--task", "chess"), "no task is called"),
        (("--pass-k", 9), "pass@9 cannot be told from 8 draws"),
        (("--reference-entropy", 0), "must be above 0 nats"),
        (("--reference-entropy", "nan"), "must be above 0 nats"),
        (
            ("--reference-entropy", 1, "--reference", "embedded:reasoner"),
            "is given beside --reference",
        ),
        (("--reference", "openai:"), "does not name a model"),
        (("--reference", "hf:./gone"), "no such folder"),
        (("--probe-prompts", 0), "probe-prompts"),
        (("--samples", 1), "samples"),
        (("--resume", "gone"), "no run 'gone'"),
    ],
)
def test_bad_options_end_with_one_line_and_no_run(capsys, checkpoint, runs, options, words):
    if "--model" not in options and "--task" not in options and "--resume" not in options:
        options = ("--model", f"hf:{checkpoint()}", "--task", "chain:2", "--samples", 8, *options)
        if options.count("--samples") > 1:
            options = (*options[:4], *options[6:])
    code, out, err = call(capsys, *options, *runs)
    assert code == 2
    assert out == ""
    assert words in err
    assert "Traceback" not in err
    assert not (runs[1] / "reheat").exists()


def test_an_entropy_for_an_endpoint_is_refused(capsys, runs):
    err = refused(
        capsys, "--model", "openai:m@http://localhost:1/v1", "--reference-entropy", 1, *SMALL, *runs
    )
    assert "only local weights tell an entropy" in err


def test_another_vocabulary_is_refused_whether_in_size_or_in_words(capsys, checkpoint, runs, pair):
    larger = checkpoint(vocabulary=310)
    err = refused(capsys, *pair[:2], "--reference", f"hf:{larger}", *SMALL, *runs)
    assert "another vocabulary" in err
    assert "310 tokens, the model 300" in err
    other = checkpoint(tokenizer=make_tokenizer(eos_token="<|turn|>"), seed=2)
    words = json.loads((other / "tokenizer.json").read_text())
    vocabulary = words["model"]["vocab"]
    first, second = list(vocabulary)[100:102]
    vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]
    (other / "tokenizer.json").write_text(json.dumps(words))
    err = refused(capsys, *pair[:2], "--reference", f"hf:{other}", *SMALL, *runs)
    assert "not the same ones" in err
    assert not runs[1].exists()


@pytest.mark.parametrize("option", ["--model", "--reference"])
def test_a_temperature_that_was_left_in_a_config_is_refused(capsys, checkpoint, runs, pair, option):
    cold = checkpoint(seed=3)
    config = json.loads((cold / "config.json").read_text())
    (cold / "config.json").write_text(json.dumps(config | {"logit_scale": 0.5}))
    options = {"--model": pair[1], "--reference": pair[3], option: f"hf:{cold}"}
    err = refused(capsys, *(word for each in options.items() for word in each), *SMALL, *runs)
    assert "logit_scale is 0.5" in err
    assert "remove logit_scale" in err


def written(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_an_empty_probe_set_is_refused_and_an_endpoint_needs_none(
    capsys, checkpoint, endpoint, runs, tmp_path
):
    rows = [
        {"question": f"What is {i} + 1?", "target": str(i + 1), "split": "report"} for i in range(6)
    ]
    task = ("--task", written(tmp_path / "questions.jsonl", rows), "--max-tokens", 4, *runs)
    err = refused(capsys, "--model", f"hf:{checkpoint()}", *task)
    assert "has no question in 'gate'" in err
    assert "--probe-prompts" in err
    _, model = endpoint()
    found = measured(capsys, *model, *task, "--samples", 2, "--reach-samples", 2)
    assert found["num_prompts"] == 6


def test_a_probe_that_overlaps_the_report_is_refused(capsys, checkpoint, runs, monkeypatch):
    """No task of ours gives a prompt to two splits; one of somebody else's may."""
    from planish.tasks.chain import ChainTask

    one = ChainTask(2)
    monkeypatch.setattr(
        ChainTask,
        "examples",
        lambda self, split, limit, seed=0: iter([one.example("1 + 2"), one.example("3 + 4")]),
    )
    err = refused(capsys, "--model", f"hf:{checkpoint()}", *SMALL, *runs)
    assert "for reports asks what" in err
    assert "one split only" in err


def test_other_settings_other_weights_or_another_stage_do_not_go_on(
    capsys, compared, tmp_path, pair
):
    assert "samples = 4, this is 5" in refused(capsys, "--resume", compared, "--samples", 5)
    other = tmp_path / "other"
    other.mkdir()
    info = json.loads((compared / "run.json").read_text())
    (other / "run.json").write_text(json.dumps(info | {"stage": "loop"}))
    assert "is a run of reheat loop" in refused(capsys, "--resume", other)
    changed = info | {"config": info["config"] | {"model_fingerprint": "0" * 16}}
    (other / "run.json").write_text(json.dumps(changed | {"stage": "diagnose"}))
    assert "model_fingerprint" in refused(capsys, "--resume", other)


def test_help_names_every_option(capsys):
    code, out, _ = call(capsys, "--help")
    assert code == 0
    for option in ("--reference-entropy", "--pass-k", "--reach-samples", "--collapse-ratio"):
        assert option in out
