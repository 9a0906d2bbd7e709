"""Input data: what a run feeds to a network, checked before anything is computed."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from neurokd.errors import ShapeMismatchError, UsageError
from neurokd.hardware.fields import is_integer, numbers
from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.population import CurrentInputPopulation


def checked_input(
    network: DeployedNetwork, x: NDArray[Any], steps: int | None
) -> tuple[NDArray[Any], int]:
    """``x`` if it is what the input population can take, and the chip steps to run.

    Shapes: (T, B, *input shape); of a constant current (B, *input shape), and ``steps`` is needed.
    Raises: `UsageError`, `ShapeMismatchError`.
    """
    population = network.input
    where = f"input {population.name!r}"
    constant = isinstance(population, CurrentInputPopulation)
    data = numbers(where, x)
    axes = "samples" if constant else "steps, samples"
    expected = f"({axes}, {', '.join(map(str, population.shape))})"
    missing = data.ndim == 1 + len(population.shape) and data.shape[1:] == population.shape
    if missing and not constant:
        raise UsageError(
            "this network's input takes messages, one set a step, not a constant bias",
            where=where,
            expected=expected,
            found=str(data.shape),
            remedy="encode the samples with network.encode",
        )
    leading = 1 if constant else 2
    if data.ndim < leading or data.shape[leading:] != population.shape:
        raise ShapeMismatchError(
            "the data does not fit the network",
            where=where,
            expected=expected,
            found=str(data.shape),
        )
    if data.dtype.kind not in "iub":
        raise UsageError(
            "input data are integers",
            where=where,
            expected="an integer type",
            found=str(data.dtype),
            remedy="encode float samples with network.encode",
        )
    if min(data.shape[:leading]) < 1:
        raise UsageError(
            "there is nothing to run", where=where, expected=expected, found=str(data.shape)
        )
    low, high = int(data.min()), int(data.max())
    if low < population.min_value or high > population.max_value:
        raise UsageError(
            "a value of the data is out of range",
            where=where,
            expected=f"{population.min_value} … {population.max_value}",
            found=str(low if low < population.min_value else high),
        )
    return data, _checked_steps(where, None if constant else data.shape[0], steps)


def _checked_steps(where: str, given: int | None, steps: int | None) -> int:
    """The steps of the data, or those asked for where the data has none."""
    if given is not None and steps not in (None, given):
        raise UsageError(
            "steps disagrees with the data",
            where=where,
            expected=f"{given}, the first axis of x",
            found=str(steps),
        )
    if given is not None:
        return given
    if steps is None or not is_integer(steps) or steps < 1:
        raise UsageError(
            "a constant current has no time axis, so that steps must be given",
            where=where,
            expected="steps ≥ 1",
            found=repr(steps),
        )
    return steps
