"""Frozen: a network that only answers, now or as it was at the end of a task."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from torch import Tensor, nn

from neurokd.training.features import submodule


@contextmanager
def evaluating(network: nn.Module) -> Iterator[nn.Module]:
    """The network in evaluation mode: counters stay, nothing is dropped; its modes come back."""
    modes = {module: module.training for module in network.modules()}
    try:
        yield network.eval()
    finally:
        for module, training in modes.items():
            module.training = training


class Teacher:
    """A copy of a network as it was, in evaluation mode, without gradients.

    Its weights alone are kept in a checkpoint: the copy is made from the network that learns, which
    is of the same form.
    """

    def __init__(self) -> None:
        self._copy: nn.Module | None = None
        self._weights: dict[str, Tensor] = {}

    def __bool__(self) -> bool:
        return self._copy is not None or bool(self._weights)

    def take(self, network: nn.Module) -> nn.Module:
        """Copy the network as it is now."""
        self._copy = copy.deepcopy(network).requires_grad_(False).eval()
        return self._copy

    def like(self, network: nn.Module) -> nn.Module:
        """The copy; after a restart it is made from ``network`` and the weights kept."""
        if self._copy is None:
            self.take(network).load_state_dict(self._weights)
            self._weights = {}
        assert self._copy is not None
        return self._copy

    def state(self) -> dict[str, Tensor]:
        """Its weights and buffers; nothing before the first copy."""
        return dict(self._copy.state_dict()) if self._copy is not None else dict(self._weights)

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Put back what `state` gave."""
        self._copy, self._weights = None, dict(state)


def classifier(network: nn.Module) -> nn.Module:
    """The last layer, whose input is the feature: at ``classifier_path``, or ``classifier``."""
    return submodule(network, getattr(network, "classifier_path", "classifier"))
