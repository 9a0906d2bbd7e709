"""What a worker is asked to do: train one run, or measure what a run would take."""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from neurokd.config import TrainConfig
from neurokd.errors import UsageError
from neurokd.reproduce.budget import Cost, Size, resized
from neurokd.run import RunFolder, configured_model, load_state, read_weights

if TYPE_CHECKING:
    from torch import nn

_TRIAL_BATCHES = 6


@dataclass(frozen=True)
class Teacher:
    """The teacher of a run: a run that was trained, or a file of weights for a configuration."""

    run: Path | None = None
    weights: Path | None = None
    config: TrainConfig | None = None

    @property
    def source(self) -> str:
        """The run or the file."""
        return str(self.run or self.weights)

    def load(self) -> nn.Module:
        """The network, in evaluation mode."""
        if self.run is not None:
            return RunFolder(self.run).load_model()
        assert self.config is not None and self.weights is not None
        model = configured_model(self.config)
        load_state(model, read_weights(self.weights), self.weights)
        return model.eval()


@dataclass(frozen=True)
class TrainingTask:
    """One run of the grid, from the beginning or from its last checkpoint."""

    key: str
    config: TrainConfig
    folder: Path
    teacher: Teacher | None = None

    def run(self) -> float:
        """Train, and return the accuracy on the test split."""
        from neurokd.training import train

        folder = RunFolder(self.folder)
        teacher = self.teacher.load() if self.teacher else None
        train(
            self.config,
            folder,
            teacher=teacher,
            teacher_source=self.teacher.source if self.teacher else None,
            resume=folder.checkpoint.is_file(),
        )
        accuracy = tested_accuracy(folder)
        assert accuracy is not None
        return accuracy


@dataclass(frozen=True)
class TrialTask:
    """A few batches of a run, in a folder that is thrown away."""

    key: str
    config: TrainConfig
    teacher: TrainConfig | None = None

    def run(self) -> Cost:
        """Seconds per training sample, and of everything else; an untrained teacher costs alike."""
        from neurokd.data import load_data
        from neurokd.training import train

        samples = len(load_data(self.config.data, "train", steps=self.config.steps))
        batch = self.config.recipe.batch_size
        size = Size(1, min(samples, _TRIAL_BATCHES * batch))
        teacher = configured_model(self.teacher).eval() if self.teacher else None
        moments: list[tuple[int, float]] = []
        started = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix="neurokd-trial-") as place:
            train(
                resized(self.config, size),
                RunFolder(Path(place) / "run"),
                teacher=teacher,
                progress=lambda done, total, note: moments.append((done, time.perf_counter())),
            )
        seconds = time.perf_counter() - started
        if len(moments) < 2:
            raise UsageError(
                "the training set is too small to measure a run",
                where=self.config.data,
                expected=f"at least two batches of {batch}",
                found=f"{samples} samples",
                remedy="--budget full measures nothing",
            )
        (first, begun), (last, ended) = moments[0], moments[-1]
        per_batch = (ended - begun) / (last - first)
        return Cost(max(seconds - last * per_batch, 0.0), per_batch / batch, samples)


def tested_accuracy(folder: RunFolder) -> float | None:
    """Accuracy on the test split of a run that is complete, None while it is not."""
    if not folder.weights.is_file() or not folder.metrics.is_file():
        return None
    rows = [json.loads(line) for line in folder.metrics.read_text(encoding="utf-8").splitlines()]
    tested = [row["accuracy"] for row in rows if row.get("split") == "test"]
    return float(tested[-1]) if tested else None
