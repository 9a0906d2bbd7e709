"""Event files in the layouts of the real sets, and tonic's own reading of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def tonic_set(name: str, root: Path, **options: Any) -> Any:
    """tonic's data set on the files that are there; it would download what it misses."""
    import tonic

    own = getattr(tonic.datasets, name)
    return type(name, (own,), {"_check_exists": lambda self: True})(str(root), **options)


def nmnist_bytes(x: int, y: int, polarity: int, t_us: int) -> bytes:
    """One event as N-MNIST stores it."""
    return bytes([x, y, polarity << 7 | t_us >> 16, t_us >> 8 & 255, t_us & 255])


def gesture_events(seed: int, events: int = 400) -> NDArray[np.int64]:
    """Columns x, y, p, t in ms, in the order of time."""
    generator = np.random.default_rng(seed)
    columns = [generator.integers(0, most, events) for most in (128, 128, 2)]
    return np.stack([*columns, np.sort(generator.integers(0, 5000, events))], axis=1)
