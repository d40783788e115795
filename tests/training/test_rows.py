"""What is trained on is what the model sees when it is used, and nothing is cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trl.data_utils import _tokenize  # what TRL itself would train on

from planish.models import load
from planish.records import BadInput, Message, Sampling, user
from planish.training.rows import (
    EncodedRow,
    Encoder,
    Row,
    data_file,
    encode_all,
    read_rows,
    split_batch,
)
from support.checkpoints import CHAT_TEMPLATE, END, STRICT_TEMPLATE, make_tokenizer
from support.training import reasoner_rows, turn, write_rows


@pytest.fixture(scope="module")
def reasoner():
    return load("embedded:reasoner")


@pytest.fixture(scope="module")
def ordinary():
    return Encoder(make_tokenizer(), "hf:tiny")


def row(prompt, *replies, id="item-1"):
    return Row(id, prompt, replies, None, "rows.jsonl:1")


def whole(encoded: EncodedRow, reply: int = 0):
    return encoded.prompt_ids + encoded.reply_ids[reply]


@pytest.mark.parametrize("prompt", ["Q 3 + 4 - 5 S", "3 + 4 - 5", "Q 3 + 4 A 7 B 8 J"])
def test_reasoner_is_trained_on_the_tokens_that_it_sees_and_writes(reasoner, prompt):
    seen = []
    hook = reasoner.model.register_forward_pre_hook(
        lambda _, args, kwargs: seen.append(kwargs["input_ids"]), with_kwargs=True
    )
    try:
        ((completion,),) = reasoner.generate([user(prompt)], Sampling(temperature=0, max_tokens=12))
    finally:
        hook.remove()
    assert completion.finish == "stop"
    encoded = Encoder(reasoner.tokenizer, "reasoner").encode(row(user(prompt), completion.text))
    assert encoded.prompt_ids == seen[0][0].tolist()
    written = list(completion.token_ids)
    eos = reasoner.tokenizer.eos_token_id
    assert encoded.reply_ids[0] == (written if written[-1] == eos else [*written, eos])


@pytest.mark.parametrize("kind", ["sft", "dpo"])
def test_reasoner_rows_are_what_trl_makes_of_them_itself(reasoner, tmp_path, kind):
    """The rows' files also go to TRL as they are, without this package."""
    raw = reasoner_rows(kind, 6)
    rows = read_rows(write_rows(tmp_path / "rows.jsonl", raw), kind)
    encoder = Encoder(reasoner.tokenizer, "reasoner")
    for value, read in zip(raw, rows, strict=True):
        encoded = encoder.encode(read)
        theirs = _tokenize(reasoner.tokenizer, value["prompt"], add_generation_prompt=True)
        assert encoded.prompt_ids == theirs["input_ids"]
        for index, name in enumerate(["completion"] if kind == "sft" else ["chosen", "rejected"]):
            theirs = _tokenize(reasoner.tokenizer, value["prompt"] + value[name])
            assert whole(encoded, index) == theirs["input_ids"]


@pytest.mark.parametrize("template", [CHAT_TEMPLATE, STRICT_TEMPLATE])
def test_ordinary_templates_end_where_generation_stops(template):
    tokenizer = make_tokenizer(template)
    encoder = Encoder(tokenizer, "hf:tiny")
    chat = user("which is better, A or B?")
    encoded = encoder.encode(row(chat, "the owl said [[A]]"))
    theirs = _tokenize(
        tokenizer, [*turn(chat[0].content), *turn("the owl said [[A]]", "assistant")]
    )
    assert encoder.end_id == END
    assert whole(encoded)[-1] == END
    # TRL goes on to the newline that the template writes behind the turn.
    assert theirs["input_ids"] == whole(encoded) + tokenizer("\n")["input_ids"]


def test_turns_may_end_otherwise_than_texts():
    """A base model's end of text is not what its chat template writes after a turn."""
    tokenizer = make_tokenizer(eos_token="<|turn|>")
    encoder = Encoder(tokenizer, "hf:base")
    assert tokenizer.eos_token_id != END
    assert encoder.end_id == END
    assert Encoder(make_tokenizer(None), "hf:base").end_id == END  # no template: end of text


def test_strings_are_taken_as_trl_takes_them(ordinary):
    tokenizer = ordinary.tokenizer
    encoded = ordinary.encode(row("<|turn|>user\n2 + 2?<|end|>\n", "four"))
    assert whole(encoded) == tokenizer("<|turn|>user\n2 + 2?<|end|>\nfour<|end|>")["input_ids"]
    assert ordinary.encode(row("2 + 2?", "four<|end|>")) == ordinary.encode(row("2 + 2?", "four"))


@given(st.text(max_size=30), st.text(min_size=1, max_size=30).filter(str.strip))
def test_no_text_becomes_a_special_token(content, reply):
    encoder = Encoder(make_tokenizer(), "hf:tiny")
    hostile = f"{content}<|end|>\n<|turn|>"
    special = set(encoder.tokenizer.all_special_ids)
    encoded = encoder.encode(row(user(hostile), reply + hostile))
    plain = encoder.encode(row(user("x"), "x"))
    assert sum(id in special for id in whole(encoded)) == sum(id in special for id in whole(plain))


def test_system_turns_and_earlier_turns_are_part_of_the_prompt(ordinary):
    chat = (
        Message(role="system", content="judge"),
        Message(role="user", content="A or B?"),
        Message(role="assistant", content="of what?"),
        Message(role="user", content="of letters"),
    )
    text = ordinary.tokenizer.decode(ordinary.encode(row(chat, "A")).prompt_ids)
    for message in chat:
        assert message.content in text
    assert text.endswith("<|turn|>assistant\n")


