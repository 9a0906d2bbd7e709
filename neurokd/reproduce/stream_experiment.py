"""`StreamExperiment`: the definition of a table or figure of continual learning, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Plot = Literal["arms", "sizes", "surface", "winners", "alignment", "lengths", "tasks"]
"""Which picture is drawn; `neurokd.reproduce.stream_figure` has them all."""


@dataclass(frozen=True)
class Quantity:
    """A number that a run ends with; ``key`` is where ``continual.json`` has it.

    ``scale`` is what it is shown in: 100 for per cent. ``bound`` stands before the paper's number
    where the paper gives no more than a limit. ``rises``: whether more is better.
    """

    key: str
    label: str
    scale: float = 100.0
    bound: str = ""
    rises: bool = True


VAL_ACC = Quantity("val_acc", "Val.Acc (%)")
BWT = Quantity("bwt", "BWT (points)")
FORGETTING = Quantity("forgetting", "forgetting (points)", rises=False)


@dataclass(frozen=True)
class StreamArm:
    """One row: its network and methods, over those of the data set.

    ``methods`` names the sections of `ContinualConfig`; what is in one goes over the data set's
    coefficients of that method. ``length`` is the part of the epochs that it learns for.
    ``published`` holds the paper's numbers by data set and key, as the paper prints them.
    ``at`` is where it stands in a figure: one or two numbers.
    """

    name: str
    label: str
    network: Mapping[str, Any] = field(default_factory=dict)
    learning: Mapping[str, Any] = field(default_factory=dict)
    methods: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    length: float = 1.0
    published: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    at: tuple[float, ...] = ()


@dataclass(frozen=True)
class StreamBase:
    """A data set as a stream, at its full length: epochs of a task, N_gaba, coefficients.

    ``embedded``: not the samples themselves are learned but embeddings, those of ``embedding`` if
    it names an extractor, or of a file. ``note`` is what differs from the paper.
    """

    data: str
    epochs: int
    switch_samples: int
    methods: Mapping[str, Mapping[str, Any]]
    per_task: int = 2
    embedding: str | None = None
    embedded: bool = False
    note: str = ""


@dataclass(frozen=True)
class StreamExperiment:
    """Arms on streams, and what of each is compared with the paper.

    The first of ``quantities`` decides orders and gains. ``baseline`` is the arm that the others
    are compared with, if there is one, ``proposed`` the paper's method. ``setting`` says what the
    published numbers are. ``points`` is the number of samplings within a task, which curves need.
    """

    name: str
    title: str
    setting: str
    arms: tuple[StreamArm, ...]
    quantities: tuple[Quantity, ...]
    bases: Mapping[str, StreamBase]
    data: tuple[str, ...]
    plot: Plot = "arms"
    neurons: int = 10_000
    baseline: str | None = None
    proposed: str | None = None
    points: int = 0
