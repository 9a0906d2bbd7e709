"""What a network answers to samples: its logits, and how its Top-K layers respond."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from neurokd.continual.observe import Observer
from neurokd.data.labelled import LabelledData

_BATCH = 250


@dataclass(frozen=True)
class Activity:
    """A Top-K layer over several sets of samples: the part of each set's samples that a neuron
    answers (S, r), the activation of each neuron summed over all of them (r,), and its k.

    ``weight`` (r, d) is that of the linear layer in front of it, where that is what it is given.
    """

    frequencies: NDArray[np.float64]
    summed: NDArray[np.float64]
    k: int
    weight: Tensor | None

    @property
    def frequency(self) -> NDArray[np.float64]:
        """Part of the samples that a neuron answers, (r,); every set counts alike."""
        mean: NDArray[np.float64] = self.frequencies.mean(axis=0)
        return mean


def observe_activity(
    network: nn.Module, sets: Sequence[LabelledData]
) -> tuple[Tensor, tuple[Activity, ...]]:
    """Logits (N, K) on all samples, set after set, and the activity of each Top-K layer.

    Nothing changes: the network runs in evaluation mode, and gets its modes back.
    """
    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    logits: list[Tensor] = []
    hits: list[list[NDArray[np.float64]]] = []
    sums: list[NDArray[np.float64]] = []
    with _evaluating(network), _linear_outputs(network) as linear:
        observer = Observer(network)
        weights: list[Tensor | None] = [None] * len(observer.layers)
        try:
            for samples in sets:
                answered: list[NDArray[np.float64]] = []
                for chosen in np.array_split(np.arange(len(samples)), -(-len(samples) // _BATCH)):
                    logits.append(network(samples.batch(chosen)[0].to(device)).cpu())
                    seen = observer.take()
                    weights = [_weight_behind(winners.pre, linear) for winners in seen]
                    linear.clear()
                    posts = [winners.post.cpu() for winners in seen]
                    answered = _added(answered, [(p > 0).sum(dim=0) for p in posts])
                    sums = _added(sums, [p.sum(dim=0, dtype=torch.float64) for p in posts])
                hits.append([count / len(samples) for count in answered])
        finally:
            observer.close()
    layers = tuple(
        Activity(np.stack([of_set[i] for of_set in hits]), sums[i], layer.k, weights[i])
        for i, layer in enumerate(observer.layers)
    )
    return torch.cat(logits), layers


def _added(total: list[NDArray[np.float64]], more: list[Tensor]) -> list[NDArray[np.float64]]:
    arrays = [tensor.numpy().astype(np.float64) for tensor in more]
    return [a + b for a, b in zip(total, arrays, strict=True)] if total else arrays


def _weight_behind(given: Tensor, linear: Sequence[tuple[Tensor, Tensor]]) -> Tensor | None:
    """The weight of the linear layer whose output this very tensor is."""
    return next((weight.detach().cpu() for out, weight in linear if out is given), None)


@contextmanager
def _linear_outputs(network: nn.Module) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """Outputs of the linear layers in the last forward pass, each with its weight."""
    seen: list[tuple[Tensor, Tensor]] = []

    def see(layer: nn.Module, given: object, out: Tensor) -> None:
        seen.append((out, layer.get_parameter("weight")))

    hooks = [m.register_forward_hook(see) for m in network.modules() if isinstance(m, nn.Linear)]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; afterwards every module has the mode it had."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode
