"""Softened divergences: both directions by hand, and their limit for a large temperature."""

from __future__ import annotations

import math

import pytest
import torch

from neurokd.continual.softened import softened_kl
from neurokd.distill import KDLoss

# τ = 2: the teacher's softmax([2, 0] / 2) is (p, 1 − p), the student's ½ and ½
P = 1 / (1 + math.exp(-1))
TEACHER, STUDENT = torch.tensor([[2.0, 0.0]]), torch.zeros(1, 2)


def test_both_directions_by_hand() -> None:
    forward = 4 * (P * math.log(2 * P) + (1 - P) * math.log(2 * (1 - P)))
    reverse = 4 * (-math.log(2 * P) / 2 - math.log(2 * (1 - P)) / 2)
    assert softened_kl(STUDENT, TEACHER, 2.0).item() == pytest.approx(forward, rel=1e-6)
    found = softened_kl(STUDENT, TEACHER, 2.0, "student-teacher")
    assert found.item() == pytest.approx(reverse, rel=1e-6)
    assert reverse != pytest.approx(forward, rel=1e-3)


def test_the_default_is_knowledge_distillation() -> None:
    generator = torch.Generator().manual_seed(0)
    student, teacher = (3 * torch.randn(4, 5, generator=generator) for _ in range(2))
    torch.testing.assert_close(softened_kl(student, teacher, 3.0), KDLoss(3.0)(student, teacher))


@pytest.mark.parametrize("direction", ["teacher-student", "student-teacher"])
def test_for_a_large_temperature_it_is_half_the_variance_of_the_difference(direction: str) -> None:
    # p = (1 + (a − ā)/τ + …)/n, so that τ² Σ p_T log(p_T/p_S) → Σ_i (d_i − d̄)² / 2n, d = a_T − a_S
    student = torch.tensor([[0.0, 0.3, 0.1, 0.9]], dtype=torch.float64)
    teacher = torch.tensor([[0.2, 0.3, 0.0, 0.1]], dtype=torch.float64)
    expected = float((student - teacher).var(correction=0)) / 2
    found = softened_kl(student, teacher, 1e3, direction)  # type: ignore[arg-type]
    assert found.item() == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("direction", ["teacher-student", "student-teacher"])
def test_it_teaches_the_student_alone(direction: str) -> None:
    student = torch.tensor([[1.0, -2.0, 0.5]], dtype=torch.float64, requires_grad=True)
    teacher = torch.tensor([[0.0, 1.0, 0.0]], dtype=torch.float64, requires_grad=True)
    softened_kl(student, teacher, 2.0, direction).backward()  # type: ignore[arg-type]
    assert teacher.grad is None
    p_s, p_t = (torch.softmax(a.detach() / 2, 1) for a in (student, teacher))
    if direction == "teacher-student":  # τ (p_S − p_T)
        expected = 2 * (p_s - p_t)
    else:  # τ p_S (log p_S/p_T − KL)
        ratio = (p_s / p_t).log()
        expected = 2 * p_s * (ratio - (p_s * ratio).sum())
    torch.testing.assert_close(student.grad, expected)
