"""What changes a module from outside is refused before anything is traced."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import snntorch
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from neurokd.errors import UnsupportedModuleError, UsageError
from neurokd.export import trace

pytestmark = pytest.mark.filterwarnings("ignore:Lazy modules:UserWarning")  # of torch 2.3


def network(first: nn.Module | None = None) -> nn.Module:
    lif = snntorch.Leaky(0.5, init_hidden=True, reset_mechanism="zero", reset_delay=False)
    return nn.Sequential(first or nn.Linear(4, 3), lif)


def hooked() -> nn.Module:
    layer = nn.Linear(4, 3)
    layer.register_forward_hook(lambda module, given, result: result * 2)
    return network(layer)


def with_value(name: str, value: float) -> nn.Module:
    net: Any = network()
    with torch.no_grad():
        getattr(net[0], name)[0] = value
    return net  # type: ignore[no-any-return]


def replaced() -> nn.Module:
    layer = nn.Linear(4, 3)
    layer.forward = lambda x: x[:, :3]  # type: ignore[method-assign, assignment]
    return network(layer)


def pruned() -> nn.Module:
    layer = nn.Linear(4, 3)
    prune.l1_unstructured(layer, "weight", 0.5)
    return network(layer)


class Derived(nn.Linear):
    """A layer of the user's own, which may compute anything."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


REFUSED: dict[str, tuple[Callable[[], nn.Module], str, str, str]] = {
    "hook": (hooked, "0", "hook", "handle.remove"),
    "pruned": (pruned, "0", "hook", "prune.remove"),
    "weight norm": (
        lambda: network(parametrizations.weight_norm(nn.Linear(4, 3))),
        "0",
        "parametrised",
        "remove_parametrizations",
    ),
    "lazy": (lambda: network(nn.LazyLinear(3)), "0", "lazy", "run it once"),
    "compiled": (lambda: torch.compile(network()), "(root)", "OptimizedModule", "torch.compile"),
    "parallel": (lambda: nn.DataParallel(network()), "(root)", "DataParallel", ".module"),
    "derived": (lambda: network(Derived(4, 3)), "0", "Derived", "supported modules"),
    "replaced": (replaced, "0", "replaced", "before"),
    "meta": (lambda: network(nn.Linear(4, 3, device="meta")), "0", "no values", "load"),
    "nan": (lambda: with_value("weight", float("nan")), "0", "'weight'", "load"),
    "infinite": (lambda: with_value("bias", float("inf")), "0", "'bias'", "load"),
}


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # of torch.compile itself
@pytest.mark.parametrize("name", REFUSED)
def test_what_fx_would_step_over_is_refused(name: str) -> None:
    made, path, words, remedy = REFUSED[name]
    with pytest.raises(UnsupportedModuleError) as caught:
        trace(made(), torch.rand(2, 4))
    assert caught.value.where == f"module {path!r}"
    assert words in caught.value.line() and remedy in caught.value.remedy


def test_a_pruned_layer_traces_once_it_is_an_ordinary_one() -> None:
    net: Any = pruned()
    prune.remove(net[0], "weight")
    graph = trace(net, torch.rand(2, 4))
    assert (graph.nodes["0"].weight == 0).sum() == 6


def test_only_modules_are_traced() -> None:
    with pytest.raises(UsageError, match=r"torch\.nn\.Module.*int"):
        trace(5, torch.rand(2, 4))  # type: ignore[arg-type]


def test_a_hook_that_says_it_returns_nothing_may_still_change_its_result_in_place() -> None:
    net: Any = network()

    def double(module: nn.Module, given: Any, result: Tensor) -> None:
        result.mul_(2)

    handle = net[0].register_forward_hook(double)
    with pytest.raises(UnsupportedModuleError, match=r"module '0'.*hook.*double"):
        trace(net, torch.rand(2, 4))
    handle.remove()
    assert list(trace(net, torch.rand(2, 4)).nodes) == ["input", "0", "1", "output"]
