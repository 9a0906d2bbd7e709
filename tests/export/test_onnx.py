"""to_onnx against a step loop of this file's own in float64, and against hand-derived spikes."""

from __future__ import annotations

import copy
import json
from typing import Any

import nir
import numpy as np
import onnx
import pytest

from neurokd.errors import (
    BackendFailedError,
    ShapeMismatchError,
    UnsupportedNodeError,
    UsageError,
)
from neurokd.export.onnx import to_onnx
from neurokd.export.onnx_runtime import run_onnx

DT = 1e-4


def lif(shape: tuple[int, ...], beta: float = 0.75, threshold: float = 1.0) -> nir.LIF:
    """snnTorch's encoding: tau = dt / (1 − beta), r = tau / dt, so v' = beta v + x."""
    tau = np.full(shape, DT / (1 - beta))
    return nir.LIF(
        tau=tau,
        r=tau / DT,
        v_leak=np.zeros(shape),
        v_threshold=np.full(shape, threshold),
        v_reset=np.zeros(shape),
    )


def accumulator(count: int) -> nir.I:
    return nir.I(r=np.full(count, 1 / DT))


def chain(shape: tuple[int, ...], *layers: tuple[str, nir.NIRNode], out: int) -> nir.NIRGraph:
    names = ["input", *(name for name, _ in layers), "output"]
    nodes = {
        "input": nir.Input({"input": np.array(shape)}),
        **dict(layers),
        "output": nir.Output({"output": np.array([out])}),
    }
    edges = list(zip(names[:-1], names[1:], strict=True))
    return nir.NIRGraph(nodes=nodes, edges=edges, metadata={"dt": DT}, type_check=False)


def conv(
    rng: np.random.Generator, out: int, into: int, kernel: tuple[int, int], **other: Any
) -> Any:
    weight = rng.normal(0, 1.2 / np.sqrt(into * kernel[0] * kernel[1]), (out, into, *kernel))
    settings = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1, **other}
    return nir.Conv2d(input_shape=None, weight=weight, bias=rng.normal(0, 0.1, out), **settings)


def convolve(x: np.ndarray, node: Any) -> np.ndarray:
    """Cross-correlation written as its definition. x (B, C, H, W)."""
    (sy, sx), (py, px), (dy, dx) = node.stride, node.padding, node.dilation
    x = np.pad(x, ((0, 0), (0, 0), (py, py), (px, px)))
    ky, kx = node.weight.shape[2:]
    height = (x.shape[2] - dy * (ky - 1) - 1) // sy + 1
    width = (x.shape[3] - dx * (kx - 1) - 1) // sx + 1
    y = np.zeros((x.shape[0], node.weight.shape[0], height, width))
    for i in range(height):
        for j in range(width):
            rows = slice(i * sy, i * sy + dy * (ky - 1) + 1, dy)
            columns = slice(j * sx, j * sx + dx * (kx - 1) + 1, dx)
            patch = x[:, :, rows, columns]
            y[:, :, i, j] = np.einsum("bcyx,ocyx->bo", patch, node.weight) + node.bias
    return y


def conv_network(rng: np.random.Generator, pool: Any = None) -> nir.NIRGraph:
    """(2, 9, 6) → conv 3×2 stride (2, 1) → LIF (4, 4, 7) → pool 2×3 → (4, 2, 2) → linear → I."""
    pool = pool or nir.SumPool2d(np.array([2, 3]), np.array([2, 3]), np.array([0, 1]))
    return chain(
        (2, 9, 6),
        ("conv", conv(rng, 4, 2, (3, 2), stride=(2, 1), padding=(0, 1))),
        ("lif", lif((4, 4, 7))),
        ("pool", pool),
        ("flatten", nir.Flatten({"input": np.array([4, 2, 3])}, 0, -1)),
        ("linear", nir.Affine(rng.normal(0, 0.3, (5, 24)), rng.normal(0, 0.1, 5))),
        ("sum", accumulator(5)),
        out=5,
    )


