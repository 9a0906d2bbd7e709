"""A network is tried on one sample before it is trained."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from neurokd.errors import ShapeMismatchError
from neurokd.models import build_model
from neurokd.models.answer import require_answer

GEOMETRY = {"channels": (3, 4), "kernels": (3, 3), "strides": (1, 2), "classes": 5}


def network(*, spiking: bool) -> nn.Module:
    torch.manual_seed(0)
    return build_model("convnet", spiking=spiking, in_channels=1, **GEOMETRY)


@pytest.mark.parametrize("steps", [None, 3], ids=["dense", "spiking"])
def test_a_network_that_fits_is_left_as_it_was(steps: int | None) -> None:
    model = network(spiking=steps is not None).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    drawn = torch.get_rng_state()
    require_answer(model, (1, 8, 8), where="model", steps=steps, classes=5)
    assert model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), drawn)


def test_modules_keep_their_own_modes() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(4, 2)).train()
    model[1].eval()
    require_answer(model, (1, 2, 2), where="model", classes=2)
    assert [module.training for module in model] == [True, False, True]


@pytest.mark.parametrize(
    ("shape", "classes", "message"),
    [
        (
            (2, 8, 8),
            5,
            r"^teacher: .*\(1, 2, 8, 8\) → \(1, 5\), found RuntimeError: Given",
        ),
        ((1, 8, 8), 7, r"one number a class \(expected .* → \(1, 7\), found \(1, 5\)\)"),
    ],
)
def test_other_samples_and_classes_are_refused(
    shape: tuple[int, ...], classes: int, message: str
) -> None:
    with pytest.raises(ShapeMismatchError, match=message):
        require_answer(network(spiking=False), shape, where="teacher", classes=classes)


def test_a_network_without_time_is_no_student() -> None:
    with pytest.raises(ShapeMismatchError, match=r"expected \(3, 1, 1, 8, 8\) → \(3, 1, 5\)"):
        require_answer(network(spiking=False), (1, 8, 8), where="model", steps=3, classes=5)


def test_several_outputs_are_no_answer() -> None:
    class Pair(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x, x

    with pytest.raises(ShapeMismatchError, match="found tuple"):
        require_answer(Pair(), (4,), where="own:build")
