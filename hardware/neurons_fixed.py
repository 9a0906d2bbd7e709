"""Neuron updates over a block of chip steps: what arrives in, messages and state out.

The seam for compiled kernels. `update_of` gives the update of a population's kind, one chip step
as a pure function ``(state, a) → (state, messages, lost)``; `run_block` walks it through a block
of steps. A kernel takes the place of `run_block` for the kinds it knows: the same arguments, the
same `Block`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neurokd.hardware.lif_fixed import LIFUpdate, current_cannot_overflow
from neurokd.hardware.population import (
    CurrentInputPopulation,
    DeltaInputPopulation,
    DeltaPopulation,
    InputPopulation,
    LIFPopulation,
    Population,
    SigmaDeltaPopulation,
    SigmaPopulation,
)
from neurokd.hardware.sigma_delta_fixed import DeltaUpdate, SigmaDeltaUpdate, SigmaUpdate

Update = LIFUpdate | SigmaUpdate | DeltaUpdate | SigmaDeltaUpdate
State = dict[str, Tensor]


@dataclass(frozen=True)
class Block:
    """What a population did in a block of steps.

    Shapes: ``messages`` (b, T, n), bool spikes or int32; ``state`` by variable (b, n) int32, after
    the last step; ``trace`` by variable (b, T, n) int32, after every step, of those asked for;
    ``lost`` by variable (T,), how many (sample, neuron) pairs left its range.
    """

    messages: Tensor
    state: State
    trace: dict[str, Tensor]
    lost: dict[str, Tensor]


def update_of(
    population: Population, bound: int, device: torch.device, data: Tensor | None = None
) -> Update:
    """The update of a population's neurons.

    ``bound``: the largest |a| that can arrive. ``data``: of a `CurrentInputPopulation`, the bias
    mantissas (b, n) of the samples.
    """
    assert not isinstance(population, InputPopulation)
    if isinstance(population, LIFPopulation):
        return LIFUpdate(
            population.du,
            population.dv,
            population.vth,
            _flat(population.bias, device),
            current_cannot_overflow(bound, population.du),
        )
    if isinstance(population, CurrentInputPopulation):
        assert data is not None
        # nothing arrives, so that u stays 0 whatever its decay
        bias = data << population.bias_exp
        return LIFUpdate(4095, population.dv, population.vth, bias, in_range=True)
    if isinstance(population, SigmaPopulation):
        return SigmaUpdate()
    exponents = (population.spike_exp, population.state_exp)
    if isinstance(population, DeltaPopulation | DeltaInputPopulation):
        return DeltaUpdate(population.vth, *exponents, population.cum_error)
    assert isinstance(population, SigmaDeltaPopulation)
    bias = _flat(population.bias, device) << sum(exponents)
    return SigmaDeltaUpdate(
        population.vth, bias, *exponents, population.cum_error, population.activation
    )


def start_step_of(population: Population) -> int:
    """The chip step on entering which a population's state is set to zero; 1 for an input."""
    return int(getattr(population, "start_step", 1))


def zero_state(update: Update, samples: int, neurons: int, device: torch.device) -> State:
    """State at rest, (samples, neurons) by variable."""
    shape = (samples, neurons)
    return {v: torch.zeros(shape, dtype=torch.int32, device=device) for v in update.variables}


def run_block(
    update: Update,
    state: State,
    a: Tensor,
    first_step: int,
    start_step: int,
    keep: Collection[str],
) -> Block:
    """The population through a block of steps, the first of which is chip step ``first_step``.

    On entering chip step ``start_step`` all state is set to zero. ``keep``: variables whose course
    is wanted.

    Shapes: ``a`` (b, T, n) int32, ``state`` by variable (b, n) int32.
    """
    messages = torch.empty(a.shape, dtype=update.dtype, device=a.device)
    trace = {
        name: torch.empty(a.shape, dtype=torch.int32, device=a.device)
        for name in update.variables
        if name in keep
    }
    lost: dict[str, list[Tensor]] = {}
    for t in range(a.shape[1]):
        if first_step + t == start_step:
            state = {name: torch.zeros_like(values) for name, values in state.items()}
        state, messages[:, t], where = update(state, a[:, t])
        for name, values in trace.items():
            values[:, t] = state[name]
        for name, flags in where.items():
            lost.setdefault(name, []).append(flags.sum())
    return Block(messages, state, trace, {name: torch.stack(v) for name, v in lost.items()})


def _flat(values: NDArray[Any], device: torch.device) -> Tensor:
    return torch.from_numpy(values.astype(np.int32)).to(device).reshape(-1)
