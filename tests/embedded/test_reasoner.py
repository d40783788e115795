"""The shipped reasoner: what is in the folder, how it is asked, and what it can do."""

import hashlib
import json

import pytest
import torch

from planish.embedded import MODELS, path
from planish.embedded.reasoner_evaluation import evaluate_judge, evaluate_solver
from planish.embedded.reasoner_model import VOCABULARY, build_tokenizer, judge_prompt, solve_prompt
from planish.judges.base import Case
from planish.judges.parse import parse
from planish.judges.templates import named
from planish.records import BadInput, Completion
from planish.tasks.chain import ChainTask

FOLDER = path("reasoner")
ASKED = [{"role": "user", "content": "3 + 4 - 5"}]


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def tokenizer():
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(FOLDER)


@pytest.fixture(scope="module")
def model():
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(FOLDER)


def complete(model, tokenizer, messages, **options):
    inputs = tokenizer.apply_chat_template(
        messages, return_dict=True, return_tensors="pt", padding=True, **options
    )
    output = model.generate(**inputs, max_new_tokens=12)
    return tokenizer.batch_decode(
        output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True
    )


def test_the_files_are_those_of_the_build():
    facts = json.loads((FOLDER / "build.json").read_text())
    assert set(facts["sha256"]) == {
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    for name, digest in facts["sha256"].items():
        assert hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() == digest, name
    assert set(facts["sha256"]) | {"build.json", "build.log"} == {
        file.name for file in FOLDER.iterdir()
    }
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) < 1_500_000


def test_every_base_is_reported_and_the_rule_chose_the_first_that_qualified():
    facts = json.loads((FOLDER / "build.json").read_text())
    log = (FOLDER / "build.log").read_text()
    fates = {base["seed"]: base["fate"] for base in facts["bases"]}
    assert len(fates) >= 5
    for seed, fate in fates.items():
        assert f"base {seed}\n" in log
        assert log.count(f"fate: {fate}") == list(fates.values()).count(fate)
    assert facts["shipped"] == min(seed for seed in fates if fates[seed] == "half-judge")


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(
        BadInput, match="no embedded model is called 'thinker'; use apprentice or reasoner"
    ):
        path("thinker")
    assert all(path(name).is_dir() for name in MODELS)


def test_the_package_says_what_it_ships_without_importing_torch():
    import subprocess
    import sys

    code = (
        "import sys, planish.embedded as e; e.path('reasoner'); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_tokenizer_has_a_token_for_every_word_of_the_grammar(tokenizer):
    assert len(VOCABULARY) == 23 == tokenizer.vocab_size == len(tokenizer)
    assert tokenizer.convert_ids_to_tokens(range(23)) == list(VOCABULARY)
    assert tokenizer.padding_side == "left"
    assert tokenizer.eos_token_id != tokenizer.pad_token_id
    text = "Q 3 + 4 * 5 A 7 2 B 7 3 J 7 2 V [[A]]"
    assert tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True) == text
    assert tokenizer("Q3+4*5A72B73J72V[[A]]").input_ids == tokenizer(text).input_ids
    assert tokenizer("V [[B]]<eos>").input_ids[-1] == tokenizer.eos_token_id
    assert tokenizer("What is ½?").input_ids == [tokenizer.pad_token_id] * 4


def test_the_shipped_tokenizer_is_the_one_in_the_code(tokenizer):
    built = build_tokenizer()
    assert built.get_vocab() == tokenizer.get_vocab()
    assert built.chat_template == tokenizer.chat_template


