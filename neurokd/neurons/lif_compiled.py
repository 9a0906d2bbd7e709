"""The compiled time loop on tensors: neurons shared out over threads, each without the GIL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray
from torch import Tensor

from neurokd.neurons.surrogate import Surrogate
from neurokd.neurons.threads import in_threads

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
    _shared_out(
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
    _shared_out(
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


def _shared_out(steps: int, neurons: int, work: Callable[[int, int], None]) -> None:
    """Calls ``work`` for parts of the neurons; what it computes does not depend on the parts."""
    if steps * neurons <= _ALONE:
        work(0, neurons)
    else:
        in_threads(neurons, _BLOCK, work)
