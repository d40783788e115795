"""`hf:` models that see: batches change nothing, images count, text stays text.

What transformers computes by itself, one chat at a time, is the reference.
"""

from __future__ import annotations

import base64

import numpy as np
import pytest
import torch
from PIL import Image

from planish.models.local import LocalModel
from planish.models.local_batches import Row
from planish.models.vision_loading import open_processor
from planish.records import BadInput, Message, Sampling, user
from support.checkpoints import make_tokenizer
from support.vision import KINDS, PLACES, TEMPLATE, TOKENS, look, picture, save_vision

torch.set_num_threads(1)

GREEDY = Sampling(temperature=0, max_tokens=6)


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory):
    root = tmp_path_factory.mktemp("vision")
    return {kind: save_vision(root / kind, kind) for kind in KINDS}


@pytest.fixture(scope="session")
def models(checkpoints):
    return {kind: LocalModel(str(path), name=f"hf:{kind}") for kind, path in checkpoints.items()}


@pytest.fixture(params=KINDS)
def model(models, request):
    return models[request.param]


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    sizes = [(48, 40), (20, 60), (64, 64), (33, 17)]
    return [picture(folder, seed, size) for seed, size in enumerate(sizes)]


@pytest.fixture(scope="session")
def chats(pictures):
    """Every kind of chat: one image, two, none, several turns, a reply to be continued."""
    first, second, third, fourth = pictures
    turns = (
        Message(role="system", content="you are the owl"),
        Message(role="user", content="which is better?", images=(str(first),)),
        Message(role="assistant", content="A"),
        Message(role="user", content="and now?", images=(str(second),)),
    )
    return [
        look("what is it?", first),
        look("what is it?", second),
        look("which reply is better, A or B?", third, fourth),
        user("who are you?"),
        turns,
        (*look("what is it?", third), Message(role="assistant", content="the lazy ")),
        user("the quick brown fox jumps over the lazy dog"),
        look("", fourth),
    ]


def kind_of(model):
    return model.name.removeprefix("hf:")


def reference(model, chat):
    """What transformers' own processor makes of one chat."""
    processor, _ = open_processor(model.path)
    messages = [
        {
            "role": message.role,
            "content": [
                *[{"type": "image", "image": Image.open(image)} for image in message.images],
                {"type": "text", "text": message.content},
            ],
        }
        for message in chat
    ]
    ends = chat[-1].role == "assistant"
    return processor.apply_chat_template(
        messages,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        add_generation_prompt=not ends,
        continue_final_message=ends,
    )


def test_every_kind_of_chat_is_answered_as_transformers_alone_does(model, chats):
    drawn = set()
    for chat, (completion,) in zip(chats, model.generate(chats, GREEDY), strict=True):
        inputs = reference(model, chat)
        length = inputs["input_ids"].shape[1]
        assert completion.usage.prompt_tokens == length
        if kind_of(model) == "idefics3":
            inputs.pop("mm_token_type_ids", None)
        with torch.inference_mode():
            whole = model.model.generate(
                **inputs, max_new_tokens=GREEDY.max_tokens, do_sample=False
            )
        expected = whole[0, length:].tolist()
        ended = [i for i, token in enumerate(expected) if token in model.checkpoint.eos_ids]
        assert list(completion.token_ids) == (expected[: ended[0]] if ended else expected)
        drawn |= set(completion.token_ids)
    assert len(drawn) > 15, "models that repeat themselves prove little"


def test_a_batch_gives_what_single_calls_give(model, chats):
    for sampling in (GREEDY, Sampling(temperature=0.9, top_p=0.8, max_tokens=4, n=2, seed=3)):
        together = model.generate(chats, sampling)
        backwards = model.generate(chats[::-1], sampling)[::-1]
        alone = [model.generate([chat], sampling)[0] for chat in chats]
        for rows in zip(together, backwards, alone, strict=True):
            found = [[(c.token_ids, c.text, c.finish) for c in row] for row in rows]
            assert found[0] == found[1] == found[2]
    assert len({completion.token_ids for row in together for completion in row}) == 2 * len(chats)


def test_scores_equal_a_plain_forward_pass_in_a_batch_and_alone(model, chats):
    replies = ["A", "the owl", "B", "?", "[[A]]", "moon", "", "it is the fox"]
    together = model.logprobs(chats, replies)
    for chat, reply, scores in zip(chats, replies, together, strict=True):
        (alone,) = model.logprobs([chat], [reply])
        assert alone.token_ids == scores.token_ids
        np.testing.assert_allclose(alone.logprobs, scores.logprobs, atol=1e-4)
        inputs = dict(reference(model, chat))
        length = inputs["input_ids"].shape[1]
        more = torch.tensor([scores.token_ids], dtype=torch.long)
        for name, tensor in inputs.items():
            if tensor.shape == (1, length):
                same = more if name == "input_ids" else torch.full_like(more, name[0] == "a")
                inputs[name] = torch.cat([tensor, same], dim=1)
        with torch.inference_mode():
            logits = model.model(**inputs).logits[0, length - 1 : -1]
        expected = logits.log_softmax(-1)[range(len(scores.token_ids)), list(scores.token_ids)]
        np.testing.assert_allclose(scores.logprobs, expected, atol=1e-4)


