"""Where a training command writes: a new run folder, or the one to go on with."""

from __future__ import annotations

from itertools import count
from pathlib import Path

from neurokd.errors import UsageError
from neurokd.run import RUNS, RunFolder

_PARTS = ("", "teacher", "baseline")


def place(name: str, out: Path | None, resume: bool) -> RunFolder:
    """The folder ``out``, else ``runs/NAME``, ``runs/NAME-2``, …: the first that is free, or with
    ``resume`` the last that is not.

    Nothing that was trained is overwritten. Raises: `UsageError` for a folder that holds a run
    already (without ``resume``), nothing to go on with (with it), or something else.
    """
    path = out or _numbered(name, resume)
    if path.exists() and not path.is_dir():
        raise UsageError("the run folder is a file", where=str(path))
    if path.is_dir() and _is_used(path) and not _is_run(path):
        raise UsageError(
            "the folder holds something else than a run",
            where=str(path),
            remedy="name an empty or a new folder with --out",
        )
    if resume and not _is_begun(path):
        raise UsageError(
            "there is nothing to resume", where=str(path), remedy="start without --resume"
        )
    if not resume and _is_begun(path):
        raise UsageError(
            "the folder holds a run already",
            where=str(path),
            remedy="go on with it by --resume, or name a new folder with --out",
        )
    return RunFolder(path)


def _numbered(name: str, resume: bool) -> Path:
    last = RUNS / name
    for number in count(2):
        if not last.exists() or (not resume and not _is_begun(last) and _is_run(last)):
            return last
        following = RUNS / f"{name}-{number}"
        if resume and not following.exists():
            return last
        last = following
    raise AssertionError("count never ends")


def _is_used(path: Path) -> bool:
    """Whether there is anything but what a run leaves that was killed at its first file."""
    return any(not file.name.startswith(".config.toml.") for file in path.iterdir())


def _is_run(path: Path) -> bool:
    return any((path / part / "config.toml").is_file() for part in _PARTS)


def _is_begun(path: Path) -> bool:
    """Whether there is something to lose: weights, or the checkpoint of an epoch."""
    runs = [RunFolder(path / part) for part in _PARTS]
    return any(run.weights.is_file() or run.checkpoint.is_file() for run in runs)
