"""Lowered networks: exact where the floats lie on the chip's grid, close elsewhere."""

from __future__ import annotations

import json

import nir
import numpy as np
import pytest
import torch
from torch import nn

from neurokd.errors import NeurokdError, UnsupportedNodeError, UsageError
from neurokd.export import lower, simulate_nir, trace
from neurokd.export.lower import PASSES, lowering
from neurokd.hardware.emulator import emulate
from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.population import STATE_SHIFT
from neurokd.hardware.run import Run
from neurokd.models.convnet import ConvNet

DT = 2.0**-13
"""With a power of two every time constant of these graphs is exact."""


def lif(shape: tuple[int, ...], beta: float, threshold: float) -> nir.LIF:
    tau = DT / (1 - beta)
    values = (tau, tau / DT, 0.0, threshold, 0.0)
    return nir.LIF(*(np.full(shape, v) for v in values))


def grid_graph(rng: np.random.Generator, biased: bool) -> nir.NIRGraph:
    """Convolution, LIF, convolution, IF, average, dense, integrator; all numbers dyadic."""

    def weights(*shape: int) -> np.ndarray:
        return rng.integers(-60, 61, size=shape) / 32

    def bias(n: int, unit: float) -> np.ndarray:
        return rng.integers(-8, 9, size=n) * unit * biased

    return nir.NIRGraph(
        nodes={
            "input": nir.Input(np.array([2, 8, 10])),
            "c1": nir.Conv2d(
                (8, 10), weights(3, 2, 3, 3), (2, 2), (1, 1), (1, 1), 1, bias(3, 1 / 64)
            ),
            "l1": lif((3, 4, 5), 0.5, 2.0),
            "c2": nir.Conv2d(
                (4, 5), weights(4, 3, 2, 2), (1, 1), (1, 1), (2, 2), 1, bias(4, 1 / 64)
            ),
            "l2": nir.IF(*(np.full((4, 4, 5), v) for v in (1 / DT, 1.5, 0.0))),
            "pool": nir.AvgPool2d(np.array([2, 1]), np.array([2, 1]), np.array([0, 0])),
            "flat": nir.Flatten({"input": np.array([4, 2, 5])}, 0, -1),
            "dense": nir.Affine(rng.integers(-8, 9, size=(3, 40)) / 16.0, bias(3, 1 / 64)),
            "readout": nir.I(np.full(3, 1 / DT)),
            "output": nir.Output(np.array([3])),
        },
        edges=[
            ("input", "c1"),
            ("c1", "l1"),
            ("l1", "c2"),
            ("c2", "l2"),
            ("l2", "pool"),
            ("pool", "flat"),
            ("flat", "dense"),
            ("dense", "readout"),
            ("readout", "output"),
        ],
        metadata={"dt": DT},
        type_check=False,
    )


def run_padded(net: DeployedNetwork, messages: np.ndarray) -> Run:
    rest = np.zeros((net.latency, *messages.shape[1:]), messages.dtype)
    return emulate(net, np.concatenate([messages, rest]), record=("v", "spikes"))


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("graded", [False, True])
def test_exact_where_everything_lies_on_the_grid(biased: bool, graded: bool) -> None:
    rng = np.random.default_rng(5)
    graph = grid_graph(rng, biased)
    top = 15 if graded else 1
    scale = 16.0 if graded else 1.0
    messages = rng.integers(0, top + 1, size=(5, 4, 2, 8, 10))
    net = lower(
        graph,
        calibration=messages / scale,
        input_bits=4 if graded else 1,
        input_scale=scale,
        steps=5,
    )
    report = net.metadata["lowering"]["populations"]
    assert [note["rms_weight_error"] for note in report.values()] == [0.0, 0.0, 0.0]
    run = run_padded(net, messages.astype(np.int32))
    reference = simulate_nir(graph, messages / scale)
    for name in ("l1", "l2"):
        spikes = run.aligned(name)["spikes"][:5]
        assert 0.02 < spikes.mean() < 0.9
        np.testing.assert_array_equal(spikes, reference.records[name])
    v = run.aligned("readout")["v"][:5] / (report["readout"]["scale"] * (1 << STATE_SHIFT))
    np.testing.assert_array_equal(v, reference.output)
    starts = [p.start_step for p in net.populations[1:]]
    assert starts == ([2, 3, 4] if biased else [1, 1, 1])
    assert not run.overflows


def trained_like() -> nn.Module:
    torch.manual_seed(0)
    model = ConvNet(spiking=True, channels=(6, 8), kernels=(5, 3), strides=(2, 2)).double()
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.05)
            layer.running_var.uniform_(0.03, 0.1)
            nn.init.normal_(layer.bias, 0, 0.1)
    return model


