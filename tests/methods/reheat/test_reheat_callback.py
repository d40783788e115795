"""`ReheatCallback`: what it watches, when it fires, that it changes nothing, that it resumes."""

import json

import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file
from transformers import PrinterCallback, TrainerCallback
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from planish.embedded import path as embedded
from planish.methods.reheat import ReheatCallback
from planish.methods.reheat.callback import stopped_at
from planish.methods.reheat.data import TaskRewarder, prompt_sets
from planish.methods.reheat.method import EntropyProbe, Trigger
from planish.methods.reheat.policy import Policy
from planish.methods.reheat.probing import Probe
from planish.models.local_loading import open_checkpoint
from planish.records import BadInput
from planish.tasks.chain import ChainTask
from planish.training.callbacks import Recorder, quiet
from planish.training.checkpoint import trained
from planish.training.grpo import GrpoSettings, train_grpo
from planish.training.trainer import Lora, arguments_of

REASONER = str(embedded("reasoner"))
TASK = ChainTask()
SETS = prompt_sets(TASK, train=12, probe=4, report=4, seed=0)
FEW = GrpoSettings(
    learning_rate=1e-2,
    num_steps=6,
    groups_per_step=3,
    rollouts_per_prompt=4,
    max_tokens=8,
    schedule="constant",
    save_every=2,
    min_readable=0,
)
NEVER, ALWAYS = Trigger(absolute=-1.0), Trigger(absolute=99.0, patience=2)


def probe():
    return Probe(SETS.probe, max_tokens=8, seed=0)


def run(folder, *callbacks, settings=FEW, logged=None):
    logged = {} if logged is None else logged
    done = train_grpo(
        REASONER,
        SETS.train.groups,
        TaskRewarder(TASK, SETS.train.examples),
        settings,
        work=folder / "work",
        out=folder / "out",
        recorder=Recorder(logged.__setitem__),
        callbacks=callbacks,
    )
    return done, logged


def weights(folder):
    return load_file(folder / "out" / "model.safetensors")


def same(one, other):
    one, other = weights(one), weights(other)
    return all(torch.equal(one[name], other[name]) for name in one)


class Kill(TrainerCallback):
    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **_):
        if state.global_step == self.step:
            raise KeyboardInterrupt


def test_a_bare_trainer_is_watched_for_nothing_and_stops_with_its_state_saved(tmp_path):
    heard, decided = [], []
    watch = ReheatCallback(
        trigger=Trigger(absolute=99.0, patience=3),
        on_probe=heard.append,
        on_decision=decided.append,
    )
    trainer = GRPOTrainer(
        model=REASONER,
        reward_funcs=lambda completions, **_: [float(len(set(text))) for text in completions],
        args=GRPOConfig(
            **arguments_of(FEW, 12, tmp_path), num_generations=4, max_completion_length=8
        ),
        train_dataset=Dataset.from_dict({"prompt": [p[0].content for p in SETS.train.chats]}),
        callbacks=[watch],
    )
    trainer.remove_callback(PrinterCallback)
    with quiet():
        trainer.train()
    assert trainer.state.global_step == 3
    assert watch.fired is not None
    assert decided == [watch.fired]
    assert watch.fired.step == 3
    assert watch.fired.reason.startswith("collapsed since step 1: entropy ")
    assert "groups without variance" in watch.fired.reason
    assert watch.fired.checkpoint == str(tmp_path / "checkpoint-3")
    assert (tmp_path / "checkpoint-3" / "optimizer.pt").exists()
    assert stopped_at(tmp_path / "checkpoint-3") == 3
    assert heard == watch.probes
    logged = [row["entropy"] for row in trainer.state.log_history if "entropy" in row]
    assert [each.entropy.mean for each in heard] == logged
    assert {each.kind for each in heard} == {"rollouts"}
    assert all(each.entropy.num_tokens > 0 and each.entropy.p10 is None for each in heard)


def test_logged_entropies_are_averaged_between_two_looks(tmp_path):
    watch = ReheatCallback(trigger=NEVER, every=3)
    _, logged = run(tmp_path, watch)
    assert [each.step for each in watch.probes] == [3, 6]
    for each in watch.probes:
        steps = range(each.step - 2, each.step + 1)
        mean = sum(logged[step]["entropy"] for step in steps) / 3
        assert each.entropy.mean == pytest.approx(mean)
    assert watch.fired is None


def test_the_reference_is_the_median_of_the_window_and_collapse_is_told_against_it(tmp_path):
    trigger = Trigger(ratio=1.05, patience=2, window=(0.0, 0.3))
    settings = GrpoSettings(**vars(FEW) | {"num_steps": 10, "learning_rate": 1e-5})
    watch = ReheatCallback(trigger=trigger)
    done, logged = run(tmp_path, watch, settings=settings)
    first = sorted(logged[step]["entropy"] for step in (1, 2, 3))
    assert watch.reference == pytest.approx(first[1])
    low = [logged[step]["entropy"] < 1.05 * watch.reference for step in sorted(logged)]
    fires = next((step for step in range(3, 11) if low[step - 2] and low[step - 1]), None)
    assert fires is not None, low
    assert watch.fired.step == done.steps == fires
    assert watch.fired.thresholds["reference"] == watch.reference
    assert watch.fired.thresholds["level"] == pytest.approx(1.05 * watch.reference)
    assert f"{watch.probes[-1].entropy.mean / watch.reference:.0%} of the ref" in watch.fired.reason
    assert watch.probes[-1].ratio == pytest.approx(watch.probes[-1].entropy.mean / watch.reference)


