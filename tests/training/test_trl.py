"""Both stages against losses worked out by hand, unbroken against resumed, whole or not at all."""

import json
import math
import os
import resource
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch.nn import functional

from planish.embedded import path as embedded
from planish.models import load
from planish.models.local_loading import open_checkpoint
from planish.records import BadInput, Sampling, user
from planish.runs import DiskFull
from planish.training.callbacks import Recorder, TrainingFailed, last_checkpoint
from planish.training.checkpoint import room_for, trained
from planish.training.rows import Encoder, Row, encode_all
from planish.training.trl import Lora, Settings, train
from support.checkpoints import END, make_tokenizer
from support.training import flipped, reasoner_rows, save_qwen2

REASONER = str(embedded("reasoner"))
FIRST = Settings(learning_rate=5e-4, num_steps=6, batch_size=8, save_every=2)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def encoded(model, kind, rows):
    checkpoint = open_checkpoint(model, device="cpu")
    encoder = Encoder(checkpoint.tokenizer, model)
    return encode_all(rows, encoder, max_length=None, context=checkpoint.max_positions), encoder


def chain_rows(kind, number):
    names = ["completion"] if kind == "sft" else ["chosen", "rejected"]
    return [
        Row(
            raw["item_id"],
            user(raw["prompt"][0]["content"]),
            tuple(raw[name][0]["content"] for name in names),
            raw["gold"],
            "rows.jsonl:1",
        )
        for raw in reasoner_rows(kind, number)
    ]


def talk_rows(kind, number, words=8):
    replies = ("the owl said [[A]]", "the dog said [[B]]")[: 1 if kind == "sft" else 2]
    return [
        Row(f"item-{i}", user("the quick " * words + str(i)), replies, None, "rows.jsonl:1")
        for i in range(number)
    ]


def run(kind, model, rows, settings, folder, advance=lambda: None, before=None, logged=None):
    """Trains and returns what was logged, by step."""
    ids, encoder = encoded(model, kind, rows)
    logged = {} if logged is None else logged
    result = train(
        kind,
        model,
        ids,
        settings,
        end_id=encoder.end_id,
        work=folder / "work",
        out=folder / "out",
        recorder=Recorder(logged.__setitem__, advance, before),
    )
    assert trained(folder / "out") == result
    return logged


def weights(folder):
    return load_file(folder / "model.safetensors")


def reply_logprobs(model, row, reply):
    """Log-probabilities of a reply's tokens, by plain torch."""
    ids = torch.tensor([[*row.prompt_ids, *row.reply_ids[reply]]])
    with torch.no_grad():
        logits_TV = model(ids).logits[0]
    start = len(row.prompt_ids)
    scores = functional.log_softmax(logits_TV[start - 1 : -1].double(), dim=-1)
    return scores.gather(1, ids[0, start:, None])[:, 0]


def test_sft_loss_is_the_mean_over_completion_tokens_alone(tmp_path):
    rows = chain_rows("sft", 8)
    ids, _ = encoded(REASONER, "sft", rows)
    model = open_checkpoint(REASONER, device="cpu").model
    by_hand = -torch.cat([reply_logprobs(model, row, 0) for row in ids]).mean().item()
    logged = run("sft", REASONER, rows, FIRST, tmp_path)
    assert logged[1]["loss"] == pytest.approx(by_hand, rel=1e-4)
    assert sorted(logged) == [1, 2, 3, 4, 5, 6]
    assert {"grad_norm", "learning_rate", "mean_token_accuracy", "num_tokens"} <= set(logged[1])
    assert logged[6]["loss"] < logged[1]["loss"]


@pytest.mark.parametrize(
    ("preference_weight", "alpha"), [(1.0, 1.0), (1.0, 0.0), (0.0, 1.0), (0.5, 2.0)]
)
def test_dpo_loss_is_the_weighted_sum_of_both_terms(tmp_path, preference_weight, alpha):
    rows = chain_rows("dpo", 8)
    ids, _ = encoded(REASONER, "dpo", rows)
    settings = Settings(
        learning_rate=1e-3,
        num_steps=2,
        batch_size=8,
        schedule="constant",
        preference_weight=preference_weight,
        alpha=alpha,
    )
    logged = run("dpo", REASONER, rows, settings, tmp_path)
    start = open_checkpoint(REASONER, device="cpu").model
    nll = -torch.cat([reply_logprobs(start, row, 0) for row in ids]).mean().item()
    # The policy is the reference before its first step, so DPO's term is log 2.
    assert logged[1]["loss"] == pytest.approx(
        preference_weight * math.log(2) + alpha * nll, rel=1e-4
    )
    assert logged[1]["rewards/margins"] == pytest.approx(0, abs=1e-6)
    assert logged[2]["rewards/margins"] != pytest.approx(0, abs=1e-4)