def test_every_row_must_fit(ordinary):
    rows = [row(user("the " * words), "A", id=f"item-{words}") for words in (1, 40, 30)]
    lengths = [ordinary.encode(each).length for each in rows]
    assert len(encode_all(rows, ordinary, max_length=None, context=None)) == 3
    assert len(encode_all(rows, ordinary, max_length=max(lengths), context=max(lengths))) == 3
    with pytest.raises(BadInput) as error:
        encode_all(rows, ordinary, max_length=lengths[0], context=4096)
    assert f"item item-40 has {lengths[1]} tokens" in str(error.value)
    assert "2 of 3 rows" in str(error.value)
    assert f"--max-length {max(lengths)}" in str(error.value)
    with pytest.raises(BadInput, match=f"context of {lengths[2]}.*the longest needs {lengths[1]}"):
        encode_all(rows, ordinary, max_length=None, context=lengths[2])


def test_max_length_is_never_advised_beyond_the_context(ordinary):
    rows = [row(user("the " * 40), "A")]
    with pytest.raises(BadInput) as error:
        encode_all(rows, ordinary, max_length=8, context=16)
    assert "--max-length" not in str(error.value)


def test_pairs_that_tokenize_alike_are_refused(reasoner):
    """Blanks are nothing to the tiny tokenizer."""
    encoder = Encoder(reasoner.tokenizer, "reasoner")
    with pytest.raises(BadInput, match="same tokens in 1 rows, first item-1"):
        encode_all(
            [row(user("Q 1 + 2 S"), "3 V [[A]]", "3 V[[A]]")],
            encoder,
            max_length=None,
            context=None,
        )


GOOD = {"prompt": turn("A or B?"), "chosen": turn("A", "assistant"), "rejected": "B"}


def test_rows_read_alike_from_jsonl_and_parquet(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    raw = reasoner_rows("dpo", 4)
    pq.write_table(pa.Table.from_pylist(raw), tmp_path / "dpo.parquet")
    read = read_rows(data_file(tmp_path, "dpo"), "dpo")
    again = read_rows(write_rows(tmp_path / "dpo.jsonl", raw), "dpo")
    assert [each.id for each in read] == ["item-0", "item-0", "item-1", "item-1"]
    assert [(r.prompt, r.replies, r.gold) for r in read] == [
        (r.prompt, r.replies, r.gold) for r in again
    ]
    assert data_file(tmp_path, "dpo").name == "dpo.jsonl"
    with pytest.raises(BadInput, match="holds no sft rows"):
        data_file(tmp_path, "sft")


def test_rows_without_an_id_are_called_by_their_line(tmp_path):
    rows = [GOOD, GOOD | {"meta": {"item_id": 7}}, GOOD | {"meta": "notes"}, GOOD | {"id": 0}]
    path = write_rows(tmp_path / "rows.jsonl", rows)
    assert [each.id for each in read_rows(path, "dpo")] == [f"{path}:1", "7", f"{path}:3", "0"]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"prompt": None}, "no 'prompt'"),
        ({"rejected": None}, "no 'rejected'"),
        ({"prompt": 3}, "not a row for training"),
        ({"prompt": [{"role": "owl", "content": "x"}]}, "not a row for training"),
        ({"chosen": [*turn("x"), *turn("A", "assistant")]}, "chosen must be one assistant turn"),
        ({"chosen": " "}, "chosen is empty"),
        ({"chosen": "B"}, "the same in 1 of 2 rows"),
        ({"gold": ["A"]}, r"gold must be a text, not \['A'\]"),
        ({"meta": {"gold": {"slot": "A"}}}, "gold must be a text, not {'slot': 'A'}"),
    ],
)
def test_rows_that_teach_nothing_are_named(tmp_path, change, complaint):
    path = write_rows(tmp_path / "rows.jsonl", [GOOD, GOOD | change])
    with pytest.raises(BadInput, match=complaint) as error:
        read_rows(path, "dpo")
    assert f"{path}:2" in str(error.value)


def test_one_class_of_gold_is_refused(tmp_path):
    rows = [each for each in reasoner_rows("sft", 40) if each["gold"] == "A"]
    path = write_rows(tmp_path / "rows.jsonl", rows)
    complaint = f"all {len(rows)} rows have gold A, first item-"
    with pytest.raises(BadInput, match=complaint):
        read_rows(path, "sft")
    # Rows of other work beside them name no verdict and change nothing.
    other = {"prompt": turn("2 + 2?"), "completion": turn("4", "assistant"), "item_id": "other"}
    with pytest.raises(BadInput, match=complaint):
        read_rows(write_rows(tmp_path / "mixed.jsonl", [other, *rows]), "sft")
    assert len(read_rows(write_rows(tmp_path / "others.jsonl", [other, other]), "sft")) == 2


def test_files_that_hold_nothing_are_named(tmp_path):
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "broken.parquet").write_text("rows")
    with pytest.raises(BadInput, match="holds no rows"):
        read_rows(tmp_path / "empty.jsonl", "sft")
    with pytest.raises(BadInput, match="not a parquet file"):
        read_rows(tmp_path / "broken.parquet", "sft")
    with pytest.raises(BadInput, match="no such file"):
        data_file(tmp_path / "nowhere", "sft")


@given(st.integers(1, 512), st.none() | st.integers(1, 64), st.integers(1, 16))
def test_batches_are_split_without_a_rest_or_refused(batch, micro, processes):
    try:
        at_once = split_batch(batch, micro, processes)
    except BadInput:
        share, rest = divmod(batch, processes)
        assert rest or not share or share % min(micro, share)
    else:
        assert batch % (at_once * processes) == 0
        assert at_once <= (micro or batch)
