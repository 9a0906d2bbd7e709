"""What a run folder offers to a report, read and checked: a part that is not there is None."""

from __future__ import annotations

import io
import json
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurokd.errors import FileFormatError
from neurokd.report.metrics import Metrics, parse_metrics
from neurokd.report.profiled import Profiled, parse_profile
from neurokd.verify.verdict import Verdict

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@dataclass(frozen=True)
class Raster:
    """Spikes of one sample in chip time, by population in topological order.

    Shapes: ``spikes[name]`` (T, neurons) bool.
    """

    label: int
    spikes: Mapping[str, NDArray[np.bool_]]


@dataclass(frozen=True)
class Inputs:
    """The parts of a run folder; ``own`` is the training of the run itself."""

    config: dict[str, Any] | None
    own: Metrics | None
    teacher: Metrics | None
    baseline: Metrics | None
    profile: Profiled | None
    verdict: Verdict | None
    raster: Raster | None
    lowering: dict[str, Any] | None


def read_inputs(folder: Path) -> Inputs:
    """Read every part of a run folder that is there.

    Raises: `FileFormatError` for a part that is broken, or if there is none at all.
    """
    if not folder.is_dir():
        raise FileFormatError("no such folder", where=str(folder), expected="a run folder")
    inputs = Inputs(
        config=read_toml(folder / "config.toml"),
        own=_metrics(folder / "metrics.jsonl"),
        teacher=_metrics(folder / "teacher" / "metrics.jsonl"),
        baseline=_metrics(folder / "baseline" / "metrics.jsonl"),
        profile=_profile(folder / "profile.json"),
        verdict=_verdict(folder / "verdict.json"),
        raster=_raster(folder / "raster.npz"),
        lowering=_json(folder / "lowering.json") or _json(folder / "loihi" / "lowering.json"),
    )
    if all(part is None for part in vars(inputs).values()):
        raise FileFormatError(
            "there is nothing to report on",
            where=str(folder),
            expected="config.toml, metrics.jsonl, profile.json, verdict.json or raster.npz",
            remedy="make a run with `neurokd train` or `neurokd demo`",
        )
    return inputs


def _text(path: Path) -> str | None:
    if not path.exists():
        return None
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FileFormatError(
            "the file cannot be read", where=str(path), found=str(error)
        ) from error


def read_toml(path: Path) -> dict[str, Any] | None:
    """The tables of a file, None where there is no file; `FileFormatError` if it is no TOML."""
    text = _text(path)
    if text is None:
        return None
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise FileFormatError("this is not TOML", where=str(path), found=str(error)) from error


def _json(path: Path) -> dict[str, Any] | None:
    text = _text(path)
    if text is None:
        return None
    try:
        value = json.loads(text)
    except ValueError as error:
        raise FileFormatError("this is not JSON", where=str(path), found=str(error)) from error
    if not isinstance(value, dict):
        raise FileFormatError(
            "this is not a JSON object", where=str(path), found=type(value).__name__
        )
    return value


def _metrics(path: Path) -> Metrics | None:
    text = _text(path)
    return None if text is None else parse_metrics(text, str(path))


def _profile(path: Path) -> Profiled | None:
    values = _json(path)
    return None if values is None else parse_profile(values, str(path))


def _verdict(path: Path) -> Verdict | None:
    values = _json(path)
    return None if values is None else Verdict.from_dict(values, str(path))


def _raster(path: Path) -> Raster | None:
    if not path.exists():
        return None
    try:
        arrays = _arrays(path.read_bytes())
        order = [str(name) for name in arrays["population_order"]]
        raster = Raster(int(arrays["label"]), {name: arrays[name] != 0 for name in order})
    # What numpy and zipfile raise for a truncated or a foreign file is all of these.
    except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise FileFormatError("this is not a raster", where=str(path), found=str(error)) from error
    steps = {spikes.shape[:1] for spikes in raster.spikes.values()}
    if len(steps) != 1 or any(s.ndim != 2 or not s.size for s in raster.spikes.values()):
        raise FileFormatError(
            "this is not a raster",
            where=str(path),
            expected="one array (steps, neurons) a population, of equal steps",
            found=", ".join(f"{name} {s.shape}" for name, s in raster.spikes.items()) or "none",
        )
    return raster


def _arrays(content: bytes) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz; from memory, since numpy leaves a broken file open."""
    stored = np.load(io.BytesIO(content), allow_pickle=False)
    if not isinstance(stored, np.lib.npyio.NpzFile):
        raise ValueError("a single array")
    return {name: stored[name] for name in stored.files}
