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


def test_images_of_a_convolution_lie_with_their_channels_last() -> None:
    layer = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4))
    image = torch.rand(5, 1, 8, 7)
    stem = PerStep(layer)(image.expand(3, *image.shape))
    assert stem[0].is_contiguous(memory_format=torch.channels_last)
    steps = PerStep(nn.Conv2d(4, 6, 3))(stem.contiguous())
    assert steps.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)
    # float64, which oneDNN does not compute, stays as it is
    assert PerStep(nn.Conv2d(4, 6, 3).double())(stem.double().contiguous()).is_contiguous()
