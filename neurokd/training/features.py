"""Feature maps of a stage, taken while the network runs."""

from __future__ import annotations

import weakref
from typing import Any

from torch import Tensor, nn

from neurokd.errors import UsageError


class StageFeatures:
    """Keeps the last output of the module at path ``stage``.

    The hook by which it does so is gone with this object: a network that is traced or saved after
    training is as it was before.
    """

    def __init__(self, network: nn.Module, stage: str) -> None:
        try:
            module = network.get_submodule(stage)
        except AttributeError as error:
            raise UsageError(
                "the network has no such stage",
                where=type(network).__name__,
                expected=", ".join(name for name, _ in network.named_children()),
                found=repr(stage),
            ) from error
        self._output: Tensor | None = None
        kept = weakref.ref(self)  # else the network would keep this object, and so its hook

        def keep(module: nn.Module, inputs: Any, output: Tensor) -> None:
            if (features := kept()) is not None:
                features._output = output

        weakref.finalize(self, module.register_forward_hook(keep).remove)

    def take(self) -> Tensor:
        """The output of the latest forward pass; each is handed out once."""
        assert self._output is not None, "the network has not run since"
        output, self._output = self._output, None
        return output
