"""neurokd.hardware: the deployed integer network, its runtimes and what it costs on a chip."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neurokd.hardware.chip import ChipSpec as ChipSpec
    from neurokd.hardware.core_map import map_to_cores as map_to_cores
    from neurokd.hardware.emulator import emulate as emulate
    from neurokd.hardware.lava_backend import simulate_lava as simulate_lava
    from neurokd.hardware.network import DeployedNetwork as DeployedNetwork
    from neurokd.hardware.profile import profile as profile
    from neurokd.hardware.run import Run as Run

_EXPORTS = {
    "ChipSpec": "chip",
    "DeployedNetwork": "network",
    "Run": "run",
    "emulate": "emulator",
    "map_to_cores": "core_map",
    "profile": "profile",
    "simulate_lava": "lava_backend",
}
__all__ = sorted(_EXPORTS)


class _Package(ModuleType):
    """A package whose exports stay what they are when a submodule of the same name is imported."""

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, ModuleType) and name in _EXPORTS:
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_EXPORTS[name]}"), name)


def __dir__() -> list[str]:
    return __all__
