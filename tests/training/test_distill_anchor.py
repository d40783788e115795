"""Warming towards an earlier checkpoint, and through the norm before the head alone."""

from __future__ import annotations

import copy

import pytest
import torch
import transformers
from safetensors.torch import load_file

from planish.methods.reheat.loss import reheat_loss
from planish.records import BadInput, user
from planish.training import distill
from planish.training.callbacks import Recorder
from planish.training.distill import DistillSettings, train_distill
from support.checkpoints import BOS, END, PAD, make_tokenizer, save_checkpoint

PROMPTS = [(f"item-{number}", user(f"two and {number} are")) for number in range(6)]
FEW = {
    "learning_rate": 1e-2,
    "num_steps": 2,
    "temperature": 2.0,
    "prompts_per_step": 2,
    "rollouts_per_prompt": 2,
    "max_tokens": 5,
    "schedule": "constant",
    "max_grad_norm": 1e9,
}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_checkpoint(tmp_path_factory.mktemp("anchor") / "base")


@pytest.fixture(scope="module")
def earlier(tmp_path_factory, base):
    """The same architecture with other weights, and so other opinions."""
    folder = tmp_path_factory.mktemp("anchor") / "earlier"
    model = transformers.AutoModelForCausalLM.from_pretrained(base)
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.2 * torch.randn_like(weight))
    model.save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


def run(folder, model, **changes):
    logged = {}
    train_distill(
        str(model),
        PROMPTS,
        DistillSettings(**{**FEW, **changes}),
        work=folder / "work",
        out=folder / "out",
        recorder=Recorder(logged.__setitem__),
    )
    return logged


@pytest.mark.parametrize("direction", ["fkl", "rkl"])
@pytest.mark.parametrize("teacher", ["frozen", "live", 1])
def test_the_teacher_is_the_geometric_mixture_with_the_anchor(
    tmp_path, monkeypatch, base, earlier, teacher, direction
):
    expected = []

    class Spy(distill._Trainer):
        first = None

        def _compute_loss(self, student, inputs, num_items_in_batch):
            found = super()._compute_loss(student, inputs, num_items_in_batch)
            if Spy.first is None or teacher != "frozen":
                Spy.first = copy.deepcopy(student)
            width = inputs["completion_ids"].shape[1]

            def logits(model):
                return model(
                    input_ids=torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1),
                    attention_mask=torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], 1),
                ).logits[:, -width - 1 : -1]

            with torch.no_grad():
                anchor = transformers.AutoModelForCausalLM.from_pretrained(earlier)
                mixture = logits(Spy.first) / 2 + logits(anchor).log_softmax(-1) / 2
            mask = inputs["completion_mask"]
            loss = reheat_loss(logits(student), mask, 1.0, direction, mixture)
            expected.append(loss.item())
            return found

    monkeypatch.setattr(distill, "_Trainer", Spy)
    logged = run(tmp_path, base, anchor=str(earlier), teacher=teacher, direction=direction)
    assert [logged[step]["loss"] for step in (1, 2)] == pytest.approx(expected, abs=1e-6)
    assert min(expected) > 1e-3


def test_a_policy_that_is_its_own_anchor_does_not_move(tmp_path, base):
    logged = run(tmp_path, base, anchor=str(base))
    assert logged[1]["loss"] == pytest.approx(0, abs=1e-6)


def test_a_hot_teacher_is_the_anchor(tmp_path, base, earlier):
    """At a temperature without end the policy no longer counts: it becomes the anchor."""
    logged = run(
        tmp_path, base, anchor=str(earlier), temperature=1e6, num_steps=40, learning_rate=5e-3
    )
    assert logged[40]["loss"] < 0.6 * logged[1]["loss"]


def test_an_anchor_with_other_tokens_or_capped_logits_is_refused(tmp_path, base):
    shape = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "pad_token_id": PAD,
        "eos_token_id": END,
        "bos_token_id": BOS,
    }
    larger = transformers.Qwen3ForCausalLM(transformers.Qwen3Config(vocab_size=301, **shape))
    capped = transformers.Gemma2ForCausalLM(
        transformers.Gemma2Config(vocab_size=300, final_logit_softcapping=3.0, **shape)
    )
    for name, model, message in (
        ("larger", larger, "it has 301 tokens, the model 300"),
        ("capped", capped, "its logits are capped"),
    ):
        model.save_pretrained(tmp_path / name)
        make_tokenizer().save_pretrained(tmp_path / name)
        with pytest.raises(BadInput, match=message):
            run(tmp_path / f"run-{name}", base, anchor=str(tmp_path / name))


def test_only_the_norm_before_the_head_is_trained(tmp_path, base):
    run(tmp_path, base, trains="final_norm")
    before, after = (load_file(each / "model.safetensors") for each in (base, tmp_path / "out"))
    moved = [name for name in before if not torch.equal(before[name], after[name])]
    assert moved == ["model.norm.weight"]


def test_a_model_without_such_a_norm_is_refused(tmp_path, monkeypatch, base):
    monkeypatch.setattr(distill, "_FINAL_NORMS", ())
    with pytest.raises(BadInput, match="has no norm before its head that we know"):
        run(tmp_path, base, trains="final_norm")
