"""Our time loop beside snnTorch's neurons called step by step: spikes, gradients, layouts."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import snntorch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from snntorch import surrogate as snn_surrogate
from torch import Tensor

from neurokd.errors import ShapeMismatchError
from neurokd.neurons import LIF, PerStep, lif_compiled, time_loop
from neurokd.neurons.surrogate import Surrogate, atan, fast_sigmoid, sigmoid, triangle
from neurokd.neurons.time_loop import spike_train


def triangle_of_snntorch(slope: float) -> Callable[[Tensor], Tensor]:
    def gradient(d: Tensor, upstream: Tensor, _: Tensor) -> Tensor:
        return upstream * torch.clamp(slope - slope * slope * d.abs(), min=0.0)

    spike: Callable[[Tensor], Tensor] = snn_surrogate.custom_surrogate(gradient)
    return spike


PAIRS: dict[str, tuple[Callable[[float], Surrogate], Callable[[float], Any]]] = {
    "triangle": (triangle, triangle_of_snntorch),
    "atan": (atan, snn_surrogate.atan),
    "fast_sigmoid": (fast_sigmoid, snn_surrogate.fast_sigmoid),
    "sigmoid": (sigmoid, snn_surrogate.sigmoid),
}


class Smoothed(torch.autograd.Function):
    """1[d > 0] with the derivative of a smooth function: snnTorch's own rounds to float32."""

    @staticmethod
    def forward(ctx: Any, d: Tensor, smooth: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.save_for_backward(d)
        ctx.smooth = smooth
        return (d > 0).to(d.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        d = ctx.saved_tensors[0].detach().requires_grad_()
        with torch.enable_grad():
            (slope,) = torch.autograd.grad(ctx.smooth(d).sum(), d)
        return gradients[0] * slope, None


SMOOTH: dict[str, Callable[[float, Tensor], Tensor]] = {
    "triangle": lambda k, d: torch.where(k * d.abs() < 1, k * d - k * k * d * d.abs() / 2, 0 * d),
    "atan": lambda k, d: torch.atan(torch.pi * k / 2 * d) / torch.pi,
    "fast_sigmoid": lambda k, d: d / (1 + k * d.abs()),
    "sigmoid": lambda k, d: torch.sigmoid(k * d),
}
PATHS = ("compiled", "torch")


def by_snntorch(
    x: Tensor, alpha: Tensor | None, beta: Tensor, threshold: Tensor, spike_grad: Any
) -> Tensor:
    """The oracle: snnTorch's neuron in a Python loop."""
    settings: dict[str, Any] = dict(
        beta=beta.detach(),
        threshold=threshold.detach(),
        spike_grad=spike_grad,
        reset_mechanism="zero",
        reset_delay=False,
    )
    if alpha is None:
        cell = snntorch.Leaky(**settings)
    else:
        cell = snntorch.Synaptic(alpha=alpha.detach(), **settings)
        del cell.alpha
        cell.alpha = alpha
    del cell.beta, cell.threshold  # buffers, which refuse tensors that want gradients
    cell.beta, cell.threshold = beta, threshold
    states = [torch.zeros_like(x[0]) for _ in range(1 if alpha is None else 2)]
    spikes = []
    for current in x:
        spike, *states = cell(current, *states)
        spikes.append(spike)
    return torch.stack(spikes)


def run(
    function: Callable[..., Tensor], x: Tensor, parameters: list[Tensor | None], weights: Tensor
) -> tuple[Tensor, list[Tensor]]:
    """Spikes, and the gradients of their weighted sum to x and the parameters."""
    leaves = [None if p is None else p.clone().requires_grad_() for p in (x, *parameters)]
    spikes = function(*leaves)
    counted = weights.shape[0] > 1 and weights.stride(0) == 0
    spikes_or_counts = spikes.to(x.dtype).sum(0) if counted else spikes.to(x.dtype)
    (spikes_or_counts * (weights[0] if counted else weights)).sum().backward()
    gradients = []
    for leaf in leaves:
        if leaf is not None:
            assert leaf.grad is not None
            gradients.append(leaf.grad)
    return spikes.detach(), gradients


@pytest.fixture(params=PATHS)
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to compute the loop."""
    if request.param == "torch":
        monkeypatch.setattr(time_loop, "_COMPILED", ())
    return str(request.param)


@st.composite
def cases(draw: st.DrawFn) -> dict[str, Any]:
    shape = draw(st.sampled_from([(), (1,), (7,), (3, 4), (3, 2, 5), (600,)]))
    parameter = st.sampled_from([(), (1,), shape, (*shape[:1], *(1 for _ in shape[1:]))])
    return {
        "shape": (draw(st.integers(1, 9)), draw(st.integers(1, 5)), *shape),
        "filtered": draw(st.booleans()),
        "alpha": draw(parameter),
        "beta": draw(parameter),
        "threshold": draw(parameter),
        "dtype": draw(st.sampled_from([torch.float32, torch.float64])),
        "surrogate": draw(st.sampled_from(list(PAIRS))),
        "slope": draw(st.sampled_from([0.5, 1.0, 2.0, 25.0])),
        "static": draw(st.booleans()),
        "counted": draw(st.booleans()),
        "seed": draw(st.integers(0, 2**31)),
    }


@pytest.mark.parametrize("compiled", [True, False], ids=PATHS)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(case=cases())
def test_spikes_and_gradients_are_those_of_snntorch(compiled: bool, case: dict[str, Any]) -> None:
    generator = torch.Generator().manual_seed(case["seed"])

    def uniform(shape: tuple[int, ...], low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(shape, generator=generator, dtype=case["dtype"])

    x = uniform(case["shape"], -1.0, 2.0)
    weights = uniform(case["shape"], -1.0, 1.0)
    if case["counted"]:  # a sum over time, whose gradient is the same at each step
        weights = weights[:1].expand(case["shape"])
    alpha = uniform(case["alpha"], -0.1, 1.1) if case["filtered"] else None
    beta = uniform(case["beta"], -0.1, 1.1)  # beyond [0, 1] it is clamped, without a gradient
    threshold = uniform(case["threshold"], 0.0, 1.5)
    slope = case["slope"]
    own, theirs = (make(slope) for make in PAIRS[case["surrogate"]])
    # snnTorch's sigmoid overflows to NaN where slope · distance is beyond 88
    if case["dtype"] == torch.float64 or (case["surrogate"] == "sigmoid" and slope == 25):
        smooth = partial(SMOOTH[case["surrogate"]], slope)
        theirs = lambda d: Smoothed.apply(d, smooth)  # noqa: E731

    def expand(x: Tensor) -> Tensor:
        return x[0].expand(*x.shape) if case["static"] else x

    with pytest.MonkeyPatch.context() as patch:
        if not compiled:
            patch.setattr(time_loop, "_COMPILED", ())
        found = run(
            lambda x, a, b, th: spike_train(expand(x), b, th, own, a),
            x,
            [alpha, beta, threshold],
            weights,
        )
    expected = run(
        lambda x, a, b, th: by_snntorch(expand(x), a, b, th, theirs),
        x,
        [alpha, beta, threshold],
        weights,
    )
    assert torch.equal(found[0], expected[0].to(case["dtype"]))
    # sums over up to 27,000 terms in another order; slope 25 makes single terms some hundreds
    tolerance = 2e-4 if case["dtype"] == torch.float32 else 1e-11
    for one, other in zip(found[1], expected[1], strict=True):
        assert one.shape == other.shape and one.dtype == other.dtype
        scale = 1 + float(other.abs().max())
        assert torch.allclose(one, other, rtol=tolerance, atol=tolerance * scale)


def test_gradients_by_hand(path: str) -> None:
    # β = 1/2, threshold 1, triangle: v = 0.75, then 0.375 + 0.875 = 1.25, a spike; L = s₂.
    # ∂L/∂v₂ = h(0.25) = 0.75; ∂L/∂x₁ = 0.75 · β · (1 − s₁ − v₁ h(−0.25)) = 0.375 · (1 − 0.5625)
    x = torch.tensor([0.75, 0.875]).reshape(2, 1, 1).requires_grad_()
    beta, threshold = (torch.tensor(p, requires_grad=True) for p in (0.5, 1.0))
    spike_train(x, beta, threshold, triangle())[1].sum().backward()
    assert x.grad is not None and beta.grad is not None and threshold.grad is not None
    assert x.grad.flatten().tolist() == [0.375 * 0.4375, 0.75]
    assert float(beta.grad) == 0.75 * 0.75  # ∂v₂/∂β = the membrane kept from step 1
    # −h₂, and through the reset of step 1: ∂m₁/∂threshold = v₁ h₁
    assert float(threshold.grad) == -0.75 + 0.375 * 0.75 * 0.75


def test_the_layout_in_memory_changes_nothing_and_is_kept() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 4, 5, 6, 7, generator=generator)
    beta, threshold = torch.rand(5, 1, 1, generator=generator), torch.rand(7, generator=generator)
    weights = torch.randn(x.shape, generator=generator)

    def spikes(x: Tensor, beta: Tensor, threshold: Tensor) -> Tensor:
        return spike_train(x, beta, threshold, triangle())

    plain = run(spikes, x, [beta, threshold], weights)
    last = x.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, (3, 4))
    swapped = x.transpose(1, 3).contiguous().transpose(1, 3)  # the batch is not outermost
    for other in (last, swapped):
        found = run(spikes, other, [beta, threshold], weights)
        assert torch.equal(found[0], plain[0])
        assert torch.equal(found[1][0], plain[1][0])
        for one, two in zip(found[1][1:], plain[1][1:], strict=True):
            assert torch.allclose(one, two, rtol=1e-5)
    assert spikes(last, beta, threshold).stride() == last.stride()


def test_threads_change_no_bit(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(5, 8, 1001, generator=generator)
    beta, threshold = torch.rand(1001, generator=generator), torch.rand((), generator=generator)
    monkeypatch.setattr(lif_compiled, "_ALONE", 0)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3, 3):
            torch.set_num_threads(threads)
            results.append(
                run(lambda x, b, th: spike_train(x, b, th, atan()), x, [beta, threshold], x.cos())
            )
    finally:
        torch.set_num_threads(before)
    for spikes, (to_x, *_) in results[1:]:
        assert torch.equal(spikes, results[0][0])
        assert torch.equal(to_x, results[0][1][0])
    for one, other in zip(results[2][1], results[3][1], strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(path: str, dtype: torch.dtype) -> None:
    x = torch.randn(20, 3, 50, generator=torch.Generator().manual_seed(0)).to(dtype)
    beta, threshold = torch.tensor(0.9), torch.tensor(1.0)

    def spikes(x: Tensor, beta: Tensor, threshold: Tensor) -> Tensor:
        return spike_train(x, beta, threshold, triangle())

    found = run(spikes, x, [beta, threshold], x.cos())
    exact = run(spikes, x.float(), [beta, threshold], x.cos().float())
    assert spikes(x, beta, threshold).dtype == dtype
    assert torch.equal(found[0], exact[0].to(dtype))
    assert torch.equal(found[1][0], exact[1][0].to(dtype))
    assert found[1][1].dtype == torch.float32
    assert torch.equal(found[1][1], exact[1][1])


def test_a_network_under_autocast_spikes_as_its_half_precision_currents_say() -> None:
    torch.manual_seed(0)
    layer, x = PerStep(torch.nn.Linear(64, 64)), (torch.rand(6, 40, 64) < 0.5).float()
    with torch.autocast("cpu", torch.bfloat16):
        current = layer(x)
        spikes = LIF(0.9, 0.2)(current)
        spikes.float().sum().backward()
    assert current.dtype == spikes.dtype == torch.bfloat16
    assert torch.equal(spikes.float(), LIF(0.9, 0.2)(current.float()))
    assert 0.05 < float(spikes.detach().float().mean()) < 0.9
    weight = layer.layer.weight
    assert weight.grad is not None and weight.grad.dtype == torch.float32
    assert bool(weight.grad.isfinite().all()) and bool(weight.grad.any())


@pytest.mark.gpu
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-4)])
def test_a_gpu_gives_the_spikes_and_gradients_of_the_cpu(
    dtype: torch.dtype, tolerance: float
) -> None:
    """In float32 by the fused kernels where Triton is, in float64 by torch's operations."""
    x = torch.randn(40, 4, 50, generator=torch.Generator().manual_seed(0), dtype=dtype)
    parameters: list[Tensor | None] = [torch.rand(50, dtype=dtype), torch.rand((), dtype=dtype)]

    def spikes(x: Tensor, beta: Tensor, threshold: Tensor) -> Tensor:
        return spike_train(x, beta, threshold, atan())

    here = run(spikes, x, parameters, x.cos())
    there = run(spikes, x.cuda(), [p.cuda() for p in parameters if p is not None], x.cos().cuda())
    assert torch.equal(here[0], there[0].cpu())
    for one, other in zip(here[1], there[1], strict=True):
        assert torch.allclose(one, other.cpu(), rtol=tolerance, atol=tolerance)


def test_what_does_not_fit_is_refused() -> None:
    one = torch.tensor(1.0)
    with pytest.raises(ShapeMismatchError, match="time and batch"):
        spike_train(torch.zeros(3), one, one, triangle())
    with pytest.raises(ShapeMismatchError, match="beta does not fit"):
        spike_train(torch.zeros(3, 2, 4), torch.ones(2, 1), one, triangle())


def test_no_neurons_and_no_steps() -> None:
    one = torch.tensor(1.0)
    for shape in ((0, 2, 3), (2, 0, 3), (2, 3, 0)):
        assert spike_train(torch.zeros(shape), one, one, triangle()).shape == shape
