"""Where a loss stopped being finite, and a loss that grows."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from neurokd.errors import TrainingDivergedError
from neurokd.training.divergence import diagnose_divergence, require_bounded_loss

NAN = float("nan")


class _Infinite(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x / 0


def _network(*, broken: bool = False) -> nn.Sequential:
    middle = nn.Sequential(nn.Linear(3, 3), _Infinite() if broken else nn.ReLU())
    return nn.Sequential(nn.BatchNorm1d(3), middle, nn.Linear(3, 2))


def _diagnosis(network: nn.Module, batch: Tensor, **terms: float) -> str:
    error = diagnose_divergence(network, batch, lambda: network(batch), terms, "epoch 2, batch 7")
    assert isinstance(error, TrainingDivergedError)
    return str(error)


def test_a_batch_that_is_not_finite() -> None:
    line = _diagnosis(_network(), torch.full((4, 3), NAN), ce=NAN)
    assert line.startswith("epoch 2, batch 7: the loss term ce is not a finite number: the batch")
    assert "check the data" in line and "found ce = nan" in line


def test_weights_that_are_not_finite() -> None:
    network = _network()
    with torch.no_grad():
        network[1][0].weight[0, 0] = float("inf")  # type: ignore[index]
    line = _diagnosis(network, torch.rand(4, 3), ce=1.0, samd=NAN)
    assert "the loss term samd" in line and "'1.0.weight'" in line and "clip_norm" in line


def test_the_first_layer_with_such_an_output_and_nothing_left_behind() -> None:
    network = _network(broken=True)
    state = {name: value.clone() for name, value in network.state_dict().items()}
    line = _diagnosis(network, torch.rand(4, 3), ce=NAN)
    assert "layer '1.1' is the first whose output is not finite" in line
    assert "recipe.learning_rate" in line
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())


def test_a_loss_term_alone() -> None:
    line = _diagnosis(_network(), torch.rand(4, 3), ce=0.4, nld=float("inf"))
    assert "the loss term nld" in line and "every layer's output is finite" in line
    assert "lower the weight of nld" in line


def test_integer_batches_and_tuples_of_outputs() -> None:
    class Pair(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x, x.float() / 0

    network = nn.Sequential(Pair())
    assert "layer '0' is the first" in _diagnosis(network, torch.ones(2, 3).long(), ce=NAN)


def _rows(*losses: float) -> list[dict[str, Any]]:
    return [{"epoch": k, "split": "train", "loss": loss} for k, loss in enumerate(losses, 1)]


def test_a_loss_that_grows_is_refused() -> None:
    held_out = {"epoch": 2, "split": "validation", "loss": 900.0}
    require_bounded_loss([])
    require_bounded_loss(_rows(2.3))
    require_bounded_loss([*_rows(2.3, 0.01, 22.9), held_out])
    require_bounded_loss(_rows(1e-4, 0.5, 9.9))  # it began as a trained network
    with pytest.raises(
        TrainingDivergedError, match=r"epoch 3: .*grows.*≤ 23, after 2\.3 .*found 23\.1"
    ):
        require_bounded_loss([*_rows(2.3, 0.01, 23.1), held_out])
