"""Samples as the integers that the network's input takes: numpy alone.

A network.npz holds integer arrays and one text, "structure": JSON that says which populations and
projections there are. Its first population is the input; its "kind" decides what is sent:

    input          messages round(x · scale), the same at each step
    delta_input    data round(x · scale + offset), the same at each step
    current_input  a constant current round(x · scale + offset), no time axis

Where the structure has a "host" layer, this computer makes the currents of the sample: a linear
layer in exact integers, rounded once, within 13 bits and sign.
"""

from __future__ import annotations

from typing import Any

import numpy as np

CURRENT_LIMITS = (-(1 << 12), (1 << 12) - 1)


class BadInput(Exception):
    """A file or an argument that cannot be used: one line, where, what, expected, found."""

    def __init__(self, what: str, *, where: str, expected: str = "", found: str = "") -> None:
        parts = [f"{where}: {what}"]
        parts += [f"expected {expected}"] if expected else []
        parts += [f"found {found}"] if found else []
        super().__init__("; ".join(parts))


def input_population(structure: dict[str, Any]) -> dict[str, Any]:
    """The population where data enters."""
    kinds = ("input", "delta_input", "current_input")
    return next(p for p in structure["populations"] if p["kind"] in kinds)


def limits(population: dict[str, Any]) -> tuple[int, int]:
    """The smallest and the largest integer that an input population takes."""
    if population["kind"] == "current_input":
        return CURRENT_LIMITS
    top = (1 << population["bits"]) - 1
    signed = population["kind"] == "delta_input" or population["signed"]
    return (-top if signed else 0), top


def sample_shape(structure: dict[str, Any]) -> tuple[int, ...]:
    """The shape of one sample; signals (C, N) are laid out as (C, 1, N)."""
    return tuple((structure.get("host") or input_population(structure))["shape"])


def encode(
    structure: dict[str, Any], tensors: dict[str, Any], x: Any, steps: int, where: str = "x"
) -> Any:
    """Samples (N, *shape) as int32 (steps, N, *shape), or (N, *shape) of a constant current.

    ``where`` names the data in errors. Raises: `BadInput`.
    """
    shape = sample_shape(structure)
    signal = len(shape) == 3 and shape[1] == 1 and x.shape[1:] == (shape[0], shape[2])
    if x.ndim < 1 or (x.shape[1:] != shape and not signal):
        raise BadInput(
            "the samples do not fit the network",
            where=where,
            expected=f"(samples, {', '.join(map(str, shape))})",
            found=str(x.shape),
        )
    if not len(x):
        raise BadInput("there are no samples", where=where)
    # neurokd holds samples in single precision: the same rounding, so the same integers
    samples = x.reshape(len(x), *shape).astype(np.float32).astype(np.float64)
    population = input_population(structure)
    if structure.get("host"):
        return host_currents(structure["host"], tensors, samples, where)
    values = rounded(
        samples, population["scale"], population.get("offset", 0.0), limits(population), where
    )
    if population["kind"] == "current_input":
        return values
    return np.broadcast_to(values, (steps, *values.shape))


def rounded(samples: Any, scale: float, offset: float, bounds: tuple[int, int], where: str) -> Any:
    """round(x · scale + offset) as int32. Raises: `BadInput` (a value out of bounds)."""
    low, high = bounds
    values = np.rint(samples * scale + offset)
    bad = ~np.isfinite(values) | (values < low) | (values > high)
    if bad.any():
        raise BadInput(
            "a value is out of the input's range",
            where=where,
            expected=f"{(low - offset) / scale:g} … {(high - offset) / scale:g}",
            found=f"{float(samples[bad][0]):g}",
        )
    return values.astype(np.int32)


def host_currents(
    host: dict[str, Any], tensors: dict[str, Any], samples: Any, where: str = "x"
) -> Any:
    """The currents (N, *target) that the host layer makes of samples (N, *shape).

    Equation: clip((Σ W round(x · scale) + (bias << bias_shift) + 2^(shift − 1)) >> shift).
    """
    top = (1 << host["bits"]) - 1
    values = rounded(samples, host["scale"], 0.0, (-top if host["signed"] else 0, top), where)
    weight = tensors[f"host.{host['name']}.weight"].astype(np.int64)
    bias = tensors[f"host.{host['name']}.bias"].astype(np.int64)
    sums = linear(host, weight, values.astype(np.int64)) + (bias << host["bias_shift"])
    rounding = 1 << (host["shift"] - 1)
    return np.clip((sums + rounding) >> host["shift"], *CURRENT_LIMITS).astype(np.int32)


def linear(host: dict[str, Any], weight: Any, values: Any) -> Any:
    """Σ W x in int64: a matrix (targets, sources), or a kernel (C_out, C_in / groups, kH, kW)."""
    count, target = len(values), tuple(host["target"])
    if weight.ndim == 2:
        return (values.reshape(count, -1) @ weight.T).reshape(count, *target)
    height, width = target[1:]
    (down, right), (apart, beside) = host["stride"], host["dilation"]
    groups = host["groups"]
    padded = np.pad(values, ((0, 0), (0, 0), *((p, p) for p in host["padding"])))
    by_group = padded.reshape(count, groups, -1, *padded.shape[2:])
    kernels = weight.reshape(groups, -1, *weight.shape[1:])
    sums = np.zeros((count, groups, kernels.shape[1], height, width), dtype=np.int64)
    for i, j in np.ndindex(*weight.shape[2:]):
        top, left = i * apart, j * beside
        rows = slice(top, top + down * (height - 1) + 1, down)
        columns = slice(left, left + right * (width - 1) + 1, right)
        seen = by_group[:, :, :, rows, columns]
        sums += np.einsum("ngchw,goc->ngohw", seen, kernels[..., i, j])
    return sums.reshape(count, *target)
