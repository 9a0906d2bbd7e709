"""The trained forward pass is the deployed network's, spike by spike."""

from __future__ import annotations

from pathlib import Path

import nir
import numpy as np
import pytest
import torch
from torch import nn

from neurokd.data import load_data
from neurokd.errors import UnsupportedModuleError
from neurokd.export.lower import lowering
from neurokd.export.trace import trace
from neurokd.hardware.emulator import emulate
from neurokd.models import ResNet
from neurokd.run import RunFolder
from neurokd.training.finetune import quantised_network
from neurokd.training.quantise_write_back import write_back

STEPS = 4


def assert_spikes_are_the_emulator_s(
    student: nn.Module, x: np.ndarray, bits: int | dict[str, int]
) -> None:
    graph = trace(student.eval(), torch.zeros(1, *x.shape[1:]), steps=STEPS)
    state = lowering(graph, calibration=x, steps=STEPS, weight_bits=bits)
    net = state.deployed
    assert net is not None
    trainee = quantised_network(state)
    with torch.no_grad():
        sent = trainee.spikes(torch.from_numpy(x).expand(STEPS, *x.shape))
    run = emulate(net, net.padded(net.encode(x)), record=("spikes", "v"))
    for name in trainee.names:
        neuron = trainee.populations()[trainee.names.index(name)].neuron
        record = run.aligned(name)["spikes" if neuron.spiking else "v"][:STEPS]
        found = sent[name].numpy()
        if neuron.spiking:
            np.testing.assert_array_equal(found, record, err_msg=name)
            assert record.any(), name
        elif not (margin := state.scales[name] / trainee.scales[name] - 1):
            np.testing.assert_allclose(found, record / (64 * state.scales[name]), rtol=1e-6)
        else:
            # its scale keeps a margin, so that its weights may change: other integers
            assert margin == pytest.approx(0.25)
            np.testing.assert_allclose(found, record / (64 * state.scales[name]), atol=0.5)


@pytest.mark.training
@pytest.mark.parametrize("bits", [8, 3])
def test_a_convolutional_student(trained_run: Path, tiny_data: str, bits: int) -> None:
    student = RunFolder(trained_run).load_model()
    assert_spikes_are_the_emulator_s(student, load_data(tiny_data).x[:32], bits)


@pytest.mark.parametrize("bits", [8, {"stem_0_layer_0": 5, "stages_1_0_shortcut_layer_1": 3}])
def test_a_residual_student_with_identity_and_strided_shortcuts(
    bits: int | dict[str, int],
) -> None:
    torch.manual_seed(3)
    student = ResNet((2, 1, 1), in_channels=1, hidden=12, spiking=True)
    x = np.random.default_rng(3).random((16, 1, 8, 8)).astype(np.float32)
    for _ in range(40):  # batch statistics under which the layers spike
        student(torch.from_numpy(x).expand(STEPS, *x.shape))
    assert_spikes_are_the_emulator_s(student, x, bits)


def test_gradients_are_near_those_of_the_float_student_on_the_same_grid() -> None:
    torch.manual_seed(0)
    student = ResNet((1, 1, 1), in_channels=1, spiking=True)
    x = (torch.randint(0, 256, (16, 1, 8, 8)) / 255).expand(STEPS, 16, 1, 8, 8)
    for _ in range(40):
        student(x)
    student.eval()
    graph = trace(student, torch.zeros(1, 1, 8, 8), steps=STEPS)
    trainee = quantised_network(lowering(graph, calibration=x[0].numpy(), steps=STEPS))
    written = write_back(trainee, graph, student)
    direction = torch.randn(16, 10)
    (trainee(x)[-1] * direction).sum().backward()
    (written(x)[-1] * direction).sum().backward()
    own = {w.projection.name: w.theta.grad for w in trainee.projections()}["classifier_layer"]
    expected = written.get_submodule("classifier.layer").weight.grad
    assert own is not None and expected is not None
    alike = torch.cosine_similarity(own.flatten(), expected.flatten(), dim=0)
    assert float(alike) > 0.95
    first = trainee.projections()[0].theta.grad
    assert first is not None and float(first.norm()) > 0


def test_what_is_not_covered_is_refused_by_name() -> None:
    lif = nir.LIF(*(np.full(4, v) for v in (2e-4, 2.0, 0.0, 1.0, 0.0)))
    generator = np.random.default_rng(0)
    graph = nir.NIRGraph(
        {
            "input": nir.Input(np.array([4])),
            "in": nir.Linear(generator.normal(size=(4, 4))),
            "lif": lif,
            "back": nir.Linear(generator.normal(size=(4, 4))),
            "output": nir.Output(np.array([4])),
        },
        [("input", "in"), ("in", "lif"), ("lif", "back"), ("back", "lif"), ("lif", "output")],
    )
    with pytest.raises(UnsupportedModuleError, match="feed-forward.*'back'|'back'.*feed-forward"):
        quantised_network(lowering(graph, steps=STEPS, input_bits=1))


def test_each_stage_of_the_student_ends_in_neurons_of_its_own() -> None:
    torch.manual_seed(0)
    student = ResNet((1, 2, 1), in_channels=1, spiking=True)
    x = torch.rand(4, 1, 8, 8)
    for _ in range(10):
        student(x.expand(2, *x.shape))
    graph = trace(student.eval(), torch.zeros(1, 1, 8, 8), steps=2)
    trainee = quantised_network(lowering(graph, calibration=x.numpy(), steps=2))
    heard = trainee.feature_stages
    trainee.stages = student.feature_stages
    ends = [trainee.names[int(path.split(".")[1])] for path in trainee.feature_stages]
    assert ends == ["stages_0_0_activation", "stages_1_1_activation", "stages_2_0_activation"]
    assert heard == trainee.feature_stages[-1:]
    trainee.stages = ("stages.7",)
    with pytest.raises(UnsupportedModuleError, match="no neurons end this stage"):
        _ = trainee.feature_stages
