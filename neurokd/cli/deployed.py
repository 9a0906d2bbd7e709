"""Runs of a deployed network over a data set, batch by batch, on any backend."""

from __future__ import annotations

from collections.abc import Iterator

from neurokd.cli import console
from neurokd.data import LabelledData
from neurokd.data.steps_first import batches, steps_first
from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.run import Run


def runs(
    net: DeployedNetwork,
    data: LabelledData,
    *,
    backend: str = "emulator",
    steps: int | None = None,
    record: tuple[str, ...] = (),
) -> Iterator[Run]:
    """One run a batch; Lava gets all samples at once, since it starts once."""
    steps = data.steps if steps is None else steps
    if backend == "lava":
        from neurokd.hardware.lava_backend import simulate_lava

        with console.steps("lava") as tell:
            yield simulate_lava(
                net,
                net.padded(net.encode(steps_first(data), steps, timed=data.events)),
                net.chip_steps(steps),
                record=record,
                progress=lambda done, total: tell(done, total, ""),
            )
        return
    from neurokd.hardware.emulator import emulate

    with console.steps("emulator") as tell:
        for done, batch in batches(data):
            messages = net.padded(net.encode(batch, steps, timed=data.events))
            yield emulate(net, messages, net.chip_steps(steps), record=record)
            tell(done, len(data), "")
