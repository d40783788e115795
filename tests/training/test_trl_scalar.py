"""A Bradley-Terry head: its loss by hand, unbroken against resumed, and that it learns."""

import math
import random
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from planish.judges import Case, agreement
from planish.judges.scalar import ScalarJudge
from planish.models.local_loading import open_checkpoint
from planish.records import Example, user
from planish.training.callbacks import Recorder, last_checkpoint
from planish.training.checkpoint import trained
from planish.training.rows import Encoder, Row, encode_all
from planish.training.trl import Lora, Settings, train
from support.checkpoints import make_tokenizer
from support.training import save_qwen2

ANIMALS = ("fox", "dog", "moon", "two", "four", "user")


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def cases_of(number, seed=0):
    """Whoever names the owl is right, wherever it stands in the reply."""
    draw = random.Random(seed)
    cases = []
    for index in range(number):
        words = [draw.choice(ANIMALS) for _ in range(draw.randrange(2, 6))]
        right = list(words)
        right[draw.randrange(len(words))] = "owl"
        gold = draw.choice("AB")
        replies = (" ".join(right), " ".join(words))
        meta = {"gold": gold}
        example = Example(id=f"{seed}-{index}", prompt=user(f"who? {index}"), meta=meta)
        cases.append(Case(example=example, replies=replies if gold == "A" else replies[::-1]))
    return cases


def rows_of(cases):
    return [
        Row(
            id=case.id,
            prompt=case.example.prompt,
            replies=case.replies if case.gold == "A" else case.replies[::-1],
            gold=case.gold,
            where="pairs.jsonl",
        )
        for case in cases
    ]


