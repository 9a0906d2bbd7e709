"""Recording what a forward calls: torch.fx on proxies that know their shapes, loops unrolled."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import snntorch
import torch
from torch import Tensor, fx, nn

from neurokd.errors import NeurokdError
from neurokd.export.trace_layer import refuse
from neurokd.export.trace_modules import HANDLERS, NEURONS, check_known
from neurokd.export.trace_neurons import STATES, returned_states
from neurokd.export.trace_proxy import InPlace, Shaped, TimeFirst
from neurokd.neurons import PerStep

_TRANSPARENT = (nn.Sequential, PerStep)


def at_rest() -> None:
    """Stands in the recorded graph for a state of zeros."""


class Recorder(fx.Tracer):
    """Enters the user's own modules, stops at the layers, and remembers where it is.

    Each node's ``meta`` holds ``path`` (the module that made it), ``in_step`` (inside PerStep),
    ``shape`` (None where unknown; a list for several outputs) and, for a neuron, ``was_reset``.
    Neurons are never run: their state changes only where forward resets it.
    """

    def __init__(self, sample: Tensor | None, steps: int | None) -> None:
        super().__init__()
        self.graph = fx.Graph()
        self.sample = sample
        """(B, *shape); None for multi-step modules, whose shapes are not followed here."""
        self.steps = steps
        """T if the input is (T, B, *shape), None if it is one sample for all steps."""
        self.asked_steps = False
        """Whether forward looked at the sizes of a (T, B, *shape) input."""
        self.settings: list[str] = []
        """Arguments of forward that are numbers or texts by default, and stay so."""
        self.paths = [""]
        self.in_step = 0
        self.module_shapes: dict[Any, Any] = {}
        self.marks: dict[nn.Module, Tensor] = {}
        self.reset_after: set[str] = set()
        self.concrete = False
        """While layers really run, on zeros, to tell shapes: then parameters are no proxies."""

    def record(self, root: nn.Module) -> fx.Graph:
        """The graph of a module's forward.

        Raises: `UnsupportedModuleError`; `TimeFirst` if this needs ``steps``.
        """
        try:
            for module in root.modules():
                if type(module) in STATES:
                    self._mark(module)
            graph = self.trace(root)
            for path, module in root.named_modules():
                if module in self.marks and self._mark(module):
                    self.reset_after.add(path)
            return graph
        except (NeurokdError, TimeFirst):
            raise
        except Exception as error:  # the user's forward runs on proxies and may fail in any way
            raise refuse(
                self.paths[-1],
                "the forward of this module cannot be traced",
                "use only modules, additions and flatten in it, no control flow on values",
                str(error),
            ) from error

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if isinstance(m, _TRANSPARENT):
            return False
        library = type(m).__module__.split(".")[0] in ("torch", "snntorch", "torchvision")
        # what is derived from a layer is refused as a whole, by name
        return library or isinstance(m, (*HANDLERS, *NEURONS, snntorch.SpikingNeuron))

    def call_module(
        self,
        m: nn.Module,
        forward: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        self.paths.append(self.path_of_module(m))
        if self.is_leaf_module(m, self.paths[-1]):
            check_known(self.paths[-1], m)
        self.in_step += isinstance(m, PerStep)
        # PerStep merges time into the batch around its layer: to the trace it is the layer
        result = (
            m.layer(*args, **kwargs)
            if isinstance(m, PerStep)
            else super().call_module(m, forward, args, kwargs)
        )
        if m in self.marks:
            result.node.meta["was_reset"] = self._mark(m)
        self.in_step -= isinstance(m, PerStep)
        self.paths.pop()
        return result

    def create_proxy(self, kind: str, target: Any, args: Any, *rest: Any, **named: Any) -> Any:
        if kind == "placeholder":
            if args and isinstance(args[0], (bool, int, float, str)):
                self.settings.append(str(target))
                return args[0]  # forward is traced with the settings that it has by itself
            if self.settings:
                raise refuse(
                    "",
                    f"the argument {target!r} of forward stands behind the setting "
                    f"{self.settings[-1]!r}",
                    "put settings last",
                )
        return super().create_proxy(kind, target, args, *rest, **named)

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:
        node = super().create_node(*args, **kwargs)
        node.meta["path"] = self.paths[-1]
        node.meta["in_step"] = self.in_step > 0
        with self._concrete():
            node.meta["shape"] = self._shape(node) if self.sample is not None else None
        return node

    def create_arg(self, a: Any) -> Any:
        if isinstance(a, Tensor) and not isinstance(a, nn.Parameter):
            # fx would store the constant in the user's module
            if bool((a == 0).all()):
                return self.create_node("call_function", at_rest, (), {})
            raise refuse(
                self.paths[-1],
                "forward uses a constant tensor",
                "start neurons from zero, and keep weights in layers",
                f"shape {tuple(a.shape)}",
            )
        return super().create_arg(a)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        return attr_val if self.concrete else super().getattr(attr, attr_val, parameter_proxy_cache)

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return InPlace(node, self) if self.sample is None else Shaped(node, self)

    def takes_steps(self) -> bool:
        """Whether forward has taken a (T, B, *shape) input apart."""
        return any(
            node.target is operator.getitem
            and isinstance(node.args[0], fx.Node)
            and self.is_input(node.args[0])
            for node in self.graph.nodes
        )

    def is_input(self, node: fx.Node) -> bool:
        """Whether this is the (T, B, *shape) input."""
        return self.steps is not None and node is next(iter(self.graph.nodes))

    def _mark(self, module: Any) -> bool:
        """Puts a mark where the membrane is; whether a reset has taken the last one away."""
        changed = module in self.marks and module.mem is not self.marks[module]
        with self._concrete():
            empty = torch.zeros(0, device=module.threshold.device)
        for name in STATES[type(module)]:
            setattr(module, name, empty)
        self.marks[module] = empty
        return changed

    @contextmanager
    def _concrete(self) -> Iterator[None]:
        before, self.concrete = self.concrete, True
        try:
            yield
        finally:
            self.concrete = before

    def _shape(self, node: fx.Node) -> Any:
        assert self.sample is not None
        try:
            if node.op == "placeholder":
                if any(other.op == "placeholder" for other in list(self.graph.nodes)[:-1]):
                    return None
                shape = tuple(self.sample.shape)
                return shape if self.steps is None else (self.steps, *shape)
            if node.op == "call_module":
                return self._module_shape(node)
            if node.op in ("call_function", "call_method"):
                return self._function_shape(node)
        except Exception:  # noqa: BLE001 a shape that cannot be told matters only if asked for
            return None
        return None

    def _module_shape(self, node: fx.Node) -> Any:
        passed: Any = [
            *node.args,
            *(node.kwargs[k] for k in ("input", "input_") if k in node.kwargs),
        ]
        shape = passed[0].meta["shape"]
        key = (node.target, shape)
        if shape is None or key in self.module_shapes:
            return self.module_shapes.get(key)
        module = self.root.get_submodule(str(node.target))
        if type(module) in STATES:
            states = returned_states(module)
            result: Any = [shape] * (1 + len(states)) if states else shape
        else:
            with torch.no_grad():
                result = tuple(module.forward(self._blank(shape)).shape)
        self.module_shapes[key] = result
        return result

    def _function_shape(self, node: fx.Node) -> Any:
        first = node.args[0] if node.args else None
        if isinstance(first, fx.Node) and node.target is operator.getitem:
            if self.is_input(first):
                return first.meta["shape"][1:]
            if isinstance(first.meta["shape"], list):
                index: Any = node.args[1]
                return first.meta["shape"][index]
        blanks: Any = fx.node.map_arg(
            (node.args, node.kwargs), lambda n: self._blank(n.meta["shape"])
        )
        args, kwargs = blanks
        with torch.no_grad():
            if node.op == "call_method":
                made = getattr(args[0], str(node.target))(*args[1:], **kwargs)
            else:
                made = node.target(*args, **kwargs)  # type: ignore[operator]
        return tuple(made.shape)

    def _blank(self, shape: tuple[int, ...]) -> Tensor:
        assert self.sample is not None
        return torch.zeros(shape, dtype=self.sample.dtype, device=self.sample.device)