def conv_network_reference(graph: nir.NIRGraph, x: np.ndarray, mean: bool = False) -> np.ndarray:
    """x (T, B, 2, 9, 6) → v of the accumulator at the last step, (B, 5)."""
    nodes: Any = graph.nodes
    v = np.zeros((x.shape[1], 4, 4, 7))
    total = np.zeros((x.shape[1], 5))
    for frame in x:
        v = 0.75 * v + convolve(frame, nodes["conv"])
        spikes = (v > 1).astype(float)
        v = np.where(spikes > 0, 0.0, v)
        padded = np.pad(spikes, ((0, 0), (0, 0), (0, 0), (1, 1)))
        pooled = padded.reshape(-1, 4, 2, 2, 3, 3).sum((3, 5)) / (6 if mean else 1)
        total += pooled.reshape(-1, 24) @ nodes["linear"].weight.T + nodes["linear"].bias
    return total


@pytest.mark.parametrize("form", ["step", "unrolled"])
def test_single_lif_spikes_when_the_equation_says(tmp_path, form):
    # v: 0.75·0 + 0.5 = 0.5, 0.875, 1.15625 > 1 → spike, 0.5, 0.875, spike: 2 spikes in 7 steps.
    # Input 1.0 is the threshold itself, and v > threshold is strict: step 1 does not fire,
    # 0.75 + 1 does, so every second step: 3 in 7.
    graph = chain((1,), ("lif", lif((1,))), out=1)
    path = tmp_path / "lif.onnx"
    report = to_onnx(graph, path, form, "float", steps=7)
    scores = run_onnx(path, np.array([[0.5], [1.0], [0.0], [1.5]], np.float32), steps=7)
    assert scores.ravel().tolist() == [2.0, 3.0, 0.0, 7.0]
    assert report.readout == "sum"


def test_leak_and_reset_potentials_are_kept(tmp_path):
    # dt/tau = 0.5: v ← v + 0.5 (0.25 − v + 2 x). x = 0.5: 0.625; 0.9375 > 0.75 → −0.5;
    # then 0.375, 0.8125 → spike: spikes at steps 2 and 4.
    one = np.ones(1)
    node = nir.LIF(
        tau=2 * DT * one, r=2 * one, v_leak=0.25 * one, v_threshold=0.75 * one, v_reset=-0.5 * one
    )
    to_onnx(chain((1,), ("lif", node), out=1), tmp_path / "m.onnx", "step", "float")
    x = np.full((1, 1), 0.5, np.float32)
    counts = [run_onnx(tmp_path / "m.onnx", x, steps=t).item() for t in (1, 2, 3, 4, 5)]
    assert counts == [0.0, 1.0, 1.0, 2.0, 2.0]


def test_integrate_and_fire_and_leaky_integrator(tmp_path):
    # IF r = 1/dt, x = 0.375, threshold 0.75: 0.375, 0.75 (no), 1.125 → spike each third step.
    # LI dt/tau = 0.5, r = 2: v ← 0.5 v + s: after spikes at 3 of 4 steps: 1, then 0.5.
    graph = chain(
        (1,),
        ("if", nir.IF(r=np.array([1 / DT]), v_threshold=np.array([0.75]), v_reset=np.zeros(1))),
        ("li", nir.LI(tau=np.array([2 * DT]), r=np.array([2.0]), v_leak=np.zeros(1))),
        out=1,
    )
    report = to_onnx(graph, tmp_path / "m.onnx", "unrolled", "float", steps=4)
    x = np.full((2, 1), 0.375, np.float32)
    assert run_onnx(tmp_path / "m.onnx", x).ravel().tolist() == [0.5, 0.5]
    assert report.readout == "last"


@pytest.mark.parametrize("form", ["step", "unrolled"])
@pytest.mark.parametrize("static", [True, False])
def test_conv_network_equals_reference(tmp_path, form, static):
    rng = np.random.default_rng(1)
    graph = conv_network(rng)
    x = rng.random((6, 2, 9, 6) if static else (5, 6, 2, 9, 6), dtype=np.float32)
    path = tmp_path / "m.onnx"
    report = to_onnx(graph, path, form, "float", steps=5, static_input=static)
    expected = conv_network_reference(graph, np.broadcast_to(x, (5, *x.shape)) if static else x)
    scores = run_onnx(path, x)
    assert scores.dtype == np.float32
    # float32 sums of ≤ 24 terms of order 1, over 5 steps
    np.testing.assert_allclose(scores, expected, rtol=0, atol=2e-5)
    assert np.abs(expected).max() > 1  # spikes did flow
    assert report.max_error < 2e-5
    assert report.quantised == () and set(report.unquantised) != set()


