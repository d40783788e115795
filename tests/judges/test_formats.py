"""Reading pairs and recorded outputs of every format, and refusing what is wrong with them."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from planish.judges.base import Call, Case, Judgment
from planish.judges.formats import RecordedOutput, match, own, read_outputs, read_pairs
from planish.records import BadInput, Example, user, write_jsonl

JUDGEBENCH = {
    "pair_id": "p1",
    "source": "mmlu-pro-law",
    "question": "Which?",
    "response_model": "m",
    "response_A": "first",
    "response_B": "second",
    "label": "B>A",
}
OWN = {"id": "q1", "question": "2 + 2?", "reply_a": "4", "reply_b": "5", "gold": "A"}


def written(folder: Path, *rows: Any, name: str = "data.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


# --- pairs ---------------------------------------------------------------------------------


def test_judgebench_pair(tmp_path: Path) -> None:
    (case,) = read_pairs(written(tmp_path, JUDGEBENCH))
    assert case.id == "p1"
    assert case.example.prompt == user("Which?")
    assert case.replies == ("first", "second")
    assert (case.gold, case.subset) == ("B", "mmlu-pro-law")
    assert case.example.meta["response_models"] == ["m", "m"]


def test_a_published_pair_of_identical_replies_stays_and_says_so(tmp_path: Path) -> None:
    twins = JUDGEBENCH | {"pair_id": "p2", "response_B": "first"}
    one, two = read_pairs(written(tmp_path, JUDGEBENCH, twins))
    assert "identical" not in one.example.meta
    assert two.example.meta["identical"] is True


def test_own_pairs_in_every_spelling(tmp_path: Path) -> None:
    stored = Case(
        example=Example(id="q3", prompt=user("Why?"), meta={"gold": "tie"}), replies=("a", "b")
    )
    path = written(
        tmp_path,
        OWN | {"reference": "four", "subset": "sums"},
        {
            "id": 2,
            "prompt": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}],
            "reply_a": "x",
            "reply_b": "y",
        },
        stored.model_dump(mode="json"),
    )
    first, second, third = read_pairs(path)
    assert (first.gold, first.reference, first.subset) == ("A", "four", "sums")
    assert second.id == "2"
    assert second.gold is None
    assert [turn.role for turn in second.example.prompt] == ["system", "user"]
    assert third == stored


def test_preference_rows_do_not_always_put_the_chosen_reply_first(tmp_path: Path) -> None:
    rows = [
        {"id": i, "prompt": "?", "chosen": f"good {i}", "rejected": f"bad {i}"} for i in range(400)
    ]
    cases = read_pairs(written(tmp_path, *rows))
    gold = Counter(case.gold for case in cases)
    assert 160 < gold["A"] < 240
    assert gold["A"] + gold["B"] == 400
    assert all(case.replies["AB".index(case.gold)].startswith("good") for case in cases)
    assert cases == read_pairs(tmp_path / "data.jsonl")
    # The slot belongs to the id, not to the place in the file.
    back = read_pairs(written(tmp_path, *rows[::-1], name="reversed.jsonl"))
    assert back[::-1] == cases
    assert [own.gold_slot(str(i)) for i in range(6)] == [case.gold for case in cases[:6]]


def test_conversational_preferences(tmp_path: Path) -> None:
    ask = [{"role": "user", "content": "?"}]
    good, bad = ({"role": "assistant", "content": text} for text in ("good", "bad"))
    path = written(
        tmp_path,
        {"id": "a", "prompt": ask, "chosen": [good], "rejected": [bad]},
        {"id": "b", "prompt": ask, "chosen": [*ask, good], "rejected": [*ask, bad]},
        {"id": "c", "chosen": [*ask, good], "rejected": [*ask, bad]},
    )
    for case in read_pairs(path, "planish"):
        assert case.example.prompt == user("?")
        assert set(case.replies) == {"good", "bad"}
        assert case.replies["AB".index(case.gold)] == "good"


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([], "the file is empty"),
        ([JUDGEBENCH | {"label": "A=B"}], "data.jsonl:1: unknown label 'A=B'"),
        ([JUDGEBENCH, JUDGEBENCH | {"label": 3, "pair_id": "p2"}], "data.jsonl:2: 'label'"),
        ([JUDGEBENCH, JUDGEBENCH], "data.jsonl:2: the id 'p1' comes twice (first on line 1)"),
        ([JUDGEBENCH | {"pair_id": " "}], "data.jsonl:1: 'pair_id' should be an id"),
        ([{k: v for k, v in JUDGEBENCH.items() if k != "pair_id"}], "no 'pair_id'"),
        ([JUDGEBENCH | {"question": ["?"]}], "'question' should be text, found list"),
        ([OWN | {"gold": "C"}], "unknown gold label 'C'; expected A, B, tie"),
        ([OWN | {"gold": 1}], "'gold' should be text"),
        ([OWN | {"reply_b": "4"}], "identical"),
        ([OWN | {"prompt": []}], "'prompt' should be text or a list of messages"),
        ([OWN | {"prompt": [{"role": "king", "content": "x"}]}], "role"),
        ([{"example": {"id": "x"}, "replies": ["a"]}], "data.jsonl:1: example.prompt"),
        ([{"question": "?"}], "no known format of pairs has the keys question"),
        ([{"chosen": "a", "rejected": "b", "prompt": "?"}], "no 'id'"),
        ([{"id": 1, "chosen": "a", "rejected": "b"}], "no 'prompt'"),
        ([{"id": 1, "chosen": [{"role": "user", "content": "?"}], "rejected": "b"}], "assistant"),
    ],
)
def test_bad_pairs_are_refused_in_one_line(tmp_path: Path, rows: list[Any], says: str) -> None:
    with pytest.raises(BadInput) as caught:
        read_pairs(written(tmp_path, *rows))
    assert says in str(caught.value)
    assert "data.jsonl" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_different_prompts_make_no_pair(tmp_path: Path) -> None:
    sides = {
        side: [{"role": "user", "content": side}, {"role": "assistant", "content": side}]
        for side in ("chosen", "rejected")
    }
    with pytest.raises(BadInput, match="different prompts"):
        read_pairs(written(tmp_path, {"id": 1, **sides}))
    with pytest.raises(BadInput, match="does not start with the prompt"):
        read_pairs(written(tmp_path, {"id": 1, "prompt": "?", **sides}))


def test_unknown_format_is_named(tmp_path: Path) -> None:
    for read in (read_pairs, read_outputs):
        with pytest.raises(BadInput, match=r"--format: unknown format 'csv'"):
            read(tmp_path / "nothing", "csv")


# --- files ---------------------------------------------------------------------------------


def test_the_same_rows_from_every_kind_of_file(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    rows = [OWN | {"id": f"q{i}"} for i in range(3)]
    expected = read_pairs(written(tmp_path, *rows))
    with gzip.open(tmp_path / "data.jsonl.gz", "wt") as out:
        out.writelines(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "data.json").write_text(json.dumps(rows, indent=2))
    columns = {key: [row[key] for row in rows] for key in OWN}
    (tmp_path / "columns.json").write_text(json.dumps(columns | {"model": "m"}, indent=2))
    (tmp_path / "lines.json").write_text("\n".join(map(json.dumps, rows)))
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "data.parquet")
    for name in ("data.jsonl.gz", "data.json", "columns.json", "lines.json", "data.parquet"):
        assert read_pairs(tmp_path / name, "planish") == expected, name


@pytest.mark.parametrize("name", ["x.jsonl", "x.jsonl.gz", "x.json", "x.json.gz", "x.parquet"])
def test_missing_and_broken_files(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInput, match=name):
        read_pairs(tmp_path / name)
    (tmp_path / name).write_bytes(b"\x1f\x8b\x08 not what it says")
    with pytest.raises(BadInput, match=name):
        read_pairs(tmp_path / name)


def test_ragged_columns_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "scores.json"
    path.write_text(json.dumps({"id": [1, 2], "results": [1]}))
    with pytest.raises(BadInput, match=r"column 'results' has 1 entries, 'id' has 2"):
        read_outputs(path, "rewardbench")


# --- outputs -------------------------------------------------------------------------------


def test_judgebench_outputs_keep_the_frame(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        {"pair_id": "p1", "label": "A>B", "judgments": [{"decision": "A>>B", "text": "x"}, None]},
        {
            "pair_id": "p2",
            "judgments": [
                {"decision": None, "judgment": {"response": "published"}},
                {"decision": "A>B", "judgment": {"judge_model": "rm", "scores": [1, 2]}},
            ],
        },
        {"pair_id": "p3", "judgments": [{"decision": "A=B"}]},
    )
    first, second, third = read_outputs(path)
    assert first.decisions == ("A", None)
    assert first.texts == ("x", None)
    assert first.gold == "A"
    assert second.texts == ("published", None)
    assert second.decisions == (None, "A")
    assert second.votes == (None, "B")  # slot A of the swapped prompt holds reply B
    assert second.both_orders
    assert third.perms == ((0, 1),)
    assert third.votes == ("tie",)
    assert not third.both_orders


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"pair_id": "p", "judgments": []}, "'judgments' should list one judgment"),
        ({"pair_id": "p", "judgments": [None] * 3}, "'judgments' should list"),
        ({"pair_id": "p", "judgments": ["A>B"]}, "should hold objects or null"),
        ({"pair_id": "p", "judgments": [{"decision": "A<B"}]}, "unknown decision 'A<B'"),
        ({"pair_id": "p", "judgments": [{"decision": ["A"]}]}, "unknown decision"),
        ({"pair_id": "p", "judgments": [{"text": 3}]}, "text should be text"),
        ({"pair_id": "p", "label": "?", "judgments": [None]}, "unknown label"),
        ({"judgments": [None]}, "no known format of outputs"),
        ({"kind": "judgment"}, "a judgment without 'data'"),
        ({"kind": "progress", "data": {}}, "no judgment in this file"),
        ({"case_id": "x", "outcome": "A", "score": 1, "bogus": 1}, "bogus"),
    ],
)
def test_bad_outputs_are_refused_in_one_line(tmp_path: Path, row: Any, says: str) -> None:
    with pytest.raises(BadInput) as caught:
        read_outputs(written(tmp_path, row))
    assert says in str(caught.value)
    assert "data.jsonl" in str(caught.value)


def judgment(case_id: str) -> Judgment:
    calls = tuple(
        Call(case_id=case_id, perm=perm, text=text, finish=finish)
        for perm, text, finish in [
            ((0, 1), "[[A]]", "stop"),
            ((1, 0), "[[A]]", "stop"),
            ((1, 0), "", "error"),
        ]
    )
    return Judgment(
        case_id=case_id,
        outcome="tie",
        score=0.5,
        votes=("A", "B", None),
        statuses=("ok", "ok", "transport"),
        calls=calls,
    )


def test_own_judgments_bare_and_from_a_run(tmp_path: Path) -> None:
    said = judgment("q1")
    write_jsonl(tmp_path / "bare.jsonl", [said])
    write_jsonl(
        tmp_path / "records.jsonl",
        [
            {"kind": "case", "id": "q1", "data": {}},
            {"kind": "call", "id": "q1", "data": said.calls[0].model_dump(mode="json")},
            {"kind": "judgment", "id": "q1", "data": said.model_dump(mode="json")},
        ],
    )
    (bare,) = read_outputs(tmp_path / "bare.jsonl")
    (from_run,) = read_outputs(tmp_path / "records.jsonl")
    assert bare.judgment == from_run.judgment == said
    assert from_run.line == 3
    for output in (bare, from_run):
        assert output.votes == said.votes
        assert output.decisions == ("A", "A", None)
        assert output.texts == ("[[A]]", "[[A]]", None)


def test_the_last_judgment_of_a_run_counts(tmp_path: Path) -> None:
    """A resumed run judges a lost case again: both judgments are in its file."""
    lost = judgment("q1")
    again = lost.model_copy(update={"outcome": "A", "score": 1.0})
    rows = [
        {"kind": "judgment", "id": "q1", "data": each.model_dump(mode="json")}
        for each in (lost, again)
    ]
    write_jsonl(tmp_path / "records.jsonl", rows)
    (output,) = read_outputs(tmp_path / "records.jsonl")
    assert output.judgment == again
    write_jsonl(tmp_path / "bare.jsonl", [lost, again])
    with pytest.raises(BadInput, match=r"bare\.jsonl:2.*twice"):
        read_outputs(tmp_path / "bare.jsonl")


def test_a_judgment_that_contradicts_itself_is_refused(tmp_path: Path) -> None:
    said = judgment("q1")
    for broken, says in [
        (said.model_copy(update={"votes": ("A",)}), "must match one to one"),
        (said.model_copy(update={"votes": ("C", None, None)}), "names no reply"),
        (said.model_copy(update={"votes": ("good", None, None)}), "names no reply"),
    ]:
        write_jsonl(tmp_path / "bad.jsonl", [broken])
        with pytest.raises(BadInput, match=says):
            read_outputs(tmp_path / "bad.jsonl")


@pytest.mark.parametrize(
    "fields",
    [
        {"perms": ((0, 0),)},
        {"perms": ((),)},
        {"perms": ((-1, 0),)},
        {"perms": ((0, 10**9),)},
        {"perms": ((0, 1),), "decisions": ("C",)},
        {"perms": ((0, 1),), "texts": ("a", "b")},
        {"decisions": ("A",)},
    ],
)
def test_an_output_must_be_consistent(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        RecordedOutput(case_id="x", line=1, **fields)


# --- matching ------------------------------------------------------------------------------


def cases(*ids: str) -> list[Case]:
    return [
        Case(example=Example(id=i, prompt=user("?"), meta={"gold": "A"}), replies=("x", "y"))
        for i in ids
    ]


def outputs(*ids: str, **fields: Any) -> list[RecordedOutput]:
    return [RecordedOutput(case_id=i, line=n, **fields) for n, i in enumerate(ids, 1)]


def test_match_follows_the_pairs() -> None:
    found = match(cases("a", "b", "c"), outputs("c", "a", "b"))
    assert [(case.id, output.case_id, output.line) for case, output in found] == [
        ("a", "a", 2),
        ("b", "b", 3),
        ("c", "c", 1),
    ]


@pytest.mark.parametrize(
    ("given", "recorded", "says"),
    [
        (cases("a", "b"), outputs("b"), "out.jsonl: 1 of 2 pairs have no output, the first is 'a'"),
        (cases("a"), outputs("a", "z"), "out.jsonl:2: the id 'z' is not among the pairs"),
        (cases("a", "b"), outputs("a", "b", "a"), "out.jsonl:3: the id 'a' comes twice (first"),
        (cases("a", "a"), outputs("a"), "the id 'a' comes twice among the pairs"),
        (cases("a"), outputs("a", gold="B"), "out.jsonl:1: 'a' is labelled B here and A"),
        (cases("a"), outputs("a", scores=(1, 2, 3)), "2 replies, found 3 scores"),
        (cases("a"), outputs("a", perms=((0, 2),)), "2 replies, its calls show others"),
        (cases("a"), outputs("a", perms=((0,),)), "2 replies, its calls show others"),
        (cases("a"), outputs("a", result=0.25), "the result of a pair is 0, 0.5 or 1"),
    ],
)
def test_what_does_not_match_is_refused(
    given: list[Case], recorded: list[RecordedOutput], says: str
) -> None:
    with pytest.raises(BadInput) as caught:
        match(given, recorded, source="out.jsonl")
    assert says in str(caught.value)


# --- pairs with a right answer ---------------------------------------------------------------


def test_a_pair_may_say_what_a_right_answer_is(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        OWN | {"target": 4},
        {"id": "q2", "prompt": "2 + 3?", "chosen": "5", "rejected": "6", "target": "so #### 5"},
        OWN | {"id": "q3", "target": "dog", "choices": ["cat", "dog"], "subset": "pets"},
        OWN | {"id": "q4"},
    )
    one, two, three, four = (case.example for case in read_pairs(path))
    assert (one.target, one.meta["grader"]) == ("4", "math")
    assert two.target == "5"
    assert (three.target, three.meta["grader"]) == ("B", "choice")
    assert (three.meta["choices"], three.meta["subset"]) == (["cat", "dog"], "pets")
    assert three.prompt == user("2 + 2?\n\n(A) cat\n(B) dog")
    assert four.target is None
    assert "grader" not in four.meta


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"target": " "}, "the target is empty"),
        ({"target": ["4"]}, "target"),
        ({"target": "4", "grader": "vibes"}, "grader"),
        ({"grader": "math"}, "'grader' without a 'target'"),
        ({"choices": ["a", "b"]}, "'choices' without a 'target'"),
        ({"target": "Z", "choices": ["a", "b"]}, "names no choice"),
        ({"target": "word", "grader": "choice"}, "is no choice"),
    ],
)
def test_a_right_answer_that_is_none_is_refused_at_its_line(tmp_path, row, message) -> None:
    path = written(tmp_path, OWN, OWN | {"id": "q2"} | row)
    with pytest.raises(BadInput, match=message) as stop:
        read_pairs(path)
    assert f"{path}:2" in str(stop.value)
