"""A time loop inside forward becomes one step of layers, equal to torch spike for spike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import nir
import numpy as np
import pytest
import snntorch
import torch
from snntorch import utils
from torch import Tensor, nn

from neurokd.errors import NeurokdError, UnsupportedModuleError, UsageError
from neurokd.export import simulate_nir, trace
from neurokd.export.trace_capture import capture
from neurokd.neurons.surrogate import triangle

STEPS = 6
ZERO: dict[str, Any] = {
    "reset_mechanism": "zero",
    "reset_delay": False,
    "spike_grad": triangle(),  # snnTorch's own gives float32 spikes, and float64 networks break
}


def neurons(kind: str, **settings: Any) -> tuple[nn.Module, nn.Module]:
    """Seven and four neurons of a kind."""
    options = {**ZERO, **settings}
    if kind == "leaky":
        return snntorch.Leaky(0.8, **options), snntorch.Leaky(0.7, threshold=0.6, **options)
    if kind == "synaptic":
        alpha, beta = torch.rand(7) * 0.8, torch.rand(7) * 0.8 + 0.1
        return snntorch.Synaptic(alpha, beta, **options), snntorch.Synaptic(0.5, 0.7, **options)
    if kind == "rleaky":
        one = snntorch.RLeaky(0.7, all_to_all=False, V=-0.3, **options)
        return snntorch.RLeaky(0.8, linear_features=7, **options), one
    # with reset_delay=False its forward fails on the state that its own reset_mem returns
    options |= {"reset_mechanism": "none", "reset_delay": True}
    one = snntorch.RSynaptic(0.4, 0.8, all_to_all=False, V=torch.rand(4) - 0.5, **options)
    return snntorch.RSynaptic(0.3, 0.6, linear_features=7, **options), one


class Loop(nn.Module):
    """As people write it: state in lists, steps appended and stacked."""

    def __init__(self, kind: str, mode: str) -> None:
        super().__init__()
        self.mode = mode
        self.fc1, self.fc2 = nn.Linear(5, 7), nn.Linear(7, 4)
        self.lif1, self.lif2 = neurons(kind)
        self.states = 2 if kind[0] == "r" else 1
        nn.init.uniform_(self.fc1.weight, -0.5, 1)
        nn.init.uniform_(self.fc2.weight, -0.5, 1)

    def inputs(self, x: Tensor) -> list[Tensor]:
        if self.mode == "static":
            return [x] * STEPS
        if self.mode == "iterate":
            return list(x)
        return [x[t] for t in range(x.size(0) if self.mode == "size" else STEPS)]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        first, second = self.lif1.reset_mem(), self.lif2.reset_mem()
        first, second = ((s,) if isinstance(s, Tensor) else s for s in (first, second))
        skip = 0 if self.states == 2 else 1
        spikes, membranes = [], []
        for current in self.inputs(x):
            spk, *rest = self.lif1(self.fc1(current), *first)
            first = [spk, *rest][skip:]
            spk, *rest = self.lif2(self.fc2(spk), *second)
            second = [spk, *rest][skip:]
            spikes.append(spk)
            membranes.append(rest[-1])
        return torch.stack(spikes, dim=0), torch.stack(membranes)


@pytest.mark.parametrize("mode", ["static", "index", "size", "iterate"])
@pytest.mark.parametrize("kind", ["leaky", "synaptic", "rleaky", "rsynaptic"])
def test_explicit_state_and_the_loop_inside(kind: str, mode: str) -> None:
    torch.manual_seed(5)
    model = Loop(kind, mode).double()
    shape = (3, 5) if mode == "static" else (STEPS, 3, 5)
    x = torch.rand(shape, dtype=torch.double)
    graph = trace(model, torch.rand(2, 5, dtype=torch.double), reset_none="threshold")
    with torch.no_grad():
        expected = model(x)[0].numpy()
    run = simulate_nir(graph, np.broadcast_to(x.numpy(), (STEPS, 3, 5)))
    assert 0.1 < expected.mean() < 0.9
    np.testing.assert_array_equal(run.output, expected)
    fixed = mode in ("static", "index")
    assert graph.metadata.get("steps") == (STEPS if fixed else None)
    # one set of nodes, not one for each step: input, output, two layers, and each neuron's own
    own = {"leaky": 1, "synaptic": 1, "rleaky": 2, "rsynaptic": 3}[kind]
    assert len(graph.nodes) == 4 + 2 * own
    assert graph.metadata["neurons"] == 11
    back = 49 + 1 if kind == "rleaky" else 49 + 4 if kind == "rsynaptic" else 0
    assert graph.metadata["weights"] == 35 + 28 + back
    assert graph.metadata["weights_stored"] == 35 + 28 + (49 + 16 if back else 0)


class Hidden(nn.Module):
    """init_hidden, with a nested Sequential, a view, and a current computed before the loop."""

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.lif = snntorch.Leaky(0.6, threshold=0.3, init_hidden=True, **ZERO)
        last = snntorch.Leaky(0.9, threshold=0.2, init_hidden=True, output=True, **ZERO)
        self.head = nn.Sequential(nn.Linear(32, 5), last)

    def forward(self, x: Tensor) -> Tensor:
        utils.reset(self)
        current = self.conv(x)
        recorded = []
        for _ in range(STEPS):
            spk, _mem = self.head(self.lif(current).view(x.size(0), -1))
            recorded.append(spk)
        return torch.stack(recorded)


def test_hidden_state_and_the_loop_inside_leave_everything_as_it_was() -> None:
    torch.manual_seed(6)
    model = Hidden().double()
    bystander = snntorch.Leaky(0.5, init_hidden=True)
    bystander(torch.full((1, 2), 0.5))
    x = torch.rand(3, 1, 6, 6, dtype=torch.double)
    names = sorted(model.__dict__), sorted(model.state_dict())
    graph = trace(model, x[:1])
    assert (sorted(model.__dict__), sorted(model.state_dict())) == names
    assert model.training and model.lif.mem.shape == (0,)
    assert bystander.mem.tolist() == [[0.5, 0.5]]
    with torch.no_grad():
        expected = model(x).numpy()
    run = simulate_nir(graph, np.broadcast_to(x.numpy(), (STEPS, *x.shape)))
    assert 0.05 < expected.mean() < 0.95
    np.testing.assert_array_equal(run.output, expected)
    assert list(graph.nodes) == ["input", "conv", "lif", "flatten", "head_0", "head_1", "output"]


class Outside(nn.Module):
    """One step a call; the caller keeps the state."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 6)
        self.syn = snntorch.Synaptic(0.5, 0.8, **ZERO)
        self.back = snntorch.RLeaky(0.7, linear_features=6, threshold=0.5, **ZERO)
        self.mix = nn.Linear(6, 6)

    def forward(self, x: Tensor, syn: Tensor, mem: Tensor, spk: Tensor, v: Tensor) -> Any:
        first, syn, mem = self.syn(self.fc(x), syn, mem)
        spk, v = self.back(self.mix(first), spk, v)
        return spk, v, syn, mem


