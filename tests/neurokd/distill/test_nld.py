"""NLD: both forms, its noise, and what its gradient passes through."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from neurokd.distill import KDLoss, NLDLoss
from neurokd.distill.nld import Mode
from neurokd.errors import UsageError

STUDENT = torch.tensor([[1.0, -1.0, 0.5], [0.0, 2.0, -3.0]])
MODES: tuple[Mode, ...] = ("logit", "prob_mix")
TEACHER = torch.tensor([[2.0, 0.0, 1.0], [-1.0, 1.0, 0.0]])


@pytest.mark.parametrize("mode", MODES)
def test_without_noise_it_is_kd(mode: Mode) -> None:
    loss = NLDLoss(noise=0.0, mode=mode)(STUDENT, TEACHER)
    assert float(loss) == pytest.approx(float(KDLoss()(STUDENT, TEACHER)), rel=1e-5)


def test_logit_form_adds_noise_of_the_students_own_spread() -> None:
    draw = torch.randn(2, 3, generator=torch.Generator().manual_seed(5))
    noisy = torch.stack(
        [
            row + 0.1 * (row.mean() + row.std() * noise)
            for row, noise in zip(STUDENT, draw, strict=True)
        ]
    )
    loss = NLDLoss(noise=0.1)(STUDENT, TEACHER, torch.Generator().manual_seed(5))
    assert float(loss) == pytest.approx(float(KDLoss()(noisy, TEACHER)), rel=1e-5)


def test_probability_form_mixes_with_the_variance_as_spread() -> None:
    draw = torch.randn(2, 3, generator=torch.Generator().manual_seed(5))
    rows = []
    for row, noise in zip(STUDENT, draw, strict=True):
        g = row.mean() + row.var() * noise
        rows.append(0.9 * F.softmax(row / 2, 0) + 0.1 * F.softmax(g / 2, 0))
    target = F.softmax(TEACHER / 2, 1)
    expected = 4 * (target * (target / torch.stack(rows)).log()).sum(1).mean()
    loss = NLDLoss(mode="prob_mix")(STUDENT, TEACHER, torch.Generator().manual_seed(5))
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)


def test_mean_and_spread_are_constants_for_the_gradient() -> None:
    student = STUDENT.clone().requires_grad_()
    NLDLoss(noise=0.5)(student, TEACHER, torch.Generator().manual_seed(1)).backward()
    # With constant noise ∂L/∂z = τ (p − target) / B, whose sum over the classes is zero.
    assert student.grad is not None
    assert torch.allclose(student.grad.sum(1), torch.zeros(2), atol=1e-6)
    assert student.grad.abs().sum() > 0


def test_noise_is_fresh_in_every_call_and_repeats_with_the_seed() -> None:
    loss, generator = NLDLoss(noise=1.0), torch.Generator().manual_seed(3)
    first, second = (float(loss(STUDENT, TEACHER, generator)) for _ in range(2))
    assert first != second
    assert first == float(loss(STUDENT, TEACHER, torch.Generator().manual_seed(3)))


def test_the_shift_by_the_mean_does_not_matter() -> None:
    for mode in MODES:
        loss = NLDLoss(noise=0.5, mode=mode)
        own, shifted = (
            float(loss(STUDENT + shift, TEACHER, torch.Generator().manual_seed(2)))
            for shift in (0.0, torch.tensor([[3.0], [-7.0]]))
        )
        assert own == pytest.approx(shifted, rel=1e-5)


def test_a_fixed_spread_replaces_that_of_the_logits() -> None:
    draw = torch.randn(2, 3, generator=torch.Generator().manual_seed(5))
    noisy = STUDENT + 0.1 * 4.0 * draw  # the mean is left out: softmax does not see it
    loss = NLDLoss(noise=0.1, sigma=4.0)(STUDENT, TEACHER, torch.Generator().manual_seed(5))
    assert float(loss) == pytest.approx(float(KDLoss()(noisy, TEACHER)), rel=1e-5)
    mixed = 0.9 * F.softmax(STUDENT / 2, 1) + 0.1 * F.softmax(4.0 * draw / 2, 1)
    target = F.softmax(TEACHER / 2, 1)
    loss = NLDLoss(mode="prob_mix", sigma=4.0)(STUDENT, TEACHER, torch.Generator().manual_seed(5))
    expected = 4 * (target * (target / mixed).log()).sum(1).mean()
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)


def test_two_classes_by_hand() -> None:
    # z_S = (1, −1): mean 0, unbiased std √2, variance 2. With draws n the noisy gap between the
    # classes is 2 + λ √2 (n_0 − n_1); its KL to the teacher's σ(gap / τ) is that of two classes.
    first, second = torch.randn(1, 2, generator=torch.Generator().manual_seed(9))[0].tolist()
    noisy, gap = 2 + 0.5 * math.sqrt(2) * (first - second), 3.0
    p, q = (1 / (1 + math.exp(-x / 2)) for x in (gap, noisy))
    expected = 4 * (p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q)))
    loss = NLDLoss(noise=0.5)(
        torch.tensor([[1.0, -1.0]]), torch.tensor([[3.0, 0.0]]), torch.Generator().manual_seed(9)
    )
    assert float(loss) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_gradients_pass_through_the_spread_if_asked(mode: Mode) -> None:
    loss = NLDLoss(noise=0.5, mode=mode, through_spread=True)
    student, teacher = STUDENT.double().requires_grad_(), TEACHER.double()

    def value(logits: torch.Tensor) -> torch.Tensor:
        return loss(logits, teacher, torch.Generator().manual_seed(1))

    assert torch.autograd.gradcheck(value, student)
    (through,) = torch.autograd.grad(value(student), student)
    loss.through_spread = False
    (around,) = torch.autograd.grad(value(student), student)
    assert not torch.allclose(through, around)


@pytest.mark.parametrize("mode", MODES)
def test_gradient_reaches_the_student_only_and_is_finite_without_spread(mode: Mode) -> None:
    silent, teacher = torch.zeros(2, 3, requires_grad=True), TEACHER.clone().requires_grad_()
    loss = NLDLoss(mode=mode, through_spread=True)(silent, teacher)
    loss.backward()
    assert silent.grad is not None and silent.grad.isfinite().all() and silent.grad.any()
    assert teacher.grad is None


def test_each_sample_has_its_own_loss() -> None:
    draw = torch.Generator().manual_seed(4)
    whole = NLDLoss()(STUDENT, TEACHER, draw)
    draw = torch.Generator().manual_seed(4)  # noise is drawn sample by sample
    parts = [NLDLoss()(STUDENT[i : i + 1], TEACHER[i : i + 1], draw) for i in (0, 1)]
    assert float(whole) == pytest.approx(float(sum(parts) / 2), rel=1e-5)


def test_far_off_logits_have_a_finite_loss() -> None:
    student = torch.tensor([[1000.0, 0.0]], requires_grad=True)
    loss = NLDLoss(mode="prob_mix", sigma=1e-3)(student, torch.tensor([[0.0, 9.0]]))
    loss.backward()
    assert loss.isfinite() and student.grad is not None and student.grad.isfinite().all()


@pytest.mark.parametrize(
    "wrong",
    [{"mode": "mean"}, {"noise": -0.1}, {"noise": 2.0, "mode": "prob_mix"}, {"sigma": 0.0}],
)
def test_unknown_options_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="NLDLoss"):
        NLDLoss(**wrong)
