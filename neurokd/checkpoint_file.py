"""A checkpoint's file: tensors, a header in JSON, and the configuration that it belongs to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurokd import atomic
from neurokd.config import AnyConfig, write_config
from neurokd.errors import FileFormatError, UsageError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class CheckpointFile:
    """``family`` is what formats of other versions begin with: neurokd.checkpoint/."""

    path: Path
    format: str

    @property
    def family(self) -> str:
        """The format without its version."""
        return self.format.partition("/")[0] + "/"

    def write(
        self, config: AnyConfig, tensors: Mapping[str, Tensor], header: Mapping[str, Any]
    ) -> None:
        """Write everything in one step; tensors as safetensors, the rest as JSON in its header."""
        import torch
        from safetensors.torch import save

        whole = {"format": self.format, "config": write_config(config), **header}
        copies = {
            name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
            for name, value in tensors.items()
        }
        atomic.write_bytes(self.path, save(copies, metadata={"neurokd": json.dumps(whole)}))

    def read(
        self, config: AnyConfig, *, with_tensors: bool = True
    ) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The header and the tensors.

        Raises: `FileFormatError` for a missing, broken or foreign file or one of another version,
        `UsageError` if it belongs to another configuration.
        """
        from safetensors import SafetensorError, safe_open

        if not self.path.is_file():
            raise FileFormatError(
                "there is nothing to resume", where=str(self.path), remedy="start without --resume"
            )
        try:
            with safe_open(str(self.path), framework="pt") as stream:
                header = json.loads((stream.metadata() or {}).get("neurokd", "null"))
                names = stream.keys() if with_tensors else ()
                tensors = {name: stream.get_tensor(name) for name in names}
        except (SafetensorError, OSError, json.JSONDecodeError) as error:
            raise FileFormatError(
                "this is not a complete checkpoint", where=str(self.path), found=str(error)
            ) from error
        self._require(header, config)
        return header, tensors

    def _require(self, header: Any, config: AnyConfig) -> None:
        found = header.get("format") if isinstance(header, dict) else None
        if isinstance(found, str) and found.startswith(self.family) and found != self.format:
            raise FileFormatError(
                "the checkpoint was written by another version of neurokd",
                where=str(self.path),
                expected=self.format,
                found=found,
                remedy="finish the run with that version, or start again without --resume",
            )
        if found != self.format:
            raise FileFormatError(
                "this is not a checkpoint of this kind of run",
                where=str(self.path),
                expected=self.format,
            )
        if header["config"] != write_config(config):
            raise UsageError(
                "the checkpoint belongs to another configuration",
                where=str(self.path),
                remedy="resume with the configuration and --set of the interrupted run",
            )


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors with a prefix before their names."""
    return {prefix + name: value for name, value in tensors.items()}


def below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those whose names have the prefix, without it."""
    return {name[len(prefix) :]: v for name, v in tensors.items() if name.startswith(prefix)}
