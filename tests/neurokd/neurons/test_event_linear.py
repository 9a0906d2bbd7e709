from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from neurokd.neurons import PerStep, event_kernel
from neurokd.neurons import event_linear as event_linear_module
from neurokd.neurons.event_linear import event_linear

Product = Callable[..., Tensor]


def run(product: Product, leaves: list[Tensor | None], upstream: Tensor) -> list[Tensor]:
    """Outputs, and the gradients to x, weight and, if there is one, bias."""
    own = [None if leaf is None else leaf.clone().requires_grad_() for leaf in leaves]
    y = product(*own)
    wanted = [leaf for leaf in own if leaf is not None]
    return [y.detach(), *torch.autograd.grad(y, wanted, upstream)]


def sparse(rows: int, columns: int, share: float, generator: torch.Generator) -> Tensor:
    shown = torch.rand(rows, columns, generator=generator) < share
    return torch.where(shown, torch.randn(rows, columns, generator=generator), torch.zeros(()))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    rows=st.integers(0, 300),
    inputs=st.sampled_from([64, 128, 192, 320]),
    outputs=st.sampled_from([64, 128, 256]),
    share=st.sampled_from([0.0, 0.02, 0.3]),
    bias=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_products_and_gradients_are_those_of_linear(
    rows: int, inputs: int, outputs: int, share: float, bias: bool, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = sparse(rows, inputs, share, generator)
    weight = torch.randn(outputs, inputs, generator=generator)
    shift = torch.randn(outputs, generator=generator) if bias else None
    upstream = torch.randn(rows, outputs, generator=generator)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(event_linear_module, "_ALONE", 0)
        found = run(event_linear, [x, weight, shift], upstream)
    leaves = [None if leaf is None else leaf.double() for leaf in (x, weight, shift)]
    expected = run(F.linear, leaves, upstream.double())
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one.double(), other, rtol=1e-5, atol=1e-4)


def test_whole_numbers_are_exact_and_threads_change_no_bit() -> None:
    generator = torch.Generator().manual_seed(0)
    weight, upstream = (
        torch.randint(-9, 9, shape, generator=generator).float()
        for shape in ((128, 256), (500, 128))
    )
    x = (torch.rand(500, 256, generator=generator) < 0.3).float()
    leaves: list[Tensor | None] = [x, weight, torch.arange(128.0)]
    expected = run(F.linear, leaves, upstream)
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            for one, other in zip(run(event_linear, leaves, upstream), expected, strict=True):
                assert torch.equal(one, other)
    finally:
        torch.set_num_threads(before)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one each time that zeros are skipped."""
    made: list[int] = []
    kernel = event_kernel.product

    def counted(*arguments: Any) -> None:
        made.append(1)
        kernel(*arguments)

    monkeypatch.setattr(event_kernel, "product", counted)
    return made


def test_only_sparse_inputs_in_training_skip_zeros(calls: list[int]) -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(128, 256, generator=generator)
    few, many = (sparse(500, 256, share, generator) for share in (0.3, 0.6))
    assert torch.allclose(event_linear(few, weight, None), F.linear(few, weight), atol=1e-4)
    assert calls
    calls.clear()

    def same(x: Tensor, weight: Tensor = weight) -> None:
        assert torch.equal(event_linear(x, weight, None), F.linear(x, weight))

    same(many)
    same(few[:20])  # too few to pay
    same(few.unsqueeze(0))
    same(few.double(), weight.double())
    same(few[:, :250], weight[:, :250].contiguous())
    with torch.no_grad():
        same(few)
    with torch.autocast("cpu", torch.bfloat16):
        same(few)
    assert not calls


def test_a_layer_per_step_skips_zeros_unless_it_has_hooks(calls: list[int]) -> None:
    generator = torch.Generator().manual_seed(0)
    layer, x = nn.Linear(256, 128), sparse(500, 256, 0.3, generator).unflatten(0, (5, 100))
    expected = layer(x)
    assert torch.allclose(PerStep(layer)(x), expected, atol=1e-5) and calls
    calls.clear()
    seen: list[Tensor] = []
    layer.register_forward_hook(lambda module, inputs, output: seen.append(output))
    assert torch.allclose(PerStep(layer)(x), expected, atol=1e-5)
    assert seen and not calls
