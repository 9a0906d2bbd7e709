"""`Profiled`: counts, energy and latency as ``profile.json`` holds them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from neurokd.errors import FileFormatError


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class Range(_Part):
    """Low, nominal and high value of an estimate."""

    low: float = Field(ge=0)
    nominal: float
    high: float

    @model_validator(mode="after")
    def _ordered(self) -> Range:
        if not self.low <= self.nominal <= self.high:
            raise ValueError("low ≤ nominal ≤ high does not hold")
        return self


class Layer(_Part):
    """One population, per sample."""

    name: str
    neurons: int
    spikes_per_sample: float
    spikes_per_neuron_step: float
    synaptic_operations_per_sample: float
    neuron_updates_per_sample: float
    energy_pj: Range


class EnergyLine(_Part):
    """One term of the energy model, per sample, and how well its constants are known."""

    name: str
    energy_pj: Range
    grade: str
    note: str = ""


class Cores(_Part):
    """The cores of a mapping or, not mapped, a lower bound; and the limit that binds."""

    count: int
    chips: int
    binding: str
    by_population: dict[str, int]
    mapped: bool


class Profiled(_Part):
    """What was counted and what follows from it."""

    chip: str
    samples: int
    steps: int
    layers: tuple[Layer, ...] = Field(min_length=1)
    energy_lines: tuple[EnergyLine, ...] = Field(min_length=1)
    energy_pj: Range
    latency_us: Range
    latency_grade: str
    latency_note: str = ""
    cores: Cores
    synaptic_memory_bits: int
    uncounted: tuple[str, ...]
    notes: tuple[str, ...]


def parse_profile(values: Mapping[str, Any], where: str) -> Profiled:
    """The profile in a JSON object; `FileFormatError` names the first field that is not right."""
    try:
        return Profiled.model_validate(values)
    except ValidationError as error:
        problem = error.errors()[0]
        raise FileFormatError(
            "this is not a profile",
            where=where,
            found=f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}",
        ) from error
