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
                net.padded(net.encode(x, steps)),
                net.chip_steps(steps),
                record=record,
                progress=lambda done, total: tell(done, total, ""),
            )
        return
    from neurokd.hardware.emulator import emulate

    with console.steps("emulator") as tell:
        for start in range(0, len(x), BATCH):
            batch: Any = x[start : start + BATCH]
            messages = net.padded(net.encode(batch, steps))
            yield emulate(net, messages, net.chip_steps(steps), record=record)
            tell(min(start + BATCH, len(x)), len(x), "")