def test_a_convolutional_net_agrees_up_to_quantisation() -> None:
    graph = trace(trained_like(), torch.rand(1, 1, 12, 12, dtype=torch.double), steps=4)
    samples = np.rint(np.random.default_rng(0).random((40, 1, 12, 12)) * 255) / 255
    net = lower(graph, calibration=samples)
    assert net.steps == 4 and net.latency == 3 and net.chip == "loihi2"
    run = run_padded(net, net.encode(samples))
    reference = simulate_nir(graph, np.broadcast_to(samples, (4, *samples.shape)))
    for name in ("stages_0_1", "stages_1_1"):
        spikes = run.aligned(name)["spikes"][:4]
        assert 0.02 < spikes.mean() < 0.9
        assert (spikes == reference.records[name]).mean() > 0.97
    scale = net.metadata["lowering"]["populations"][net.output]["scale"]
    error = run.output[-1] / (scale * 64) - reference.output[-1]
    assert np.abs(error).max() < 0.5 * reference.output[-1].std()
    json.dumps(net.metadata)
    # the proof of the readout: v cannot reach the threshold, whatever spikes arrive
    bound = net.metadata["lowering"]["populations"][net.output]["proven_bound"]
    assert np.abs(run.records[net.output]["v"]).max() <= bound < 131071 << STATE_SHIFT


def test_without_calibration_the_scales_rest_on_the_worst_case() -> None:
    graph = trace(trained_like(), torch.rand(1, 1, 12, 12, dtype=torch.double))
    net = lower(graph, steps=4)
    brightest = np.ones((1, 1, 12, 12))
    assert not [o for o in run_padded(net, net.encode(brightest)).overflows if o.variable == "u"]
    first = net.projections[0]
    sums = np.maximum(first.weight, 0).reshape(6, -1).sum(axis=1)
    assert sums.max() * 255 < 1 << 17


def test_metadata_and_defaults() -> None:
    graph = trace(trained_like(), torch.rand(1, 1, 12, 12, dtype=torch.double))
    report = lower(graph).metadata["lowering"]
    assert report["dt_s"] == 1e-4 and report["steps"] == 4 and report["input_scale"] == 255.0
    for note in report["populations"].values():
        assert {"scale", "effective_bits", "fraction_clipped", "rms_weight_error"} <= set(note)
    assert [name for name, _ in PASSES] == [
        "populations",
        "compose_linear",
        "split_decays",
        "calibration",
        "hosted_layer",
        "drives",
        "balance",
        "depth",
        "scale_search",
        "thresholds",
        "host_layer",
        "layout",
        "compare",
    ]


def test_fewer_bits_are_coarser() -> None:
    graph = trace(trained_like(), torch.rand(1, 1, 12, 12, dtype=torch.double), steps=4)
    errors = []
    for bits in (8, 4):
        state = lowering(graph, weight_bits=bits)
        assert not any(np.any(w % (1 << (9 - bits))) for w in state.weights.values())
        assert state.deployed is not None
        note = state.deployed.metadata["lowering"]["populations"]["stages_1_1"]
        errors.append(note["rms_weight_error"])
    assert errors[1] > 8 * errors[0]


def test_bad_arguments_are_refused() -> None:
    graph = trace(trained_like(), torch.rand(1, 1, 12, 12, dtype=torch.double))
    for arguments, words in (
        ({"chip": "loihi3"}, "loihi2"),
        ({"scale_method": "best"}, "percentile"),
        ({"input_bits": 9}, "input_bits"),
        ({"weight_bits": 9}, "weight_bits"),
        ({"calibration": np.zeros((3, 1, 12, 11))}, "12, 12"),
        ({"calibration": np.full((3, 1, 12, 12), 1.5)}, "1.5"),
        ({"calibration": np.full((3, 1, 12, 12), np.nan)}, "nan"),
    ):
        with pytest.raises(NeurokdError, match=words):
            lower(graph, **arguments)
    assert issubclass(UsageError, NeurokdError)


def simple(neuron: nir.NIRNode, *, tail: nir.NIRNode | None = None) -> nir.NIRGraph:
    nodes = {
        "input": nir.Input(np.array([2])),
        "w": nir.Linear(np.eye(2)),
        "n": neuron,
        "output": nir.Output(np.array([2])),
    }
    edges = [("input", "w"), ("w", "n")]
    if tail is None:
        edges.append(("n", "output"))
    else:
        nodes["tail"] = tail
        edges += [("n", "tail"), ("tail", "output")]
    return nir.NIRGraph(nodes, edges, metadata={"dt": DT}, type_check=False)


