"""neurokd: from a trained spiking network to neuromorphic and edge hardware, with proof."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "DeployedNetwork": "neurokd.hardware",
    "CATKDLoss": "neurokd.distill",
    "KDLoss": "neurokd.distill",
    "NLDLoss": "neurokd.distill",
    "NeurokdError": "neurokd.errors",
    "SAMDLoss": "neurokd.distill",
    "build_model": "neurokd.models",
    "emulate": "neurokd.hardware",
    "lower": "neurokd.export",
    "read_nir": "neurokd.export",
    "simulate_lava": "neurokd.hardware",
    "to_onnx": "neurokd.export",
    "trace": "neurokd.export",
    "write_nir": "neurokd.export",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    """The public API, each name imported on first use: `import neurokd` brings no torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
