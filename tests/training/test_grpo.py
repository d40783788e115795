"""GRPO: advantages of pooled groups, a bare `GRPOTrainer` as reference, resume, early stops."""

import json
import math
import shutil

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import PrinterCallback
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from planish.embedded import path as embedded
from planish.judges.pairs import ORDERS, task_cases
from planish.judges.templates import named
from planish.models.local_loading import open_checkpoint
from planish.records import BadInput, Sampling, user
from planish.tasks.chain import ChainTask
from planish.training.callbacks import Recorder, TrainingFailed, last_checkpoint, quiet
from planish.training.checkpoint import trained
from planish.training.groups import Group, Score, group_advantages
from planish.training.grpo import GrpoSettings, train_grpo
from planish.training.trainer import Lora, arguments_of
from support.training import save_qwen2

REASONER = str(embedded("reasoner"))
CASES = task_cases(ChainTask(), split="train", limit=12, seed=0)
GROUPS = [
    Group(case.id, tuple(named("chain").render(case, perm) for perm in ORDERS.values()))
    for case in CASES
]
FEW = GrpoSettings(
    learning_rate=1e-3,
    num_steps=4,
    groups_per_step=3,
    rollouts_per_prompt=2,
    max_tokens=8,
    schedule="constant",
    save_every=2,
)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def by_letters(rollouts):
    """A reward that every text has, so that groups differ within."""
    return [Score(float(sum(map(ord, r.completion.text)) % 7), parts={"one": 1}) for r in rollouts]


def run(folder, rewarder=by_letters, settings=FEW, groups=GROUPS, model=REASONER, **options):
    logged, seen = options.pop("logged", {}), []
    train_grpo(
        str(model),
        groups,
        rewarder,
        settings,
        work=folder / "work",
        out=folder / "out",
        recorder=Recorder(logged.__setitem__, options.pop("advance", lambda: None)),
        observe=seen.extend,
    )
    return logged, seen


rewards = st.lists(
    st.one_of(st.just(math.nan), st.floats(-5, 5, allow_nan=False)), min_size=4, max_size=4
)


@given(st.lists(rewards, min_size=1, max_size=4))
def test_an_unknown_reward_counts_for_nothing_and_learns_nothing(groups):
    flat = torch.tensor([value for group in groups for value in group])
    advantages, _ = group_advantages(flat, 4, "none")
    for start, group in zip(range(0, len(flat), 4), groups, strict=True):
        known = [value for value in group if not math.isnan(value)]
        for value, advantage in zip(group, advantages[start : start + 4].tolist(), strict=True):
            wanted = 0.0 if math.isnan(value) else value - sum(known) / len(known)
            assert advantage == pytest.approx(wanted, abs=1e-4)


@given(st.lists(st.floats(-5, 5), min_size=8, max_size=8), st.floats(-3, 3))
def test_a_constant_moves_no_advantage(values, shift):
    flat = torch.tensor(values)
    for scale in ("group", "batch", "none"):
        one, _ = group_advantages(flat, 4, scale)
        other, _ = group_advantages(flat + shift, 4, scale)
        # A deviation near zero is divided by, so rounding shows there.
        assert torch.allclose(one, other, atol=5e-2)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("known", [0, 1])
def test_a_batch_that_nobody_can_tell_has_no_deviation_and_no_warning(known):
    rewards = torch.tensor([1.0] * known + [math.nan] * (4 - known))
    advantages, _ = group_advantages(rewards, 4, "batch")
    assert advantages.tolist() == [0.0] * 4


