"""`DownloadBar`: the progress bar that pooch asks for, drawn by rich on stderr."""

from __future__ import annotations


class DownloadBar:
    """Bytes of one file so far; pooch sets ``total`` and calls the methods."""

    def __init__(self, title: str) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._task = self._progress.add_task(title, total=None)

    @property
    def total(self) -> float | None:
        """Bytes to come in all; None while the server has not said."""
        return self._progress.tasks[0].total

    @total.setter
    def total(self, total: float) -> None:
        self._progress.update(self._task, total=total or None)
        self._progress.start()  # the server has answered: until then there is nothing to show

    def update(self, count: float) -> None:
        """``count`` bytes more."""
        self._progress.advance(self._task, count)

    def reset(self) -> None:
        """Nothing so far: pooch counts in whole chunks and corrects the sum at the end."""
        self._progress.update(self._task, completed=0)

    def close(self) -> None:
        """Leave the bar as it stands, if there is one."""
        if self._progress.live.is_started:
            self._progress.stop()
