"""Streams of the SSD paper: how long each is learned, and the coefficients of its baselines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from neurokd.reproduce.stream_experiment import StreamArm, StreamBase

_MNIST = {"ewc": {"weight": 200.0, "beta": 0.005}, "si": {"weight": 1500.0, "beta": 0.005}}
_CIFAR = {"ewc": {"weight": 100.0, "beta": 0.08}, "si": {"weight": 1350.0, "beta": 0.02}}
_PIXELS = (
    "pixels in [0, 1] as in the reference code of SDMLP, 500 epochs a task at full length as there "
    "(the paper says 2,000), no pretraining"
)
_STAND_IN = (
    "the papers' extractor and its ImageNet32 were never released: embeddings of another extractor "
    "and no pretraining, so that the levels differ; compare orders and gaps"
)

BASES = {
    "mnist": StreamBase("mnist", 500, 5_000_000, _MNIST, note=_PIXELS),
    "mnist-subset": StreamBase(
        "mnist-subset", 500, 400_000, _MNIST, note=f"5,000 digits of MNIST; {_PIXELS}"
    ),
    "fashion-mnist": StreamBase(
        "fashion-mnist", 500, 5_000_000, _MNIST, note=f"not in the paper; {_PIXELS}"
    ),
    "cifar10": StreamBase(
        "cifar10",
        2000,
        5_000_000,
        _CIFAR,
        embedding="embed-cifar10-convmixer",
        embedded=True,
        note=_STAND_IN,
    ),
    "cifar100": StreamBase("cifar100", 2000, 1_000_000, _CIFAR, embedded=True, note=_STAND_IN),
}
"""N_gaba as the reference has it without pretraining, 5 million, and with the few samples of a task
of CIFAR-100 and of the subset as much as ends the switch within the first task."""

COMBINED = {"learning_rate": 0.03, "momentum": 0.9}
"""SGD of a Top-K network with EWC, as the reference has it."""


def accuracies(
    cifar10: float | None = None, cifar100: float | None = None, mnist: float | None = None
) -> dict[str, dict[str, float]]:
    """Published Val.Acc of an arm by data set."""
    given = {"cifar10": cifar10, "cifar100": cifar100, "mnist": mnist}
    return {name: {"val_acc": value} for name, value in given.items() if value is not None}


def sdmlp(k: int, published: Mapping[str, Mapping[str, float]], *, named: bool) -> StreamArm:
    """SDMLP alone; ``named``: k is part of its name."""
    return StreamArm(
        _name("sdmlp", k, named), _label("SDMLP", k, named), {"k": k}, published=published
    )


def ssd(
    k: int,
    published: Mapping[str, Mapping[str, float]],
    *,
    named: bool,
    options: Mapping[str, Any] | None = None,
) -> StreamArm:
    """SDMLP with SSD."""
    return StreamArm(
        _name("ssd", k, named),
        _label("SSD", k, named),
        {"k": k},
        methods={"ssd": options or {}},
        published=published,
    )


def combined(k: int, published: Mapping[str, Mapping[str, float]], *, named: bool) -> StreamArm:
    """SDMLP with SSD and EWC."""
    return StreamArm(
        _name("ssd-ewc", k, named),
        _label("SSD + EWC", k, named),
        {"k": k},
        COMBINED,
        {"ssd": {}, "ewc": {}},
        published=published,
    )


def relu(method: str, label: str, published: Mapping[str, Mapping[str, float]]) -> StreamArm:
    """A ReLU network of the same size with a penalty."""
    return StreamArm(method, label, {"name": "mlp"}, methods={method: {}}, published=published)


def _name(name: str, k: int, named: bool) -> str:
    return f"{name}-k{k}" if named else name


def _label(label: str, k: int, named: bool) -> str:
    return f"{label}, k = {k}" if named else label
