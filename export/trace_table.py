"""The layers found so far: names, shapes, and the steps of a loop at which they were seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from neurokd.export.trace_layer import Described, Layer, Layers, Shape, refuse, shape_after


class Table:
    """Layers by name; an operation is made a layer once, and found again at later steps."""

    def __init__(self, shape: Shape) -> None:
        self.layers: Layers = {"input": Layer("input", "", "input", ())}
        self.shapes: dict[str, Shape] = {"input": shape}
        self.seen: dict[str, set[int | None]] = {"input": set()}
        """Steps at which a layer took part; None for one that is the same at every step."""
        self._known: dict[Any, str] = {}

    def once(self, path: str, key: Any, step: int | None, make: Callable[[], str]) -> str:
        """The layer of an operation: made at the first step, found again at the others."""
        if key not in self._known:
            if step:
                raise refuse(
                    path,
                    f"step {step + 1} of the time loop does something the first does not",
                    "do the same at every step",
                )
            self._known[key] = make()
        self.seen.setdefault(self._known[key], set()).add(step)
        return self._known[key]

    def unique(self, path: str) -> str:
        """A free node name for a module's path."""
        base = path.replace(".", "_").replace("/", "_") or "layer"
        if base in ("input", "output"):
            base = f"{base}_layer"
        name, count = base, 2
        while name in self.layers:
            name, count = f"{base}_{count}", count + 1
        return name

    def insert(self, name: str, path: str, described: Described, sources: tuple[str, ...]) -> str:
        """Adds a layer and its output shape; its name. `ValueError` if nothing would leave it."""
        arriving = self.shapes[sources[0]]
        self.shapes[name] = shape_after(described, arriving)
        if min(self.shapes[name], default=1) < 1:
            raise ValueError(f"{name!r} gives {self.shapes[name]} from {arriving}")
        d = described
        self.layers[name] = Layer(
            name, path, d.kind, sources, d.arrays, d.pairs, d.weights, d.added
        )
        return name

    def check(self, count: int) -> None:
        """Every layer reaches the output, and took part in each of ``count`` steps."""
        needed, todo = set[str](), ["output"]
        while todo:
            needed.add(name := todo.pop())
            todo.extend(source for source in self.layers[name].sources if source not in needed)
        for name, layer in self.layers.items():
            if name not in needed:
                raise refuse(
                    layer.path,
                    f"the result of {name!r} is never used",
                    "remove it, or return it first",
                )
        for name, steps in self.seen.items():
            if None not in steps and steps != set(range(count)):
                raise refuse(
                    self.layers[name].path,
                    f"{name!r} does not take part in every step of the time loop",
                    "do the same at every step",
                    f"{len(steps)} of {count} steps",
                )
