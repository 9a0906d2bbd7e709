"""snnTorch's neurons as NIR's: membranes, synapses, thresholds, and the way back to themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import snntorch
import torch
from torch import Tensor, nn

from neurokd.export.trace_layer import Described, Floats, Shape, refuse

ResetNone = Literal["refuse", "threshold"]

STATES: dict[type[nn.Module], tuple[str, ...]] = {
    snntorch.Leaky: ("mem",),
    snntorch.Synaptic: ("syn", "mem"),
    snntorch.RLeaky: ("spk", "mem"),
    snntorch.RSynaptic: ("spk", "syn", "mem"),
}
"""The state that each neuron takes after its input, in order."""


def returned_states(module: nn.Module) -> tuple[str, ...]:
    """What a neuron returns after its spikes, or nothing if it returns the spikes alone."""
    alone = module.init_hidden and not module.output
    return () if alone else tuple(name for name in STATES[type(module)] if name != "spk")


@dataclass(frozen=True)
class Neuron:
    """A neuron layer in NIR: nodes one after the other, by suffix; the last one spikes.

    ``recurrent`` leads from the last back into the first; it may have a bias. ``late_reset``: the
    last two nodes hear of a spike a step after it (`trace_late_reset`), and so does ``recurrent``.
    """

    chain: tuple[tuple[str, Described], ...]
    recurrent: nn.Module | None
    late_reset: bool = False


def describe_neuron(path: str, cell: Any, shape: Shape, reset_none: ResetNone) -> Neuron:
    """α, β and threshold of every neuron, as a LIF, CubaLIF or IF, or LI and Threshold.

    Equation: i ← α i + x; v ← β v + i; s = 1[v > threshold]; v ← 0 if s (reset "none": v stays).
    With α = 1 or β = 1 the synapse is a node of its own, since τ is then infinite. RSynaptic
    resets a step late, which takes nodes of its own: `trace_late_reset`.

    Raises: `UnsupportedModuleError`.
    """
    _check_behaviour(path, cell, reset_none)
    beta = _parameter(path, "beta", cell.beta.clamp(0, 1), shape)
    threshold = _parameter(path, "threshold", cell.threshold, shape)
    if not (beta > 0).all():
        raise refuse(
            path, "a neuron without memory has no NIR form", "use 0 < beta ≤ 1", f"{beta.min():g}"
        )
    if (threshold < 0).any():
        raise refuse(
            path,
            "a negative threshold is below the potential after a reset",
            "use threshold ≥ 0",
            f"{threshold.min():g}",
        )
    uniform = _uniform(path, "beta", beta)
    chain: list[tuple[str, Described]] = []
    arrays = {"beta": beta, "threshold": threshold}
    filtered = isinstance(cell, (snntorch.Synaptic, snntorch.RSynaptic))
    late = resets_late(cell)
    if filtered:
        alpha = _parameter(path, "alpha", cell.alpha.clamp(0, 1), shape)
        if _uniform(path, "alpha", alpha) or uniform or late:
            chain.append(("_synapse", Described("li", {"beta": alpha})))
            filtered = False
        else:
            arrays["alpha"] = alpha
    if cell.reset_mechanism == "none":
        membrane = {name: value for name, value in arrays.items() if name != "threshold"}
        chain.append(("_membrane", Described("li", membrane)))
        chain.append(("", Described("threshold", {"threshold": threshold})))
    elif late:
        chain.append(("_membrane", Described("lif", arrays)))
        chain.append(("", Described("threshold", {"threshold": np.broadcast_to(0.5, shape)})))
    else:
        chain.append(("", Described("cuba" if filtered else "lif", arrays)))
    return Neuron(tuple(chain), getattr(cell, "recurrent", None), late)


def _uniform(path: str, name: str, values: Floats) -> bool:
    """Whether no neuron leaks; some leaking and some not is refused."""
    if (values == 1).any() and not (values == 1).all():
        raise refuse(
            path,
            "some neurons leak and some do not",
            f"use {name} < 1, or {name} = 1, for the layer",
        )
    return bool((values == 1).all())


def _parameter(path: str, name: str, value: Tensor, shape: Shape) -> Floats:
    """A parameter of every neuron, float64; one for all is broadcast, not copied."""
    array = value.detach().cpu().double().numpy()
    if not np.isfinite(array).all():
        raise refuse(path, f"{name} is not finite", "train it again", name)
    try:
        return np.broadcast_to(array, shape)
    except ValueError as error:
        raise refuse(
            path,
            f"{name} does not fit the neurons",
            f"give {name} the shape of a sample",
            f"{array.shape} for {shape}",
        ) from error


def _check_behaviour(path: str, cell: Any, reset_none: ResetNone) -> None:
    """Refuses every setting that NIR's neurons cannot follow."""
    kept = cell.reset_mechanism == "none"
    stored = {"subtract": 0, "zero": 1, "none": 2}[cell.reset_mechanism]
    always_late = isinstance(cell, snntorch.RSynaptic) and not _resets_at_once(type(cell))
    # first, since the remedy of a later check would not hold for this neuron
    if always_late and cell.init_hidden and not cell.reset_delay:
        raise refuse(
            path,
            f"RSynaptic of snnTorch {snntorch.__version__} cannot run with init_hidden=True and "
            "reset_delay=False",
            "use reset_delay=True, which changes nothing else in this neuron",
        )
    settings = "reset_mechanism='zero'" + ("" if always_late else " and reset_delay=False")
    checks: Mapping[str, tuple[bool, str, str]] = {
        f"reset_mechanism={cell.reset_mechanism!r}": (
            cell.reset_mechanism == "zero" or (kept and reset_none == "threshold"),
            "a membrane that no spike resets has no neuron in NIR"
            if kept
            else "NIR's neurons reset to a value; subtraction keeps what exceeds the threshold",
            f"use {settings}, and train with it" + (f", or {_AS_THRESHOLD}" if kept else ""),
        ),
        f"reset_mechanism_val={int(cell.reset_mechanism_val)}": (
            int(cell.reset_mechanism_val) == stored,
            "the stored reset contradicts reset_mechanism",
            f"load weights of a neuron with reset_mechanism={cell.reset_mechanism!r}",
        ),
        f"reset_delay={cell.reset_delay}": (
            kept or not cell.reset_delay or resets_late(cell),
            "NIR's neurons reset in the step of the spike, not one later",
            "use reset_delay=False, and train with it",
        ),
        "inhibition=True": (not cell.inhibition, _OTHER, "use inhibition=False"),
        "state_quant": (not cell.state_quant, _OTHER, "use state_quant=False"),
        "graded_spikes_factor ≠ 1": (
            bool((cell.graded_spikes_factor == 1).all()),
            "NIR's spikes are 0 or 1",
            "use graded_spikes_factor=1",
        ),
        "a surrogate whose spike is not 1[v > threshold]": (
            _is_step(cell.spike_grad),
            _OTHER,
            "use a surrogate that is a step function going forward",
        ),
    }
    for found, (holds, reason, remedy) in checks.items():
        if not holds:
            raise refuse(path, reason, remedy, found)


