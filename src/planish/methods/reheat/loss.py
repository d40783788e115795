"""Distillation towards the policy's own tempered distribution, as a loss on logits.

    loss = reheat_loss(logits_BTV, completion_mask_BT, temperature=1.2)
    loss = reheat_loss(logits_BTV, mask_BT, 2.0, teacher_logits_BTV=frozen(input_ids).logits)

The teacher is softmax(logits / T) with T > 1: the same ranking, less certain. With the live student
as its own teacher the reverse direction is exactly entropy ascent; a frozen teacher has a fixed
point at its own tempered distribution (TS-OPSD, arXiv 2606.00755; the frozen teacher is ours).

Shape suffixes: B rows, T positions, N kept positions, V vocabulary.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from planish.sampling import log_softmax

__all__ = ["ascent_cosine", "reheat_loss"]

Direction = Literal["fkl", "rkl"]

# Positions that are held in float64 at once: 32 x 150,000 x 8 bytes are 38 MB.
_POSITIONS_AT_ONCE = 32


def reheat_loss(
    student_logits_BTV: Tensor,
    completion_mask_BT: Tensor,
    temperature: float,
    direction: Direction = "fkl",
    teacher_logits_BTV: Tensor | None = None,
) -> Tensor:
    """Mean over completion tokens of the divergence from the teacher's tempered distribution.

    "fkl" is sum_v p log(p / q), "rkl" sum_v q log(q / p), where q = softmax(student logits) and
    p = softmax(teacher logits / temperature). Beside the logits nothing of their size is ever
    held but their gradient, when it is asked for.

    Args:
        student_logits_BTV: of the policy; they receive the gradient.
        completion_mask_BT: 1 or True at completion tokens; prompt and padding are 0.
        temperature: of the teacher; 1 teaches nothing, below 1 it cools.
        direction: "fkl" or "rkl".
        teacher_logits_BTV: never receive a gradient; None: the live student.

    Returns:
        A scalar in nats, float32 or wider; 0 where the mask is empty.

    Raises:
        ValueError: a temperature that is not above 0, another direction, or shapes that differ.
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, not {temperature}")
    if direction not in ("fkl", "rkl"):
        raise ValueError(f"direction must be 'fkl' or 'rkl', not {direction!r}")
    teacher = student_logits_BTV if teacher_logits_BTV is None else teacher_logits_BTV
    if teacher.shape != student_logits_BTV.shape:
        raise ValueError(
            f"the teacher's logits are {tuple(teacher.shape)}, the student's "
            f"{tuple(student_logits_BTV.shape)}"
        )
    if completion_mask_BT.shape != student_logits_BTV.shape[:-1]:
        raise ValueError(
            f"the mask is {tuple(completion_mask_BT.shape)}, the logits "
            f"{tuple(student_logits_BTV.shape)}"
        )
    loss: Tensor = _Divergence.apply(  # type: ignore[no-untyped-call]
        student_logits_BTV, teacher.detach(), completion_mask_BT != 0, temperature, direction
    )
    return loss


