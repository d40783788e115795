"""The loss of reheating: closed form, gradients, what it is equal to, and what it never holds."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from planish.methods.reheat import reheat_loss
from planish.methods.reheat.loss import ascent_cosine
from planish.sampling import entropy

DIRECTIONS = ("fkl", "rkl")

shapes = st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(2, 9))
temperatures = st.floats(1.05, 6) | st.floats(0.3, 0.95)
seeds = st.integers(0, 2**16)


def random_logits(shape, seed, spread=3.0, dtype=torch.float32):
    draw = torch.Generator().manual_seed(seed)
    return (spread * torch.randn(shape, generator=draw, dtype=torch.float64)).to(dtype)


def random_mask(shape, seed):
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(seed + 1)) < 0.6
    mask[0, 0] = True
    return mask


def by_hand(student_BTV, mask_BT, temperature, direction, teacher_BTV=None):
    """The formula, position by position, in float64 and for autograd."""
    teacher_BTV = (student_BTV if teacher_BTV is None else teacher_BTV).detach()
    total = 0.0
    for row, place in mask_BT.nonzero().tolist():
        q = student_BTV[row, place].double().softmax(-1)
        p = (teacher_BTV[row, place].double() / temperature).softmax(-1)
        kl = p * (p.log() - q.log()) if direction == "fkl" else q * (q.log() - p.log())
        total = total + kl.sum()
    return total / mask_BT.sum()


def gradient_of(loss, leaf):
    (found,) = torch.autograd.grad(loss, leaf)
    return found


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("frozen", [False, True])
@given(shapes, temperatures, seeds)
def test_it_is_the_closed_form_and_so_is_its_gradient(direction, frozen, shape, temperature, seed):
    leaf = random_logits(shape, seed).requires_grad_()
    teacher = random_logits(shape, seed + 7) if frozen else None
    mask = random_mask(shape[:2], seed)
    loss = reheat_loss(leaf, mask, temperature, direction, teacher)
    wanted = by_hand(leaf, mask, temperature, direction, teacher)
    assert loss.dtype == torch.float32
    # A sum of a few numbers of this size is not told more exactly in float32.
    assert loss.item() == pytest.approx(wanted.item(), rel=2e-6, abs=1e-6)
    ours, theirs = gradient_of(loss, leaf), gradient_of(wanted, leaf)
    assert torch.allclose(ours, theirs.float(), atol=1e-6, rtol=1e-5)
    assert (ours[~mask] == 0).all()


@given(shapes, st.floats(1.05, 6), seeds)
def test_the_live_reverse_direction_is_entropy_ascent(shape, temperature, seed):
    leaf = random_logits(shape, seed).double().requires_grad_()
    mask = random_mask(shape[:2], seed)
    ours = gradient_of(reheat_loss(leaf, mask, temperature, "rkl"), leaf)
    ascent = gradient_of(entropy(leaf)[mask].mean(), leaf)
    assert torch.allclose(ours, -(1 - 1 / temperature) * ascent, atol=1e-9)


@given(shapes, temperatures, seeds, st.floats(-50, 50), st.sampled_from(DIRECTIONS))
def test_a_constant_on_all_logits_moves_nothing(shape, temperature, seed, shift, direction):
    logits, teacher = random_logits(shape, seed).double(), random_logits(shape, seed + 3).double()
    mask = random_mask(shape[:2], seed)
    one = reheat_loss(logits, mask, temperature, direction, teacher)
    other = reheat_loss(logits + shift, mask, temperature, direction, teacher - shift)
    assert one.item() == pytest.approx(other.item(), abs=1e-9)


@pytest.mark.parametrize("direction", DIRECTIONS)
@given(shapes, temperatures, seeds)
def test_a_frozen_teacher_has_a_fixed_point(direction, shape, temperature, seed):
    """At its own tempered distribution there is nothing left to learn."""
    teacher = random_logits(shape, seed).double()
    leaf = (teacher / temperature).requires_grad_()
    mask = torch.ones(shape[:2])
    loss = reheat_loss(leaf, mask, temperature, direction, teacher)
    assert loss.item() == pytest.approx(0, abs=1e-12)
    assert torch.allclose(gradient_of(loss, leaf), torch.zeros(()).double(), atol=1e-12)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("temperature", [1.2, 0.8])
def test_a_small_step_warms_or_cools(direction, temperature):
    leaf = random_logits((4, 6, 20), 0).double().requires_grad_()
    mask = torch.ones(4, 6)
    gradient = gradient_of(reheat_loss(leaf, mask, temperature, direction), leaf)
    before, after = entropy(leaf).mean(), entropy(leaf - 5 * gradient).mean()
    assert (after > before) == (temperature > 1)


def test_the_teacher_learns_nothing():
    leaf = random_logits((1, 2, 5), 0).requires_grad_()
    teacher = random_logits((1, 2, 5), 1).requires_grad_()
    reheat_loss(leaf, torch.ones(1, 2), 2.0, teacher_logits_BTV=teacher).backward()
    assert leaf.grad is not None
    assert teacher.grad is None


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_forbidden_tokens_stay_forbidden(direction):
    """A token that both forbid costs nothing and gets no gradient."""
    leaf = random_logits((2, 3, 6), 0)
    leaf[..., 2] = -math.inf
    leaf.requires_grad_()
    mask = torch.ones(2, 3)
    loss = reheat_loss(leaf, mask, 1.5, direction)
    loss.backward()
    kept = [0, 1, 3, 4, 5]
    without = reheat_loss(leaf.detach()[..., kept], mask, 1.5, direction)
    assert loss.item() == pytest.approx(without.item(), abs=1e-6)
    assert torch.isfinite(leaf.grad).all()
    assert (leaf.grad[..., 2] == 0).all()


def test_what_the_policy_forbids_and_the_teacher_wants_costs_without_end():
    student, teacher = torch.tensor([[[0.0, -math.inf]]]), torch.zeros(1, 1, 2)
    mask = torch.ones(1, 1)
    assert reheat_loss(student, mask, 1.2, "fkl", teacher).item() == math.inf
    assert math.isfinite(reheat_loss(student, mask, 1.2, "rkl", teacher).item())
    assert reheat_loss(teacher, mask, 1.2, "rkl", student).item() == math.inf
    assert math.isfinite(reheat_loss(teacher, mask, 1.2, "fkl", student).item())


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_without_a_completion_token_there_is_nothing_to_learn(direction):
    leaf = random_logits((2, 3, 4), 0).requires_grad_()
    loss = reheat_loss(leaf, torch.zeros(2, 3), 1.2, direction)
    loss.backward()
    assert loss.item() == 0
    assert (leaf.grad == 0).all()


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_comes_in_and_is_summed_in_float32(direction, dtype):
    leaf = random_logits((2, 5, 50), 0).to(dtype).requires_grad_()
    mask = random_mask((2, 5), 0)
    loss = reheat_loss(leaf, mask, 1.3, direction)
    loss.backward()
    exact = leaf.detach().float().requires_grad_()
    wanted = reheat_loss(exact, mask, 1.3, direction)
    wanted.backward()
    assert loss.dtype == torch.float32
    assert leaf.grad.dtype == dtype
    assert loss.item() == wanted.item()
    assert torch.equal(leaf.grad, exact.grad.to(dtype))


def test_many_positions_are_the_same_in_stretches():
    leaf = random_logits((3, 150, 7), 0).double().requires_grad_()
    mask = random_mask((3, 150), 0)
    assert mask.sum() > 3 * 64
    loss = reheat_loss(leaf, mask, 1.4)
    wanted = by_hand(leaf, mask, 1.4, "fkl")
    assert loss.item() == pytest.approx(wanted.item(), abs=1e-12)
    assert torch.allclose(gradient_of(loss, leaf), gradient_of(wanted, leaf), atol=1e-12)


class _Largest(torch.utils._python_dispatch.TorchDispatchMode):
    """How large the tensors are that are made."""

    def __init__(self):
        super().__init__()
        self.sizes = []

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        result = function(*arguments, **(options or {}))
        for each in result if isinstance(result, tuple) else (result,):
            if isinstance(each, torch.Tensor) and each.untyped_storage().nbytes():
                known = {a.untyped_storage().data_ptr() for a in _tensors(arguments)}
                if each.untyped_storage().data_ptr() not in known:
                    self.sizes.append(each.numel())
        return result


def _tensors(values):
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _tensors(value)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_nothing_as_large_as_the_logits_is_held_beside_their_gradient(direction):
    leaf = random_logits((4, 200, 30), 0).requires_grad_()
    mask = torch.ones(4, 200)
    with _Largest() as forward:
        loss = reheat_loss(leaf, mask, 1.2, direction)
    assert max(forward.sizes) <= 64 * 30
    with _Largest() as backward:
        loss.backward()
    assert sorted(backward.sizes)[-1] == leaf.numel()
    assert [size for size in backward.sizes if size > 64 * 30] == [leaf.numel()]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"temperature": 0.0}, "above 0"),
        ({"temperature": float("nan")}, "above 0"),
        ({"direction": "jsd"}, "'fkl' or 'rkl'"),
        ({"completion_mask_BT": torch.ones(2, 4)}, "mask is"),
        ({"teacher_logits_BTV": torch.zeros(2, 3, 5)}, "teacher's logits are"),
    ],
)
def test_what_makes_no_sense_is_refused(change, words):
    given = {
        "student_logits_BTV": torch.zeros(2, 3, 4),
        "completion_mask_BT": torch.ones(2, 3),
        "temperature": 1.2,
    }
    with pytest.raises(ValueError, match=words):
        reheat_loss(**(given | change))


@given(st.integers(1, 4), st.integers(2, 9), st.floats(1.05, 6), seeds)
def test_the_cosine_is_that_of_the_two_gradients(count, size, temperature, seed):
    leaf = random_logits((1, count, size), seed).double().requires_grad_()
    teacher = random_logits((1, count, size), seed + 5).double()
    mask = torch.ones(1, count)
    descent = -gradient_of(reheat_loss(leaf, mask, temperature, "fkl", teacher), leaf)
    ascent = gradient_of(entropy(leaf).mean(), leaf)
    wanted = torch.cosine_similarity(descent[0], ascent[0], dim=-1)
    found = ascent_cosine(leaf.detach()[0], teacher[0], temperature)
    assert torch.allclose(found, wanted, atol=1e-6)


def test_the_live_teacher_is_not_quite_an_entropy_bonus():
    """Nearly the same direction for a mild temperature, less so for a high one."""
    logits = random_logits((400, 50), 0, spread=2.0)
    mild = ascent_cosine(logits, logits, 1.2).mean().item()
    high = ascent_cosine(logits, logits, 2.0).mean().item()
    assert 0.97 < mild < 1
    assert high < mild - 0.02


def test_without_a_gradient_there_is_no_cosine():
    assert ascent_cosine(torch.zeros(1, 4), torch.zeros(1, 4), 1.5).item() == 0
