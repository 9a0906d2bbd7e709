"""Pass: the integers, laid out as the network that every runtime consumes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from neurokd.export.lowering import Lowering
from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.projection import ConvProjection, DenseProjection, Projection


def layout(state: Lowering) -> Lowering:
    """The `DeployedNetwork`; its own checks are the last of the lowering."""
    options = state.options
    bits = options.weight_bits
    projections: list[Projection] = []
    for p in state.floats.projections:
        weight = state.weights[p.name]
        if p.geometry is None:
            projections.append(
                DenseProjection(p.name, p.source, p.target, weight, num_weight_bits=bits)
            )
            continue
        projections.append(
            ConvProjection(
                p.name,
                p.source,
                p.target,
                weight,
                stride=p.geometry.stride,
                padding=p.geometry.padding,
                dilation=p.geometry.dilation,
                groups=p.geometry.groups,
                num_weight_bits=bits,
            )
        )
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
            "weight_bits": bits,
            "input_bits": options.input.bits,
            "input_scale": options.input.scale,
            "calibration_samples": 0
            if options.calibration is None
            else int(options.calibration.shape[1]),
            "populations": {name: dict(note) for name, note in state.report.items()},
        },
    }
    deployed = DeployedNetwork(
        populations=(options.input, *state.neurons.values()),
        projections=tuple(projections),
        output=state.floats.output,
        chip=options.chip,
        steps=options.steps,
        metadata=metadata,
    )
    return replace(state, deployed=deployed)
