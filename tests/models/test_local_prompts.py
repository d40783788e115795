"""From chats to tokens: templates, base models, continuation, and text that is only text."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from planish.models.local import LocalModel
from planish.models.local_prompts import PromptWriter, continued
from planish.records import BadInput, Message, Sampling, user
from support.checkpoints import (
    BOS,
    CHAT_TEMPLATE,
    END,
    SPECIAL,
    STRICT_TEMPLATE,
    make_tokenizer,
    save_checkpoint,
)

torch.set_num_threads(1)

TEMPLATED = PromptWriter(make_tokenizer(), "hf:chat")
STRICT = PromptWriter(make_tokenizer(STRICT_TEMPLATE), "hf:strict")
BASE = PromptWriter(make_tokenizer(None), "hf:base")


def chat(*turns):
    return tuple(Message(role=role, content=content) for role, content in turns)


TEXT = st.text(st.characters(codec="utf-8"), max_size=30) | st.lists(
    st.sampled_from([*SPECIAL, "owl", " ", "\n", "<|", "|>", "\ufdd0"]), max_size=6
).map("".join)
TURNS = st.lists(
    st.tuples(st.sampled_from(["system", "user", "assistant"]), TEXT), min_size=1, max_size=4
).map(lambda turns: chat(*turns))


@settings(deadline=None)
@given(TURNS)
def test_ordinary_chats_are_written_as_the_template_does(turns):
    if any(name in m.content for m in turns for name in (*SPECIAL, "\ufdd0")):
        return
    if turns[-1].role == "assistant":
        return
    expected = TEMPLATED.tokenizer.apply_chat_template(
        [{"role": m.role, "content": m.content} for m in turns],
        add_generation_prompt=True,
        return_dict=False,
    )
    assert TEMPLATED.encode(TEMPLATED.write(turns)) == expected


@settings(deadline=None)
@given(TURNS, TEXT)
def test_a_conversation_that_is_over_is_what_the_template_writes(turns, reply):
    """Its last token, behind the one that ends the turn, is what a reward head reads."""
    if any(name in text for text in (reply, *(m.content for m in turns)) for name in SPECIAL):
        return
    if "\ufdd0" in reply + "".join(m.content for m in turns) or turns[-1].role == "assistant":
        return
    said = [*turns, Message(role="assistant", content=reply)]
    expected = TEMPLATED.tokenizer.apply_chat_template(
        [{"role": m.role, "content": m.content} for m in said], return_dict=False
    )
    assert TEMPLATED.whole(turns, reply) == expected


def test_a_conversation_ends_whatever_the_template_leaves_out():
    question = user("who?")
    assert BASE.whole(question, "the owl") == [*BASE.encode("who?\n\nthe owl"), END]
    bare = CHAT_TEMPLATE.replace("<|end|>", "")
    writer = PromptWriter(make_tokenizer(bare), "hf:bare")
    assert writer.whole(question, "owl")[-1] == END
    assert END not in writer.whole(question, "owl <|end|>")[:-1]
    begun = (*question, Message(role="assistant", content="the "))
    assert TEMPLATED.whole(begun, "owl") == TEMPLATED.whole(question, "the owl")


@settings(deadline=None)
@given(TURNS)
def test_no_text_becomes_a_control_token(turns):
    ids = TEMPLATED.encode(TEMPLATED.write(turns))
    # The template writes <|bos|> once, <|turn|> per turn and <|end|> per finished turn.
    opened = ids.count(2)
    assert ids.count(BOS) == 1
    assert ids.count(0) == 0
    assert opened - ids.count(END) == 1
    assert opened in (len(turns), len(turns) + 1)
    text = TEMPLATED.tokenizer.decode(ids)
    for message in turns[:-1]:
        assert message.content.replace("\ufdd0", "") in text


@settings(deadline=None)
@given(TURNS, TEXT)
def test_a_reply_s_tokens_follow_the_prompt_s(turns, reply):
    for writer in (TEMPLATED, BASE):
        try:
            text = writer.write(turns)
        except BadInput:
            continue
        prompt_ids, reply_ids = writer.encode_reply(text, reply)
        assert prompt_ids == writer.encode(text)
        assert writer.tokenizer.decode(reply_ids) == reply.replace("\ufdd0", "")
        assert not set(reply_ids) & {0, 1, 2, 3}


def test_a_chat_that_ends_with_the_assistant_is_left_open():
    turns = chat(("user", "who?"), ("assistant", "the owl "))
    assert TEMPLATED.write(turns) == (
        "<|bos|><|turn|>user\nwho?<|end|>\n<|turn|>assistant\nthe owl "
    )


@pytest.mark.parametrize("tail", ["", " ", "\n\n", " \n"])
def test_the_last_space_survives_a_template_that_trims(tail):
    turns = chat(("user", " who? "), ("assistant", "the owl" + tail))
    assert STRICT.write(turns) == (
        "<|bos|><|turn|>user\nwho?<|end|>\n<|turn|>assistant\nthe owl" + tail
    )


@pytest.mark.parametrize("writer", [TEMPLATED, STRICT])
def test_an_empty_prefix_is_the_same_as_none(writer):
    question = chat(("user", "who?"))
    assert writer.write((*question, *chat(("assistant", "")))) == writer.write(question)
    assert writer.write((*question, *chat(("assistant", "\n")))) == writer.write(question) + "\n"


def test_a_prefix_is_put_behind_what_the_assistant_said():
    question = chat(("user", "who?"))
    assert continued(question, "") == question
    assert continued(question, "[[") == (*question, *chat(("assistant", "[[")))
    said = (*question, *chat(("assistant", "so: ")))
    assert continued(said, "[[") == (*question, *chat(("assistant", "so: [[")))


def test_a_template_without_system_turns_gets_them_in_the_users():
    turns = chat(("system", "be short"), ("user", "who?"), ("assistant", "the"))
    assert STRICT.write(turns) == (
        "<|bos|><|turn|>user\nbe short\n\nwho?<|end|>\n<|turn|>assistant\nthe"
    )


@pytest.mark.parametrize(
    "turns",
    [
        chat(("user", "a"), ("user", "b")),
        chat(("system", "alone")),
        chat(("tool", "42")),
        chat(("system", "s"), ("user", "a"), ("user", "b")),
    ],
)
def test_what_a_template_refuses_is_bad_input(turns):
    with pytest.raises(BadInput, match="hf:strict: the chat template refuses this chat"):
        STRICT.write(turns)


def test_a_broken_template_is_bad_input():
    writer = PromptWriter(make_tokenizer("{% for %}"), "hf:broken")
    with pytest.raises(BadInput, match="the chat template refuses"):
        writer.write(user("who?"))


def test_an_empty_chat_is_bad_input():
    with pytest.raises(BadInput, match="empty"):
        TEMPLATED.write(())


def test_a_base_model_reads_the_texts_joined_by_blank_lines():
    assert BASE.write(user("who?")) == "who?\n\n"
    turns = chat(("system", "be short"), ("user", "who?"), ("assistant", "the"))
    assert BASE.write(turns) == "be short\n\nwho?\n\nthe"
    assert BASE.write(turns[:2]) == "be short\n\nwho?\n\n"


def test_a_base_model_refuses_what_it_could_not_tell_apart():
    turns = chat(("user", "who?"), ("assistant", "the owl"), ("user", "why?"))
    with pytest.raises(BadInput, match="no chat template, and the chat has several turns"):
        BASE.write(turns)


def test_a_base_model_s_opening_token_is_written_where_its_tokenizer_writes_one():
    from tokenizers import processors

    tokenizer = make_tokenizer(None)
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<|bos|> $A <|end|>", special_tokens=[("<|bos|>", BOS), ("<|end|>", END)]
    )
    opening = PromptWriter(tokenizer, "hf:base")
    plain = BASE.encode(BASE.write(user("who?")))
    assert opening.encode(opening.write(user("who?"))) == [BOS, *plain]
    assert BOS not in plain


def test_a_base_model_answers_and_scores(tmp_path):
    folder = save_checkpoint(tmp_path, tokenizer=make_tokenizer(None))
    model = LocalModel(str(folder), name="hf:base")
    (completion,) = model.generate([user("who?")], Sampling(temperature=0, max_tokens=5))[0]
    ids = model.tokenizer("who?\n\n")["input_ids"]
    logits = model.model(torch.tensor([[*ids, *completion.token_ids]])).logits[0]
    assert logits[len(ids) - 1 : -1].argmax(-1).tolist() == list(completion.token_ids)
    prefixed = chat(("user", "who?"), ("assistant", "[["))
    assert model.label_logprobs([user("who?")], ("A", "B")) == model.label_logprobs(
        [prefixed], ("A", "B"), prefix=""
    )


def test_an_empty_prompt_is_bad_input(tmp_path):
    folder = save_checkpoint(tmp_path, tokenizer=make_tokenizer(None))
    model = LocalModel(str(folder), name="hf:base")
    nothing = chat(("assistant", ""))
    with pytest.raises(BadInput, match="the prompt is empty"):
        model.generate([nothing], Sampling(max_tokens=4))
    with pytest.raises(BadInput, match="the prompt is empty"):
        model.logprobs([nothing], ["A"])


def test_the_completion_holds_only_what_comes_after_the_prefix(tmp_path):
    folder = save_checkpoint(tmp_path, tokenizer=make_tokenizer(CHAT_TEMPLATE))
    model = LocalModel(str(folder), name="hf:chat")
    turns = chat(("user", "who?"), ("assistant", "the "))
    sampling = Sampling(temperature=0, max_tokens=6)
    (completion,) = model.generate([turns], sampling)[0]
    ids = model._prompts.encode(model._prompts.write(turns))
    with torch.inference_mode():
        for _ in range(6):
            ids.append(int(model.model(torch.tensor([ids])).logits[0, -1].argmax()))
    assert list(completion.token_ids) == ids[-6:]
    assert completion.text == model.tokenizer.decode(ids[-6:])
    assert not completion.text.startswith("the ")


def test_half_a_surrogate_pair_is_replaced():
    broken, whole = (TEMPLATED.write(chat(("user", f"x{c}y"))) for c in ("\ud800", "\ufffd"))
    assert TEMPLATED.encode(broken) == TEMPLATED.encode(whole)
