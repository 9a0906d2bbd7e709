"""Averaged weights: the exponential moving average of a network while it is trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from neurokd.errors import FileFormatError

_UPDATES = "updates"
_PREFIX = "average."


class AveragedWeights:
    """Averages of a network's parameters and buffers over its updates.

    Equation: θ̄ ← d_n θ̄ + (1 − d_n) θ after update n = 1, 2, …, d_n = min(d, n / (9 + n)): the first
    averages are short, so that the random initial weights are soon forgotten.

    The statistics of batch normalisation are averaged with the weights they belong to; whole
    numbers (its count of batches) are those of the network itself. The network is not copied as
    `torch.optim.swa_utils.AveragedModel` does: a copy would share the hooks of the original.

    Source: Polyak & Juditsky 1992; the warm-up is that of tf.train.ExponentialMovingAverage.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = model
        self.decay = decay
        self.updates = 0
        self._averages = {name: value.clone() for name, value in _state(model).items()}

    def update(self) -> None:
        """Take in the weights as they are now; once after each step of the optimiser."""
        self.updates += 1
        decay = min(self.decay, self.updates / (9 + self.updates))
        averages: list[Tensor] = []
        values: list[Tensor] = []
        for name, value in _state(self.model).items():
            average = self._averages[name]
            if value.is_floating_point() and value.shape == average.shape:
                averages.append(average)
                values.append(value)
            else:
                self._averages[name] = value.clone()
        get_ema_multi_avg_fn(decay)(averages, values, 0)

    @contextmanager
    def applied(self) -> Iterator[nn.Module]:
        """The network with the averages in place of its weights, which it has back afterwards."""
        own = {name: value.clone() for name, value in _state(self.model).items()}
        self.apply()
        try:
            yield self.model
        finally:
            _put(self.model, own)

    def apply(self) -> None:
        """Give the network the averages for good."""
        _put(self.model, self._averages)

    def state(self) -> dict[str, Tensor]:
        """Everything that a checkpoint needs, as plain tensors."""
        averages = {_PREFIX + name: value for name, value in self._averages.items()}
        return {_UPDATES: torch.tensor(self.updates), **averages}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Put a saved state back; `FileFormatError` if it is that of another network."""
        expected = {_UPDATES, *(_PREFIX + name for name in self._averages)}
        if set(state) != expected:
            differing = sorted(set(state) ^ expected)
            raise FileFormatError(
                "the averaged weights belong to another network",
                expected=f"{len(expected)} tensors",
                found=f"{len(state)}; {differing[0]!r} is in one of them only",
            )
        for name, average in self._averages.items():
            self._averages[name] = state[_PREFIX + name].to(average.device, copy=True)
        self.updates = int(state[_UPDATES])


def _state(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in model.state_dict().items()}


def _put(model: nn.Module, values: Mapping[str, Tensor]) -> None:
    model.load_state_dict(dict(values), strict=True)
