"""What an emulation sees: the variables asked for, messages counted, overflows by step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from neurokd.hardware.counts import count
from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.population import output_variable
from neurokd.hardware.run import Overflow, Run


class Observations:
    """Records, counts and overflows of ``samples`` samples over ``steps`` chip steps, to be filled.

    ``messages[population]`` counts each neuron's messages, int64 of the population's shape.
    """

    def __init__(
        self, network: DeployedNetwork, record: tuple[str, ...], steps: int, samples: int
    ) -> None:
        self._network, self._steps, self._samples = network, steps, samples
        self.messages = {p.name: np.zeros(p.shape, dtype=np.int64) for p in network.populations}
        self._overflows: Counter[tuple[str, str, int]] = Counter()
        self._records: dict[str, dict[str, NDArray[np.int32]]] = {}
        for population in network.populations:
            wanted = [v for v in record if v in (*population.variables, "spikes")]
            if wanted:
                self._records[population.name] = {
                    variable: np.zeros((steps, samples, *population.shape), dtype=np.int32)
                    for variable in wanted
                }
        output = network.population(network.output)
        self._output_variable = output_variable(output)
        kept = self._records.get(network.output, {}).get(self._output_variable)
        self._output = (
            np.zeros((steps, samples, *output.shape), dtype=np.int32) if kept is None else kept
        )

    def wanted(self, name: str) -> set[str]:
        """The variables of a population that are recorded."""
        kept = set(self._records.get(name, {}))
        return kept | {self._output_variable} if name == self._network.output else kept

    def record(self, name: str, variable: str) -> NDArray[np.int32]:
        """Where a wanted variable goes: (T, B, neurons), the neurons in C order."""
        kept = self._records.get(name, {}).get(variable, self._output)
        return kept.reshape(*kept.shape[:2], -1)

    def report(self, name: str, variable: str, totals: Iterable[int], at: int) -> None:
        """Note how many (sample, neuron) pairs left their range at each step from index ``at``."""
        for step, neurons in enumerate(totals, start=at + 1):
            if neurons:
                self._overflows[(name, variable, step)] += int(neurons)

    def result(self, backend: str) -> Run:
        """The run, once all samples have been through."""
        network = self._network
        return Run(
            backend=backend,
            output=self._output,
            records=self._records,
            counts=count(network, self.messages, steps=self._steps, samples=self._samples),
            depths={p.name: network.depth(p.name) for p in network.populations},
            latency=network.latency,
            output_is_spikes=self._output_variable == "spikes",
            overflows=tuple(
                Overflow(population, variable, step, neurons)
                for (population, variable, step), neurons in sorted(
                    self._overflows.items(), key=lambda item: (item[0][2], item[0])
                )
            ),
        )
