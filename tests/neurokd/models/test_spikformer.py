"""Spikformer against a second implementation, its parameters, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from network_checks import check_one_geometry, check_training_step, liven
from torch import Tensor

from neurokd.errors import UnsupportedModuleError, UsageError
from neurokd.export import trace
from neurokd.models import Spikformer
from neurokd.neurons import LIF

TINY: dict[str, Any] = {"in_channels": 2, "dim": 16, "depth": 2, "heads": 4, "mlp_ratio": 2}
STEPS = 3


def test_the_parameters_are_those_of_the_paper() -> None:
    # by hand, dim d: linear layers d² + d and a normalisation 2d, the MLP 4 times as wide
    d = 384
    attention = 4 * (d * d + d + 2 * d)
    mlp = (d * 4 * d + 4 * d + 8 * d) + (4 * d * d + d + 2 * d)
    widths = [(3, 48), (48, 96), (96, 192), (192, 384), (384, 384)]
    stem = sum(9 * a * b + 2 * b for a, b in widths)
    expected = 4 * (attention + mlp) + stem + d * 10 + 10
    for spiking in (False, True):
        model = Spikformer(spiking=spiking)
        assert sum(p.numel() for p in model.parameters()) == expected == 9_324_730
    assert round(expected / 1e6, 2) == 9.32  # published, in millions
    # stem 4 + 1; a block: Q, K, V, attention, projection, two of the MLP
    assert sum(isinstance(m, LIF) for m in model.modules()) == 5 + 4 * 7


def reference(model: Spikformer, images: Tensor) -> Tensor:
    """The paper's network on tokens, step by step, on the weights of ``model``.

    v ← v + (x − v) / 2, thresholds 1 and 0.5. Shapes: (B, C, H, W) → logits (B, K).
    """
    state = model.state_dict()
    membranes: dict[str, Tensor] = {}

    def fire(name: str, x: Tensor, threshold: float = 1.0) -> Tensor:
        v = membranes.get(name, torch.zeros_like(x))
        v = v + (x - v) / 2
        spikes = (v > threshold).to(x.dtype)
        membranes[name] = v * (1 - spikes)
        return spikes

    def norm(name: str, x: Tensor) -> Tensor:
        keys = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(x, *(state[f"{name}.{key}"] for key in keys))

    def convolve(name: str, neuron: str, x: Tensor) -> Tensor:
        y = F.conv2d(x, state[f"{name}.layer.0.weight"], padding=1)
        return fire(neuron, norm(f"{name}.layer.1", y))

    def linear(name: str, neuron: str, tokens: Tensor) -> Tensor:
        weight = state[f"{name}.layer.0.weight"].flatten(1)
        y = tokens @ weight.T + state[f"{name}.layer.0.bias"]
        return fire(neuron, norm(f"{name}.layer.1", y.transpose(1, 2)).transpose(1, 2))

    def heads(tokens: Tensor) -> Tensor:
        return tokens.unflatten(-1, (TINY["heads"], -1)).transpose(1, 2)

    logits = []
    for _ in range(STEPS):
        x = images
        for i in (0, 2, 4, 7):
            x = convolve(f"stem.patches.{i}", f"stem {i}", x)
            x = F.max_pool2d(x, 3, 2, 1) if i >= 4 else x
        x = x + convolve("stem.position.0", "position", x)
        tokens = x.flatten(2).transpose(1, 2)
        for i in range(TINY["depth"]):
            block = f"stages.{i}"
            q, k, v = (
                heads(linear(f"{block}.attention.{part}.0", f"{block} {part}", tokens))
                for part in ("query", "key", "value")
            )
            attended = ((q @ k.transpose(-2, -1)) * 0.125 @ v).transpose(1, 2).flatten(2)
            attended = fire(f"{block} attention", attended, threshold=0.5)
            tokens = tokens + linear(f"{block}.attention.project.0", f"{block} project", attended)
            hidden = linear(f"{block}.mlp.0", f"{block} hidden", tokens)
            tokens = tokens + linear(f"{block}.mlp.2", f"{block} out", hidden)
        weight, bias = state["classifier.layer.weight"], state["classifier.layer.bias"]
        logits.append(tokens.mean(dim=1) @ weight.T + bias)
    assert all((v != 0).any() for v in membranes.values())
    return torch.stack(logits).mean(dim=0)


def test_it_is_the_network_of_the_paper_at_threshold_2() -> None:
    torch.manual_seed(0)
    model = Spikformer(**TINY, spiking=True, threshold=2.0).double().eval()
    liven(model)
    for layer in model.modules():  # else its neurons hardly ever fire
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.bias.data += 1.5
    x = torch.rand(2, 2, 16, 16, dtype=torch.double)
    with torch.no_grad():
        found = model(x.expand(STEPS, *x.shape))[-1] / STEPS
        torch.testing.assert_close(found, reference(model, x), rtol=1e-9, atol=1e-9)
    assert found.std() > 0.01


def test_teacher_and_student_have_the_same_geometry() -> None:
    torch.manual_seed(0)
    x = torch.rand(2, 2, 16, 12)
    dense, spiking = Spikformer(**TINY), Spikformer(**TINY, spiking=True)
    assert check_one_geometry(dense, spiking, x) == [(16, 4, 3)] * 2


def test_the_dense_attention_is_a_softmax() -> None:
    torch.manual_seed(0)
    attention = Spikformer(**TINY).double().eval().stages[0].attention
    kept = []
    attention.activation.register_forward_hook(lambda m, inputs, y: kept.append(inputs[0]))
    x = torch.rand(2, 16, 2, 3, dtype=torch.double)
    with torch.no_grad():
        attention(x)
        parts = (attention.query, attention.key, attention.value)
        q, k, v = (part(x).view(2, 4, 4, 6).transpose(-2, -1) for part in parts)
        weights = torch.softmax(q @ k.transpose(-2, -1) / 4**0.5, dim=-1)
        expected = (weights @ v).transpose(-2, -1).reshape(2, 16, 2, 3)
    torch.testing.assert_close(kept[0], expected)


@pytest.mark.parametrize("spiking", [False, True])
def test_it_learns(spiking: bool) -> None:
    torch.manual_seed(0)
    check_training_step(
        Spikformer(**TINY, spiking=spiking, threshold=0.5), torch.rand(10, 2, 16, 16)
    )


def test_its_last_features_may_be_real_numbers() -> None:
    torch.manual_seed(0)
    model = Spikformer(**TINY, spiking=True, last_activation="relu")
    x = torch.rand(1, 2, 8, 8).expand(2, 1, 2, 8, 8)
    with torch.no_grad():
        earlier = model.stages[0](model.stem(x))
        features = model.stages(model.stem(x))
    assert torch.equal(earlier, earlier.round()) and not torch.equal(features, features.round())


def test_it_is_refused_for_deployment_by_name() -> None:
    model = Spikformer(**TINY, spiking=True).eval()
    with pytest.raises(UnsupportedModuleError, match="MaxPool2d") as caught:
        trace(model, torch.rand(1, 2, 16, 16), steps=2)
    assert "stem.patches.6" in caught.value.where and caught.value.remedy
    with pytest.raises(UnsupportedModuleError) as caught:
        trace(model.stages, torch.rand(1, 16, 4, 4), steps=2)
    assert "0.attention" in caught.value.where and caught.value.remedy


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dim": 20}, "multiple of heads and of 8"),
        ({"heads": 3}, "multiple of heads and of 8"),
        ({"depth": 0}, "depth 0"),
        ({"mlp_ratio": 1.5}, "mlp_ratio 1.5"),
        ({"last_activation": "gelu"}, "'lif' or 'relu'"),
    ],
)
def test_what_is_no_network_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Spikformer(**{**TINY, **settings})