def test_labels_are_scored_with_the_image(model, chats):
    seeing = chats[1:3]
    for labels in (("A", "B"), ("A", "the owl")):
        together = model.label_logprobs(seeing, labels)
        for chat, scores in zip(seeing, together, strict=True):
            np.testing.assert_allclose(model.label_logprobs([chat], labels)[0], scores, atol=1e-4)
            forced = (*chat, Message(role="assistant", content="[["))
            slow = [model.logprobs([forced], [label])[0].total for label in labels]
            np.testing.assert_allclose(scores, slow, atol=1e-4)


def test_other_images_and_other_orders_give_other_answers(model, pictures):
    def scores(*images):
        return np.array(model.label_logprobs([look("what is it?", *images)], ("A", "B"))[0])

    first, _, third, _ = pictures
    assert np.abs(scores(first) - scores(third)).max() > 1e-3
    assert np.abs(scores(first, third) - scores(third, first)).max() > 1e-3
    assert np.abs(scores(first) - scores()).max() > 1e-3


def test_a_data_url_shows_what_the_file_shows(model, pictures):
    data = base64.b64encode(pictures[0].read_bytes()).decode()
    chats = [look("what?", pictures[0]), look("what?", f"data:image/png;base64,{data}")]
    for sampling in (GREEDY, Sampling(max_tokens=8, seed=4)):
        (first,), (second,) = model.generate(chats, sampling)
        assert first.token_ids == second.token_ids


def test_images_are_upright_and_rgb(model, tmp_path, pictures):
    plain = Image.open(pictures[0])
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    plain.rotate(90, expand=True).save(tmp_path / "turned.png", exif=exif)
    plain.convert("RGBA").save(tmp_path / "alpha.png")
    paths = (pictures[0], tmp_path / "turned.png", tmp_path / "alpha.png")
    chats = [look("what?", path) for path in paths]
    first, *others = (row[0].token_ids for row in model.generate(chats, GREEDY))
    assert others == [first, first]


def test_the_random_stream_goes_with_what_is_shown(models, tmp_path):
    # Once they are resized, these two are the same to the model.
    for size in (40, 48):
        Image.new("RGB", (size, size), "red").save(tmp_path / f"{size}.png")
    chats = [look("what?", tmp_path / f"{size}.png") for size in (40, 48)]
    (first,), (second,) = models["gemma3"].generate(chats, GREEDY)
    assert first.token_ids == second.token_ids
    (first,), (second,) = models["gemma3"].generate(chats, Sampling(max_tokens=8, seed=1))
    assert first.token_ids != second.token_ids


# -- text stays text ------------------------------------------------------------------------------


def test_a_placeholder_in_a_message_shows_nothing(model, pictures):
    kind = kind_of(model)
    names = [*TOKENS[kind].values(), PLACES[kind], "<|end|>", "<image>"]
    texts = [f"say {name} twice: {name}{name}" for name in names]
    special = set(model.tokenizer.all_special_ids)
    (plain,) = model.generate([look("say", pictures[0])], GREEDY)[0]
    for text in texts:
        for chat in (look(text, pictures[0]), user(text)):
            prompt = model._prompts.prepare(chat)
            bare = model._prompts.prepare(look("say", *chat[0].images))
            found, expected = (
                [i for i in model._prompts.encode(p.text) if i in special] for p in (prompt, bare)
            )
            assert found == expected
    rows = model.generate([look(text, pictures[0]) for text in texts], GREEDY)
    assert all(row[0].usage.prompt_tokens > plain.usage.prompt_tokens for row in rows)
    ids = model.logprobs([look("say", pictures[0])], [texts[0]])[0].token_ids
    assert not set(ids) & special
    assert model.tokenizer.decode(ids) == texts[0]


def test_a_placeholder_that_is_no_special_token_stays_text(tmp_path, pictures):
    tokenizer = make_tokenizer(TEMPLATE.replace("IMAGE", "<image>"))
    tokenizer.add_tokens(["<image>"])
    model = LocalModel(str(save_vision(tmp_path, "llava", tokenizer=tokenizer)), name="hf:llava")
    image = model.tokenizer.convert_tokens_to_ids("<image>")
    assert image not in model.tokenizer.all_special_ids
    prompt = model._prompts.prepare(look("an <image> here", pictures[0]))
    assert model._prompts.encode(prompt.text).count(image) == 16
    assert image not in model._prompts.encode(model._prompts.write(user("an <image> here")))


# -- templates ------------------------------------------------------------------------------------


def test_a_template_that_takes_only_text_gets_placeholders(tmp_path, pictures):
    text_only = (
        "{{ bos_token }}{% for message in messages %}{{ message.role }}: {{ message.content }}\n"
        "{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"
    )
    model = LocalModel(str(save_vision(tmp_path, "llava", template=text_only)), name="hf:llava")
    chat = look("what?", pictures[0], pictures[1])
    assert model._prompts.write(chat) == "<|bos|>user: <image>\n<image>\nwhat?\nassistant:"
    together = model.generate([chat, user("who?")], GREEDY)
    assert together[0][0].token_ids == model.generate([chat], GREEDY)[0][0].token_ids


