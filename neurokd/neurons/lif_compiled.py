"""The compiled time loop on tensors: neurons shared out over threads, each without the GIL."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neurokd.neurons.surrogate import Surrogate

_BLOCK = 512
"""Neurons whose states are in the nearest cache together."""
_ALONE = 2**15
"""Neuron updates for which it does not pay to wake other threads."""


def compiled_forward(
    x: Tensor, steps: int, alpha: Tensor | None, beta: Tensor, threshold: Tensor
) -> Tensor:
    """Spikes (T, M) of x, (T, M) or (1, M); parameters (1,) or (M / B,). All contiguous."""
    from neurokd.neurons import lif_kernel  # numba is slow to import

    spikes = x.new_empty(steps, x.shape[1])
    arrays = _array(x), steps, _array(alpha, x), _array(beta), _array(threshold)
    out = _array(spikes)
    _in_threads(
        steps,
        x.shape[1],
        lambda start, stop: lif_kernel.forward(*arrays, start, stop, _BLOCK, out),
    )
    return spikes


def compiled_backward(
    x: Tensor,
    upstream: Tensor,
    steps: int,
    alpha: Tensor | None,
    beta: Tensor,
    threshold: Tensor,
    surrogate: Surrogate,
    wanted: tuple[bool, bool, bool],
) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]:
    """Gradients to x (T, M), and those ``wanted`` of α, β and threshold for each of M neurons.

    ``upstream``: (T, M) or (1, M), the same at each step.
    """
    from neurokd.neurons import lif_kernel

    kind = ("triangle", "atan", "fast_sigmoid", "sigmoid").index(surrogate.form)
    neurons = upstream.shape[1]
    to_x = upstream.new_empty(steps, neurons)
    to_parameters = [x.new_zeros(neurons if needed else 0) for needed in wanted]
    arrays = _array(x), _array(upstream), steps, _array(alpha, x), _array(beta), _array(threshold)
    slope = arrays[0].dtype.type(surrogate.slope)
    out = [_array(tensor) for tensor in (to_x, *to_parameters)]
    _in_threads(
        steps,
        neurons,
        lambda start, stop: lif_kernel.backward(*arrays, kind, slope, start, stop, _BLOCK, *out),
    )
    alpha_, beta_, threshold_ = (
        tensor if needed else None for tensor, needed in zip(to_parameters, wanted, strict=True)
    )
    return to_x, alpha_, beta_, threshold_


def _array(tensor: Tensor | None, like: Tensor | None = None) -> NDArray[Any]:
    if tensor is None:
        assert like is not None
        tensor = like.new_empty(0)
    array: NDArray[Any] = tensor.detach().numpy()
    return array


def _in_threads(steps: int, neurons: int, work: Callable[[int, int], None]) -> None:
    """Calls ``work`` for parts of the neurons; what it computes does not depend on the parts."""
    threads = torch.get_num_threads()
    if threads == 1 or steps * neurons <= _ALONE:
        work(0, neurons)
        return
    blocks = -(-neurons // _BLOCK)
    edges = np.minimum(_BLOCK * (blocks * np.arange(threads + 1) // threads), neurons).tolist()
    parts = [part for part in zip(edges, edges[1:], strict=False) if part[0] < part[1]]
    others = [_executor(os.getpid(), threads).submit(work, *part) for part in parts[1:]]
    try:
        work(*parts[0])
    finally:  # nothing may be freed while a thread still writes to it
        for other in others:
            other.result()


@lru_cache(maxsize=1)
def _executor(process: int, threads: int) -> ThreadPoolExecutor:
    """The threads of this process; a forked one has none of its parent's, and starts its own."""
    return ThreadPoolExecutor(threads - 1, thread_name_prefix="neurokd-lif")
