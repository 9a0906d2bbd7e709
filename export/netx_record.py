"""What a netx file cannot say of a network: kept beside its layers, where lava-dl does not look."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any

from neurokd.errors import FileFormatError
from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.population import (
    DeltaInputPopulation,
    InputPopulation,
    LIFPopulation,
    Population,
)
from neurokd.hardware.projection import Projection

RECORD = "neurokd"
"""Name of the data set, at the root of the file."""
_FORMAT = "neurokd.netx/1"


@dataclass(frozen=True)
class NetxRecord:
    """Names, chip, the encoding of the input, the readout, and how lava-dl has to load the file.

    ``populations`` and ``projections`` map lava-dl's names ("1.conv") to those of the network;
    ``start_steps`` has the lava-dl names of populations that start later than at step 1.
    """

    populations: dict[str, str] = field(default_factory=dict)
    projections: dict[str, str] = field(default_factory=dict)
    chip: str = ""
    input: dict[str, Any] = field(default_factory=dict)
    readout: bool | None = None
    spike_exp: int | None = None
    start_steps: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, text: Any) -> NetxRecord:
        """The record in a file; an empty one where there is none.

        Raises: `FileFormatError` for a damaged one.
        """
        if text is None:
            return cls()
        try:
            values = json.loads(text)
            if values.pop("format") != _FORMAT:
                raise ValueError(f"format is not {_FORMAT}")
            record = cls(**values)
            texts = [record.chip, *record.populations.values(), *record.projections.values()]
            if not all(isinstance(text, str) and text.isprintable() for text in texts):
                raise ValueError("a name is no printable text")
        except (TypeError, ValueError, AttributeError, KeyError) as error:
            raise FileFormatError(
                "what neurokd noted in the file is damaged",
                where=RECORD,
                found=f"{type(error).__name__}: {error}",
            ) from error
        return record

    def text(self) -> str:
        """The record as it stands in the file."""
        return json.dumps({"format": _FORMAT, **vars(self)}, sort_keys=True)

    def applied(self, network: DeployedNetwork) -> DeployedNetwork:
        """The network with what the record says of it.

        Raises: `FileFormatError` for a record that does not fit.
        """
        if not self.populations:
            return network
        try:
            populations = tuple(self._population(p, network) for p in network.populations)
            return replace(
                network,
                populations=populations,
                projections=tuple(self._projection(p) for p in network.projections),
                output=self.populations[network.output],
                chip=self.chip,
            )
        except (KeyError, TypeError) as error:
            raise FileFormatError(
                "what neurokd noted in the file does not fit its layers",
                where=RECORD,
                found=f"{type(error).__name__}: {error}",
            ) from error

    def _population(self, population: Population, network: DeployedNetwork) -> Population:
        name = self.populations[population.name]
        changes: dict[str, Any] = {"name": name}
        if isinstance(population, InputPopulation | DeltaInputPopulation):
            changes |= self.input
        if isinstance(population, LIFPopulation) and population.name == network.output:
            changes["spiking"] = population.spiking if self.readout is None else not self.readout
        if population.name in self.start_steps:
            changes["start_step"] = self.start_steps[population.name]
        return replace(population, **changes)

    def _projection(self, projection: Projection) -> Projection:
        return replace(
            projection,
            name=self.projections[projection.name],
            source=self.populations[projection.source],
            target=self.populations[projection.target],
        )