def test_reference_is_where_the_stage_began(tmp_path):
    """Rewards are beta times the log-ratio to the start, worked out again on the result."""
    rows = chain_rows("dpo", 8)
    ids, _ = encoded(REASONER, "dpo", rows)
    settings = Settings(learning_rate=1e-3, num_steps=3, batch_size=8, schedule="constant")
    logged = run("dpo", REASONER, rows, settings, tmp_path)
    # What step 3 logs was measured before its update: train two steps alone to see these weights.
    two = Settings(learning_rate=1e-3, num_steps=2, batch_size=8, schedule="constant")
    run("dpo", REASONER, rows, two, tmp_path / "two")
    start = open_checkpoint(REASONER, device="cpu").model
    end = open_checkpoint(str(tmp_path / "two" / "out"), device="cpu").model
    ratios = [
        [
            (reply_logprobs(end, row, reply) - reply_logprobs(start, row, reply)).sum().item()
            for reply in (0, 1)
        ]
        for row in ids
    ]
    chosen, rejected = (sum(column) / len(ids) for column in zip(*ratios, strict=True))
    assert logged[3]["rewards/chosen"] == pytest.approx(0.1 * chosen, abs=1e-5)
    assert logged[3]["rewards/rejected"] == pytest.approx(0.1 * rejected, abs=1e-5)


@pytest.mark.parametrize(
    ("kind", "lora"),
    [
        ("sft", Lora(rank=4, dropout=0.1)),
        ("dpo", None),
        pytest.param("sft", None, marks=pytest.mark.slow),
        pytest.param("dpo", Lora(rank=4, dropout=0.1), marks=pytest.mark.slow),
    ],
)
def test_resumed_training_ends_with_the_same_weights(tmp_path, kind, lora):
    rows = chain_rows(kind, 21)  # a last batch that is not full, and a second epoch
    settings = Settings(
        learning_rate=1e-3, num_steps=7, batch_size=8, micro_batch_size=4, save_every=2, lora=lora
    )
    unbroken = run(kind, REASONER, rows, settings, tmp_path / "unbroken")
    before = {}

    class Killed(Exception):
        pass

    def kill():
        if len(before) == 5:  # the checkpoint of step 4 is there, step 5 is lost
            raise Killed

    ids, encoder = encoded(REASONER, kind, rows)
    with pytest.raises(Killed):
        train(
            kind,
            REASONER,
            ids,
            settings,
            end_id=encoder.end_id,
            work=tmp_path / "broken" / "work",
            out=tmp_path / "broken" / "out",
            recorder=Recorder(lambda step, numbers: (before.__setitem__(step, numbers), kill())[0]),
        )
    assert last_checkpoint(tmp_path / "broken" / "work").name == "checkpoint-4"
    resumed = run(kind, REASONER, rows, settings, tmp_path / "broken", before=before)
    assert sorted(resumed) == [6, 7]
    assert before | resumed == unbroken
    one, other = (weights(tmp_path / name / "out") for name in ("unbroken", "broken"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    name = "model.layers.0.mlp.up_proj.weight"
    assert not torch.equal(one[name], weights(Path(REASONER))[name])
    assert not (tmp_path / "broken" / "work").exists()


def test_same_seed_same_weights_and_another_seed_another_order(tmp_path):
    rows = chain_rows("sft", 64)
    settings = Settings(learning_rate=1e-3, num_steps=3, batch_size=8)
    other = Settings(learning_rate=1e-3, num_steps=3, batch_size=8, seed=1)
    first = run("sft", REASONER, rows, settings, tmp_path / "a")
    torch.manual_seed(7)
    assert run("sft", REASONER, rows, settings, tmp_path / "b") == first
    assert run("sft", REASONER, rows, other, tmp_path / "c")[1]["loss"] != first[1]["loss"]


def test_a_torn_checkpoint_is_not_resumed_from(tmp_path):
    for step, whole in ((2, True), (10, True), (12, False)):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        if whole:
            (folder / "complete").touch()
    assert last_checkpoint(tmp_path).name == "checkpoint-10"
    assert last_checkpoint(tmp_path / "nowhere") is None


@pytest.mark.parametrize("save_every", [2, 6])
def test_a_full_disk_is_told_and_training_goes_on_to_the_same_weights(tmp_path, save_every):
    """No room for the first training checkpoint, or none for the checkpoint at the end."""
    rows = chain_rows("sft", 8)
    settings = Settings(learning_rate=1e-3, num_steps=6, batch_size=4, save_every=save_every)
    logged = {}

    def fill():
        if len(logged) >= save_every - 1:
            resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.raises(DiskFull, match="free some space and resume"):
            run("sft", REASONER, rows, settings, tmp_path / "full", fill, logged=logged)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list((tmp_path / "full").glob("*out*"))
    run("sft", REASONER, rows, settings, tmp_path / "full")
    run("sft", REASONER, rows, settings, tmp_path / "whole")
    one, other = (weights(tmp_path / name / "out") for name in ("full", "whole"))
    assert all(torch.equal(one[name], other[name]) for name in other)


@pytest.mark.parametrize("lacking", [40, 400, 30_000])
def test_wherever_torch_runs_out_of_room_it_is_told_as_that(tmp_path, lacking):
    tensors = [torch.zeros(1000) for _ in range(10)]
    torch.save(tensors, tmp_path / "whole.pt")
    size = (tmp_path / "whole.pt").stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size - lacking, hard))
    try:
        with pytest.raises(DiskFull, match="free some space and resume"), room_for(tmp_path):
            torch.save(tensors, tmp_path / "part.pt")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_other_errors_are_not_taken_for_a_full_disk(tmp_path):
    (tmp_path / "torn.pt").write_bytes(b"PK\x03\x04 torn")
    with pytest.raises(RuntimeError) as told, room_for(tmp_path):
        torch.load(tmp_path / "torn.pt")
    assert not isinstance(told.value, DiskFull)


