"""The float reference: a student in any of its forms as one function from samples to scores."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from neurokd.errors import BackendFailedError, UnsupportedModuleError, UsageError

if TYPE_CHECKING:
    import nir
    from torch import Tensor, nn

    from neurokd.export.trace_capture import Captured

Scores: TypeAlias = Callable[[NDArray[np.float32]], NDArray[Any]]
"""Samples (B, *shape), or (T, B, *shape), → scores (B, K); the class is the argmax."""
Student: TypeAlias = "Scores | nn.Module | nir.NIRGraph"


def as_scores(student: Student, steps: int, *, timed: bool = False) -> Scores:
    """The student as a function from samples (B, *shape) float32 to scores (B, K).

    Samples that change over time, ``timed``, are (T, B, *shape): spiking networks take them as they
    are, a module without spiking neurons takes their mean over time.

    A torch module in the multi-step form of `neurokd.neurons` gets each sample at all ``steps``
    steps, (T, B, *shape); its scores are the last membrane if it ends in an `Accumulator`, else the
    sum of its spikes. A module of snnTorch neurons is called as `neurokd.export.trace_capture`
    finds it wants to be: once a step, with the states that it returned, if it takes any; or once,
    with the samples or with them at all steps, if its time loop is inside. Its neurons are at rest
    before the first step, and its spikes are summed. A module without spiking neurons is called
    once. A NIR graph is simulated; its scores are the last state if it ends in `I` or `LI`, else
    the sum of its spikes. A function is used as it is.

    Raises: `UnsupportedModuleError` for a module whose calling convention cannot be told.
    """
    if _is_instance(student, "torch.nn", "Module"):
        return _module_scores(cast("nn.Module", student), steps, timed)
    if _is_instance(student, "nir", "NIRGraph"):
        return _graph_scores(cast("nir.NIRGraph", student), steps, timed)
    if callable(student):
        return student
    raise UsageError(
        "this is not a student",
        where="verify",
        expected="a function (B, *shape) → (B, K), a torch module or a NIR graph",
        found=type(student).__name__,
    )


def classify(scores: NDArray[Any], samples: int, classes: int, where: str) -> NDArray[np.int64]:
    """(B,) argmax of checked scores; `BackendFailedError` unless they are finite and (B, K)."""
    scores = np.asarray(scores)
    if scores.shape != (samples, classes):
        raise BackendFailedError(
            "the scores do not have one row a sample and one column a class",
            where=where,
            expected=str((samples, classes)),
            found=str(scores.shape),
        )
    if not np.isfinite(scores).all():
        raise BackendFailedError("the scores are not finite numbers", where=where)
    best: NDArray[np.int64] = np.argmax(scores, axis=1)
    return best


def _is_instance(value: object, module: str, name: str) -> bool:
    """Like isinstance, without importing a package that nobody has imported yet."""
    loaded = sys.modules.get(module)
    return loaded is not None and isinstance(value, getattr(loaded, name))


def _module_scores(module: nn.Module, steps: int, timed: bool) -> Scores:
    import torch

    forward = _forward_of(module, steps, timed)

    def scores(samples: NDArray[np.float32]) -> NDArray[Any]:
        tensor = next(iter((*module.parameters(), *module.buffers())), torch.empty(0))
        modes = {part: part.training for part in module.modules()}
        module.eval()
        try:
            with torch.no_grad():
                # A copy: torch refuses to share memory that numpy holds read-only.
                dtype = tensor.dtype if tensor.is_floating_point() else torch.float32
                x = torch.tensor(samples, dtype=dtype, device=tensor.device)
                found: NDArray[Any] = forward(x).cpu().numpy()
        finally:
            for part, mode in modes.items():
                part.training = mode
        return found

    return scores


def _forward_of(module: nn.Module, steps: int, timed: bool) -> Callable[[Tensor], Tensor]:
    """What turns (B, *shape), or (T, B, *shape), into (B, K) for this kind of module."""
    import snntorch

    from neurokd.export.trace_capture import states_at_rest
    from neurokd.neurons import LIF, Accumulator, CubaLIF, PerStep

    parts = list(module.modules())
    where = type(module).__name__
    if any(isinstance(part, LIF | CubaLIF | Accumulator | PerStep) for part in parts):
        ends_in_membrane = any(isinstance(part, Accumulator) for part in parts)

        def multi_step(samples: Tensor) -> Tensor:
            x = _over_time(samples, steps, timed)
            out: Tensor = module(x)
            if out.ndim < 3 or out.shape[:2] != x.shape[:2]:
                raise UnsupportedModuleError(
                    "a multi-step module has to keep time and batch in front",
                    where=where,
                    expected=f"({steps}, {x.shape[1]}, classes)",
                    found=str(tuple(out.shape)),
                )
            return out[-1] if ends_in_membrane else _spikes(out, where).sum(dim=0)

        return multi_step
    neurons = [part for part in parts if isinstance(part, snntorch.SpikingNeuron)]
    if not neurons:
        return lambda x: _tensor(module(x.mean(dim=0) if timed else x), where)

    def from_rest(samples: Tensor) -> Tensor:
        x = _over_time(samples, steps, timed)
        captured = _captured(module, x[0, :1], steps)
        calling = captured.calling
        if timed and calling.form == "loop":
            raise UnsupportedModuleError(
                "the time loop inside this module takes one sample for all steps",
                where=where,
                expected="a module that takes one step at a call, or all steps",
            )
        _rest(neurons)
        try:
            if calling.form == "step":
                first = states_at_rest(x[0], captured.state_shapes)
                return _stepped(module, x, calling.states, first)
            out = _tensor(module(samples if calling.form == "loop" else x), where)
        finally:
            _rest(neurons)
        if out.ndim < 3 or out.shape[:2] != x.shape[:2]:
            raise UnsupportedModuleError(
                "a module with its own time loop has to return all steps",
                where=where,
                expected=f"({steps}, {x.shape[1]}, classes)",
                found=str(tuple(out.shape)),
            )
        return _spikes(out, where).sum(dim=0)

    return from_rest


def _over_time(samples: Tensor, steps: int, timed: bool) -> Tensor:
    """Samples as (T, B, *shape); `UsageError` if they have another number of steps."""
    if not timed:
        return samples.expand(steps, *samples.shape)
    if len(samples) != steps:
        raise UsageError(
            "the samples have another number of steps",
            where="student",
            expected=str(steps),
            found=str(len(samples)),
        )
    return samples


def _captured(module: nn.Module, sample: Tensor, steps: int) -> Captured:
    """How forward wants to be called, if that can be told."""
    from neurokd.export.trace_capture import capture

    try:
        return capture(module, sample, steps, reset_none="threshold")
    except UnsupportedModuleError as error:
        raise UnsupportedModuleError(
            "it cannot be told how to call this module, since it cannot be traced: " + error.what,
            where=error.where,
            expected=error.expected,
            found=error.found,
            remedy=f"{error.remedy}; or pass a function from samples (B, *shape) to scores",
        ) from error


def _stepped(
    module: nn.Module, x: Tensor, states: tuple[int, ...], first: list[Tensor | None]
) -> Tensor:
    """The spikes of a module that takes one step at a call, and perhaps the states it returned."""
    where = type(module).__name__
    passed: list[Any] = list(first)
    total: Tensor | None = None
    for step in x:
        out = module(step, *passed)
        spikes = _spikes(_tensor(out, where), where)
        passed = [out[index] for index in states]
        total = spikes if total is None else total + spikes
    assert total is not None  # steps ≥ 1
    return total


def _rest(neurons: list[Any]) -> None:
    # Not snntorch.utils.reset: it resets every network of the process, and misses copied ones.
    for neuron in neurons:
        neuron.reset_mem()


def _tensor(output: Any, where: str) -> Tensor:
    """The scores or spikes in a module's output: itself, or the first of (spikes, state)."""
    import torch

    first = output[0] if isinstance(output, tuple | list) and output else output
    if not isinstance(first, torch.Tensor):
        raise UnsupportedModuleError(
            "the module does not return a tensor, nor (spikes, membrane)",
            where=where,
            found=type(first).__name__,
        )
    return first


