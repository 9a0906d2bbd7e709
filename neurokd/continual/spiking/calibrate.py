"""Calibration of the race: the settings with which k neurons win, on the samples of a task."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from neurokd.errors import UsageError
from neurokd.models.winner_circuit import SLACK, STRONGEST, Circuit, race

SAMPLES = 500
"""Samples that calibration looks at: the first ones."""
BRAKE = 2.0
"""What one spike takes from all membranes, in steps of the ramp; less where this is too much."""
_FIRST = 0.98
"""Part of the samples whose most active neuron does not reach the threshold in the first step, and
of those in which one reaches it at all."""
_CLOSE = 0.02
"""Part of k to which the number of winners is found."""
_HALVINGS = 20


def calibrate(
    activations: Tensor, k: int, steps: int, inhibitors: int, before: Circuit | None = None
) -> Circuit:
    """The circuit with which k neurons win on the average, in the steps that there are.

    The threshold is where the strongest samples begin; the ramp is found by halving: the steeper
    it is, the more neurons pass the threshold before inhibition arrives, and the fewer samples
    stay without a winner. Inhibition is `BRAKE` times the ramp; if that leaves fewer than k winners
    with the steepest ramp that the threshold allows, inhibition is found by halving instead.

    With few winners such a ramp may be too slow for weak samples, and k is a mean of many winners
    and none. Then the ramp is the least with which the strongest neurons of nearly all samples
    fire, and inhibition is found by halving, up to what synapses can have; more than k winners are
    better than none.

    ``before``: the circuit of the task before. The race begins no lower than there: samples of
    earlier tasks, of which there are none any more, may be stronger, and all neurons above the
    threshold in the first step would win together.

    Shapes: activations (N, r) of training samples.
    Raises: `UsageError` for activations that no circuit makes k winners of.
    """
    a = activations[:SAMPLES]
    top = float(torch.quantile(a.amax(dim=1).double(), _FIRST))
    if before is not None:
        top = max(top, before.threshold - before.ramp)
    if top <= 0:
        raise _impossible(k, 0.0)
    # beyond it the ramp alone would reach the threshold
    steepest = 0.99 * top / (steps + SLACK - 1)

    def braked(ramp: float, brake: float) -> Circuit:
        inhibition = min(brake * ramp, (STRONGEST - top - ramp) / inhibitors)
        return Circuit(steps, top + ramp, ramp, inhibition, inhibitors).on_grid()

    if winners(a, braked(steepest, BRAKE)) >= k:
        found = _halved(a, k, lambda ramp: braked(ramp, BRAKE), 0.0, steepest)
        weakest = float(torch.quantile(a.amax(dim=1).double(), 1 - _FIRST))
        needed = min((top - weakest) / (steps - 1), steepest)
        if found.ramp >= needed:
            return found
        strongest = (STRONGEST - top - needed) / (inhibitors * needed)
        return _halved(a, k, lambda brake: braked(needed, brake), strongest, BRAKE)
    if (most := winners(a, braked(steepest, 0.0))) < k:
        raise _impossible(k, most)
    return _halved(a, k, lambda brake: braked(steepest, brake), BRAKE, 0.0)


def winners(activations: Tensor, circuit: Circuit) -> float:
    """Mean number of neurons that fire for a sample."""
    times = race(activations, circuit).times
    return float((times < circuit.steps).sum(dim=1).double().mean())


def _halved(
    a: Tensor, k: int, circuit: Callable[[float], Circuit], fewer: float, more: float
) -> Circuit:
    """The circuit between two values, one with too few winners and one with enough."""
    for _ in range(_HALVINGS):
        middle = (fewer + more) / 2
        found = winners(a, circuit(middle))
        if abs(found - k) <= _CLOSE * k:
            return circuit(middle)
        fewer, more = (middle, more) if found < k else (fewer, middle)
    return circuit(more)


def _impossible(k: int, most: float) -> UsageError:
    return UsageError(
        "no circuit makes so many neurons fire",
        where="spiking",
        expected=f"{k} winners on the average",
        found=f"{most:.1f}",
        remedy="use fewer winners, or more steps",
    )
