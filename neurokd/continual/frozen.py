"""Frozen: a network that only answers, now or as it was at the end of a task."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from neurokd.continual.observe import Observer, Winners
from neurokd.run import load_state
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
    """A copy of a network as it was, in evaluation mode, without gradients."""

    def __init__(self, network: nn.Module) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False).eval()
        self._observer = Observer(self.network)

    @classmethod
    def from_state(cls, network: nn.Module, state: Mapping[str, Tensor]) -> Teacher:
        """One of the form of ``network`` with the weights of ``state``; `FileFormatError` if they
        do not fit."""
        teacher = cls(network)
        load_state(teacher.network, state, Path("last.ckpt"))
        return teacher

    @torch.no_grad()
    def answer(self, x: Tensor) -> tuple[Tensor, tuple[Winners, ...]]:
        """Logits (B, K), and the activations of its Top-K layers."""
        logits: Tensor = self.network(x)
        return logits, self._observer.take()

    def state(self) -> dict[str, Tensor]:
        """Its weights and buffers."""
        return dict(self.network.state_dict())


def classifier_layer(network: nn.Module) -> nn.Module:
    """The last layer, whose input is the feature: at ``classifier_path``, else ``classifier``.

    Raises: `UsageError` if there is none.
    """
    return submodule(network, getattr(network, "classifier_path", "classifier"))
