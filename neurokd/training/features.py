"""Feature maps of a stage, taken while the network runs."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from math import isqrt
from typing import Any

import torch
from torch import Tensor, nn

from neurokd.errors import ShapeMismatchError, UsageError


class StageFeatures:
    """Keeps one output of the module at path ``stage``: that of the forward pass after `expect`.

    With ``leaf`` it is cut off from what came before, and the rest of the network runs on it as a
    leaf that wants a gradient: what Grad-CAM needs of a frozen teacher.

    The hook by which it does so is idle in other forward passes, and gone with this object: a
    network that is evaluated, traced or saved is as it was before.
    """

    def __init__(self, network: nn.Module, stage: str, *, leaf: bool = False) -> None:
        self.stage = stage
        self._expected = False
        self._output: Tensor | None = None
        self._version = 0
        kept = weakref.ref(self)  # else the network would keep this object, and so its hook

        def keep(module: nn.Module, inputs: Any, output: Any) -> Tensor | None:
            features = kept()
            if features is None or not features._expected:
                return None
            return features._keep(output, leaf)

        # what it keeps is for code outside of a compiled network
        hook: Callable[..., Tensor | None] = torch.compiler.disable(keep)
        module = submodule(network, stage)
        weakref.finalize(self, module.register_forward_hook(hook).remove)

    def expect(self) -> None:
        """Keep the output of the next forward pass."""
        self._expected = True

    def take(self) -> Tensor:
        """What was kept; it is handed out once.

        Raises: `UsageError` if the stage did not run, or a later layer has overwritten its output.
        """
        output, self._output = self._output, None
        if output is None:
            self._expected = False
            raise UsageError(
                "this stage took no part in the forward pass",
                where=f"stage {self.stage!r}",
                remedy="name a module that the network calls",
            )
        if output._version != self._version:
            raise UsageError(
                "a layer behind this stage overwrites its output in place",
                where=f"stage {self.stage!r}",
                remedy="name that layer as the stage, or set inplace=False in it",
            )
        return output

    def _keep(self, output: Any, leaf: bool) -> Tensor | None:
        if not isinstance(output, Tensor):
            raise UsageError(
                "the output of this stage is no tensor",
                where=f"stage {self.stage!r}",
                found=type(output).__name__,
                remedy="name a module that returns its features alone",
            )
        self._expected = False
        self._output = output.detach().requires_grad_() if leaf else output
        self._version = self._output._version
        # a copy, since the next layer may work in place, which a leaf does not allow
        return self._output.clone() if leaf else None


def feature_map(network: nn.Module, features: Tensor, *, spiking: bool, stage: str = "") -> Tensor:
    """The features of a stage as a map.

    Behind (T, B) of a spiking network, or (B) of a dense one, the dimensions decide: (C, H, W) is
    a map; (N, C) are tokens, N a square number, which lie row by row on a square. Whoever arranges
    them otherwise (a class token, an oblong map) gives the network a method ``feature_map`` that
    maps features to (T, B, C, H, W) or (B, C, H, W); it is asked first.

    Raises: `ShapeMismatchError` for features that have no map, such as those of an MLP.
    """
    own = getattr(network, "feature_map", None)
    if callable(own):
        features = own(features)
    lead = 2 if spiking else 1
    inner = features.shape[lead:]
    if len(inner) == 3:
        return features
    if len(inner) == 2 and isqrt(inner[0]) ** 2 == inner[0]:
        side = isqrt(inner[0])
        squares: Tensor = features.transpose(-2, -1).unflatten(-1, (side, side))
        return squares
    batch = "(T, B, " if spiking else "(B, "
    raise ShapeMismatchError(
        "these features are no map",
        where=f"{type(network).__name__}, stage {stage!r}",
        expected=f"{batch}C, H, W), or {batch}N, C) with N a square number",
        found=str(tuple(features.shape)),
        remedy="name a stage that has a map, or set distill.samd and distill.catkd to 0: "
        "nld and kd need none",
    )


def submodule(network: nn.Module, path: str) -> nn.Module:
    """The module at ``path``. Raises: `UsageError` if there is none."""
    try:
        return network.get_submodule(path)
    except AttributeError as error:
        raise UsageError(
            "the network has no such module",
            where=type(network).__name__,
            expected=", ".join(name for name, _ in network.named_children()),
            found=repr(path),
        ) from error