def test_mean_pooling_counts_its_padding(tmp_path):
    rng = np.random.default_rng(2)
    graph = conv_network(rng, nir.AvgPool2d(np.array([2, 3]), np.array([2, 3]), np.array([0, 1])))
    x = rng.random((3, 2, 9, 6), dtype=np.float32)
    to_onnx(graph, tmp_path / "m.onnx", "unrolled", "float", steps=4)
    expected = conv_network_reference(graph, np.broadcast_to(x, (4, *x.shape)), mean=True)
    np.testing.assert_allclose(run_onnx(tmp_path / "m.onnx", x), expected, rtol=0, atol=2e-5)


def test_static_input_convolves_once_and_shares_weights(tmp_path):
    graph = conv_network(np.random.default_rng(3))
    once = to_onnx(graph, tmp_path / "a.onnx", "unrolled", "float", steps=6)
    each = to_onnx(graph, tmp_path / "b.onnx", "unrolled", "float", steps=6, static_input=False)
    assert (once.operators["Conv"], each.operators["Conv"]) == (1, 6)
    assert once.operators["Gemm"] == 6
    model = onnx.load(tmp_path / "a.onnx")
    weights = [t.name for t in model.graph.initializer if len(t.dims) >= 2]
    assert sorted(weights) == ["conv.weight", "linear.weight"]


def residual_network(rng: np.random.Generator) -> nir.NIRGraph:
    """lif1 → conv2 (grouped, dilated) → lif2, lif2 + lif1 → conv3 → lif3 (3, 4, 5): spikes out."""
    nodes = {
        "input": nir.Input({"input": np.array([2, 4, 5])}),
        "conv1": conv(rng, 4, 2, (3, 3), padding=(1, 1)),
        "lif1": lif((4, 4, 5)),
        "conv2": conv(rng, 4, 2, (3, 3), padding=(2, 2), dilation=(2, 2), groups=2),
        "lif2": lif((4, 4, 5), threshold=0.5),
        "conv3": conv(rng, 3, 4, (1, 1)),
        "lif3": lif((3, 4, 5), beta=0.5, threshold=0.25),
        "output": nir.Output({"output": np.array([3, 4, 5])}),
    }
    edges = [
        ("input", "conv1"), ("conv1", "lif1"), ("lif1", "conv2"), ("conv2", "lif2"),
        ("lif2", "conv3"), ("lif1", "conv3"), ("conv3", "lif3"), ("lif3", "output"),
    ]  # fmt: skip
    return nir.NIRGraph(nodes=nodes, edges=edges, metadata={"dt": DT}, type_check=False)


def residual_reference(graph: nir.NIRGraph, x: np.ndarray, steps: int) -> np.ndarray:
    nodes: Any = graph.nodes
    v1 = v2 = np.zeros((len(x), 4, 4, 5))
    v3 = total = np.zeros((len(x), 3, 4, 5))
    for _ in range(steps):
        v1 = 0.75 * v1 + convolve(x, nodes["conv1"])
        s1 = (v1 > 1) * 1.0
        v1 = v1 * (1 - s1)
        halves = []
        for g in range(2):
            part = conv(np.random.default_rng(0), 2, 2, (3, 3), padding=(2, 2), dilation=(2, 2))
            part.weight = nodes["conv2"].weight[2 * g : 2 * g + 2]
            part.bias = nodes["conv2"].bias[2 * g : 2 * g + 2]
            halves.append(convolve(s1[:, 2 * g : 2 * g + 2], part))
        v2 = 0.75 * v2 + np.concatenate(halves, axis=1)
        s2 = (v2 > 0.5) * 1.0
        v2 = v2 * (1 - s2)
        v3 = 0.5 * v3 + convolve(s1 + s2, nodes["conv3"])
        s3 = (v3 > 0.25) * 1.0
        v3 = v3 * (1 - s3)
        total = total + s3
    return total


