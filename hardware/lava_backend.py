"""`simulate_lava`: a `DeployedNetwork` run by Lava's own fixed-point models."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from neurokd.errors import (
    BackendFailedError,
    BackendUnavailableError,
    CapacityError,
    ShapeMismatchError,
    UsageError,
)
from neurokd.hardware.counts import count
from neurokd.hardware.lava_environment import lava_status
from neurokd.hardware.lava_process import DEFAULT_TIME_LIMIT_S, LavaWorker, Progress
from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.population import InputPopulation, LIFPopulation
from neurokd.hardware.projection import ConvProjection
from neurokd.hardware.run import RECORDABLE, Run

_CONV_LIMIT = 127
"""Lava holds kernel size, stride, padding, dilation and groups in signed bytes."""


def simulate_lava(
    net: DeployedNetwork,
    x: NDArray[Any],
    steps: int | None = None,
    record: Iterable[str] = (),
    *,
    worker: LavaWorker | None = None,
    time_limit_s: float = DEFAULT_TIME_LIMIT_S,
    progress: Progress | None = None,
) -> Run:
    """Run a network in Lava: exactly T chip steps of each sample, from initial state.

    Every u, v, spike and synapse buffer has its initial value before each sample. Without
    ``worker`` one is started under the interpreter that `lava_status` names and ended afterwards.

    Shapes: ``x`` (T, B, *input shape) integer messages; records and output (T, B, *shape) int32.
    Units: ``time_limit_s`` in seconds, for the whole call once the worker runs.
    Raises: `BackendUnavailableError` (no Lava), `BackendFailedError` (crash, hang), `UsageError`,
    `ShapeMismatchError`, `CapacityError`.
    """
    wanted = _checked_record(record)
    messages = _checked_messages(net, x, steps)
    _check_geometry(net)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="neurokd-lava-")))
        net.save(folder / "network.safetensors")
        save_file({"messages": messages}, str(folder / "input.safetensors"))
        if worker is None:
            worker = stack.enter_context(LavaWorker(_interpreter()))
        output = net.population(net.output)
        assert isinstance(output, LIFPopulation)
        needed = wanted | {"spikes" if output.spiking else "v"}
        request = {
            "network": str(folder / "network.safetensors"),
            "input": str(folder / "input.safetensors"),
            "folder": str(folder),
            "steps": messages.shape[0],
            "samples": messages.shape[1],
            "record": sorted(needed),
        }
        answer = worker.request(request, time_limit_s=time_limit_s, progress=progress)
        return _collect(net, messages, wanted, folder, answer["populations"])


def _collect(
    net: DeployedNetwork,
    messages: NDArray[np.int32],
    wanted: set[str],
    folder: Path,
    names: list[str],
) -> Run:
    steps, samples = messages.shape[:2]
    expected = [p.name for p in net.populations if not isinstance(p, InputPopulation)]
    if sorted(names) != sorted(expected):
        raise BackendFailedError(
            "Lava's worker answered for other populations",
            where="Lava worker",
            expected=", ".join(expected),
            found=", ".join(names),
        )
    index = {name: i for i, name in enumerate(names)}

    def read(name: str, variable: str) -> NDArray[np.int32]:
        stored = np.load(folder / f"{index[name]}.{variable}.npy")
        by_sample = stored.reshape(samples, steps, *stored.shape[1:])
        return np.ascontiguousarray(np.swapaxes(by_sample, 0, 1), dtype=np.int32)

    records: dict[str, dict[str, NDArray[np.int32]]] = {}
    totals: dict[str, NDArray[np.int64]] = {}
    for population in net.populations:
        name = population.name
        if isinstance(population, InputPopulation):
            totals[name] = np.count_nonzero(messages, axis=(0, 1)).astype(np.int64)
            if "spikes" in wanted:
                records[name] = {"spikes": messages}
            continue
        totals[name] = np.load(folder / f"{index[name]}.messages.npy")
        if wanted:
            records[name] = {v: read(name, v) for v in RECORDABLE if v in wanted}
    output = net.population(net.output)
    spiking = isinstance(output, LIFPopulation) and output.spiking
    return Run(
        backend="lava",
        output=read(net.output, "spikes" if spiking else "v"),
        records=records,
        counts=count(net, totals, steps=steps, samples=samples),
        depths={p.name: net.depth(p.name) for p in net.populations},
        latency=net.latency,
        output_is_spikes=spiking,
    )


def _interpreter() -> str:
    status = lava_status()
    if status.python is None or not status.available:
        raise BackendUnavailableError(
            "Lava is not available",
            where="backend lava",
            found=status.reason or "",
            remedy="run `neurokd lava install`",
        )
    return status.python


def _checked_record(record: Iterable[str]) -> set[str]:
    wanted = set(record)
    if unknown := wanted - set(RECORDABLE):
        raise UsageError(
            "this cannot be recorded",
            where="record",
            expected=", ".join(RECORDABLE),
            found=", ".join(sorted(unknown)),
        )
    return wanted


def _checked_messages(
    net: DeployedNetwork, x: NDArray[Any], steps: int | None
) -> NDArray[np.int32]:
    population = net.input
    messages = np.asarray(x)
    if messages.ndim != 2 + len(population.shape) or messages.shape[2:] != population.shape:
        raise ShapeMismatchError(
            "the input does not fit the network",
            where=f"input {population.name!r}",
            expected=f"(T, B, {', '.join(map(str, population.shape))})",
            found=str(messages.shape),
        )
    if messages.dtype.kind not in "iub":
        raise UsageError(
            "the input is not integer messages",
            where=f"input {population.name!r}",
            found=str(messages.dtype),
            remedy="encode it with DeployedNetwork.encode",
        )
    if 0 in messages.shape:
        raise UsageError(
            "there is nothing to run", where=f"input {population.name!r}", found=str(messages.shape)
        )
    if steps is not None and steps != messages.shape[0]:
        raise UsageError(
            "the input has another number of steps",
            where=f"input {population.name!r}",
            expected=str(steps),
            found=str(messages.shape[0]),
        )
    low, high = int(messages.min()), int(messages.max())
    if low < 0 or high > population.max_message:
        raise UsageError(
            "the input has a message that the population cannot send",
            where=f"input {population.name!r}",
            expected=f"0 … {population.max_message}",
            found=str(low if low < 0 else high),
        )
    return np.ascontiguousarray(messages, dtype=np.int32)


def _check_geometry(net: DeployedNetwork) -> None:
    for projection in net.projections:
        if not isinstance(projection, ConvProjection):
            continue
        largest = max(
            projection.groups,
            *projection.weight.shape[2:],
            *projection.stride,
            *projection.padding,
            *projection.dilation,
        )
        if largest > _CONV_LIMIT:
            raise CapacityError(
                "Lava cannot express this convolution's geometry",
                where=f"projection {projection.name!r}",
                expected=f"kernel, stride, padding, dilation and groups ≤ {_CONV_LIMIT}",
                found=str(largest),
            )
