"""Records and JSON Lines: round trips, line numbers, all-or-nothing files."""

import gzip
import json
import os
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planish.records import (
    BadInput,
    Completion,
    Example,
    Message,
    Pair,
    Sampling,
    TokenScores,
    read_jsonl,
    read_records,
    user,
    write_jsonl,
    write_text,
)

texts = st.text(max_size=30)
scalars = st.none() | st.booleans() | st.integers() | texts
objects = st.dictionaries(st.text(alphabet=string.ascii_letters, min_size=1, max_size=5), scalars)


@given(
    rows=st.lists(objects, max_size=5),
    zipped=st.booleans(),
    named=st.sampled_from(["rows.jsonl.gz", "packed.jsonl"]),
)
def test_what_is_written_is_read(tmp_path_factory, rows, zipped, named):
    folder = tmp_path_factory.mktemp("jsonl")
    path = folder / "rows.jsonl"
    # Half a surrogate pair is no text: it cannot be written as UTF-8, and is refused whole.
    try:
        write_jsonl(path, rows)
    except UnicodeEncodeError:
        assert os.listdir(folder) == []
        return
    if zipped:
        path = folder / named
        path.write_bytes(gzip.compress((folder / "rows.jsonl").read_bytes()))
    assert [row for _, row in read_jsonl(path)] == rows


@given(data=st.binary(max_size=200), suffix=st.sampled_from(["", ".gz"]))
def test_no_bytes_escape_as_a_traceback(tmp_path_factory, data, suffix):
    path = tmp_path_factory.mktemp("bytes") / f"rows.jsonl{suffix}"
    path.write_bytes(data)
    complaint = ""
    try:
        assert all(isinstance(row, dict) for _, row in read_jsonl(path))
    except BadInput as error:
        complaint = str(error)
    assert not complaint or str(path) in complaint
    assert "\n" not in complaint


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('{"a": 1}\n{"a": 2\n', 2),
        ('{"a": 1}\n\n[1]\n', 3),
        ("7\n", 1),
        ('{"a": ' + "[" * 100_000 + "\n", 1),
        ('{"a": ' + "9" * 5_000 + "}\n", 1),
    ],
)
def test_errors_name_file_and_line(tmp_path, text, line):
    path = tmp_path / "rows.jsonl"
    path.write_text(text)
    with pytest.raises(BadInput, match=rf"rows\.jsonl:{line}:"):
        list(read_jsonl(path))


def test_bytes_that_are_not_text(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a": 1}\n{"a": "\xff"}\n')
    with pytest.raises(BadInput, match=r"rows\.jsonl:2: not UTF-8"):
        list(read_jsonl(path))
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\n')
    assert list(read_jsonl(path)) == [(1, {"a": 1})]


def test_missing_files_and_folders(tmp_path):
    for path in (tmp_path / "no.jsonl", tmp_path):
        with pytest.raises(BadInput, match=str(tmp_path)):
            list(read_jsonl(path))


def test_records_are_checked_by_field(tmp_path):
    path = tmp_path / "pairs.jsonl"
    pair = Pair(prompt=user("?"), chosen="a", rejected="b")
    write_jsonl(path, [pair])
    assert list(read_records(path, Pair)) == [pair]
    path.write_text(json.dumps({"prompt": [], "chosen": "a"}) + "\n")
    with pytest.raises(BadInput, match=r"pairs\.jsonl:1: not a Pair: rejected"):
        list(read_records(path, Pair))


def test_records_are_frozen_and_closed():
    example = Example(id="e", prompt=user("?"))
    with pytest.raises(ValueError, match="frozen"):
        example.id = "f"
    with pytest.raises(ValueError, match="Extra"):
        Message(role="user", content="x", colour="red")
    for bad in ({"temperature": -1}, {"n": 0}, {"top_p": 0}, {"max_tokens": 0}):
        with pytest.raises(ValueError):
            Sampling(**bad)


def test_infinite_logprobs_survive_the_disk():
    completion = Completion(text="x", logprobs=(-0.5, float("-inf")))
    assert Completion.model_validate_json(completion.model_dump_json()) == completion


def test_token_scores_add_up():
    assert TokenScores(token_ids=(1, 2), logprobs=(-1.0, -0.5)).total == -1.5


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "out.jsonl"
    write_text(path, "before\n")

    def rows():
        yield {"a": 1}
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        write_jsonl(path, rows())
    assert path.read_text() == "before\n"
    assert os.listdir(tmp_path) == ["out.jsonl"]


def test_one_line_whatever_the_message():
    error = BadInput("two\nlines", where="a.jsonl:3", fix="mend\tit")
    assert str(error) == "a.jsonl:3: two lines; mend it"


def test_half_a_surrogate_pair_is_written_and_read_back(tmp_path):
    rows = [{"text": "ä \ud800 🙂"}, {"text": "ä"}]
    assert write_jsonl(tmp_path / "rows.jsonl", rows) == 2
    assert [row for _, row in read_jsonl(tmp_path / "rows.jsonl")] == rows
    assert "ä" in (tmp_path / "rows.jsonl").read_text()
    records = [Pair(prompt=user("ä \ud800"), chosen="a", rejected="b", meta={"gap": 0.5})]
    write_jsonl(tmp_path / "records.jsonl", records)
    assert list(read_records(tmp_path / "records.jsonl", Pair)) == records
