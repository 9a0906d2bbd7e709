"""The CUBA-LIF neuron in Loihi's fixed point over many steps: the compiled form of `lif_fixed`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from neurokd.hardware.kernel_compiler import MASK_BITS, compiled, lowest_bit, nonzero_mask

_UNITY = 4096
_LIMIT = (1 << 23) - 1
_WRAP_AT = 1 << 23
_WRAP_BY = 1 << 24
_SHIFT_OVERFLOW = 1 << 25
_BLOCK = 2048
"""Neurons updated at a time: their u, v and a stay in the first-level cache."""


@compiled
def lif_steps(
    a: NDArray[np.int32],
    arrived: NDArray[np.uint8],
    first: int,
    last: int,
    u: NDArray[np.int32],
    v: NDArray[np.int32],
    bias: NDArray[np.int32],
    du: int,
    dv: int,
    vth: int,
    start_step: int,
    in_range: bool,
    index: NDArray[np.int32],
    count: NDArray[np.int32],
    row: NDArray[np.int32],
    totals: NDArray[np.int64],
    u_record: NDArray[np.int32],
    v_record: NDArray[np.int32],
    lost: NDArray[np.int64],
    saturated: NDArray[np.int64],
) -> None:
    """Steps ``first`` … ``last`` − 1 (from 0) of all samples; u and v are updated in place.

    The equations are those of `lif_fixed.current_step` and `lif_fixed.voltage_step`, in int32 that
    wraps around: every product is below 2³¹, since |x| · keep >> 12 is computed of |x| = 4096 h + l
    as h · keep + (l · keep >> 12), and v's sum cannot overflow: |v| < 2²³, |bias| < 2²⁰ and
    |u| ≤ 2³¹ − 2²⁴ after its wrap. ``in_range``: |u| < 2²³ is proven (`current_cannot_overflow`).

    Spikes are listed in ``index``, ``count``, ``row`` (see `kernel_events.Events`) and added to
    ``totals`` (neurons,); ``lost`` and ``saturated`` (T,) count the neurons whose u or v left its
    range. u and v are recorded where the record is not empty.

    Shapes: a (B, T, neurons), arrived (B, T) as in `Arrivals`; u, v (B, neurons); bias
    (1 or B, neurons); records (B, T, neurons).
    """
    neurons = a.shape[2]
    nothing = np.zeros(neurons, np.int32)
    fired = np.zeros((neurons + MASK_BITS - 1) // MASK_BITS * MASK_BITS, np.uint8)
    keep_u = np.int32(_UNITY - 1 - du)
    keep_v = np.int32(_UNITY - dv)
    threshold = np.int32(vth << 6)
    for b in range(a.shape[0]):
        own_bias = bias[b if bias.shape[0] > 1 else 0]
        for t in range(first, last):
            if t + 1 == start_step:
                u[b] = 0
                v[b] = 0
            arriving = a[b, t] if arrived[b, t] != 0 else nothing
            for low in range(0, neurons, _BLOCK):
                high = min(low + _BLOCK, neurons)
                received, current = arriving[low:high], u[b, low:high]
                if in_range:
                    if keep_u == 0:
                        _current_without_memory(received, current)
                    else:
                        _current(received, current, keep_u)
                else:
                    lost[t] += _current_that_wraps(received, current, keep_u)
                if keep_v == _UNITY:
                    saturated[t] += _voltage_without_leak(
                        current, v[b, low:high], own_bias[low:high], threshold, fired[low:high]
                    )
                else:
                    saturated[t] += _voltage(
                        current,
                        v[b, low:high],
                        own_bias[low:high],
                        keep_v,
                        threshold,
                        fired[low:high],
                    )
            if u_record.size > 0:
                u_record[b, t] = u[b]
            if v_record.size > 0:
                v_record[b, t] = v[b]
            listed = 0
            for start in range(0, neurons, MASK_BITS):
                mask = nonzero_mask(fired, start)
                while mask != 0:
                    neuron = start + lowest_bit(mask)
                    index[b, t, listed] = neuron
                    totals[neuron] += 1
                    listed += 1
                    mask &= mask - np.uint64(1)
            count[b, t] = listed
            row[b, t] = t


@compiled
def _decay(x: np.int32, keep: np.int32) -> np.int32:
    magnitude = np.int32(-x) if x < 0 else x
    high = np.int32(magnitude >> np.int32(12))
    low = np.int32(magnitude & np.int32(4095))
    kept = np.int32(np.int32(high * keep) + np.int32(np.int32(low * keep) >> np.int32(12)))
    return np.int32(-kept) if x < 0 else kept


@compiled
def _current_without_memory(a: NDArray[np.int32], u: NDArray[np.int32]) -> None:
    for j in range(a.size):
        u[j] = np.int32(a[j] << np.int32(6))


@compiled
def _current(a: NDArray[np.int32], u: NDArray[np.int32], keep: np.int32) -> None:
    for j in range(a.size):
        u[j] = np.int32(_decay(u[j], keep) + np.int32(a[j] << np.int32(6)))


@compiled
def _current_that_wraps(a: NDArray[np.int32], u: NDArray[np.int32], keep: np.int32) -> np.int32:
    lost = np.int32(0)
    for j in range(a.size):
        shifted = np.int32(a[j] << np.int32(6))
        kept = _decay(u[j], keep)
        y = np.int32(kept + shifted)
        beyond = (a[j] >= np.int32(_SHIFT_OVERFLOW)) | (a[j] < np.int32(-_SHIFT_OVERFLOW))
        beyond |= np.int32((kept ^ y) & (shifted ^ y)) < 0
        over, under = y > np.int32(_WRAP_AT), y <= np.int32(-_WRAP_AT)
        if over:
            y = np.int32(y - np.int32(_WRAP_BY))
        elif under:
            y = np.int32(y + np.int32(_WRAP_BY))
        u[j] = y
        lost = np.int32(lost + np.int32(beyond | over | under))
    return lost


@compiled
def _voltage(
    u: NDArray[np.int32],
    v: NDArray[np.int32],
    bias: NDArray[np.int32],
    keep: np.int32,
    threshold: np.int32,
    fired: NDArray[np.uint8],
) -> np.int32:
    saturated = np.int32(0)
    for j in range(u.size):
        total = np.int32(np.int32(_decay(v[j], keep) + u[j]) + bias[j])
        clipped = min(max(total, np.int32(-_LIMIT)), np.int32(_LIMIT))
        saturated = np.int32(saturated + np.int32(clipped != total))
        spike = clipped > threshold
        fired[j] = spike
        v[j] = np.int32(0) if spike else clipped
    return saturated


@compiled
def _voltage_without_leak(
    u: NDArray[np.int32],
    v: NDArray[np.int32],
    bias: NDArray[np.int32],
    threshold: np.int32,
    fired: NDArray[np.uint8],
) -> np.int32:
    saturated = np.int32(0)
    for j in range(u.size):
        total = np.int32(np.int32(v[j] + u[j]) + bias[j])
        clipped = min(max(total, np.int32(-_LIMIT)), np.int32(_LIMIT))
        saturated = np.int32(saturated + np.int32(clipped != total))
        spike = clipped > threshold
        fired[j] = spike
        v[j] = np.int32(0) if spike else clipped
    return saturated
