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
    UsageError,
)
from neurokd.hardware.counts import count
from neurokd.hardware.input_data import checked_input
from neurokd.hardware.lava_environment import lava_status
from neurokd.hardware.lava_network import read_messages, read_records
from neurokd.hardware.lava_process import DEFAULT_TIME_LIMIT_S, LavaWorker, Progress
from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.population import InputPopulation, output_variable
from neurokd.hardware.projection import ConvProjection
from neurokd.hardware.run import RECORDABLE, Run, checked_record

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

    Every state variable and synapse buffer has its initial value before each sample. Without
    ``worker`` one is started under the interpreter that `lava_status` names and ended afterwards.
    Lava does not tell where arithmetic wraps or saturates: ``overflows`` of the result is empty
    (the emulator, which computes the same integers, reports them). Where a convolution's sum
    leaves 32 bits, Lava's result is undefined; the emulator refuses there.

    Shapes: ``x`` (T, B, *input shape) integers; (B, *input shape) and ``steps`` = T for a constant
    current. Records and output (T, B, *shape) int32.
    Units: ``time_limit_s`` in seconds, for the whole call once the worker runs.
    Raises: `BackendUnavailableError` (no Lava), `BackendFailedError` (crash, hang), `UsageError`,
    `ShapeMismatchError`, `CapacityError`.
    """
    wanted = set(checked_record("simulate_lava", record))
    if not time_limit_s > 0:
        raise UsageError(
            "the time limit must be positive",
            where="simulate_lava",
            expected="seconds > 0",
            found=str(time_limit_s),
        )
    data, time = checked_input(net, x, steps)
    inputs = np.ascontiguousarray(data, dtype=np.int32)
    _check_geometry(net)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="neurokd-lava-")))
        net.save(folder / "network.safetensors")
        save_file({"input": inputs}, str(folder / "input.safetensors"))
        if worker is None:
            worker = stack.enter_context(LavaWorker(_interpreter()))
        request = {
            "network": str(folder / "network.safetensors"),
            "input": str(folder / "input.safetensors"),
            "folder": str(folder),
            "steps": time,
            "record": sorted(wanted | {output_variable(net.population(net.output))}),
        }
        answer = worker.request(request, time_limit_s=time_limit_s, progress=progress)
        return _collect(net, inputs, time, wanted, folder, answer["populations"])


def _collect(
    net: DeployedNetwork,
    inputs: NDArray[np.int32],
    time: int,
    wanted: set[str],
    folder: Path,
    names: list[str],
) -> Run:
    expected = [p.name for p in net.populations if not isinstance(p, InputPopulation)]
    if sorted(names) != sorted(expected):
        raise BackendFailedError(
            "Lava's worker answered for other populations",
            where="Lava worker",
            expected=", ".join(expected),
            found=", ".join(names),
        )
    index = {name: i for i, name in enumerate(names)}
    records: dict[str, dict[str, NDArray[np.int32]]] = {}
    totals: dict[str, NDArray[np.int64]] = {}
    for population in net.populations:
        name = population.name
        if isinstance(population, InputPopulation):
            totals[name] = np.count_nonzero(inputs, axis=(0, 1)).astype(np.int64)
            kept = {"spikes": inputs} if "spikes" in wanted else {}
        else:
            totals[name] = read_messages(folder, index[name])
            kept = {
                variable: read_records(folder, index[name], variable, time)
                for variable in RECORDABLE
                if variable in wanted and variable in (*population.variables, "spikes")
            }
        if kept:
            records[name] = kept
    variable = output_variable(net.population(net.output))
    return Run(
        backend="lava",
        output=read_records(folder, index[net.output], variable, time),
        records=records,
        counts=count(net, totals, steps=time, samples=inputs.shape[-1 - len(net.input.shape)]),
        depths={p.name: net.depth(p.name) for p in net.populations},
        latency=net.latency,
        output_is_spikes=variable == "spikes",
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
