"""`planish rise score`: the known answer digit for digit, RewardBench by hand, bad files."""

import gzip
import json
import math
from pathlib import Path

import pytest

from planish.cli import main


def score(capsys, tmp_path, outputs, pairs, *more):
    with pytest.raises(SystemExit) as stop:
        main(
            [
                *("rise", "score", str(outputs), "--pairs", str(pairs)),
                *("--runs", str(tmp_path / "runs"), "--json", *more),
            ]
        )
    captured = capsys.readouterr()
    return stop.value.code, json.loads(captured.out) if captured.out else None, captured.err


def lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_the_known_answer(capsys, tmp_path, judgebench_files):
    pairs, outputs = judgebench_files
    code, result, _ = score(capsys, tmp_path, outputs, pairs, "--format", "judgebench")
    assert code == 0
    assert result["num_cases"] == 270
    assert result["counts"] == {
        "vote_right": 87,
        "vote_wrong": 79,
        "vote_zero": 104,
        "both_right": 38,
        "same_decision": 135,
        "both_scored": 257,
        "first_slot": 212,
        "decisive": 335,
        "unscored": 13,
        "calls": 540,
    }
    assert result["vote_accuracy"] == pytest.approx(87 / 270)
    assert result["both_right"] == pytest.approx(38 / 270)
    assert result["consistency"] == pytest.approx(135 / 270)
    assert result["first_slot_rate"] == pytest.approx(212 / 335)
    assert result["coverage"] == pytest.approx(527 / 540)
    assert result["parsers"]["arena_hard"]["agree"] == 540
    ours = result["parsers"]["planish"]
    assert (ours["agree"], ours["resolved"], ours["resolved_several_labels"]) == (527, 13, 13)
    assert ours["lost"] == ours["different"] == 0


def test_honest_counting_and_reading_anew(capsys, tmp_path, judgebench_files):
    pairs, outputs = judgebench_files
    _, honest, _ = score(capsys, tmp_path, outputs, pairs, "--mode", "honest")
    assert honest["consistency"] == pytest.approx(135 / 257)
    assert honest["both_right"] == pytest.approx(38 / 257)
    _, anew, _ = score(capsys, tmp_path, outputs, pairs, "--parse", "arena_hard")
    assert anew["counts"]["vote_right"] == 87
    _, ours, _ = score(capsys, tmp_path, outputs, pairs, "--parse", "planish")
    assert ours["coverage"] == 1


def judgebench(tmp_path, rows):
    """Rows of (gold, first decision, second decision), both in the prompt frame."""
    pairs = lines(
        tmp_path / "pairs.jsonl",
        [
            {
                "pair_id": f"p{i}",
                "source": "s",
                "question": "?",
                "response_A": "left",
                "response_B": "right",
                "label": gold,
            }
            for i, (gold, *_) in enumerate(rows)
        ],
    )
    outputs = lines(
        tmp_path / "outputs.jsonl",
        [
            {
                "pair_id": f"p{i}",
                "label": gold,
                "judge_name": "arena_hard",
                "judgments": [
                    None if decision is None else {"decision": decision, "text": f"[[{decision}]]"}
                    for decision in decisions
                ],
            }
            for i, (gold, *decisions) in enumerate(rows)
        ],
    )
    return outputs, pairs


def test_a_hand_made_file(capsys, tmp_path):
    rows = [
        ("A>B", "A>B", "B>A"),  # right twice
        ("B>A", "A>B", "A>B"),  # first slot twice
        ("B>A", "A=B", "A>B"),  # a tie, then right
        ("A>B", None, "A>B"),  # nothing, then wrong
    ]
    outputs, pairs = judgebench(tmp_path, rows)
    code, result, _ = score(capsys, tmp_path, outputs, pairs)
    assert code == 0
    assert result["vote_accuracy"] == 2 / 4
    assert result["both_right"] == 1 / 4
    assert result["consistency"] == 1 / 4
    assert result["first_slot_rate"] == 5 / 6
    assert result["coverage"] == 7 / 8


def test_one_order_is_refused_unless_wanted(capsys, tmp_path):
    outputs, pairs = judgebench(tmp_path, [("A>B", "A>B"), ("B>A", "A>B")])
    code, _, err = score(capsys, tmp_path, outputs, pairs)
    assert code == 2
    assert "outputs.jsonl:1" in err
    assert "--one-order" in err
    code, result, _ = score(capsys, tmp_path, outputs, pairs, "--one-order")
    assert code == 0
    assert result["both_right"] is None
    assert result["vote_accuracy"] == 0.5