def test_explicit_state_and_the_loop_outside() -> None:
    torch.manual_seed(7)
    model = Outside().double()
    x = torch.rand(20, 2, 4, dtype=torch.double) * 2
    captured = capture(model, x[0])
    assert captured.calling.form == "step" and captured.calling.states == (2, 3, 0, 1)
    graph = trace(model, x[0])
    state: list[Any] = [None] * 4
    expected = []
    with torch.no_grad():
        for step in x:
            spk, v, syn, mem = model(step, *state)
            state = [syn, mem, spk, v]
            expected.append(spk.numpy())
    assert 0.05 < np.mean(expected) < 0.95
    np.testing.assert_array_equal(simulate_nir(graph, x.numpy()).output, np.stack(expected))


def test_sequential_that_ends_in_a_neuron_with_output() -> None:
    last = snntorch.Synaptic(0.5, 0.5, init_hidden=True, output=True, **ZERO)
    graph = trace(nn.Sequential(nn.Linear(3, 2), last), torch.rand(1, 3))
    assert isinstance(graph.nodes["1"], nir.CubaLIF)


Body = Callable[["Variant", Tensor], Any]


class Variant(nn.Module):
    """A small network whose forward is given."""

    def __init__(self, body: Body) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 3)
        self.fc2 = nn.Linear(3, 3)
        self.lif = snntorch.Leaky(0.5, **ZERO)
        self.lif2 = snntorch.Leaky(0.5, **ZERO)
        self.body = body

    def forward(self, x: Tensor) -> Any:
        return self.body(self, x)


