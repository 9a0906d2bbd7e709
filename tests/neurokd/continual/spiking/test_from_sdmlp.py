"""A spiking student begins where the float network is."""

import pytest
import torch

from neurokd.config.continual import SpikingConfig
from neurokd.continual.spiking.from_sdmlp import from_sdmlp
from neurokd.errors import UsageError
from neurokd.models.sdmlp import SDMLP
from neurokd.models.spiking_sdmlp import messages


def prototypes(classes: int = 5, each: int = 40) -> tuple[torch.Tensor, torch.Tensor, SDMLP]:
    """Samples around random patterns, and an SDMLP whose neurons are some of the samples."""
    torch.manual_seed(0)
    y = torch.arange(classes).repeat_interleave(each)
    x = messages((torch.rand(classes, 64) ** 3)[y] + 0.15 * torch.rand(len(y), 64))
    net = SDMLP(64, (100,), classes, k=6, switch_samples=1)
    with torch.no_grad():
        net.hidden[0].weight.copy_(x[::2])
        net.classifier.weight.copy_(torch.nn.functional.one_hot(y[::2], classes).T)
    net.constrain()
    net.winners[0].counts.fill_(1)  # the switch is complete: k winners, less the next one
    return x, y, net.eval()


def test_it_answers_as_the_float_network_with_as_many_winners() -> None:
    x, y, net = prototypes()
    generator = torch.get_rng_state()
    student = from_sdmlp(net, SpikingConfig(), x)
    assert torch.equal(generator, torch.get_rng_state())
    pulse = student.pulse
    with torch.no_grad():
        expected, found = net(x), pulse(x)
        fired = (pulse.winners(pulse.activations(x)) > 0).sum(dim=1).double()
    assert (expected.argmax(1) == y).all()
    assert (found.argmax(1) == y).double().mean() > 0.97
    assert abs(float(fired.mean()) - 6) < 0.5
    # logits are of the size of the float network's
    assert float(found.sum() / expected.sum()) == pytest.approx(1, abs=0.05)


def test_several_hidden_layers_are_refused() -> None:
    with pytest.raises(UsageError, match="one hidden layer"):
        from_sdmlp(SDMLP(8, (10, 10), 2, k=2), SpikingConfig(), torch.ones(4, 8))