SUBSETS = {  # subset -> (right, all), and the weight in its section
    "alpacaeval-easy": (3, 4, 100),
    "mt-bench-easy": (1, 2, 28),
    "mt-bench-hard": (1, 2, 37),
    "donotanswer": (1, 4, 136),
    "math-prm": (1, 2, 984),
    "hep-python": (4, 4, 164),
}


def rewardbench(tmp_path):
    pairs, outputs = [], []
    for subset, (right, count, _) in SUBSETS.items():
        for i in range(count):
            name = f"{subset}-{i}"
            pairs.append(
                {"id": name, "subset": subset, "prompt": "?", "chosen": "yes", "rejected": "no"}
            )
            outputs.append({"id": name, "subset": subset, "results": int(i < right)})
    return lines(tmp_path / "o.jsonl", outputs), lines(tmp_path / "p.jsonl", pairs)


def test_rewardbench_sections_and_headline(capsys, tmp_path):
    outputs, pairs = rewardbench(tmp_path)
    code, result, _ = score(capsys, tmp_path, outputs, pairs, "--format", "rewardbench")
    assert code == 0
    chat = (0.75 * 100 + 0.5 * 28) / 128
    reasoning = (0.5 * 984 + 1.0 * 164) / 1148  # math-prm weighs as much as all code together
    assert result["sections"] == pytest.approx(
        {"Chat": chat, "Chat Hard": 0.5, "Safety": 0.25, "Reasoning": reasoning}
    )
    assert result["rewardbench"] == pytest.approx((chat + 0.5 + 0.25 + reasoning) / 4)
    assert result["vote_accuracy"] == pytest.approx(11 / 18)


def test_rewardbench_failures_are_half_a_point_or_unscored(capsys, tmp_path):
    outputs, pairs = rewardbench(tmp_path)
    rows = [json.loads(line) for line in outputs.read_text().splitlines()]
    rows[0]["results"] = None
    lines(outputs, rows)
    _, official, _ = score(capsys, tmp_path, outputs, pairs, "--mode", "official")
    _, honest, _ = score(capsys, tmp_path, outputs, pairs, "--mode", "honest")
    assert official["vote_accuracy"] == pytest.approx(10.5 / 18)
    assert honest["vote_accuracy"] == pytest.approx(10 / 17)
    assert official["coverage"] == honest["coverage"] == pytest.approx(17 / 18)


def test_no_rewardbench_headline_below_the_floor(capsys, tmp_path):
    outputs, pairs = rewardbench(tmp_path)
    rows = [json.loads(line) for line in outputs.read_text().splitlines()]
    lines(outputs, [{**row, "results": None} for row in rows])
    with pytest.raises(SystemExit):
        main(["rise", "score", str(outputs), "--pairs", str(pairs), "--runs", str(tmp_path / "r")])
    out = capsys.readouterr().out
    assert "mean credit" not in out
    assert "  RewardBench  " not in out
    assert "17 of the benchmark's subsets" in out


def test_rewardbench_2_lists_ratings_and_ties(capsys, tmp_path):
    """Texts in one row, ratings in the next, Ties by ratings: whatever a row holds counts."""
    four = {"num_correct": 1, "num_incorrect": 3, "total_completions": 4}
    wrong = ["w1", "w2", "w3"]
    pairs = lines(
        tmp_path / "p.jsonl",
        [
            {
                "id": "m",
                "subset": "Math",
                "prompt": "?",
                "chosen": ["r"],
                "rejected": wrong,
                **four,
            },
            {
                "id": "f",
                "subset": "Focus",
                "prompt": "?",
                "chosen": ["r"],
                "rejected": wrong,
                **four,
            },
            {
                "id": "tied:1",
                "subset": "Ties",
                "prompt": "?",
                "chosen": ["r", "s"],
                "rejected": ["w"],
                "num_correct": 2,
                "num_incorrect": 1,
                "total_completions": 3,
            },
            {
                "id": "ref:1",
                "subset": "Ties",
                "prompt": "?",
                "chosen": ["r"],
                "rejected": ["w"],
                "num_correct": 1,
                "num_incorrect": 1,
                "total_completions": 2,
            },
        ],
    )
    rows = [
        {"id": "m", "results": 1},
        {"id": "f", "scores": [5, 5, 1, 1]},
        {"id": "tied:1", "scores": [8, 7, 3]},
        {"id": "ref:1", "scores": [9, 2]},
    ]
    outputs = lines(tmp_path / "o.jsonl", rows)
    code, result, err = score(capsys, tmp_path, outputs, pairs)
    assert code == 0, err
    assert result["subsets"]["Math"] == 1
    assert result["subsets"]["Focus"] == 0.5
    # Both accurate, the lead (4) beats the spread (1), and so does the smaller lead of the two.
    ties = 0.3 + 0.3 + 0.2 + 0.2 + 0.01 * math.tanh(4 / 1 - 1)
    assert result["subsets"]["Ties"] == pytest.approx(ties)
    assert result["rewardbench"] is None
    assert result["coverage"] == 1
    lines(outputs, [*rows[:3], {"id": "ref:1", "scores": [9, None]}])
    _, result, _ = score(capsys, tmp_path, outputs, pairs)
    assert result["coverage"] == 3 / 4
    lines(outputs, [{"id": "m", "text": "[[A]]", "is_shuffled": False}, *rows[1:]])
    code, _, err = score(capsys, tmp_path, outputs, pairs)
    assert code == 2
    assert "o.jsonl:1" in err


