"""The evaluation's parts: documents as tokens, the dense run, what an arm missed."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from planish.embedded.recall_model import build_tokenizer
from planish.errors import BadInput
from planish.methods.lookahead.evaluate.dense import Greedy, Looked, prefill, run_dense
from planish.methods.lookahead.evaluate.documents import Document, batches, documents
from planish.methods.lookahead.evaluate.quality import (
    Quality,
    limits,
    measure,
    needed,
    needed_by_task,
    present,
    windows_of,
)
from planish.methods.lookahead.evaluate.settings import Settings
from planish.models.memory.backbone import Backbone
from planish.records import Example, user
from planish.tasks.recall.task import RecallTask
from support import backbones

CHUNK = 8
TASK = RecallTask("niah_multikey_1", 96)


def loaded(name, folder):
    model = backbones.load(backbones.make(name, folder / name))
    return model, Backbone.of(model)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("backbones")


def document(ids, place=0, max_tokens=6):
    return Document(
        id=f"d{place}", task=TASK, seed=0, family="one", max_tokens=max_tokens,
        example=Example(id=str(place), prompt=user("x")), prompt_ids=tuple(ids),
    )  # fmt: skip


def prompts(rows, length, seed=0):
    torch.manual_seed(seed)
    ids = torch.randint(2, backbones.VOCABULARY, (rows, length)).tolist()
    return [document(each, place) for place, each in enumerate(ids)]


# ---- documents -------------------------------------------------------------------------------


def test_needs_of_records_are_the_tokens_of_the_prompt_and_of_the_answer():
    tokenizer = build_tokenizer()
    [found] = documents([TASK], tokenizer, split="report", number=1, seeds=(4,))
    answer = tokenizer(TASK.gold(found.example), add_special_tokens=False).input_ids
    assert found.max_tokens == len(answer) + 2
    assert found.family == "niah_multikey_1"
    assert [token for token, _, _ in found.needs] == [*range(8), *range(3)]
    record, asked = dict.fromkeys((begin, behind) for _, begin, behind in found.needs)
    # The record in the prompt says what the answer says, but for the mark before it; the question
    # says its first words.
    assert list(found.prompt_ids[record[0] + 1 : record[1]]) == answer[1:]
    assert list(found.prompt_ids[slice(*asked)]) == answer[:3]


def test_a_task_that_hangs_on_everything_tells_no_needs():
    task = RecallTask("cwe", 96)
    [found] = documents([task], build_tokenizer(), split="report", number=1, seeds=(0,))
    assert found.needs is None


def test_documents_are_drawn_anew_for_each_seed_and_never_come_twice():
    tokenizer = build_tokenizer()
    found = documents([TASK], tokenizer, split="report", number=2, seeds=(0, 1))
    assert len({each.id for each in found}) == len({each.prompt_ids for each in found}) == 4
    with pytest.raises(BadInput, match="comes twice"):
        documents([TASK, TASK], tokenizer, split="report", number=1, seeds=(0,))
    with pytest.raises(BadInput, match="no examples"):
        documents([TASK], tokenizer, split="report", number=0, seeds=(0,))


@given(st.lists(st.integers(2, 4), max_size=12), st.integers(1, 3))
def test_a_batch_holds_prompts_of_one_length(lengths, size):
    found = [document(range(2, 2 + length), place) for place, length in enumerate(lengths)]
    made = list(batches(found, size))
    assert sorted(each.id for batch in made for each in batch) == sorted(one.id for one in found)
    for batch in made:
        assert 1 <= len(batch) <= size
        assert len({len(each.prompt_ids) for each in batch}) == 1


def test_a_family_alone_gives_the_examples_that_it_gives_among_others():
    """And so the demonstration its numbers, whether families run apart or together."""

    def drawn(family, number):
        task = RecallTask(family, 96)
        found = documents([task], build_tokenizer(), split="report", number=number, seeds=(0,))
        return {(each.example.id, each.prompt_ids) for each in found}

    apart = [drawn("niah_multikey_1", 2), drawn("vt", 2)]
    assert drawn("niah_multikey_1+vt", 4) == apart[0] | apart[1]


def test_a_batch_is_of_one_seed():
    found = [replace(document(range(9), place), seed=place % 2) for place in range(6)]
    assert [{each.seed for each in some} for some in batches(found, 4)] == [{0}, {1}]


# ---- the dense run ---------------------------------------------------------------------------


def test_a_row_that_ended_takes_no_more_tokens():
    greedy = Greedy((9,), (3, 3, 1))
    for tokens in ([1, 9, 5], [2, 4, 4], [9, 4, 4]):
        assert not greedy.over
        greedy.take(torch.tensor(tokens))
    assert greedy.over
    assert greedy.replies == [[1, 2], [], [5]]
    assert greedy.steps_B == [3, 1, 1]


@pytest.mark.parametrize("name", ["llama", "gemma3", "gpt-oss"])
def test_the_dense_run_is_the_models_own_greedy_reply(name, folder):
    model, backbone = loaded(name, folder)
    batch = prompts(2, 40)
    run = run_dense(model, backbone, batch, (), Settings(piece_tokens=7, observed=5), CHUNK)
    prompt_BT = torch.tensor([each.prompt_ids for each in batch])
    expected = model.generate(
        prompt_BT, attention_mask=torch.ones_like(prompt_BT), do_sample=False, max_new_tokens=6
    )
    assert run.replies == expected[:, 40:].tolist()
    assert torch.equal(run.fed_BT, expected[:, 39:45])
    assert torch.equal(run.chosen_BT, expected[:, 40:])
    # What is looked at, by the model's own weights.
    output = model(expected[:, :45], output_attentions=True)
    assert torch.allclose(torch.stack(run.logits_TBV, 1), output.logits[:, 39:].float(), atol=1e-4)
    for place, layer in enumerate(backbone.memory_layers):
        weights = output.attentions[layer][:, :, 39:].float()
        chunks = weights[..., :40].unflatten(-1, (-1, CHUNK)).sum(-1)
        assert torch.allclose(run.looked.mass_BMTC[:, place], chunks.mean(1), atol=1e-5)
        assert torch.allclose(run.looked.head_BMTC[:, place], chunks.amax(1), atol=1e-5)
        assert torch.allclose(run.looked.total_BMT[:, place], weights.sum(-1).mean(1), atol=1e-5)


def test_the_end_of_the_prompt_is_observed(folder):
    _, backbone = loaded("llama", folder)
    prompt_BT = torch.randint(2, 90, (2, 30))
    read = prefill(backbone, prompt_BT, piece_tokens=8, observed=4)
    assert read.observed_BQ.tolist() == [[25, 26, 27, 28]] * 2
    whole = prefill(backbone, prompt_BT, piece_tokens=999, observed=29)
    for layer, hidden_BQE in read.hidden.items():
        assert torch.allclose(hidden_BQE, whole.hidden[layer][:, -4:], atol=1e-5)
        for mine, other in zip(read.keys_values[layer], whole.keys_values[layer], strict=True):
            assert mine.shape[2] == 29
            assert torch.allclose(mine, other, atol=1e-5)


def test_a_model_that_says_nan_is_refused(folder):
    model, backbone = loaded("llama", folder)
    torch.nn.init.constant_(model.lm_head.weight, float("nan"))
    with pytest.raises(BadInput, match="logits hold NaN"):
        run_dense(model, backbone, prompts(1, 12), (), Settings(), CHUNK)


def test_what_a_step_needs_is_what_a_head_looks_at(folder):
    model, backbone = loaded("llama", folder)
    dials = Settings(head_mass=0.2, recent_tokens=8)
    run = run_dense(model, backbone, prompts(2, 60), (), dials, CHUNK)
    found = needed(run, dials, CHUNK)
    looked = (run.looked.head_BMTC > 0.2).any(1)
    for step in range(found.shape[1]):
        length = 60 + step  # tokens there are behind the step
        could = [(chunk + 1) * CHUNK <= length - 8 for chunk in range(found.shape[2])]
        assert torch.equal(found[:, step], looked[:, step] & torch.tensor(could))
    assert found.any()


# ---- what an arm missed ----------------------------------------------------------------------


def test_needs_of_a_task_become_chunks():
    found = needed_by_task([((0, 7, 9), (2, 16, 24)), ()], 2, 4, 8)
    assert found.nonzero().tolist() == [[0, 0, 0], [0, 0, 1]]  # step 2 is behind the end


@given(st.sets(st.integers(0, 20), max_size=5), st.integers(1, 22))
def test_windows_cover_every_step_behind_the_first_decision(decisions, steps):
    windows = windows_of(sorted(decisions), steps)
    covered = [step for window in windows for step in window]
    inside = [step for step in decisions if step + 1 < steps]
    assert covered == list(range(min(inside, default=steps) + 1, steps))
    assert [window.start - 1 for window in windows] == sorted(inside)


def test_a_chunk_that_is_not_complete_yet_is_there():
    resident = torch.tensor([[True, False]])
    assert present(resident, 0, 4).tolist() == [True, False, True, True]


def scene(steps=6, chunks=5, layers=2, seed=0):
    torch.manual_seed(seed)
    mass = torch.rand(1, layers, steps, chunks)
    looked = Looked(mass, mass, mass.sum(-1) + 0.5)  # the rest is on tokens of no chunk
    return looked, torch.rand(1, steps, chunks) > 0.6


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 999), st.integers(1, 4), st.integers(2, 6))
def test_what_was_missed_by_the_book(seed, interval, steps):
    looked, needs = scene(seed=seed)
    resident = [torch.rand(1, 5) > 0.5 for _ in range(6)]
    decisions = list(range(0, 6, interval))
    dials = Settings(recent_tokens=1, sink_tokens=0)
    found = measure(
        looked, needs, resident, decisions, row=0, steps=steps, start=99,
        limits=limits(dials, CHUNK, 5), interval=interval,
    )  # fmt: skip
    missed = [
        sum(
            float(
                looked.mass_BMTC[0, layer, step][~resident[step][0]].sum()
                / looked.total_BMT[0, layer, step]
            )
            for layer in range(2)
        )
        / 2
        for step in range(steps)
    ]
    groups = [
        list(range(first + 1, min(first + interval, steps - 1) + 1))
        for first in decisions
        if first + 1 < steps
    ]
    assert found.mass_recall == pytest.approx(1 - sum(missed[1:]) / (steps - 1), abs=1e-5)
    worst = max(sum(missed[step] for step in group) / len(group) for group in groups)
    assert found.missed_mass == pytest.approx(worst, abs=1e-5)
    hits = wants = 0
    stale, late = 0, 0
    for group in groups:
        union = {c for step in group for c in range(5) if needs[0, step, c]}
        wants += len(union)
        hits += sum(bool(resident[group[0]][0, c]) for c in union)
        for step in group[1:]:
            mine = [c for c in range(5) if needs[0, step, c]]
            late += bool(mine)
            stale += any(not resident[step][0, c] for c in mine)
    assert found.recall == (pytest.approx(hits / wants) if wants else None)
    assert found.miss_rate == (pytest.approx(stale / late) if late else None)


def test_nothing_is_measured_before_the_first_decision():
    looked, needs = scene()
    resident = [torch.ones(1, 5, dtype=torch.bool)] * 6
    common = {"row": 0, "start": 99, "limits": limits(Settings(), CHUNK, 5), "interval": 64}
    nothing = measure(looked, needs, resident, [], steps=6, **common)
    assert nothing == Quality(None, None, None, None)
    assert nothing.by_distance == ()
    whole = measure(looked, needs, resident, [0], steps=6, **common)
    assert (whole.mass_recall, whole.missed_mass, whole.miss_rate) == (1.0, 0.0, 0.0)
