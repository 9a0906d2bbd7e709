"""DATA of the command line: a data set's name with an optional split, or a file."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from neurokd.data.cifar import CIFAR10, CIFAR100, cifar10, cifar100
from neurokd.data.embeddings import SUFFIX, read_embeddings
from neurokd.data.events import BINARY, cifar10_dvs, dvs_gesture, nmnist
from neurokd.data.events.cifar10_dvs import CIFAR10_DVS
from neurokd.data.events.dvs_gesture import DVS_GESTURE
from neurokd.data.events.nmnist import NMNIST
from neurokd.data.fashion_mnist import FASHION_MNIST, fashion_mnist
from neurokd.data.labelled import LabelledData
from neurokd.data.mnist import MNIST, mnist, mnist_subset
from neurokd.data.npz import read_npz
from neurokd.data.tiny_imagenet import TINY_IMAGENET, tiny_imagenet
from neurokd.errors import ShapeMismatchError, UsageError

Loader = Callable[[str, int | None], LabelledData]
"""(split, steps) → data; ``steps`` is the number of event frames, None for the set's default."""


def _static(images: Callable[[str], LabelledData]) -> Loader:
    return lambda split, steps: images(split)


DATA_SETS: dict[str, Loader] = {
    "mnist": _static(mnist),
    "mnist-subset": _static(mnist_subset),
    "fashion-mnist": _static(fashion_mnist),
    "cifar10": _static(cifar10),
    "cifar100": _static(cifar100),
    "tiny-imagenet": _static(tiny_imagenet),
    "nmnist": nmnist,
    "nmnist-binary": partial(nmnist, largest=BINARY),
    "cifar10-dvs": cifar10_dvs,
    "cifar10-dvs-binary": partial(cifar10_dvs, largest=BINARY),
    "dvs-gesture": dvs_gesture,
    "dvs-gesture-binary": partial(dvs_gesture, largest=BINARY),
}
PUBLISHED_SETS = {
    each.name: each
    for each in (
        MNIST,
        FASHION_MNIST,
        CIFAR10,
        CIFAR100,
        TINY_IMAGENET,
        NMNIST,
        CIFAR10_DVS,
        DVS_GESTURE,
    )
}
"""Those that are downloaded where they are not given."""
SPLITS = ("train", "test")


def load_data(source: str, split: str = "test", *, steps: int | None = None) -> LabelledData:
    """Load ``name``, ``name:split`` or ``file.npz``; ``split`` is the one meant without a colon.

    ``name`` is that of a data set, a folder with ``train.npz`` and ``test.npz``, or a file of
    embeddings, ``file.safetensors``.
    ``steps`` is the number of frames that recordings of events are cut into; images ignore it.
    Raises: `UsageError` for an unknown name or split, `FileFormatError` for a bad file,
    `DownloadError` for a set that is not here and cannot be had.
    """
    if source.endswith(".npz"):
        return read_npz(Path(source))
    name, _, named_split = source.partition(":")
    split = named_split or split
    is_folder = _is_folder(name)
    is_embedded = name.endswith(SUFFIX)
    if name not in DATA_SETS and not is_folder and not is_embedded:
        raise UsageError(
            "unknown data set",
            expected=f"{', '.join(DATA_SETS)}, a file that ends in .npz or {SUFFIX}, or a folder "
            "of train.npz and test.npz",
            found=repr(source),
        )
    if split not in SPLITS:
        raise UsageError(
            "unknown split", where=name, expected=" or ".join(SPLITS), found=repr(split)
        )
    if is_folder:
        return read_npz(Path(name) / f"{split}.npz")
    if is_embedded:
        embeddings = read_embeddings(Path(name))
        return embeddings.train if split == "train" else embeddings.test
    if steps is not None and steps < 1:
        raise UsageError(
            "the number of steps must be positive", where=name, expected="≥ 1", found=str(steps)
        )
    return DATA_SETS[name](split, steps)


def _is_folder(name: str) -> bool:
    return bool(name) and name not in DATA_SETS and Path(name).is_dir()


def require_alike(source: str, train: LabelledData, classes: int) -> None:
    """Raise a typed error if a folder's test samples are not of the kind of ``train``.

    Whatever is wrong with ``test.npz`` is then said before training, not after it. Data sets by
    name are alike by themselves.
    """
    if not _is_folder(source):
        return
    test = load_data(source, "test")
    if (test.x.shape[1:], test.events) != (train.x.shape[1:], train.events):
        raise ShapeMismatchError(
            "the test samples are of another kind than the training samples",
            where=test.name,
            expected=_kind(train),
            found=_kind(test),
        )
    if test.classes > classes:
        raise UsageError(
            "the test samples have more classes than the network",
            where=test.name,
            expected=f"at most {classes}",
            found=str(test.classes),
        )


def _kind(data: LabelledData) -> str:
    return f"{'event frames' if data.events else 'samples'} of {data.x.shape[1:]}"


def require_splits(source: str) -> None:
    """Raise `UsageError` for data that training and testing would share."""
    if source.endswith(".npz") or ":" in source:
        raise UsageError(
            "a network would be tested on what it was trained on",
            where="data",
            expected="a data set's name, or a folder with train.npz and test.npz",
            found=repr(source),
        )
