"""What the embedded models are made of: their tokenizers are, byte for byte, those that ship."""

from __future__ import annotations

import pytest

from planish.embedded import path, reasoner_model, recall_model, walker_model
from planish.embedded.network import EOS, PAD, build_words_tokenizer

SHAPES = {
    "walker": walker_model,
    "walker-collapsed": walker_model,
    "reasoner": reasoner_model,
    "apprentice": reasoner_model,
    "recall": recall_model,
}


@pytest.mark.parametrize("name", SHAPES)
def test_a_tokenizer_is_the_one_that_ships(name, tmp_path):
    SHAPES[name].build_tokenizer().save_pretrained(tmp_path)
    written = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    assert set(written) == {"tokenizer.json", "tokenizer_config.json", "chat_template.jinja"}
    # When one ships, its class is named as older versions of transformers know it.
    new, old = b"TokenizersBackend", b"PreTrainedTokenizerFast"
    written = {each: content.replace(new, old) for each, content in written.items()}
    assert written == {each: (path(name) / each).read_bytes() for each in written}


@pytest.mark.parametrize(("pattern", "words"), [(None, [3, 1]), (r"[a-z]|\d", [0, 1, 1])])
def test_words_stand_between_blanks_or_as_a_pattern_cuts_them(pattern, words):
    vocabulary = ("a", "b", EOS, PAD)
    tokenizer = build_words_tokenizer(vocabulary, "", 8, pattern=pattern)
    assert tokenizer("ab b").input_ids == words
    assert (tokenizer.eos_token, tokenizer.pad_token) == (EOS, PAD)
    assert (tokenizer.model_max_length, tokenizer.padding_side) == (8, "left")