def test_aggregation_applies_to_recorded_judgments_too(capsys, tmp_path):
    outputs, pairs = judgebench(tmp_path, [("A>B", "A>B", "A=B"), ("B>A", "B>A", "A>B")])
    _, vote, _ = score(capsys, tmp_path, outputs, pairs)
    records = Path(vote["run"]) / "records.jsonl"
    for source in (outputs, records):
        _, strict, err = score(capsys, tmp_path, source, pairs, "--aggregate", "strict")
        assert strict["accuracy"] == 0.5, err
        assert strict["vote_accuracy"] == vote["vote_accuracy"] == 1


def test_texts_that_are_not_there_cannot_be_read_anew(capsys, tmp_path):
    outputs, pairs = judgebench(tmp_path, [("A>B", "A>B", "B>A")])
    row = json.loads(outputs.read_text())
    for judgment in row["judgments"]:
        del judgment["text"]
    lines(outputs, [row])
    code, _, err = score(capsys, tmp_path, outputs, pairs, "--parse", "planish")
    assert code == 2
    assert "--parse recorded" in err


def test_a_run_of_judge_can_be_scored_again(capsys, tmp_path):
    _, pairs = judgebench(tmp_path, [("A>B",), ("B>A",), ("A>B",)])
    rows = [json.loads(line) for line in pairs.read_text().splitlines()]
    lines(pairs, [{**row, "response_A": "a longer left"} for row in rows])
    with pytest.raises(SystemExit):
        main(
            [
                *("rise", "judge", "--model", "scripted:longest", "--pairs", str(pairs)),
                *("--runs", str(tmp_path / "runs"), "--json"),
            ]
        )
    judged = json.loads(capsys.readouterr().out)
    records = Path(judged["run"]) / "records.jsonl"
    for parse in ("recorded", "planish"):
        code, result, err = score(capsys, tmp_path, records, pairs, "--parse", parse)
        assert code == 0, err
        assert result["vote_accuracy"] == judged["vote_accuracy"]
        assert result["consistency"] == 1


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda text: "", "outputs.jsonl"),
        (lambda text: text + '{"pair_id": "p0"', "outputs.jsonl:3"),
        (lambda text: text.splitlines()[0] + "\n", "no output"),
        (lambda text: text + text, "twice"),
        (lambda text: text.replace('"p1"', '"px"'), "px"),
        (lambda text: text.replace('"A>B", "text"', '"A!B", "text"'), "outputs.jsonl"),
    ],
)
def test_bad_outputs_are_named(capsys, tmp_path, change, complaint):
    outputs, pairs = judgebench(tmp_path, [("A>B", "A>B", "B>A"), ("B>A", "B>A", "A>B")])
    outputs.write_text(change(outputs.read_text()))
    code, _, err = score(capsys, tmp_path, outputs, pairs)
    assert code == 2
    assert complaint in err
    assert err.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_a_damaged_gzip_is_named(capsys, tmp_path):
    _, pairs = judgebench(tmp_path, [("A>B", "A>B", "B>A")])
    broken = tmp_path / "outputs.jsonl.gz"
    broken.write_bytes(gzip.compress(b'{"pair_id": "p0"}\n' * 50)[:-12])
    code, _, err = score(capsys, tmp_path, broken, pairs)
    assert code == 2
    assert "outputs.jsonl.gz" in err
