"""Neurons of a netx file as populations of the integer network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from neurokd.errors import FileFormatError, UnsupportedNodeError
from neurokd.export.netx_layer import NetxLayer
from neurokd.hardware.population import (
    THRESHOLD_LIMIT,
    AnyInputPopulation,
    CurrentInputPopulation,
    DeltaInputPopulation,
    LIFPopulation,
    NeuronPopulation,
    SigmaDeltaPopulation,
    SigmaPopulation,
)

LIF_KINDS = ("LOIHI", "CUBA")
BIAS_EXP = 6
STATE_EXP = 6
OUT_OF_REACH = THRESHOLD_LIMIT + 1
"""Threshold 2¹⁷: 2¹⁷ · 2⁶ lies above every v, which saturates at 2²³ − 1."""
DEFAULT_INPUT_WEIGHT = 64
_INTEGRATOR = {"type": "CUBA", "iDecay": 0, "vDecay": 4096, "vThMant": OUT_OF_REACH}
"""What lava-dl takes for a dense layer without neurons: u sums up, v is u."""


def input_population(
    layer: NetxLayer, shape: tuple[int, ...], spike_exp: int
) -> AnyInputPopulation:
    """The population of an input layer that has neurons.

    LIF neurons are driven by their bias, sigma-delta neurons encode changes; both take the
    layer's transform x · weight + bias as scale and offset.

    Raises: `UnsupportedNodeError`, `FileFormatError`, `CapacityError`.
    """
    neuron = _described(layer)
    weight = int(layer.integer("weight")) if "weight" in layer else DEFAULT_INPUT_WEIGHT
    bias = int(layer.integer("bias")) if "bias" in layer else 0
    if weight < 1:
        raise FileFormatError(
            "the input's weight is not positive",
            where=layer.where,
            expected="≥ 1",
            found=str(weight),
        )
    if neuron.text("type") in LIF_KINDS:
        _check_lif(neuron)
        return CurrentInputPopulation(
            name=layer.name,
            shape=shape,
            dv=neuron.integer("vDecay"),
            vth=neuron.integer("vThMant"),
            bias_exp=BIAS_EXP,
            scale=float(weight),
            offset=float(bias),
        )
    _check_graded(neuron)
    return DeltaInputPopulation(
        name=layer.name,
        shape=shape,
        vth=neuron.integer("vThMant"),
        spike_exp=spike_exp,
        state_exp=STATE_EXP,
        scale=float(weight),
        offset=float(bias),
    )


def neuron_population(layer: NetxLayer, shape: tuple[int, ...], spike_exp: int) -> NeuronPopulation:
    """The population of a layer with synapses; without a description, lava-dl's integrator.

    Raises: `UnsupportedNodeError`, `FileFormatError`, `CapacityError`.
    """
    neuron = layer.neuron or replace(layer, fields=_INTEGRATOR)
    bias = _bias(layer, shape)
    _described(replace(layer, fields={**layer.fields, "neuron": neuron.fields}))
    if neuron.text("type") in LIF_KINDS:
        _check_lif(neuron)
        vth = neuron.integer("vThMant")
        return LIFPopulation(
            name=layer.name,
            shape=shape,
            du=neuron.integer("iDecay") - 1,
            dv=neuron.integer("vDecay"),
            vth=min(vth, OUT_OF_REACH),
            bias_mant=bias,
            bias_exp=BIAS_EXP,
            spiking=vth < OUT_OF_REACH,
        )
    _check_graded(neuron)
    if "sigma_output" in neuron:  # lava-dl asks whether the field is there, not what it says
        if bias.any():
            raise UnsupportedNodeError(
                "a sigma output has no bias",
                where=layer.where,
                found=f"{int(bias.min())} … {int(bias.max())}",
                remedy="remove the bias of the output layer",
            )
        return SigmaPopulation(name=layer.name, shape=shape)
    _check_activation(neuron)
    return SigmaDeltaPopulation(
        name=layer.name,
        shape=shape,
        vth=neuron.integer("vThMant"),
        bias=bias,
        spike_exp=spike_exp,
        state_exp=STATE_EXP,
    )


def is_graded(population: AnyInputPopulation | NeuronPopulation) -> bool:
    """Whether messages carry numbers rather than being spikes alone."""
    return not isinstance(population, (CurrentInputPopulation, LIFPopulation)) and (
        getattr(population, "encoding", "graded") == "graded"
    )


def _described(layer: NetxLayer) -> NetxLayer:
    """The layer's neurons, of a kind that the integer network has."""
    neuron = layer.neuron
    if neuron is None:
        raise FileFormatError("the layer has no neurons", where=layer.where)
    kind = neuron.text("type")
    if kind in LIF_KINDS or kind == "SDNN":
        return neuron
    reasons = {
        "ALIF": "its threshold and refractory state adapt",
        "RF": "its state is complex",
        "ADRF": "its state is complex and its threshold adapts",
    }
    family = next((name for name in ("ADRF", "ALIF", "RF") if name in kind), "")
    reason = f": {reasons[family]}" if family else ""
    raise UnsupportedNodeError(
        f"neurons of kind {kind} have no place in the integer network{reason}",
        where=layer.where,
        expected="LOIHI, CUBA or SDNN",
        found=kind,
        remedy="train this layer with slayer.block.cuba or slayer.block.sigma_delta",
    )


