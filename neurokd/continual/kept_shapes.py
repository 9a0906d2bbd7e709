"""`require_shapes`: what a checkpoint holds fits the learner that takes it up."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from neurokd.errors import FileFormatError


def require_shapes(
    state: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]], what: str
) -> None:
    """Raise `FileFormatError` unless ``state`` has these names and shapes, and no others."""
    found = {key: tuple(value.shape) for key, value in state.items()}
    if found != dict(shapes):
        raise FileFormatError(
            f"the {what} belongs to another learner",
            where="last.ckpt",
            expected=str(dict(shapes)),
            found=str(found),
            remedy="start without --resume",
        )
