"""SAMD against hand-derived values, its small-signal limit, its bound and its invariances."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from neurokd.distill import SAMDLoss
from neurokd.distill.samd import Norm, Scaling
from neurokd.errors import ShapeMismatchError, UsageError

SCALINGS: tuple[Scaling, ...] = ("softmax", "none", "zscore", "l2")


def _hand_case() -> tuple[Tensor, ...]:
    student = torch.zeros(2, 1, 1, 1, 2)
    student[:, 0, 0, 0, 0] = 1  # SAM = [2, 0]
    teacher = torch.tensor([[[[0.0, 1.0]]]])  # CAM = [0, 1] with a weight of 1
    return student, teacher, torch.ones(1, 1), torch.ones(1, 1)


def _random_case(samples: int = 2) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(1)
    spread = torch.tensor([1.0, 9.0])[:, None, None, None]  # the samples differ in scale
    return (
        (torch.rand(3, samples, 4, 5, 5, generator=generator) < 0.3).float(),
        torch.rand(samples, 6, 5, 5, generator=generator) * spread,
        torch.randn(3, 6, generator=generator),
        torch.randn(samples, 3, generator=generator),
    )


@pytest.mark.parametrize("tau_squared", [True, False])
def test_two_positions_by_hand(tau_squared: bool) -> None:
    tau = 2.0
    teacher_gap, student_gap = 1 / 1.001 / tau, -2 / 2.001 / tau  # logit of position 2 minus 1
    p_teacher, p_student = (1 / (1 + math.exp(-gap)) for gap in (teacher_gap, student_gap))
    kl = p_teacher * math.log(p_teacher / p_student) + (1 - p_teacher) * math.log(
        (1 - p_teacher) / (1 - p_student)
    )
    expected = kl * (tau**2 if tau_squared else 1)
    loss = SAMDLoss(tau, tau_squared=tau_squared)(*_hand_case())
    assert float(loss) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("scaling", "norm", "expected"),
    [
        ("none", "none", ((2 - 0) ** 2 + (0 - 1) ** 2) / 2),
        ("none", "batch", ((2 / 2.001) ** 2 + (1 / 1.001) ** 2) / 2),
        # [2, 0] has mean 1 and variance 1, [0, 1] mean ½ and variance ¼: [1, −1] and [−1, 1]
        ("zscore", "none", 2**2),
        ("zscore", "sample", 2**2),
        ("l2", "none", 1.0),  # [1, 0] and [0, 1]
    ],
)
def test_squared_errors_by_hand(scaling: Scaling, norm: Norm, expected: float) -> None:
    loss = SAMDLoss(scaling=scaling, norm=norm)(*_hand_case())
    assert float(loss) == pytest.approx(expected, rel=2e-5)


def test_three_positions_of_unit_length_by_hand() -> None:
    # [3, 4, 0] / 5 and [0, 0, 2] / 2: (0.36 + 0.64 + 1) / 3
    loss = SAMDLoss(scaling="l2", norm="none")
    value = loss.compare(torch.tensor([[[3.0, 4.0, 0.0]]]), torch.tensor([[[0.0, 0.0, 2.0]]]))
    assert float(value) == pytest.approx(2 / 3, rel=1e-5)


def test_temperature_matters_to_softmax_alone() -> None:
    case = _random_case()
    for scaling in SCALINGS:
        low, high = (float(SAMDLoss(tau, scaling=scaling)(*case)) for tau in (1.0, 4.0))
        assert (low == high) == (scaling != "softmax")


def test_the_students_own_cam_by_hand() -> None:
    student = torch.tensor([[[[[1.0, 0.0]], [[0.0, 1.0]]]], [[[[1.0, 1.0]], [[0.0, 1.0]]]]])
    # Mean over the steps: channel 0 [1, ½], channel 1 [0, 1]. The student predicts class 0 with
    # weights (1, −1): ReLU([1 − 0, ½ − 1]) = [1, 0]. The teacher's map is [0, 1] of class 1.
    weight = torch.tensor([[1.0, -1.0], [7.0, 7.0]])
    loss = SAMDLoss(scaling="none", mapping="cam-cam", norm="none")
    value = loss(
        student,
        torch.tensor([[[[0.0, 1.0]]]]),
        torch.tensor([[9.0], [1.0]]),
        torch.tensor([[0.0, 1.0]]),
        weight,
        torch.tensor([[1.0, 0.0]]),
    )
    assert float(value) == 1.0


def test_cam_cam_trains_the_students_classifier() -> None:
    student, *teacher = _random_case()
    weight = torch.randn(3, 4, generator=torch.Generator().manual_seed(2)).requires_grad_()
    logits = F.linear(student.mean(dim=(0, 3, 4)), weight.detach())
    student.requires_grad_()
    SAMDLoss(mapping="cam-cam")(student, *teacher, weight, logits).backward()
    assert weight.grad is not None and weight.grad.abs().sum() > 0
    assert student.grad is not None and student.grad.abs().sum() > 0


def test_cam_cam_needs_the_students_classifier() -> None:
    with pytest.raises(UsageError, match="student's own classifier"):
        SAMDLoss(mapping="cam-cam")(*_hand_case())


@pytest.mark.parametrize(
    ("student", "teacher", "expected"),
    [
        # student pooled to one row: [[3, 5]] against [[2, 4]]
        ([[1.0, 3.0], [5.0, 7.0]], [[2.0, 4.0]], 1.0),
        ([[2.0, 4.0]], [[1.0, 3.0], [5.0, 7.0]], 1.0),
        # neither is larger in both: one position, 3 against 1.5
        ([[2.0], [4.0]], [[1.0, 2.0]], 2.25),
    ],
)
def test_the_larger_map_is_pooled(
    student: list[list[float]], teacher: list[list[float]], expected: float
) -> None:
    loss = SAMDLoss(scaling="none", norm="none")
    assert float(loss.compare(torch.tensor([student]), torch.tensor([teacher]))) == expected


@pytest.mark.parametrize("tau_squared", [True, False])
def test_small_signal_limit_is_half_the_variance(tau_squared: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    base = torch.rand(4, 1, 6, 6, generator=generator)
    # Both maps span [0, 1] exactly, so that normalisation leaves them as they are.
    base[:, 0, 0, 0], base[:, 0, 0, 1] = 0.0, 1.0
    other = (base + 0.01 * torch.randn(base.shape, generator=generator)).clamp(0, 1)
    other[:, 0, 0, 0], other[:, 0, 0, 1] = 0.0, 1.0
    tau = 8.0
    loss = SAMDLoss(tau, tau_squared=tau_squared)
    value = loss(other[None].double(), base.double(), torch.ones(1, 1), torch.ones(4, 1))
    # KL ≈ Var_pix(ΔM) / (2 τ²), with τ² cancelled where the paper's factor is on
    limit = (base - other).flatten(1).var(1, unbiased=False).mean() / (1 if tau_squared else tau**2)
    assert float(value) == pytest.approx(float(limit / 2), rel=0.05)


@pytest.mark.parametrize("tau", [0.5, 1.0, 2.0])
def test_softmax_is_bounded_and_the_bound_is_nearly_met(tau: float) -> None:
    # Opposite halves: p = σ(±1/τ) over two groups, KL = (1/τ) tanh(1 / (2τ)) ≤ 1 / (2 τ²)
    half = torch.cat([torch.ones(1, 1, 32), torch.zeros(1, 1, 32)], dim=2) * 1000  # floor: 10⁻⁶
    value = float(SAMDLoss(tau, tau_squared=False).compare(half, half.flip(2)))
    assert value == pytest.approx(math.tanh(1 / (2 * tau)) / tau, rel=1e-4)
    assert value <= 1 / (2 * tau**2)


@pytest.mark.parametrize("scaling", SCALINGS)
def test_equal_maps_cost_nothing(scaling: Scaling) -> None:
    maps = torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(0))
    assert float(SAMDLoss(scaling=scaling).compare(maps, maps)) == pytest.approx(0, abs=1e-7)


def test_what_each_scaling_does_not_see() -> None:
    generator = torch.Generator().manual_seed(0)
    student, teacher = (100 * torch.rand(3, 4, 4, generator=generator) for _ in range(2))

    def loss(scaling: Scaling, student: Tensor) -> float:
        return float(SAMDLoss(scaling=scaling, norm="none").compare(student, teacher))

    assert loss("softmax", student + 3) == pytest.approx(loss("softmax", student), rel=1e-4)
    assert loss("zscore", 2 * student + 3) == pytest.approx(loss("zscore", student), rel=1e-4)
    assert loss("l2", 2 * student) == pytest.approx(loss("l2", student), rel=1e-4)
    assert loss("none", student + 3) != pytest.approx(loss("none", student), rel=1e-3)


@pytest.mark.parametrize("scaling", SCALINGS)
def test_normalisation_by_sample_does_not_depend_on_the_batch(scaling: Scaling) -> None:
    student, teacher, weight, logits = _random_case()

    def parts(norm: Norm) -> tuple[float, float]:
        loss = SAMDLoss(scaling=scaling, norm=norm)
        whole = loss(student, teacher, weight, logits)
        single = [
            loss(student[:, i : i + 1], teacher[i : i + 1], weight, logits[i : i + 1])
            for i in (0, 1)
        ]
        return float(whole), float(sum(single) / 2)

    for norm in ("sample", "none"):
        whole, single = parts(norm)
        assert whole == pytest.approx(single, rel=1e-5)
    whole, single = parts("batch")  # which zscore and l2 undo, wholly or in part
    assert scaling in ("zscore", "l2") or whole != pytest.approx(single, rel=1e-3)


@pytest.mark.parametrize("scaling", SCALINGS)
def test_gradient_reaches_the_student_only(scaling: Scaling) -> None:
    student, teacher, weight, logits = (tensor.requires_grad_() for tensor in _random_case())
    SAMDLoss(scaling=scaling)(student, teacher, weight, logits).backward()
    assert student.grad is not None and student.grad.abs().sum() > 0
    assert teacher.grad is None and weight.grad is None and logits.grad is None


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("norm", ["batch", "sample", "none"])
def test_a_silent_student_has_a_finite_loss_and_gradient(scaling: Scaling, norm: Norm) -> None:
    _, *teacher = _random_case()
    silent = torch.zeros(3, 2, 4, 5, 5, requires_grad=True)
    loss = SAMDLoss(scaling=scaling, norm=norm)(silent, *teacher)
    loss.backward()
    assert loss.isfinite() and silent.grad is not None and silent.grad.isfinite().all()


@pytest.mark.parametrize("scaling", SCALINGS)
def test_gradients_are_those_of_finite_differences(scaling: Scaling) -> None:
    student, *teacher = (tensor.double() for tensor in _random_case())
    student = (student + torch.linspace(0, 1, student.numel()).reshape(student.shape)).detach()
    loss = SAMDLoss(scaling=scaling)
    assert torch.autograd.gradcheck(
        lambda s: loss(s, *teacher), student.requires_grad_(), fast_mode=True
    )


def test_features_that_are_no_maps_of_one_batch_are_refused() -> None:
    teacher = torch.ones(2, 3), torch.ones(1, 2)
    for student in (torch.zeros(2, 1, 3), torch.zeros(2, 4, 3, 8, 8)):
        with pytest.raises(ShapeMismatchError, match="SAMDLoss"):
            SAMDLoss()(student, torch.zeros(1, 3, 8, 8), *teacher)
    with pytest.raises(ShapeMismatchError, match="one batch"):
        SAMDLoss().compare(torch.zeros(2, 4, 4), torch.zeros(3, 4, 4))


@pytest.mark.parametrize(
    "wrong", [{"scaling": "l3"}, {"norm": "layer"}, {"mapping": "sam-sam"}, {"temperature": 0.0}]
)
def test_unknown_options_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="SAMDLoss"):
        SAMDLoss(**wrong)