def _bias(layer: NetxLayer, shape: tuple[int, ...]) -> NDArray[np.int32]:
    """The bias of each neuron: one of all, one of a channel, or one of each as (W, H, C)."""
    if "bias" not in layer:
        return np.zeros(shape, dtype=np.int32)
    bias = layer.integers("bias")
    if len(shape) == 3 and bias.ndim == 3 and bias.shape == shape[::-1]:
        bias = bias.transpose(2, 1, 0)
    elif len(shape) == 3 and bias.shape == shape[:1]:
        bias = bias[:, None, None]
    elif not (len(shape) == 1 and bias.ndim <= 1 and bias.size in (1, shape[0])):
        raise FileFormatError(
            "the bias does not fit the neurons",
            where=layer.where,
            expected="one of each channel or neuron",
            found=f"{bias.shape} of {shape}",
        )
    return np.ascontiguousarray(np.broadcast_to(bias, shape).astype(np.int32))


def _check_lif(neuron: NetxLayer) -> None:
    """Refuse what lava-dl's reader would leave out in silence."""
    if "refDelay" in neuron and neuron.integer("refDelay") > 1:
        raise UnsupportedNodeError(
            "neurons with a refractory delay",
            where=neuron.where,
            expected="refDelay 1",
            found=str(neuron.integer("refDelay")),
            remedy="train without a refractory delay",
        )
    if neuron.flag("gradedSpike"):
        raise UnsupportedNodeError(
            "LIF neurons that send graded spikes",
            where=neuron.where,
            expected="gradedSpike false",
            found="true",
            remedy="train with graded_spike=False, or with sigma-delta neurons",
        )
    _check_exponents(neuron)


def _check_graded(neuron: NetxLayer) -> None:
    if "messageBits" in neuron and neuron.integer("messageBits") < 1:
        raise UnsupportedNodeError(
            "sigma-delta neurons that send no payload",
            where=neuron.where,
            expected="messageBits ≥ 1",
            found="0",
        )
    _check_exponents(neuron)


def _check_exponents(neuron: NetxLayer) -> None:
    for key in ("wgtExp", "weight_exp"):
        if key in neuron and neuron.integers(key).any():
            raise UnsupportedNodeError(
                f"a weight exponent beside the weights ({key}), which lava-dl's reader ignores",
                where=neuron.where,
                expected="0",
                found=f"{neuron.integers(key).min()} … {neuron.integers(key).max()}",
                remedy="fold it into the weights before they are exported",
            )


def _check_activation(neuron: NetxLayer) -> None:
    if "activation" in neuron and neuron.text("activation") != "relu":
        raise UnsupportedNodeError(
            "sigma-delta neurons with another activation than lava-dl's reader gives them",
            where=neuron.where,
            expected="relu",
            found=neuron.text("activation"),
            remedy="train with the ReLU activation",
        )
