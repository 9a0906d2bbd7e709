"""What a random network exercises: the features that conformance with Lava must have met."""

from __future__ import annotations

import numpy as np
from lava_grammar import Case

from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.population import (
    CurrentInputPopulation,
    DeltaInputPopulation,
    DeltaPopulation,
    InputPopulation,
    LIFPopulation,
    Population,
    SigmaDeltaPopulation,
    SigmaPopulation,
)
from neurokd.hardware.projection import (
    ConvProjection,
    DenseProjection,
    Projection,
    SparseProjection,
)
from neurokd.hardware.run import Run

_STATE_LIMIT = (1 << 23) - 1
_KINDS: dict[type, str] = {
    InputPopulation: "input",
    CurrentInputPopulation: "current input",
    DeltaInputPopulation: "delta input",
    LIFPopulation: "LIF",
    SigmaPopulation: "sigma",
    DeltaPopulation: "delta",
    SigmaDeltaPopulation: "sigma-delta",
    DenseProjection: "dense",
    SparseProjection: "sparse",
    ConvProjection: "conv",
}


COMPILED = "compiled kernels: "
"""Put before what a network meets that the emulator's compiled kernels have computed, too."""
_MODES = ("mixed", "excitatory", "inhibitory")
OFTEN = frozenset(
    {
        *_KINDS.values(),
        *(
            f"messages of {kind}"
            for kind in _KINDS.values()
            if kind not in ("dense", "sparse", "conv")
        ),
        "binary input",
        "graded signed input",
        "graded unsigned input",
        "accumulator",
        "activation identity",
        "activation relu",
        "start_step of LIF",
        "start_step of sigma-delta",
        *(f"{field} of sigma-delta" for field in ("cum_error", "spike_exp", "state_exp")),
        "negative messages of sigma-delta",
        *(
            f"{sort} messages into {kind}"
            for sort in ("binary", "graded")
            for kind in ("dense", "sparse", "conv")
        ),
        *(f"{mode} {kind}" for mode in _MODES for kind in ("dense", "sparse")),
        *(f"clipped weights of {kind}" for kind in ("dense", "sparse")),
        *(f"recurrent {kind}" for kind in ("dense", "sparse", "conv")),
        "loop to itself",
        "longer loop",
        *(
            f"{prefix}delayed {kind}"
            for prefix in ("", "graded messages into ")
            for kind in ("dense", "sparse")
        ),
        "delay above 30",
        *(f"{field} of conv" for field in ("stride", "padding", "dilation", "groups")),
        "several samples",
        "several projections into one population",
        "two projections between the same populations",
        "ways of unequal length",
        "u beyond 24 bits",
        "v at its lower limit",
        "overflow of u, LIF",
        "overflow of v, LIF",
        "overflow of a, from several kinds",
        *(
            f"{COMPILED}{feature}"
            for feature in (
                *("dense", "sparse", "conv", "delayed dense", "delayed sparse"),
                *("messages of LIF", "overflow of u, LIF", "overflow of v, LIF"),
            )
        ),
    }
)
"""What sixty networks have to meet."""
SOMETIMES = frozenset(
    {
        *(f"weight_exp {exponent}" for exponent in range(-8, 8)),
        *(f"weight_exp {exponent} of conv" for exponent in range(8)),
        *(f"num_weight_bits {bits}, {mode}" for bits in range(1, 9) for mode in _MODES),
        *(
            f"{guess} weights called {mode}, {kind}"
            for guess in _MODES
            for mode in _MODES
            for kind in ("dense", "sparse")
            if guess != mode
        ),
        *(f"overflow of a, from {kind}" for kind in ("dense", "sparse", "conv")),
        "overflow of a, from delayed sparse",
        "overflow of a, from dense and a right shift",
        *(f"overflow of {variable}, delta" for variable in ("act", "delta")),
        *(f"overflow of {variable}, sigma-delta" for variable in ("act", "delta", "sigma")),
        "overflow of threshold, LIF",
        "projection without synapses",
        *(f"start_step of {kind}" for kind in ("sigma", "delta")),
        *(
            f"{field} of {kind}"
            for field in ("cum_error", "spike_exp", "state_exp", "negative messages")
            for kind in ("delta", "delta input")
        ),
        "negative messages of sigma",
        f"{COMPILED}u beyond 24 bits",
        *(
            f"{COMPILED}{prefix} {kind}"
            for prefix in ("recurrent", "graded messages into")
            for kind in ("dense", "sparse", "conv")
        ),
    }
)
"""What three hundred networks have to meet."""