_AS_THRESHOLD = (
    'take LI and Threshold: reset_none="threshold" in trace, --reset-none threshold on the '
    "command line"
)
_OTHER = "NIR's neurons have nothing of the kind"


def _is_step(spike_grad: Callable[[Tensor], Tensor]) -> bool:
    probe = torch.tensor([-1.0, 0.0, 1e-3, 1.0])
    with torch.no_grad():
        return torch.equal(spike_grad(probe), torch.tensor([0.0, 0.0, 1.0, 1.0]))


def resets_late(cell: nn.Module) -> bool:
    """Whether a neuron resets to zero in the step after its spike, and NIR can say so.

    RSynaptic of snnTorch 1.0.0 does, with and without ``reset_delay``. That others do with
    ``reset_delay=True`` is a choice of their user, and refused.
    """
    if not isinstance(cell, snntorch.RSynaptic) or cell.reset_mechanism != "zero":
        return False
    return bool(cell.reset_delay) or not _resets_at_once(type(cell))


def _resets_at_once(kind: Any) -> bool:
    """Whether a membrane of 2 is 0 after its spike, in the snnTorch that is installed."""
    probe = kind(0.5, 0.5, V=0.0, all_to_all=False, reset_mechanism="zero", reset_delay=False)
    # snnTorch keeps every neuron it ever made in a list
    snntorch.SpikingNeuron.instances[:] = [
        neuron for neuron in snntorch.SpikingNeuron.instances if neuron is not probe
    ]
    rest = torch.zeros(1, 1)
    with torch.no_grad():
        returned = probe.forward(torch.full((1, 1), 2.0), rest, rest, rest)
    return bool(returned[-1] == 0)
