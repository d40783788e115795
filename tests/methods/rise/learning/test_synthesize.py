"""`planish rise synthesize` through the real command line: rows, counts, resume, bad input."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from planish.cli import main
from planish.judges import parse
from planish.judges.pairs import task_cases
from planish.judges.planted import planted_cases
from planish.judges.templates import named
from planish.methods.rise.learning import synthesize as stage
from planish.methods.rise.learning.config import SynthesisConfig
from planish.models.scripted import ScriptedModel, find_replies
from planish.records import Completion, Failure, read_jsonl, write_jsonl
from planish.runs.info import read_info
from planish.runs.presets import resolve
from planish.tasks.chain import ChainTask

META = {"item_id", "order", "gold", "source", "template", "template_hash", "question"}
META |= {"prompt_chars"}


def write_pairs(path, count=60, seed=1, **changes):
    write_jsonl(
        path,
        [
            {
                "id": case.id,
                "question": case.example.prompt[0].content,
                # Both replies of a planted pair, cut to the same length: nothing is dropped.
                "reply_a": case.replies[0].split(" I ")[0],
                "reply_b": case.replies[1].split(" I ")[0],
                "gold": case.gold,
                **changes,
            }
            for case in planted_cases(count, seed)
        ],
    )
    return path


@pytest.fixture
def pairs(tmp_path):
    return write_pairs(tmp_path / "pairs.jsonl")


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return stop.value.code, captured.out, captured.err


def synthesize(capsys, pairs, *more, teacher=None, out="out", template="plain"):
    code, printed, err = call(
        capsys,
        *("rise", "synthesize", "--pairs", pairs, "--out", pairs.parent / out),
        *("--teacher", teacher or f"scripted:noisy?p=0.8&pairs={pairs}"),
        *(("--template", template) if template else ()),
        *("--runs", pairs.parent / "runs", "--json", *more),
    )
    return code, json.loads(printed) if printed else None, err


def rows_of(folder, name):
    return [row for _, row in read_jsonl(Path(folder) / f"{name}.jsonl")]


def use(monkeypatch, script, name="scripted:test"):
    monkeypatch.setattr(stage, "load", lambda spec: ScriptedModel(name, script))


def golds(pairs):
    return {
        frozenset((row["reply_a"], row["reply_b"])): row[f"reply_{row['gold'].lower()}"]
        for _, row in read_jsonl(pairs)
    }


def label_for(chat, slot):
    """The verdict for a slot, in whatever labels the prompt asks for."""
    return f"[[{slot}>{'BA'[slot == 'B']}]]" if "[[A>B]]" in chat[-1].content else f"[[{slot}]]"


def gold_slot(chat, known):
    replies = find_replies(chat)
    return "AB"[replies.index(known[frozenset(replies)])]


# ---- stage sft ---------------------------------------------------------------------------------


def test_sft_rows_hold_the_teachers_words_where_they_name_the_gold(capsys, pairs):
    code, result, err = synthesize(capsys, pairs)
    assert code == 0, err
    rows, known = rows_of(pairs.parent / "out", "sft"), golds(pairs)
    assert len(rows) == result["num_rows"] > 60
    questions = {pair["id"]: pair["question"] for _, pair in read_jsonl(pairs)}
    for row in rows:
        assert {*row} == META | {"prompt", "completion", "sample", "completion_chars"}
        assert row["question"] == questions[row["item_id"]]
        [asked], [said] = row["prompt"], row["completion"]
        assert (asked["role"], said["role"]) == ("user", "assistant")
        replies = find_replies(tuple_of(row["prompt"]))
        verdict = parse(Completion(text=said["content"]), named("plain")).label
        assert verdict == row["gold"]
        assert replies["AB".index(verdict)] == known[frozenset(replies)]
        assert row["source"] == "sft"
        assert row["completion_chars"] == len(said["content"])
        assert row["template_hash"] == named("plain").hash
    assert Counter(row["gold"] for row in rows) == result["gold_slots"]
    assert result["gold_slots"]["A"] == result["gold_slots"]["B"]
    assert Counter(row["order"] for row in rows) == result["orders"]


def tuple_of(prompt):
    from planish.records import Message

    return tuple(Message(**turn) for turn in prompt)


def test_a_known_error_rate_is_what_is_dropped(capsys, tmp_path):
    pairs = write_pairs(tmp_path / "many.jsonl", count=500)
    teacher = f"scripted:noisy?p=0.8&null=0.05&pairs={pairs}"
    code, result, err = synthesize(capsys, pairs, teacher=teacher, out="many")
    assert code == 0, err
    wrong = result["dropped_rows"]["verdict is not the gold"]
    unread = result["dropped_rows"]["no verdict read (no_verdict)"]
    assert 0.05 * 1000 * 0.6 < unread < 0.05 * 1000 * 1.5
    assert 0.2 * 0.95 * 1000 * 0.8 < wrong < 0.2 * 0.95 * 1000 * 1.2
    # Within four standard deviations of what was planted.
    assert abs(result["call_accuracy"] - 0.8) < 4 * (0.8 * 0.2 / 950) ** 0.5
    assert abs(result["coverage"] - 0.95) < 4 * (0.95 * 0.05 / 1000) ** 0.5
    surplus = result["dropped_rows"].get("surplus of one gold slot", 0)
    assert result["num_rows_built"] + wrong + unread == 1000
    assert result["num_rows"] == result["num_rows_built"] - surplus


def test_every_pair_is_used_or_dropped_for_one_reason(capsys, pairs):
    for index, options in enumerate(([], ["--stage", "dpo"], ["--limit", "25"])):
        out = f"out-{index}"
        code, result, err = synthesize(capsys, pairs, *options, "--temperature", "1", out=out)
        assert code == 0, err
        assert result["num_items"] + result["num_dropped_items"] == result["num_pairs"]
        assert sum(result["dropped_items"].values()) == result["num_dropped_items"]
        name = options[1] if options[:1] == ["--stage"] else "sft"
        dropped = [row for _, row in read_jsonl(pairs.parent / out / f"{name}.dropped.jsonl")]
        assert Counter(row["why"] for row in dropped) == result["dropped_items"]
        used = {row["item_id"] for row in rows_of(pairs.parent / out, name)}
        assert used.isdisjoint(row["item_id"] for row in dropped)
        info = json.loads((Path(result["run"]) / "run.json").read_text())
        assert info["summary"]["dropped_items"] == result["dropped_items"]
        assert info["status"] == "done"
        assert (Path(result["run"]) / "report.html").stat().st_size > 1000
        assert index < 3


def test_text_output_tells_the_counts_and_what_comes_next(capsys, pairs):
    code, out, _ = call(
        capsys,
        *("rise", "synthesize", "--pairs", pairs, "--out", pairs.parent / "o"),
        *("--teacher", f"scripted:noisy?pairs={pairs}", "--template", "plain"),
        *("--runs", pairs.parent / "runs"),
    )
    assert code == 0
    for text in ("60 pairs", "bring rows", "verdict is not the gold", "rise train", "--sft"):
        assert text in out


def test_candidates_of_different_length_and_ties_are_dropped_before_any_call(capsys, pairs):
    lines = pairs.read_text().splitlines()
    long, tied = json.loads(lines[0]), json.loads(lines[1])
    long["reply_a"] += " and so on" * 9
    tied["gold"] = "tie"
    pairs.write_text("\n".join([json.dumps(long), json.dumps(tied), *lines[2:]]))
    code, result, _ = synthesize(capsys, pairs)
    assert code == 0
    assert result["dropped_items"]["one candidate is much longer"] == 1
    assert result["dropped_items"]["gold is a tie"] == 1
    assert result["num_judged"] == 58
    _, wider, _ = synthesize(capsys, pairs, "--length-ratio", "50", out="wider")
    assert wider["num_judged"] == 59


# ---- diverse prompts ---------------------------------------------------------------------------


def test_prompts_are_drawn_per_item_the_same_in_both_orders_and_stages(capsys, monkeypatch, pairs):
    known = golds(pairs)

    def script(chat, seed, sample):
        slot = gold_slot(chat, known)
        wrong = sample % 2 and len(chat[-1].content) % 2
        return f"因为 {sample}\n" + label_for(chat, "BA"["AB".index(slot)] if wrong else slot)

    use(monkeypatch, script)
    code, result, err = synthesize(capsys, pairs, template=None)
    assert code == 0, err
    rows = rows_of(pairs.parent / "out", "sft")
    by_item = {}
    for row in rows:
        by_item.setdefault(row["item_id"], set()).add(row["template_hash"])
    assert all(len(hashes) == 1 for hashes in by_item.values())
    assert result["num_templates"] > 40
    assert any("问题" in row["prompt"][0]["content"] for row in rows)
    assert any("The question" in row["prompt"][0]["content"] for row in rows)
    code, again, _ = synthesize(capsys, pairs, "--seed", "5", template=None, out="seeded")
    hashes = {
        row["item_id"]: row["template_hash"] for row in rows_of(pairs.parent / "seeded", "sft")
    }
    assert hashes != {row["item_id"]: row["template_hash"] for row in rows}
    assert again["num_templates"] > 40


def test_no_prompt_gives_the_gold_away(capsys, pairs):
    text = pairs.read_text().replace('"gold"', '"subset": "SECRET-SUBSET", "gold"')
    pairs.write_text(text)
    synthesize(capsys, pairs)
    rows = rows_of(pairs.parent / "out", "sft")
    swapped = Counter()
    for row in rows:
        prompt = row["prompt"][0]["content"]
        assert "SECRET" not in prompt
        assert "gold" not in prompt
        assert row["item_id"] not in prompt
        # What surrounds the replies is the same, whichever is right.
        for reply in find_replies(tuple_of(row["prompt"])):
            prompt = prompt.replace(reply, "")
        swapped[re.sub(r"What is .*", "", prompt)] += 1
    assert len(swapped) == 1


# ---- stage dpo ---------------------------------------------------------------------------------


def varied(known, rate):
    """A judge that words every draw anew and is right in `rate` of them."""

    def script(chat, seed, sample):
        right = gold_slot(chat, known)
        wrong = "BA"["AB".index(right)]
        words = "so " * (hash_of(chat, seed) % 7)
        return f"{words}{seed} {label_for(chat, right if rate(chat, seed) else wrong)}"

    return script


def hash_of(chat, seed):
    import hashlib

    return hashlib.sha256(f"{seed} {chat[-1].content}".encode()).digest()[0]


def test_dpo_rows_pair_right_with_wrong_on_one_prompt(capsys, monkeypatch, pairs):
    use(monkeypatch, varied(golds(pairs), lambda chat, seed: hash_of(chat, seed) % 100 < 55))
    code, result, err = synthesize(capsys, pairs, "--stage", "dpo", "--pairs-per-item", "6")
    assert code == 0, err
    rows = rows_of(pairs.parent / "out", "dpo")
    assert len(rows) == result["num_rows"] > 50
    for row in rows:
        assert {*row} == META | {
            *("prompt", "chosen", "rejected", "chosen_sample", "rejected_sample"),
            *("chosen_chars", "rejected_chars"),
        }
        verdicts = [
            parse(Completion(text=row[side][0]["content"]), named("plain")).label
            for side in ("chosen", "rejected")
        ]
        assert verdicts[0] == row["gold"] != verdicts[1]
        replies = find_replies(tuple_of(row["prompt"]))
        assert replies["AB".index(row["gold"])] == golds(pairs)[frozenset(replies)]
        # Both sides answer this very prompt: their words hang on it.
        assert (
            row["chosen"][0]["content"].count("so ")
            == hash_of(tuple_of(row["prompt"]), row["chosen_sample"]) % 7
        )
    per_item = Counter(row["item_id"] for row in rows)
    assert max(per_item.values()) <= 6
    assert result["gold_slots"]["A"] == result["gold_slots"]["B"]
    for slot in "AB":
        signs = [row["chosen_chars"] - row["rejected_chars"] for row in rows if row["gold"] == slot]
        assert sum(size > 0 for size in signs) == sum(size < 0 for size in signs)
    assert min(result["orders"].values()) > 0.3 * len(rows)
    assert result["num_hard"] + result["dropped_items"]["not hard: right in both orders"] == 60


def test_a_leaning_judge_yields_even_pairs_and_without_balance_the_other_lean(capsys, pairs):
    teacher = f"scripted:noisy?p=0.9&slot=0.6&pairs={pairs}"
    options = ("--stage", "dpo")
    code, result, err = synthesize(capsys, pairs, *options, teacher=teacher)
    assert code == 0, err
    assert result["gold_slots"]["A"] == result["gold_slots"]["B"] > 0
    assert min(result["orders"].values()) > 0
    options += ("--from-orders", "failed", "--no-balance")
    code, failed, err = synthesize(capsys, pairs, *options, teacher=teacher, out="failed")
    assert code == 0, err
    assert failed["gold_slots"]["B"] > 3 * failed["gold_slots"]["A"]
    assert "surplus of one gold slot" not in failed["dropped_rows"]


def test_a_chosen_judgment_can_be_asked_to_solve_the_item(capsys, tmp_path):
    pairs = tmp_path / "chains.jsonl"
    write_jsonl(pairs, task_cases(ChainTask(), split="train", limit=60))
    options = ("--stage", "dpo", "--preset", "tiny")
    teacher = "embedded:reasoner"
    code, result, err = synthesize(
        capsys, pairs, *options, "--require-solution", teacher=teacher, template=None
    )
    assert code == 0, err
    task = ChainTask()
    for row in rows_of(tmp_path / "out", "dpo"):
        question = row["prompt"][0]["content"].removeprefix("Q ").partition(" A ")[0]
        solution = row["chosen"][0]["content"].partition(" V")[0]
        assert task.verify(task.example(question), solution).score == 1
    code, free, _ = synthesize(capsys, pairs, *options, teacher=teacher, template=None, out="free")
    assert free["num_rows_built"] >= result["num_rows_built"]
    code, _, err = synthesize(capsys, pairs, "--require-solution", template="plain")
    assert code == 2
    assert "template plain" in err


def test_right_verdicts_on_wrong_solutions_are_told(capsys, monkeypatch, tmp_path):
    pairs = tmp_path / "chains.jsonl"
    cases = task_cases(ChainTask(), split="train", limit=80)
    write_jsonl(pairs, cases)
    known = {frozenset(case.replies): case for case in cases}
    planted = []

    def script(chat, seed, sample):
        replies = find_replies(chat)
        case, drawn = known[frozenset(replies)], hash_of(chat, seed)
        gold = "AB"[replies.index(case.replies["AB".index(case.gold)])]
        # Two thirds name the gold, half are solved, a few hold no solution or no verdict.
        right, solved = drawn % 3 > 0, None if drawn % 10 == 0 else drawn % 2 == 0
        read = drawn % 17 != 0
        planted.append((right and read, solved, read))
        wrong = int(case.example.target) + 1
        said = {True: case.example.target, False: wrong, None: None}[solved]
        words = "" if said is None else f"<solution> {said} </solution> "
        slot = gold if right else "BA"["AB".index(gold)]
        return f"{words}<answer>[[{slot}]]</answer>" if read else words

    use(monkeypatch, script)
    options = ("--min-coverage", "0.5")
    code, result, err = synthesize(capsys, pairs, *options, template="solve_first")
    assert code == 0, err
    checked = [(right, solved) for right, solved, read in planted if read and solved is not None]
    lucky = sum(right and not solved for right, solved in checked)
    assert 0 < lucky < len(checked) < len(planted) == 160
    assert result["lucky_rate"] == pytest.approx(lucky / len(checked))
    assert "right verdict, wrong solution" in (Path(result["run"]) / "report.html").read_text()
    code, out, _ = call(capsys, "rise", "synthesize", "--resume", result["run"])
    assert code == 0
    assert "right verdict, wrong solution" in out


def test_without_a_checked_solution_there_is_no_such_share(capsys, pairs):
    code, result, err = synthesize(capsys, pairs)
    assert code == 0, err
    assert "lucky_rate" not in result
    report = (Path(result["run"]) / "report.html").read_text()
    assert "right verdict, wrong solution" not in report


def test_the_tiny_world_works_end_to_end_and_its_rows_can_be_trained_on(capsys, tmp_path):
    pairs = tmp_path / "chains.jsonl"
    write_jsonl(pairs, task_cases(ChainTask(), split="train", limit=60))
    report = tmp_path / "report.jsonl"
    write_jsonl(report, task_cases(ChainTask(), split="report", limit=60))
    results = {}
    for name in ("sft", "dpo"):
        code, results[name], err = synthesize(
            capsys,
            pairs,
            *("--preset", "tiny", "--stage", name, "--report-pairs", report),
            teacher="embedded:reasoner",
            template=None,
        )
        assert code == 0, err
    assert 0.4 < results["sft"]["call_accuracy"] < 0.9
    assert results["dpo"]["num_hard"] > 10
    rows = pytest.importorskip("planish.training.rows")
    for name in ("sft", "dpo"):
        for suffix in ("jsonl", "parquet"):
            read = rows.read_rows(tmp_path / "out" / f"{name}.{suffix}", name)
            assert len(read) == results[name]["num_rows"]
            assert {row.gold for row in read} == {"A", "B"}


def test_datasets_reads_both_files_with_the_columns_that_trl_wants(capsys, pairs):
    datasets = pytest.importorskip("datasets")
    for name, wanted in (("sft", ["completion"]), ("dpo", ["chosen", "rejected"])):
        code, result, _ = synthesize(capsys, pairs, "--stage", name)
        assert code == 0
        loaded = {
            kind: datasets.load_dataset(
                kind,
                data_files=str(pairs.parent / "out" / f"{name}.{suffix}"),
                split="train",
                cache_dir=str(pairs.parent / "cache"),
            )
            for kind, suffix in (("json", "jsonl"), ("parquet", "parquet"))
        }
        for found in loaded.values():
            assert len(found) == result["num_rows"]
            for column in ("prompt", *wanted):
                turns = found[0][column]
                assert {*turns[0]} == {"role", "content"}
                assert turns[-1]["role"] == ("user" if column == "prompt" else "assistant")
        assert list(loaded["json"]) == list(loaded["parquet"])


# ---- going on ----------------------------------------------------------------------------------


class Stops:
    """A judge that is interrupted, or loses calls, and counts what it is asked."""

    def __init__(self, script, stop_at=None, lost=lambda asked: False, kinds=("timeout",)):
        self.script, self.stop_at, self.lost, self.asked = script, stop_at, lost, 0
        self.kinds = kinds

    def __call__(self, chat, seed, sample):
        if self.asked == self.stop_at:
            raise KeyboardInterrupt
        self.asked += 1
        if self.lost(self.asked):
            failure = Failure(attempt=1, kind=self.kinds[self.asked % len(self.kinds)])
            return Completion(text="", finish="error", failures=(failure,))
        return self.script(chat, seed, sample)


@pytest.mark.parametrize("name", ["sft", "dpo"])
def test_an_interrupted_run_goes_on_without_repeating_a_call(capsys, monkeypatch, pairs, name):
    script = varied(golds(pairs), lambda chat, seed: hash_of(chat, seed) % 100 < 60)
    use(monkeypatch, script)
    options = ("--stage", name)
    _, whole, _ = synthesize(capsys, pairs, *options)
    stops = Stops(script, stop_at=50)
    use(monkeypatch, stops)
    code, _, err = synthesize(capsys, pairs, *options, out="again")
    assert code == 130
    assert "planish rise synthesize --resume" in err
    [run] = {*pairs.parent.glob("runs/rise/*")} - {Path(whole["run"])}
    info = json.loads((run / "run.json").read_text())
    assert info["status"] == "interrupted"
    goes_on = Stops(script)
    use(monkeypatch, goes_on)
    code, out, err = call(capsys, "rise", "synthesize", "--resume", run, "--json")
    assert code == 0, err
    assert stops.asked == 50
    calls = sum(whole["statuses"].values())
    # A script's draws hang on their number, so a chat that was cut is asked for from its start.
    assert goes_on.asked <= calls - 50 + (7 if name == "dpo" else 0)
    again = json.loads(out)
    for suffix in ("jsonl", "parquet", "dropped.jsonl"):
        files = [pairs.parent / folder / f"{name}.{suffix}" for folder in ("out", "again")]
        assert files[0].read_bytes() == files[1].read_bytes()
    assert {**again, "run": 0, "files": 0, "report": 0} == {
        **whole, "run": 0, "files": 0, "report": 0
    }  # fmt: skip
    # Once more: nothing is left to do, and nothing is recorded twice.
    idle = Stops(script)
    use(monkeypatch, idle)
    code, _, _ = call(capsys, "rise", "synthesize", "--resume", run, "--json")
    assert (code, idle.asked) == (0, 0)
    records = [row["id"] for _, row in read_jsonl(run / "records.jsonl")]
    assert len(records) == len(set(records)) == 60


def test_resume_with_other_settings_is_refused(capsys, pairs):
    _, whole, _ = synthesize(capsys, pairs)
    for options, field in [
        (["--stage", "dpo"], "stage"),
        (["--no-balance"], "balance"),
        (["--teacher", "scripted:tie"], "teacher"),
        (["--out", pairs.parent / "elsewhere"], "out"),
        (["--report-pairs", write_pairs(pairs.parent / "r.jsonl", seed=9)], "report_pairs"),
    ]:
        code, _, err = call(capsys, "rise", "synthesize", "--resume", whole["run"], *options)
        assert code == 2
        assert field in err
    pairs.write_text(pairs.read_text().replace("plus", "and"))
    code, _, err = call(capsys, "rise", "synthesize", "--resume", whole["run"])
    assert code == 2
    assert "pairs_sha256" in err


def test_lost_calls_are_counted_and_too_many_fail_the_run(capsys, monkeypatch, pairs):
    known = golds(pairs)
    script = varied(known, lambda chat, seed: True)
    use(monkeypatch, Stops(script, lost=lambda asked: asked % 20 == 0))
    code, result, _ = synthesize(capsys, pairs)
    assert code == 0
    assert result["statuses"] == {"ok": 114, "transport": 6}
    assert result["dropped_rows"]["no verdict read (transport)"] == 6
    use(monkeypatch, Stops(script, lost=lambda asked: asked % 4 == 0))
    code, result, err = synthesize(capsys, pairs, out="lost")
    assert code == 1
    assert "30 of 120 calls brought no reply (timeout 30), the first at item " in err
    assert not (pairs.parent / "lost" / "sft.jsonl").exists()
    assert json.loads((Path(result["run"]) / "run.json").read_text())["status"] == "failed"
    use(monkeypatch, script)
    code, out, err = call(capsys, "rise", "synthesize", "--resume", result["run"], "--json")
    assert code == 0, err
    assert json.loads(out)["statuses"] == {"ok": 120}


def test_a_prompt_that_does_not_fit_is_told_what_helps(capsys, monkeypatch, pairs):
    script = varied(golds(pairs), lambda chat, seed: True)
    helps = "use a model with a longer context, leave such items out, or lower --max-tokens"
    use(monkeypatch, Stops(script, lost=lambda asked: asked <= 30, kinds=["context"]))
    code, _, err = synthesize(capsys, pairs)
    assert code == 1
    assert f"asking again cannot help: {helps}" in err
    assert "--resume" not in err
    kinds = ["context", "timeout"]
    use(monkeypatch, Stops(script, lost=lambda asked: asked <= 30, kinds=kinds))
    code, result, err = synthesize(capsys, pairs, out="both")
    assert code == 1
    assert f"--resume {result['run']}; where a prompt does not fit, {helps}" in err


@pytest.mark.parametrize("name", ["sft", "dpo"])
def test_recorded_replies_make_the_same_rows_without_a_model(capsys, monkeypatch, pairs, name):
    script = varied(golds(pairs), lambda chat, seed: hash_of(chat, seed) % 100 < 60)
    options = ("--stage", name)
    with monkeypatch.context() as patch:
        use(patch, script)
        _, asked, _ = synthesize(capsys, pairs, *options)
    recorded = Path(asked["run"]) / "artifacts" / "replies.jsonl"
    code, again, err = synthesize(capsys, pairs, *options, teacher=f"replay:{recorded}", out="re")
    assert code == 0, err
    for suffix in ("jsonl", "parquet", "dropped.jsonl"):
        files = [pairs.parent / folder / f"{name}.{suffix}" for folder in ("out", "re")]
        assert files[0].read_bytes() == files[1].read_bytes()
    assert again["num_rows"] == asked["num_rows"] > 20
    # What a replay wrote down can be replayed in turn.
    second = Path(again["run"]) / "artifacts" / "replies.jsonl"
    code, _, err = synthesize(capsys, pairs, *options, teacher=f"replay:{second}", out="third")
    assert code == 0, err
    files = [pairs.parent / folder / f"{name}.jsonl" for folder in ("out", "third")]
    assert files[0].read_bytes() == files[1].read_bytes()
    # Nothing is made up: another prompt was never answered.
    code, _, err = synthesize(
        capsys, pairs, *options, teacher=f"replay:{recorded}", out="other", template="rise"
    )
    assert code == 2
    assert f"{recorded}: no reply was recorded for the chat" in err
    assert not list((pairs.parent / "other").glob("*"))


# ---- bad input ---------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_training_refuses_rows_whose_question_is_in_the_report(capsys, pairs, ending):
    assert synthesize(capsys, pairs)[0] == 0
    rows, report = rows_of(pairs.parent / "out", "sft"), pairs.parent / "report.jsonl"
    asked = rows[3]["question"].upper()
    row = {"id": "other", "question": asked, "reply_a": "1", "reply_b": "2", "gold": "A"}
    write_jsonl(report, [row])
    code, _, err = call(
        capsys,
        *("rise", "train", "--model", "embedded:reasoner", "--out", pairs.parent / "judge"),
        *("--sft", pairs.parent / "out" / f"sft.{ending}", "--report-pairs", report),
    )
    assert code == 2
    count = sum(row["question"].upper() == asked for row in rows)
    assert f"{report}: {count} of {len(rows)} rows are also in the report" in err
    assert f"the first is {rows[3]['item_id']} (report item other: same question)" in err


def test_one_flag_takes_several_files_of_the_report(capsys, pairs):
    reports = [write_pairs(pairs.parent / f"{seed}.jsonl", count=8, seed=seed) for seed in (2, 3)]
    code, result, err = synthesize(capsys, pairs, "--report-pairs", *reports)
    assert code == 0, err
    plan = read_info(Path(result["run"])).config
    assert plan["report_pairs"] == [str(path) for path in reports]
    reports[1].write_text(pairs.read_text())
    code, _, err = synthesize(capsys, pairs, "--report-pairs", *reports, out="other")
    assert code == 2
    assert f"{reports[1]}: 60 of 60 items are also in the report" in err


def test_report_items_in_training_stop_the_command_before_any_call(capsys, monkeypatch, pairs):
    def never(chat, seed, sample):
        raise AssertionError("asked")

    use(monkeypatch, never)
    report = write_pairs(pairs.parent / "report.jsonl", count=8, seed=2)
    first = json.loads(pairs.read_text().splitlines()[3])
    rows = [json.loads(line) for line in report.read_text().splitlines()]
    for change, why in [
        ({"id": first["id"]}, "same id"),
        ({"question": first["question"].upper() + "  "}, "same question"),
    ]:
        write_jsonl(report, [*rows[:5], {**rows[5], **change}])
        code, _, err = synthesize(capsys, pairs, "--report-pairs", report)
        assert code == 2
        assert f"1 of 60 items are also in the report, the first is {first['id']}" in err
        assert why in err
        assert str(report) in err
    assert not (pairs.parent / "runs").exists()
    assert not (pairs.parent / "out").exists()


def test_nearly_the_same_question_stops_the_command(capsys, tmp_path):
    question = (
        "A farmer has twelve brown hens and four white ducks, and every bird lays one egg each "
        "morning; how many eggs are in the basket at noon?"
    )
    row = {"question": question, "reply_a": "16", "reply_b": "12", "gold": "A"}
    pairs, report = tmp_path / "pairs.jsonl", tmp_path / "report.jsonl"
    other = {"id": "b", "question": "2 + 2?", "reply_a": "5", "reply_b": "4", "gold": "B"}
    write_jsonl(pairs, [{"id": "a", **row}, other])
    write_jsonl(report, [{"id": "c", **row, "question": question.replace("brown", "red")}])
    options = ("--report-pairs", report)
    code, _, err = synthesize(capsys, pairs, *options, teacher="scripted:longest")
    assert code == 2
    assert "nearly the same question" in err
    code, _, err = synthesize(
        capsys,
        pairs,
        *options,
        "--near-duplicate",
        "0.99",
        teacher=f"scripted:noisy?pairs={pairs}&p=1",
    )
    assert code == 0, err


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"gold": "A"}, "gold label is A in all of 60 decided pairs, the first is planted-1-0"),
        ({"gold": "tie"}, "of 0 decided pairs, the first is planted-1-0"),
        ({"gold": None}, "60 of 60 pairs have no gold label, the first is planted-1-0"),
        ({"reply_a": "x  y", "reply_b": "x y "}, "60 of 60 pairs hold twice the same reply"),
    ],
)
def test_pairs_that_teach_nothing_exit_2(capsys, tmp_path, change, complaint):
    pairs = write_pairs(tmp_path / "pairs.jsonl", **change)
    code, _, err = synthesize(capsys, pairs, teacher="scripted:longest")
    assert code == 2
    assert complaint in err
    assert not (tmp_path / "runs").exists()


def test_a_teacher_below_the_floor_exits_2_and_its_replies_are_kept(capsys, pairs):
    teacher = f"scripted:noisy?p=1&null=0.3&pairs={pairs}"
    code, _, err = synthesize(capsys, pairs, teacher=teacher)
    assert code == 2
    assert re.search(r"\d+ of 120 judgments hold no verdict \(coverage 0\.\d+, floor 0\.9\)", err)
    assert "first is of item planted-1-" in err
    assert not (pairs.parent / "out" / "sft.jsonl").exists()
    [cache] = re.findall(r"--cache (\S+),", err)
    code, result, err = synthesize(
        capsys, pairs, "--min-coverage", "0.5", "--cache", cache, teacher=teacher
    )
    assert code == 0, err
    assert "120 of 120 judgments were there before" in err
    assert 0.5 < result["coverage"] < 0.9


@pytest.mark.parametrize(
    ("model", "options", "complaint"),
    [
        ("scripted:noisy?p=1", ["--stage", "dpo"], "hard set is empty: all 60 items are right"),
        ("scripted:noisy?p=0", ["--stage", "dpo"], "none of 60 hard items has both"),
        ("scripted:noisy?p=0", [], "none of 60 items has a judgment that names the gold"),
        ("scripted:tie?", [], "none of 60 items has a judgment that names the gold"),
    ],
)
def test_an_empty_result_exits_2_with_count_and_first(capsys, pairs, model, options, complaint):
    teacher = f"{model}&pairs={pairs}" if "noisy" in model else model.rstrip("?")
    code, _, err = synthesize(capsys, pairs, *options, teacher=teacher)
    assert code == 2
    assert complaint in err
    assert "first is planted-1-0" in err.replace("the first is", "first is")
    assert not list(pairs.parent.glob("out/*.jsonl"))


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--samples", "4", "--temperature", "0"], "--samples"),
        (["--require-solution", "--template", "solve_first"], "target"),
        (["--limit", "0"], "--limit"),
        (["--template", "rating"], "rating"),
        (["--teacher", "scripted:nobody"], "nobody"),
        (["--report-pairs", "nowhere.jsonl"], "nowhere.jsonl"),
        (["--length-ratio", "0.5"], "--length-ratio"),
        (["--temperature", "inf"], "--temperature"),
        (["--near-duplicate", "0"], "--near-duplicate"),
        (["--stage", "rl"], "stage"),
    ],
)
def test_bad_options_leave_no_run(capsys, pairs, options, complaint):
    teacher = () if "--teacher" in options else ("--teacher", "scripted:longest")
    template = () if "--template" in options else ("--template", "plain")
    code, _, err = call(
        capsys,
        *("rise", "synthesize", "--pairs", pairs, "--out", pairs.parent / "out"),
        *("--runs", pairs.parent / "runs", *teacher, *template, *options),
    )
    assert code == 2, err
    assert complaint in err
    assert len(err.strip().splitlines()) == 1
    assert not (pairs.parent / "runs").exists()


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_rows_of_another_run_are_not_written_over(capsys, pairs, ending):
    code, made, err = synthesize(capsys, pairs)
    assert code == 0, err
    kept = pairs.parent / "out" / f"sft.{ending}"
    before = kept.read_bytes()
    for name in ("jsonl", "parquet"):
        if name != ending:
            (pairs.parent / "out" / f"sft.{name}").unlink()
    code, _, err = synthesize(capsys, pairs, "--seed", 3)
    assert code == 2
    assert "holds sft rows already" in err
    assert kept.read_bytes() == before
    assert len(list((pairs.parent / "runs" / "rise").iterdir())) == 1
    assert call(capsys, "rise", "synthesize", "--resume", made["run"])[0] == 0


def test_what_is_missing_is_named(capsys, pairs):
    given = {"--pairs": pairs, "--teacher": "scripted:tie", "--out": pairs.parent / "out"}
    for name in given:
        rest = [part for pair in given.items() if pair[0] != name for part in pair]
        code, _, err = call(capsys, "rise", "synthesize", *rest)
        assert code == 2
        assert f"{name}: is missing" in err
    (pairs.parent / "file").write_text("")
    code, _, err = synthesize(capsys, pairs, out="file")
    assert code == 2
    assert "--out" in err


def test_presets_are_a_start_that_flags_override():
    assert resolve("tiny", SynthesisConfig(max_tokens=7)).max_tokens == 7
    assert resolve("tiny", SynthesisConfig(max_tokens=7)).template == "chain"
    paper = SynthesisConfig.paper()
    assert (paper.num_samples("sft"), paper.num_samples("dpo")) == (1, 8)
    assert paper.sampling("sft").temperature == 0
    assert paper.sampling("dpo").temperature == 1
    assert SynthesisConfig.laptop().max_tokens < paper.max_tokens
