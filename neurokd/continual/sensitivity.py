"""Sensitivity of a network's answers to its weights, sample by sample."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from neurokd.continual.anchor import trained_weights


def output_sensitivity(network: nn.Module, batches: Iterable[Tensor]) -> dict[str, Tensor]:
    """mean_x |∂‖z(x)‖² / ∂θ_i| of every weight that is trained.

    The gradient of one sample in a linear layer is the product of what comes in and of what flows
    back; so is its size, and a sum over samples is one matrix product. A network with other
    weights, or with a linear layer that sees more than one vector a sample, is differentiated one
    sample after another.
    """
    layers = _linear_layers(network)
    total: dict[str, Tensor] = {}
    samples = 0
    for x in batches:
        found = _by_products(network, layers, x) if layers else None
        if found is None:
            found, layers = _by_samples(network, x), {}
        for name, value in found.items():
            total[name] = total[name] + value if name in total else value
        samples += len(x)
    return {name: value / samples for name, value in total.items()}


def _linear_layers(network: nn.Module) -> dict[str, nn.Linear]:
    """The linear layers by name, if they hold all weights, each its own; else none."""
    layers = {n: m for n, m in network.named_modules() if type(m) is nn.Linear}
    own = [id(p) for layer in layers.values() for p in layer.parameters(recurse=False)]
    complete = all(id(p) in own for p in trained_weights(network).values())
    return layers if complete and len(own) == len(set(own)) else {}


def _by_products(
    network: nn.Module, layers: dict[str, nn.Linear], x: Tensor
) -> dict[str, Tensor] | None:
    """Σ_x |∂‖z‖²/∂θ|; None if a layer is not called once, with (B, d)."""
    seen: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in layers}

    def watching(name: str) -> Any:
        def watch(layer: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> None:
            seen[name].append((given[0].detach(), out))

        return watch

    hooks = [layer.register_forward_hook(watching(name)) for name, layer in layers.items()]
    try:
        logits = network(x)
    finally:
        for hook in hooks:
            hook.remove()
    if any(len(calls) != 1 or calls[0][0].ndim != 2 for calls in seen.values()):
        return None
    outputs = [calls[0][1] for calls in seen.values()]
    flows = torch.autograd.grad((logits**2).sum(), outputs, allow_unused=True)
    found: dict[str, Tensor] = {}
    for (name, layer), flow in zip(layers.items(), flows, strict=True):
        prefix = f"{name}." if name else ""
        back = torch.zeros_like(seen[name][0][1]) if flow is None else flow.abs()
        if layer.weight.requires_grad:
            found[f"{prefix}weight"] = back.T @ seen[name][0][0].abs()
        if layer.bias is not None and layer.bias.requires_grad:
            found[f"{prefix}bias"] = back.sum(dim=0)
    return found


def _by_samples(network: nn.Module, x: Tensor) -> dict[str, Tensor]:
    weights = trained_weights(network)
    total = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    for sample in x.split(1):
        gradients = torch.autograd.grad(
            (network(sample) ** 2).sum(), list(weights.values()), allow_unused=True
        )
        for name, gradient in zip(weights, gradients, strict=True):
            if gradient is not None:
                total[name] += gradient.abs()
    return total
