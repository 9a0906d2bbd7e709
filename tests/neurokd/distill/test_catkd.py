"""CAT-KD against hand-derived values."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from neurokd.distill import CATKDLoss
from neurokd.errors import ShapeMismatchError, UsageError


def _hand_case() -> tuple[Tensor, ...]:
    # Student: 1 everywhere in step 1, 3 in step 2: mean 2. Its weights 1, 2 give maps of 2 and 4.
    student = torch.stack([torch.ones(1, 1, 2, 2), 3 * torch.ones(1, 1, 2, 2)])
    # Teacher: 4×4, pooled to [[1, 0], [0, 2]]; weights 1, −1 give that map and its negative.
    teacher = torch.zeros(1, 1, 4, 4)
    teacher[..., :2, :2], teacher[..., 2:, 2:] = 1, 2
    return student, teacher, torch.tensor([[1.0], [-1.0]]), torch.tensor([[1.0], [2.0]])


def test_two_classes_by_hand() -> None:
    # class 0: (2−1)² + 2² + 2² + (2−2)² = 9; class 1: 5² + 4² + 4² + 6² = 93; of 8 values
    assert float(CATKDLoss()(*_hand_case())) == 102 / 8


def test_unit_length_by_hand() -> None:
    # Unit vectors: |a − b|² = 2 − 2 cos. The student's maps are [½, ½, ½, ½]; cos = ±1.5 / √5 for
    # the two classes, so that the squares add up to 4.
    assert float(CATKDLoss(normalised=True)(*_hand_case())) == pytest.approx(4 / 8)


def test_one_position_compares_the_logits_without_their_bias() -> None:
    generator = torch.Generator().manual_seed(0)
    student = (torch.rand(3, 2, 4, 6, 6, generator=generator) < 0.3).float()
    teacher = torch.rand(2, 5, 6, 6, generator=generator)
    foreign, own = torch.randn(7, 5, generator=generator), torch.randn(7, 4, generator=generator)
    loss = CATKDLoss(resolution=1)(student, teacher, foreign, own)
    logits = F.linear(student.mean(dim=(0, 3, 4)), own)
    expected = F.mse_loss(logits, F.linear(teacher.mean(dim=(2, 3)), foreign))
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("normalised", [True, False])
def test_gradient_reaches_the_student_and_its_classifier_only(normalised: bool) -> None:
    student, teacher, foreign, own = (tensor.requires_grad_() for tensor in _hand_case())
    CATKDLoss(normalised=normalised)(student, teacher, foreign, own).backward()
    assert student.grad is not None and student.grad.abs().sum() > 0
    assert own.grad is not None and own.grad.isfinite().all()
    assert normalised or own.grad.abs().sum() > 0
    assert teacher.grad is None and foreign.grad is None


def test_a_silent_student_has_a_finite_gradient() -> None:
    _, teacher, foreign, own = _hand_case()
    silent = torch.zeros(2, 1, 1, 2, 2, requires_grad=True)
    CATKDLoss(normalised=True)(silent, teacher, foreign, own).backward()
    assert silent.grad is not None and silent.grad.isfinite().all()


def test_bad_input_is_refused() -> None:
    student, teacher, foreign, own = _hand_case()
    with pytest.raises(ShapeMismatchError, match="different classes"):
        CATKDLoss()(student, teacher, foreign, own[:1])
    with pytest.raises(ShapeMismatchError, match="channels"):
        CATKDLoss()(student, teacher, foreign, own.repeat(1, 2))
    with pytest.raises(ShapeMismatchError, match="no maps"):
        CATKDLoss()(student[0], teacher, foreign, own)
    with pytest.raises(UsageError, match="CATKDLoss"):
        CATKDLoss(resolution=0)
