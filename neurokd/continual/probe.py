"""`Probe`: what a network does on a fixed set of samples while a stream is learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neurokd.continual.activity import Activity, observe_activity
from neurokd.continual.metrics.dead_neurons import dead_neurons
from neurokd.continual.metrics.divergence import divergence
from neurokd.continual.metrics.entropy import activation_entropy, entropy_ceiling
from neurokd.continual.metrics.jaccard import jaccard, most_active
from neurokd.continual.metrics.normalised_entropy import normalised_entropy
from neurokd.continual.metrics.row_cosine import row_cosine
from neurokd.continual.metrics.shared_neurons import shared_neurons
from neurokd.data.labelled import LabelledData
from neurokd.data.stream import Stream, Task
from neurokd.errors import FileFormatError, UsageError

_NAMES = ("logits", "top.", "chosen.", "rows.")


class Probe:
    """Measures a network on the first test samples of the tasks seen so far.

    In task t they are the first ⌊samples / (t + 1)⌋ of each of the tasks 0 … t: the set is fixed
    within a task. The teacher is the network as `begin_task` found it, that is, as the task before
    ended; in task 0 there is none.

    Of the Top-K layers: entropies, dead and shared neurons, winners per sample, the k neurons that
    answer most often, the Jaccard similarity of their set to that of the last measurement, and the
    cosine between the weights that the ``n`` neurons which answered the earlier tasks most often
    have now and had in the teacher (by default a tenth of the layer). Of several layers these are
    means, or lists with an item a layer. Of any network: KL of its predictions from the teacher's.

    Nothing in the network changes. Raises: `UsageError` for fewer samples than tasks.
    """

    def __init__(
        self, stream: Stream, samples: int = 1000, temperature: float = 8.0, n: int | None = None
    ) -> None:
        if samples < len(stream.tasks):
            raise UsageError(
                "the probe needs a sample of each task",
                where="Probe",
                expected=f"≥ {len(stream.tasks)} samples",
                found=str(samples),
            )
        self._stream = stream
        self._samples = samples
        self._temperature = temperature
        self._n = n
        self._state: dict[str, Tensor] = {}

    def begin_task(self, network: nn.Module, task: Task) -> None:
        """Keep of the network what later measurements in this task are compared with."""
        logits, layers = observe_activity(network, self._sets(task))
        self._state = {}
        for index, layer in enumerate(layers):
            top = most_active(layer.frequency, layer.k)
            self._state[f"top.{index}"] = torch.from_numpy(top)
        if task.index == 0:
            return
        self._state["logits"] = logits
        for index, layer in enumerate(layers):
            if layer.weight is not None:
                count = self._n or max(1, len(layer.weight) // 10)
                earlier = layer.frequencies[:-1].mean(axis=0)
                chosen = torch.from_numpy(most_active(earlier, count))
                self._state[f"chosen.{index}"] = chosen
                self._state[f"rows.{index}"] = layer.weight[chosen].clone()

    def measure(self, network: nn.Module, task: Task) -> dict[str, Any]:
        """What the network does now; what it has not got, a teacher or Top-K layers, is left out.

        ``kl`` is over all samples, ``kl_old`` over those of earlier tasks, ``kl_new`` over those of
        this one. ``top`` has the k neurons of each layer, ``shared`` a number for each task.
        """
        sets = self._sets(task)
        logits, layers = observe_activity(network, sets)
        row: dict[str, Any] = {"samples": len(logits)}
        if layers:
            row |= _population(layers)
            row |= self._stability(row["top"])
        return row | self._alignment(layers) | self._retention(logits, len(sets[-1]))

    def state(self) -> dict[str, Tensor]:
        """What `begin_task` and the last measurement left, for the checkpoint."""
        return dict(self._state)

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Put back what `state` gave; `FileFormatError` for anything else."""
        for name in state:
            if not name.startswith(_NAMES):
                raise FileFormatError("this is no state of a probe", where="Probe", found=name)
        self._state = dict(state)

    def _sets(self, task: Task) -> list[LabelledData]:
        seen = self._stream.tasks[: task.index + 1]
        return [of_task.test.first(self._samples // len(seen)) for of_task in seen]

    def _stability(self, tops: Sequence[Sequence[int]]) -> dict[str, float]:
        """How much of each layer's set is that of the last measurement, which it replaces."""
        similar = []
        for index, top in enumerate(tops):
            name = f"top.{index}"
            if name in self._state:
                similar.append(jaccard(top, self._state[name].tolist()))
            self._state[name] = torch.tensor(top, dtype=torch.int64)
        return {"jaccard": float(np.mean(similar))} if similar else {}

    def _alignment(self, layers: Sequence[Activity]) -> dict[str, float]:
        cosines = [
            row_cosine(layer.weight[self._state[f"chosen.{index}"]], self._state[f"rows.{index}"])
            for index, layer in enumerate(layers)
            if layer.weight is not None and f"rows.{index}" in self._state
        ]
        return {"cosine": float(np.mean(cosines))} if cosines else {}

    def _retention(self, logits: Tensor, new: int) -> dict[str, float]:
        teacher = self._state.get("logits")
        if teacher is None:
            return {}
        old = len(logits) - new
        parts = {"kl": slice(None), "kl_old": slice(old), "kl_new": slice(old, None)}
        return {
            name: divergence(logits[part], teacher[part], self._temperature)
            for name, part in parts.items()
        }


def _population(layers: Sequence[Activity]) -> dict[str, Any]:
    """Entropies in the mean over the layers, and a list with an item for each of them."""

    def mean(values: Sequence[float]) -> float:
        return float(np.mean(values))

    return {
        "entropy_bits": mean([float(activation_entropy(a.frequency).mean()) for a in layers]),
        "entropy_ceiling_bits": mean([entropy_ceiling(a.k, len(a.frequency)) for a in layers]),
        "entropy_normalised": mean([normalised_entropy(a.frequency) for a in layers]),
        "winners": [float(a.frequency.sum()) for a in layers],
        "dead": [dead_neurons(a.summed) for a in layers],
        "shared": [list(shared_neurons(a.frequencies)) for a in layers],
        "top": [most_active(a.frequency, a.k).tolist() for a in layers],
    }
