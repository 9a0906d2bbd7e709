"""Random neurons of snnTorch that `trace` supports, for property tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import snntorch
import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from neurokd.neurons.surrogate import triangle

Shape = tuple[int, ...]
Draw = Callable[[st.SearchStrategy[Any]], Any]
KINDS = ("leaky", "leaky", "integrate", "synaptic", "kept", "one to one", "rsynaptic one to one")
FLAT = ("rleaky", "rsynaptic")


def uniform(shape: Shape, low: float, high: float) -> Tensor:
    """Continuous values, float64."""
    return low + (high - low) * torch.rand(shape, dtype=torch.double)


def random_neuron(draw: Draw, shape: Shape, hidden: bool) -> nn.Module:
    """One layer of neurons; each with parameters of its own, or all with the same.

    RSynaptic resets to zero a step late, or not at all.
    """
    image = len(shape) == 3
    kind = draw(st.sampled_from([*KINDS, *(FLAT if len(shape) == 1 else ("conv",) * image)]))
    own = shape if draw(st.booleans()) else ()
    delayed = kind in ("rsynaptic", "rsynaptic one to one")
    kept = kind == "kept" or (delayed and draw(st.booleans()))
    parameters: dict[str, Any] = {
        "beta": 1.0 if kind == "integrate" else uniform(own, 0.1, 0.95),
        "threshold": uniform(own, 0.2, 1.0),
        "spike_grad": triangle(),
        "init_hidden": hidden,
        "reset_mechanism": "none" if kept else "zero",
        "reset_delay": kept or delayed,
    }
    alpha = uniform(own, 0.1, 0.9)
    back = uniform(own, -0.7, 0.3)
    if kind == "synaptic":
        return snntorch.Synaptic(alpha=alpha, **parameters)
    if kind == "one to one":
        return snntorch.RLeaky(all_to_all=False, V=back, **parameters)
    if kind == "rsynaptic one to one":
        return snntorch.RSynaptic(alpha=alpha, all_to_all=False, V=back, **parameters)
    if kind == "rleaky":
        return snntorch.RLeaky(linear_features=shape[0], **parameters)
    if kind == "rsynaptic":
        return snntorch.RSynaptic(alpha=alpha, linear_features=shape[0], **parameters)
    if kind == "conv":
        made = snntorch.RLeaky(conv2d_channels=shape[0], kernel_size=3, **parameters)
        nn.init.zeros_(made.recurrent.bias)  # there is not always a layer that could take it
        return made
    return snntorch.Leaky(**parameters)
