"""SI: weights that did much to lower the loss of past tasks stay where they were."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neurokd.config.continual import SIConfig
from neurokd.continual.anchor import Anchor, trained_weights, under
from neurokd.continual.method import Batch, Method
from neurokd.data.stream import Task


class SI(Method):
    """Synaptic intelligence: importances from the path that the weights took.

    Equation: w_i = −Σ_steps g_i Δθ_i with g = ∂/∂θ Σ_{x in batch} CE(β z(x), y) at the step's
    beginning; at the end of a task Ω_i ← max(Ω_i + w_i / (Δ_i² + damping), 0), Δ the way from its
    beginning, and w = 0. L = weight · Σ_i Ω_i (θ_i − θ*_i)², θ* the weights at the end of the last
    task.

    Δθ is what a step did in all: clipped, by every term of the loss, with the constraints applied.
    So w can be negative, above all under SDMLP's constraints; as in the authors' own code, no
    importance is, since such a penalty drives weights away without bound.
    The reference code adds g to the gradients that the optimiser sees, too; that is not done here.
    Source: Zenke, Poole, Ganguli 2017 (arXiv 1703.04200), as in Bricken et al. 2023.
    """

    def __init__(self, options: SIConfig | None = None) -> None:
        self.options = options or SIConfig()
        self.anchor = Anchor()
        self.path: dict[str, Tensor] = {}
        self.start: dict[str, Tensor] = {}
        self._gradients: dict[str, Tensor] = {}
        self._before: dict[str, Tensor] = {}

    def begin_task(self, network: nn.Module, task: Task) -> None:
        weights = trained_weights(network)
        self.start = {name: weight.detach().clone() for name, weight in weights.items()}
        self.path = {name: torch.zeros_like(weight) for name, weight in self.start.items()}

    def terms(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        # Here, since the graph is gone once the loss has been differentiated.
        weights = trained_weights(network)
        loss = F.cross_entropy(self.options.beta * batch.logits, batch.y, reduction="sum")
        found = torch.autograd.grad(
            loss, list(weights.values()), retain_graph=True, allow_unused=True
        )
        self._gradients = {
            name: gradient
            for name, gradient in zip(weights, found, strict=True)
            if gradient is not None
        }
        self._before = {name: weights[name].detach().clone() for name in self._gradients}
        if not self.anchor or not self.options.weight:
            return {}
        return {"si": self.options.weight * self.anchor.penalty(network)}

    @torch.no_grad()
    def after_step(self, network: nn.Module) -> None:
        weights = trained_weights(network)
        for name, gradient in self._gradients.items():
            moved = weights[name] - self._before[name]
            self.path[name].addcmul_(gradient, moved, value=-1)

    @torch.no_grad()
    def end_task(self, network: nn.Module, task: Task, generator: torch.Generator) -> None:
        weights = trained_weights(network)
        importance = {
            name: self.path[name] / ((weights[name] - start) ** 2 + self.options.damping)
            for name, start in self.start.items()
        }
        self.anchor.move(network, importance)
        self.path, self.start, self._gradients, self._before = {}, {}, {}, {}

    def state(self) -> dict[str, Tensor]:
        return {
            **{f"path.{name}": value for name, value in self.path.items()},
            **{f"start.{name}": value for name, value in self.start.items()},
            **{f"anchor.{name}": value for name, value in self.anchor.state().items()},
        }

    def load_state(self, network: nn.Module, state: Mapping[str, Tensor]) -> None:
        self.path, self.start = under("path.", state), under("start.", state)
        self.anchor.load_state(under("anchor.", state))
