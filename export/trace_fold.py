"""Folding what NIR has no node for: normalisation, averages, recurrent biases, additions."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from neurokd.export.trace_layer import Floats, Layer, Layers, consumers, refuse

_LINEAR = ("linear", "conv")


def fold(layers: Layers) -> Layers:
    """All folds, in order.

    The result holds no norm, no add, only pools of scale 1, no bias in a recurrent layer, and no
    layer that reads another one twice.
    """
    folded = fold_recurrent_biases(fold_averages(fold_norms(layers)))
    return count_repeated(dissolve_additions(folded))


def fold_norms(layers: Layers) -> Layers:
    """scale · (W x + b) + shift becomes one linear layer.

    Raises: `UnsupportedModuleError` where no linear layer feeds the normalisation alone.
    """
    result = dict(layers)
    for norm in [layer for layer in layers.values() if layer.kind == "norm"]:
        before = result[result[norm.name].sources[0]]  # another norm may have gone from between
        if before.kind not in _LINEAR or len(consumers(result, before.name)) != 1:
            raise refuse(
                norm.path,
                "batch normalisation needs a linear layer of its own directly before it",
                "put it directly after a Conv2d or Linear that nothing else reads",
                f"{before.kind} {before.path!r} before it",
            )
        scale = norm.arrays["scale"]
        shift = norm.arrays["shift"]
        if "bias" in before.arrays:
            shift = shift + _times(before.arrays["bias"], scale)
        weight = before.arrays["weight"]
        weight = _times(weight, scale.reshape(-1, *([1] * (weight.ndim - 1))))
        result[before.name] = replace(
            before, arrays={**before.arrays, "weight": weight, "bias": shift}
        )
        result = _remove(result, norm.name, (before.name,))
    return result


def fold_averages(layers: Layers) -> Layers:
    """A pool's scale moves into all the linear layers after it, else into the one before it.

    Raises: `UnsupportedModuleError` where there is neither.
    """
    result = dict(layers)
    for pool in [layer for layer in layers.values() if layer.kind == "pool"]:
        scale = float(pool.arrays["scale"])
        if scale == 1.0:
            continue
        after = _linear_after(result, pool.name)
        before = None if after else _linear_before(result, pool)
        if after:
            for layer in after:
                weight = _times(result[layer].arrays["weight"], scale)
                arrays = {**result[layer].arrays, "weight": weight}
                result[layer] = replace(result[layer], arrays=arrays)
        elif before:
            arrays = {name: _times(array, scale) for name, array in result[before].arrays.items()}
            result[before] = replace(result[before], arrays=arrays)
        else:
            raise refuse(
                pool.path,
                "the scale of this average pooling has no linear layer to go into",
                "put a Conv2d or Linear after it, or directly before it",
            )
        result[pool.name] = replace(pool, arrays={"scale": pool.arrays["scale"] * 0 + 1})
    return result


def fold_recurrent_biases(layers: Layers) -> Layers:
    """A recurrent layer's bias moves into the linear layer that feeds the same neurons.

    snnTorch adds it at every step, the first included, where nothing has spiked yet; other readers
    of NIR leave it out there. In the layer before it is the same for all.

    Raises: `UnsupportedModuleError` where no linear layer feeds these neurons alone.
    """
    result = dict(layers)
    for layer in [layer for layer in layers.values() if layer.feeds_back]:
        arrays = dict(layer.arrays)
        bias = arrays.pop("bias", None)
        result[layer.name] = replace(layer, arrays=arrays)
        if bias is None or not bias.any():
            continue
        name = _feeding_alone(result, layer.feeds_back, layer.name)
        if name is None or result[name].arrays["weight"].shape[0] != len(bias):
            raise refuse(
                layer.path,
                "a recurrent bias has no exact meaning in NIR: snnTorch adds it at the first step, "
                "too, other readers do not",
                "set recurrent.bias to zero, or put a Linear or Conv2d of their own directly "
                "before these neurons",
            )
        before = result[name]
        moved = np.add(bias, before.arrays.get("bias", 0.0), dtype=np.float64)
        result[name] = replace(before, arrays={**before.arrays, "bias": moved})
    return result


def _feeding_alone(layers: Layers, name: str, recurrent: str) -> str | None:
    """A linear layer whose output reaches only this layer, directly or through additions."""
    for source in layers[name].sources:
        if source == recurrent or len(consumers(layers, source)) != 1:
            continue
        if layers[name].sources.count(source) != 1:  # its bias would count twice
            continue
        if layers[source].kind in _LINEAR:
            return source
        if layers[source].kind == "add":
            found = _feeding_alone(layers, source, recurrent)
            if found:
                return found
    return None


def dissolve_additions(layers: Layers) -> Layers:
    """Several edges into a node are a sum in NIR: an addition becomes its operands."""
    result = dict(layers)
    for add in [layer for layer in layers.values() if layer.kind == "add"]:
        result = _remove(result, add.name, result[add.name].sources)
    return result


def count_repeated(layers: Layers) -> Layers:
    """An edge is there once in NIR: a layer that reads another one n times reads n times it."""
    result: Layers = {}
    multiples: dict[tuple[str, int], str] = {}
    for layer in layers.values():
        sources = []
        for source, count in Counter(layer.sources).items():
            if count > 1 and (source, count) not in multiples:
                name = f"{source}_times_{count}"
                while name in layers or name in result:
                    name += "_"
                factor = {"factor": np.array(float(count))}
                result[name] = Layer(name, layers[source].path, "multiple", (source,), factor)
                multiples[source, count] = name
            sources.append(multiples[source, count] if count > 1 else source)
        repeated = len(sources) < len(layer.sources)
        result[layer.name] = replace(layer, sources=tuple(sources)) if repeated else layer
    return result


def _expand(name: str, removed: str, sources: tuple[str, ...]) -> tuple[str, ...]:
    return sources if name == removed else (name,)


def _remove(layers: Layers, name: str, sources: tuple[str, ...]) -> Layers:
    """The layers without one, its readers reading ``sources`` instead."""
    return {
        key: replace(
            layer, sources=tuple(s for old in layer.sources for s in _expand(old, name, sources))
        )
        for key, layer in layers.items()
        if key != name
    }


def _times(array: Floats, factor: Floats | float) -> Floats:
    """The product in float64: a number alone would leave it in float32."""
    product: Floats = np.multiply(array, factor, dtype=np.float64)
    return product


def _linear_after(layers: Layers, name: str) -> list[str]:
    """The linear layers that read this output, through flattens and pools, if nothing else does."""
    found: list[str] = []
    for reader in consumers(layers, name):
        if reader.kind in _LINEAR:
            found.append(reader.name)
        elif reader.kind in ("flatten", "pool"):
            further = _linear_after(layers, reader.name)
            if not further:
                return []
            found.extend(further)
        else:
            return []
    return found


def _linear_before(layers: Layers, layer: Layer) -> str | None:
    """The linear layer whose output, through flattens and pools alone, is all this layer reads."""
    source = layers[layer.sources[0]]
    if len(consumers(layers, source.name)) != 1:
        return None
    if source.kind in _LINEAR:
        return source.name
    return _linear_before(layers, source) if source.kind in ("flatten", "pool") else None