def test_no_room_for_the_last_checkpoint_leaves_no_part_of_it(tmp_path, monkeypatch):
    def write(_, folder, **__):
        Path(folder).mkdir(parents=True)
        if folder.endswith(".part"):
            raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("transformers.Trainer.save_model", write)
    settings = Settings(learning_rate=1e-3, num_steps=1, batch_size=4)
    with pytest.raises(DiskFull):
        run("sft", REASONER, chain_rows("sft", 4), settings, tmp_path)
    assert not list(tmp_path.glob("*out*"))


def test_another_training_into_the_same_folder_costs_neither_its_weights(tmp_path):
    """Both may have begun before it was there; the second is told where its own are."""
    settings = Settings(learning_rate=1e-3, num_steps=2, batch_size=4)
    rows, folder = chain_rows("sft", 4), tmp_path / "out"

    def other(*_):
        if not folder.exists():
            run("sft", REASONER, rows, settings, tmp_path / "other")
            (tmp_path / "other" / "out").rename(folder)

    ids, encoder = encoded(REASONER, "sft", rows)
    with pytest.raises(BadInput, match="another training made it meanwhile") as told:
        train(
            *("sft", REASONER, ids, settings),
            end_id=encoder.end_id,
            work=tmp_path / "work",
            out=folder,
            recorder=Recorder(other),
            run="second",
        )
    assert str(tmp_path / "out-second") in told.value.fix
    assert trained(folder).run == ""
    assert trained(tmp_path / "out-second").run == "second"
    assert not list(tmp_path.glob(".out*"))


@pytest.mark.parametrize("kind", ["sft", "dpo"])
def test_numbers_that_are_none_end_it_and_the_last_good_checkpoint_stays(tmp_path, kind):
    settings = Settings(
        learning_rate=1e25, num_steps=8, batch_size=4, save_every=1, schedule="constant"
    )
    with pytest.raises(TrainingFailed, match=r"(loss is|gradient is|weight is).* at step \d"):
        run(kind, REASONER, chain_rows(kind, 8), settings, tmp_path)
    assert not (tmp_path / "out").exists()
    found = last_checkpoint(tmp_path / "work")
    if found is not None:
        assert all(tensor.isfinite().all() for tensor in weights(found).values())


def test_a_loss_that_overflows_names_its_step(tmp_path):
    """The loss of step 3 is NaN because of what step 2 did; the checkpoint of step 1 is good."""
    settings = Settings(learning_rate=1e-4, num_steps=8, batch_size=4, save_every=1)
    poisoned = {}

    def poison():
        poisoned["steps"] = poisoned.get("steps", 0) + 1

    class Poison(Recorder):
        def on_step_begin(self, args, state, control, model=None, **_):
            if state.global_step == 2:
                next(model.parameters()).data.fill_(float("nan"))

    ids, encoder = encoded(REASONER, "sft", chain_rows("sft", 8))
    logged = {}
    with pytest.raises(TrainingFailed, match="the loss is nan at step 3"):
        train(
            "sft",
            REASONER,
            ids,
            settings,
            end_id=encoder.end_id,
            work=tmp_path / "work",
            out=tmp_path / "out",
            recorder=Poison(logged.__setitem__, poison),
        )
    assert math.isnan(logged[3]["loss"])
    assert last_checkpoint(tmp_path / "work").name == "checkpoint-2"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("lora", [None, pytest.param(Lora(rank=4), marks=pytest.mark.slow)])