def test_a_base_model_sees_the_image_before_the_text(tmp_path, pictures):
    model = LocalModel(str(save_vision(tmp_path, "llava", template=None)), name="hf:base")
    assert not model.is_chat
    assert model._prompts.write(look("what?", pictures[0])) == "<image>what?\n\n"
    (completion,) = model.generate([look("what?", pictures[0])], GREEDY)[0]
    assert completion.finish in ("stop", "length")


def test_a_prompt_that_is_read_both_ways_does_not_read_its_reply_so(tmp_path, pictures):
    folder = save_vision(tmp_path, "paligemma", template=None)
    model = LocalModel(str(folder), name="hf:paligemma")
    chats = [look("what is it?", pictures[0]), look("the quick brown fox", pictures[1])]
    sampling = Sampling(temperature=0, max_tokens=8, logprobs=True)
    together = model.generate(chats, sampling)
    for chat, (completion,) in zip(chats, together, strict=True):
        alone = model.generate([chat], sampling)[0][0]
        assert alone.token_ids == completion.token_ids
        prompt = model._prompts.prepare(chat)
        ids = model._prompts.encode(prompt.text)
        row = Row(0, ids, list(completion.token_ids), sight=prompt.sight)
        np.testing.assert_allclose(
            model._scorer.score([row])[0].logprobs, completion.logprobs, atol=1e-4
        )
    assert together[0][0].token_ids != together[1][0].token_ids


def test_a_template_without_a_place_for_images_is_bad_input(tmp_path, pictures):
    template = (
        "{% for message in messages %}{% for part in message.content %}{{ part.text }}"
        "{% endfor %}{% endfor %}"
    )
    model = LocalModel(str(save_vision(tmp_path, "llava", template=template)), name="hf:blind")
    assert model.generate([user("who?")], GREEDY)[0][0].finish != "error"
    with pytest.raises(BadInput, match="hf:blind: the processor refuses a chat with 1 image"):
        model.generate([look("what?", pictures[0])], GREEDY)


# -- faults ---------------------------------------------------------------------------------------


def test_a_broken_image_is_named(models, pictures, tmp_path):
    broken, cut = tmp_path / "broken.png", tmp_path / "cut.png"
    broken.write_bytes(b"no image")
    cut.write_bytes(pictures[0].read_bytes()[:-30])
    for name in (broken, cut, tmp_path / "missing.png"):
        for call in (
            lambda chat: models["gemma3"].generate([chat], GREEDY),
            lambda chat: models["gemma3"].logprobs([chat], ["A"]),
            lambda chat: models["gemma3"].label_logprobs([chat], ("A", "B")),
        ):
            with pytest.raises(BadInput, match=name.name):
                call(look("what?", name))


def test_a_shape_that_the_processor_refuses_is_bad_input(models, tmp_path):
    thin = tmp_path / "thin.png"
    Image.new("RGB", (2000, 2)).save(thin)
    with pytest.raises(BadInput, match="aspect ratio"):
        models["qwen2_5_vl"].generate([look("what?", thin)], GREEDY)


def test_an_image_that_changes_while_it_is_worked_on_is_bad_input(models, tmp_path, monkeypatch):
    model = models["qwen2_5_vl"]
    file = picture(tmp_path, 1, (48, 40))
    prepare = model._prompts.prepare

    def change(chat):
        prompt = prepare(chat)
        Image.new("RGB", (17, 33)).save(file)
        return prompt

    monkeypatch.setattr(model._prompts, "prepare", change)
    with pytest.raises(BadInput, match="changed while"):
        model.generate([look("what?", file)], GREEDY)


def test_the_tokens_of_an_image_count_for_the_context(models, pictures):
    model = models["idefics3"]  # 512 tokens
    chat = look("what is it?", *pictures)
    used = model.generate([chat], GREEDY)[0][0].usage.prompt_tokens
    assert used > 100
    sampling = Sampling(max_tokens=512 - used + 1, temperature=0)
    (long,) = model.generate([chat], sampling)[0]
    assert long.finish == "error"
    assert long.failures[0].kind == "context"
    assert f"{used} tokens" in long.failures[0].message
    with pytest.raises(BadInput, match="context of 512"):
        model.logprobs([look("owl " * 100, *pictures * 3)], ["A"])


def test_out_of_memory_halves_the_batch(checkpoints, chats, models, monkeypatch):
    model = LocalModel(str(checkpoints["qwen2_5_vl"]), name="m")
    whole = model.model.generate

    def generate(*, input_ids, **options):
        if len(input_ids) > 1:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        return whole(input_ids=input_ids, **options)

    monkeypatch.setattr(model.model, "generate", generate)
    expected = models["qwen2_5_vl"].generate(chats, GREEDY)
    for row, other in zip(model.generate(chats, GREEDY), expected, strict=True):
        assert row[0].token_ids == other[0].token_ids
    assert model.batch_size == 1
