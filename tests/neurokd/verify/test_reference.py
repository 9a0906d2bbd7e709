"""The float reference: every form of a student against sums written out by hand in numpy."""

from __future__ import annotations

import copy
from typing import Any

import nir
import numpy as np
import pytest
import snntorch
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from neurokd.errors import BackendFailedError, UnsupportedModuleError, UsageError
from neurokd.neurons import LIF, Accumulator, PerStep
from neurokd.neurons.surrogate import triangle
from neurokd.verify.reference import as_scores, classify

STEPS = 5
WEIGHT = np.array([[0.5, -0.25, 1.0], [0.75, 0.5, -0.5]], dtype=np.float32)
X = np.array([[1.0, 0.5, 0.25], [0.25, 1.0, 0.0], [0.9, 0.1, 0.4], [0, 0, 0]], dtype=np.float32)


def linear() -> nn.Linear:
    layer = nn.Linear(3, 2, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(WEIGHT))
    return layer


def spike_counts(x: NDArray[np.float32], beta: float = 0.5) -> NDArray[np.float64]:
    """v ← β v + W x; spike where v > 1, then v ← 0; spikes summed over the steps."""
    v = np.zeros((len(x), 2))
    total = np.zeros_like(v)
    for _ in range(STEPS):
        v = beta * v + x @ WEIGHT.T
        fired = v > 1
        total += fired
        v[fired] = 0
    return total


def test_accumulator_gives_its_last_membrane() -> None:
    scores = as_scores(nn.Sequential(PerStep(linear()), Accumulator()), STEPS)
    np.testing.assert_allclose(scores(X), STEPS * X @ WEIGHT.T, rtol=1e-6)


def test_spiking_output_is_summed_over_time() -> None:
    scores = as_scores(nn.Sequential(PerStep(linear()), LIF(0.5)), STEPS)
    expected = spike_counts(X)
    assert 0 < expected.sum() < expected.size * STEPS
    np.testing.assert_array_equal(scores(X), expected)


def test_currents_at_the_output_are_refused() -> None:
    scores = as_scores(nn.Sequential(LIF(0.5), PerStep(linear())), STEPS)
    with pytest.raises(UnsupportedModuleError, match="neither the membrane of an Accumulator"):
        scores(np.full((1, 3), 2, np.float32))


def test_lost_time_axis_is_refused() -> None:
    class Mean(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mean(dim=0)

    scores = as_scores(nn.Sequential(PerStep(linear()), LIF(0.5), Mean()), STEPS)
    with pytest.raises(UnsupportedModuleError, match="time and batch in front"):
        scores(X)


def leaky(**options: Any) -> snntorch.Leaky:
    return snntorch.Leaky(
        beta=0.5, reset_mechanism="zero", reset_delay=False, init_hidden=True, **options
    )


@pytest.mark.parametrize("output", [False, True])
def test_snntorch_module_is_stepped_from_rest(output: bool) -> None:
    module = nn.Sequential(linear(), leaky(output=output))
    scores = as_scores(module, STEPS)
    np.testing.assert_array_equal(scores(X), spike_counts(X))
    # A second call, and one of another batch size, start from rest as well.
    np.testing.assert_array_equal(scores(X), spike_counts(X))
    np.testing.assert_array_equal(scores(X[:2]), spike_counts(X[:2]))


def test_copied_snntorch_module_is_at_rest_too() -> None:
    # deepcopy leaves a neuron out of snnTorch's list of instances, so that its reset misses it.
    module = copy.deepcopy(nn.Sequential(linear(), leaky()))
    module(torch.from_numpy(X))
    np.testing.assert_array_equal(as_scores(module, STEPS)(X), spike_counts(X))


def test_another_network_keeps_its_state() -> None:
    bystander = leaky()
    bystander(torch.full((1, 2), 0.5))
    as_scores(nn.Sequential(linear(), leaky()), STEPS)(X)
    assert bystander.mem.tolist() == [[0.5, 0.5]]


class Unrolled(nn.Module):
    """The time loop inside: over one sample, over (T, B, *shape), or over steps of its own."""

    def __init__(self, form: str, last: bool = False) -> None:
        super().__init__()
        self.form, self.last = form, last
        self.fc = linear()
        self.lif = snntorch.Leaky(beta=0.5, reset_mechanism="zero", reset_delay=False)

    def forward(self, x: Tensor) -> Any:
        mem = self.lif.init_leaky()
        spikes, membranes = [], []
        for t in range(x.size(0) if self.form == "sequence" else STEPS):
            spk, mem = self.lif(self.fc(x if self.form == "static" else x[t]), mem)
            spikes.append(spk)
            membranes.append(mem)
        return spikes[-1] if self.last else (torch.stack(spikes), torch.stack(membranes))


@pytest.mark.parametrize("form", ["static", "sequence", "fixed sequence"])
def test_module_with_its_time_loop_inside_is_called_once(form: str) -> None:
    scores = as_scores(Unrolled(form), STEPS)
    np.testing.assert_array_equal(scores(X), spike_counts(X))
    np.testing.assert_array_equal(scores(X[:2]), spike_counts(X[:2]))


@pytest.mark.parametrize("form", ["static", "fixed sequence"])
def test_a_time_loop_of_another_length_is_refused(form: str) -> None:
    with pytest.raises(UsageError, match=f"steps={STEPS}.*steps=9"):
        as_scores(Unrolled(form), 9)(X)


class Stepped(nn.Module):
    """One step a call, the state with the caller."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = linear()
        self.lif = snntorch.Leaky(beta=0.5, reset_mechanism="zero", reset_delay=False)

    def forward(self, x: Tensor, mem: Tensor) -> Any:
        spk, mem = self.lif(self.fc(x), mem)
        return spk, mem


def test_module_that_takes_and_returns_its_state() -> None:
    scores = as_scores(Stepped(), STEPS)
    np.testing.assert_array_equal(scores(X), spike_counts(X))
    np.testing.assert_array_equal(scores(X), spike_counts(X))


class SteppedSynapse(nn.Module):
    """Its neuron feeds back on itself, and without reset delay takes no None for its spikes."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = linear()
        self.lif = snntorch.RSynaptic(
            alpha=0.5, beta=0.25, all_to_all=False, V=0.5, reset_mechanism="zero", reset_delay=False
        )

    def forward(self, x: Tensor, spk: Tensor, syn: Tensor, mem: Tensor) -> Any:
        return self.lif(self.fc(x), spk, syn, mem)


def test_states_that_may_not_be_none_are_zero_at_first() -> None:
    # i ← α i + W x + V s; v ← (β v + i) (1 − s); s: v > 1, of the step before on the right
    i, v, s, total = (np.zeros((len(X), 2)) for _ in range(4))
    for _ in range(STEPS):
        i = 0.5 * i + X @ WEIGHT.T + 0.5 * s
        v = (0.25 * v + i) * (1 - s)
        s = (v > 1).astype(float)
        total += s
    assert 0 < total.sum() < total.size * STEPS
    scores = as_scores(SteppedSynapse(), STEPS)
    np.testing.assert_array_equal(scores(X), total)
    np.testing.assert_array_equal(scores(X[:2]), total[:2])


def test_module_in_float64_gets_float64() -> None:
    module = nn.Sequential(linear(), leaky(spike_grad=triangle())).double()
    np.testing.assert_array_equal(as_scores(module, STEPS)(X), spike_counts(X))


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (nn.Sequential(linear(), snntorch.Leaky(beta=0.5)), "module '1'.*cannot be told.*reset"),
        (Unrolled("static", last=True), "cannot be told.*torch.stack.*or pass a function"),
    ],
)
def test_a_module_that_cannot_be_traced_is_refused_by_name(module: nn.Module, words: str) -> None:
    with pytest.raises(UnsupportedModuleError, match=words):
        as_scores(module, STEPS)(X)