def loop(step: Callable[..., tuple[Tensor, Any, Any]], last: bool = False) -> Body:
    """Three steps of (network, x, mem, mem2, t) → spikes and states."""

    def body(net: Variant, x: Tensor) -> Any:
        mem, mem2 = net.lif.reset_mem(), net.lif2.reset_mem()
        recorded = []
        for t in range(3):
            spk, mem, mem2 = step(net, x, mem, mem2, t)
            recorded.append(spk)
        return recorded[-1] if last else torch.stack(recorded)

    return body


def plain(net: Variant, x: Tensor, mem: Any, mem2: Any, t: int) -> Any:
    spk, mem = net.lif(net.fc(x), mem)
    spk, mem2 = net.lif2(net.fc2(spk), mem2)
    return spk, mem, mem2


def crossed(net: Variant, x: Tensor, mem: Any, mem2: Any, t: int) -> Any:
    spk, mem, mem2 = plain(net, x, mem, mem2, t)
    return spk, mem2, mem


def stale(net: Variant, x: Tensor, mem: Any, mem2: Any, t: int) -> Any:
    spk, _, mem2 = plain(net, x, mem, mem2, t)
    return spk, mem, mem2


def decayed(net: Variant, x: Tensor, mem: Any, mem2: Any, t: int) -> Any:
    spk, mem, mem2 = plain(net, x, mem, mem2, t)
    return spk, mem * 0.5, mem2


def forgetful(net: Variant, x: Tensor, mem: Any, mem2: Any, t: int) -> Any:
    return plain(net, x, net.lif.reset_mem(), mem2, t)


def alternating(net: Variant, x: Tensor, mem: Any, mem2: Any, t: int) -> Any:
    spk, mem = net.lif((net.fc2 if t % 2 else net.fc)(x), mem)
    spk, mem2 = net.lif2((net.fc if t % 2 else net.fc2)(spk), mem2)
    return spk, mem, mem2


def skipping(net: Variant, x: Tensor, mem: Any, mem2: Any, t: int) -> Any:
    spk, mem = net.lif(net.fc(x), mem)
    if t > 0:
        spk, mem2 = net.lif2(net.fc2(spk), mem2)
    return spk, mem, mem2


def shortcut(net: Variant, x: Tensor, mem: Any, mem2: Any, t: int) -> Any:
    spk, mem = net.lif(net.fc(x), mem)
    spk, mem2 = net.lif2(net.fc2(spk) + x if t == 2 else net.fc2(spk), mem2)
    return spk, mem, mem2


def twice(net: Variant, x: Tensor, mem: Any, mem2: Any, t: int) -> Any:
    spk, mem = net.lif(net.fc(x), mem)
    spk, mem = net.lif(net.fc2(spk), mem)
    spk, mem2 = net.lif2(spk, mem2)
    return spk, mem, mem2


def fed_back(net: Variant, x: Tensor) -> Any:
    mem, mem2 = net.lif.reset_mem(), net.lif2.reset_mem()
    recorded, spk = [], x
    for _ in range(3):
        spk, mem = net.lif(net.fc(spk), mem)
        spk, mem2 = net.lif2(net.fc2(spk), mem2)
        recorded.append(spk)
    return torch.stack(recorded)


def membranes(net: Variant, x: Tensor) -> Any:
    mem = net.lif.reset_mem()
    recorded = []
    for _ in range(3):
        spk, mem = net.lif(net.fc(x), mem)
        spk, mem2 = net.lif2(net.fc2(spk))
        recorded.append(mem2)
    return torch.stack(recorded)


