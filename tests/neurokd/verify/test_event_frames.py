"""Event frames from the student to every runtime: each step has its own input."""

from __future__ import annotations

from pathlib import Path

import nir
import numpy as np
import pytest
import snntorch as snn
import torch
from torch import nn

from neurokd.data import LabelledData
from neurokd.data.steps_first import lowering_arguments, steps_first
from neurokd.errors import UnsupportedModuleError, UnsupportedNodeError, UsageError
from neurokd.export.lower import lower
from neurokd.export.onnx import to_onnx
from neurokd.export.onnx_runtime import run_onnx
from neurokd.export.simulate_nir import simulate_nir
from neurokd.export.trace import trace
from neurokd.hardware.emulator import emulate
from neurokd.hardware.network import DeployedNetwork
from neurokd.models import build_model
from neurokd.verify import verify
from neurokd.verify.reference import as_scores

STEPS = 5


def event_data(most: int, samples: int = 24) -> LabelledData:
    """Sparse counts up to ``most``, other ones at each step."""
    generator = np.random.default_rng(3)
    seen = generator.random((samples, STEPS, 2, 8, 8)) < 0.2
    counts = generator.integers(1, most + 1, seen.shape) * seen
    y = generator.integers(0, 3, samples)
    return LabelledData("events", counts.astype(np.uint8), y, events=True)


def own_student() -> nn.Module:
    torch.manual_seed(5)
    student = build_model(
        "convnet",
        in_channels=2,
        channels=(4, 6),
        kernels=(3, 3),
        strides=(1, 2),
        classes=3,
        spiking=True,
    )
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.mul_(2.0)  # so that enough of it spikes
        student.eval()
        x = torch.from_numpy(steps_first(event_data(most=9)))
        head = student.get_submodule("classifier.layer")
        assert isinstance(head, nn.Linear)
        head.bias -= student(x)[-1].mean(dim=0) / STEPS  # so that every class is predicted
    return student


def lowered(data: LabelledData, chip: str = "loihi2") -> tuple[nir.NIRGraph, DeployedNetwork]:
    graph = trace(own_student(), torch.zeros(1, *data.sample_shape), steps=data.steps)
    return graph, lower(graph, chip, steps=data.steps, **lowering_arguments(data, chip))


def test_counts_enter_as_they_are_one_set_a_step() -> None:
    data = event_data(most=9)
    _, net = lowered(data)
    assert net.steps == STEPS
    messages = net.encode(steps_first(data), timed=True)
    np.testing.assert_array_equal(messages, data.x.swapaxes(0, 1))
    run = emulate(net, net.padded(messages), net.chip_steps(STEPS), record=("spikes",))
    entered = run.records[net.input.name]["spikes"]
    np.testing.assert_array_equal(entered[:STEPS], data.x.swapaxes(0, 1))
    assert not entered[STEPS:].any()


def test_the_order_of_the_frames_matters() -> None:
    data = event_data(most=9)
    student = own_student()
    scores = as_scores(student, STEPS, timed=True)
    x = steps_first(data)
    with torch.no_grad():
        expected = student(torch.from_numpy(x))[-1].numpy()
    np.testing.assert_allclose(scores(x), expected, rtol=1e-6, atol=1e-6)
    assert np.abs(scores(x) - scores(np.ascontiguousarray(x[::-1]))).max() > 1e-2


@pytest.mark.parametrize("most", [1, 9])
def test_verdict_of_every_runtime_on_this_computer(tmp_path: Path, most: int) -> None:
    data = event_data(most)
    graph, net = lowered(data)
    model = tmp_path / "model.onnx"
    to_onnx(graph, model, steps=STEPS, static_input=False, calibration=steps_first(data))
    for reference in (own_student(), graph):
        verdict = verify(reference, net, data, ("emulator", "onnx"), onnx=model, tolerance=0.1)
        rows = {row.backend: row for row in verdict.rows}
        assert verdict.holds
        for backend in ("emulator", "onnx"):
            assert (rows[backend].agreement or 0) >= 0.9
    predicted = simulate_nir(graph, steps_first(data)).output[-1].reshape(len(data), -1)
    assert len(np.unique(predicted.argmax(axis=1))) > 1  # otherwise agreement would say nothing


@pytest.mark.lava
def test_lava_computes_the_same_integers() -> None:
    data = event_data(most=9, samples=3)
    _, net = lowered(data)
    verdict = verify(own_student(), net, data, ("emulator", "lava"), lava_samples=3, tolerance=1)
    assert verdict.identity is not None and verdict.identity.identical
    assert verdict.identity.samples == 3


