"""The spiking SDMLP: pulses in, membranes out, all numbers on the chip's grid."""

import math

import pytest
import torch
from torch import Tensor

from neurokd.errors import ShapeMismatchError, UsageError
from neurokd.models.spiking_sdmlp import PulseSDMLP, SpikingSDMLP, messages
from neurokd.models.winner_circuit import SCALE, Circuit

STEPS = 8
CIRCUIT = Circuit(STEPS, 0.9, 0.05, 0.1, 4).on_grid()


def network() -> SpikingSDMLP:
    torch.manual_seed(0)
    return SpikingSDMLP(20, 30, 3, 4, CIRCUIT)


def pulse(samples: int = 6) -> Tensor:
    x = torch.zeros(STEPS, samples, 20)
    x[0] = messages(torch.rand(samples, 20, generator=torch.Generator().manual_seed(1)))
    return x


def test_messages_are_whole_numbers_of_a_unit_vector() -> None:
    # ‖(3, 4)‖ = 5: 0.6 and 0.8 of 128; what is negative is silent
    found = messages(torch.tensor([[3.0, 4.0, -9.0], [0.0, 0.0, 0.0], [0.0, 7.0, 0.0]]))
    assert found.tolist() == [[77, 102, 0], [0, 0, 0], [0, 128, 0]]


def test_the_membranes_at_the_end_are_those_of_the_network_without_time() -> None:
    net, x = network(), pulse()
    v = net(x)
    assert v.shape == (STEPS, 6, 3)
    torch.testing.assert_close(v[-1] / STEPS, net.pulse(x[0]))
    assert bool((v[-1] > 0).any())


def test_a_neuron_that_has_fired_fires_at_every_step() -> None:
    spikes = network().spikes(pulse())
    assert spikes.any() and not spikes.all()
    assert bool((spikes[1:] >= spikes[:-1]).all())


def test_weights_are_used_as_the_chip_has_them() -> None:
    net = network().pulse
    hidden = net.hidden_on_grid().detach() * SCALE
    assert torch.equal(hidden, (128 * net.hidden.weight.detach()).round().clamp(max=127))
    assert len(hidden.unique()) > 20
    back = net.classifier_on_grid().detach()
    step = 2.0 ** math.ceil(math.log2(float(net.classifier.weight.detach().max()) / 127))
    assert bool(((back / step) == (back / step).round()).all()) and back.max() <= 127 * step
    torch.testing.assert_close(back, net.classifier.weight.detach(), atol=step / 2, rtol=0)


def test_gradients_pass_through_the_rounding_to_both_layers() -> None:
    net = network().pulse
    net(pulse()[0]).square().sum().backward()
    assert net.hidden.weight.grad is not None and net.classifier.weight.grad is not None
    assert float(net.hidden.weight.grad.abs().sum()) > 0
    assert float(net.classifier.weight.grad.abs().sum()) > 0


def test_the_constraints_hold_after_a_step() -> None:
    net = PulseSDMLP(20, 30, 3, 4, CIRCUIT)
    with torch.no_grad():
        net.hidden.weight.sub_(0.05)
        net.classifier.weight.sub_(0.05)
    net.constrain()
    assert all(bool((parameter >= 0).all()) for parameter in net.parameters())
    norms = net.hidden.weight.norm(dim=1)
    torch.testing.assert_close(norms[norms > 0], torch.ones(int((norms > 0).sum())))


def test_input_after_the_first_step_is_refused() -> None:
    x = pulse()
    x[3, 0, 0] = 1
    with pytest.raises(UsageError, match="one pulse"):
        network()(x)


@pytest.mark.parametrize("shape", [(STEPS + 1, 2, 20), (STEPS, 2, 21), (STEPS, 20)])
def test_input_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeMismatchError, match="does not fit"):
        network()(torch.zeros(shape))