def test_residual_sum_and_groups_and_spiking_readout(tmp_path):
    rng = np.random.default_rng(4)
    graph = residual_network(rng)
    x = rng.random((3, 2, 4, 5), dtype=np.float32)
    to_onnx(graph, tmp_path / "m.onnx", "unrolled", "float", steps=6)
    scores = run_onnx(tmp_path / "m.onnx", x)
    expected = residual_reference(graph, x, 6)
    np.testing.assert_array_equal(scores, expected)
    assert 0 < expected.mean() < 6


def on_grid(graph: nir.NIRGraph, rng: np.random.Generator) -> nir.NIRGraph:
    """Weights of whole multiples of 2⁻⁷ (spikes behind them) or of 1/1024, the largest ±127."""
    for name, node in graph.nodes.items():
        if isinstance(node, (nir.Conv2d, nir.Affine)):
            step = 2.0**-8 if name in ("conv", "conv1") else 2.0**-7
            shape = node.weight.shape
            levels = rng.integers(-40, 60, shape)
            levels.reshape(shape[0], -1)[:, 0] = 127
            node.weight = levels * step
            node.bias = rng.integers(-9, 9, shape[0]) * step
    return graph


@pytest.mark.parametrize("form", ["step", "unrolled"])
def test_int8_is_exact_for_weights_on_its_grid(tmp_path, form):
    rng = np.random.default_rng(5)
    graph = on_grid(residual_network(rng), rng)
    x = rng.integers(0, 2, (4, 2, 4, 5)).astype(np.float32)  # spikes in: also exact in uint8
    path = tmp_path / "m.onnx"
    report = to_onnx(graph, path, form, "int8", steps=6, calibration=x)
    expected = residual_reference(graph, x, 6)
    np.testing.assert_array_equal(run_onnx(path, x), expected)
    assert report.quantisation_error == 0.0 == report.max_error
    assert report.activations["conv3"] == {"scale": 1.0, "zero_point": 0, "exact": True}
    assert 0 < expected.mean() < 6


def deep_reference(weights: dict[str, Any], x: np.ndarray, steps: int) -> np.ndarray:
    """conv → LIF → conv (stride 2) → LIF → sum over space → linear → I; x (B, 1, 12, 10)."""
    v1 = np.zeros((len(x), 8, 12, 10))
    v2 = np.zeros((len(x), 32, 6, 5))
    total = np.zeros((len(x), 10))
    current = convolve(x, weights["conv"])
    for _ in range(steps):
        v1 = 0.75 * v1 + current
        s1 = (v1 > 1) * 1.0
        v1 = v1 * (1 - s1)
        v2 = 0.75 * v2 + convolve(s1, weights["conv2"])
        s2 = (v2 > 1) * 1.0
        v2 = v2 * (1 - s2)
        total += s2.sum((2, 3)) @ weights["linear"].weight.T + weights["linear"].bias
    return total


def rounded_weights(graph: nir.NIRGraph, input_scales: dict[str, float]) -> dict[str, Any]:
    """Layers with weights on 127 levels a channel, biases on levels of input scale · weight."""
    rounded = {}
    for name, input_scale in input_scales.items():
        node: Any = copy.copy(graph.nodes[name])
        flat = node.weight.reshape(len(node.weight), -1)
        scale = np.abs(flat).max(1) / 127
        node.weight = (np.round(flat / scale[:, None]) * scale[:, None]).reshape(node.weight.shape)
        node.bias = np.round(node.bias / scale / input_scale) * scale * input_scale
        rounded[name] = node
    return rounded


