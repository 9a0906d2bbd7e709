from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from neurokd.errors import UsageError
from neurokd.models import ConvNet, ResNet
from neurokd.training.features import StageFeatures
from neurokd.training.recompute import recomputable, recomputed

NETWORKS = {
    "convnet": lambda: ConvNet(1, (8, 8, 8), (3, 3, 3), (1, 2, 1), classes=3, spiking=True),
    "resnet": lambda: ResNet((1, 1, 1), in_channels=1, classes=3, spiking=True),
}


def step(network: nn.Module, stages: tuple[str, ...]) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Loss, gradients and state after a step whose loss also sees the last stage's features."""
    torch.manual_seed(1)
    features = StageFeatures(network, stages[-1])
    features.expect()
    x, y = torch.rand(8, 1, 8, 8), torch.randint(3, (8,))
    loss = nn.functional.cross_entropy(network(x.expand(4, *x.shape))[-1], y)
    loss = loss + features.take().square().mean()
    loss.backward()
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    state = {key: value.clone() for key, value in network.state_dict().items()}
    return [loss.detach(), *gradients, torch.rand(1)], state


def kept_bytes(network: nn.Module) -> int:
    """What autograd keeps of a forward pass."""
    sizes: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    x = torch.rand(8, 1, 8, 8)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        kept = network(x.expand(16, *x.shape))
    del kept
    return sum(sizes.values())


def test_parts_are_blocks_where_a_stage_has_them() -> None:
    stages = ("stages.0", "stages.1", "stages.2")
    assert recomputable(NETWORKS["convnet"](), stages) == stages
    blocks = ("stages.0.0", "stages.1.0", "stages.2.0")
    assert recomputable(NETWORKS["resnet"](), stages) == blocks
    assert recomputable(nn.Sequential(nn.Linear(1, 1)), ("0",)) == ("0",)  # a stage without parts
    with pytest.raises(UsageError, match="no such module"):
        recomputable(NETWORKS["convnet"](), ("stages.7",))


@pytest.mark.parametrize("name", list(NETWORKS))
def test_the_same_bits_with_less_memory(name: str) -> None:
    torch.manual_seed(0)
    plain = NETWORKS[name]()
    other = copy.deepcopy(plain)
    stages = tuple(f"stages.{i}" for i in range(3))
    expected, state = step(plain, stages)
    with recomputed(other, recomputable(other, stages)):
        found, state_found = step(other, stages)
        less = kept_bytes(other)
    assert len(found) == len(expected)
    for one, two in zip(found, expected, strict=True):
        assert torch.equal(one, two)
    assert list(state_found) == list(state)  # with the count of batches and running statistics
    for key, value in state.items():
        assert torch.equal(value, state_found[key]), key
    assert less < 0.6 * kept_bytes(other)


def test_random_numbers_inside_a_stage_are_drawn_once() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Sequential(nn.Linear(5, 5), nn.Dropout(0.5)), nn.Linear(5, 2))
    x = torch.rand(4, 5)
    results = []
    for stages in ((), ("0",)):
        torch.manual_seed(1)
        network.zero_grad()
        with recomputed(network, stages):
            network(x).square().sum().backward()
        results.append([p.grad for p in network.parameters()] + [torch.rand(3)])
    for one, two in zip(*results, strict=True):
        assert one is not None and two is not None and torch.equal(one, two)


def test_a_copy_computes_with_its_own_weights_and_the_network_is_left_as_it_was() -> None:
    network = nn.Sequential(nn.Linear(2, 2))
    with recomputed(network, ("0",)):
        twin = copy.deepcopy(network)
        for parameter in twin.parameters():
            nn.init.zeros_(parameter)
        assert not twin(torch.ones(1, 2)).detach().any()
    assert "forward" not in vars(network[0])
    with pytest.raises(ValueError, match="stop"), recomputed(network, ("0",)):
        raise ValueError("stop")
    assert "forward" not in vars(network[0])