def test_the_step_form_in_onnx_takes_frames_too(tmp_path: Path) -> None:
    data = event_data(most=9)
    graph, _ = lowered(data)
    x = steps_first(data)
    scores = []
    for form in ("step", "unrolled"):
        to_onnx(
            graph,
            tmp_path / f"{form}.onnx",
            form=form,
            precision="float",
            steps=STEPS,
            static_input=False,
        )
        scores.append(run_onnx(tmp_path / f"{form}.onnx", x))
    np.testing.assert_allclose(scores[0], scores[1], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        scores[0], as_scores(own_student(), STEPS, timed=True)(x), rtol=1e-4, atol=1e-4
    )


def test_loihi1_takes_frames_of_0_and_1_only() -> None:
    data = event_data(most=1)
    graph, net = lowered(data, "loihi1")
    verdict = verify(graph, net, data, ("emulator",), tolerance=0.1)
    assert verdict.holds
    with pytest.raises(UnsupportedNodeError, match=r"the data changes.*binary spikes"):
        lowered(event_data(most=9), "loihi1")


def test_other_steps_than_the_data_has_are_refused() -> None:
    data = event_data(most=9)
    _, net = lowered(data)
    for call in (
        lambda: verify(own_student(), net, data, ("emulator",), steps=4),
        lambda: net.encode(steps_first(data), 4, timed=True),
        lambda: as_scores(own_student(), 4, timed=True)(steps_first(data)),
    ):
        with pytest.raises(UsageError, match=r"another number of steps \(expected 4, found 5\)"):
            call()


def test_a_constant_current_takes_no_frames() -> None:
    data = event_data(most=9)
    graph, _ = lowered(data)
    still = np.clip(data.x[:, 0] / 9, 0, 1).astype(np.float32)
    net = lower(graph, "loihi1", calibration=still, steps=STEPS)
    with pytest.raises(UsageError, match="the samples change over time"):
        verify(own_student(), net, data, ("emulator",))


LIF = dict(beta=0.5, reset_mechanism="zero", reset_delay=False)


class OneStep(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Flatten(), nn.Linear(128, 3), snn.Leaky(**LIF, init_hidden=True)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        spikes: torch.Tensor = self.net(x)
        return spikes


class AllSteps(nn.Module):
    """The time loop inside, over x (T, B, *shape)."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.lif = nn.Linear(128, 3), snn.Leaky(**LIF)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        membrane = self.lif.init_leaky()
        out = []
        for step in range(x.size(0)):
            spikes, membrane = self.lif(self.linear(x[step].flatten(1)), membrane)
            out.append(spikes)
        return torch.stack(out)


class OneSample(AllSteps):
    """The time loop inside, over one x (B, *shape) that stays."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        membrane = self.lif.init_leaky()
        out = []
        for _ in range(STEPS):
            spikes, membrane = self.lif(self.linear(x.flatten(1)), membrane)
            out.append(spikes)
        return torch.stack(out)


@pytest.mark.parametrize("network", [OneStep, AllSteps])
def test_snntorch_students_get_a_frame_a_step(network: type[nn.Module]) -> None:
    torch.manual_seed(2)
    student = network()
    x = steps_first(event_data(most=9))
    with torch.no_grad():
        linear = next(part for part in student.modules() if isinstance(part, nn.Linear))
        currents = linear(torch.from_numpy(x).flatten(2)).numpy()
    membrane, total = np.zeros_like(currents[0]), np.zeros_like(currents[0])
    for current in currents:  # the definition: decay, integrate, spike, reset to zero
        membrane = 0.5 * membrane + current
        fired = membrane > 1
        membrane, total = np.where(fired, 0, membrane), total + fired
    np.testing.assert_array_equal(as_scores(student, STEPS, timed=True)(x), total)
    assert 0 < total.mean() < STEPS


def test_students_that_cannot_take_frames() -> None:
    x = steps_first(event_data(most=9))
    with pytest.raises(UnsupportedModuleError, match="takes one sample for all steps"):
        as_scores(OneSample(), STEPS, timed=True)(x)


def test_a_dense_network_sees_the_mean_over_time() -> None:
    torch.manual_seed(2)
    dense = nn.Sequential(nn.Flatten(), nn.Linear(128, 3))
    x = steps_first(event_data(most=9))
    with torch.no_grad():
        expected = dense(torch.from_numpy(x).mean(dim=0)).numpy()
    np.testing.assert_array_equal(as_scores(dense, STEPS, timed=True)(x), expected)