def test_int8_computes_the_rounded_weights_and_is_smaller(tmp_path):
    rng = np.random.default_rng(6)
    graph = chain(
        (1, 12, 10),
        ("conv", conv(rng, 8, 1, (3, 3), padding=(1, 1))),
        ("lif1", lif((8, 12, 10))),
        ("conv2", conv(rng, 32, 8, (3, 3), stride=(2, 2), padding=(1, 1))),
        ("lif2", lif((32, 6, 5))),
        ("pool", nir.SumPool2d(np.array([6, 5]), np.array([6, 5]), np.array([0, 0]))),
        ("flatten", nir.Flatten({"input": np.array([32, 1, 1])}, 0, -1)),
        ("linear", nir.Affine(rng.normal(0, 0.02, (10, 32)), rng.normal(0, 0.1, 10))),
        ("sum", accumulator(10)),
        out=10,
    )
    x = (rng.integers(0, 256, (16, 1, 12, 10)) / 255).astype(np.float32)
    wide = to_onnx(graph, tmp_path / "f.onnx", precision="float", steps=4)
    narrow = to_onnx(graph, tmp_path / "q.onnx", precision="int8", steps=4)
    exact, rounded = (run_onnx(tmp_path / name, x) for name in ("f.onnx", "q.onnx"))
    weights = rounded_weights(graph, {"conv": 1 / 255, "conv2": 1.0, "linear": 1.0})
    # float32 against float64, sums of up to 32 terms of order 10
    np.testing.assert_allclose(rounded, deep_reference(weights, x, 4), rtol=0, atol=1e-4)
    np.testing.assert_allclose(exact, deep_reference(dict(graph.nodes), x, 4), rtol=0, atol=1e-4)
    # What rounding itself costs random weights: float64 simulations of four seeds gave 2 to 7 %.
    assert 0 < np.abs(rounded - exact).mean() < 0.1 * np.abs(exact).mean()
    assert narrow.max_error < 1e-4 < narrow.quantisation_error
    assert narrow.bytes < wide.bytes and narrow.float_bytes == wide.bytes
    assert narrow.unquantised == () and len(narrow.quantised) == 1 + 4 + 4
    # the pool sums ≤ 30 spikes: whole numbers that uint8 holds
    assert narrow.activations["linear"] == {"scale": 1.0, "zero_point": 0, "exact": True}
    assert narrow.activations["conv"]["scale"] == pytest.approx(1 / 255)


def test_membranes_and_thresholds_stay_float(tmp_path):
    rng = np.random.default_rng(7)
    to_onnx(conv_network(rng), tmp_path / "m.onnx", "step", "int8")
    model = onnx.load(tmp_path / "m.onnx")
    makers = {o: n.op_type for n in model.graph.node for o in n.output}
    for node in model.graph.node:
        if node.op_type in ("Greater", "Where", "Add"):
            assert all(makers.get(i) != "DequantizeLinear" for i in node.input)
    stored = {t.name: t.data_type for t in model.graph.initializer}
    assert stored["conv.weight.levels"] == onnx.TensorProto.INT8
    assert stored["conv.bias.levels"] == onnx.TensorProto.INT32
    assert stored["lif.threshold"] == onnx.TensorProto.FLOAT


def test_layer_behind_a_layer_needs_data(tmp_path):
    rng = np.random.default_rng(8)
    graph = chain(
        (6,),
        ("first", nir.Linear(rng.normal(0, 1, (7, 6)))),
        ("second", nir.Affine(rng.normal(0, 1, (4, 7)), np.ones(4))),
        ("sum", accumulator(4)),
        out=4,
    )
    with pytest.raises(UsageError, match="second.*calibration"):
        to_onnx(graph, tmp_path / "m.onnx", steps=3)
    x = rng.random((50, 6), dtype=np.float32) * 3 - 1
    report = to_onnx(graph, tmp_path / "m.onnx", steps=3, calibration=x)
    nodes: Any = graph.nodes
    between = x @ nodes["first"].weight.T
    width = between.max() - between.min()
    assert report.activations["second"]["scale"] == pytest.approx(width / 255, rel=1e-4)
    expected = 3 * (between @ nodes["second"].weight.T + 1)
    error = np.abs(run_onnx(tmp_path / "m.onnx", x) - expected).max()
    assert 0 < error < 0.03 * np.abs(expected).max()


