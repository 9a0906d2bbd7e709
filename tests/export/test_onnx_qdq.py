"""Weights, ranges and the proof of quantisation, against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from neurokd.errors import BackendFailedError
from neurokd.export.onnx_check import quantisation, require_quantised
from neurokd.export.onnx_file import OnnxFile
from neurokd.export.onnx_qdq import quantise_weight
from neurokd.export.onnx_range import Range, add, observed_range


def test_each_channel_has_its_own_scale():
    weight = np.array([[1.27, -0.5, 0.004], [0.0, -254.0, 3.0]])
    levels, scale, bias = quantise_weight(weight, None, 1.0)
    np.testing.assert_allclose(scale, [0.01, 2.0], rtol=1e-6)
    # 3 / 2 = 1.5 rounds to even
    assert levels.tolist() == [[127, -50, 0], [0, -127, 2]]
    assert levels.dtype == np.int8 and scale.dtype == np.float32 and bias is None


def test_bias_has_the_scale_of_the_products():
    # s_in · s_w = 0.5 · 1: 3.2 / 0.5 = 6.4 → 6
    levels, scale, bias = quantise_weight(np.array([[127.0]]), np.array([3.2]), 0.5)
    assert (levels.tolist(), scale.tolist(), bias.tolist()) == ([[127]], [1.0], [6])
    assert bias.dtype == np.int32


def test_a_channel_without_weights_keeps_its_bias():
    levels, scale, bias = quantise_weight(np.zeros((2, 3)), np.array([0.7, 0.0]), 1.0)
    assert levels.tolist() == [[0, 0, 0], [0, 0, 0]]
    np.testing.assert_allclose(bias * scale.astype(np.float64), [0.7, 0.0], rtol=1e-6)


def test_tiny_weights_with_a_large_bias_stay_inside_int32():
    levels, scale, bias = quantise_weight(np.array([[1e-12]]), np.array([5.0]), 1.0)
    np.testing.assert_allclose(bias * scale.astype(np.float64), [5.0], rtol=1e-6)
    assert abs(int(bias[0])) <= 2**30 + 100


@pytest.mark.parametrize(
    ("values", "scale", "zero", "exact"),
    [
        (Range(0, 1, 1), 1, 0, True),  # spikes
        (Range(0, 49, 1), 1, 0, True),  # sum over 7 × 7
        (Range(0, 1, 1 / 49), 1 / 49, 0, True),  # mean over 7 × 7
        (Range(0, 255, 1), 1, 0, True),
        (Range(0, 256, 1), 256 / 255, 0, False),
        (Range(-2, 3, 1), 1, 2, True),
        (Range(0, 1), 1 / 255, 0, False),
        (Range(-1, 1), 2 / 255, 128, False),
        (Range(3, 5.1), 0.02, 0, False),  # zero is always a level
        (Range(0, 0), 1, 0, False),
    ],
)
def test_uint8_of_a_range(values, scale, zero, exact):
    found, point = values.uint8()
    assert (found, point, values.exact) == (pytest.approx(scale), zero, exact)


def test_sums_keep_a_grid_that_all_share():
    assert add([Range(0, 1, 1), Range(0, 4, 1)]) == Range(0, 5, 1)
    assert add([Range(0, 1, 1), Range(0, 1, 0.25)]).grid is None


def test_grids_are_found_in_data():
    assert observed_range(np.array([0.0, 3.0, -2.0])) == Range(-2, 3, 1)
    assert observed_range(np.array([0.0, 17 / 255])) == Range(0, 1, 1 / 255)
    assert observed_range(np.array([0.1, 0.7351])) == Range(0.1, 0.7351)


def gemm_model(weight_type: int, quantise_value: bool, float_bias: bool) -> onnx.ModelProto:
    """x → Q → DQ → Gemm(DQ(weight), bias)."""
    dtype = helper.tensor_dtype_to_np_dtype(weight_type)
    initializers = {
        "one": np.float32(1),
        "zero": np.uint8(0),
        "w": np.ones((2, 3), dtype),
        "ws": np.ones(2, np.float32),
        "wz": np.zeros(2, dtype),
        "b": np.ones(2, np.float32),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "one", "zero"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "one", "zero"], ["xd"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wd"], axis=0),
    ]
    operands = ["xd" if quantise_value else "x", "wd", *(["b"] if float_bias else [])]
    nodes.append(helper.make_node("Gemm", operands, ["y"], "the_gemm", transB=1))
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["b", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["b", 2])],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in initializers.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])


@pytest.mark.parametrize(
    ("weight_type", "quantise_value", "float_bias", "proven"),
    [
        (TensorProto.INT8, True, False, True),
        (TensorProto.UINT8, True, False, False),
        (TensorProto.INT8, False, False, False),
        (TensorProto.INT8, True, True, False),
    ],
)
def test_proof_finds_what_is_not_quantised(weight_type, quantise_value, float_bias, proven):
    model = gemm_model(weight_type, quantise_value, float_bias)
    found = quantisation(model)
    assert (found.quantised == ("the_gemm",), found.unquantised == ()) == (proven, proven)
    if not proven:
        with pytest.raises(BackendFailedError, match="float weights.*the_gemm"):
            require_quantised(OnnxFile("m.onnx", b"", model))
