"""Synapses of a netx file as projections of the integer network."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurokd.errors import FileFormatError, ShapeMismatchError, UnsupportedNodeError
from neurokd.export.netx_layer import Integers, NetxLayer
from neurokd.export.netx_weights import SynapseFormat, synapse_format
from neurokd.hardware.projection import (
    ConvProjection,
    DenseProjection,
    Projection,
    check_projection,
)
from neurokd.hardware.weight_format import MAX_DELAY


@dataclass(frozen=True)
class Source:
    """The population that a layer receives from; ``flattened``: a flatten layer stands between."""

    name: str
    shape: tuple[int, ...]
    flattened: bool = False


@dataclass(frozen=True)
class Synapses:
    """The projections into a layer, and the weights whose stored value is not the file's."""

    projections: tuple[Projection, ...]
    changed_weights: int = 0


def dense_synapses(layer: NetxLayer, source: Source | None, size: int) -> Synapses:
    """All-to-all synapses, from the layer to itself too where it is recurrent.

    ``source`` None: the layer takes the network's input and says how wide it is (`dense_width`).

    Raises: `UnsupportedNodeError`, `FileFormatError`, `ShapeMismatchError`, `CapacityError`.
    """
    weight = _matrix(layer, "weight", size)
    recurrent = layer.kind == "dense_rec"
    if source is not None:
        _check_source(layer, source, weight.shape[1])
    together = weight
    if recurrent:
        back = _matrix(layer, "weight_rec", size)
        if back.shape != (size, size):
            raise FileFormatError(
                "the recurrent weight does not fit the layer",
                where=layer.where,
                expected=f"({size}, {size})",
                found=str(back.shape),
            )
        together = np.hstack([weight, back])  # lava-dl finds one format for both
    form = synapse_format(together, layer.where)
    delays = _delays(layer, weight.shape, recurrent)
    forward = form.part(slice(0, weight.shape[1]))
    origin = source.name if source is not None else "input"
    parts = [(forward, _dense(f"{layer.name}.synapse", origin, layer.name, forward, delays, False))]
    if recurrent:
        loop = form.part(slice(weight.shape[1], None))
        parts.append(
            (loop, _dense(f"{layer.name}.recurrent", layer.name, layer.name, loop, None, True))
        )
    return Synapses(tuple(p for _, p in parts), sum(part.changed for part, _ in parts))


def dense_width(layer: NetxLayer, size: int) -> int:
    """How many neurons a dense layer receives from."""
    return int(_matrix(layer, "weight", size).shape[1])


def conv_synapses(layer: NetxLayer, source: Source, shape: tuple[int, ...]) -> Synapses:
    """A convolution; the file holds the kernel as torch does, Lava stores any weight as it is.

    Raises: `UnsupportedNodeError`, `FileFormatError`, `ShapeMismatchError`.
    """
    weight = _kernel(layer)
    groups = layer.integer("groups") if "groups" in layer else 1
    return _conv(layer, source, shape, weight, groups)


def pool_synapses(layer: NetxLayer, source: Source, shape: tuple[int, ...]) -> Synapses:
    """A pool: one kernel, which each channel is convolved with by itself.

    lava-dl exports it and does not read it; this is what its torch block computes.
    Source: `lava.lib.dl.slayer.synapse.Pool` (lava-dl 0.6.0).
    """
    weight = _kernel(layer)
    if weight.shape[:2] != (1, 1):
        raise FileFormatError(
            "a pool has one kernel for all channels",
            where=layer.where,
            expected="(1, 1, kH, kW)",
            found=str(weight.shape),
        )
    channels = source.shape[0]
    layer.require_memory("weights", weight.size * channels)
    return _conv(layer, source, shape, np.repeat(weight, channels, axis=0), channels)


