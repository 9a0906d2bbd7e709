"""Activation checkpointing: parts of a network computed again on the way back instead of kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from neurokd.errors import UsageError
from neurokd.neurons import LIF, CubaLIF, PerStep
from neurokd.training.features import submodule


@contextmanager
def recomputed(network: nn.Module, parts: Sequence[str]) -> Iterator[None]:
    """While it lasts, training keeps only what enters and leaves the modules at paths ``parts``.

    What lies between is computed once more on the way back, one part after the other, so that T
    multiplies what passes between the parts and what is in the widest, not all layers. Losses,
    gradients, random numbers and the running statistics of batch normalisation stay the same
    bits. Hooks on the parts are called once, hooks on what is inside them twice.
    """
    modules = [network.get_submodule(part) for part in parts]
    try:
        for module in modules:
            # a method, which a copy of the network has as its own
            module.forward = MethodType(_checkpointed, module)
        yield
    finally:
        for module in modules:
            vars(module).pop("forward", None)


def recomputable(network: nn.Module, stages: Sequence[str]) -> tuple[str, ...]:
    """Paths of the parts to compute again: the blocks of each stage, or a stage without blocks.

    A block holds layers with weights and neurons. Raises: `UsageError` for no stages, or one that
    is not there.
    """
    if not stages:
        raise UsageError(
            "the network does not say which parts can be computed again",
            where=f"{type(network).__name__}, recompute",
            expected="module paths in feature_stages",
            remedy="use one of neurokd.models, name model.stages, or remove recompute",
        )
    parts: list[str] = []
    for stage in stages:
        children = list(submodule(network, stage).named_children())
        if children and all(_is_block(child) for _, child in children):
            parts += (f"{stage}.{name}" for name, _ in children)
        else:
            parts.append(stage)
    return tuple(parts)


def _is_block(module: nn.Module) -> bool:
    kinds = [type(part) for part in module.modules()]
    return PerStep in kinds and (LIF in kinds or CubaLIF in kinds)


def _checkpointed(module: nn.Module, x: Tensor) -> Any:
    forward: Any = type(module).forward
    if not (module.training and torch.is_grad_enabled()):
        return forward(module, x)
    return checkpoint(
        forward,
        module,
        x,
        use_reentrant=False,
        context_fn=lambda: (nullcontext(), _kept_buffers(module)),
    )


@contextmanager
def _kept_buffers(module: nn.Module) -> Iterator[None]:
    """What runs meanwhile changes copies of the buffers: the running statistics above all."""
    kept = [
        (part, name, buffer)
        for part in module.modules()
        for name, buffer in part.named_buffers(recurse=False)
    ]
    for part, name, buffer in kept:
        setattr(part, name, buffer.clone())
    try:
        yield
    finally:
        for part, name, buffer in kept:
            setattr(part, name, buffer)
