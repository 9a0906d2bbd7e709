"""What a network of neurokd.models must be, dense and spiking, and on its way to a chip."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neurokd.export import simulate_nir, trace
from neurokd.export.lower import lowering
from neurokd.hardware.emulator import emulate
from neurokd.neurons import LIF, PerStep

STEPS = 3


def stage_outputs(model: nn.Module, x: Tensor) -> list[Tensor]:
    """What the modules of ``feature_stages`` give, first to last."""
    kept: list[Tensor] = []
    hooks = [
        model.get_submodule(path).register_forward_hook(lambda m, i, output: kept.append(output))
        for path in model.feature_stages
    ]
    with torch.no_grad():
        model(x)
    for hook in hooks:
        hook.remove()
    return kept


def check_one_geometry(dense: nn.Module, spiking: nn.Module, x: Tensor) -> list[tuple[int, ...]]:
    """Stages of one shape, spikes in them; the shapes without their leading axes."""
    features = stage_outputs(dense, x)
    spikes = stage_outputs(spiking, x.expand(STEPS, *x.shape))
    assert len(features) == len(spikes) == len(dense.feature_stages)
    for dense_map, spike_map in zip(features, spikes, strict=True):
        assert spike_map.shape == (STEPS, *dense_map.shape)
    with torch.no_grad():
        assert dense(x).shape == (len(x), 10)
        assert spiking(x.expand(STEPS, *x.shape)).shape == (STEPS, len(x), 10)
    for network in (dense, spiking):
        layer = network.get_submodule(getattr(network, "classifier_path", "classifier"))
        assert isinstance(layer.layer if isinstance(layer, PerStep) else layer, nn.Linear)
    return [tuple(features_of_stage.shape[1:]) for features_of_stage in features]


def check_training_step(model: nn.Module, x: Tensor) -> None:
    """Every parameter has a finite gradient, and the loss falls on the batch it was taken on."""
    spiking = any(isinstance(module, LIF) for module in model.modules())
    y = torch.arange(len(x)) % 10
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
    losses = []
    for _ in range(4):
        logits = model(x.expand(STEPS, *x.shape))[-1] / STEPS if spiking else model(x)
        loss = F.cross_entropy(logits, y)
        optimiser.zero_grad()
        loss.backward()
        gradients = [p.grad for p in model.parameters()]
        assert all(g is not None and g.isfinite().all() for g in gradients)
        losses.append(float(loss.detach()))
        optimiser.step()
    assert sum(bool(g.abs().sum() > 0) for g in gradients) == len(gradients)
    assert losses[-1] < losses[0]


def check_exact_trace(model: nn.Module, sample: Tensor) -> None:
    """Each neuron of the traced network spikes as in torch, and the readouts are equal."""
    liven(model)
    model.double().eval()
    sample = sample.double()
    spikes: dict[str, np.ndarray] = {}
    hooks = [
        module.register_forward_hook(
            lambda m, i, fired, path=path: spikes.update({path: fired.numpy()})
        )
        for path, module in model.named_modules()
        if isinstance(module, LIF)
    ]
    x = sample.expand(STEPS, *sample.shape)
    with torch.no_grad():
        expected = model(x).numpy()
    for hook in hooks:
        hook.remove()
    run = simulate_nir(trace(model, sample, steps=STEPS), x.numpy())
    for path, fired in spikes.items():
        assert 0.02 < fired.mean() < 0.95, path
        np.testing.assert_array_equal(run.records[path.replace(".", "_")], fired, err_msg=path)
    np.testing.assert_allclose(run.output, expected, atol=1e-9)
    assert np.ptp(run.output[-1]) > 0.1


def check_lowering(model: nn.Module, samples: Tensor) -> None:
    """The integer network's first neurons spike as the float ones, its readout is close."""
    liven(model)
    model.double().eval()
    x = np.rint(samples.double().numpy() * 255) / 255
    graph = trace(model, torch.from_numpy(x[:1]), steps=STEPS)
    state = lowering(graph, calibration=x)
    notes = [note for note in state.report.values() if "spike_agreement" in note]
    assert len(notes) == sum(isinstance(module, LIF) for module in model.modules())
    assert notes[0]["spike_agreement"] > 0.95 and min(n["spike_agreement"] for n in notes) > 0.7
    net = state.deployed
    assert net is not None
    run = emulate(net, net.padded(net.encode(x)))
    assert run.output.shape == (STEPS + net.latency, len(x), 10)
    assert np.ptp(run.output[-1]) > 0
    assert not [event for event in run.overflows if event.variable in ("u", "threshold")]


def liven(model: nn.Module) -> None:
    """Statistics and weights of normalisation as they could be after training."""
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.05, 0.2)
            nn.init.normal_(layer.bias, 0, 0.3)
            nn.init.uniform_(layer.weight, 0.5, 1.5)