def average_synapses(layer: NetxLayer, source: Source, groups: int) -> Synapses:
    """Each output sums its share of the neurons, which lie next to each other.

    The mean that lava-dl's torch block computes is this sum divided by the share.
    Source: `lava.lib.dl.slayer.block.base.AbstractAverage` (lava-dl 0.6.0).
    """
    size = math.prod(source.shape)
    if size % groups:
        raise ShapeMismatchError(
            "the neurons cannot be shared out evenly",
            where=layer.where,
            expected=f"a multiple of {groups}",
            found=str(size),
        )
    layer.require_memory("weights", groups * size)
    weight = np.repeat(np.eye(groups, dtype=np.int64), size // groups, axis=1)
    form = synapse_format(weight, layer.where)
    name = f"{layer.name}.synapse"
    return Synapses((_dense(name, source.name, layer.name, form, None, False),))


def _dense(
    name: str,
    source: str,
    target: str,
    form: SynapseFormat,
    delays: NDArray[np.int32] | None,
    recurrent: bool,
) -> DenseProjection:
    return DenseProjection(
        name=name,
        source=source,
        target=target,
        weight=form.weight,
        weight_exp=form.weight_exp,
        num_weight_bits=form.num_weight_bits,
        sign_mode=form.sign_mode,
        delays=delays,
        recurrent=recurrent,
    )


def _matrix(layer: NetxLayer, key: str, size: int) -> Integers:
    """(targets, sources); a list is one row for each target."""
    _check_real(layer)
    weight = layer.integers(key)
    if weight.ndim == 1 and not weight.size % size:
        weight = weight.reshape(size, -1)
    if weight.ndim != 2 or weight.shape[0] != size:
        raise FileFormatError(
            f"{key} does not fit the layer",
            where=layer.where,
            expected=f"({size}, sources)",
            found=str(weight.shape),
        )
    return weight


def _kernel(layer: NetxLayer) -> Integers:
    """(C_out, C_in / groups, kH, kW); lava-dl may write an axis of one time step behind."""
    _check_real(layer)
    if "delay" in layer and layer.integers("delay").any():
        raise UnsupportedNodeError(
            "a convolution with delays, which lava-dl's reader ignores",
            where=layer.where,
            remedy="train the layer with delay=False",
        )
    weight = layer.integers("weight")
    if weight.ndim == 5 and weight.shape[4] == 1:
        weight = weight[..., 0]
    if weight.ndim != 4:
        raise FileFormatError(
            "the kernel has not four axes",
            where=layer.where,
            expected="(C_out, C_in / groups, kH, kW)",
            found=str(weight.shape),
        )
    return weight


def _conv(
    layer: NetxLayer, source: Source, shape: tuple[int, ...], weight: Integers, groups: int
) -> Synapses:
    if source.flattened:
        raise UnsupportedNodeError("a convolution behind a flatten layer", where=layer.where)
    projection = ConvProjection(
        name=f"{layer.name}.synapse",
        source=source.name,
        target=layer.name,
        weight=weight.astype(np.int32),
        stride=layer.pair("stride", default=1),
        padding=layer.pair("padding", default=0),
        dilation=layer.pair("dilation", default=1),
        groups=groups,
    )
    check_projection(projection, source.shape, shape)
    return Synapses((projection,))


def _check_real(layer: NetxLayer) -> None:
    if isinstance(layer.fields.get("weight"), dict):
        raise UnsupportedNodeError(
            "complex weights have no place in the integer network",
            where=layer.where,
            expected="real weights",
            found=", ".join(sorted(layer.fields["weight"])) or "a group",
            remedy="train this layer with slayer.block.cuba or slayer.block.sigma_delta",
        )


def _check_source(layer: NetxLayer, source: Source, width: int) -> None:
    if math.prod(source.shape) != width:
        raise ShapeMismatchError(
            "the weight does not fit the layer before it",
            where=layer.where,
            expected=f"{math.prod(source.shape)} sources, {source.shape} of {source.name!r}",
            found=str(width),
        )
    if not source.flattened and math.prod(source.shape[1:]) > 1:
        raise UnsupportedNodeError(
            "a dense layer behind an image, without a flatten layer between them",
            where=layer.where,
            expected="a flatten layer",
            found=f"{source.name!r} of shape {source.shape}",
            remedy="export a flatten block between the two layers",
        )


def _delays(layer: NetxLayer, shape: tuple[int, int], recurrent: bool) -> NDArray[np.int32] | None:
    """A delay for each synapse: one of all, of a target, of a source, or of each.

    As many as targets are the targets' (the axonal delays of the layer's outputs, applied at its
    inputs), else as many as sources the sources'. Over `MAX_DELAY` they are clamped to it.
    """
    if "delay" not in layer:
        return None
    delays = layer.integers("delay")
    if not delays.any():
        return None
    if recurrent:
        raise UnsupportedNodeError(
            "a recurrent layer with delays, of which lava-dl's reader loses the weight exponent",
            where=layer.where,
            remedy="train the layer with delay=False",
        )
    if int(delays.min()) < 0:
        raise FileFormatError(
            "a delay is negative", where=layer.where, expected="≥ 0", found=str(int(delays.min()))
        )
    if delays.ndim == 1 and delays.size == shape[0]:
        delays = delays[:, None]
    elif delays.ndim == 1 and delays.size == shape[1]:
        delays = delays[None, :]
    elif delays.ndim and delays.shape != shape:
        raise FileFormatError(
            "the delays do not fit the weights",
            where=layer.where,
            expected=f"1, {shape[0]}, {shape[1]} or {shape}",
            found=str(delays.shape),
        )
    clamped = np.minimum(np.broadcast_to(delays, shape), MAX_DELAY)
    return np.ascontiguousarray(clamped.astype(np.int32))
