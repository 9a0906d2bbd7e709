"""`GradientLearner`: any network, and any methods, by gradients of all weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neurokd.config.continual import LearningConfig
from neurokd.continual.frozen import evaluating
from neurokd.continual.learner import Learner
from neurokd.continual.method import Batch, Method
from neurokd.continual.observe import Observer
from neurokd.data.stream import Task
from neurokd.errors import FileFormatError, TrainingDivergedError, UsageError
from neurokd.run import load_state

_CHECKPOINT = Path("last.ckpt")


class GradientLearner(Learner):
    """SGD on L = Π ce_weight · CE + Σ terms of the methods; what `network.constrain` asks holds
    after every step.

    Momentum begins anew with each task: what the last one left would be a step against memory.
    Raises: `UsageError` for a method that is given twice.
    """

    def __init__(
        self,
        network: nn.Module,
        learning: LearningConfig,
        methods: Sequence[Method] = (),
        device: torch.device | str = "cpu",
    ) -> None:
        self.device = torch.device(device)
        self._network = network.to(self.device)
        self.learning = learning
        self.methods = {type(method).__name__.lower(): method for method in methods}
        if len(self.methods) < len(methods):
            raise UsageError(
                "a method is given twice",
                where="GradientLearner",
                found=", ".join(type(method).__name__ for method in methods),
            )
        self._constrain = getattr(network, "constrain", None)
        self._weights = [p for p in network.parameters() if p.requires_grad]
        self._optimiser = torch.optim.SGD(
            self._weights, lr=learning.learning_rate, momentum=learning.momentum
        )
        self._epoch = 0
        self._answering: Method | None = None

    @property
    def network(self) -> nn.Module:
        return self._network

    def begin_task(self, task: Task) -> None:
        self._epoch = 0
        self._optimiser.state.clear()
        for method in self.methods.values():
            method.begin_task(self._network, task)

    def epoch(self, task: Task, generator: torch.Generator) -> dict[str, float]:
        data = task.train
        for method in self.methods.values():
            data = method.training_data(data)
        self._epoch += 1
        sums: dict[str, Tensor] = {}
        observer = Observer(self._network)
        self._network.train()
        try:
            with _global_source(generator, self.device):
                order = torch.randperm(len(data), generator=generator)
                for chosen in order.split(self.learning.batch_size):
                    x, y = data.batch(chosen)
                    found = self._step(x.to(self.device), y.to(self.device), observer, task)
                    for name, value in found.items():
                        sums[name] = sums.get(name, torch.zeros_like(value)) + len(chosen) * value
        finally:
            observer.close()
        means = {name: float(total) / len(data) for name, total in sums.items()}
        for method in self.methods.values():
            means |= method.measured()
        return means

    def _step(self, x: Tensor, y: Tensor, observer: Observer, task: Task) -> dict[str, Tensor]:
        logits = self._network(x)
        batch = Batch(x, y, logits, observer.take())
        terms = {"ce": F.cross_entropy(logits, y)}
        weight = 1.0
        for method in self.methods.values():
            weight *= method.ce_weight
            terms |= method.terms(self._network, batch)
        loss = torch.stack([weight * terms["ce"], *list(terms.values())[1:]]).sum()
        if not bool(loss.isfinite()):
            raise TrainingDivergedError(
                "the loss is not a finite number",
                where=f"task {task.index + 1}, epoch {self._epoch}",
                found=", ".join(f"{name} {value.item():.4g}" for name, value in terms.items()),
                remedy="lower learning.learning_rate or a method's weight, "
                "or set learning.clip_norm",
            )
        self._optimiser.zero_grad()
        loss.backward()
        for method in self.methods.values():
            method.before_step(self._network, batch)
        if self.learning.clip_norm:
            nn.utils.clip_grad_norm_(self._weights, self.learning.clip_norm)
        self._optimiser.step()
        if self._constrain is not None:
            self._constrain()
        for method in self.methods.values():
            method.after_step(self._network)
        found = {name: value.detach().double() for name, value in terms.items()}
        right = (logits.detach().argmax(dim=1) == y).double().mean()
        return {"loss": loss.detach().double(), **found, "accuracy": right}

    def end_task(self, task: Task, generator: torch.Generator) -> None:
        for method in self.methods.values():
            method.end_task(self._network, task, generator)

    def scores(self, x: Tensor) -> Tensor:
        with torch.no_grad(), evaluating(self._network):
            x = x.to(self.device)
            for method in self.methods.values():
                if (scores := method.scores(self._network, x)) is not None:
                    return scores
            logits: Tensor = self._network(x)
            return logits

    def state(self) -> dict[str, Tensor]:
        state = {f"network.{key}": value for key, value in self._network.state_dict().items()}
        state["epoch"] = torch.tensor(self._epoch)
        for index, weight in enumerate(self._weights):
            momentum = self._optimiser.state.get(weight, {}).get("momentum_buffer")
            if momentum is not None:
                state[f"momentum.{index}"] = momentum
        for name, method in self.methods.items():
            state |= {f"{name}.{key}": value for key, value in method.state().items()}
        return {key: value.detach().clone() for key, value in state.items()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        parts: dict[str, dict[str, Tensor]] = {}
        for key, value in state.items():
            part, _, rest = key.partition(".")
            parts.setdefault(part, {})[rest] = value.to(self.device, copy=True)
        known = {"network", "epoch", "momentum", *self.methods}
        if foreign := sorted(parts.keys() - known):
            raise _foreign(f"state of {foreign[0]}", f"that of {', '.join(sorted(known))}")
        load_state(self._network, parts.get("network", {}), _CHECKPOINT)
        momenta = parts.get("momentum", {})
        self._optimiser.state.clear()
        for index, weight in enumerate(self._weights):
            momentum = momenta.pop(str(index), None)
            if momentum is None:
                continue
            if momentum.shape != weight.shape:
                raise _foreign(f"momentum {tuple(momentum.shape)}", f"{tuple(weight.shape)}")
            self._optimiser.state[weight]["momentum_buffer"] = momentum
        if momenta or "epoch" not in parts:
            raise _foreign("momentum of other weights", f"{len(self._weights)} weights and epoch")
        self._epoch = int(parts["epoch"][""])
        for name, method in self.methods.items():
            method.load_state(self._network, parts.get(name, {}))


def _foreign(found: str, expected: str) -> FileFormatError:
    return FileFormatError(
        "the state belongs to another learner",
        where=str(_CHECKPOINT),
        expected=expected,
        found=found,
        remedy="start without --resume",
    )


@contextmanager
def _global_source(generator: torch.Generator, device: torch.device) -> Iterator[None]:
    """Dropout draws from torch's global generator: seed that from ``generator``, for a while.

    ``generator`` itself does not advance by it, so that the order of the samples is the same for
    every learner.
    """
    ahead = torch.Generator()
    ahead.set_state(generator.get_state())
    seed = int(torch.randint(2**63 - 1, (), generator=ahead))
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
