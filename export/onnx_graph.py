"""An ONNX graph under construction: nodes in order, constants stored once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from neurokd import __version__
from neurokd.errors import CapacityError

IR_VERSION = 10
MAX_BYTES = 2**31 - 2**20
"""protobuf's limit on one message, less room for the nodes."""


class GraphBuilder:
    """Collects nodes and initializers; equal constants share one initializer."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self._initializers: dict[str, onnx.TensorProto] = {}
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._once: dict[str, str] = {}

    def node(self, op: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """Append a node with one output, and return the output's name."""
        self.nodes.append(helper.make_node(op, list(inputs), [output], output, **attributes))
        return output

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """An initializer; the first name given to a value is the one it keeps."""
        array = np.asarray(value, order="C")
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            unique = name if name not in self._initializers else f"{name}/{len(self._constants)}"
            self._initializers[unique] = numpy_helper.from_array(array, unique)
            self._constants[key] = unique
        return self._constants[key]

    def once(self, key: str, build: Callable[[], str]) -> str:
        """The name that ``build`` returned the first time ``key`` was asked for."""
        if key not in self._once:
            self._once[key] = build()
        return self._once[key]

    def model(self, name: str, opset: int, metadata: dict[str, str]) -> onnx.ModelProto:
        """The finished model, with neurokd named as its producer.

        Raises: `CapacityError` when the constants do not fit into one protobuf message.
        """
        size = sum(tensor.ByteSize() for tensor in self._initializers.values())
        if size > MAX_BYTES:
            raise CapacityError(
                "the model does not fit into one ONNX file",
                where=name,
                expected=f"≤ {MAX_BYTES} bytes of constants",
                found=str(size),
                remedy="export with --precision int8",
            )
        graph = helper.make_graph(
            self.nodes, name, self.inputs, self.outputs, list(self._initializers.values())
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", opset)],
            producer_name="neurokd",
            producer_version=__version__,
        )
        model.ir_version = IR_VERSION
        helper.set_model_props(model, metadata)
        return model


def float_value(name: str, shape: Sequence[int | str]) -> onnx.ValueInfoProto:
    """The declaration of a float32 input or output; a string is a dimension left open."""
    info: onnx.ValueInfoProto = helper.make_tensor_value_info(
        name, onnx.TensorProto.FLOAT, list(shape)
    )
    return info
