"""`neurokd inspect`: what a file contains, without running it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neurokd.cli import console
from neurokd.cli.lowering_table import lowering_rows
from neurokd.cli.options import Json
from neurokd.errors import FileFormatError, UsageError

if TYPE_CHECKING:
    from neurokd.hardware.network import DeployedNetwork


def run(
    file: Annotated[Path, typer.Argument(help="A .nir, .net, .onnx or .safetensors file.")],
    as_json: Json = False,
) -> int:
    """What a .nir, .net, .onnx or deployed file contains; runs nothing."""
    if file.is_dir():
        inside = sorted(p for p in file.rglob("*") if p.suffix.lower() in _FORMATS)
        raise UsageError(
            "this is a folder",
            where=str(file),
            expected="a file, as " + (", ".join(str(p) for p in inside) or "none in it is"),
        )
    describe = _FORMATS.get(file.suffix.lower())
    if describe is None:
        raise UsageError(
            "no file of this kind is known",
            where=str(file),
            expected=f"a name that ends in {', '.join(_FORMATS)}",
            found=file.suffix or "no ending",
        )
    if not file.is_file():
        raise FileFormatError("no such file", where=str(file))
    description = {"file": str(file), **describe(file)}
    if as_json:
        console.result_json(description)
    else:
        for key, value in description.items():
            console.result(_text(key, value))
    return 0


def _describe_nir(file: Path) -> dict[str, Any]:
    from neurokd.export.read_nir import read_nir

    graph = read_nir(file)
    return {
        "format": "NIR",
        "metadata": {str(key): str(value) for key, value in graph.metadata.items()},
        "nodes": [_describe_node(name, node) for name, node in graph.nodes.items()],
        "edges": [{"source": source, "target": target} for source, target in graph.edges],
    }


def _describe_node(name: str, node: Any) -> dict[str, Any]:
    shapes = {
        side: [int(n) for n in value]
        for side, types in (("input", node.input_type), ("output", node.output_type))
        for value in (types or {}).values()
        if value is not None
    }
    parameters = sum(
        int(value.size)
        for value in vars(node).values()
        if getattr(value, "dtype", None) is not None
    )
    return {"name": name, "kind": type(node).__name__, **shapes, "parameters": parameters}


def _describe_onnx(file: Path) -> dict[str, Any]:
    from neurokd.export.onnx_runtime import describe_onnx

    return {"format": "ONNX", **describe_onnx(file)}


def _describe_deployed(file: Path) -> dict[str, Any]:
    from neurokd.hardware.network import DeployedNetwork

    return {"format": "deployed network", **_describe_network(DeployedNetwork.load(file))}


def _describe_netx(file: Path) -> dict[str, Any]:
    from neurokd.export.read_netx import read_netx

    return {"format": "netx", **_describe_network(read_netx(file))}


def _describe_network(network: DeployedNetwork) -> dict[str, Any]:
    host = network.host
    layers = lowering_rows(network.metadata)
    return {
        "chip": network.chip,
        "steps": network.steps,
        "output": network.output,
        "latency_steps": network.latency,
        "metadata": dict(network.metadata),
        "populations": [
            {
                "name": p.name,
                "kind": type(p).__name__.removesuffix("Population").lower(),
                "shape": list(p.shape),
                "neurons": p.size,
                "depth": network.depth(p.name),
            }
            for p in network.populations
        ],
        "projections": [
            {
                "name": p.name,
                "kind": type(p).__name__.removesuffix("Projection").lower(),
                "source": p.source,
                "target": p.target,
                "weight": list(p.weight.shape),
                "weight_bits": p.num_weight_bits,
            }
            for p in network.projections
        ],
        **({"host": {"layer": host.name, "sample": list(host.shape)}} if host else {}),
        **({"lowering": layers} if layers else {}),
    }


_FORMATS: dict[str, Callable[[Path], dict[str, Any]]] = {
    ".nir": _describe_nir,
    ".net": _describe_netx,
    ".onnx": _describe_onnx,
    ".safetensors": _describe_deployed,
}


def _text(key: str, value: Any) -> str:
    """A list of records as a table, anything else as one line."""
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        headers = list(dict.fromkeys(name for item in value for name in item))
        rows = [[_cell(item.get(name, "")) for name in headers] for item in value]
        return f"\n{key}\n{console.table(rows, headers)}"
    if isinstance(value, dict):
        return f"{key}: {', '.join(f'{k} {_cell(v)}' for k, v in value.items()) or 'none'}"
    return f"{key}: {_cell(value)}"


def _cell(value: Any) -> Any:
    if isinstance(value, dict):
        return f"({len(value)} entries)"
    return "×".join(map(str, value)) or "scalar" if isinstance(value, list) else value
