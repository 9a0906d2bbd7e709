"""Feature maps of a stage, taken while the network runs."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from neurokd.errors import UsageError


class StageFeatures:
    """Keeps the last output of the module at path ``stage``."""

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
        self._hook = module.register_forward_hook(self._keep)

    def _keep(self, module: nn.Module, inputs: Any, output: Tensor) -> None:
        self._output = output

    def take(self) -> Tensor:
        """The output of the latest forward pass; each is handed out once."""
        assert self._output is not None, "the network has not run since"
        output, self._output = self._output, None
        return output
