"""The probe: the same prompts and draws every time, and frozen replies that stay what they were."""

import pytest

from planish.methods.reheat.data import PromptSet
from planish.methods.reheat.policy import Policy, entropies_of
from planish.methods.reheat.probing import Probe
from planish.models.base import Watcher
from planish.models.local_loading import open_checkpoint
from planish.records import BadInput, Example, user

PROMPTS = PromptSet(
    tuple(Example(id=f"q{i}", prompt=user(word)) for i, word in enumerate(["fox", "owl", "moon"]))
)


@pytest.fixture(scope="module")
def policy(checkpoint):
    return Policy(open_checkpoint(str(checkpoint()), device="cpu"), name="hf:tiny")


@pytest.fixture(scope="module")
def other(checkpoint):
    return Policy(open_checkpoint(str(checkpoint(seed=1)), device="cpu"), name="hf:other")


def probe(seed=0):
    return Probe(PROMPTS, max_tokens=6, seed=seed)


def test_the_same_seed_draws_the_same_and_another_does_not(policy):
    assert probe().draw(policy) == probe().draw(policy)
    assert probe().look(policy) == probe().look(policy)
    assert probe().draw(policy) != probe(seed=1).draw(policy)


def test_frozen_replies_tell_of_another_policy_on_the_same_words(policy, other):
    asked = probe()
    assert set(asked.look(policy)) == {"on_policy"}
    asked.freeze(policy)
    found = asked.look(other)
    assert found["frozen"].num_tokens == sum(len(text.reply_ids) for text in asked.frozen)
    assert found["frozen"] != found["on_policy"]
    assert asked.look(policy)["frozen"] == asked.look(policy)["on_policy"]


def test_kept_replies_are_read_back(policy, other, tmp_path):
    first, again = probe(), probe()
    first.freeze(policy, tmp_path / "frozen.json")
    again.freeze(other, tmp_path / "frozen.json")
    assert list(again.frozen) == list(first.frozen)
    (tmp_path / "frozen.json").write_text("{")
    with pytest.raises(BadInput, match="frozen replies"):
        probe().freeze(policy, tmp_path / "frozen.json")


def test_replies_go_by_their_prompts_and_what_does_not_fit_is_left_out(policy):
    long = Example(id="long", prompt=user("word " * 250))
    asked = Probe(PromptSet((long, *PROMPTS.examples)), max_tokens=6, seed=0)

    class Counting(Watcher):
        count = 0

        def completed(self, chat, sample, completion):
            self.count += 1

    watcher = Counting()
    found = asked.replies(policy, watcher)
    assert list(found) == ["q0", "q1", "q2"]
    assert list(found.values()) == probe().draw(policy)
    assert watcher.count == 4
    assert [len(row) for row in entropies_of(policy, list(found.values()))] == [
        len(text.reply_ids) for text in found.values()
    ]


def test_a_policy_that_says_nothing_is_told(policy):
    long = PromptSet((Example(id="long", prompt=user("word " * 250)),))
    with pytest.raises(BadInput, match="says nothing"):
        Probe(long, max_tokens=6, seed=0).look(policy)
