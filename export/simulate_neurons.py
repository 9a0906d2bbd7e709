"""One step of NIR's six neurons, in float64, by forward Euler."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import nir
import numpy as np

from neurokd.export.linear_maps import Floats


class NeuronState(NamedTuple):
    """Current and membrane, each (B, *shape)."""

    current: Floats
    v: Floats


@dataclass(frozen=True)
class NeuronParameters:
    """What all six neurons have in common; arrays of the neuron's shape, or scalars.

    ``threshold`` is None where v itself leaves the neuron (I, LI, CubaLI).
    """

    filtering: Floats | None
    """dt / tau_syn; None where the input is the current."""
    w_in: Floats
    leak: Floats
    """dt / tau_mem; 0 without a leak."""
    gain: Floats
    """What a current of 1 adds to v in a step."""
    v_leak: Floats
    threshold: Floats | None
    v_reset: Floats


def neuron_parameters(node: Any, dt: float) -> NeuronParameters:
    """Constants of a node of `nir_structure.NEURONS` for steps of dt seconds."""
    cuba = isinstance(node, (nir.CubaLI, nir.CubaLIF))
    leaky = not isinstance(node, (nir.I, nir.IF))
    spiking = isinstance(node, (nir.IF, nir.LIF, nir.CubaLIF))
    leak = dt / _float(node.tau_mem if cuba else node.tau) if leaky else np.zeros(())
    return NeuronParameters(
        filtering=dt / _float(node.tau_syn) if cuba else None,
        w_in=_float(node.w_in) if cuba else np.ones(()),
        leak=leak,
        gain=(leak if leaky else dt) * _float(node.r),
        v_leak=_float(node.v_leak) if leaky else np.zeros(()),
        threshold=_float(node.v_threshold) if spiking else None,
        v_reset=_float(node.v_reset) if spiking else np.zeros(()),
    )


def neuron_step(p: NeuronParameters, state: NeuronState, x: Floats) -> tuple[Floats, NeuronState]:
    """What leaves a neuron, and its next state.

    Equation: i ← i + dt/τ_syn (w_in x − i), or i = x without a synapse;
    v ← v + dt/τ (v_leak − v + r i), or v + dt r i without a leak;
    s = 1[v > v_threshold]; v ← v_reset if s. A spiking neuron puts out s, another one v.
    """
    current = x
    if p.filtering is not None:
        # the membrane sees the current of this step, as in snnTorch, spikingjelly and Loihi
        current = state.current + p.filtering * (p.w_in * x - state.current)
    v = state.v + p.leak * (p.v_leak - state.v) + p.gain * current
    if p.threshold is None:
        return v, NeuronState(current, v)
    spikes = v > p.threshold
    return spikes.astype(np.float64), NeuronState(current, np.where(spikes, p.v_reset, v))


def _float(value: Any) -> Floats:
    return np.asarray(value, dtype=np.float64)
