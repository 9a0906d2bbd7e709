"""The file of a `DeployedNetwork`: safetensors, its structure as JSON in the header."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from neurokd.atomic import write_bytes
from neurokd.errors import FileFormatError, NeurokdError, UsageError
from neurokd.hardware.host_layer import HostLayer
from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.population import (
    CurrentInputPopulation,
    DeltaInputPopulation,
    DeltaPopulation,
    InputPopulation,
    LIFPopulation,
    SigmaDeltaPopulation,
    SigmaPopulation,
)
from neurokd.hardware.projection import ConvProjection, DenseProjection, SparseProjection

FORMAT = "neurokd.deployed/1"
_KINDS: dict[str, type[Any]] = {
    "input": InputPopulation,
    "current_input": CurrentInputPopulation,
    "delta_input": DeltaInputPopulation,
    "lif": LIFPopulation,
    "sigma": SigmaPopulation,
    "delta": DeltaPopulation,
    "sigma_delta": SigmaDeltaPopulation,
    "dense": DenseProjection,
    "sparse": SparseProjection,
    "conv": ConvProjection,
    "host": HostLayer,
}


def save_network(network: DeployedNetwork, path: Path) -> Path:
    """Write the network; the file appears complete, by rename."""
    tensors: dict[str, NDArray[Any]] = {}
    structure = {
        "format": FORMAT,
        "chip": network.chip,
        "output": network.output,
        "steps": network.steps,
        "populations": [_describe(p, tensors) for p in network.populations],
        "projections": [_describe(p, tensors) for p in network.projections],
        "metadata": dict(network.metadata),
    }
    if network.host is not None:
        structure["host"] = _describe(network.host, tensors, "host.")
    try:
        header = json.dumps(structure, default=_plain)
    except (TypeError, ValueError) as error:
        raise UsageError("the metadata is not JSON", where="network", found=str(error)) from error
    return write_bytes(path, save(tensors, metadata={"neurokd": header}))


def load_network(path: Path) -> DeployedNetwork:
    """Read a network; `FileFormatError` for a missing, truncated, foreign or inconsistent file."""
    structure, tensors = _read(path)
    try:
        network = DeployedNetwork(
            populations=tuple(_build(d, tensors) for d in structure["populations"]),
            projections=tuple(_build(d, tensors) for d in structure["projections"]),
            output=_checked("output", structure["output"], "str"),
            chip=_checked("chip", structure["chip"], "str"),
            steps=_checked("steps", structure["steps"], "int"),
            metadata=_checked("metadata", structure["metadata"], "dict"),
            host=_build(structure["host"], tensors, "host.") if "host" in structure else None,
        )
        _require_all_used(network, tensors)
        return network
    except (KeyError, TypeError, ValueError, OverflowError, NeurokdError) as error:
        raise FileFormatError(
            "the network in this file is inconsistent", where=str(path), found=str(error)
        ) from error


def _read(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    if not path.is_file():
        raise FileFormatError("no such file", where=str(path))
    try:
        with safe_open(str(path), framework="numpy") as stream:
            header = (stream.metadata() or {}).get("neurokd")
            tensors = {key: stream.get_tensor(key) for key in stream.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise FileFormatError(
            "this is not a complete safetensors file", where=str(path), found=str(error)
        ) from error
    try:
        structure = json.loads(header or "null")
    except (ValueError, RecursionError) as error:
        raise FileFormatError(
            "the header is not JSON", where=str(path), found=str(error)
        ) from error
    if not isinstance(structure, dict) or structure.get("format") != FORMAT:
        raise FileFormatError(
            "this is not a deployed network",
            where=str(path),
            expected=f"format {FORMAT!r}",
            found=repr(structure.get("format") if isinstance(structure, dict) else None),
        )
    return structure, tensors


def _describe(item: Any, tensors: dict[str, NDArray[Any]], prefix: str = "") -> dict[str, Any]:
    kind = next(name for name, cls in _KINDS.items() if isinstance(item, cls))
    description: dict[str, Any] = {"kind": kind}
    for entry in fields(item):
        value = getattr(item, entry.name)
        if isinstance(value, np.ndarray):
            tensors[f"{prefix}{item.name}.{entry.name}"] = _narrow(value)
        elif value is not None:
            description[entry.name] = list(value) if isinstance(value, tuple) else value
    return description


def _plain(value: Any) -> Any:
    """A number of NumPy's as Python's."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{value!r} is no number, text, list or table")


def _narrow(values: NDArray[Any]) -> NDArray[Any]:
    """The same integers in the narrowest signed type that holds them."""
    low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
    for dtype in (np.int8, np.int16):
        if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
            return values.astype(dtype)
    return values.astype(np.int32)


def _build(description: dict[str, Any], tensors: dict[str, NDArray[Any]], prefix: str = "") -> Any:
    """The item described: every field must be there, of its type, and nothing else."""
    cls = _KINDS[description["kind"]]
    if (cls is HostLayer) != bool(prefix):
        raise ValueError(f"{description['kind']!r} is out of place")
    name = description["name"]
    arguments: dict[str, Any] = {}
    for entry in fields(cls):
        if str(entry.type).startswith("NDArray"):
            key = f"{prefix}{name}.{entry.name}"
            optional = str(entry.type).endswith("| None")
            arguments[entry.name] = tensors.get(key) if optional else tensors[key]
        else:
            arguments[entry.name] = _checked(
                f"{name}.{entry.name}", description[entry.name], str(entry.type)
            )
    unknown = set(description) - {"kind"} - set(arguments)
    if unknown:
        raise ValueError(f"{name!r} has unknown fields {sorted(unknown)}")
    return cls(**arguments)


def _require_all_used(network: DeployedNetwork, tensors: dict[str, NDArray[Any]]) -> None:
    owned: dict[str, NDArray[Any]] = {}
    for item in (*network.populations, *network.projections):
        _describe(item, owned)
    if network.host is not None:
        _describe(network.host, owned, "host.")
    foreign = set(tensors) - set(owned)
    if foreign:
        raise ValueError(f"tensors that belong to nothing: {sorted(foreign)}")


def _checked(where: str, value: Any, annotation: str) -> Any:
    """A JSON value as the type that its field is annotated with."""
    if annotation.startswith("tuple["):
        if not isinstance(value, list) or not all(type(item) is int for item in value):
            raise ValueError(f"{where} is not a list of integers")
        return tuple(value)
    if annotation == "float" and type(value) is int:
        return float(value)
    types = {"int": int, "float": float, "bool": bool, "dict": dict}
    expected = types.get(annotation, str)
    if type(value) is not expected:
        raise ValueError(f"{where} is {value!r}, not of type {expected.__name__}")
    return value
