"""`Recording`: the events of one file of an event camera, in any format that tonic reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurokd.errors import BackendUnavailableError, FileFormatError, NeurokdError

NMNIST_BYTES = 5
"""An event in a file of N-MNIST: x, y, polarity and 23 bits of time."""


@dataclass(frozen=True)
class Recording:
    """Events in the order of their file.

    Shapes: ``x``, ``y``, ``t``, ``p`` (events,) int64, p of 0 (off) and 1 (on); ``sensor`` (H, W).
    Units: t in µs.
    """

    where: str
    sensor: tuple[int, int]
    x: NDArray[np.int64]
    y: NDArray[np.int64]
    t: NDArray[np.int64]
    p: NDArray[np.int64]

    def __post_init__(self) -> None:
        height, width = self.sensor
        for name, values, most in (("x", self.x, width), ("y", self.y, height), ("p", self.p, 2)):
            if len(values) and not (values.min() >= 0 and values.max() < most):
                raise FileFormatError(
                    f"an event has an impossible {name}",
                    where=self.where,
                    expected=f"0 … {most - 1}",
                    found=f"{values.min()} … {values.max()}",
                )

    def __len__(self) -> int:
        return len(self.t)


def read_recording(path: Path | str, sensor: tuple[int, int] | None = None) -> Recording:
    """The events of a file: N-MNIST `.bin`, `.aedat4`, Prophesee `.dat` and EVT2 `.raw`, `.npy`.

    ``sensor`` is (height, width); where it is not given it is as large as the events need. An
    `.npy` holds columns x, y, p, t, the time in ms, as tonic's DVS-Gesture does.

    Raises: `FileFormatError` for a missing, truncated or foreign file; `BackendUnavailableError`
    where a package that reads this format is not installed.
    """
    path = Path(path)
    if path.suffix not in READERS:
        raise FileFormatError(
            "no recording can be read from a file of this kind",
            where=str(path),
            expected=", ".join(READERS),
            found=path.suffix or "no ending",
        )
    if not path.is_file():
        raise FileFormatError("no such file", where=str(path))
    try:
        columns = READERS[path.suffix](path)
    except ModuleNotFoundError as error:
        raise BackendUnavailableError(
            "a package that reads this recording is not installed",
            where=str(path),
            found=f"no {error.name}",
            remedy="pip install 'neurokd[events]'",
        ) from error
    except NeurokdError:
        raise
    # The readers are of three packages, which raise what they like for a broken file.
    except Exception as error:
        raise FileFormatError(
            "the recording cannot be read", where=str(path), found=str(error)
        ) from error
    events = {name: np.asarray(values).astype(np.int64) for name, values in columns.items()}
    if sensor is None:
        highest = [int(events[axis].max(initial=0)) for axis in ("y", "x")]
        sensor = (highest[0] + 1, highest[1] + 1)
    return Recording(str(path), sensor, **events)


def _nmnist(path: Path) -> Mapping[str, Any]:
    size = path.stat().st_size
    if size % NMNIST_BYTES:
        raise FileFormatError(
            "the recording is truncated",
            where=str(path),
            expected=f"{NMNIST_BYTES} bytes an event",
            found=f"{size} bytes",
        )
    from tonic.io import read_mnist_file

    columns = [(name, np.dtype(np.int64)) for name in "xytp"]
    return _columns(read_mnist_file(str(path), dtype=np.dtype(columns)))


def _aedat4(path: Path) -> Mapping[str, Any]:
    from tonic.io import read_aedat4

    return _columns(read_aedat4(str(path)), p="on")


def _prophesee(encoding: str) -> Callable[[Path], Mapping[str, Any]]:
    def read(path: Path) -> Mapping[str, Any]:
        from expelliarmus import Wizard  # comes with tonic

        with open(path, "rb") as stream:
            start = stream.read(1)
        if start != b"%":  # it would say so on stderr, and return None
            raise FileFormatError(
                "this is no recording of Prophesee",
                where=str(path),
                expected="a header of lines that start with %",
                found=repr(start),
            )
        return _columns(Wizard(encoding=encoding).read(str(path)))

    return read


def _gesture(path: Path) -> Mapping[str, Any]:
    with open(path, "rb") as stream:
        table = np.load(stream, allow_pickle=False)
    if table.ndim != 2 or table.shape[1] != 4 or table.dtype.kind not in "iuf":
        raise FileFormatError(
            "this is not a table of events",
            where=str(path),
            expected="numbers (events, 4): x, y, p, t",
            found=f"{table.dtype} {table.shape}",
        )
    x, y, p, t = table.T.astype(np.int64)
    return {"x": x, "y": y, "p": p, "t": 1000 * t}


def _columns(events: Any, p: str = "p") -> Mapping[str, Any]:
    return {"x": events["x"], "y": events["y"], "t": events["t"], "p": events[p]}


READERS: Mapping[str, Callable[[Path], Mapping[str, Any]]] = {
    ".bin": _nmnist,
    ".aedat4": _aedat4,
    ".dat": _prophesee("dat"),
    ".raw": _prophesee("evt2"),
    ".npy": _gesture,
}
