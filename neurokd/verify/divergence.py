"""First divergence: where two runs of one network stop being the same integers."""

from __future__ import annotations

import numpy as np

from neurokd.errors import BackendFailedError
from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.population import InputPopulation, LIFPopulation, Population
from neurokd.hardware.run import Run
from neurokd.verify.verdict import Divergence, Identity


def compare_runs(network: DeployedNetwork, expected: Run, found: Run) -> Identity:
    """Compare all state and messages of every population on the chip, at every step and sample.

    The first divergence is the earliest step; within it the first population in topological order,
    then its variables in their order, spikes last, then the lowest sample and neuron.

    Raises: `BackendFailedError` if a run lacks a record or has one of another shape.
    """
    populations = [p for p in network.populations if not isinstance(p, InputPopulation)]
    compared, earliest = 0, None
    variables: dict[str, None] = {}
    for population in populations:
        for variable in _variables(population, expected, found):
            variables[variable] = None
            want = expected.records[population.name][variable]
            have = found.records[population.name][variable]
            if want.shape != have.shape:
                raise BackendFailedError(
                    f"the two runtimes recorded {variable} in different shapes",
                    where=f"population {population.name!r}",
                    expected=f"{want.shape} ({expected.backend})",
                    found=f"{have.shape} ({found.backend})",
                )
            compared += want.size
            differing = np.argwhere(want != have)
            # argwhere is in C order, time first: its first row is the earliest of this variable.
            if len(differing) and (earliest is None or differing[0][0] + 1 < earliest.step):
                index = tuple(int(i) for i in differing[0])
                earliest = Divergence(
                    population=population.name,
                    variable=variable,
                    step=index[0] + 1,
                    sample=index[1],
                    neuron=index[2:],
                    expected=int(want[index]),
                    found=int(have[index]),
                )
    return Identity(
        backend=found.backend,
        against=expected.backend,
        samples=int(expected.output.shape[1]),
        variables=tuple(variables),
        populations=tuple(p.name for p in populations),
        compared=compared,
        identical=earliest is None,
        first_divergence=earliest,
    )


def _variables(population: Population, expected: Run, found: Run) -> list[str]:
    """The variables to compare: all, spikes of an accumulator only where both record them."""
    silent = isinstance(population, LIFPopulation) and not population.spiking
    wanted = []
    for variable in (*population.variables, "spikes"):
        missing = [r.backend for r in (expected, found) if variable not in _record(r, population)]
        if not missing:
            wanted.append(variable)
        elif variable != "spikes" or not silent:
            raise BackendFailedError(
                f"{variable} was not recorded, so that identity cannot be shown",
                where=f"population {population.name!r}",
                found=f"no {variable} from {', '.join(missing)}",
            )
    return wanted


def _record(run: Run, population: Population) -> tuple[str, ...]:
    return tuple(run.records.get(population.name, ()))
