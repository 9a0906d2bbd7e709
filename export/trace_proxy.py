"""Proxies that stand for tensors while a forward is recorded."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

import torch
from torch import fx


class TimeFirst(Exception):
    """The forward takes its input apart along the first axis: that axis is time."""


class InPlace(fx.Proxy):
    """A proxy that remembers that += changes its tensor; fx takes it for an addition."""

    def __iadd__(self, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", operator.iadd, (self, other), {})


class Shaped(InPlace):
    """A proxy whose sizes are numbers, and that can be taken apart."""

    tracer: Any  # a `Recorder`

    @property
    def shape(self) -> Any:
        if self.tracer.is_input(self.node):
            self.tracer.asked_steps = True
        known = self.node.meta["shape"]
        if not isinstance(known, tuple):
            raise ValueError(f"the shape of {self.node.name!r} is not known")
        return torch.Size(known)

    @property
    def ndim(self) -> int:
        return len(self.node.meta["shape"])

    @property
    def device(self) -> Any:
        assert self.tracer.sample is not None
        return self.tracer.sample.device

    @property
    def dtype(self) -> Any:
        assert self.tracer.sample is not None
        return self.tracer.sample.dtype

    def size(self, dim: int | None = None) -> Any:
        return self.shape if dim is None else self.shape[dim]

    def dim(self) -> int:
        return self.ndim

    def unbind(self, dim: int = 0) -> Any:
        return (
            tuple(self)
            if dim == 0
            else self.tracer.create_proxy("call_method", "unbind", (self, dim), {})
        )

    def __len__(self) -> int:
        known = self.node.meta["shape"]
        return len(known) if isinstance(known, list) else int(self.shape[0])

    def __getitem__(self, key: Any) -> Any:
        node = self.node
        if node.op == "placeholder" and self.tracer.steps is None and node.meta["shape"]:
            raise TimeFirst
        return super().__getitem__(key)  # type: ignore[misc]

    def __iter__(self) -> Iterator[Any]:
        return iter([self[i] for i in range(len(self))])
