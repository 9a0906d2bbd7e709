"""`emulate`: the deployed network in chip time, bit for bit as Lava runs it, many at once."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neurokd.errors import BackendUnavailableError, ShapeMismatchError, UsageError
from neurokd.hardware.counts import count
from neurokd.hardware.exactness import INT32_LIMIT
from neurokd.hardware.lif_fixed import (
    current_cannot_overflow,
    current_step,
    current_step_in_range,
    voltage_step,
)
from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.population import InputPopulation, LIFPopulation
from neurokd.hardware.run import RECORDABLE, Overflow, Run
from neurokd.hardware.synapses_fixed import Synapses, exact_products

_STATES_AT_ONCE = 1 << 26
"""Neuron states (steps × samples × neurons of a population) held in one tensor: 256 MB."""


def emulate(
    network: DeployedNetwork,
    x: NDArray[Any],
    steps: int | None = None,
    record: Iterable[str] = (),
    batch_size: int = 256,
    device: str = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> Run:
    """Run the network on integer messages for exactly as many chip steps as ``x`` has.

    Populations are computed one after the other, each over all steps: a population's synapses in
    one matrix product, then its neurons step by step. Every sample starts at chip step 1 with all
    state zero. The caller pads ``x`` with ``network.latency`` zero steps to let the last input
    reach the output.

    Where a variable leaves its range the chip's arithmetic is followed as Lava has it and the step
    is listed in ``run.overflows``. ``record``: any of u, v, spikes, of every neuron population (of
    the input, its messages). ``progress(done, samples)`` is called after each batch.

    Shapes: x (T, B, *input shape) integers from 0 to the input's ``max_message``.
    Raises: `UsageError`, `ShapeMismatchError`, `CapacityError` (no exact arithmetic for a
    projection), `BackendUnavailableError` (no such device).
    """
    messages = _checked_messages(network, x, steps)
    variables = _checked_record(record)
    if batch_size < 1:
        raise UsageError("batch_size must be positive", where="emulate", found=str(batch_size))
    target = _checked_device(device)
    time, samples = messages.shape[:2]
    largest = max(p.size for p in network.populations)
    at_once = max(1, min(batch_size, _STATES_AT_ONCE // (time * largest)))
    with exact_products(target):
        emulation = _Emulation(network, variables, time, samples, target)
        for start in range(0, samples, at_once):
            stop = min(start + at_once, samples)
            emulation.run_batch(messages[:, start:stop], slice(start, stop))
            if progress is not None:
                progress(stop, samples)
    return emulation.result()


class _Emulation:
    """The network on its device and what has been seen of it so far."""

    def __init__(
        self,
        network: DeployedNetwork,
        record: tuple[str, ...],
        time: int,
        samples: int,
        device: torch.device,
    ) -> None:
        self._network, self._device = network, device
        self._time, self._samples = time, samples
        self._synapses = {
            p.name: Synapses(p, network.population(p.source), device) for p in network.projections
        }
        self._messages = {p.name: np.zeros(p.shape, dtype=np.int64) for p in network.populations}
        self._overflows: Counter[tuple[str, str, int]] = Counter()
        output = network.population(network.output)
        assert isinstance(output, LIFPopulation)
        self._output_variable = "spikes" if output.spiking else "v"
        self._records: dict[str, dict[str, NDArray[np.int32]]] = {}
        for population in network.populations:
            wanted = record
            if isinstance(population, InputPopulation):
                wanted = tuple(v for v in record if v == "spikes")
            if wanted:
                self._records[population.name] = {
                    variable: np.zeros((time, samples, *population.shape), dtype=np.int32)
                    for variable in wanted
                }
        kept = self._records.get(network.output, {}).get(self._output_variable)
        self._output = (
            np.zeros((time, samples, *output.shape), dtype=np.int32) if kept is None else kept
        )

    def run_batch(self, x: NDArray[Any], where: slice) -> None:
        """All populations, all steps, of the samples ``where``; x (T, b, *input shape)."""
        sent: dict[str, Tensor] = {}
        for population in self._network.populations:
            if isinstance(population, InputPopulation):
                messages = torch.from_numpy(x.astype(np.int32)).to(self._device)
                self._keep(population.name, "spikes", messages, where)
            else:
                a, bound = self._received(population, sent)
                messages = self._neurons(population, a, bound, where)
            seen = (messages != 0).sum(dim=(0, 1)).cpu().numpy()
            self._messages[population.name] += seen.reshape(population.shape)
            sent[population.name] = messages
            self._drop_spent(sent, population.name)

    def result(self) -> Run:
        """The run over all batches."""
        network = self._network
        return Run(
            backend="emulator",
            output=self._output,
            records=self._records,
            counts=count(network, self._messages, steps=self._time, samples=self._samples),
            depths={p.name: network.depth(p.name) for p in network.populations},
            latency=network.latency,
            output_is_spikes=self._output_variable == "spikes",
            overflows=tuple(
                Overflow(population, variable, step, neurons)
                for (population, variable, step), neurons in sorted(
                    self._overflows.items(), key=lambda item: (item[0][2], item[0])
                )
            ),
        )

    def _received(self, population: LIFPopulation, sent: dict[str, Tensor]) -> tuple[Tensor, int]:
        """Synaptic input a (T, b, neurons) int32 of every step, and a bound on |a|."""
        synapses = [self._synapses[p.name] for p in self._network.incoming(population.name)]
        bound = sum(s.bound for s in synapses)
        batch = sent[synapses[0].projection.source].shape[1]
        wide = torch.int32 if bound < INT32_LIMIT else torch.int64
        a = torch.zeros((self._time, batch, population.size), dtype=wide, device=self._device)
        for stage in synapses:
            if self._time == 1:
                break
            # What is sent in the last step arrives after the end.
            delivered, wrapped = stage(sent[stage.projection.source][:-1].flatten(0, 1))
            a[1:] += delivered.reshape(-1, batch, population.size)
            if wrapped is not None:
                self._report(population.name, "a", wrapped.reshape(self._time - 1, -1), first=2)
        if wide == torch.int32:
            return a, bound
        narrow = a.to(torch.int32)
        self._report(population.name, "a", (narrow != a).reshape(self._time, -1), first=1)
        return narrow, INT32_LIMIT

    def _neurons(self, population: LIFPopulation, a: Tensor, bound: int, where: slice) -> Tensor:
        """Update the neurons through all steps, writing u over ``a``; spikes (T, b, *shape)."""
        bias = torch.from_numpy(population.bias.astype(np.int32)).to(self._device).reshape(-1)
        in_range = current_cannot_overflow(bound, population.du)
        spikes = torch.zeros(a.shape, dtype=torch.bool, device=self._device)
        voltages = torch.empty_like(a) if self._needs(population.name, "v") else None
        u = v = torch.zeros_like(a[0])
        lost_per_step, saturated_per_step = [], []
        for t in range(self._time):
            if t + 1 == population.start_step:
                u = v = torch.zeros_like(a[0])
            if in_range:
                u = current_step_in_range(u, a[t], population.du)
            else:
                u, lost = current_step(u, a[t], population.du)
                lost_per_step.append(lost.sum())
            v, spikes[t], saturated = voltage_step(v, u, bias, population.dv, population.vth)
            saturated_per_step.append(saturated.sum())
            a[t] = u
            if voltages is not None:
                voltages[t] = v
        self._report_totals(population.name, "u", lost_per_step)
        self._report_totals(population.name, "v", saturated_per_step)
        if not population.spiking:
            self._report(population.name, "threshold", spikes.flatten(1), first=1)
        self._keep(population.name, "u", a, where)
        self._keep(population.name, "v", voltages, where)
        self._keep(population.name, "spikes", spikes, where)
        return spikes.reshape(*spikes.shape[:2], *population.shape)

    def _needs(self, name: str, variable: str) -> bool:
        is_output = name == self._network.output and variable == self._output_variable
        return is_output or variable in self._records.get(name, {})

    def _keep(self, name: str, variable: str, values: Tensor | None, where: slice) -> None:
        if values is None or not self._needs(name, variable):
            return
        kept = self._records.get(name, {}).get(variable, self._output)
        kept[:, where] = values.to(torch.int32).cpu().numpy().reshape(kept[:, where].shape)

    def _drop_spent(self, sent: dict[str, Tensor], done: str) -> None:
        """Forget messages whose last target has just been computed."""
        for name in {p.source for p in self._network.incoming(done)}:
            if all(p.target in sent for p in self._network.outgoing(name)):
                sent[name] = torch.empty(0)

    def _report(self, name: str, variable: str, where: Tensor, first: int) -> None:
        totals = list(where.sum(dim=1).unbind())
        self._report_totals(name, variable, totals, first)

    def _report_totals(
        self, name: str, variable: str, totals: list[Tensor], first: int = 1
    ) -> None:
        if not totals:
            return
        for step, neurons in enumerate(torch.stack(totals).tolist(), start=first):
            if neurons:
                self._overflows[(name, variable, step)] += int(neurons)


def _checked_messages(network: DeployedNetwork, x: NDArray[Any], steps: int | None) -> NDArray[Any]:
    """``x`` if it is what the input population can send."""
    population = network.input
    where = f"input {population.name!r}"
    messages = np.asarray(x)
    expected = f"(steps, samples, {', '.join(map(str, population.shape))})"
    if messages.shape[1:] == population.shape and messages.ndim == len(population.shape) + 1:
        raise UsageError(
            "this network's input takes messages, one set a step, not a constant bias",
            where=where,
            expected=expected,
            found=str(messages.shape),
            remedy="encode the samples with network.encode",
        )
    if messages.ndim < 2 or messages.shape[2:] != population.shape:
        raise ShapeMismatchError(
            "the messages do not fit the network",
            where=where,
            expected=expected,
            found=str(messages.shape),
        )
    if messages.dtype.kind not in "iub":
        raise UsageError(
            "messages are integers",
            where=where,
            expected="an integer type",
            found=str(messages.dtype),
            remedy="encode float samples with network.encode",
        )
    if min(messages.shape[:2]) < 1:
        raise UsageError(
            "there is nothing to run", where=where, expected=expected, found=str(messages.shape)
        )
    if steps is not None and steps != messages.shape[0]:
        raise UsageError(
            "steps disagrees with the messages",
            where=where,
            expected=f"{messages.shape[0]}, the first axis of x",
            found=str(steps),
        )
    if math.prod(messages.shape):
        low, high = int(messages.min()), int(messages.max())
        if low < 0 or high > population.max_message:
            raise UsageError(
                "a message is out of range",
                where=where,
                expected=f"0 … {population.max_message}",
                found=str(low if low < 0 else high),
            )
    return messages


def _checked_record(record: Iterable[str]) -> tuple[str, ...]:
    wanted = record if isinstance(record, str) else tuple(record)
    if isinstance(wanted, str) or not set(wanted) <= set(RECORDABLE):
        raise UsageError(
            "this cannot be recorded",
            where="emulate",
            expected=f"a collection of {', '.join(RECORDABLE)}",
            found=repr(wanted),
        )
    return tuple(v for v in RECORDABLE if v in wanted)


def _checked_device(device: str) -> torch.device:
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        raise BackendUnavailableError(
            "this device cannot be used",
            where="emulate",
            found=f"{device!r}: {str(error).splitlines()[0]}",
            remedy="use device='cpu'",
        ) from error
