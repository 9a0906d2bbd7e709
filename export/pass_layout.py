"""Pass: the integers, laid out as the network that every runtime consumes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurokd.export.float_network import FloatProjection
from neurokd.export.lowering import Lowering
from neurokd.export.weight_grid import shifted
from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.projection import (
    ConvProjection,
    DenseProjection,
    Projection,
    SparseProjection,
)


def layout(state: Lowering) -> Lowering:
    """The `DeployedNetwork`; its own checks are the last of the lowering."""
    options = state.options
    projections = [
        _laid_out(state, p) for p in state.floats.projections if p.target != state.hosted
    ]
    source = {
        key: value
        for key, value in state.graph.metadata.items()
        if isinstance(value, (str, int, float, bool))
    }
    metadata: dict[str, Any] = {
        "nir": source,
        "lowering": {
            "dt_s": options.dt,
            "steps": options.steps,
            "weight_bits": options.weight_bits,
            "layer_bits": dict(options.layer_bits),
            "input_bits": options.input.bits,
            "input_scale": options.input.scale,
            "calibration_samples": 0
            if options.calibration is None
            else int(options.calibration.shape[1]),
            "populations": {name: dict(note) for name, note in state.report.items()},
        },
    }
    deployed = DeployedNetwork(
        populations=(state.entrance or options.input, *state.neurons.values()),
        projections=tuple(projections),
        output=state.floats.output,
        chip=options.chip,
        steps=options.steps,
        metadata=metadata,
        host=state.host,
    )
    return replace(state, deployed=deployed)


def _laid_out(state: Lowering, p: FloatProjection) -> Projection:
    weight = state.weights[p.name]
    bits, exponent = state.options.bits(p.name), state.exponents.get(p.name, 0)
    if p.geometry is not None:
        # a convolution has no exponent below 0; on its grid the shift leaves no remainder
        weight, exponent = shifted(weight, min(exponent, 0)), max(exponent, 0)
        return ConvProjection(
            p.name,
            p.source,
            p.target,
            weight,
            stride=p.geometry.stride,
            padding=p.geometry.padding,
            dilation=p.geometry.dilation,
            groups=p.geometry.groups,
            num_weight_bits=bits,
            weight_exp=exponent,
            recurrent=p.recurrent,
        )
    common: dict[str, Any] = {
        "weight_exp": exponent,
        "num_weight_bits": bits,
        "delays": _delays(p),
        "recurrent": p.recurrent,
    }
    if p.ends is None:
        return DenseProjection(p.name, p.source, p.target, weight, **common)
    rows, columns = (ends.astype(np.int32) for ends in (p.ends.rows, p.ends.columns))
    return SparseProjection(p.name, p.source, p.target, rows, columns, weight, **common)


def _delays(projection: FloatProjection) -> NDArray[np.int32] | None:
    """Chip steps of each synapse beyond the one that every delivery takes."""
    total = np.full(projection.weight.shape, projection.delay, dtype=np.int32)
    if projection.lags is not None:
        total += projection.lags.astype(np.int32)
    return total if total.any() else None