def test_dense_module_is_called_once() -> None:
    np.testing.assert_allclose(as_scores(linear(), STEPS)(X), X @ WEIGHT.T, rtol=1e-6)


def test_evaluation_mode_without_gradients_and_restored() -> None:
    module = nn.Sequential(nn.Dropout(0.9), linear())
    module[1].eval()
    modes = [part.training for part in module.modules()]
    np.testing.assert_allclose(as_scores(module, STEPS)(X), X @ WEIGHT.T, rtol=1e-6)
    assert [part.training for part in module.modules()] == modes == [True, True, False]


def graph(last: nir.NIRNode, shape: int = 2) -> nir.NIRGraph:
    return nir.NIRGraph(
        nodes={
            "input": nir.Input({"input": np.array([3])}),
            "fc": nir.Linear(weight=WEIGHT),
            "last": last,
            "output": nir.Output({"output": np.array([shape])}),
        },
        edges=[("input", "fc"), ("fc", "last"), ("last", "output")],
    )


def test_graph_that_ends_in_an_integrator_gives_its_last_state() -> None:
    scores = as_scores(graph(nir.I(r=np.full(2, 1e4))), STEPS)(X)  # dt · r = 1
    np.testing.assert_allclose(scores, STEPS * X @ WEIGHT.T, rtol=1e-6)


def test_graph_that_ends_in_spikes_gives_their_sum() -> None:
    # IF with dt · r = 1 is v ← v + W x: the counts of a neuron without leak.
    node = nir.IF(r=np.full(2, 1e4), v_threshold=np.ones(2), v_reset=np.zeros(2))
    scores = as_scores(graph(node), STEPS)(X)
    np.testing.assert_array_equal(scores, spike_counts(X, beta=1.0))


def test_function_is_used_as_it_is() -> None:
    def scores(x: NDArray[np.float32]) -> NDArray[Any]:
        return x @ WEIGHT.T

    assert as_scores(scores, STEPS) is scores


def test_anything_else_is_refused() -> None:
    with pytest.raises(UsageError, match="not a student.*found int"):
        as_scores(3, STEPS)  # type: ignore[arg-type]


def test_classify_takes_the_argmax_of_checked_scores() -> None:
    scores = np.array([[0.1, 0.3, 0.2], [2, 1, 1]])
    assert classify(scores, 2, 3, "student").tolist() == [1, 0]
    with pytest.raises(BackendFailedError, match=r"student: .*\(2, 4\).*\(2, 3\)"):
        classify(scores, 2, 4, "student")
    scores[1, 1] = np.nan
    with pytest.raises(BackendFailedError, match="onnx: .*not finite"):
        classify(scores, 2, 3, "onnx")
