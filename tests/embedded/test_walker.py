"""The shipped walkers: what is in the folders, how they are asked, and what RL made of one."""

import hashlib
import json
from itertools import pairwise

import pytest
import torch

from planish.embedded import WALKER_TASK, path
from planish.embedded.walker_model import VOCABULARY, build_tokenizer
from planish.methods.reheat.walkers import RL, STEPS, Bands, Pair, compare
from planish.models import load
from planish.records import Sampling
from planish.tasks.load import load_task
from planish.tasks.routes import RoutesTask

NAMES = ("walker", "walker-collapsed")
ASKED = [{"role": "user", "content": "3 to 17"}]


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", params=NAMES)
def folder(request):
    return path(request.param)


@pytest.fixture(scope="module")
def tokenizer(folder):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def facts():
    return {name: json.loads((path(name) / "build.json").read_text()) for name in NAMES}


def test_the_files_are_those_of_the_build(folder):
    told = json.loads((folder / "build.json").read_text())
    for name, digest in told["sha256"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest, name
    shipped = {file.name for file in folder.iterdir()}
    assert shipped == set(told["sha256"]) | {"build.json", "build.log"}
    assert shipped == {file.name for file in path("reasoner").iterdir()}
    assert sum(file.stat().st_size for file in folder.iterdir()) < 500_000
    assert told["num_parameters"] < 110_000


def test_both_are_of_one_build_by_the_rule(facts):
    first, collapsed = (facts[name] for name in NAMES)
    own = {"sha256", "num_parameters"}
    assert {key: first[key] for key in first.keys() - own} == {
        key: collapsed[key] for key in collapsed.keys() - own
    }
    assert first["sha256"]["model.safetensors"] != collapsed["sha256"]["model.safetensors"]
    assert first["sha256"]["tokenizer.json"] == collapsed["sha256"]["tokenizer.json"]
    assert first["task"] == WALKER_TASK == load_task(WALKER_TASK).name
    assert first["reinforcement_learning"]["steps"] == STEPS
    assert first["reinforcement_learning"]["learning_rate"] == RL.learning_rate
    assert Bands.model_validate(first["bands"]) == Bands()
    pairs = [Pair.model_validate(pair) for pair in first["pairs"]]
    assert [pair.world for pair in pairs] == list(range(len(pairs)))
    for pair in pairs:
        assert Bands().misses(pair.gate) == pair.misses
    assert first["shipped"] == next(pair.world for pair in pairs if not pair.misses)
    logs = {(path(name) / "build.log").read_text() for name in NAMES}
    [log] = logs
    assert log.endswith(f"shipped: world {first['shipped']}\n")


def test_every_node_is_a_token_and_text_comes_back(tokenizer):
    assert tokenizer.convert_ids_to_tokens(range(len(tokenizer))) == list(VOCABULARY)
    assert len(VOCABULARY) == 68
    text = "3 to 17 : 3 9 63 17"
    assert tokenizer.decode(tokenizer(text).input_ids) == text
    assert tokenizer("17 <eos>").input_ids[-1] == tokenizer.eos_token_id
    assert tokenizer("walk to 64").input_ids == [
        tokenizer.pad_token_id, VOCABULARY.index("to"), tokenizer.pad_token_id,
    ]  # fmt: skip
    assert tokenizer.padding_side == "left"
    assert tokenizer.eos_token_id != tokenizer.pad_token_id


def test_the_shipped_tokenizer_is_the_one_in_the_code(tokenizer):
    built = build_tokenizer()
    assert built.get_vocab() == tokenizer.get_vocab()
    assert built.chat_template == tokenizer.chat_template


@pytest.mark.parametrize("generation_prompt", [False, True])
@pytest.mark.parametrize(
    ("messages", "options", "text"),
    [
        (ASKED, {}, "3 to 17 : "),
        ([{"role": "system", "content": "Walk."}, *ASKED], {}, "3 to 17 : "),
        ([{"role": "user", "content": "1 to 2"}, {"role": "assistant", "content": "1 2"}, *ASKED],
         {}, "3 to 17 : "),
        ([*ASKED, {"role": "assistant", "content": "3 9 17"}], {}, "3 to 17 : 3 9 17 <eos>"),
        ([*ASKED, {"role": "assistant", "content": "3 9"}], {"continue_final_message": True},
         "3 to 17 : 3 9"),
    ],
)  # fmt: skip
def test_the_chat_template_knows_the_last_question_only(
    tokenizer, messages, options, text, generation_prompt
):
    if not options:  # transformers refuses to continue a reply and to begin one at once
        options = {"add_generation_prompt": generation_prompt}
    assert tokenizer.apply_chat_template(messages, tokenize=False, **options) == text


def test_a_chat_without_a_question_is_refused(tokenizer):
    with pytest.raises(Exception, match="a user message is needed"):
        tokenizer.apply_chat_template([{"role": "assistant", "content": "2"}], tokenize=False)


@pytest.mark.parametrize("name", NAMES)
def test_it_walks_along_the_edges_of_its_graph(name):
    task = load_task(WALKER_TASK)
    assert isinstance(task, RoutesTask)
    chats = [example.prompt for example in task.examples("report", 60)]
    replies = load(f"embedded:{name}").generate(
        chats, Sampling(temperature=1.0, max_tokens=9, seed=0)
    )
    steps = real = 0
    for [reply] in replies:
        nodes = [int(word) for word in reply.text.split()]
        for node, following in pairwise(nodes):
            steps += 1
            real += following in task.graph[node]
    assert real / steps > 0.97


def test_the_pair_lies_within_its_bands():
    task = load_task(WALKER_TASK)
    assert isinstance(task, RoutesTask)
    found = compare(str(path("walker")), str(path("walker-collapsed")), task, "gate", 200)
    # A quarter of the questions that decided: the point estimates lie well inside.
    assert Bands().misses(found) == ()
    assert found.collapsed.pass_at_1.value > 5 * found.first.pass_at_1.value
