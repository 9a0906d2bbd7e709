"""`LearnedStream`: a run of continual learning, as what evaluates and deploys it takes it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from neurokd.config import ContinualConfig
from neurokd.continual.load_stream import load_stream
from neurokd.data.labelled import LabelledData
from neurokd.data.stream import Stream
from neurokd.errors import UsageError
from neurokd.run import RunFolder, is_deployable, load_state, read_weights

if TYPE_CHECKING:
    from torch import nn

    from neurokd.models.spiking_sdmlp import SpikingSDMLP


@dataclass(frozen=True)
class LearnedStream:
    """What is in the folder of a run that learned a stream; each part is read when it is asked for.

    Raises, in its parts: `FileFormatError` for a run that is not complete, and what `load_stream`
    raises.
    """

    run: RunFolder

    @cached_property
    def config(self) -> ContinualConfig:
        """The resolved configuration."""
        return self.run.continual_config()

    @cached_property
    def stream(self) -> Stream:
        """The tasks that were learned."""
        return load_stream(self.config)

    @cached_property
    def test(self) -> LabelledData:
        """The test samples of all tasks, mixed: the first of them are no single task's."""
        return self.stream.joined().tasks[0].test.mixed()

    @cached_property
    def network(self) -> nn.Module:
        """The network after the last task, in evaluation mode."""
        return load_network(self.run, self.stream)

    @cached_property
    def spiking(self) -> SpikingSDMLP:
        """The spiking student after the last task; `UsageError` where none was trained."""
        self.require_spiking()
        from neurokd.continual.spiking.load_spiking import load_spiking

        return load_spiking(self.run)

    def require_spiking(self) -> None:
        """Raise `UsageError` where no spiking student was trained."""
        if self.config.spiking is None:
            raise UsageError(
                "this run has no spiking student, and a chip runs nothing else",
                where=str(self.run.path),
                expected="a section [spiking] in the configuration",
                remedy="learn the stream with one (--set spiking.steps=8), or use ONNX",
            )

    def spiking_scores(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the spiking student answers: (T, B, d) → its last membranes (B, K)."""
        import torch

        with torch.no_grad():
            scores: NDArray[np.float32] = self.spiking(torch.tensor(samples))[-1].numpy()
        return scores

    def training_samples(self, count: int) -> LabelledData:
        """About ``count`` training samples, evenly from all tasks."""
        per_task = max(1, count // len(self.stream.tasks))
        tasks = [
            replace(task, train=_spread(task.train, per_task), validation=None)
            for task in self.stream.tasks
        ]
        return replace(self.stream, tasks=tuple(tasks)).joined().tasks[0].train


def load_network(run: RunFolder, stream: Stream) -> nn.Module:
    """The network that a run has learned, in evaluation mode.

    Raises: `FileFormatError` if it is not complete, `UsageError` for another kind of run, or for a
    network that nothing is deployed from.
    """
    from neurokd.continual.make_learner import build_network

    config = run.continual_config()
    if not is_deployable(config):
        raise UsageError(
            "what this run learned is not deployed",
            where=str(run.path),
            expected="a run of sdmlp or mlp, without icarl, which needs its exemplars to answer",
            found=f"network {config.network.name}" + (" with icarl" if config.icarl else ""),
        )
    state = read_weights(run.weights, remedy="finish it: `neurokd continual CONFIG --resume`")
    network = build_network(config, stream.sample_shape, stream.classes)
    load_state(network, state, run.weights)
    return network.eval()


def _spread(data: LabelledData, count: int) -> LabelledData:
    chosen = np.unique(np.linspace(0, len(data) - 1, count).astype(np.int64))
    return replace(data, x=data.x[chosen], y=data.y[chosen])
