"""What the Top-K layers of a network do in a forward pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from neurokd.errors import UsageError
from neurokd.models.topk import WinnerLayer


@dataclass(frozen=True)
class Winners:
    """Activations (B, r) of a Top-K layer, before and behind the competition."""

    pre: Tensor
    post: Tensor


class Observer:
    """Keeps the activations of every `WinnerLayer` of a network from its last forward pass."""

    def __init__(self, network: nn.Module) -> None:
        self.layers = tuple(m for m in network.modules() if isinstance(m, WinnerLayer))
        self._seen: dict[int, Winners] = {}
        self._hooks = [
            layer.register_forward_hook(self._hook(index))
            for index, layer in enumerate(self.layers)
        ]

    def _hook(self, index: int) -> Any:
        def see(layer: nn.Module, given: tuple[Any, ...], out: Tensor) -> None:
            self._seen[index] = Winners(given[0], out)

        return see

    def take(self) -> tuple[Winners, ...]:
        """The activations of the last forward pass, layer by layer; they are forgotten here."""
        seen = tuple(self._seen[index] for index in sorted(self._seen))
        self._seen = {}
        return seen

    def close(self) -> None:
        """Take the hooks off the network."""
        for hook in self._hooks:
            hook.remove()


def require_winner_layers(network: nn.Module, what: str) -> tuple[WinnerLayer, ...]:
    """The Top-K layers of a network; `UsageError` if it has none."""
    layers = tuple(m for m in network.modules() if isinstance(m, WinnerLayer))
    if not layers:
        raise UsageError(
            f"{what} needs a network with Top-K layers",
            where=type(network).__name__,
            remedy="use SDMLP, or put neurokd.models.topk.TopK behind a layer",
        )
    return layers
