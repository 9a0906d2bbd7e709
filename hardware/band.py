"""`Band`: a number known only within limits: low, nominal, high."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from neurokd.errors import CapacityError


@dataclass(frozen=True)
class Band:
    """Three non-negative numbers of one unit, low ≤ nominal ≤ high.

    Sums and products combine lows with lows and highs with highs: the constants are taken to err
    in the same direction, which is the widest the result can be.
    """

    low: float
    nominal: float
    high: float

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.nominal <= self.high < float("inf"):
            raise CapacityError(
                "a band is not ordered",
                expected="0 ≤ low ≤ nominal ≤ high",
                found=f"{self.low}, {self.nominal}, {self.high}",
            )

    @classmethod
    def exact(cls, value: float) -> Band:
        """A number without uncertainty."""
        return cls(value, value, value)

    @classmethod
    def total(cls, bands: Iterable[Band]) -> Band:
        """The sum of any number of bands, 0 of none."""
        result = cls.exact(0.0)
        for band in bands:
            result = result + band
        return result

    def __add__(self, other: Band) -> Band:
        return Band(self.low + other.low, self.nominal + other.nominal, self.high + other.high)

    def __mul__(self, other: Band | float) -> Band:
        factor = other if isinstance(other, Band) else Band.exact(other)
        return Band(self.low * factor.low, self.nominal * factor.nominal, self.high * factor.high)

    def to_dict(self) -> dict[str, float]:
        """The band as JSON."""
        return {"low": self.low, "nominal": self.nominal, "high": self.high}
