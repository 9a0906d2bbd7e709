import math

import pytest
import torch

from neurokd.distill import SAMDLoss
from neurokd.distill.samd import class_activation_map, spike_activation_map
from neurokd.errors import ShapeMismatchError, UsageError


def test_cam_takes_the_predicted_class_and_clips_below_zero() -> None:
    features = torch.tensor([[[[1.0, 2.0]], [[3.0, 1.0]]]])  # (B=1, C=2, H=1, W=2)
    weight = torch.tensor([[9.0, 9.0], [1.0, -1.0]])
    logits = torch.tensor([[0.0, 5.0]])
    # class 1: 1·1 − 1·3 = −2 → 0 and 1·2 − 1·1 = 1
    assert class_activation_map(features, weight, logits).tolist() == [[[0.0, 1.0]]]


def test_sam_sums_over_steps_and_channels() -> None:
    spikes = torch.zeros(3, 1, 2, 1, 2)
    spikes[0, 0, 0, 0, 0] = spikes[2, 0, 1, 0, 0] = spikes[1, 0, 1, 0, 1] = 1
    assert spike_activation_map(spikes).tolist() == [[[2.0, 1.0]]]


def _hand_case() -> tuple[torch.Tensor, ...]:
    student = torch.zeros(2, 1, 1, 1, 2)
    student[:, 0, 0, 0, 0] = 1  # SAM = [2, 0]
    teacher = torch.tensor([[[[0.0, 1.0]]]])  # CAM = [0, 1] with a weight of 1
    return student, teacher, torch.ones(1, 1), torch.ones(1, 1)


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


def test_small_signal_limit_is_half_the_variance() -> None:
    generator = torch.Generator().manual_seed(0)
    base = torch.rand(4, 1, 6, 6, generator=generator)
    # Both maps span [0, 1] exactly, so that normalisation leaves them as they are.
    base[:, 0, 0, 0], base[:, 0, 0, 1] = 0.0, 1.0
    other = (base + 0.01 * torch.randn(base.shape, generator=generator)).clamp(0, 1)
    other[:, 0, 0, 0], other[:, 0, 0, 1] = 0.0, 1.0
    loss = SAMDLoss(8.0)(other[None], base, torch.ones(1, 1), torch.ones(4, 1))
    difference = (base - other).flatten(1)
    assert float(loss) == pytest.approx(
        float(difference.var(1, unbiased=False).mean() / 2), rel=0.05
    )


def test_normalisation_by_sample_does_not_depend_on_the_batch() -> None:
    generator = torch.Generator().manual_seed(1)
    student = (torch.rand(3, 2, 4, 5, 5, generator=generator) < 0.3).float()
    teacher = (
        torch.rand(2, 6, 5, 5, generator=generator) * torch.tensor([1.0, 9.0])[:, None, None, None]
    )
    weight, logits = torch.randn(3, 6, generator=generator), torch.randn(2, 3, generator=generator)

    def parts(norm: str) -> tuple[float, float]:
        loss = SAMDLoss(norm=norm)  # type: ignore[arg-type]
        whole = loss(student, teacher, weight, logits)
        single = [
            loss(student[:, i : i + 1], teacher[i : i + 1], weight, logits[i : i + 1])
            for i in (0, 1)
        ]
        return float(whole), float(sum(single) / 2)

    whole, single = parts("sample")
    assert whole == pytest.approx(single, rel=1e-5)
    whole, single = parts("batch")
    assert whole != pytest.approx(single, rel=1e-3)


def test_gradient_reaches_the_student_only() -> None:
    student, teacher, weight, logits = (tensor.requires_grad_() for tensor in _hand_case())
    SAMDLoss()(student, teacher, weight, logits).backward()
    assert student.grad is not None and student.grad.abs().sum() > 0
    assert teacher.grad is None and weight.grad is None and logits.grad is None


def test_a_different_geometry_is_refused() -> None:
    with pytest.raises(ShapeMismatchError, match="geometry"):
        SAMDLoss()(
            torch.zeros(2, 1, 3, 4, 4), torch.zeros(1, 3, 8, 8), torch.ones(2, 3), torch.ones(1, 2)
        )


@pytest.mark.parametrize("wrong", [{"scaling": "l3"}, {"norm": "layer"}, {"temperature": 0.0}])
def test_unknown_options_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="SAMDLoss"):
        SAMDLoss(**wrong)  # type: ignore[arg-type]
