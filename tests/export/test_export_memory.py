"""Memory of an export: few copies at once, and none shared with the module."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
import snntorch
import torch
from torch import nn

from neurokd.export import trace, write_nir
from neurokd.neurons.surrogate import triangle

NEURON: dict[str, Any] = {
    "beta": 0.5,
    "reset_mechanism": "zero",
    "reset_delay": False,
    "init_hidden": True,
    "spike_grad": triangle(),
}


def lif(**settings: Any) -> snntorch.Leaky:
    return snntorch.Leaky(**{**NEURON, **settings})


def recurrent(**settings: Any) -> snntorch.RLeaky:
    return snntorch.RLeaky(**{**NEURON, **settings})


def arrays(graph: nir.NIRGraph) -> dict[str, np.ndarray]:
    """Every parameter of every node."""
    return {
        f"{name}.{field}": value
        for name, node in graph.nodes.items()
        for field, value in vars(node).items()
        if isinstance(value, np.ndarray)
    }


def every_kind_of_parameter() -> nn.Module:
    """Weights that are kept, enlarged, made dense or folded; one β, θ or V for each, or for all."""
    each = torch.linspace(0.1, 0.9, 4 * 6 * 6).reshape(4, 6, 6)
    return nn.Sequential(
        *(nn.Conv2d(2, 4, 3, padding=1), lif(beta=each.clone(), threshold=each.clone())),
        *(nn.Conv2d(4, 4, (3, 1), padding=(1, 0)), lif(threshold=torch.tensor(0.7))),
        *(nn.Conv2d(4, 4, 3, padding=1, groups=2), recurrent(all_to_all=False, V=each)),
        *(nn.Conv2d(4, 4, 1, bias=False), nn.BatchNorm2d(4), recurrent(all_to_all=False, V=0.3)),
        *(nn.Flatten(), nn.Linear(4 * 6 * 6, 8), lif(beta=torch.full((8,), 0.4))),
        *(nn.Linear(8, 8, bias=False), recurrent(linear_features=8)),
        *(nn.Linear(8, 3), nn.BatchNorm1d(3), lif(beta=1.0)),
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_graph_owns_its_arrays(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model = every_kind_of_parameter().to(dtype)
    found = arrays(trace(model, torch.rand(1, 2, 6, 6, dtype=dtype)))
    before = {name: value.copy() for name, value in found.items()}
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.zero_()
    for name, value in found.items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)
        # neither read-only nor one number for all
        assert value.flags.writeable and value.flags.c_contiguous, name
    pairs = combinations(found, 2)
    assert [pair for pair in pairs if np.shares_memory(*map(found.get, pair))] == []


def test_writing_leaves_the_graph_as_it_was(tmp_path: Path) -> None:
    torch.manual_seed(0)
    graph = trace(every_kind_of_parameter(), torch.rand(1, 2, 6, 6))
    before = arrays(graph)
    copies = {name: value.copy() for name, value in before.items()}
    write_nir(graph, tmp_path / "x.nir")
    after = arrays(graph)
    assert list(after) == list(before)
    for name, value in after.items():
        assert value is before[name] and type(value) is np.ndarray, name
        np.testing.assert_array_equal(value, copies[name], err_msg=name)


def peak_bytes(action: Callable[[], object]) -> int:
    """What numpy and Python allocate at most, above what they hold; torch's own is not seen."""
    tracemalloc.start()
    try:
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        action()
        return tracemalloc.get_traced_memory()[1] - held
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("channels", "side", "blocks", "bound"),
    [(160, 2, 5, 2.6), (16, 96, 6, 1.6)],
    ids=["weights", "neurons"],
)
def test_peak_memory_of_an_export(
    channels: int, side: int, blocks: int, bound: float, tmp_path: Path
) -> None:
    # In sizes of the graph, float32. Tracing needs it once, all folded weights in float64 and one
    # layer's temporaries: 2.2 where weights count, 1.3 where neurons do, whose parameters are one
    # number for all. With a float64 copy of what is not folded yet it was 5.0 and 2.1. Writing
    # needs the compressed file, at most 1.0; nir's own copies made it 2.0.
    torch.manual_seed(0)
    model = nn.Sequential()
    for _ in range(blocks):
        convolution = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        model.extend([convolution, nn.BatchNorm2d(channels), lif()])
    sample = torch.rand(1, channels, side, side)
    # the first time imports and caches
    size = sum(value.nbytes for value in arrays(trace(model, sample)).values())
    assert size > 4e6  # Python's own objects do not count beside it
    graphs: list[nir.NIRGraph] = []
    assert peak_bytes(lambda: graphs.append(trace(model, sample))) < bound * size
    assert peak_bytes(lambda: write_nir(graphs[0], tmp_path / "x.nir")) < 1.5 * size