@pytest.mark.parametrize("lora", [None, Lora(rank=2)])
def test_a_probe_sees_the_policy_as_it_is_and_leaves_the_training_as_it_was(tmp_path, lora):
    settings = GrpoSettings(**vars(FEW) | {"num_steps": 4, "lora": lora})
    watch = ReheatCallback(probe(), NEVER, every=2)
    run(tmp_path / "with", watch, settings=settings)
    run(tmp_path / "without", settings=settings)
    assert same(tmp_path / "with", tmp_path / "without")
    generation = [
        (tmp_path / name / "out" / "generation_config.json").read_text()
        for name in ("with", "without")
    ]
    assert generation[0] == generation[1]
    assert [(each.step, each.kind) for each in watch.probes] == [
        (0, "on_policy"), (2, "on_policy"), (4, "on_policy")
    ]  # fmt: skip
    for place, path in ((0, REASONER), (-1, str(tmp_path / "with" / "out"))):
        policy = Policy(open_checkpoint(path, device="cpu"), name="policy")
        told = probe().look(policy)["on_policy"]
        assert watch.probes[place].entropy.mean == pytest.approx(told.mean, abs=1e-5)
        assert watch.probes[place].probe_set_hash == SETS.probe.hash


def test_a_given_reference_counts_from_the_first_step_and_watching_alone_stops_nothing(tmp_path):
    decided = []
    watch = ReheatCallback(
        *(probe(), Trigger(patience=2)),
        reference=99.0,
        every=1,
        decide=False,
        on_decision=decided.append,
    )
    done, _ = run(tmp_path, watch)
    assert done.steps == 6
    assert len(decided) == 1
    assert decided[0].step == 1
    assert decided[0].thresholds["since"] == 0
    assert all(each.entropy_ref == 99.0 and each.ratio < 1 for each in watch.probes)


@pytest.mark.parametrize("with_probe", [True, False])
def test_a_resumed_watch_knows_what_it_knew(tmp_path, with_probe):
    def watch(heard):
        return ReheatCallback(
            probe() if with_probe else None,
            Trigger(ratio=99.0, patience=2, window=(0.0, 0.5)),
            every=1,
            on_probe=heard.append,
        )

    whole, heard = watch([]), []
    done, _ = run(tmp_path / "whole", whole)
    assert done.steps == whole.fired.step == 3
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", watch([]), Kill(3))
    again = watch(heard)
    run(tmp_path / "cut", again)
    assert [each.step for each in heard] == [3]
    assert again.probes == whole.probes
    assert again.reference == whole.reference
    assert again.fired.thresholds == whole.fired.thresholds
    assert same(tmp_path / "cut", tmp_path / "whole")


def test_a_training_that_was_stopped_stays_stopped(tmp_path):
    watch = ReheatCallback(trigger=ALWAYS)
    with pytest.raises(OSError, match="full"):
        run(tmp_path, watch, Full(), settings=FEW)
    last = tmp_path / "work" / "checkpoint-2"
    assert stopped_at(last) == 2
    again = ReheatCallback(trigger=ALWAYS)
    done, _ = run(tmp_path, again, settings=GrpoSettings(**vars(FEW) | {"num_steps": 2}))
    assert done.steps == 2
    assert again.fired == watch.fired
    assert again.probes == watch.probes


class Full(TrainerCallback):
    """A failure between the last checkpoint and the end."""

    def on_train_end(self, args, state, control, **_):
        raise OSError("full")


def test_what_cannot_be_watched_is_refused(tmp_path):
    warm = GrpoSettings(**vars(FEW) | {"temperature": 1.2})
    with pytest.raises(BadInput, match=r"temperature of 1\.2.*give it a probe"):
        run(tmp_path / "warm", ReheatCallback(), settings=warm)
    run(tmp_path / "probed", ReheatCallback(probe(), NEVER, every=6), settings=warm)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "late", Kill(5))
    with pytest.raises(BadInput, match="has not seen the first 4 steps"):
        run(tmp_path / "late", ReheatCallback())
    run(tmp_path / "late", late := ReheatCallback(reference=1.0, trigger=Trigger(ratio=0.0)))
    assert [each.step for each in late.probes] == [5, 6]

    rebuilt = ReheatCallback()
    rebuilt.saved = rebuilt.state()["attributes"]["saved"]
    with pytest.raises(BadInput, match="restores itself"):
        run(tmp_path / "rebuilt", rebuilt)


def test_what_is_saved_is_plain_json_and_other_checkpoints_tell_nothing(tmp_path):
    watch = ReheatCallback(probe(), NEVER, every=2)
    run(tmp_path, watch)
    saved = json.loads(json.dumps(watch.state()))["attributes"]["saved"]
    assert [EntropyProbe.model_validate(each) for each in saved["probes"]] == watch.probes
    assert stopped_at(tmp_path) is None
    assert trained(tmp_path / "out").steps == 6