def test_equal_rewards_and_lone_ones_teach_nothing():
    advantages, std = group_advantages(torch.tensor([1.0, 1, 1, math.nan, math.nan, 2]), 3, "group")
    assert advantages.tolist() == [0.0] * 6
    assert std.tolist() == [0.0] * 6


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
def test_with_one_prompt_a_group_it_is_trls_trainer(tmp_path, scale):
    """The same rollouts, losses and weights as `GRPOTrainer` given the same prompts."""
    groups = [Group(group.id, group.prompts[:1]) for group in GROUPS]
    settings = GrpoSettings(**{**vars(FEW), "scale": scale, "rollouts_per_prompt": 4})
    logged, seen = run(tmp_path, settings=settings, groups=groups)
    order = list(dict.fromkeys((row.step, row.rollout.group) for row in seen))
    prompts = [[{"role": "user", "content": groups[i].prompts[0][0].content}] for _, i in order]
    import datasets

    theirs = {}
    with quiet():
        torch.manual_seed(settings.seed)
        checkpoint = open_checkpoint(REASONER, device="cpu", dtype="float32")
        trainer = GRPOTrainer(
            model=checkpoint.model,
            reward_funcs=[
                lambda completions, **_: [
                    float(sum(map(ord, turns[0]["content"])) % 7) for turns in completions
                ]
            ],
            args=GRPOConfig(
                **arguments_of(settings, 12, tmp_path / "theirs"),
                num_generations=4,
                max_completion_length=8,
                shuffle_dataset=False,
                scale_rewards=scale,
                beta=0.0,
            ),
            train_dataset=datasets.Dataset.from_dict({"prompt": prompts}),
            processing_class=checkpoint.tokenizer,
            callbacks=[Recorder(theirs.__setitem__)],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    names = ["loss", "reward", "reward_std", "grad_norm"]
    if scale != "batch":  # TRL then counts a whole batch without variance
        names.append("frac_reward_zero_std")
    for step in theirs:
        for name in names:
            assert logged[step][name] == pytest.approx(theirs[step][name], rel=1e-4, abs=1e-6)


def test_what_a_checkpoint_recommends_for_sampling_changes_no_rollout(tmp_path):
    """And it is still recommended afterwards."""
    advice = {"do_sample": True, "top_k": 1, "no_repeat_ngram_size": 1, "suppress_tokens": [7, 8]}
    replies = []
    for name, more in (("plain", {}), ("advised", advice)):
        base = tmp_path / name / "base"
        shutil.copytree(REASONER, base)
        saved = json.loads((base / "generation_config.json").read_text())
        (base / "generation_config.json").write_text(json.dumps(saved | more))
        _, seen = run(tmp_path / name, model=base)
        replies.append([scored.rollout.completion.token_ids for scored in seen])
        kept = json.loads((tmp_path / name / "out" / "generation_config.json").read_text())
        assert more.items() <= kept.items()
        assert kept["eos_token_id"] == saved["eos_token_id"]
    assert replies[0] == replies[1]


def test_both_orders_share_a_baseline(tmp_path):
    """A reward of the prompt alone has no variance within prompts, and yet it is learned from."""

    def by_order(rollouts):
        return [Score(float(rollout.prompt)) for rollout in rollouts]

    logged, seen = run(tmp_path, by_order)
    for row in seen:
        sign = 1 if row.rollout.prompt else -1
        assert row.advantage == pytest.approx(sign * 0.5 / (1 / 3) ** 0.5, rel=1e-3)
    assert logged[1]["frac_reward_zero_std"] == 0
    assert logged[1]["grad_norm"] > 0
    assert len(seen) == FEW.num_steps * 3 * 2 * 2
    first = [row.rollout for row in seen if row.step == 1]
    assert [(r.group == first[0].group, r.prompt) for r in first[:4]] == [
        (True, 0),
        (True, 0),
        (True, 1),
        (True, 1),
    ]


def test_every_item_comes_once_an_epoch(tmp_path):
    _, seen = run(tmp_path)
    assert sorted({row.rollout.group for row in seen}) == list(range(12))
    steps = [{row.rollout.group for row in seen if row.step == step} for step in range(1, 5)]
    assert sum(map(len, steps)) == 12


def test_a_reward_nobody_can_tell_teaches_nothing(tmp_path):
    logged, _ = run(
        tmp_path, lambda rollouts: [Score(None, parts={"one": None, "two": 1}) for _ in rollouts]
    )
    assert logged[1]["grad_norm"] == 0
    assert logged[1]["part/two"] == 1
    assert math.isnan(logged[1].get("part/one", math.nan))


def test_each_stretch_is_taught_by_its_own_reward(tmp_path):
    """With credit on the solution alone, the verdict's tokens have no advantage, and vice versa."""
    found = {}

    def credit(rollouts):
        return [
            Score(
                1.0,
                credit=(
                    (r.completion.text.find(" V"), float(number % 2)),
                    (len(r.completion.text), 0.5),
                ),
            )
            if " V" in r.completion.text
            else Score(0.0, readable=False)
            for number, r in enumerate(rollouts)
        ]

    from planish.training import grpo

    class Spy(grpo._Trainer):
        def _generate_and_score_completions(self, inputs):
            output = super()._generate_and_score_completions(inputs)
            found.setdefault("advantages", output["advantages"].clone())
            found.setdefault("ids", output["completion_ids"].clone())
            return output

    original, grpo._Trainer = grpo._Trainer, Spy
    try:
        run(tmp_path, credit, GrpoSettings(**{**vars(FEW), "segments": 2, "num_steps": 1}))
    finally:
        grpo._Trainer = original
    tokenizer = open_checkpoint(REASONER, device="cpu").tokenizer
    checked = 0
    for ids, advantages in zip(found["ids"], found["advantages"], strict=True):
        words = tokenizer.convert_ids_to_tokens(ids.tolist())
        if "V" not in words:
            continue
        place = words.index("V")
        assert len(set(advantages[:place].tolist())) == 1
        assert advantages[0] != 0
        checked += 1
    assert checked >= 8


def test_the_first_step_must_be_readable(tmp_path):
    with pytest.raises(BadInput, match="only 0 of 12 rollouts have the form") as error:
        run(tmp_path, lambda rollouts: [Score(-0.5, readable=False) for _ in rollouts])
    assert error.value.where.startswith("item chain:")
    assert not (tmp_path / "out").exists()


def test_a_model_that_loses_the_form_is_stopped_with_a_checkpoint(tmp_path):
    calls = []

    def worse(rollouts):
        calls.append(1)
        return [Score(0.0, readable=len(calls) < 4) for _ in rollouts]

    with pytest.raises(TrainingFailed, match="at step 4"):
        run(tmp_path, worse)
    assert not (tmp_path / "out").exists()
    kept = last_checkpoint(tmp_path / "work")
    assert kept.name == "checkpoint-2"
    assert open_checkpoint(str(kept), device="cpu").tokenizer is not None


def test_a_run_that_goes_on_ends_like_one_that_was_never_broken(tmp_path):
    whole, _ = run(tmp_path / "whole")
    steps = []

    def stop():
        steps.append(1)
        if len(steps) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "broken", advance=stop)
    rest, seen = run(tmp_path / "broken")
    assert sorted(rest) == [3, 4]
    assert min(row.step for row in seen) == 3
    for step in (3, 4):
        assert rest[step]["loss"] == pytest.approx(whole[step]["loss"], rel=1e-5)
        assert rest[step]["reward"] == pytest.approx(whole[step]["reward"], rel=1e-5)
    assert trained(tmp_path / "broken" / "out").fresh_steps == 2


