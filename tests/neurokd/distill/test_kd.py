"""KD against a hand-derived value."""

from __future__ import annotations

import math

import pytest
import torch

from neurokd.distill import KDLoss
from neurokd.errors import ShapeMismatchError, UsageError


def test_two_classes_by_hand() -> None:
    # τ = 2: teacher softmax([2, 0] / 2) = σ(1), student softmax([0, 0]) = 1/2
    p = 1 / (1 + math.exp(-1))
    expected = 4 * (p * math.log(2 * p) + (1 - p) * math.log(2 * (1 - p)))
    loss = KDLoss(2.0)(torch.zeros(1, 2), torch.tensor([[2.0, 0.0]]))
    assert float(loss) == pytest.approx(expected, rel=1e-6)


def test_it_is_a_mean_over_the_batch_and_zero_at_equality() -> None:
    logits = torch.tensor([[1.0, -2.0, 0.5]])
    assert float(KDLoss()(logits, logits)) == pytest.approx(0, abs=1e-7)
    teacher = torch.tensor([[0.0, 1.0, 0.0]])
    one, two = KDLoss()(logits, teacher), KDLoss()(logits.repeat(2, 1), teacher.repeat(2, 1))
    assert float(one) == pytest.approx(float(two))


def test_gradient_reaches_the_student_only() -> None:
    student = torch.tensor([[1.0, -2.0, 0.5]], requires_grad=True)
    teacher = torch.tensor([[0.0, 1.0, 0.0]], requires_grad=True)
    KDLoss(2.0)(student, teacher).backward()
    # ∂L/∂z_S = τ (p_S − p_T) / B
    p_student, p_teacher = (torch.softmax(z.detach() / 2, 1) for z in (student, teacher))
    torch.testing.assert_close(student.grad, 2 * (p_student - p_teacher))
    assert teacher.grad is None


def test_bad_input_is_refused() -> None:
    with pytest.raises(ShapeMismatchError):
        KDLoss()(torch.zeros(1, 2), torch.zeros(1, 3))
    with pytest.raises(UsageError):
        KDLoss(-1.0)
