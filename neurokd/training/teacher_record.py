"""Which teacher a run has: by the fingerprint of its weights, and where they came from."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from neurokd.errors import FileFormatError, UsageError
from neurokd.run import RunFolder, state_bytes

if TYPE_CHECKING:
    from torch import nn

RECORD = "teacher.json"


def teacher_fingerprint(teacher: nn.Module) -> str:
    """SHA-256 of the teacher's parameters and buffers, as `RunFolder.save_model` writes them.

    Of a teacher that was loaded from a run it is the fingerprint of that run.
    """
    return hashlib.sha256(state_bytes(teacher)).hexdigest()


def record_teacher(folder: RunFolder, teacher: nn.Module | None, source: str | None) -> None:
    """Write ``teacher.json`` when a run begins, or remove that of an earlier run.

    ``source`` is the run or the file that the weights came from; None if the caller does not say.
    """
    if teacher is None:
        (folder.path / RECORD).unlink(missing_ok=True)
    else:
        content = {"source": source, "sha256": teacher_fingerprint(teacher)}
        folder.write_json(RECORD, content)


def require_same_teacher(folder: RunFolder, teacher: nn.Module | None) -> None:
    """Raise if a run is to go on with another teacher than it began with.

    Raises: `UsageError` for another teacher, `FileFormatError` for a record that is missing or
    broken.
    """
    if teacher is None:
        return
    file = folder.path / RECORD
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        source, recorded = record["source"], record["sha256"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise FileFormatError(
            "the run does not say which teacher it began with",
            where=str(file),
            found=f"{type(error).__name__}: {error}",
            remedy="start again without --resume",
        ) from error
    found = teacher_fingerprint(teacher)
    if recorded != found:
        raise UsageError(
            "the run began with another teacher",
            where=str(folder.path),
            expected=f"weights {recorded[:12]}…" + (f" of {source}" if source else ""),
            found=f"{found[:12]}…",
            remedy="resume with the --teacher of the interrupted run",
        )
