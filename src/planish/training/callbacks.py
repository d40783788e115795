"""What happens beside training: numbers are kept, the bar moves, NaN ends it, others are quiet.

recorder = Recorder(log=lambda step, numbers: run.log(step, **numbers), advance=step)
SFTTrainer(..., callbacks=[recorder])
"""

from __future__ import annotations

import contextlib
import logging
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import datasets
import torch
from transformers import TrainerCallback

__all__ = ["COMPLETE", "Recorder", "TrainingFailed", "last_checkpoint", "quiet"]

COMPLETE = "complete"
"""A file in every training checkpoint that was written whole."""

Numbers = Mapping[str, float]


class TrainingFailed(RuntimeError):
    """A step that nothing good can follow; the last good checkpoint is still there."""

    def __init__(self, what: str, step: int) -> None:
        super().__init__(f"{what} at step {step}")
        self.step = step


class Recorder(TrainerCallback):
    """Hands on what the trainer logs, at every step, on the main process only.

    Args:
        log: takes a step and its numbers.
        advance: called once per step that is done.
        before: what was logged before a resume, by step; these steps are not logged again.

    Attributes:
        also: numbers to keep beside those of a step; none unless it is set.
    """

    def __init__(
        self,
        log: Callable[[int, Numbers], None],
        advance: Callable[[], None] = lambda: None,
        before: Mapping[int, Numbers] | None = None,
    ) -> None:
        self._log, self._advance = log, advance
        self._before = dict(before or {})
        self._tokens_before = 0.0
        self.also: Callable[[int], Numbers] = lambda step: {}

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Most of TRL's trainers count tokens from zero after a resume, and some go on counting."""
        told = self._before.get(state.global_step, {}).get("num_tokens", 0.0)
        self._tokens_before = max(0.0, told - state.num_input_tokens_seen)
        if state.is_world_process_zero:
            for _step in range(state.global_step):
                self._advance()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Moves the bar."""
        if state.is_world_process_zero:
            self._advance()

    def on_log(
        self, args: Any, state: Any, control: Any, logs: Any = None, model: Any = None, **_: Any
    ) -> None:
        """Keeps the numbers of a step; the losses of all processes have met in them by now.

        Raises:
            TrainingFailed: a loss, a gradient or, before it is saved, a weight is not finite.
        """
        if "loss" not in (logs or {}):  # the summary at the end holds nothing but averages
            return
        # A mean of nothing is None.
        numbers = {name: float(number) for name, number in logs.items() if number is not None}
        if "num_tokens" in numbers:
            numbers["num_tokens"] += self._tokens_before
        if state.is_world_process_zero and state.global_step not in self._before:
            self._log(state.global_step, {**numbers, **self.also(state.global_step)})
        for name in ("loss", "grad_norm"):
            if not math.isfinite(numbers.get(name, 0.0)):
                what = "gradient" if name == "grad_norm" else "loss"
                raise TrainingFailed(f"the {what} is {numbers[name]}", state.global_step)
        if control.should_save and not _finite(model):
            raise TrainingFailed("a weight is not finite", state.global_step)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Marks the checkpoint as whole."""
        if state.is_world_process_zero:
            (Path(args.output_dir) / f"checkpoint-{state.global_step}" / COMPLETE).touch()


def _finite(model: Any) -> bool:
    """Of what this process holds, where the weights are spread over several."""
    held = (
        getattr(parameter, "to_local", lambda whole=parameter: whole)()
        for parameter in model.parameters()
        if parameter.requires_grad
    )
    return all(bool(torch.isfinite(tensor).all()) for tensor in held)


def last_checkpoint(folder: Path) -> Path | None:
    """The newest training checkpoint that is whole."""
    found = [path.parent for path in folder.glob(f"checkpoint-*/{COMPLETE}")]
    return max(found, key=lambda path: int(path.name.partition("-")[2]), default=None)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No advice and no bars of other libraries on the terminal; errors still come through."""
    from transformers.utils import logging as transformers_logging

    theirs: Any = transformers_logging
    verbosity, bars = theirs.get_verbosity(), theirs.is_progress_bar_enabled()
    loggers = [logging.getLogger(name) for name in ("trl", "accelerate", "peft", "datasets")]
    levels = [logger.level for logger in loggers]
    dataset_bars = datasets.is_progress_bar_enabled()
    with warnings.catch_warnings():
        # TRL reads an attribute that transformers renamed, at every step.
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        try:
            theirs.set_verbosity_error()
            theirs.disable_progress_bar()
            datasets.disable_progress_bars()
            for logger in loggers:
                logger.setLevel(logging.ERROR)
            yield
        finally:
            theirs.set_verbosity(verbosity)
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
            if bars:
                theirs.enable_progress_bar()
            if dataset_bars:
                datasets.enable_progress_bars()
