"""FlyModel: an associative memory after the fruit fly's mushroom body, as a reference."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neurokd.continual.frozen import evaluating
from neurokd.continual.learner import Learner
from neurokd.data.stream import Task
from neurokd.errors import UsageError
from neurokd.models.geometry import require_counts
from neurokd.models.topk import WinnerLayer
from neurokd.run import load_state


class KenyonCells(WinnerLayer):
    """The k most active cells of a sample, scaled so that the first is 1; all others are 0.

    Shapes: (B, r) → (B, r). Which of equal cells win is torch's choice, the same every time.
    """

    def forward(self, activation: Tensor) -> Tensor:
        values, winners = activation.relu().topk(self.k, dim=-1)
        largest = values[..., :1]
        scaled = torch.where(largest > 0, values / largest, torch.zeros_like(values))
        return torch.zeros_like(activation).scatter(-1, winners, scaled)


class FlyModel(nn.Module):
    """Each of r Kenyon cells sums a few random inputs; the k most active ones speak to the classes.

    Equation: h = scaled Top-k(M x), M binary with round(density · d) ones in every row; z = W h.
    With the same number of ones in each row it does not matter whether x is centred. Inputs are
    not negative in the paper, nor is a cell active here whose sum is.

    ``projection`` (r, d) is drawn from torch's global generator and stays; ``classifier`` begins
    with 0 and is changed by `associate`, not by gradients. Shapes: (B, *shape) → (B, K).
    Raises: `UsageError` for a geometry that cannot be.
    Source: Shen, Dasgupta, Navlakha 2021 (arXiv 2107.07617), section 2.
    """

    projection: Tensor

    def __init__(
        self,
        inputs: int = 784,
        cells: int = 10_000,
        classes: int = 10,
        k: int = 10,
        density: float = 0.1,
    ) -> None:
        super().__init__()
        require_counts("FlyModel", inputs=inputs, cells=cells, classes=classes)
        ones = round(density * inputs)
        if not 1 <= ones <= inputs:
            raise UsageError(
                "a Kenyon cell must see some of the inputs",
                where="FlyModel",
                expected=f"1 … {inputs} inputs",
                found=f"density {density:g}: {ones}",
            )
        self.inputs = inputs
        chosen = torch.rand(cells, inputs).topk(ones, dim=1).indices
        seen = torch.zeros(cells, inputs, dtype=torch.bool).scatter_(1, chosen, True)
        self.register_buffer("projection", seen)
        self.cells = KenyonCells(cells, k)
        self.classifier = nn.Linear(cells, classes, bias=False).requires_grad_(False)
        nn.init.zeros_(self.classifier.weight)

    def encode(self, x: Tensor) -> Tensor:
        """h (B, r) of (B, *shape)."""
        flat = x.flatten(1)
        h: Tensor = self.cells(flat @ self.projection.to(flat.dtype).T)
        return h

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.encode(x))
        return logits


@torch.no_grad()
def associate(weight: Tensor, h: Tensor, y: Tensor, rate: float, decay: float) -> None:
    """Learn samples in their order, in place: only synapses of active cells with the class grow.

    Equation: w_y ← min(w_y + rate · h, 1), and w_c ← (1 − decay) w_c of all other classes.
    Shapes: weight (K, r), h (B, r) ≥ 0, y (B,). Source: Shen et al. 2021, where decay is 0 in the
    end: a synapse whose cell or class is silent is frozen.
    """
    for sample, label in zip(h, y.tolist(), strict=True):
        active = sample.nonzero().squeeze(1)
        grown = (weight[label, active] + rate * sample[active]).clamp(max=1)
        if decay:
            own = weight[label].clone()
            weight *= 1 - decay
            weight[label] = own
        weight[label, active] = grown


class FlyLearner(Learner):
    """Shows every sample once an epoch, in random order; one epoch is what the paper has.

    ``loss`` and ``accuracy`` of an epoch are those before each batch is learned; the cross-entropy
    is reported, not minimised. Nothing but the classifier changes.
    """

    def __init__(
        self,
        network: FlyModel,
        rate: float = 0.01,
        decay: float = 0.0,
        batch_size: int = 128,
        device: torch.device | str = "cpu",
    ) -> None:
        self.device = torch.device(device)
        self._network = network.to(self.device)
        self.rate = rate
        self.decay = decay
        self.batch_size = batch_size

    @property
    def network(self) -> nn.Module:
        return self._network

    def begin_task(self, task: Task) -> None:
        return None

    @torch.no_grad()
    def epoch(self, task: Task, generator: torch.Generator) -> dict[str, float]:
        order = torch.randperm(len(task.train), generator=generator)
        sums = torch.zeros(2, dtype=torch.float64)
        self._network.train()
        for chosen in order.split(self.batch_size):
            x, y = (part.to(self.device) for part in task.train.batch(chosen))
            h = self._network.encode(x)
            logits = self._network.classifier(h)
            sums[0] += float(F.cross_entropy(logits, y, reduction="sum"))
            sums[1] += int((logits.argmax(dim=1) == y).sum())
            associate(self._network.classifier.weight, h, y, self.rate, self.decay)
        loss, accuracy = (sums / len(task.train)).tolist()
        return {"loss": loss, "accuracy": accuracy}

    def end_task(self, task: Task, generator: torch.Generator) -> None:
        return None

    @torch.no_grad()
    def scores(self, x: Tensor) -> Tensor:
        with evaluating(self._network):
            logits: Tensor = self._network(x.to(self.device))
            return logits

    def state(self) -> dict[str, Tensor]:
        state = self._network.state_dict()
        return {f"network.{key}": value.detach().clone() for key, value in state.items()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        found = {key.removeprefix("network."): value for key, value in state.items()}
        load_state(self._network, found, Path("last.ckpt"))
