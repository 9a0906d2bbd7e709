"""Convolutions as every reader of NIR understands them: dense, square, symmetrically padded."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from neurokd.export.trace_layer import Described, Floats, Shape, refuse


class Axis(NamedTuple):
    """One spatial axis of a convolution; padding may differ at its two ends."""

    size: int
    kernel: int
    stride: int
    dilation: int
    left: int
    right: int

    @property
    def windows(self) -> int:
        """The number of outputs."""
        reach = self.dilation * (self.kernel - 1) + 1
        return (self.size + self.left + self.right - reach) // self.stride + 1


def describe_conv(path: str, module: Any, weight: Floats, shape: Shape) -> Described:
    """A Conv1d or Conv2d with one group, a kernel as long as it is wide, and equal paddings.

    Equation: y[i] = Σ_j w[j] x[s i + d j − p]. Zeros before the kernel move p, zeros behind it
    nothing; both have to leave the number of outputs as it was. Groups become blocks of a dense
    kernel. Exact in every case, or refused.

    Raises: `UnsupportedModuleError`.
    """
    axes = weight.ndim - 2
    if len(shape) != axes + 1:
        raise refuse(
            path,
            f"a convolution over {axes} axes needs samples of {axes + 1}",
            "pass samples with a channel axis",
            str(shape),
        )
    if module.padding_mode != "zeros":
        raise refuse(
            path, "NIR pads with zeros only", "use padding_mode='zeros'", module.padding_mode
        )
    geometry = _axes(module, shape)
    if min(axis.windows for axis in geometry) < 1:
        raise ValueError(f"kernel {tuple(module.kernel_size)} is larger than a sample {shape}")
    before = weight.size
    weight = _dense(weight, int(module.groups))
    side, found = _square(geometry)
    if found is None:
        raise refuse(
            path,
            "no square kernel with symmetric padding computes the same",
            "use a square kernel, or one whose sides are both odd or both even",
            f"kernel {tuple(module.kernel_size)}, padding {module.padding!r}",
        )
    square = _enlarged(weight, side, found)
    pairs = {
        "stride": tuple(axis.stride for axis in geometry),
        "padding": tuple(a.left + a.dilation * f for a, f in zip(geometry, found, strict=True)),
        "dilation": tuple(axis.dilation for axis in geometry),
    }
    return Described("conv", {"weight": square}, pairs, before, square.size - before)


def _axes(module: Any, shape: Shape) -> list[Axis]:
    result = []
    for i, size in enumerate(shape[1:]):
        kernel, stride, dilation = (
            int(values[i]) for values in (module.kernel_size, module.stride, module.dilation)
        )
        if module.padding == "same":
            # torch puts the odd zero behind
            total = dilation * (kernel - 1)
            left, right = total // 2, total - total // 2
        else:
            left = right = 0 if module.padding == "valid" else int(module.padding[i])
        result.append(Axis(size, kernel, stride, dilation, left, right))
    return result


def _dense(weight: Floats, groups: int) -> Floats:
    """(C_out, C / groups, *kernel) → (C_out, C, *kernel), zero between the groups."""
    if groups == 1:
        return weight
    outputs, inputs = weight.shape[0] // groups, weight.shape[1]
    dense = np.zeros((weight.shape[0], inputs * groups, *weight.shape[2:]), weight.dtype)
    for group in range(groups):
        rows = slice(group * outputs, (group + 1) * outputs)
        dense[rows, group * inputs : (group + 1) * inputs] = weight[rows]
    return dense


def _square(geometry: list[Axis]) -> tuple[int, list[int] | None]:
    """The smallest kernel for all axes, and how many zeros stand before the old one in each."""
    largest = max(axis.kernel for axis in geometry)
    for side in (largest, largest + 1):
        found = [_zeros_before(axis, side) for axis in geometry]
        if None not in found:
            return side, [zeros for zeros in found if zeros is not None]
    return largest, None


def _enlarged(weight: Floats, side: int, before: list[int]) -> Floats:
    """(C_out, C, *kernel) → (C_out, C, side, …), with so many zeros before; itself if it fits."""
    shape = (*weight.shape[:2], *(side for _ in before))
    if weight.shape == shape:
        return weight
    square = np.zeros(shape, weight.dtype)
    kernel = weight.shape[2:]
    inside = tuple(slice(zeros, zeros + n) for zeros, n in zip(before, kernel, strict=True))
    square[(slice(None), slice(None), *inside)] = weight
    return square


def _zeros_before(axis: Axis, side: int) -> int | None:
    """The zeros before the kernel that keep every output, and add none."""
    extra = side - axis.kernel
    for zeros in sorted(range(extra + 1), key=lambda n: abs(2 * n - extra)):
        padding = axis.left + axis.dilation * zeros
        if axis._replace(kernel=side, left=padding, right=padding).windows == axis.windows:
            return zeros
    return None
