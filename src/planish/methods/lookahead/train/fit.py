"""One layer's towers, trained by sentence-transformers' trainer, and the bias that they need.

    fitted = fit(retriever, train_bank, validation_bank, dials, folder)
    fitted.quality, fitted.curve

The best epoch on validation is kept, in memory. N tokens, C chunks of a document, P pairs.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.base.evaluation import BaseEvaluator
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from torch import Tensor, nn
from transformers import PrinterCallback, TrainerCallback

from planish.methods.lookahead.config import Training
from planish.methods.lookahead.train.bank import Bank
from planish.methods.lookahead.train.batches import rows_of
from planish.methods.lookahead.train.losses import PairLoss, RankingLoss, gated_scores
from planish.methods.lookahead.train.measure import (
    Judged,
    best_shift,
    measure,
    objective,
    pairs,
    rate_shift,
)
from planish.methods.lookahead.train.towers import (
    ROUTES,
    chunk_keys,
    dual_encoder,
    query_embedding,
)
from planish.models.memory.digests import pack, unpack
from planish.records import BadInput

__all__ = ["Fitted", "fit", "judged_of", "score_all"]

Log = Callable[[int, dict[str, float]], None]
_SCORED_AT_ONCE = 256


@dataclass
class Fitted:
    """A trained layer.

    Attributes:
        quality: on validation, full candidate sets, with the calibrated bias.
        curve: after each epoch, by name.
        shift: what calibration added to the bias.
        logits: on validation, with that bias: [N,C] of each document.
    """

    quality: dict[str, float | None]
    curve: list[dict[str, float]] = field(default_factory=list)
    shift: float = 0.0
    logits: list[Tensor] = field(default_factory=list)


def judged_of(bank: Bank) -> list[Judged]:
    """What validation knows of each of its documents.

    Raises:
        ValueError: the labels were read without masses.
    """
    labelled = bank.labelled
    if len(labelled.masses) != len(labelled.documents):
        raise ValueError("read the labels of validation with keep=True")
    judged: list[Judged] = []
    for place, mass_NC in enumerate(labelled.masses):
        positive_NC = torch.zeros(mass_NC.shape, dtype=torch.bool)
        candidate_NC = torch.zeros_like(positive_NC)
        tokens = [token for token in labelled.tokens if token.document == place]
        for row, token in enumerate(tokens):
            positive_NC[row, token.positives] = True
            candidate_NC[row, token.low : token.high] = True
        judged.append(Judged(positive_NC, candidate_NC, mass_NC))
    return judged


@torch.no_grad()
def score_all(retriever: Any, bank: Bank) -> list[Tensor]:
    """Logits [N,C] of every labelled token with every chunk of its document, on the CPU.

    Keys pass through their records of 132 bytes, as they do in decoding.

    Raises:
        BadInput: keys or logits are not finite: the training has diverged.
    """
    device = next(retriever.parameters()).device
    scored: list[Tensor] = []
    begin = 0
    for place, num_chunks in enumerate(bank.labelled.num_chunks):
        num = sum(token.document == place for token in bank.labelled.tokens)
        first = bank.first_D[place]
        features_CF = bank.features_SF[first : first + num_chunks].float().to(device)
        starts_C = bank.start_S[first : first + num_chunks].to(device)
        keys_CD = chunk_keys(retriever, features_CF, starts_C).float()
        keys_CD = unpack(pack(_finite(keys_CD)))
        parts = [torch.zeros(0, num_chunks)]
        for row in range(begin, begin + num, _SCORED_AT_ONCE):
            rows = slice(row, min(row + _SCORED_AT_ONCE, begin + num))
            hidden_BE = bank.hidden_NE[rows].float().to(device)
            embedding = query_embedding(retriever, hidden_BE, bank.position_N[rows].to(device))
            parts.append(_finite(gated_scores(embedding.float(), keys_CD)).cpu())
        scored.append(torch.cat(parts))
        begin += num
    return scored


def _finite(values: Tensor) -> Tensor:
    if bool(torch.isfinite(values).all()):
        return values
    raise BadInput(
        "the training has diverged: its scores are not finite",
        where="--learning-rate",
        fix="give a lower one",
    )


class _Trainer(SentenceTransformerTrainer):
    """sentence-transformers' trainer without its model card."""

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """Adds none: it would take rows of numbers for a corpus and look for texts in it."""


