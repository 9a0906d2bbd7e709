"""Residual students on the chip: every shortcut balanced, every layer close to the floats."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from neurokd.export import trace
from neurokd.export.lower import lowering
from neurokd.export.lowering import Lowering
from neurokd.hardware.emulator import emulate
from neurokd.models import build_model

STEPS = 4


def lowered(name: str, size: int, samples: int) -> tuple[Lowering, np.ndarray]:
    torch.manual_seed(3)
    model = build_model(name, spiking=True)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.05, 0.2)
            nn.init.normal_(layer.bias, 0, 0.3)
            nn.init.uniform_(layer.weight, 0.5, 1.5)
    x = np.rint(np.random.default_rng(0).random((samples, 3, size, size)) * 255) / 255
    sample = torch.from_numpy(x[:1])
    graph = trace(model.double().eval(), sample, steps=STEPS)
    return lowering(graph, calibration=x), x


def check(state: Lowering, x: np.ndarray, identities: int, depth: int) -> None:
    net = state.deployed
    assert net is not None and net.latency == depth
    by = [
        (entry["by"], entry["steps"])
        for note in state.report.values()
        for entry in note.get("delays", {}).values()
    ]
    # a stage that changes the shape has a convolution on its shortcut: a relay before it
    assert sorted(by) == [("relay", 1)] * 2 + [("written out", 1)] * identities
    assert sum(p.relay for p in state.floats.populations) == 2
    for name, note in state.report.items():
        if "rate" in note:
            assert note["spike_agreement"] > 0.7, name
            assert abs(note["rate"] - note["float_rate"]) < 0.02, name
    # the first layers have no chain of errors before them yet
    assert state.report["stem_1"]["spike_agreement"] > 0.95
    run = emulate(net, net.padded(net.encode(x[:1])))
    assert run.output.shape == (STEPS + depth, 1, 10) and np.ptp(run.output[-1]) > 0
    assert not [event for event in run.overflows if event.variable in ("u", "threshold")]


def test_resnet20() -> None:
    state, x = lowered("resnet20", 8, 6)
    check(state, x, identities=7, depth=20)
    relayed = [note["neurons"] for note in state.report.values() if "relay_of" in note]
    assert sorted(relayed) == [32 * 16, 16 * 64]


@pytest.mark.slow
def test_resnet19() -> None:
    state, x = lowered("resnet19", 32, 4)
    check(state, x, identities=6, depth=18)