def _spikes(output: Tensor, where: str) -> Tensor:
    """The output, once it is shown to be spikes: a sum of anything else would be a guess."""
    if not bool(((output == 0) | (output == 1)).all()):
        raise UnsupportedModuleError(
            "the output is neither the membrane of an Accumulator nor spikes",
            where=where,
            expected="0 and 1",
            found=f"values from {output.min().item():g} to {output.max().item():g}",
            remedy="end in a spiking neuron or neurokd.neurons.Accumulator, or pass a function",
        )
    return output


def _graph_scores(graph: nir.NIRGraph, steps: int, timed: bool) -> Scores:
    import nir

    from neurokd.export.simulate_nir import simulate_nir

    outputs = [name for name, node in graph.nodes.items() if isinstance(node, nir.Output)]
    last = {type(graph.nodes[source]) for source, target in graph.edges if target in outputs}
    ends_in_state = last <= {nir.I, nir.LI}

    def scores(samples: NDArray[np.float32]) -> NDArray[Any]:
        x = samples if timed else np.broadcast_to(samples, (steps, *samples.shape))
        output = np.asarray(simulate_nir(graph, x).output)
        chosen = output[-1] if ends_in_state else output.sum(axis=0)
        flat: NDArray[Any] = chosen.reshape(x.shape[1], -1)
        return flat

    return scores
