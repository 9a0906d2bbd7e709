"""run_onnx and describe_onnx: forms, batches, steps, and files that are not what they should be."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from neurokd.errors import BackendFailedError, FileFormatError, ShapeMismatchError, UsageError
from neurokd.export.onnx import to_onnx
from neurokd.export.onnx_runtime import describe_onnx, run_onnx

DT = 1e-4


def network(seed: int = 0) -> nir.NIRGraph:
    """(6,) → linear → LIF (8,) → linear → I (3,)."""
    rng = np.random.default_rng(seed)
    ones = np.ones(8)
    nodes = {
        "input": nir.Input({"input": np.array([6])}),
        "first": nir.Affine(rng.normal(0, 0.6, (8, 6)), rng.normal(0, 0.2, 8)),
        "lif": nir.LIF(
            tau=2 * DT * ones, r=2 * ones, v_leak=0 * ones, v_threshold=ones, v_reset=0 * ones
        ),
        "second": nir.Affine(rng.normal(0, 0.6, (3, 8)), rng.normal(0, 0.2, 3)),
        "sum": nir.I(r=np.full(3, 1 / DT)),
        "output": nir.Output({"output": np.array([3])}),
    }
    names = list(nodes)
    edges = list(zip(names[:-1], names[1:], strict=True))
    return nir.NIRGraph(nodes=nodes, edges=edges, metadata={"dt": DT}, type_check=False)


def samples(count: int, low: float = 0.0) -> Any:
    return np.random.default_rng(1).uniform(low, 1, (count, 6)).astype(np.float32)


@pytest.mark.parametrize("precision", ["float", "int8"])
@pytest.mark.parametrize("static", [True, False])
def test_step_and_unrolled_give_equal_scores(tmp_path, precision, static):
    x = samples(7) if static else np.stack([samples(7) * k / 5 for k in range(1, 6)])
    for form in ("step", "unrolled"):
        to_onnx(network(), tmp_path / form, form, precision, 5, static_input=static)
    step, unrolled = (run_onnx(tmp_path / form, x) for form in ("step", "unrolled"))
    np.testing.assert_array_equal(step, unrolled)
    assert step.shape == (7, 3) and np.ptp(step) > 1


@pytest.mark.parametrize("form", ["step", "unrolled"])
def test_any_batch_size_gives_the_same_scores_and_progress(tmp_path, form):
    path, x = tmp_path / "m.onnx", samples(10)
    to_onnx(network(), path, form, "int8", steps=4)
    seen: list[tuple[int, int]] = []
    whole = run_onnx(path, x)
    parts = run_onnx(path, x, batch_size=4, progress=lambda *done: seen.append(done))
    np.testing.assert_array_equal(parts, whole)
    assert seen == [(4, 10), (8, 10), (10, 10)]


def test_input_over_time_is_batched_along_its_second_axis(tmp_path):
    x = np.stack([samples(5) * k / 3 for k in range(1, 4)])
    to_onnx(network(), tmp_path / "m.onnx", steps=3, static_input=False)
    whole = run_onnx(tmp_path / "m.onnx", x)
    np.testing.assert_array_equal(run_onnx(tmp_path / "m.onnx", x, batch_size=2), whole)


def test_steps_are_the_models_or_asked_for(tmp_path):
    x = samples(2)
    to_onnx(network(), tmp_path / "unrolled.onnx", steps=3)
    to_onnx(network(), tmp_path / "step.onnx", "step")
    to_onnx(network(), tmp_path / "over_time.onnx", "step", static_input=False)
    expected = run_onnx(tmp_path / "unrolled.onnx", x, steps=3)
    np.testing.assert_array_equal(run_onnx(tmp_path / "step.onnx", x, steps=3), expected)
    over_time = np.broadcast_to(x, (3, 2, 6))
    np.testing.assert_array_equal(run_onnx(tmp_path / "over_time.onnx", over_time), expected)
    with pytest.raises(UsageError, match="expected 3, found 4"):
        run_onnx(tmp_path / "unrolled.onnx", x, steps=4)
    with pytest.raises(UsageError, match="needs a number of steps"):
        run_onnx(tmp_path / "step.onnx", x)
    with pytest.raises(UsageError, match="steps"):
        run_onnx(tmp_path / "over_time.onnx", over_time, steps=4)


def test_a_step_model_of_one_length_runs_at_any(tmp_path):
    to_onnx(network(), tmp_path / "m.onnx", "step", "float", steps=2)
    two = run_onnx(tmp_path / "m.onnx", samples(2))
    np.testing.assert_array_equal(run_onnx(tmp_path / "m.onnx", samples(2), steps=2), two)
    assert np.any(run_onnx(tmp_path / "m.onnx", samples(2), steps=5) != two)


def test_wrong_shapes_and_ranges_are_refused(tmp_path):
    path = tmp_path / "m.onnx"
    to_onnx(network(), path, steps=3)
    for shape in ((4, 7), (6,), (3, 4, 6), (0, 6)):
        with pytest.raises(ShapeMismatchError, match=r"expected \(B, 6\)"):
            run_onnx(path, np.zeros(shape, np.float32))
    with pytest.raises(UsageError, match=r"\[0, 1\].*calibration"):
        run_onnx(path, samples(3, low=-1.0))
    to_onnx(network(), path, steps=3, calibration=samples(99, low=-1.0))
    assert run_onnx(path, samples(3, low=-1.0)).shape == (3, 3)
    with pytest.raises(UsageError, match="batch_size"):
        run_onnx(path, samples(3), batch_size=0)


def test_pixels_into_an_int8_gemm_are_exact_on_every_processor(tmp_path):
    # 255 · 127 · 2 = 64770 passes 16 bits: x86 kernels without VNNI would saturate.
    graph = network()
    first: Any = graph.nodes["first"]
    first.weight = np.full((8, 6), 127 / 1024)
    first.bias = np.zeros(8)
    report = to_onnx(graph, tmp_path / "m.onnx", steps=2)
    assert describe_onnx(tmp_path / "m.onnx")["neurokd"]["wide_gemm"] is True
    assert report.max_error < 1e-5
    x = np.ones((1, 6), np.float32)
    # 6 · 127/1024 = 0.744 a step, v = 0.744, then 1.116 > 1: every neuron spikes once in 2
    second: Any = graph.nodes["second"]
    expected = second.weight.sum(1) + 2 * second.bias
    np.testing.assert_allclose(run_onnx(tmp_path / "m.onnx", x)[0], expected, atol=0.04)


def test_describe_counts_without_running(tmp_path):
    path = tmp_path / "m.onnx"
    to_onnx(network(), path, steps=3)
    told = describe_onnx(path)
    assert told["inputs"] == {"x": ["batch", 6]}
    assert told["outputs"] == {"scores": ["batch", 3]}
    assert told["operators"]["Gemm"] == 4  # static: the first once, the second three times
    assert told["is_quantised"] and (told["quantised"], told["unquantised"]) == (4, 0)
    assert (told["opset"], told["ir_version"], told["producer"]) == (20, 10, "neurokd")
    assert told["bytes"] == path.stat().st_size
    assert told["neurokd"]["steps"] == 3 and told["neurokd"]["form"] == "unrolled"
    to_onnx(network(), path, precision="float", steps=3)
    assert not describe_onnx(path)["is_quantised"]


def test_files_that_are_no_models_are_refused(tmp_path):
    path = tmp_path / "m.onnx"
    with pytest.raises(FileFormatError, match="m.onnx.*cannot be read"):
        run_onnx(path, samples(1))
    with pytest.raises(FileFormatError, match="cannot be read"):
        describe_onnx(tmp_path)
    to_onnx(network(), path, steps=3)
    content = path.read_bytes()
    for broken in (b"", b"PK\x03\x04 something else", content[: len(content) // 2], content[:-1]):
        path.write_bytes(broken)
        with pytest.raises(FileFormatError, match="m.onnx: not a valid ONNX model"):
            run_onnx(path, samples(1))
        with pytest.raises(FileFormatError):
            describe_onnx(path)


def test_a_valid_model_of_another_program_is_described_but_not_run(tmp_path):
    graph = helper.make_graph(
        [helper.make_node("Relu", ["a"], ["b"])],
        "other",
        [helper.make_tensor_value_info("a", TensorProto.FLOAT, [None, 2])],
        [helper.make_tensor_value_info("b", TensorProto.FLOAT, [None, 2])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    onnx.save(model, tmp_path / "other.onnx")
    assert describe_onnx(tmp_path / "other.onnx")["operators"] == {"Relu": 1}
    with pytest.raises(FileFormatError, match="not a spiking model that neurokd wrote"):
        run_onnx(tmp_path / "other.onnx", samples(1))


def test_nothing_reaches_stderr(tmp_path, capfd):
    path = tmp_path / "m.onnx"
    to_onnx(network(), path, steps=3)
    run_onnx(path, samples(2))
    model = onnx.load(path)
    # ONNX Runtime warns of constants that nothing uses
    model.graph.initializer.append(helper.make_tensor("unused", TensorProto.FLOAT, [1], [0.0]))
    onnx.save(model, path)
    run_onnx(path, samples(2))
    # a Reshape that cannot be: valid to the checker, refused when it runs
    model.graph.node[-1].op_type = "Reshape"
    model.graph.node[-1].input.append("seven")
    model.graph.initializer.append(helper.make_tensor("seven", TensorProto.INT64, [2], [7, 1]))
    for dimension in model.graph.output[0].type.tensor_type.shape.dim:
        dimension.dim_param = "any"
    onnx.save(model, path)
    with pytest.raises(BackendFailedError, match="ONNX Runtime"):
        run_onnx(path, samples(2))
    assert capfd.readouterr().err == ""