class _Evaluator(BaseEvaluator):
    """Full candidate sets of the validation documents."""

    def __init__(self, retriever: nn.Module, bank: Bank, dials: Training) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.primary_metric = "objective"
        self._retriever, self._bank, self._dials = retriever, bank, dials
        self._judged = judged_of(bank)

    def quality(self, logits: Sequence[Tensor]) -> dict[str, float | None]:
        return measure(
            self._judged,
            logits,
            threshold=self._dials.threshold,
            budgets=tuple(dict.fromkeys((*self._dials.budgets, self._dials.aim))),
        )

    def pairs(self, logits: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Logits and labels of all candidates."""
        positives = [one.positive_NC for one in self._judged]
        return pairs(logits, self._judged), pairs(positives, self._judged)

    def __call__(self, *_: Any, **__: Any) -> dict[str, float]:
        found = self.quality(score_all(self._retriever, self._bank))
        plain = {name: math.nan if value is None else value for name, value in found.items()}
        return plain | {"objective": objective(found, self._dials.aim)}


class _Best(TrainerCallback):
    """Keeps the weights of the best epoch and stops when none has been better for long."""

    def __init__(self, retriever: nn.Module, patience: int, log: Log) -> None:
        self._retriever, self._patience, self._log = retriever, patience, log
        self.state: dict[str, Tensor] | None = None
        self.curve: list[dict[str, float]] = []
        self._reached, self._waited = -math.inf, 0

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if logs and "loss" in logs:
            self._log(state.global_step, {"loss": float(logs["loss"])})

    def on_evaluate(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        numbers = {
            name.removeprefix("eval_"): float(value)
            for name, value in given["metrics"].items()
            if isinstance(value, int | float) and not math.isnan(value)
        }
        self.curve.append({"step": float(state.global_step), **numbers})
        self._log(state.global_step, numbers)
        if numbers["objective"] > self._reached:
            self._reached, self._waited = numbers["objective"], 0
            self.state = copy.deepcopy(self._retriever.state_dict())
            return
        self._waited += 1
        control.should_training_stop = self._waited >= self._patience


def fit(
    retriever: Any,
    train: Bank,
    validation: Bank,
    dials: Training,
    folder: Path,
    *,
    log: Log = lambda step, numbers: None,
) -> Fitted:
    """Trains the towers of one layer in place, and sets their bias.

    Args:
        retriever: `MemoryIndexer.retrievers[layer]`.
        folder: for what the trainer writes.
        log: takes a step and its numbers.

    Raises:
        BadInput: no token needs anything, or the training has diverged.
    """
    evaluator = _Evaluator(retriever, validation, dials)
    best = _Best(retriever, dials.patience, log)
    with _quiet():
        model = dual_encoder(retriever, train, _device())
        trainer = _Trainer(
            model=model,
            args=_arguments(dials, folder),
            train_dataset=rows_of(train, dials),
            loss=_loss(model, dials),
            evaluator=evaluator,
            callbacks=[best],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    if best.state is not None:
        retriever.load_state_dict(best.state)
    retriever.to("cpu").eval()
    logits = score_all(retriever, validation)
    shift = _shift(evaluator, logits, dials)
    with torch.no_grad():
        retriever.bias += shift
    logits = [one + shift for one in logits]
    return Fitted(evaluator.quality(logits), best.curve, shift, logits)


def _shift(evaluator: _Evaluator, logits: Sequence[Tensor], dials: Training) -> float:
    logits_P, positive_P = evaluator.pairs(logits)
    if dials.calibrate == "none":
        return 0.0
    if dials.calibrate == "rate":
        return rate_shift(logits_P, positive_P)
    return best_shift(logits_P, positive_P, dials.threshold)[0]


def _loss(model: Any, dials: Training) -> nn.Module:
    if dials.loss == "infonce":
        loss: nn.Module = MultipleNegativesRankingLoss(
            model, scale=1.0, similarity_fct=gated_scores
        )
        return loss
    if dials.loss == "softmax":
        return RankingLoss(model)
    gamma = dials.gamma if dials.loss == "focal" else 0.0
    return PairLoss(model, gamma=gamma, smoothing=dials.label_smoothing)


def _arguments(dials: Training, folder: Path) -> Any:
    used = dict(ROUTES)
    if dials.loss != "infonce":
        del used["negatives"]
    return SentenceTransformerTrainingArguments(
        output_dir=str(folder),
        num_train_epochs=dials.epochs,
        per_device_train_batch_size=dials.batch_size,
        learning_rate=dials.learning_rate,
        weight_decay=dials.weight_decay,
        max_grad_norm=dials.max_grad_norm,
        lr_scheduler_type="cosine",
        warmup_ratio=dials.warmup,
        bf16=dials.bf16 and torch.cuda.is_available(),
        use_cpu=not torch.cuda.is_available(),
        seed=dials.seed,
        eval_strategy="epoch",
        save_strategy="no",
        logging_steps=10,
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=False,
        router_mapping=used,
    )


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Libraries say nothing while they train; what matters is logged by us."""
    noisy = [logging.getLogger(name) for name in ("sentence_transformers", "transformers")]
    levels = [logger.level for logger in noisy]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in noisy:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(noisy, levels, strict=True):
                logger.setLevel(level)
