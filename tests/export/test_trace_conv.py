"""Convolutions of every geometry against torch's own, in float64; or refused."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np
import pytest
import torch
from torch import nn

from neurokd.errors import UnsupportedModuleError
from neurokd.export import read_nir, simulate_nir, trace, write_nir

EXACT: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "plain": (nn.Conv2d(2, 3, 3, stride=2, padding=1, bias=False), (2, 7, 8)),
    "groups": (nn.Conv2d(4, 6, 3, groups=2), (4, 5, 6)),
    "depthwise": (nn.Conv2d(4, 8, 3, padding=1, groups=4, stride=(2, 1)), (4, 6, 7)),
    "wide": (nn.Conv2d(2, 3, (1, 3)), (2, 5, 6)),
    "tall": (nn.Conv2d(2, 3, (5, 1), stride=(1, 2), padding=(1, 0)), (2, 9, 6)),
    "wide, dilated": (nn.Conv2d(1, 2, (3, 5), padding=(2, 1), dilation=(2, 3)), (1, 11, 15)),
    "both even": (nn.Conv2d(1, 2, (2, 4), stride=2, padding=(1, 0)), (1, 8, 9)),
    # 9 rows, stride 2: the last one is never reached, so that a kernel one longer changes nothing
    "odd and even": (nn.Conv2d(1, 2, (2, 3), stride=2), (1, 9, 9)),
    "same": (nn.Conv2d(2, 2, (3, 5), padding="same", dilation=(1, 2)), (2, 6, 9)),
    # torch adds the odd zero behind; a zero before the kernel makes the padding symmetric
    "same, even": (nn.Conv2d(2, 2, 4, padding="same"), (2, 6, 7)),
    "valid": (nn.Conv2d(2, 2, (2, 4), padding="valid", groups=2), (2, 6, 7)),
    "line": (nn.Conv1d(2, 3, 5, stride=2, padding=2, dilation=2), (2, 13)),
    "line, groups": (nn.Conv1d(4, 4, 3, groups=2, bias=False), (4, 9)),
    "line, same": (nn.Conv1d(2, 2, 4, padding="same"), (2, 9)),
}


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("name", EXACT)
def test_a_convolution_is_exact_also_through_a_file(name: str, tmp_path: Any) -> None:
    torch.manual_seed(8)
    layer, shape = EXACT[name]
    model = nn.Sequential(layer).double()
    x = torch.randn(1, 3, *shape, dtype=torch.double)
    with torch.no_grad():
        expected = model(x[0]).numpy()
    graph = trace(model, x[0])
    write_nir(graph, tmp_path / "conv.nir")
    for found in (graph, read_nir(tmp_path / "conv.nir")):
        np.testing.assert_allclose(simulate_nir(found, x.numpy()).output[0], expected, atol=1e-12)
    node = graph.nodes["0"]
    assert node.groups == 1 and len(set(node.weight.shape[2:])) == 1
    assert node.weight.dtype == np.float64
    assert graph.metadata["weights"] == layer.weight.numel()
    assert graph.metadata["weights_stored"] == node.weight.size
    assert np.count_nonzero(node.weight) == layer.weight.numel()


def test_the_zeros_that_a_dense_square_kernel_takes_are_stated() -> None:
    # 2 groups of (3, 2, 1, 3) become one (6, 4, 3, 3)
    graph = trace(nn.Sequential(nn.Conv2d(4, 6, (1, 3), groups=2)), torch.rand(1, 4, 5, 5))
    assert graph.metadata["weights"] == 36 and graph.metadata["weights_stored"] == 216
    assert graph.nodes["0"].weight.dtype == np.float32
    assert tuple(graph.nodes["0"].padding) == (1, 0)


REFUSED = {
    "odd and even": (nn.Conv2d(1, 2, (2, 3)), (1, 8, 8), "both odd or both even"),
    "same, even, dilated": (nn.Conv2d(1, 2, 2, padding="same", dilation=3), (1, 9, 9), "kernel"),
    "reflect": (nn.Conv1d(1, 2, 3, padding=1, padding_mode="reflect"), (1, 9), "zeros"),
    "no channels": (nn.Conv2d(1, 2, 3), (8, 8), "channel axis"),
    "transposed": (nn.ConvTranspose2d(1, 2, 3), (1, 8, 8), "supported modules"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_square_symmetric_kernel_computes_is_refused(name: str) -> None:
    layer, shape, words = REFUSED[name]
    with pytest.raises(UnsupportedModuleError) as caught:
        trace(nn.Sequential(nn.Identity(), layer), torch.rand(1, *shape))
    assert caught.value.where == "module '1'" and words in caught.value.line()


POOLS = {
    "rectangle": nn.AvgPool2d((1, 3), stride=(2, 1)),
    "padding": nn.AvgPool2d((2, 3), stride=(1, 2), padding=(1, 0)),
    "ceil that is floor": nn.AvgPool2d(3, ceil_mode=True),
    "divisor": nn.AvgPool2d(2, divisor_override=3),
    "no padding to count": nn.AvgPool2d(2, count_include_pad=False),
    "adaptive": nn.AdaptiveAvgPool2d((3, None)),
}


@pytest.mark.parametrize("name", POOLS)
def test_average_pooling_becomes_a_sum_with_its_scale_in_the_layer_after(name: str) -> None:
    torch.manual_seed(9)
    model = nn.Sequential(POOLS[name], nn.Conv2d(2, 3, 2)).double()
    x = torch.randn(1, 2, 2, 6, 9, dtype=torch.double)
    with torch.no_grad():
        expected = model(x[0]).numpy()
    graph = trace(model, x[0])
    assert isinstance(graph.nodes["0"], nir.SumPool2d)
    np.testing.assert_allclose(simulate_nir(graph, x.numpy()).output[0], expected, atol=1e-12)


@pytest.mark.parametrize(
    ("layers", "shape"),
    [
        ([nn.Linear(6, 5), nn.BatchNorm1d(5)], (6,)),
        ([nn.Conv1d(2, 4, 3, groups=2, bias=False), nn.BatchNorm1d(4)], (2, 8)),
        ([nn.Conv2d(2, 3, (1, 3)), nn.BatchNorm2d(3, affine=False), nn.Dropout2d()], (2, 5, 5)),
    ],
)
def test_batch_normalisation_is_folded(layers: list[nn.Module], shape: tuple[int, ...]) -> None:
    torch.manual_seed(10)
    model = nn.Sequential(*layers).double()
    norm: Any = model[1]
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    if norm.affine:
        nn.init.normal_(norm.bias)
        nn.init.uniform_(norm.weight, 0.5, 1.5)
    x = torch.randn(1, 3, *shape, dtype=torch.double)
    graph = trace(model, x[0])
    model.eval()
    with torch.no_grad():
        expected = model(x[0]).numpy()
    assert list(graph.nodes) == ["input", "0", "output"]
    np.testing.assert_allclose(simulate_nir(graph, x.numpy()).output[0], expected, atol=1e-12)