class _Divergence(torch.autograd.Function):
    """The mean and its gradient in closed form, a few positions at a time."""

    @staticmethod
    def forward(
        context: Any,
        student_BTV: Tensor,
        teacher_BTV: Tensor,
        mask_BT: Tensor,
        temperature: float,
        direction: Direction,
    ) -> Tensor:
        context.save_for_backward(student_BTV, teacher_BTV, mask_BT)
        context.temperature, context.direction = temperature, direction
        student_BTV, teacher_BTV = student_BTV.flatten(0, -2), teacher_BTV.flatten(0, -2)
        total = torch.zeros((), dtype=_wide(student_BTV.dtype), device=student_BTV.device)
        for places_N in _places(mask_BT):
            logq_NV, logp_NV = _pair(student_BTV[places_N], teacher_BTV[places_N], temperature)
            total += _divergence(logq_NV, logp_NV, direction).sum()
        return total / mask_BT.sum().clamp(min=1)

    @staticmethod
    def backward(context: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        student_BTV, teacher_BTV, mask_BT = context.saved_tensors
        gradient_BTV = torch.zeros_like(student_BTV)
        flat_BV = gradient_BTV.flatten(0, -2)
        scale = upstream / mask_BT.sum().clamp(min=1)
        students_BV, teachers_BV = student_BTV.flatten(0, -2), teacher_BTV.flatten(0, -2)
        for places_N in _places(mask_BT):
            logq_NV, logp_NV = _pair(
                students_BV[places_N], teachers_BV[places_N], context.temperature
            )
            gradient_NV = _gradient(logq_NV, logp_NV, context.direction)
            flat_BV[places_N] = (scale * gradient_NV).to(flat_BV.dtype)
        return gradient_BTV, None, None, None, None


def _wide(dtype: torch.dtype) -> torch.dtype:
    return dtype if dtype in (torch.float32, torch.float64) else torch.float32


def _places(mask_BT: Tensor) -> tuple[Tensor, ...]:
    return torch.split(mask_BT.flatten().nonzero()[:, 0], _POSITIONS_AT_ONCE)


def _pair(student_NV: Tensor, teacher_NV: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Log-probabilities of student and tempered teacher.

    In float64 where the device has it: the gradient of the reverse direction is a difference of
    logarithms, of which float32 loses the sixth decimal where a temperature makes them large.
    """
    student_NV, teacher_NV = _exact(student_NV), _exact(teacher_NV)
    return log_softmax(student_NV), log_softmax(teacher_NV, temperature)


def _exact(logits_NV: Tensor) -> Tensor:
    return logits_NV.float() if logits_NV.device.type == "mps" else logits_NV.double()


def _gap(logq_NV: Tensor, logp_NV: Tensor) -> Tensor:
    """log(p / q), and 0 where both forbid a token."""
    never_NV = (logq_NV == -torch.inf) & (logp_NV == -torch.inf)
    return logp_NV.masked_fill(never_NV, 0) - logq_NV.masked_fill(never_NV, 0)


def _divergence(logq_NV: Tensor, logp_NV: Tensor, direction: Direction) -> Tensor:
    gap_NV = _gap(logq_NV, logp_NV)
    log_NV, gap_NV = (logp_NV, gap_NV) if direction == "fkl" else (logq_NV, -gap_NV)
    # 0 * inf is 0: where the weight is nothing, the gap does not count.
    return (log_NV.exp() * gap_NV.masked_fill(log_NV == -torch.inf, 0)).sum(-1)


def _gradient(logq_NV: Tensor, logp_NV: Tensor, direction: Direction) -> Tensor:
    """In the student's logits: q - p, or q (log(q / p) - KL(q || p))."""
    q_NV = logq_NV.exp()
    if direction == "fkl":
        return q_NV - logp_NV.exp()
    gap_NV = -_gap(logq_NV, logp_NV).masked_fill(logq_NV == -torch.inf, 0)
    mean_N1 = (q_NV * gap_NV).sum(-1, keepdim=True)
    return q_NV * (gap_NV - mean_N1)


def ascent_cosine(
    student_logits_NV: Tensor, teacher_logits_NV: Tensor, temperature: float
) -> Tensor:
    """How alike the descent of "fkl" and the ascent of entropy are, position by position: (N,).

    The cosine between p - q and the gradient of the student's entropy in its logits. 1 where
    distillation does what an entropy bonus would; 0 where either gradient vanishes.
    """
    logq_NV, logp_NV = _pair(student_logits_NV, teacher_logits_NV, temperature)
    q_NV = logq_NV.exp()
    surprise_NV = -logq_NV.masked_fill(logq_NV == -torch.inf, 0)
    entropy_N1 = (q_NV * surprise_NV).sum(-1, keepdim=True)
    return torch.cosine_similarity(
        logp_NV.exp() - q_NV, q_NV * (surprise_NV - entropy_N1), dim=-1, eps=1e-12
    )