@pytest.mark.parametrize("lora", [None, Lora(rank=2)])
def test_it_trains_a_real_architecture(tmp_path, lora):
    """A Qwen2 with random weights and a chat template, saved and loaded; KL to where it began."""
    model = save_qwen2(tmp_path / "base")
    groups = [Group(f"item-{i}", (user(f"two and {i}"), user(f"{i} and two"))) for i in range(4)]
    settings = GrpoSettings(
        learning_rate=1e-3,
        num_steps=2,
        groups_per_step=2,
        rollouts_per_prompt=2,
        max_tokens=6,
        beta=0.1,
        lora=lora,
        micro_batch_size=4,
    )
    logged, _ = run(tmp_path / "run", settings=settings, groups=groups, model=model)
    assert logged[1]["kl"] == pytest.approx(0, abs=1e-5)
    assert logged[2]["kl"] > 0
    from planish.models import load

    [[reply]] = load(f"hf:{tmp_path / 'run' / 'out'}").generate(
        [user("two")], Sampling(max_tokens=3)
    )
    assert reply.finish in ("stop", "length")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rollouts_per_prompt": 1}, "nothing to be compared with"),
        ({"max_tokens": 500}, "more than the model's context of 128"),
        ({"micro_batch_size": 5}, "no multiple of 5"),
    ],
)
def test_what_cannot_be_trained_is_refused(tmp_path, change, words):
    with pytest.raises(BadInput, match=words):
        run(tmp_path, settings=GrpoSettings(**{**vars(FEW), **change}))
    assert not (tmp_path / "out").exists()
