"""Pass: as many calibration samples as the size of the network allows."""

from __future__ import annotations

from dataclasses import replace

from neurokd.export.float_run import multiplications
from neurokd.export.lowering import Lowering

WORK = 1e11
"""Multiplications that calibration may cost: some ten seconds of a core."""
VALUES = 1 << 27
"""Messages, of all populations, samples and steps, that are kept at a time: 1 GiB."""


def calibration(state: Lowering) -> Lowering:
    """The first samples of the calibration, all of them for all but large networks."""
    samples = state.options.calibration
    if samples is None:
        return state
    steps, count = samples.shape[:2]
    neurons = sum(p.size for p in state.floats.populations)
    work = multiplications(state.floats) * steps
    most = max(1, int(min(WORK / max(work, 1.0), VALUES / (neurons * steps))))
    if count <= most:
        return state
    return replace(state, options=replace(state.options, calibration=samples[:, :most]))