def test_real_path_two_steps_of_each_stage_with_a_long_row(tmp_path, lora, capfd):
    """Qwen2 with a chat template from disk to disk; one row of 3,000 tokens goes in whole."""
    start = save_qwen2(tmp_path / "start")
    model = str(start)
    capfd.readouterr()
    for kind in ("sft", "dpo"):
        rows = [*talk_rows(kind, 1, words=700), *talk_rows(kind, 1)]
        ids, _ = encoded(model, kind, rows)
        assert max(row.length for row in ids) >= 3000
        settings = Settings(
            learning_rate=1e-3, num_steps=2, batch_size=2, micro_batch_size=1, lora=lora
        )
        logged = run(kind, model, rows, settings, tmp_path / kind)
        tokens = sum(row.num_tokens for row in ids)
        assert logged[2]["num_tokens"] == 2 * tokens  # nothing was cut
        before, after = weights(Path(model)), weights(tmp_path / kind / "out")
        assert before.keys() == after.keys()
        assert any(not torch.equal(before[name], after[name]) for name in before)
        model = str(tmp_path / kind / "out")
    out = tmp_path / "dpo" / "out"
    files = {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json"}
    files |= {"tokenizer_config.json", "chat_template.jinja", "training.json"}
    assert set(os.listdir(out)) == files | ({"adapter"} if lora else set())
    if lora:
        assert set(os.listdir(out / "adapter")) == {
            "adapter_config.json",
            "adapter_model.safetensors",
        }
    judge = load(f"hf:{out}")
    ((completion,),) = judge.generate([user("A or B?")], Sampling(temperature=0, max_tokens=4))
    assert completion.finish in ("stop", "length")
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


def test_merged_adapter_is_the_model_that_was_trained(tmp_path):
    """The next loss of the adapter's training is the first loss of the merged model's."""
    rows = chain_rows("sft", 8)
    settings = Settings(
        learning_rate=1e-2, num_steps=3, batch_size=8, lora=Lora(rank=4), schedule="constant"
    )
    logged = run("sft", REASONER, rows, settings, tmp_path / "three")
    two = Settings(
        learning_rate=1e-2, num_steps=2, batch_size=8, lora=Lora(rank=4), schedule="constant"
    )
    run("sft", REASONER, rows, two, tmp_path / "two")
    again = run("sft", str(tmp_path / "two" / "out"), rows, FIRST, tmp_path / "again")
    assert again[1]["loss"] == pytest.approx(logged[3]["loss"], rel=1e-4)
    assert logged[3]["loss"] != pytest.approx(logged[1]["loss"], rel=1e-2)


def test_a_base_model_learns_where_to_stop(tmp_path):
    """Its end of text is another token than the one that ends a turn of its template."""
    tokenizer = make_tokenizer(eos_token="<|turn|>")
    start = save_qwen2(tmp_path / "start", tokenizer=tokenizer, eos_token_id=2)
    settings = Settings(learning_rate=2e-2, num_steps=30, batch_size=4, schedule="constant")
    rows = talk_rows("sft", 4)
    run("sft", str(start), rows, settings, tmp_path)
    ((completion,),) = load(f"hf:{tmp_path / 'out'}").generate(
        [rows[0].prompt], Sampling(temperature=0, max_tokens=60)
    )
    assert completion.finish == "stop"
    assert completion.text == "the owl said [[A]]"
    assert END in open_checkpoint(str(tmp_path / "out"), device="cpu").eos_ids


def test_sampling_advice_that_contradicts_itself_does_not_cost_the_training(tmp_path):
    start = save_qwen2(tmp_path / "start")
    advice = {"eos_token_id": END, "do_sample": False, "temperature": 0.6, "top_p": 0.9}
    (start / "generation_config.json").write_text(json.dumps(advice))
    run("sft", str(start), talk_rows("sft", 4), FIRST, tmp_path)
    assert (tmp_path / "out" / "model.safetensors").exists()


def test_balanced_pairs_teach_the_tiny_judge(tmp_path):
    """More than chance says: the pairs' loss falls and the chosen judgment pulls ahead."""
    settings = Settings(learning_rate=3e-4, num_steps=40, batch_size=16, warmup=0.1)
    logged = run("dpo", REASONER, chain_rows("dpo", 320), settings, tmp_path)
    last = [logged[step] for step in range(31, 41)]
    assert sum(step["rewards/accuracies"] for step in last) / 10 > 0.7
    assert sum(step["rewards/margins"] for step in last) / 10 > 0.1
    assert flipped("7 2 V [[A]]") == "7 2 V [[B]]"


def test_batches_that_do_not_divide_are_refused(tmp_path):
    settings = Settings(learning_rate=1e-4, num_steps=1, batch_size=8, micro_batch_size=3)
    with pytest.raises(BadInput, match="micro-batch-size"):
        run("sft", REASONER, chain_rows("sft", 8), settings, tmp_path)
