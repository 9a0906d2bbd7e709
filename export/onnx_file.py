"""An ONNX file read back: its bytes, its model, and what neurokd wrote into its metadata."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurokd.errors import FileFormatError

if TYPE_CHECKING:
    import onnx

PREFIX = "neurokd."
"""Of the keys in the model's metadata."""


@dataclass(frozen=True)
class OnnxFile:
    """A model and where it came from; the properties raise where neurokd did not write it."""

    where: str
    content: bytes
    model: onnx.ModelProto

    @property
    def metadata(self) -> dict[str, str]:
        """Without the prefix; empty for a model of another program."""
        entries = {entry.key: entry.value for entry in self.model.metadata_props}
        return {k[len(PREFIX) :]: v for k, v in entries.items() if k.startswith(PREFIX)}

    def value(self, key: str) -> Any:
        """One entry of the metadata, decoded where it is JSON.

        Raises: `FileFormatError` when the entry is missing.
        """
        if key not in self.metadata:
            raise FileFormatError(
                "not a spiking model that neurokd wrote",
                where=self.where,
                expected=f"an entry {PREFIX}{key} in its metadata",
                remedy="export it with neurokd export --target onnx",
            )
        text = self.metadata[key]
        try:
            return json.loads(text)
        except json.JSONDecodeError:
            return text

    @property
    def opset(self) -> int:
        """Of the default domain; 0 where the model names none."""
        return max(
            (o.version for o in self.model.opset_import if o.domain in ("", "ai.onnx")), default=0
        )

    @property
    def operators(self) -> dict[str, int]:
        """How often each operator occurs, most frequent first."""
        return dict(Counter(node.op_type for node in self.model.graph.node).most_common())


def read_onnx(path: str | Path) -> OnnxFile:
    """Read and check a model file.

    Raises: `FileFormatError` when it is missing, truncated, foreign or not valid ONNX.
    """
    where = str(path)
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise FileFormatError(
            "the file cannot be read",
            where=where,
            found=error.strerror or type(error).__name__,
            remedy="name an .onnx file",
        ) from error
    return parse_onnx(content, where)


def parse_onnx(content: bytes, where: str) -> OnnxFile:
    """The model in ``content``, checked by onnx.checker with its shapes.

    Raises: `FileFormatError` when it is not a valid model.
    """
    import onnx
    from google.protobuf.message import DecodeError

    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
        onnx.checker.check_model(model, full_check=True)
    except (DecodeError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as e:
        raise FileFormatError(
            "not a valid ONNX model",
            where=where,
            found=(str(e).strip().splitlines() or [type(e).__name__])[0][:200],
            remedy="export the model again",
        ) from e
    return OnnxFile(where, content, model)
