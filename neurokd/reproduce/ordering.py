"""Whether the arms come out in the order that the paper claims."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from neurokd.reproduce.statistics import Difference, paired


@dataclass(frozen=True)
class Step:
    """One claim: ``better`` > ``worse``."""

    better: str
    worse: str
    difference: Difference | None

    @property
    def holds(self) -> bool | None:
        """Whether the mean difference is positive; None where a pair is missing."""
        return None if self.difference is None else self.difference.mean > 0

    @property
    def beyond_error(self) -> bool | None:
        """Whether it is so by more than its standard error."""
        return None if self.difference is None else self.difference.beyond_error


@dataclass(frozen=True)
class Ordering:
    """A claimed chain of arms, best first, link by link."""

    arms: tuple[str, ...]
    steps: tuple[Step, ...]

    @property
    def holds(self) -> bool | None:
        """Whether every link holds; False as soon as one does not, None if one is unknown."""
        return _all([step.holds for step in self.steps])

    @property
    def beyond_error(self) -> bool | None:
        """Whether every link holds by more than its standard error."""
        return _all([step.beyond_error for step in self.steps])


def check_ordering(arms: Sequence[str], accuracies: Mapping[str, Mapping[int, float]]) -> Ordering:
    """The chain with its links measured; ``accuracies`` are by arm and seed."""
    links = zip(arms, arms[1:], strict=False)
    steps = [Step(a, b, paired(accuracies.get(a, {}), accuracies.get(b, {}))) for a, b in links]
    return Ordering(tuple(arms), tuple(steps))


def _all(answers: Sequence[bool | None]) -> bool | None:
    if False in answers:
        return False
    return None if None in answers else True
