"""Populations and projections as the fields of netx layers, or a refusal by name."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurokd.errors import CapacityError, UnsupportedNodeError
from neurokd.export.netx_neurons import BIAS_EXP, STATE_EXP
from neurokd.export.netx_weights import synapse_format
from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.population import (
    BIAS_MANTISSA_LIMITS,
    AnyInputPopulation,
    CurrentInputPopulation,
    DeltaInputPopulation,
    DeltaPopulation,
    InputPopulation,
    LIFPopulation,
    Population,
    SigmaDeltaPopulation,
    SigmaPopulation,
)
from neurokd.hardware.projection import ConvProjection, DenseProjection, Projection

Fields = dict[str, Any]


def input_fields(population: AnyInputPopulation) -> Fields:
    """An input layer, with neurons unless messages come from outside."""
    fields: Fields = {"shape": np.array(population.shape)}
    if isinstance(population, InputPopulation):
        return fields
    where = f"population {population.name!r}"
    for field, value in (("scale", population.scale), ("offset", population.offset)):
        if value != int(value):
            raise _cannot(f"an input {field} that is no integer", where, found=f"{value:g}")
    fields |= {"weight": int(population.scale), "bias": int(population.offset)}
    if isinstance(population, CurrentInputPopulation):
        _require(where, "bias_exp", population.bias_exp, BIAS_EXP)
        # nothing arrives, so that u stays 0 whatever its decay
        return {**fields, "neuron": _lif(du=4095, dv=population.dv, vth=population.vth)}
    _check_delta(population)
    return {**fields, "neuron": _sigma_delta(population.vth)}


def neuron_fields(population: Population, network: DeployedNetwork) -> Fields:
    """The neurons of a layer and their bias."""
    where = f"population {population.name!r}"
    if isinstance(population, LIFPopulation):
        if not population.spiking and population.name != network.output:
            raise _cannot("an accumulator that is not the output", where)
        neuron = _lif(du=population.du, dv=population.dv, vth=population.vth)
        return {**_bias(_mantissas(population), population.shape), "neuron": neuron}
    if isinstance(population, SigmaPopulation):
        if population.name != network.output:
            raise _cannot("a sigma population that is not the output", where)
        return {"neuron": {**_sigma_delta(0), "sigma_output": True}}
    if not isinstance(population, SigmaDeltaPopulation):
        raise _cannot(
            "delta neurons behind the input", where, remedy="use sigma-delta neurons there"
        )
    _check_delta(population)
    if population.activation != "relu":
        raise _cannot("this activation", where, expected="relu", found=population.activation)
    return {
        **_bias(population.bias, population.shape),
        "neuron": _sigma_delta(population.vth),
    }


def synapse_fields(forward: Projection, back: Projection | None, population: Population) -> Fields:
    """The synapses of a layer and its shape."""
    where = f"projection {forward.name!r}"
    fields: Fields = {"shape": np.array(population.shape)}
    if isinstance(forward, ConvProjection):
        if back is not None:
            raise _cannot("a recurrent convolution layer", where)
        return {
            **fields,
            "weight": forward.effective_weight,
            "stride": np.array(forward.stride),
            "padding": np.array(forward.padding),
            "dilation": np.array(forward.dilation),
            "groups": forward.groups,
        }
    for projection in (forward, *([] if back is None else [back])):
        if not isinstance(projection, DenseProjection):
            raise _cannot(
                "sparse synapses",
                f"projection {projection.name!r}",
                remedy="use a dense projection, with weights of 0",
            )
    assert isinstance(forward, DenseProjection)
    if len(population.shape) != 1:
        raise _cannot(
            "a dense layer of more than one axis",
            f"population {population.name!r}",
            expected="(N,)",
            found=str(population.shape),
        )
    weight = _file_weight(forward)
    fields["weight"] = weight
    if forward.delays is not None:
        delays = forward.delays
        same = bool((delays == delays[:, :1]).all())
        fields["delay"] = delays[:, 0] if same else delays
    if back is not None:
        assert isinstance(back, DenseProjection)
        if forward.delays is not None or back.delays is not None:
            raise _cannot("a recurrent layer with delays", where)
        if not isinstance(population, LIFPopulation):
            raise _cannot("a recurrent layer of sigma-delta neurons", where)
        fields["weight_rec"] = _file_weight(back)
        weight = np.hstack([weight, fields["weight_rec"]])
    _check_readable(weight, where)
    return fields


def spike_exponent(network: DeployedNetwork) -> int | None:
    """The spike exponent that all sigma-delta neurons share; None where there are none."""
    found: dict[int, str] = {}
    for population in network.populations:
        if isinstance(population, (DeltaInputPopulation, DeltaPopulation, SigmaDeltaPopulation)):
            found.setdefault(population.spike_exp, population.name)
    if len(found) > 1:
        (first, one), (second, other) = list(found.items())[:2]
        raise _cannot(
            "spike exponents that differ",
            f"population {other!r}",
            expected=f"{first}, as of {one!r}",
            found=str(second),
        )
    return next(iter(found), None)


def _lif(du: int, dv: int, vth: int) -> Fields:
    return {
        "type": "CUBA",
        "iDecay": du + 1,
        "vDecay": dv,
        "vThMant": vth,
        "refDelay": 1,
        "gradedSpike": False,
    }


def _sigma_delta(vth: int) -> Fields:
    return {"type": "SDNN", "activation": "relu", "vThMant": vth}


def _mantissas(population: LIFPopulation) -> NDArray[np.int32]:
    """Biases in steps of 2⁶, the one exponent that lava-dl knows."""
    low, high = BIAS_MANTISSA_LIMITS
    step = 1 << BIAS_EXP
    bias = population.bias
    mantissas = bias >> BIAS_EXP
    if (bias % step).any() or int(mantissas.min()) < low or int(mantissas.max()) > high:
        odd = bias[(bias % step != 0) | (mantissas < low) | (mantissas > high)]
        raise _cannot(
            "this bias",
            f"population {population.name!r}",
            expected=f"multiples of {step} from {low * step} to {high * step}",
            found=str(int(odd.flat[0])),
            remedy="lower the network with biases in steps of 64",
        )
    return mantissas.astype(np.int32)


def _bias(bias: NDArray[np.int32], shape: tuple[int, ...]) -> Fields:
    """Nothing for zeros, one number of each channel, or one of each neuron as (W, H, C)."""
    if not bias.any():
        return {}
    if len(shape) != 3:
        return {"bias": bias}
    same = (bias == bias[:, :1, :1]).all()
    return {"bias": bias[:, 0, 0] if same else bias.transpose(2, 1, 0)}


def _file_weight(projection: DenseProjection) -> NDArray[np.int64]:
    """What a synapse contributes, which is what the file says: weight · 2^weight_exp."""
    weight = projection.effective_weight.astype(np.int64)
    if projection.weight_exp >= 0:
        return weight << projection.weight_exp
    down = -projection.weight_exp
    if (weight & ((1 << down) - 1)).any():
        raise _cannot(
            "weights of fractions of 1, which an exponent below 0 makes of these",
            f"projection {projection.name!r}",
            expected=f"multiples of {1 << down}, for weight_exp {projection.weight_exp}",
            found=str(int(weight[(weight & ((1 << down) - 1)) != 0].flat[0])),
            remedy="lower the network with an exponent of 0",
        )
    return weight >> down


def _check_readable(weight: NDArray[np.int64], where: str) -> None:
    """lava-dl finds a format for the weights that keeps every one of them."""
    try:
        form = synapse_format(weight, where)
    except CapacityError as error:
        raise _cannot("these weights", where, expected=error.expected, found=error.found) from error
    if form.changed or ((form.weight >> -form.weight_exp) != weight).any():
        raise _cannot(
            "these weights: lava-dl stores some of them with another value",
            where,
            expected="weights that its format keeps",
            found=f"{int(weight.min())} … {int(weight.max())}",
        )


def _check_delta(population: DeltaInputPopulation | SigmaDeltaPopulation) -> None:
    where = f"population {population.name!r}"
    _require(where, "state_exp", population.state_exp, STATE_EXP)
    if population.cum_error:
        raise _cannot("errors that add up (cum_error)", where)


def _require(where: str, field: str, value: int, expected: int) -> None:
    if value != expected:
        raise _cannot(f"this {field}", where, expected=str(expected), found=str(value))


def _cannot(
    what: str, where: str, *, expected: str = "", found: str = "", remedy: str = ""
) -> UnsupportedNodeError:
    return UnsupportedNodeError(
        f"netx cannot say {what}", where=where, expected=expected, found=found, remedy=remedy
    )
