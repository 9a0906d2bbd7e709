"""A traced layer as a node of NIR."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray

from neurokd.export.trace_layer import Floats, Layer, Shape


def make_node(layer: Layer, arriving: Shape, dt: float, dtype: Any) -> Any:
    """The node of a folded layer; what arrives has this shape, parameters get this dtype.

    Equation: v ← β v + x becomes τ = dt / (1 − β) and r = τ / dt, for β = 1 r = 1 / dt without a
    leak; a synapse i ← α i + x becomes τ_syn = dt / (1 − α) and w_in = τ_syn / dt.
    The node owns its arrays: a layer's may be views of the module.
    """
    arrays, pairs = layer.arrays, layer.pairs

    def stored(values: NDArray[Any]) -> NDArray[Any]:
        return np.array(values, dtype=dtype, order="C")

    if layer.kind == "input":
        return nir.Input(np.array(arriving))
    if layer.kind == "output":
        return nir.Output(np.array(arriving))
    if layer.kind == "linear":
        weight = stored(arrays["weight"])
        if "bias" not in arrays:
            return nir.Linear(weight)
        return nir.Affine(weight, stored(arrays["bias"]))
    if layer.kind == "conv":
        bias = arrays.get("bias", np.zeros(arrays["weight"].shape[0]))
        return _conv(layer, arriving, stored(arrays["weight"]), stored(bias))
    if layer.kind == "scale":
        return nir.Scale(stored(arrays["scale"]))
    if layer.kind == "multiple":
        return nir.Scale(stored(np.broadcast_to(arrays["factor"], arriving)))
    if layer.kind == "delay":
        return nir.Delay(stored(np.broadcast_to(dt, arriving)))
    if layer.kind == "pool":
        return nir.SumPool2d(*(np.array(pairs[k]) for k in ("kernel", "stride", "padding")))
    if layer.kind == "flatten":
        start, end = pairs["dims"]
        return nir.Flatten({"input": np.array(arriving)}, start_dim=start, end_dim=end)
    if layer.kind == "accumulator":
        return nir.I(r=stored(arrays["ones"] / dt))
    if layer.kind == "threshold":
        return nir.Threshold(stored(arrays["threshold"]))
    fields = {name: stored(value) for name, value in _neuron(layer, dt).items()}
    return _kind(layer)(**fields)


def _conv(layer: Layer, arriving: Shape, weight: Any, bias: Any) -> Any:
    settings = {key: layer.pairs[key] for key in ("stride", "padding", "dilation")}
    if len(arriving) == 2:
        single = {key: value[0] for key, value in settings.items()}
        return nir.Conv1d(
            input_shape=int(arriving[1]), weight=weight, groups=1, bias=bias, **single
        )
    size = (int(arriving[1]), int(arriving[2]))
    return nir.Conv2d(input_shape=size, weight=weight, groups=1, bias=bias, **settings)


def _kind(layer: Layer) -> Any:
    leaky = not (layer.arrays["beta"] == 1).all()
    if layer.kind == "lif":
        return nir.LIF if leaky else nir.IF
    if layer.kind == "cuba":
        return nir.CubaLIF
    if "alpha" in layer.arrays:
        return nir.CubaLI
    return nir.LI if leaky else nir.I


def _neuron(layer: Layer, dt: float) -> dict[str, Floats]:
    beta = layer.arrays["beta"]
    fields: dict[str, Floats] = {}
    if "threshold" in layer.arrays:
        fields |= {"v_threshold": layer.arrays["threshold"], "v_reset": np.zeros_like(beta)}
    if (beta == 1).all():
        return fields | {"r": np.full(beta.shape, 1 / dt)}
    tau = dt / (1 - beta)
    fields |= {"r": tau / dt, "v_leak": np.zeros_like(beta)}
    if "alpha" not in layer.arrays:
        return fields | {"tau": tau}
    tau_syn = dt / (1 - layer.arrays["alpha"])
    return fields | {"tau_mem": tau, "tau_syn": tau_syn, "w_in": tau_syn / dt}
