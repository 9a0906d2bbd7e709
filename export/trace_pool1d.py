"""Averages along one axis: NIR pools images only, so they become a convolution."""

from __future__ import annotations

from typing import Any

import numpy as np

from neurokd.export.trace_layer import Described, Shape, refuse


def average_pool_1d(path: str, module: Any, shape: Shape, lead: int) -> Described:
    """An AvgPool1d as a Conv1d that joins no channels.

    Equation: y[c, i] = Σ_d Σ_j δ(c, d) / k · x[d, s i + j − p]. All of its C² k weights are added
    to those of the module.

    Raises: `UnsupportedModuleError`.
    """
    if len(shape) != 2:
        raise refuse(path, "AvgPool1d needs samples (C, L)", "pass sequences", str(shape))
    kernel, stride, padding = (
        int(value[0]) if isinstance(value, (tuple, list)) else int(value)
        for value in (module.kernel_size, module.stride, module.padding)
    )
    reach = shape[1] + 2 * padding - kernel
    if module.ceil_mode and reach % stride:
        raise refuse(path, "NIR's windows have no ceil_mode", "use ceil_mode=False")
    if padding and not module.count_include_pad:
        raise refuse(path, "padding must count as zeros", "use count_include_pad=True")
    each = np.eye(shape[0])[:, :, None] / kernel
    weight = np.repeat(each, kernel, axis=2)
    pairs = {"stride": (stride,), "padding": (padding,), "dilation": (1,)}
    return Described("conv", {"weight": weight}, pairs, 0, weight.size)
