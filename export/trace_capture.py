"""Capturing what a torch module does: torch.fx with a strict whitelist, shapes from a real run."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import snntorch
import torch
from torch import Tensor, fx, nn

from neurokd.errors import NeurokdError, ShapeMismatchError, UnsupportedModuleError
from neurokd.export.trace_layer import Layer, Layers
from neurokd.export.trace_modules import HANDLERS, describe, flatten, refuse
from neurokd.neurons import LIF, Accumulator, PerStep

_ADDITIONS = (operator.add, operator.iadd, torch.add)
_TRANSPARENT = (nn.Sequential, PerStep)


def capture(root: nn.Module, sample: Tensor) -> Layers:
    """The layers of a module in the order it calls them, additions still explicit.

    Raises: `UnsupportedModuleError`, `ShapeMismatchError`.
    """
    multi_step = any(isinstance(m, (LIF, Accumulator, PerStep)) for m in root.modules())
    lead = 2 if multi_step else 1
    graph = _symbolic(root)
    builder = _Builder(root, lead, tuple(sample.shape[1:]))
    unfit: Exception | None = None
    try:
        for node in graph.nodes:
            builder.add(node)
    except (IndexError, ValueError, ZeroDivisionError) as error:
        unfit = error  # shapes that cannot be followed: the run below says why
    with _undisturbed(root):
        seen, output = _run(root, sample[None] if multi_step else sample)
    if unfit is not None:
        raise ShapeMismatchError(
            "the sample does not fit the module", where="trace", found=str(unfit)
        ) from unfit
    builder.check_complete(seen, tuple(output.shape[lead:]))
    return builder.layers


def _symbolic(root: nn.Module) -> fx.Graph:
    tracer = _Tracer()
    try:
        return tracer.trace(root)
    except NeurokdError:
        raise
    except Exception as error:  # the user's forward runs on proxies and may fail in any way
        raise refuse(
            tracer.paths[-1],
            "the forward of this module cannot be traced",
            "use only modules, additions and flatten in it, no control flow on values",
            str(error),
        ) from error


class _Tracer(fx.Tracer):
    """Enters the user's own modules, stops at the layers, and remembers where it is."""

    def __init__(self) -> None:
        super().__init__()
        self.paths = [""]
        self.in_step = 0

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if isinstance(m, _TRANSPARENT):
            return False
        library = type(m).__module__.split(".")[0] in ("torch", "snntorch", "torchvision")
        return type(m) in HANDLERS or library

    def call_module(
        self,
        m: nn.Module,
        forward: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        self.paths.append(self.path_of_module(m))
        self.in_step += isinstance(m, PerStep)
        # PerStep merges time into the batch around its layer: to the trace it is the layer
        result = (
            m.layer(*args, **kwargs)
            if isinstance(m, PerStep)
            else super().call_module(m, forward, args, kwargs)
        )
        self.in_step -= isinstance(m, PerStep)
        self.paths.pop()
        return result

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:
        node = super().create_node(*args, **kwargs)
        node.meta["path"] = self.paths[-1]
        node.meta["in_step"] = self.in_step > 0
        return node


class _Builder:
    """Turns fx nodes into layers, one after the other."""

    def __init__(self, root: nn.Module, lead: int, shape: tuple[int, ...]) -> None:
        self.root = root
        self.lead = lead
        self.layers: Layers = {"input": Layer("input", "", "input", ())}
        self.shapes: dict[str, tuple[int, ...]] = {"input": shape}
        self.names: dict[fx.Node, str] = {}
        self.called: dict[str, str] = {}
        self.neurons: dict[str, tuple[int, ...]] = {}

    def add(self, node: fx.Node) -> None:
        """One fx node: a placeholder, a module, an addition, a flatten or the output."""
        path = node.meta.get("path", "")
        if node.op != "output" and not node.users:
            raise refuse(path, f"the result of {node.name!r} is never used", "remove it")
        if node.op == "placeholder":
            self._placeholder(node)
        elif node.op == "output":
            self._output(node)
        elif node.op == "call_module":
            self._module(node, str(node.target))
        elif node.op == "call_function" and node.target in _ADDITIONS:
            self._addition(node, path)
        elif (node.op, node.target) == ("call_method", "add"):
            self._addition(node, path)
        elif node.target is torch.flatten or (node.op, node.target) == ("call_method", "flatten"):
            self._flatten(node, path)
        else:
            target = node.target if isinstance(node.target, str) else _name(node.target)
            raise refuse(
                path,
                f"the operation {target!r} has no exact meaning in NIR",
                "use only modules, additions of two tensors and flatten in forward",
            )

    def check_complete(self, seen: dict[str, list[tuple[int, ...]]], output: Any) -> None:
        """Nothing dropped: every layer and parameter appears, every shape is what torch made."""
        for path, module in self.root.named_modules():
            used = any(path == call or path.startswith(f"{call}.") for call in self.called)
            own = [name for name, _ in module.named_parameters(recurse=False)]
            if type(module) not in HANDLERS and own:
                raise refuse(
                    path, f"the parameter {own[0]!r} is not part of a known layer", "use a layer"
                )
            if type(module) in HANDLERS and not used:
                raise refuse(path, "forward never calls this module", "remove it")
        for path, shape in self.neurons.items():
            if seen.get(path) != [shape]:
                raise refuse(
                    path, "the neurons counted differ", "report this", f"{seen.get(path)}, {shape}"
                )
        if self.shapes["output"] != output:
            raise ShapeMismatchError(
                "the traced network does not give the module's output shape",
                where="trace",
                expected=str(output),
                found=str(self.shapes["output"]),
            )

    def _placeholder(self, node: fx.Node) -> None:
        if self.names:
            raise refuse(
                "",
                f"forward takes more than one input ({node.name!r})",
                "keep the neurons' state inside them (init_hidden=True)",
            )
        self.names[node] = "input"

    def _output(self, node: fx.Node) -> None:
        result = node.args[0]
        if not isinstance(result, fx.Node):
            raise refuse("", "forward must return one tensor", "return the last layer's output")
        self._insert(Layer("output", "", "output", (self.names[result],)))

    def _module(self, node: fx.Node, path: str) -> None:
        module = self.root.get_submodule(path)
        source = self._operand(node, path, 0)
        if len(node.args) + len(node.kwargs) != 1:
            raise refuse(path, "the module is called with more than one input", "pass one tensor")
        if path in self.called and isinstance(module, snntorch.Leaky):
            raise refuse(
                path,
                "a neuron with state is called more than once",
                "use one neuron layer for each place, and keep the time loop outside",
            )
        self.called[path] = path
        shape = self.shapes[source]
        lead = 1 if node.meta["in_step"] else self.lead
        described = describe(path, module, shape, lead)
        if described is None:
            self.names[node] = source
            return
        kind, arrays, pairs = described
        if kind == "flatten" and not pairs:
            self.names[node] = source
            return
        name = self._insert(Layer(self._unique(path), path, kind, (source,), arrays, pairs))
        self.names[node] = name
        if kind in ("lif", "accumulator"):
            if path in self.neurons:
                raise refuse(path, "a neuron layer is called more than once", "use one for each")
            self.neurons[path] = self.shapes[name]

    def _addition(self, node: fx.Node, path: str) -> None:
        if len(node.args) != 2 or node.kwargs:
            raise refuse(path, "only a plain addition of two tensors is known", "drop alpha or out")
        operands = (self._operand(node, path, 0), self._operand(node, path, 1))
        if operands[0] == operands[1]:
            raise refuse(
                path, "a tensor is added to itself", "double the weights of the layer before it"
            )
        if self.shapes[operands[0]] != self.shapes[operands[1]]:
            raise refuse(
                path,
                "an addition that broadcasts cannot be written in NIR",
                "add tensors of one shape",
                f"{self.shapes[operands[0]]} and {self.shapes[operands[1]]}",
            )
        name = self._unique(f"{path}.add" if path else "add")
        self.names[node] = self._insert(Layer(name, path, "add", operands))

    def _flatten(self, node: fx.Node, path: str) -> None:
        source = self._operand(node, path, 0)
        settings = dict(zip(("start_dim", "end_dim"), node.args[1:], strict=False)) | node.kwargs
        dims = {"start_dim": 0, "end_dim": -1} | settings
        lead = 1 if node.meta["in_step"] else self.lead
        start, end = (dims[k] for k in ("start_dim", "end_dim"))
        if not (isinstance(start, int) and isinstance(end, int)):
            raise refuse(path, "flatten needs fixed dimensions", "pass integers")
        kind, _, pairs = flatten(path, start, end, self.shapes[source], lead)
        self.names[node] = source
        if pairs:
            name = self._unique(f"{path}.flatten" if path else "flatten")
            self.names[node] = self._insert(Layer(name, path, kind, (source,), {}, pairs))

    def _operand(self, node: fx.Node, path: str, index: int) -> str:
        operand = node.args[index] if index < len(node.args) else None
        if not isinstance(operand, fx.Node):
            raise refuse(
                path, f"{node.name!r} has an operand that is no tensor", "use layers", repr(operand)
            )
        return self.names[operand]

    def _unique(self, path: str) -> str:
        base = path.replace(".", "_").replace("/", "_") or "layer"
        if base in ("input", "output"):
            base = f"{base}_layer"
        name, count = base, 2
        while name in self.layers:
            name, count = f"{base}_{count}", count + 1
        return name

    def _insert(self, layer: Layer) -> str:
        arriving = self.shapes[layer.sources[0]]
        self.shapes[layer.name] = _shape_after(layer, arriving)
        self.layers[layer.name] = layer
        return layer.name


def _shape_after(layer: Layer, arriving: tuple[int, ...]) -> tuple[int, ...]:
    if layer.kind == "linear":
        return (layer.arrays["weight"].shape[0],)
    if layer.kind in ("conv", "pool"):
        kernel = layer.pairs.get("kernel") or layer.arrays["weight"].shape[2:]
        dilation = layer.pairs.get("dilation", (1, 1))
        channels = layer.arrays["weight"].shape[0] if layer.kind == "conv" else arriving[0]
        spatial = (
            (arriving[1 + i] + 2 * layer.pairs["padding"][i] - dilation[i] * (kernel[i] - 1) - 1)
            // layer.pairs["stride"][i]
            + 1
            for i in range(2)
        )
        return (channels, *spatial)
    if layer.kind == "flatten":
        start, end = layer.pairs["dims"]
        merged = 1
        for size in arriving[start : end + 1]:
            merged *= size
        return (*arriving[:start], merged, *arriving[end + 1 :])
    return arriving


def _name(target: Any) -> str:
    return str(getattr(target, "__name__", target))


def _run(root: nn.Module, x: Tensor) -> tuple[dict[str, list[tuple[int, ...]]], Tensor]:
    """The shape without leading axes of every neuron layer's output, and the network's output."""
    seen: dict[str, list[tuple[int, ...]]] = {}
    handles = []
    for path, module in root.named_modules():
        if isinstance(module, (LIF, Accumulator, snntorch.Leaky)):
            lead = 1 if isinstance(module, snntorch.Leaky) else 2

            def note(_: Any, __: Any, y: Any, path: str = path, lead: int = lead) -> None:
                shape = tuple(y.shape[lead:]) if isinstance(y, Tensor) else ()
                seen.setdefault(path, []).append(shape)

            handles.append(module.register_forward_hook(note))
    try:
        with torch.no_grad():
            output = root(x)
    except Exception as error:  # whatever the user's module does with a sample that does not fit
        raise UnsupportedModuleError(
            "the module does not run on the sample",
            where="trace",
            found=str(error),
            remedy="pass one step of data, (B, *shape), of the dtype of the module",
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    if not isinstance(output, Tensor):
        raise refuse("", "forward must return one tensor", "return the last layer's output")
    return seen, output


@contextmanager
def _undisturbed(root: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; mode and membranes afterwards as they were."""
    modes = [(module, module.training) for module in root.modules()]
    membranes = [(m, m.mem) for m in root.modules() if isinstance(m, snntorch.Leaky)]
    try:
        root.eval()
        for cell, _ in membranes:
            cell.mem = torch.zeros(0)
        yield
    finally:
        for module, training in modes:
            module.training = training
        for cell, membrane in membranes:
            cell.mem = membrane
