"""One network in the emulator and in Lava: the first difference, and the least network with one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from lava_features import COMPILED, dynamics_features, structure_features
from lava_grammar import Case, random_case

from neurokd.errors import CapacityError, NeurokdError
from neurokd.hardware.emulator import Engine, emulate
from neurokd.hardware.kernel_ports import why_not_compiled
from neurokd.hardware.lava_backend import simulate_lava
from neurokd.hardware.lava_process import LavaWorker
from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.population import CurrentInputPopulation, Population
from neurokd.hardware.projection import Projection
from neurokd.hardware.run import RECORDABLE, Run

TIME_LIMIT_S = 60.0


@dataclass(frozen=True)
class Outcome:
    """What came of a network. ``refused``: the emulator knows no exact arithmetic for it."""

    seed: int
    features: frozenset[str]
    values: int
    """Integers compared."""
    lava: str | None = None
    """Digest of all that Lava answered, so that another emulator can be held against it later."""
    refused: str | None = None
    difference: str | None = None


def check(case: Case, worker: LavaWorker) -> Outcome:
    """Run a network on both sides and compare every integer of every step."""
    try:
        expected = emulations(case)
    except CapacityError as error:
        return Outcome(case.seed, frozenset(), 0, refused=error.line())
    found = simulate_lava(
        case.net,
        case.x,
        case.steps,
        record=RECORDABLE,
        worker=worker,
        time_limit_s=TIME_LIMIT_S,
    )
    features = structure_features(case) | dynamics_features(case, expected["torch"])
    if "compiled" in expected:
        features |= {f"{COMPILED}{feature}" for feature in features}
    return Outcome(
        case.seed,
        frozenset(features),
        sum(v.size for records in found.records.values() for v in records.values()),
        lava=digest(found),
        difference=difference(expected, found),
    )


def emulations(case: Case) -> dict[str, Run]:
    """The run of each engine that computes the network."""
    engines: list[Engine] = ["torch"]
    if why_not_compiled(case.net) is None:
        engines.append("compiled")
    return {
        engine: emulate(case.net, case.x, case.steps, record=RECORDABLE, engine=engine)
        for engine in engines
    }


def difference(expected: dict[str, Run], found: Run) -> str | None:
    """The first difference of an engine to Lava, or of its overflows to the other engine's."""
    for engine, run in expected.items():
        text = first_difference(run, found)
        if text is not None:
            return f"engine {engine}: {text}"
        if run.overflows != expected["torch"].overflows:
            return f"engine {engine}: other overflows than engine torch"
    return None


def digest(run: Run) -> str:
    """SHA-256 of every recorded integer, the output and the counts."""
    hashed = hashlib.sha256(repr((run.counts, sorted(run.depths.items()))).encode())
    for name, variables in sorted(run.records.items()):
        for variable, values in sorted(variables.items()):
            hashed.update(f"{name} {variable} {values.shape}".encode())
            hashed.update(values.astype("<i4").tobytes())
    hashed.update(run.output.astype("<i4").tobytes())
    return hashed.hexdigest()


def first_difference(expected: Run, found: Run) -> str | None:
    """The earliest integer that differs, in words; None where the runs are the same."""
    if {k: set(v) for k, v in expected.records.items()} != {
        k: set(v) for k, v in found.records.items()
    }:
        return "other variables were recorded"
    differences = []
    for rank, (name, variables) in enumerate(expected.records.items()):
        for variable, values in variables.items():
            other = found.records[name][variable]
            where = np.argwhere(values != other)
            if len(where):
                at = tuple(int(i) for i in where[0])
                text = (
                    f"{variable} of {name!r}, step {at[0] + 1}, sample {at[1]}, neuron {at[2:]}: "
                    f"emulator {values[at]}, Lava {other[at]} ({len(where)} differ)"
                )
                differences.append((at[0], rank, text))
    if differences:
        return min(differences)[2]
    for name in ("counts", "depths", "latency", "output_is_spikes"):
        if getattr(expected, name) != getattr(found, name):
            return f"{name}: {getattr(expected, name)} and {getattr(found, name)}"
    return None if np.array_equal(expected.output, found.output) else "output"


def shrink(case: Case, differs: Callable[[Case], bool]) -> Case:
    """The least case that still differs which dropping parts, samples and steps leads to."""
    smaller = True
    while smaller:
        smaller = False
        for candidate in _simpler(case):
            if differs(candidate):
                case, smaller = candidate, True
                break
    return case


def _simpler(case: Case) -> Iterator[Case]:
    if case.samples > 1:
        constant = isinstance(case.net.input, CurrentInputPopulation)
        for sample in range(case.samples):
            only = slice(sample, sample + 1)
            yield replace(case, x=case.x[only] if constant else case.x[:, only])
    if case.steps > 1:
        fewer = case.steps - 1
        constant = isinstance(case.net.input, CurrentInputPopulation)
        yield replace(case, x=case.x if constant else case.x[:fewer], steps=fewer)
    net = case.net
    for dropped in net.populations:
        if dropped.name not in (net.input.name, net.output):
            kept = tuple(p for p in net.projections if dropped.name not in (p.source, p.target))
            populations = tuple(p for p in net.populations if p is not dropped)
            yield from _network(case, populations, kept)
    for i in range(len(net.projections)):
        kept = net.projections[:i] + net.projections[i + 1 :]
        yield from _network(case, net.populations, kept)


def _network(
    case: Case, populations: tuple[Population, ...], projections: tuple[Projection, ...]
) -> Iterator[Case]:
    output = case.net.output
    if all(p.name != output for p in populations):
        return
    try:
        net = DeployedNetwork(populations, projections, output, case.net.chip, case.net.steps)
    except NeurokdError:  # what is left is no network
        return
    yield replace(case, net=net)


def describe(case: Case) -> str:
    """Enough to build the case again by hand."""
    lines = [f"seed {case.seed}, {case.steps} steps, {case.samples} samples"]
    lines += [repr(item) for item in (*case.net.populations, *case.net.projections)]
    return "\n".join([*lines, f"x = {case.x.tolist()}"])


def check_seed(seed: int, worker: LavaWorker) -> Outcome:
    """The network of a seed; a difference is reported with the least network that shows it."""
    case = random_case(seed)
    outcome = check(case, worker)
    if outcome.difference is None:
        return outcome
    least = shrink(case, lambda candidate: check(candidate, worker).difference is not None)
    shown = f"{check(least, worker).difference}\n{describe(least)}"
    return replace(outcome, difference=f"seed {seed}: {outcome.difference}\nshrunk: {shown}")