def kind(item: Population | Projection) -> str:
    """The kind of a population or projection, in words."""
    return _KINDS[type(item)]


def structure_features(case: Case) -> set[str]:
    """What can be told from the network alone."""
    net = case.net
    found = {"several samples"} if case.samples > 1 else set()
    found |= {feature for p in net.populations for feature in _of_population(p)}
    for projection in net.projections:
        found |= _of_projection(projection, net)
    for population in net.populations:
        incoming = net.incoming(population.name)
        if len(incoming) > 1:
            found.add("several projections into one population")
        if len({net.depth(p.source) for p in incoming if not p.recurrent}) > 1:
            found.add("ways of unequal length")
        if len({p.source for p in incoming}) < len(incoming):
            found.add("two projections between the same populations")
    return found


def _of_population(population: Population) -> set[str]:
    name = kind(population)
    found = {name}
    if isinstance(population, InputPopulation):
        sign = "signed" if population.signed else "unsigned"
        found.add("binary input" if population.encoding == "spikes" else f"graded {sign} input")
    if getattr(population, "start_step", 1) > 1:
        found.add(f"start_step of {name}")
    if isinstance(population, (DeltaInputPopulation, DeltaPopulation, SigmaDeltaPopulation)):
        if population.cum_error:
            found.add(f"cum_error of {name}")
        if population.spike_exp:
            found.add(f"spike_exp of {name}")
        if population.state_exp:
            found.add(f"state_exp of {name}")
    if isinstance(population, SigmaDeltaPopulation):
        found.add(f"activation {population.activation}")
    if isinstance(population, LIFPopulation) and not population.spiking:
        found.add("accumulator")
    return found


def _of_projection(projection: Projection, net: DeployedNetwork) -> set[str]:
    name = kind(projection)
    binary = net.population(projection.source).max_message == 1
    found = {name, f"{'binary' if binary else 'graded'} messages into {name}"}
    if projection.recurrent:
        found.add(f"recurrent {name}")
        found.add("loop to itself" if projection.source == projection.target else "longer loop")
    if isinstance(projection, ConvProjection):
        for field, plain in (("stride", (1, 1)), ("padding", (0, 0)), ("dilation", (1, 1))):
            if getattr(projection, field) != plain:
                found.add(f"{field} of conv")
        if projection.groups > 1:
            found.add("groups of conv")
        found.add(f"weight_exp {projection.weight_exp} of conv")
        return found
    found.add(f"weight_exp {projection.weight_exp}")
    found.add(f"num_weight_bits {projection.num_weight_bits}, {projection.sign_mode}")
    found.add(f"{projection.sign_mode} {name}")
    weight = projection.weight
    if weight.size:
        guess = "excitatory" if weight.min() >= 0 else "mixed" if weight.max() > 0 else "inhibitory"
        if guess != projection.sign_mode:
            found.add(f"{guess} weights called {projection.sign_mode}, {name}")
        if np.abs(weight).max() > 256:
            found.add(f"clipped weights of {name}")
    else:
        found.add("projection without synapses")
    if projection.delays is not None:
        found.add(f"delayed {name}")
        found.add(f"graded messages into delayed {name}" if not binary else f"delayed {name}")
        if projection.delays.max() > 30:
            found.add("delay above 30")
    return found


def _delivery(projection: Projection) -> str:
    delayed = getattr(projection, "delays", None) is not None
    shift = " and a right shift" if projection.weight_exp < 0 else ""
    return f"{'delayed ' if delayed else ''}{kind(projection)}{shift}"


def dynamics_features(case: Case, run: Run) -> set[str]:
    """What happened in the run: messages, and every way in which a variable left its range."""
    found = set()
    for population in case.net.populations:
        records, name = run.records[population.name], kind(population)
        if records["spikes"].any():
            found.add(f"messages of {name}")
        if (records["spikes"] < 0).any():
            found.add(f"negative messages of {name}")
        if "v" in records and name == "LIF":
            if records["v"].min() == -_STATE_LIMIT:
                found.add("v at its lower limit")
            if np.abs(records["u"].astype(np.int64)).max() > _STATE_LIMIT + 1:
                found.add("u beyond 24 bits")
    for overflow in run.overflows:
        population = case.net.population(overflow.population)
        if overflow.variable == "a":
            kinds = {_delivery(p) for p in case.net.incoming(population.name)}
            source = kinds.pop() if len(kinds) == 1 else "several kinds"
            found.add(f"overflow of a, from {source}")
        else:
            found.add(f"overflow of {overflow.variable}, {kind(population)}")
    return found
