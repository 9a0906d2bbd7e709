"""Curves for TensorBoard: the metrics of a run, one point an epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from neurokd.errors import BackendUnavailableError

FOLDER = "tensorboard"
"""Where the curves lie in a run folder."""
_EVENT_FILES = "events.out.tfevents.*"


class Curves:
    """Writes metric rows to an events file under ``folder`` / tensorboard.

    A tag is ``split/name``, a step is an epoch. With ``epoch`` > 0 a run goes on after that many
    epochs: what an interrupted process wrote beyond them is hidden from then on, and a point that
    is there already is not written again. With 0 it begins, and the curves of an earlier run in the
    folder are removed.

    Raises: `BackendUnavailableError` where the package tensorboard is missing.
    """

    def __init__(self, folder: Path, epoch: int = 0) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ModuleNotFoundError as error:
            raise BackendUnavailableError(
                "TensorBoard's files cannot be written here",
                where="tensorboard = true",
                found=f"no {error.name}",
                remedy="pip install 'neurokd[tensorboard]', or set tensorboard = false",
            ) from error
        place = folder / FOLDER
        if epoch == 0:
            for file in place.glob(_EVENT_FILES):
                file.unlink()
        self._there = _points(place, epoch)
        self._writer = SummaryWriter(str(place), purge_step=epoch + 1)

    def write(self, row: Mapping[str, Any]) -> None:
        """Add a row of ``metrics.jsonl``: its numbers, and those of the mappings in it."""
        for tag, value in _scalars(row.get("split", "train"), row):
            if (tag, row["epoch"]) not in self._there:
                self._writer.add_scalar(tag, value, row["epoch"])
        self._writer.flush()

    def close(self) -> None:
        """Finish the events file; nothing can be written after it."""
        self._writer.close()

    def __enter__(self) -> Curves:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _points(place: Path, epoch: int) -> set[tuple[str, int]]:
    """Tags and steps that the files in ``place`` hold, up to ``epoch``."""
    if epoch == 0 or not place.is_dir():
        return set()
    from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator

    files = EventAccumulator(str(place), size_guidance={SCALARS: 0})
    files.Reload()
    tags = files.Tags()[SCALARS]
    points = {(tag, point.step) for tag in tags for point in files.Scalars(tag)}
    return {(tag, step) for tag, step in points if step <= epoch}


def _scalars(prefix: str, row: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from _scalars(f"{prefix}/{name}", value)
        elif isinstance(value, (int, float)) and name != "epoch":
            yield f"{prefix}/{name}", float(value)
