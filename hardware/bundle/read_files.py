"""The files of a run: the network beside this script, and samples; numpy alone, never unpickled."""

from __future__ import annotations

import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from encode_samples import BadInput, encode, input_population, limits

FORMAT = "neurokd.bundle/1"
_KEYS = ("chip", "steps", "latency", "depths", "output", "output_variable", "populations")
_CONV_LIMIT = 127
"""Lava holds kernel size, stride, padding, dilation and groups in signed bytes."""


def read_arrays(path: Path, names: Any = None) -> dict[str, Any]:
    """The arrays of an .npz file, or those of ``names`` that it has. Raises: `BadInput`."""
    if not path.is_file():
        raise BadInput("no such file", where=str(path))
    try:
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files if not names or name in names}
    except (
        OSError,
        ValueError,
        EOFError,
        AttributeError,
        KeyError,
        NotImplementedError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise BadInput(
            "this is not a complete .npz file without pickled objects",
            where=str(path),
            found=str(error),
        ) from error


def read_network(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The structure of a network and its arrays. Raises: `BadInput`."""
    tensors = read_arrays(path)
    text = tensors.pop("structure", None)
    try:
        structure = json.loads(str(text)) if text is not None and text.shape == () else None
    except ValueError as error:
        raise BadInput("the structure is not JSON", where=str(path), found=str(error)) from error
    found = structure.get("format") if isinstance(structure, dict) else None
    if not isinstance(structure, dict) or found != FORMAT:
        raise BadInput(
            "this is not an exported network",
            where=str(path),
            expected=f"format {FORMAT!r}",
            found=repr(found),
        )
    if missing := {*_KEYS, "projections"} - set(structure):
        raise BadInput(
            "the structure is incomplete",
            where=str(path),
            expected=", ".join((*_KEYS, "projections")),
            found=f"none of {', '.join(sorted(missing))}",
        )
    for projection in structure["projections"]:
        check_geometry(projection, tensors)
    return structure, tensors


def check_geometry(projection: dict[str, Any], tensors: dict[str, Any]) -> None:
    """Raises: `BadInput` for a convolution that Lava cannot express."""
    if projection["kind"] != "conv":
        return
    kernel = tensors[f"{projection['name']}.weight"].shape[2:]
    fields = (projection[name] for name in ("stride", "padding", "dilation"))
    largest = max(projection["groups"], *kernel, *(value for field in fields for value in field))
    if largest > _CONV_LIMIT:
        raise BadInput(
            "Lava cannot express this convolution",
            where=f"projection {projection['name']!r}",
            expected=f"kernel, stride, padding, dilation and groups ≤ {_CONV_LIMIT}",
            found=str(largest),
        )


def read_data(
    path: Path, structure: dict[str, Any], tensors: dict[str, Any], limit: int, steps: int
) -> tuple[Any, Any]:
    """What enters the network, and the classes or None; ``limit`` 0: all samples.

    Integers (T, N, *shape), or (N, *shape) of a constant current. Raises: `BadInput`.
    """
    arrays = read_arrays(path, ("x", "y", "messages"))
    if ("x" in arrays) == ("messages" in arrays):
        raise BadInput(
            "there is not one set of samples",
            where=str(path),
            expected="x, or messages in its place",
            found=" and ".join(arrays) or "neither",
        )
    stop = limit or None
    if "x" in arrays:
        x = arrays["x"]
        if x.dtype.kind not in "fiub":
            raise BadInput("x does not hold numbers", where=str(path), found=str(x.dtype))
        inputs = encode(structure, tensors, x[:stop], steps or structure["steps"], f"{path}: x")
    else:
        inputs = checked_messages(structure, arrays["messages"], steps, path)
        inputs = inputs[:stop] if is_current(structure) else inputs[:, :stop]
    count = inputs.shape[0 if is_current(structure) else 1]
    y = arrays.get("y")
    if y is not None and (y.dtype.kind not in "iu" or y.ndim != 1 or len(y[:stop]) != count):
        raise BadInput(
            "y does not hold one class a sample",
            where=str(path),
            expected=f"integers ({count},)",
            found=f"{y.dtype} {y.shape}",
        )
    return inputs, None if y is None else y[:stop]


def checked_messages(structure: dict[str, Any], messages: Any, steps: int, path: Path) -> Any:
    """Integers that enter as they are, as int32. Raises: `BadInput`."""
    population = input_population(structure)
    where, shape = f"{path}: messages", tuple(population["shape"])
    leading = 1 if is_current(structure) else 2
    axes = ("steps, samples, ", "samples, ")[leading == 1] + ", ".join(map(str, shape))
    fits = messages.ndim == leading + len(shape) and messages.shape[leading:] == shape
    if not fits or messages.dtype.kind not in "iu" or not messages.size:
        raise BadInput(
            "these messages do not fit the network",
            where=where,
            expected=f"integers ({axes})",
            found=f"{messages.dtype} {messages.shape}",
        )
    if leading == 2 and steps not in (0, len(messages)):
        raise BadInput("--steps differs from the data", where=where, found=str(len(messages)))
    low, high = limits(population)
    if int(messages.min()) < low or int(messages.max()) > high:
        raise BadInput(
            "a value is out of the input's range",
            where=where,
            expected=f"{low} … {high}",
            found=f"{messages.min()} … {messages.max()}",
        )
    return messages.astype(np.int32)


def is_current(structure: dict[str, Any]) -> bool:
    """Whether the input is a constant current, which has no time axis."""
    return bool(input_population(structure)["kind"] == "current_input")


def padded(structure: dict[str, Any], inputs: Any) -> Any:
    """Data (T, N, …) followed by silence until its last step has reached the output."""
    if is_current(structure):
        return inputs
    held = input_population(structure)["kind"] == "delta_input"
    last = inputs[-1:] if held else np.zeros_like(inputs[:1])
    return np.concatenate([inputs, np.repeat(last, structure["latency"], axis=0)])