def one_step(net: Variant, x: Tensor) -> Any:
    return plain(net, x, net.lif.reset_mem(), net.lif2.reset_mem(), 0)[0]


def reset_within(net: Variant, x: Tensor) -> Any:
    recorded = []
    for _ in range(3):
        utils.reset(net)
        recorded.append(net.lif2(net.fc2(net.lif(net.fc(x))[0]))[0])
    return torch.stack(recorded)


def reset_after(net: Variant, x: Tensor) -> Any:
    spk, _ = net.lif2(net.fc2(net.lif(net.fc(x))[0]))
    utils.reset(net)
    return spk


def charged(net: Variant, x: Tensor) -> Any:
    mem = torch.full((x.size(0), 3), 0.5)
    return loop(lambda n, x, _, mem2, t: plain(n, x, mem, mem2, t))(net, x)


def backwards(net: Variant, x: Tensor) -> Any:
    return loop(lambda n, y, mem, mem2, t: plain(n, x[2 - t], mem, mem2, t))(net, x[0])


def batch_first(net: Variant, x: Tensor) -> Any:
    return loop(lambda n, y, mem, mem2, t: plain(n, x[:, t], mem, mem2, t))(net, x)


def overwritten(net: Variant, x: Tensor) -> Any:
    first = net.lif(net.fc(x))[0]
    seen = first.flatten(1)
    first += x  # changes ``seen``, too
    return net.lif2(net.fc2(first) + seen)[0]


def summed(net: Variant, x: Tensor) -> Any:
    return loop(plain)(net, x).sum(0)