def run(model, rows, settings, folder, advance=lambda: None, before=None):
    checkpoint = open_checkpoint(model, device="cpu")
    encoder = Encoder(checkpoint.tokenizer, model, whole=True)
    encoded = encode_all(rows, encoder, max_length=None, context=checkpoint.max_positions)
    logged = {}
    result = train(
        "scalar",
        model,
        encoded,
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


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return str(save_qwen2(tmp_path_factory.mktemp("base") / "start", initializer_range=0.1))


def test_the_loss_is_that_of_bradley_and_terry(base, tmp_path):
    """Of the rewards that the finished judge tells; a step of next to nothing left it as it was."""
    cases = cases_of(8)
    settings = Settings(learning_rate=1e-12, num_steps=1, batch_size=8, schedule="constant")
    logged = run(base, rows_of(cases), settings, tmp_path)
    rewards = ScalarJudge(str(tmp_path / "out")).rewards(cases)
    margins = [
        (one - other) * (1 if case.gold == "A" else -1)
        for case, (one, other) in zip(cases, rewards, strict=True)
    ]
    expected = sum(math.log1p(math.exp(-margin)) for margin in margins) / len(margins)
    assert logged[1]["loss"] == pytest.approx(expected, rel=1e-4)
    assert logged[1]["margin"] == pytest.approx(sum(margins) / len(margins), abs=1e-5)
    assert logged[1]["accuracy"] == sum(margin > 0 for margin in margins) / len(margins)
    # The head is new, and nothing else of the model is.
    before, after = weights(Path(base)), weights(tmp_path / "out")
    assert after.keys() - before.keys() == {"score.weight"}
    assert before.keys() - after.keys() == {"lm_head.weight"}


def test_it_learns_what_tells_the_replies_apart(base, tmp_path):
    held_out = cases_of(60, seed=1)
    settings = Settings(learning_rate=3e-3, num_steps=40, batch_size=16)
    logged = run(base, rows_of(cases_of(160)), settings, tmp_path)
    assert logged[1]["loss"] == pytest.approx(math.log(2), abs=0.1)
    assert logged[40]["loss"] < 0.2
    assert logged[40]["margin"] > 1
    judge = ScalarJudge(str(tmp_path / "out"))
    result = agreement(held_out, judge.judgments(held_out))
    assert result.accuracy.value > 0.95
    assert result.brier < 0.1
    start = Settings(learning_rate=1e-12, num_steps=1, batch_size=16)
    run(base, rows_of(held_out), start, tmp_path / "untrained")
    untrained = ScalarJudge(str(tmp_path / "untrained" / "out"))
    assert agreement(held_out, untrained.judgments(held_out)).accuracy.value < 0.8


@pytest.mark.parametrize("lora", [None, pytest.param(Lora(rank=4), marks=pytest.mark.slow)])
def test_resumed_training_ends_with_the_same_weights(base, tmp_path, lora):
    rows = rows_of(cases_of(21))
    settings = Settings(
        learning_rate=1e-3, num_steps=7, batch_size=8, micro_batch_size=4, save_every=2, lora=lora
    )
    unbroken = run(base, rows, settings, tmp_path / "unbroken")
    before = {}

    class Killed(Exception):
        pass

    def keep(step, numbers):
        before[step] = numbers
        if step == 5:
            raise Killed

    checkpoint = open_checkpoint(base, device="cpu")
    encoder = Encoder(checkpoint.tokenizer, base, whole=True)
    with pytest.raises(Killed):
        train(
            "scalar",
            base,
            encode_all(rows, encoder, max_length=None, context=None),
            settings,
            end_id=encoder.end_id,
            work=tmp_path / "broken" / "work",
            out=tmp_path / "broken" / "out",
            recorder=Recorder(keep),
        )
    assert last_checkpoint(tmp_path / "broken" / "work").name == "checkpoint-4"
    torch.manual_seed(7)  # a head that is drawn again must be the same
    resumed = run(base, rows, settings, tmp_path / "broken", before=before)
    assert sorted(resumed) == [6, 7]
    assert before | resumed == unbroken
    one, other = (weights(tmp_path / name / "out") for name in ("unbroken", "broken"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not (tmp_path / "broken" / "work").exists()


def test_rows_at_once_change_no_number(base, tmp_path):
    rows = rows_of(cases_of(16))
    logged = [
        run(
            base,
            rows,
            Settings(learning_rate=1e-3, num_steps=3, batch_size=8, micro_batch_size=micro),
            tmp_path / str(micro),
        )
        for micro in (8, 2)
    ]
    for step in (1, 2, 3):
        for name in ("loss", "margin", "accuracy"):
            assert logged[0][step][name] == pytest.approx(logged[1][step][name], abs=1e-5)


@pytest.mark.slow
def test_a_merged_adapter_is_the_judge_that_was_trained(base, tmp_path):
    """The next loss of the adapter's training is the first loss of the merged model's."""
    rows = rows_of(cases_of(8))

    def settings(num_steps):
        shape = {"learning_rate": 1e-2, "batch_size": 8, "schedule": "constant"}
        return Settings(num_steps=num_steps, lora=Lora(rank=4), **shape)

    logged = run(base, rows, settings(3), tmp_path / "three")
    run(base, rows, settings(2), tmp_path / "two")
    merged = tmp_path / "two" / "out"
    assert (merged / "adapter" / "adapter_model.safetensors").exists()
    rewards = ScalarJudge(str(merged)).rewards(cases_of(8))
    margins = [
        (one - other) * (1 if case.gold == "A" else -1)
        for case, (one, other) in zip(cases_of(8), rewards, strict=True)
    ]
    loss = sum(math.log1p(math.exp(-margin)) for margin in margins) / len(margins)
    assert loss == pytest.approx(logged[3]["loss"], rel=1e-4)
    assert loss != pytest.approx(logged[1]["loss"], rel=1e-2)


def test_a_long_row_goes_in_whole_and_nobody_is_told_anything(base, tmp_path, capfd):
    long = Row("long", user("the quick " * 700), ("the owl", "the dog"), "A", "pairs.jsonl")
    capfd.readouterr()
    settings = Settings(learning_rate=1e-3, num_steps=1, batch_size=2, micro_batch_size=1)
    rows = [long, *rows_of(cases_of(1))]
    logged = run(base, rows, settings, tmp_path)
    encoder = Encoder(make_tokenizer(), base, whole=True)
    ids = [encoder.encode(row) for row in rows]
    assert max(row.length for row in ids) > 2000
    assert logged[1]["num_tokens"] == sum(row.num_tokens for row in ids)
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""
