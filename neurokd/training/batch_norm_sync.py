"""Batch normalisation over the batches of all processes, on any device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from neurokd.batch_share import total_over_processes


@contextmanager
def synchronised_batch_norms(network: nn.Module) -> Iterator[None]:
    """In here, batch normalisations in training mode take their statistics over all processes.

    Equation: μ and σ² over the samples of every process, as one process would have them on the
    whole batch; so for the gradient. All processes must have batches of one size. torch's
    `SyncBatchNorm` does the same on CUDA alone.
    """
    layers = [m for m in network.modules() if isinstance(m, _BatchNorm)]
    for layer in layers:
        layer.forward = partial(_forward, layer)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _forward(layer: _BatchNorm, x: Tensor) -> Tensor:
    if not layer.training:
        return type(layer).forward(layer, x)
    axes = [axis for axis in range(x.ndim) if axis != 1]
    shape = [-1 if axis == 1 else 1 for axis in range(x.ndim)]
    wide = x.float()
    share = x.shape[1] / x.numel() / dist.get_world_size()
    mean = total_over_processes(wide.sum(axes) * share)
    centred = wide - mean.view(shape)
    variance = total_over_processes(centred.square().sum(axes) * share)
    _update_running(layer, mean, variance, 1 / share)
    normal = centred * torch.rsqrt(variance + layer.eps).view(shape)
    if layer.affine:
        normal = normal * layer.weight.view(shape) + layer.bias.view(shape)
    return normal.to(x.dtype)


def _update_running(layer: _BatchNorm, mean: Tensor, variance: Tensor, count: float) -> None:
    if layer.running_mean is None or layer.running_var is None:
        return
    with torch.no_grad():
        if layer.num_batches_tracked is not None:
            layer.num_batches_tracked.add_(1)
        momentum = layer.momentum
        if momentum is None:  # the average of all batches
            assert layer.num_batches_tracked is not None
            momentum = 1 / float(layer.num_batches_tracked)
        layer.running_mean.lerp_(mean, momentum)
        layer.running_var.lerp_(variance * (count / (count - 1)), momentum)
