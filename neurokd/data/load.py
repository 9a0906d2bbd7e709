"""DATA of the command line: a data set's name with an optional split, or an `.npz` file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from neurokd.data.labelled import LabelledData
from neurokd.data.mnist import mnist, mnist_subset
from neurokd.data.npz import read_npz
from neurokd.errors import UsageError

DATA_SETS: dict[str, Callable[[str], LabelledData]] = {
    "mnist": mnist,
    "mnist-subset": mnist_subset,
}
SPLITS = ("train", "test")


def load_data(source: str, split: str = "test") -> LabelledData:
    """Load ``name``, ``name:split`` or ``file.npz``; ``split`` is the one meant without a colon.

    Raises: `UsageError` for an unknown name or split, `FileFormatError` for a bad file.
    """
    if source.endswith(".npz"):
        return read_npz(Path(source))
    name, _, named_split = source.partition(":")
    split = named_split or split
    if name not in DATA_SETS:
        raise UsageError(
            "unknown data set",
            expected=f"{', '.join(DATA_SETS)}, or a file that ends in .npz",
            found=repr(source),
        )
    if split not in SPLITS:
        raise UsageError(
            "unknown split", where=name, expected=" or ".join(SPLITS), found=repr(split)
        )
    return DATA_SETS[name](split)
