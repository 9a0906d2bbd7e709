"""Samples as runtimes take them: static ones as they are, event frames with time in front."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurokd.data.labelled import LabelledData

BATCH = 200
"""Samples a batch: bounds memory, and is how often progress is told."""
VALUES = 1 << 24
"""Numbers a batch: fewer samples where each of them is large."""


def steps_first(data: LabelledData) -> NDArray[np.float32]:
    """All samples as float32, the form that `encode`, `lower`, `as_scores` and `run_onnx` take.

    Shapes: static x → (N, *shape), given at every step; event frames → (T, N, *shape).
    """
    x = np.moveaxis(data.x, 1, 0) if data.events else data.x
    return np.ascontiguousarray(x, dtype=np.float32)


def batches(data: LabelledData) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """(samples up to and with this batch, the batch as `steps_first` lays it out), in order."""
    values = max(1, data.x[:1].size)
    size = max(1, min(BATCH, VALUES // values))
    for start in range(0, len(data), size):
        stop = start + size
        part = replace(data, x=data.x[start:stop], y=data.y[start:stop])
        yield start + len(part), steps_first(part)


def lowering_arguments(data: LabelledData, chip: str) -> dict[str, Any]:
    """What `lower` has to know of the data: calibration samples, and their scale.

    Counts of events enter loihi2 as they are, one for one, as graded spikes. loihi1 has none: it
    takes frames of 0 and 1, as spikes, and lowering refuses others.
    """
    x = steps_first(data)
    counts = data.events and np.issubdtype(data.x.dtype, np.integer)
    as_spikes = chip == "loihi1" and x.max() <= 1
    return {"calibration": x, **({"input_scale": 1.0} if counts and not as_spikes else {})}