@pytest.mark.parametrize("precision", ["float", "int8"])
def test_scale_and_partial_flatten_and_normalised_input(tmp_path, precision):
    rng = np.random.default_rng(10)
    graph = chain(
        (2, 3, 4),
        ("scale", nir.Scale(rng.uniform(-2, 2, (2, 3, 4)))),
        ("rows", nir.Flatten({"input": np.array([2, 3, 4])}, 1, 2)),
        ("lif", lif((2, 12), threshold=0.5)),
        ("flat", nir.Flatten({"input": np.array([2, 12])}, 0, 1)),
        ("gain", nir.Scale(np.full(24, 0.5))),
        ("linear", nir.Linear(rng.normal(0, 1, (3, 24)))),
        ("sum", accumulator(3)),
        out=3,
    )
    x = rng.normal(0, 1, (40, 2, 3, 4)).astype(np.float32)
    report = to_onnx(graph, tmp_path / "m.onnx", precision=precision, steps=3, calibration=x)
    nodes: Any = graph.nodes
    current = (x * nodes["scale"].scale).reshape(-1, 24)
    weight = nodes["linear"].weight
    if precision == "int8":
        # spikes · 0.5: the grid is 0.5, so nothing but the weights is rounded
        assert report.activations["linear"] == {"scale": 0.5, "zero_point": 0, "exact": True}
        scale = np.abs(weight).max(1, keepdims=True) / 127
        weight = np.round(weight / scale) * scale
    v = total = 0
    for _ in range(3):
        v = 0.75 * v + current
        spikes = (v > 0.5) * 1.0
        v = v * (1 - spikes)
        total = total + 0.5 * spikes @ weight.T
    np.testing.assert_allclose(run_onnx(tmp_path / "m.onnx", x), total, rtol=0, atol=2e-5)


def test_normalised_input_keeps_its_zero(tmp_path):
    rng = np.random.default_rng(11)
    graph = chain(
        (4,), ("linear", nir.Affine(np.eye(4), np.zeros(4))), ("sum", accumulator(4)), out=4
    )
    x = rng.normal(0.3, 1, (200, 4)).astype(np.float32)
    report = to_onnx(graph, tmp_path / "m.onnx", steps=1, calibration=x)
    activation = report.activations["linear"]
    assert activation["scale"] == pytest.approx(float(np.ptp(x)) / 255)
    assert not activation["exact"] and 0 < activation["zero_point"] < 255
    answer = run_onnx(tmp_path / "m.onnx", np.vstack([np.zeros((1, 4), np.float32), x]))
    assert not answer[0].any()
    assert np.abs(answer[1:] - x).max() <= 0.51 * activation["scale"] + 1e-5


@pytest.mark.parametrize("opset", [18, 19, 20, 21])
def test_every_opset_offered_runs(tmp_path, opset):
    graph = conv_network(np.random.default_rng(12))
    report = to_onnx(graph, tmp_path / "m.onnx", steps=3, opset=opset)
    assert report.opset == opset and report.max_error < 2e-5


def test_a_sum_of_too_many_spikes_is_rounded_not_clipped(tmp_path):
    # 20 × 20 spikes a window: up to 400, so uint8 needs a scale of 400 / 255
    graph = chain(
        (1, 20, 20),
        ("lif", lif((1, 20, 20), threshold=0.5)),
        ("pool", nir.SumPool2d(np.array([20, 20]), np.array([20, 20]), np.array([0, 0]))),
        ("flatten", nir.Flatten({"input": np.array([1, 1, 1])}, 0, -1)),
        ("linear", nir.Linear(np.array([[127.0]]))),
        ("sum", accumulator(1)),
        out=1,
    )
    report = to_onnx(graph, tmp_path / "m.onnx", steps=1)
    activation = report.activations["linear"]
    assert activation == {"scale": pytest.approx(400 / 255), "zero_point": 0, "exact": False}
    x = np.ones((1, 1, 20, 20), np.float32)
    assert run_onnx(tmp_path / "m.onnx", x).item() == pytest.approx(400 * 127, rel=1e-5)