@pytest.mark.parametrize("generation_prompt", [False, True])
@pytest.mark.parametrize(
    ("messages", "options", "text"),
    [
        (ASKED, {}, "Q 3 + 4 - 5 S "),
        ([{"role": "user", "content": "Q 3 + 4 A 7 B 8 J"}], {}, "Q 3 + 4 A 7 B 8 J "),
        ([{"role": "system", "content": "Be brief."}, *ASKED], {}, "Q 3 + 4 - 5 S "),
        ([{"role": "user", "content": "1 + 1"}, {"role": "assistant", "content": "2"}, *ASKED], {},
         "Q 3 + 4 - 5 S "),
        ([*ASKED, {"role": "assistant", "content": "7 2"}], {}, "Q 3 + 4 - 5 S 7 2 <eos>"),
        ([*ASKED, {"role": "assistant", "content": "7"}], {"continue_final_message": True},
         "Q 3 + 4 - 5 S 7"),
    ],
)  # fmt: skip
def test_the_chat_template(tokenizer, messages, options, text, generation_prompt):
    if not options:  # transformers refuses to continue a reply and to begin one at once
        options = {"add_generation_prompt": generation_prompt}
    assert tokenizer.apply_chat_template(messages, tokenize=False, **options) == text


def test_a_chat_without_a_question_is_refused(tokenizer):
    with pytest.raises(Exception, match="a user message is needed"):
        tokenizer.apply_chat_template([{"role": "assistant", "content": "2"}], tokenize=False)


def test_it_answers_and_goes_on_from_a_forced_prefix(model, tokenizer):
    assert complete(model, tokenizer, [ASKED]) == ["7 2"]
    forced = [*ASKED, {"role": "assistant", "content": "7"}]
    assert complete(model, tokenizer, [forced], continue_final_message=True) == ["2"]
    judged = [{"role": "user", "content": judge_prompt("3 + 4 - 5", "7 2", "7 9")}]
    [reply] = complete(model, tokenizer, [judged])
    assert reply.split()[-2] == "V"
    assert reply.split()[-1] in ("[[A]]", "[[B]]")


def test_the_judges_template_and_parser_speak_its_grammar(model, tokenizer):
    task = ChainTask()
    example = task.example("3 + 4 - 5")
    case = Case(example=example, replies=("7 2", "7 9"))
    template = named("chain")
    chat = [message.model_dump() for message in template.render(case, (1, 0))]
    assert chat[0]["content"] == judge_prompt("3 + 4 - 5", "7 9", "7 2")
    [reply] = complete(model, tokenizer, [chat])
    parsed = parse(Completion(text=reply), template)
    assert parsed.status == "ok"
    assert task.verify(example, parsed.solution).score == 1.0


def test_a_ragged_batch_gives_the_same_as_one_by_one(model, tokenizer):
    tasks = [ChainTask(2), ChainTask(3), ChainTask(4)]
    questions = [e.prompt[0].content for task in tasks for e in task.examples("report", 8)]
    chats = [[{"role": "user", "content": question}] for question in questions]
    alone = [complete(model, tokenizer, [chat])[0] for chat in chats]
    assert complete(model, tokenizer, chats) == alone


def test_no_word_is_needed_before_the_question(model, tokenizer):
    [bare] = complete(model, tokenizer, [[{"role": "user", "content": "8 - 9 + 4"}]])
    [full] = complete(model, tokenizer, [[{"role": "user", "content": solve_prompt("8 - 9 + 4")}]])
    assert bare == full == "9 3"


def test_it_solves(model):
    metrics = evaluate_solver(model, limit=200)
    assert metrics.greedy.n == metrics.sampled.n == 200
    assert metrics.greedy.value >= 0.97
    assert metrics.sampled.value >= 0.97


def test_it_judges_half_right_and_favours_no_slot(model):
    metrics = evaluate_judge(model, limit=150)
    assert metrics.accuracy.n == 150
    assert 0.55 <= metrics.accuracy.value <= 0.73
    assert 0.25 <= metrics.consistency.value <= 0.65
    assert 0.38 <= metrics.first_slot.value <= 0.62
    assert metrics.coverage.value >= 0.95
    assert metrics.inner_gap.value >= 0.2  # it solves what it misjudges
