"""Segments of the time loop: the bits of one segment, in less memory."""

import weakref
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from neurokd.neurons import lif_steps
from neurokd.neurons.surrogate import atan

ALL = (True, True, True)


class LiveMemory(TorchDispatchMode):
    """The most bytes that are alive at a time, of the tensors made under it."""

    def __init__(self, *given: Tensor | None) -> None:
        super().__init__()
        self.now = self.most = 0
        self._seen = {t.untyped_storage().data_ptr() for t in given if t is not None}

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        out = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                self._note(tensor.untyped_storage())
        return out

    def _note(self, storage: torch.UntypedStorage) -> None:
        address = storage.data_ptr()
        if address in self._seen or not storage.nbytes():
            return
        size = storage.nbytes()
        self._seen.add(address)
        self.now += size
        self.most = max(self.most, self.now)

        def freed() -> None:
            self._seen.discard(address)
            self.now -= size

        weakref.finalize(storage, freed)


def case(steps: int, *, filtered: bool, static: bool) -> tuple[Any, ...]:
    generator = torch.Generator().manual_seed(steps)
    x = torch.randn(1 if static else steps, 3, 40, generator=generator)
    upstream = torch.randn(1 if static else steps, 3, 40, generator=generator)
    alpha, beta = (torch.rand(40, generator=generator) for _ in range(2))
    threshold = torch.rand(1, generator=generator)
    return x, upstream, steps, alpha if filtered else None, beta, threshold


def both_ways(patch: pytest.MonkeyPatch, arguments: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    results = []
    for limit in (10**9, 1):
        patch.setattr(lif_steps, "_ONE_SEGMENT", limit)
        wanted = (arguments[3] is not None, True, True)
        results.append(lif_steps.backward(*arguments, atan(), wanted))
    return results


@pytest.mark.parametrize("steps", [2, 3, 4, 5, 16, 17, 35])
@pytest.mark.parametrize("filtered", [False, True])
@pytest.mark.parametrize("static", [False, True])
def test_segments_give_the_same_bits(
    monkeypatch: pytest.MonkeyPatch, steps: int, filtered: bool, static: bool
) -> None:
    whole, parts = both_ways(monkeypatch, case(steps, filtered=filtered, static=static))
    for one, other in zip(whole, parts, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            assert bool(one.any()) and torch.equal(one, other)


def test_a_hundred_steps_keep_twenty_membranes(monkeypatch: pytest.MonkeyPatch) -> None:
    x, upstream, steps, _, beta, threshold = case(100, filtered=False, static=False)
    step = x[0].numel() * x.element_size()
    most = []
    for limit in (1000, 16):
        monkeypatch.setattr(lif_steps, "_ONE_SEGMENT", limit)
        with LiveMemory(x, upstream, beta, threshold) as memory:
            lif_steps.backward(x, upstream, steps, None, beta, threshold, atan(), ALL)
        most.append(memory.most / step)
    whole, parts = most
    # the gradient of each step, and the membranes of all or of 10 beside the states before 9 more;
    # what one step needs besides is less than 20 of them
    assert 200 <= whole < 220
    assert 100 <= parts < 100 + 20 + 20
    assert whole - parts > 70


def test_spikes_keep_no_membranes() -> None:
    x, _, steps, alpha, beta, threshold = case(100, filtered=True, static=False)
    with LiveMemory(x, alpha, beta, threshold) as memory:
        spikes = lif_steps.spikes(x, steps, alpha, beta, threshold)
    assert set(spikes.unique().tolist()) == {0.0, 1.0}
    assert memory.most < 115 * x[0].numel() * x.element_size()
