"""Runs of a deployed network over a data set, batch by batch, on any backend."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurokd.cli import console
from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.run import Run

BATCH = 200


def messages(net: DeployedNetwork, x: NDArray[np.float32], steps: int | None) -> NDArray[np.int32]:
    """The input of a run in chip time: T steps of data, then silence until the last has arrived.

    Shapes: (B, *shape) → (T + latency, B, *shape).
    """
    encoded = net.encode(x, steps)
    silence = np.zeros((net.latency, *encoded.shape[1:]), dtype=encoded.dtype)
    return np.concatenate([encoded, silence])


def runs(
    net: DeployedNetwork,
    x: NDArray[np.float32],
    *,
    backend: str = "emulator",
    steps: int | None = None,
    record: tuple[str, ...] = (),
) -> Iterator[Run]:
    """One run a batch; Lava gets all samples at once, since it starts once."""
    if backend == "lava":
        from neurokd.hardware.lava_backend import simulate_lava

        with console.steps("lava") as tell:
            yield simulate_lava(
                net,
                messages(net, x, steps),
                record=record,
                progress=lambda done, total: tell(done, total, ""),
            )
        return
    from neurokd.hardware.emulator import emulate

    with console.steps("emulator") as tell:
        for start in range(0, len(x), BATCH):
            batch: Any = x[start : start + BATCH]
            yield emulate(net, messages(net, batch, steps), record=record)
            tell(min(start + BATCH, len(x)), len(x), "")