def vary(**changes: object) -> nir.LIF:
    node = lif((2,), 0.5, 1.0)
    for field, value in changes.items():
        setattr(node, field, np.asarray(value, dtype=float))
    return node


def biased_delay() -> nir.NIRGraph:
    nodes = {
        "input": nir.Input(np.array([2])),
        "w": nir.Affine(np.eye(2), np.ones(2)),
        "d": nir.Delay(np.full(2, DT)),
        "n": vary(),
        "output": nir.Output(np.array([2])),
    }
    names = list(nodes)
    return nir.NIRGraph(
        nodes, list(zip(names, names[1:], strict=False)), metadata={"dt": DT}, type_check=False
    )


REFUSED = {
    "v_reset": (simple(vary(v_reset=[-1, -1])), "n", "v_reset"),
    "sign": (simple(vary(v_threshold=[-1, -1])), "n", "positive"),
    "tau": (simple(vary(tau=[DT, DT])), "n", "12-bit"),
    "tau of the output": (simple(vary(tau=[2 * DT, 4 * DT])), "n", "2 different values|output"),
    "delay without neurons": (simple(nir.Delay(np.zeros(2))), "output", "one neuron layer"),
    "long delay": (simple(nir.Delay(np.full(2, 63 * DT)), tail=vary()), "tail", "longer"),
    "biased delay": (biased_delay(), "d", "begin late"),
    "integrator inside": (
        simple(nir.I(np.ones(2)), tail=nir.Linear(np.eye(2))),
        "n",
        "does not spike",
    ),
    "linear end": (simple(vary(), tail=nir.Linear(np.eye(2))), "output", "one neuron layer"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_chip_cannot_do_is_refused_by_name(name: str) -> None:
    graph, node, words = REFUSED[name]
    with pytest.raises(UnsupportedNodeError, match=words) as caught:
        lower(graph, steps=3)
    assert caught.value.where == f"node {node!r}" and caught.value.remedy


def test_a_filtering_synapse_becomes_du() -> None:
    # τ_syn = 4 dt keeps ¾ of the current: 4096 − (du + 1) = 3072
    parameters = (4 * DT, 2 * DT, 2.0, 0.0, 1.0, 0.0, 4.0)
    node = nir.CubaLIF(*(np.full(2, v) for v in parameters))
    graph = simple(node)
    messages = np.random.default_rng(1).integers(0, 2, size=(6, 3, 2))
    net = lower(graph, calibration=messages, input_bits=1, steps=6)
    neuron = net.population("n")
    assert (neuron.du, neuron.dv) == (1023, 2048)
    spikes = run_padded(net, messages.astype(np.int32)).aligned("n")["spikes"][:6]
    np.testing.assert_array_equal(spikes, simulate_nir(graph, messages).output)
    assert spikes.any() and not spikes.all()


def test_a_leak_and_thresholds_of_their_own_are_exact() -> None:
    node = vary(v_leak=[0.5, 0.25], v_threshold=[0.5, 1.0])
    graph = simple(node)
    messages = np.random.default_rng(1).integers(0, 2, size=(4, 6, 2))
    net = lower(graph, calibration=messages, steps=4, scales={"n": 64.0})
    spikes = run_padded(net, messages.astype(np.int32)).aligned("n")["spikes"][:4]
    np.testing.assert_array_equal(spikes, simulate_nir(graph, messages).output)
    assert spikes.any() and not spikes.all()


def test_a_threshold_node_fires_on_what_arrives() -> None:
    graph = simple(nir.Threshold(np.array([0.5, 1.5])))
    graph.nodes["w"] = nir.Linear(np.array([[1.0, 0.25], [1.0, 1.0]]))
    messages = np.random.default_rng(1).integers(0, 2, size=(6, 8, 2))
    net = lower(graph, calibration=messages, steps=6)
    assert net.population("n").dv == 4095
    spikes = run_padded(net, messages.astype(np.int32)).aligned("n")["spikes"][:6]
    np.testing.assert_array_equal(spikes, simulate_nir(graph, messages).output)
    assert spikes.any() and not spikes.all()


@pytest.mark.parametrize("end", ["LI", "CubaLI", "CubaLIF"])
def test_readouts_that_leak_and_filter(end: str) -> None:
    size, kept = np.ones(2), {"tau_syn": 4 * DT, "tau_mem": 2 * DT, "r": 2.0, "w_in": 4.0}
    fields = {name: value * size for name, value in kept.items()} | {"v_leak": 0 * size}
    nodes = {
        "LI": nir.LI(2 * DT * size, 2 * size, 0 * size),
        "CubaLI": nir.CubaLI(**fields),
        "CubaLIF": nir.CubaLIF(**fields, v_threshold=size, v_reset=0 * size),
    }
    graph = simple(vary(v_threshold=[0.5, 0.5]), tail=nir.Linear(np.array([[1.0, -0.5], [0.5, 1]])))
    graph.nodes["end"] = nodes[end]
    graph.edges = [e for e in graph.edges if e[1] != "output"] + [
        ("tail", "end"),
        ("end", "output"),
    ]
    messages = np.random.default_rng(1).integers(0, 2, size=(6, 8, 2))
    net = lower(graph, calibration=messages, steps=6)
    run = run_padded(net, messages.astype(np.int32)).aligned("end")
    expected = simulate_nir(graph, messages).output
    if end == "CubaLIF":
        np.testing.assert_array_equal(run["spikes"][:6], expected)
        assert expected.any() and not expected.all()
        return
    scale = net.metadata["lowering"]["populations"]["end"]["scale"] * (1 << STATE_SHIFT)
    # a decay rounds down, by less than a unit of v and u a step
    np.testing.assert_allclose(run["v"][:6] / scale, expected, atol=12 * 2 / scale)
    assert np.abs(expected).max() > 0.5


def test_a_signal_of_one_axis_is_an_image_of_height_one() -> None:
    rng = np.random.default_rng(3)
    shape = (3, 5)
    nodes = {
        "input": nir.Input(np.array([2, 5])),
        "c": nir.Conv1d(5, rng.integers(-4, 9, (3, 2, 3)) / 8, 1, 1, 1, 1, np.zeros(3)),
        "l": nir.LIF(*(np.full(shape, v) for v in (2 * DT, 2.0, 0.0, 0.5, 0.0))),
        "flat": nir.Flatten({"input": np.array(shape)}, 0, -1),
        "w": nir.Linear(rng.integers(-4, 9, (2, 15)) / 8),
        "end": lif((2,), 0.5, 1.0),
        "output": nir.Output(np.array([2])),
    }
    names = list(nodes)
    edges = list(zip(names, names[1:], strict=False))
    graph = nir.NIRGraph(nodes, edges, metadata={"dt": DT}, type_check=False)
    samples = rng.integers(0, 2, size=(6, 2, 5)).astype(float)
    net = lower(graph, calibration=samples, steps=5, scales={"l": 64.0, "end": 64.0})
    assert net.input.shape == (2, 1, 5) and net.population("l").shape == (3, 1, 5)
    run = run_padded(net, np.array(net.encode(samples)))
    reference = simulate_nir(graph, np.broadcast_to(samples, (5, *samples.shape)))
    np.testing.assert_array_equal(run.aligned("l")["spikes"][:5, :, :, 0], reference.records["l"])
    np.testing.assert_array_equal(run.aligned("end")["spikes"][:5], reference.output)
    assert 0.05 < reference.output.mean() < 0.95


@pytest.mark.parametrize("depth", [1, 2])
def test_a_bias_before_a_filtering_synapse_is_a_neuron_that_always_fires(depth: int) -> None:
    # τ_syn = 2 dt: u keeps a half, and gain is a quarter of w_in r
    node = nir.CubaLIF(*(np.full(2, v) for v in (2 * DT, 2 * DT, 2.0, 0.0, 1.0, 0.0, 2.0)))
    graph = simple(node) if depth == 1 else simple(vary(), tail=nir.Linear(np.eye(2)))
    if depth == 2:
        graph.nodes["end"] = node
        graph.edges = [e for e in graph.edges if e[1] != "output"]
        graph.edges += [("tail", "end"), ("end", "output")]
    last = "w" if depth == 1 else "tail"
    graph.nodes[last] = nir.Affine(np.array([[1.0, -0.5], [0.5, 1.0]]), np.array([0.25, 0.5]))
    messages = np.random.default_rng(1).integers(0, 2, size=(6, 8, 2))
    end = "n" if depth == 1 else "end"
    net = lower(graph, calibration=messages, steps=6, scales={"n": 64.0, "end": 64.0})
    assert net.population(f"{end}.bias").size == 1 and net.latency == depth
    run = run_padded(net, messages.astype(np.int32))
    reference = simulate_nir(graph, messages)
    assert run.records[f"{end}.bias"]["spikes"].all()
    np.testing.assert_array_equal(run.aligned(end)["spikes"][:6], reference.output)
    assert reference.output.any() and not reference.output.all()
