"""`emulate`: the deployed network in chip time, bit for bit as Lava runs it, many at once.

Two engines compute it: `kernel_network`, compiled, event by event, on CPU, for networks whose sums
are proven to fit its integers; `torch_network` for everything else, and on CUDA.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Literal

import torch
from numpy.typing import NDArray

from neurokd.errors import BackendUnavailableError, CapacityError, UsageError
from neurokd.hardware.fields import is_integer
from neurokd.hardware.input_data import checked_input
from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.observations import Observations
from neurokd.hardware.population import CurrentInputPopulation
from neurokd.hardware.run import Run, checked_record
from neurokd.hardware.torch_network import TorchNetwork

if TYPE_CHECKING:
    from neurokd.hardware.kernel_network import CompiledNetwork

Engine = Literal["auto", "compiled", "torch"]


def emulate(
    network: DeployedNetwork,
    x: NDArray[Any],
    steps: int | None = None,
    record: Iterable[str] = (),
    batch_size: int = 256,
    device: str = "cpu",
    progress: Callable[[int, int], None] | None = None,
    engine: Engine = "auto",
) -> Run:
    """Run the network on integer data for exactly as many chip steps as ``x`` has.

    Every sample starts at chip step 1 with all state zero. The caller pads ``x`` (`network.padded`)
    with ``network.latency`` steps to let the last input reach the output. A constant current has
    no time axis: ``steps`` says how long it flows.

    Where a variable leaves its range the chip's arithmetic is followed as Lava has it and the step
    is listed in ``run.overflows``. ``record``: any of `run.RECORDABLE`; each population gives those
    it has, an `InputPopulation` its messages. ``progress(done, samples)`` is called after each
    batch.

    ``engine``: "compiled" kernels (`torch.get_num_threads` threads; the first use compiles them,
    later ones find them on disk), "torch", or "auto", compiled kernels where they compute this
    network exactly and ``device`` is the CPU, else torch. Both give the same integers.

    Shapes: x (T, B, *input shape) integers in the input's range, or (B, *input shape) of a
    `CurrentInputPopulation`.
    Raises: `UsageError`, `ShapeMismatchError`, `CapacityError` (no exact arithmetic for a
    projection), `BackendUnavailableError` (no such device).
    """
    data, time = checked_input(network, x, steps)
    variables = checked_record("emulate", record)
    if not is_integer(batch_size) or batch_size < 1:
        raise UsageError(
            "batch_size is not a positive whole number", where="emulate", found=repr(batch_size)
        )
    runner = _engine(network, time, _checked_device(device), engine)
    axis = 0 if isinstance(network.input, CurrentInputPopulation) else 1
    samples = data.shape[axis]
    seen = Observations(network, variables, time, samples)
    for start in range(0, samples, batch_size):
        stop = min(start + batch_size, samples)
        runner.run_batch(data[(slice(None),) * axis + (slice(start, stop),)], start, seen)
        if progress is not None:
            progress(stop, samples)
    return seen.result("emulator")


def _engine(
    network: DeployedNetwork, time: int, device: torch.device, engine: Engine
) -> CompiledNetwork | TorchNetwork:
    if engine not in ("auto", "compiled", "torch"):
        raise UsageError(
            "there is no such engine",
            where="emulate",
            expected="auto, compiled, torch",
            found=repr(engine),
        )
    if engine == "torch" or (engine == "auto" and device.type != "cpu"):
        return TorchNetwork(network, time, device)
    # numba is slow to import, and only needed here.
    from neurokd.hardware.kernel_network import CompiledNetwork
    from neurokd.hardware.kernel_ports import why_not_compiled

    objection = why_not_compiled(network) if device.type == "cpu" else f"device {device}"
    if objection is None:
        return CompiledNetwork(network, time, torch.get_num_threads())
    if engine == "auto":
        return TorchNetwork(network, time, device)
    raise CapacityError(
        "the compiled kernels do not compute this network",
        where="emulate",
        found=objection,
        remedy="use engine='torch'",
    )


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
