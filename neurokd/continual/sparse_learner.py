"""`SparseLearner`: SDMLP with or without SSD, by gradients of active neurons only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from neurokd.config.continual import LearningConfig, SSDConfig, sparse_methods
from neurokd.continual.anchored import Anchored
from neurokd.continual.frozen import evaluating
from neurokd.continual.learner import Learner
from neurokd.continual.sparse_arrays import CE, HIDDEN, LOGITS, LOSS, RIGHT, Floats
from neurokd.continual.sparse_batch import Lesson
from neurokd.continual.sparse_dense import Distilled, Loss
from neurokd.continual.sparse_inertia import Inertia
from neurokd.continual.sparse_layer import hidden_layer
from neurokd.continual.sparse_step import SparseSteps
from neurokd.continual.sparse_teacher import MOST_KEPT, SubnetworkTeacher
from neurokd.data.labelled import LabelledData
from neurokd.data.stream import Task
from neurokd.errors import FileFormatError, TrainingDivergedError, UsageError
from neurokd.models.sdmlp import SDMLP, normalised
from neurokd.run import load_state

_CHECKPOINT = Path("last.ckpt")
_CHUNK = 4096


def sparse_fits(network: nn.Module, methods: Iterable[str] = ()) -> bool:
    """Whether `SparseLearner` learns what these ask for: SDMLP of one hidden layer with inhibition
    ``gaba``, float32 on the CPU, with SSD or not, and with at most one of EWC, MAS and L2."""
    return (
        isinstance(network, SDMLP)
        and len(network.hidden) == 1
        and all(layer.inhibition == "gaba" for layer in network.winners)
        and all(p.dtype == torch.float32 and p.device.type == "cpu" for p in network.parameters())
        and sparse_methods(methods)
    )


class SparseLearner(Learner):
    """The same steps as `GradientLearner` with `SSD` and one pull up to rounding, in less time.

    After the one dense product W x, a step computes gradient, clipping, SGD, clamp and unit length
    for active neurons alone: the others' gradients are zero, so that nothing of theirs changes.
    Momentum and a pull move all weights; then the gradient of the loss is still that of active
    neurons alone. The teacher stands still and so do the samples: what it says to them is computed
    once for a task. While inhibition is incomplete and many are active, a step is dense.

    The order of the samples is that of `GradientLearner`. Results do not depend on the number of
    threads, but for the last bits of matrix products. Raises: `UsageError` if it does not fit.
    """

    def __init__(
        self,
        network: SDMLP,
        learning: LearningConfig,
        ssd: SSDConfig | None = None,
        pulling: Anchored | None = None,
    ) -> None:
        if not sparse_fits(network):
            raise UsageError(
                "the sparse engine cannot learn this",
                where="SparseLearner",
                expected="SDMLP of one hidden layer on the CPU, inhibition gaba",
                remedy="set engine = 'dense'",
            )
        self._network = network
        self.learning = learning
        self.ssd = ssd
        self.pulling = pulling
        neurons = hidden_layer(network).winners.neurons
        self._n = neurons
        if ssd is not None and ssd.neurons == "selective":
            self._n = max(1, neurons // 10) if ssd.n is None else ssd.n
        if self._n > neurons:
            raise UsageError(
                "more neurons than there are cannot be distilled",
                where="ssd.n",
                expected=f"≤ {neurons}",
                found=str(self._n),
            )
        self.teacher: SubnetworkTeacher | None = None
        self._epoch = 0
        self._prepared: tuple[LabelledData, Lesson] | None = None
        self.inertia = Inertia(network, learning, pulling)

    @property
    def network(self) -> SDMLP:
        return self._network

    @property
    def moves_all(self) -> bool:
        """Whether weights without a gradient move, in the task that is learned or comes next."""
        return self.learning.momentum > 0 or (self.pulling is not None and self.pulling.pulls)

    def begin_task(self, task: Task) -> None:
        self._epoch = 0
        self.inertia = Inertia(self._network, self.learning, self.pulling)

    def epoch(self, task: Task, generator: torch.Generator) -> dict[str, float]:
        return epoch_together([self], [task], [generator])[0]

    def end_task(self, task: Task, generator: torch.Generator) -> None:
        if self.ssd is not None:
            x = self.lesson(task).x
            self.teacher = SubnetworkTeacher.take(self._network, x, self._n)
        if self.pulling is not None:
            self.pulling.end_task(self._network, task, generator)
        self._prepared = None

    def scores(self, x: Tensor) -> Tensor:
        with torch.no_grad(), evaluating(self._network):
            logits: Tensor = self._network(x)
            return logits

    def lesson(self, task: Task) -> Lesson:
        """The samples of a task as its epochs need them; kept until the task ends."""
        if self._prepared is None or self._prepared[0] is not task.train:
            self._prepared = task.train, self._lesson(task)
        return self._prepared[1]

    def _lesson(self, task: Task) -> Lesson:
        data = task.train
        x = torch.empty(len(data), self._network.inputs)
        for chosen in torch.arange(len(data)).split(_CHUNK):
            x[chosen[0] : chosen[-1] + 1] = normalised(data.batch(chosen)[0].flatten(1))
        y = torch.from_numpy(data.y)
        if self.teacher is None or self.ssd is None:
            return Lesson(x, y, Loss())
        return Lesson(x, y, loss_of(self.ssd), self.teacher, self.teacher.answer(x, MOST_KEPT))

    def state(self) -> dict[str, Tensor]:
        state = {f"network.{key}": value for key, value in self._network.state_dict().items()}
        state["epoch"] = torch.tensor(self._epoch)
        if self.teacher is not None:
            state |= {f"teacher.{key}": value for key, value in self.teacher.state().items()}
        state |= {f"momentum.{key}": value for key, value in self.inertia.state().items()}
        if (method := self.pulling) is not None:
            state |= {f"{method.name}.{key}": value for key, value in method.state().items()}
        return state

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        parts: dict[str, dict[str, Tensor]] = {}
        for key, value in state.items():
            part, _, rest = key.partition(".")
            parts.setdefault(part, {})[rest] = value
        known = {"network", "epoch"} | ({"teacher"} if self.ssd is not None else set())
        known |= {"momentum"} if self.learning.momentum else set()
        known |= {self.pulling.name} if self.pulling is not None else set()
        if parts.keys() - known or "epoch" not in parts:
            raise FileFormatError(
                "the state belongs to another learner",
                where=str(_CHECKPOINT),
                expected=f"that of {', '.join(sorted(known))}",
                found=", ".join(sorted(parts)),
                remedy="start without --resume",
            )
        load_state(self._network, parts.get("network", {}), _CHECKPOINT)
        self._epoch = int(parts["epoch"][""])
        self.teacher = None
        if "teacher" in parts:
            self.teacher = SubnetworkTeacher.from_state(parts["teacher"], self._network, self._n)
        if self.pulling is not None:
            self.pulling.load_state(self._network, parts.get(self.pulling.name, {}))
        self.inertia = Inertia(self._network, self.learning, self.pulling)
        self.inertia.load_state(parts.get("momentum", {}))
        self._prepared = None

    def begin_epoch(self) -> int:
        """Counts the epochs of a task; gives the number of the one that begins."""
        self._epoch += 1
        return self._epoch


def loss_of(ssd: SSDConfig) -> Loss:
    """The loss of a task that has a teacher; a single level has the whole of what CE leaves."""
    hidden, logits = {
        "both": (ssd.lambda_hidden, 1 - ssd.lambda_hidden),
        "hidden": (1.0, 0.0),
        "logits": (0.0, 1.0),
    }[ssd.levels]
    reverse = ssd.direction == "student-teacher"
    return Loss(
        ssd.alpha,
        Distilled((1 - ssd.alpha) * hidden, ssd.temperature, reverse),
        Distilled((1 - ssd.alpha) * logits, ssd.temperature, reverse),
        ssd.hidden == "pre",
    )


def shape_of(learner: SparseLearner) -> tuple[int, ...]:
    """(r, d, K, k), and whether all weights move: what learners that step together share."""
    layer = hidden_layer(learner.network)
    sizes = (*layer.weight.shape, len(layer.classifier), layer.winners.k)
    return (*sizes, learner.moves_all)


def epoch_together(
    learners: Sequence[SparseLearner],
    tasks: Sequence[Task],
    generators: Sequence[torch.Generator],
) -> list[dict[str, float]]:
    """An epoch of several learners in lockstep; each gets the same bits as it would alone.

    Networks are of one shape, and all weights move in all of them or in none; their losses, tasks,
    orders and rates may differ.
    Raises: `UsageError` for shapes that differ, `TrainingDivergedError`.
    """
    shapes = {shape_of(learner) for learner in learners}
    if len(shapes) != 1:
        raise UsageError(
            "learners that step together have networks of one shape, and all momentum or pulls, "
            "or none",
            where="epoch_together",
            found=", ".join(map(str, sorted(shapes))),
        )
    lessons = [learner.lesson(task) for learner, task in zip(learners, tasks, strict=True)]
    numbers = [learner.begin_epoch() for learner in learners]
    orders = [
        torch.randperm(len(lesson.y), generator=generator).split(learner.learning.batch_size)
        for learner, lesson, generator in zip(learners, lessons, generators, strict=True)
    ]
    steps = SparseSteps(
        [learner.network for learner in learners],
        lessons,
        [learner.learning for learner in learners],
        [learner.inertia for learner in learners],
    )
    total = np.zeros((len(learners), 5))
    for index in range(max(map(len, orders))):
        sums = steps.step([order[index] if index < len(order) else None for order in orders])
        for mine, found in enumerate(sums[:, LOSS].tolist()):
            if not isfinite(found):
                raise TrainingDivergedError(
                    "the loss is not a finite number",
                    where=f"task {tasks[mine].index + 1}, epoch {numbers[mine]}",
                    found=str(found),
                    remedy="lower learning.learning_rate, or set learning.clip_norm",
                )
        total += sums
    steps.finish()
    answers = []
    for mine, (learner, lesson) in enumerate(zip(learners, lessons, strict=True)):
        means = _means(lesson, total[mine] / len(lesson.y))
        if (method := learner.pulling) is not None and method.pulls:
            means[method.name] = float(steps.pulled[mine]) / len(lesson.y)
        answers.append(means)
    return answers


def _means(lesson: Lesson, sums: Floats) -> dict[str, float]:
    means = {"loss": float(sums[LOSS]), "ce": float(sums[CE])}
    if lesson.loss.hidden.weight:
        means["ssd_hidden"] = float(sums[HIDDEN])
    if lesson.loss.logits.weight:
        means["ssd_logits"] = float(sums[LOGITS])
    return means | {"accuracy": float(sums[RIGHT])}
