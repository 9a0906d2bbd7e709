"""Capturing what a torch module does: its layers, and how its forward wants to be called."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, fx, nn

from neurokd.errors import NeurokdError, ShapeMismatchError, UnsupportedModuleError, UsageError
from neurokd.export.trace_calls import add
from neurokd.export.trace_hidden import rest, undisturbed
from neurokd.export.trace_layer import Layers, Shape, refuse
from neurokd.export.trace_modules import HANDLERS, NEURONS
from neurokd.export.trace_neurons import STATES, ResetNone
from neurokd.export.trace_proxy import TimeFirst
from neurokd.export.trace_steps import Steps
from neurokd.export.trace_symbolic import Recorder
from neurokd.export.trace_wrappers import check_unwrapped
from neurokd.neurons import LIF, Accumulator, CubaLIF, PerStep

_PROBE_STEPS = 3


@dataclass(frozen=True)
class Calling:
    """How a module is called: x (B, *shape) is one step, or a sample that stays for all steps.

    ``step``: forward takes one step, and the ``states`` that it returned at these places of its
    output; None before the first. ``loop``: forward runs all steps on one x. ``sequence``: forward
    runs over x (T, B, *shape). ``multi-step``: the same, by the modules of `neurokd.neurons`.
    ``steps`` is T where forward has fixed it. But for ``step`` the output is (T, B, *out), or a
    tuple that begins with it.
    """

    form: Literal["step", "loop", "sequence", "multi-step"]
    steps: int | None = None
    states: tuple[int, ...] = ()


@dataclass(frozen=True)
class Captured:
    """The layers of a module in the order it calls them, additions still explicit.

    ``state_shapes``: of each state that forward takes, without the batch, where neurons say it.
    """

    layers: Layers
    calling: Calling
    neurons: int
    state_shapes: tuple[Shape | None, ...]


def capture(
    root: nn.Module, sample: Tensor, steps: int | None = None, reset_none: ResetNone = "refuse"
) -> Captured:
    """Layers and calling convention of a module; a time loop is checked step by step.

    Shapes: sample (B, *shape).
    Raises: `UnsupportedModuleError`, `ShapeMismatchError`; `UsageError` if this is no module, or
    its time loop takes another number of steps than ``steps``.
    """
    check_unwrapped(root)
    multi_step = any(isinstance(m, (LIF, CubaLIF, Accumulator, PerStep)) for m in root.modules())
    if root.__class__ in HANDLERS or root.__class__ in NEURONS:
        root = nn.Sequential(root)
    with undisturbed(root):
        if multi_step:
            recorder = Recorder(None, None)
            return _captured(root, sample, recorder, recorder.record(root), steps, reset_none)
        recorder = Recorder(sample, None)
        try:
            graph = recorder.record(root)
        except TimeFirst:
            recorder = Recorder(sample, max(2, steps or _PROBE_STEPS))
            graph = recorder.record(root)
        except UnsupportedModuleError as error:
            # sizes that make no sense for one step may make sense for (T, B, *shape)
            recorder = Recorder(sample, max(2, steps or _PROBE_STEPS))
            try:
                graph = recorder.record(root)
            except NeurokdError:
                if recorder.takes_steps():
                    raise
                raise error from None
            if not recorder.takes_steps():
                raise
        return _captured(root, sample, recorder, graph, steps, reset_none)


def _captured(
    root: nn.Module,
    sample: Tensor,
    recorder: Recorder,
    graph: fx.Graph,
    steps: int | None,
    reset_none: ResetNone,
) -> Captured:
    lead = 1 if recorder.sample is not None else 2
    sequence = recorder.steps is not None
    builder = Steps(root, tuple(sample.shape[1:]), lead, sequence, reset_none)
    builder.reset_after = recorder.reset_after
    unfit: Exception | None = None
    try:
        for node in graph.nodes:
            add(builder, node)
    except (IndexError, ValueError, ZeroDivisionError) as error:
        unfit = error  # shapes that cannot be followed: the run below says why
    calling = _calling(builder, recorder, steps)
    x = sample[None] if lead == 2 else sample
    if sequence:
        x = sample.expand(builder.count, *sample.shape)
    state_shapes = tuple(
        None if owner is None else builder.neuron_shapes.get(owner[0])
        for owner in builder.given.values()
    )
    seen, output = _run(root, x, states_at_rest(sample, state_shapes))
    if unfit is not None:
        raise ShapeMismatchError(
            "the sample does not fit the module", where="trace", found=str(unfit)
        ) from unfit
    _check_complete(root, builder, seen)
    lead = 1 if calling.form == "step" else 2
    if builder.table.shapes["output"] != tuple(output.shape[lead:]):
        raise ShapeMismatchError(
            "the traced network does not give the module's output shape",
            where="trace",
            expected=str(tuple(output.shape[lead:])),
            found=str(builder.table.shapes["output"]),
        )
    neurons = sum(math.prod(shape) for shape in builder.neuron_shapes.values())
    return Captured(builder.table.layers, calling, neurons, state_shapes)


def states_at_rest(x: Tensor, shapes: tuple[Shape | None, ...]) -> list[Tensor | None]:
    """The states before the first step, (B, *neurons); None where no shape is known.

    snnTorch takes None for most of them too, but not for those of an RSynaptic with
    reset_delay=False.
    """
    return [None if shape is None else x.new_zeros(x.shape[0], *shape) for shape in shapes]


def _calling(builder: Steps, recorder: Recorder, steps: int | None) -> Calling:
    if recorder.sample is None:
        return Calling("multi-step")
    if recorder.steps is None and not builder.stacked:
        return Calling("step", states=builder.states)
    count = builder.count
    free = recorder.steps == count and recorder.asked_steps
    if steps is not None and steps != count and not (free and steps == 1):
        raise UsageError(
            "the module's own time loop takes another number of steps",
            where="trace",
            expected=f"steps={count}",
            found=f"steps={steps}",
            remedy="leave steps out, or change the module's loop",
        )
    return Calling("loop" if recorder.steps is None else "sequence", None if free else count)


def _check_complete(root: nn.Module, builder: Steps, seen: dict[str, list[Shape]]) -> None:
    """Nothing dropped: every layer and parameter appears, with the neurons that torch has."""
    for path, module in root.named_modules():
        known = type(module) in HANDLERS or type(module) in NEURONS
        within = any(path == call or path.startswith(f"{call}.") for call in builder.used)
        own = [name for name, _ in module.named_parameters(recurse=False)]
        if not known and own and not within:
            raise refuse(
                path, f"the parameter {own[0]!r} is not part of a known layer", "use a layer"
            )
        if known and not within:
            raise refuse(path, "forward never calls this module", "remove it")
    for path, shape in builder.neuron_shapes.items():
        expected = [shape] * builder.calls.get(path, 1)
        if seen.get(path) != expected:
            raise refuse(
                path, "the neurons counted differ", "report this", f"{seen.get(path)}, {expected}"
            )


def _run(
    root: nn.Module, x: Tensor, states: list[Tensor | None]
) -> tuple[dict[str, list[Shape]], Tensor]:
    """The shape without leading axes of every neuron layer's output, and the network's output."""
    seen: dict[str, list[Shape]] = {}
    handles = []
    for path, module in root.named_modules():
        if isinstance(module, (LIF, CubaLIF, Accumulator)) or type(module) in STATES:
            lead = 1 if type(module) in STATES else 2

            def note(_: Any, __: Any, y: Any, path: str = path, lead: int = lead) -> None:
                spikes = y[0] if isinstance(y, tuple) else y
                shape = tuple(spikes.shape[lead:]) if isinstance(spikes, Tensor) else ()
                seen.setdefault(path, []).append(shape)

            handles.append(module.register_forward_hook(note))
    rest(root)
    try:
        with torch.no_grad():
            output = root(x, *states)
    except Exception as error:  # whatever the user's module does with a sample that does not fit
        raise UnsupportedModuleError(
            "the module does not run on the sample",
            where="trace",
            found=str(error),
            remedy="pass one step of data, (B, *shape), of the dtype of the module",
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    first = output[0] if isinstance(output, (tuple, list)) and output else output
    if not isinstance(first, Tensor):
        raise refuse("", "forward must return one tensor", "return the last layer's output")
    return seen, first