REFUSED: dict[str, tuple[Body, str, str]] = {
    "crossed": (loop(crossed), "lif", "'mem' passed at step 2"),
    "stale": (loop(stale), "lif", "'mem' passed at step 2"),
    "decayed": (loop(decayed), "(root)", "'mul'"),
    "forgetful": (loop(forgetful), "lif", "'mem' passed at step 2"),
    "alternating": (loop(alternating), "lif", "step 2"),
    "skipping": (loop(skipping), "fc2", "step 2"),
    "shortcut": (loop(shortcut), "(root)", "step 3"),
    "twice": (loop(twice), "lif", "more than once"),
    "last only": (loop(plain, last=True), "(root)", "torch.stack"),
    "fed back": (fed_back, "lif", "on the input of step 1"),
    "membranes": (membranes, "(root)", "state"),
    "one step": (one_step, "lif", "from zero"),
    "reset within": (reset_within, "lif", "reset"),
    "reset after": (reset_after, "lif", "from zero"),
    "charged": (charged, "lif", "constant"),
    "backwards": (backwards, "", "step"),
    "batch first": (batch_first, "(root)", "(T, B, *shape)"),
    "overwritten": (overwritten, "(root)", "+="),
    "summed": (summed, "(root)", "'sum'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_loop_that_is_not_one_step_repeated_is_refused_by_name(name: str) -> None:
    body, path, words = REFUSED[name]
    with pytest.raises(UnsupportedModuleError) as caught:
        trace(Variant(body), torch.rand(2, 3))
    assert words in caught.value.line() and caught.value.remedy
    assert not path or caught.value.where == f"module {path!r}"


def test_the_accepted_loop_beside_the_refused_ones() -> None:
    graph = trace(Variant(loop(plain)), torch.rand(2, 3))
    assert list(graph.nodes) == ["input", "fc", "lif", "fc2", "lif2", "output"]


def test_steps_that_contradict_the_module_are_refused() -> None:
    assert trace(Loop("leaky", "size"), torch.rand(1, 5), steps=9).metadata["steps"] == 9
    for mode in ("static", "index"):
        with pytest.raises(UsageError, match=r"steps=6.*steps=9"):
            trace(Loop("leaky", mode), torch.rand(1, 5), steps=9)
    with pytest.raises(UsageError, match="reset_none"):
        trace(Loop("leaky", "size"), torch.rand(1, 5), reset_none="keep")  # type: ignore[arg-type]


@pytest.mark.parametrize("returned", ["none", "state"])
def test_a_state_that_does_not_come_back_is_refused(returned: str) -> None:
    class Lost(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lif = snntorch.Leaky(0.5, **ZERO)

        def forward(self, x: Tensor, mem: Tensor) -> Any:
            spk, mem = self.lif(x, mem)
            return spk if returned == "none" else (mem, spk)

    with pytest.raises(NeurokdError, match="state"):
        trace(Lost(), torch.rand(1, 3))


def named_sizes(net: Variant, x: Tensor) -> Any:
    steps, batch, features = x.shape
    mem, mem2 = torch.zeros(batch, features), None
    recorded = []
    for t in range(steps):
        spk, mem = net.lif(net.fc(x[t].view(batch, -1)), mem=mem)
        spk, mem2 = net.lif2(input_=net.fc2(spk), mem=mem2)
        recorded.append(spk.detach())
    return torch.stack(recorded), mem


def test_sizes_zeros_none_and_names_of_arguments_are_understood() -> None:
    torch.manual_seed(21)
    model = Variant(named_sizes)
    nn.init.uniform_(model.fc.weight, 0, 1.5)
    nn.init.uniform_(model.fc2.weight, 0, 1.5)
    captured = capture(model, torch.rand(2, 3))
    assert captured.calling.form == "sequence" and captured.calling.steps is None
    x = torch.rand(7, 2, 3)
    with torch.no_grad():
        expected = model(x)[0].numpy()
    assert 0.05 < expected.mean() < 0.95
    # float32 against float64: the seed keeps every membrane away from its threshold
    np.testing.assert_array_equal(simulate_nir(trace(model, x[0]), x.numpy()).output, expected)


class Settings(nn.Module):
    """Arguments of forward that are settings; a state before or behind them."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 3)
        self.lif = snntorch.Leaky(0.5, init_hidden=True, **ZERO)

    def forward(self, x: Tensor, steps: int = 4, double: bool = False) -> Tensor:
        current = self.fc(self.fc(x)) if double else self.fc(x)
        return torch.stack([self.lif(current) for _ in range(steps)])


class SettingFirst(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lif = snntorch.Leaky(0.5, **ZERO)

    def forward(self, x: Tensor, scale: float = 1.0, mem: Tensor | None = None) -> Any:
        return self.lif(x, mem)


def test_settings_of_forward_keep_their_defaults() -> None:
    graph = trace(Settings(), torch.rand(2, 3))
    assert graph.metadata["steps"] == 4
    assert list(graph.nodes) == ["input", "fc", "lif", "output"]
    with pytest.raises(UnsupportedModuleError, match=r"'mem'.*'scale'.*settings last"):
        trace(SettingFirst(), torch.rand(2, 3))


def test_the_steps_of_an_input_may_be_unbound() -> None:
    torch.manual_seed(22)

    def body(net: Variant, x: Tensor) -> Any:
        mem = mem2 = None
        recorded = []
        for current in x.unbind():
            spk, mem, mem2 = plain(net, current, mem, mem2, 0)
            recorded.append(spk)
        return torch.stack(recorded)

    captured = capture(Variant(body), torch.rand(2, 3))
    assert captured.calling.form == "sequence" and captured.calling.steps is None


class Raised(nn.Module):
    """Spikes changed in place: recurrent neurons would see it."""

    def __init__(self, recurrent: bool) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 3)
        one = snntorch.RLeaky(0.5, all_to_all=False, V=0.3, init_hidden=True, **ZERO)
        self.lif = one if recurrent else snntorch.Leaky(0.5, init_hidden=True, **ZERO)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.lif(self.fc(x))
        y += x
        return y


def test_spikes_that_are_state_are_not_changed_in_place() -> None:
    assert len(trace(Raised(recurrent=False), torch.rand(2, 3)).edges) == 4
    with pytest.raises(UnsupportedModuleError, match=r"'lif' keep as their state.*y = y \+ x"):
        trace(Raised(recurrent=True), torch.rand(2, 3))
