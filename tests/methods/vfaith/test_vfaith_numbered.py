"""Texts are found by their number, however many there are and whatever they hold."""

from hypothesis import given
from hypothesis import strategies as st

from planish.methods.vfaith.numbered import Numbered

words = st.lists(st.text(st.characters(), max_size=3), max_size=40)


@given(words, st.text(max_size=3))
def test_the_first_of_equal_texts_is_found(texts, other):
    numbered = Numbered(texts)
    assert len(numbered) == len(texts)
    for text in [*texts, other]:
        assert numbered.find(text) == (texts.index(text) if text in texts else None)


@given(words)
def test_the_first_text_that_stands_twice(texts):
    again = next((place for place, text in enumerate(texts) if text in texts[:place]), None)
    expected = None if again is None else (texts.index(texts[again]), again)
    assert Numbered(texts).twice() == expected


def test_half_a_character_is_a_text_too():
    assert Numbered(["\ud800", "a"]).find("\ud800") == 0
