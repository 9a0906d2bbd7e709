"""iCaRL: exemplars of past classes, distillation, and the nearest mean of the exemplars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from neurokd.config.continual import ICaRLConfig
from neurokd.continual.anchor import under
from neurokd.continual.frozen import Teacher, classifier_layer, evaluating
from neurokd.continual.method import Batch, Method
from neurokd.data.labelled import LabelledData
from neurokd.data.stream import Task, of_classes
from neurokd.errors import FileFormatError, UsageError

_BATCH = 500
"""Samples whose features are taken at once; the result does not depend on it."""


class ICaRL(Method):
    """Incremental classifier and representation learning.

    Equation: L = mean_B Σ_{classes seen} BCE(σ(z_y), target_y) instead of the cross-entropy. The
    target of a past class is σ(z_T,y) of the network as the last task left it, that of a new class
    whether the sample is of it. Trained on the task's samples and the exemplars: the same number
    for every class seen, ``exemplars`` in all, found by `herding` and shortened from their end.

    A sample is of the class whose exemplars' mean feature is nearest; features are the inputs of
    the classifier, of unit length, and so are the means. In a task, the new classes have the mean
    of all their samples until their exemplars are chosen. A class that is not known scores −∞.

    Raises: `UsageError` for fewer exemplars than classes, or a network without ``classifier``.
    Source: Rebuffi et al. 2017 (arXiv 1611.07725), Algorithms 1 to 5.
    """

    def __init__(self, options: ICaRLConfig | None = None) -> None:
        self.options = options or ICaRLConfig()
        self.teacher: Teacher | None = None
        self.exemplars: dict[int, NDArray[np.float32]] = {}
        """Samples of each past class, in the order in which they were found."""
        self._new: tuple[int, ...] = ()
        self._data: LabelledData | None = None
        self._means: Tensor | None = None

    @property
    def ce_weight(self) -> float:
        return 0.0

    def begin_task(self, network: nn.Module, task: Task) -> None:
        classifier_layer(network)
        self._new, self._data, self._means = task.classes, None, None
        self._share()

    def training_data(self, data: LabelledData) -> LabelledData:
        self._data = data
        past = sorted(self.exemplars)
        labels = [np.full(len(self.exemplars[c]), c, dtype=np.int64) for c in past]
        return replace(
            data,
            x=np.concatenate([data.x, *(self.exemplars[c] for c in past)]),
            y=np.concatenate([data.y, *labels]),
        )

    def terms(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        targets = F.one_hot(batch.y, batch.logits.shape[1]).to(batch.logits.dtype)
        past = sorted(self.exemplars)
        if self.teacher is not None:
            targets[:, past] = self.teacher.answer(batch.x)[0][:, past].sigmoid()
        seen = sorted({*past, *self._new})
        loss = F.binary_cross_entropy_with_logits(
            batch.logits[:, seen], targets[:, seen], reduction="sum"
        )
        return {"icarl": loss / len(batch.y)}

    def after_step(self, network: nn.Module) -> None:
        self._means = None

    def end_task(self, network: nn.Module, task: Task, generator: torch.Generator) -> None:
        share = self._share()
        self.exemplars = {c: x[:share] for c, x in self.exemplars.items()}
        for c in task.classes:
            samples = of_classes(task.train, [c]).x
            chosen = herding(class_features(network, samples), share)
            self.exemplars[c] = samples[chosen.numpy()].astype(np.float32)
        self.teacher = Teacher(network)
        self._new, self._data, self._means = (), None, None

    def scores(self, network: nn.Module, x: Tensor) -> Tensor | None:
        known = {c: self.exemplars[c] for c in sorted(self.exemplars)}
        if self._data is not None:
            known |= {c: of_classes(self._data, [c]).x for c in self._new}
        if not known:
            return None
        if self._means is None:
            means = [class_features(network, samples).mean(dim=0) for samples in known.values()]
            self._means = F.normalize(torch.stack(means), dim=1)
        logits, found = unit_features(network, x)
        distances = (found[:, None, :] - self._means).square().sum(dim=2)
        scores = torch.full_like(logits, -torch.inf)
        scores[:, list(known)] = -distances
        return scores

    def state(self) -> dict[str, Tensor]:
        found = {f"exemplars.{c}": torch.from_numpy(x) for c, x in self.exemplars.items()}
        if self._new:
            found["new"] = torch.tensor(self._new)
        if self.teacher is not None:
            found |= {f"teacher.{key}": value for key, value in self.teacher.state().items()}
        return found

    def load_state(self, network: nn.Module, state: Mapping[str, Tensor]) -> None:
        exemplars, teacher = under("exemplars.", state), under("teacher.", state)
        if bool(exemplars) != bool(teacher):
            raise FileFormatError(
                "the state of icarl is not complete",
                where="last.ckpt",
                expected="exemplars and teacher",
                found=", ".join(sorted(state)[:4]),
            )
        self.exemplars = {int(c): x.cpu().numpy() for c, x in exemplars.items()}
        self._new = tuple(state["new"].tolist()) if "new" in state else ()
        self.teacher = Teacher.from_state(network, teacher) if teacher else None
        self._data, self._means = None, None

    def _share(self) -> int:
        """Exemplars of each class that is known by the end of this task."""
        classes = len({*self.exemplars, *self._new})
        if self.options.exemplars < classes:
            raise UsageError(
                "there are fewer exemplars than classes",
                where="icarl.exemplars",
                expected=f"{classes} or more",
                found=str(self.options.exemplars),
            )
        return self.options.exemplars // classes


def herding(found: Tensor, count: int) -> Tensor:
    """Indices of ``count`` samples, each of which brings the mean of those chosen nearest to μ.

    Equation: p_k = argmin_x ‖μ − (φ(x) + Σ_{j<k} φ(p_j))/k‖, without repetition, μ the normalised
    mean of φ; for φ of unit length that is argmax φ(x)·(kμ − Σ_{j<k} φ(p_j)), taken here for all.
    Ties to the lower index. Shapes: φ (N, d) → (min(count, N),).
    Source: Rebuffi et al. 2017, Algorithm 4.
    """
    mean = F.normalize(found.mean(dim=0), dim=0)
    wanted = mean.clone()
    free = torch.zeros(len(found), dtype=found.dtype, device=found.device)
    chosen: list[int] = []
    for _ in range(min(count, len(found))):
        # numpy's argmax is the first of equals, torch's any of them
        index = int(np.argmax((found @ wanted + free).cpu().numpy()))
        chosen.append(index)
        free[index] = -torch.inf
        wanted += mean - found[index]
    return torch.tensor(chosen, dtype=torch.int64)


def class_features(network: nn.Module, samples: NDArray[Any]) -> Tensor:
    """φ(x) / ‖φ(x)‖ of samples (N, *shape) → (N, d), in evaluation mode."""
    device = next(network.parameters()).device
    parts = []
    with torch.no_grad(), evaluating(network):
        for start in range(0, len(samples), _BATCH):
            x = np.array(samples[start : start + _BATCH], dtype=np.float32)
            parts.append(unit_features(network, torch.from_numpy(x).to(device))[1])
    return torch.cat(parts)


def unit_features(network: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (B, K) and what its classifier was given (B, d), of unit length."""
    given: list[Tensor] = []

    def see(layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        given.append(inputs[0])

    hook = classifier_layer(network).register_forward_pre_hook(see)
    try:
        logits: Tensor = network(x)
    finally:
        hook.remove()
    if len(given) != 1 or given[0].ndim != 2:
        raise UsageError(
            "icarl needs a classifier that is called once, with one vector a sample",
            where=type(network).__name__,
            found=f"{len(given)} calls" if len(given) != 1 else f"{tuple(given[0].shape)}",
        )
    return logits, F.normalize(given[0], dim=1)
