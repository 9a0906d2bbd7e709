import pytest
import torch
import torch.nn.functional as F

from neurokd.distill import KDLoss, NLDLoss
from neurokd.errors import UsageError

STUDENT = torch.tensor([[1.0, -1.0, 0.5], [0.0, 2.0, -3.0]])
TEACHER = torch.tensor([[2.0, 0.0, 1.0], [-1.0, 1.0, 0.0]])


@pytest.mark.parametrize("mode", ["logit", "prob_mix"])
def test_without_noise_it_is_kd(mode: str) -> None:
    loss = NLDLoss(noise=0.0, mode=mode)(STUDENT, TEACHER)  # type: ignore[arg-type]
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


@pytest.mark.parametrize(
    "wrong", [{"mode": "mean"}, {"noise": -0.1}, {"noise": 2.0, "mode": "prob_mix"}]
)
def test_unknown_options_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="NLDLoss"):
        NLDLoss(**wrong)  # type: ignore[arg-type]
