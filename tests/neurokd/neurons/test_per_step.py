import torch
from torch import nn

from neurokd.neurons import Accumulator, PerStep


def test_every_step_is_treated_alike() -> None:
    layer, x = nn.Conv2d(2, 3, 3), torch.randn(4, 5, 2, 8, 7)
    expected = torch.stack([layer(step) for step in x])
    assert torch.allclose(PerStep(layer)(x), expected, atol=1e-6)


def test_a_constant_input_is_computed_once() -> None:
    calls = []

    class Spy(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            calls.append(len(x))
            return 2 * x

    image = torch.randn(5, 2)
    out = PerStep(Spy())(image.expand(4, 5, 2))
    assert calls == [5]
    assert torch.equal(out, (2 * image).repeat(4, 1, 1))


def test_accumulator_sums_over_time() -> None:
    x = torch.tensor([1.0, -2.0, 3.0]).reshape(3, 1, 1)
    assert Accumulator()(x).flatten().tolist() == [1.0, -1.0, 2.0]
