"""Export: from torch to NIR, from NIR to integers, netx and ONNX; loaded when first used."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neurokd.export.lower import lower as lower
    from neurokd.export.onnx import to_onnx as to_onnx
    from neurokd.export.read_netx import read_netx as read_netx
    from neurokd.export.read_nir import read_nir as read_nir
    from neurokd.export.simulate_nir import simulate_nir as simulate_nir
    from neurokd.export.trace import trace as trace
    from neurokd.export.write_netx import write_netx as write_netx
    from neurokd.export.write_nir import write_nir as write_nir

_HOME = {
    "trace": "trace",
    "read_nir": "read_nir",
    "write_nir": "write_nir",
    "simulate_nir": "simulate_nir",
    "lower": "lower",
    "read_netx": "read_netx",
    "write_netx": "write_netx",
    "to_onnx": "onnx",
}

__all__ = [
    "lower",
    "read_netx",
    "read_nir",
    "simulate_nir",
    "to_onnx",
    "trace",
    "write_netx",
    "write_nir",
]


class _Package(ModuleType):
    """A package in which a function wins over the submodule of the same name.

    The import system binds a submodule to its package once it is loaded; ``trace`` would then be
    the module or the function, depending on who imported what first.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, ModuleType) and _HOME.get(name) == name:
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