def test_names_and_metadata_and_opset(tmp_path):
    graph = conv_network(np.random.default_rng(9))
    path = tmp_path / "deep" / "m.onnx"
    report = to_onnx(graph, path, "step", "float", opset=19)
    model = onnx.load(path)
    assert [v.name for v in model.graph.input] == ["x", "lif.v", "sum.v"]
    assert [v.name for v in model.graph.output] == ["output", "lif.v_next", "sum.v_next"]
    assert model.opset_import[0].version == report.opset == 19
    assert model.ir_version == 10
    assert json.loads(json.dumps(report.to_dict()))["bytes"] == path.stat().st_size
    again = to_onnx(graph, tmp_path / "again.onnx", "step", "float", opset=19)
    assert path.read_bytes() == (tmp_path / "again.onnx").read_bytes() and again.nodes > 5


def test_time_step_comes_from_the_graph_or_the_caller(tmp_path):
    graph = chain((1,), ("sum", nir.I(r=np.array([1 / DT]))), out=1)
    x = np.ones((1, 1), np.float32)
    for dt, expected in ((None, 3.0), (2 * DT, 6.0)):
        report = to_onnx(graph, tmp_path / "m.onnx", precision="float", steps=3, dt=dt)
        assert run_onnx(tmp_path / "m.onnx", x).item() == pytest.approx(expected, rel=1e-6)
        assert report.dt_s == (dt or DT)


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ({"form": "scan"}, "form.*step, unrolled.*scan"),
        ({"precision": "integer"}, "precision.*float, int8.*integer"),
        ({"opset": 9}, "opset.*20.*9"),
        ({"steps": None}, "steps"),
        ({"steps": 0}, "steps"),
    ],
)
def test_what_is_not_offered_is_refused(tmp_path, choice, words):
    graph = conv_network(np.random.default_rng(0))
    with pytest.raises(UsageError, match=words):
        to_onnx(graph, tmp_path / "m.onnx", **{"steps": 3, **choice})
    assert list(tmp_path.iterdir()) == []


def test_unsupported_nodes_are_named(tmp_path):
    threshold = chain((3,), ("fires", nir.Threshold(np.ones(3))), out=3)
    with pytest.raises(UnsupportedNodeError, match="'fires'.*Threshold.*replace"):
        to_onnx(threshold, tmp_path / "m.onnx", steps=2)
    stateless = chain((3,), ("scale", nir.Scale(np.ones(3))), out=3)
    with pytest.raises(UnsupportedNodeError, match="readout.*end the network"):
        to_onnx(stateless, tmp_path / "m.onnx", steps=2)
    looped = chain((3,), ("lif", lif((3,))), ("w", nir.Linear(np.eye(3))), out=3)
    looped.edges.append(("w", "lif"))
    with pytest.raises(UnsupportedNodeError, match="loop"):
        to_onnx(looped, tmp_path / "m.onnx", steps=2)
    assert list(tmp_path.iterdir()) == []


def test_unsound_parameters_are_refused_and_nothing_is_written(tmp_path):
    graph = conv_network(np.random.default_rng(0))
    broken: Any = graph.nodes["lif"]
    broken.tau = -broken.tau
    with pytest.raises(UnsupportedNodeError, match="'lif'.*tau"):
        to_onnx(graph, tmp_path / "m.onnx", steps=2)
    graph = conv_network(np.random.default_rng(0))
    weights: Any = graph.nodes["linear"]
    weights.weight[0, 0] = np.nan
    with pytest.raises(UsageError, match="linear.*finite"):
        to_onnx(graph, tmp_path / "m.onnx", steps=2)
    graph = conv_network(np.random.default_rng(0))
    with pytest.raises(ShapeMismatchError, match="calibration"):
        to_onnx(graph, tmp_path / "m.onnx", steps=2, calibration=np.zeros((3, 2, 9, 7)))
    assert list(tmp_path.iterdir()) == []


def test_an_answer_that_is_not_the_networks_is_refused(tmp_path, monkeypatch):
    from neurokd.export import onnx_runtime

    right = onnx_runtime.run_file
    monkeypatch.setattr(onnx_runtime, "run_file", lambda *given: 2 * right(*given) + 1)
    with pytest.raises(BackendFailedError, match="not what the network gives"):
        to_onnx(conv_network(np.random.default_rng(1)), tmp_path / "m.onnx", steps=2)
    assert list(tmp_path.iterdir()) == []
