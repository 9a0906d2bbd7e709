"""What NIR has no node for is folded away, what can stay stays, and the numbers are the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from neurokd.errors import UnsupportedModuleError
from neurokd.export.trace_fold import dissolve_additions, fold, fold_averages, fold_norms
from neurokd.export.trace_layer import Layer, Layers

RNG = np.random.default_rng(0)
WINDOW = {"kernel": (2, 2), "stride": (2, 2), "padding": (0, 0)}


def layer(name: str, kind: Any, sources: Sequence[str] | str = (), **arrays: Any) -> Layer:
    sources = (sources,) if isinstance(sources, str) else tuple(sources)
    pairs = {"pool": WINDOW, "flatten": {"dims": (0, 2)}}.get(kind, {})
    return Layer(name, f"net.{name}", kind, sources, arrays, pairs)


def linear(name: str, source: str, out: int, size: int, bias: bool = True) -> Layer:
    arrays = {"weight": RNG.normal(size=(out, size))}
    return layer(
        name, "linear", source, **arrays | ({"bias": RNG.normal(size=out)} if bias else {})
    )


def norm(name: str, source: str, size: int) -> Layer:
    scale, shift = RNG.uniform(0.5, 2, size), RNG.normal(size=size)
    return layer(name, "norm", source, scale=scale, shift=shift)


def pool(name: str, source: str, scale: float = 0.25) -> Layer:
    return layer(name, "pool", source, scale=np.array(scale))


def joined(*layers: Layer) -> Layers:
    return {"input": layer("input", "input")} | {each.name: each for each in layers}


def kinds(layers: Layers) -> Counter[str]:
    return Counter(each.kind for each in layers.values())


def evaluate(layers: Layers, x: np.ndarray) -> np.ndarray:
    """What leaves the last layer; several sources are a sum, as edges are in NIR."""
    values: dict[str, np.ndarray] = {}
    for name, each in layers.items():
        arriving = sum((values[source] for source in each.sources), np.zeros(()))
        a = each.arrays
        if each.kind == "input":
            values[name] = x
        elif each.kind == "linear":
            values[name] = a["weight"] @ arriving + a.get("bias", 0.0)
        elif each.kind == "conv":  # of kernel 1
            values[name] = np.einsum("oi,ihw->ohw", a["weight"][:, :, 0, 0], arriving)
            values[name] += np.reshape(a.get("bias", 0.0), (-1, 1, 1))
        elif each.kind == "norm":
            shape = (-1, *[1] * (arriving.ndim - 1))
            values[name] = a["scale"].reshape(shape) * arriving + a["shift"].reshape(shape)
        elif each.kind == "pool":
            c, h, w = arriving.shape
            windows = arriving.reshape(c, h // 2, 2, w // 2, 2)
            values[name] = windows.sum(axis=(2, 4)) * a["scale"]
        elif each.kind == "flatten":
            values[name] = arriving.reshape(-1)
        elif each.kind == "multiple":
            values[name] = a["factor"] * arriving
        elif each.kind == "lif":
            values[name] = (arriving > 0.1).astype(float)
        else:
            values[name] = arriving  # add, output
    return values[list(layers)[-1]]


def residual_network() -> Layers:
    """Each fold at least once: two norms, two averages, a sum of a sum."""
    conv = layer("conv", "conv", "input", weight=RNG.normal(size=(3, 2, 1, 1)))
    right = layer("right", "conv", "lif", weight=RNG.normal(size=(3, 3, 1, 1)))
    return joined(
        conv,
        norm("norm", "conv", 3),
        layer("lif", "lif", "norm"),
        right,
        norm("normed", "right", 3),
        layer("inner", "add", ("normed", "lif")),
        layer("left", "conv", "lif", weight=RNG.normal(size=(3, 3, 1, 1)), bias=RNG.normal(size=3)),
        layer("outer", "add", ("inner", "left")),
        layer("lif2", "lif", "outer"),
        pool("pool", "lif2"),
        pool("pool2", "pool"),
        layer("flat", "flatten", "pool2"),
        linear("head", "flat", 4, 3 * 2 * 1),
        layer("output", "output", "head"),
    )


def test_all_folds_keep_what_the_layers_compute() -> None:
    layers = residual_network()
    before = deepcopy(layers)
    folded = fold(layers)
    # a pass makes a new network: the one it was given is as it was
    for name, each in before.items():
        np.testing.assert_equal(vars(layers[name]), vars(each))
    removed = kinds(layers) - kinds(folded)
    assert removed == {"norm": 2, "add": 2}
    assert all(float(p.arrays["scale"]) == 1 for p in folded.values() if p.kind == "pool")
    assert set(folded["lif2"].sources) == {"right", "lif", "left"}
    for seed in range(3):
        x = np.random.default_rng(seed).normal(size=(2, 8, 4))
        np.testing.assert_allclose(evaluate(folded, x), evaluate(layers, x), rtol=1e-12)


def test_what_is_stored_as_float32_is_folded_in_float64() -> None:
    feeding, back = linear("feeding", "input", 4, 4), linear("back", "input", 4, 4)
    image = layer("image", "conv", "input", weight=RNG.normal(size=(2, 2, 1, 1)), bias=np.ones(2))
    networks = [
        residual_network(),
        joined(image, pool("third", "image", 1 / 3), layer("lif", "lif", "third")),
        joined(
            layer("lif", "lif", "input"), pool("third", "lif", 1 / 3), linear("a", "third", 3, 2)
        ),
        joined(
            feeding,
            layer("lif", "lif", ("feeding", "back")),
            replace(back, sources=("lif",), feeds_back="lif"),
        ),
    ]
    for layers in networks:
        expected = fold(held_as(layers, np.float64))
        for name, each in fold(held_as(layers, np.float32)).items():
            np.testing.assert_equal(each.arrays, expected[name].arrays, name)


def held_as(layers: Layers, dtype: Any) -> Layers:
    """Weights and biases rounded to float32, then held as ``dtype``."""
    rounded = dict(layers)
    for name, each in layers.items():
        if each.kind in ("linear", "conv"):
            arrays = {key: np.float32(array).astype(dtype) for key, array in each.arrays.items()}
            rounded[name] = replace(each, arrays=arrays)
    return rounded


def test_a_network_with_nothing_to_fold_is_left_alone() -> None:
    layers = joined(
        linear("first", "input", 3, 2),
        layer("lif", "lif", "first"),
        pool("sum", "lif", scale=1.0),
        layer("output", "output", "sum"),
    )
    for transform in (fold_norms, fold_averages, dissolve_additions, fold):
        result = transform(layers)
        assert list(result) == list(layers)
        for name, each in layers.items():
            assert result[name] is each, (transform.__name__, name)


@pytest.mark.parametrize("bias", [True, False])
def test_a_norm_goes_into_the_layer_before_it(bias: bool) -> None:
    first = layer("first", "linear", "input", weight=np.array([[1.0, 2.0], [3.0, 4.0]]))
    if bias:
        first = layer("first", "linear", "input", **first.arrays, bias=np.array([1.0, -1.0]))
    scaling = {"scale": np.array([2.0, 10.0]), "shift": np.array([0.5, 0.0])}
    layers = joined(first, layer("norm", "norm", "first", **scaling), linear("last", "norm", 1, 2))
    folded = fold_norms(layers)
    assert list(folded) == ["input", "first", "last"] and folded["last"].sources == ("first",)
    assert folded["first"].arrays["weight"].tolist() == [[2.0, 4.0], [30.0, 40.0]]
    assert folded["first"].arrays["bias"].tolist() == ([2.5, -10.0] if bias else [0.5, 0.0])


@pytest.mark.parametrize(
    "layers",
    [
        joined(layer("lif", "lif", "input"), norm("bad", "lif", 2)),
        joined(norm("bad", "input", 2)),
        # what else reads the linear layer would see it normalised
        joined(
            linear("first", "input", 2, 2),
            norm("bad", "first", 2),
            layer("sum", "add", ("first", "bad")),
        ),
    ],
)
def test_a_norm_without_a_layer_of_its_own_is_refused(layers: Layers) -> None:
    with pytest.raises(UnsupportedModuleError, match="normalisation") as caught:
        fold_norms(layers)
    assert "net.bad" in caught.value.where and caught.value.remedy


def test_an_average_goes_into_every_layer_after_it() -> None:
    layers = joined(
        layer("lif", "lif", "input"),
        pool("pool", "lif"),
        layer("flat", "flatten", "pool"),
        linear("a", "flat", 3, 4),
        linear("b", "flat", 3, 4, bias=False),
        layer("sum", "add", ("a", "b")),
    )
    folded = fold_averages(layers)
    assert kinds(folded) == kinds(layers) and float(folded["pool"].arrays["scale"]) == 1
    for name in ("a", "b"):
        before, after = layers[name].arrays, folded[name].arrays
        np.testing.assert_array_equal(after["weight"], before["weight"] * 0.25)
        assert ("bias" in after) == ("bias" in before)
    np.testing.assert_array_equal(folded["a"].arrays["bias"], layers["a"].arrays["bias"])
    x = np.random.default_rng(1).normal(size=(1, 4, 4))
    np.testing.assert_allclose(evaluate(folded, x), evaluate(layers, x), rtol=1e-14)


def test_an_average_before_neurons_goes_into_the_layer_before_it_with_its_bias() -> None:
    conv = layer("conv", "conv", "input", weight=np.ones((2, 1, 1, 1)), bias=np.array([4.0, 8.0]))
    layers = joined(conv, pool("pool", "conv"), layer("lif", "lif", "pool"))
    folded = fold_averages(layers)
    assert np.unique(folded["conv"].arrays["weight"]).tolist() == [0.25]
    assert folded["conv"].arrays["bias"].tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    "layers",
    [
        joined(layer("lif", "lif", "input"), pool("bad", "lif"), layer("last", "lif", "bad")),
        # one reader has weights, the other has not
        joined(
            layer("lif", "lif", "input"),
            pool("bad", "lif"),
            layer("conv", "conv", "bad", weight=np.ones((1, 1, 1, 1))),
            layer("sum", "add", ("conv", "bad")),
        ),
        # the same through a flatten
        joined(
            layer("lif", "lif", "input"),
            pool("bad", "lif"),
            linear("head", "bad", 2, 4),
            layer("flat", "flatten", "bad"),
            layer("last", "lif", "flat"),
        ),
        # the layer before it is read by others too
        joined(
            layer("conv", "conv", "input", weight=np.ones((1, 1, 1, 1))),
            layer("other", "lif", "conv"),
            pool("bad", "conv"),
            layer("last", "lif", "bad"),
        ),
    ],
)
def test_an_average_that_has_nowhere_to_go_is_refused(layers: Layers) -> None:
    with pytest.raises(UnsupportedModuleError, match="average pooling") as caught:
        fold_averages(layers)
    assert "net.bad" in caught.value.where and caught.value.remedy


def test_sums_of_sums_become_edges() -> None:
    layers = joined(
        *(linear(name, "input", 2, 2) for name in "abc"),
        layer("ab", "add", ("a", "b")),
        layer("abc", "add", ("ab", "c")),
        layer("lif", "lif", "abc"),
        layer("other", "lif", "ab"),
    )
    result = dissolve_additions(layers)
    assert kinds(layers)["add"] == 2 and kinds(result)["add"] == 0
    assert result["lif"].sources == ("a", "b", "c") and result["other"].sources == ("a", "b")


def test_a_layer_that_is_read_n_times_is_read_once_n_fold() -> None:
    layers = joined(
        linear("a", "input", 2, 2),
        linear("b", "input", 2, 2),
        layer("aa", "add", ("a", "a")),
        layer("ab", "add", ("b", "a")),
        layer("all", "add", ("aa", "ab")),
        layer("lif", "lif", "all"),
        layer("more", "add", ("all", "lif")),
        layer("sum", "add", ("aa", "more")),
        layer("other", "output", "sum"),
    )
    result = fold(layers)
    assert result["lif"].sources == ("a_times_3", "b")
    assert result["other"].sources == ("a_times_5", "b", "lif")
    assert kinds(result)["multiple"] == 2 and result["a_times_3"].path == "net.a"
    assert list(result).index("a_times_3") < list(result).index("lif")
    x = np.array([0.3, -0.7])
    for name in ("lif", "other"):
        upto = [layers[key] for key in list(layers)[1 : list(layers).index(name) + 1]]
        folded = [result[key] for key in list(result)[1 : list(result).index(name) + 1]]
        np.testing.assert_allclose(
            evaluate(joined(*folded), x), evaluate(joined(*upto), x), rtol=1e-14
        )


def test_a_multiple_takes_no_name_that_is_taken() -> None:
    layers = joined(
        linear("a", "input", 2, 2),
        linear("a_times_2", "input", 2, 2),
        layer("sum", "add", ("a", "a")),
        layer("more", "add", ("sum", "a_times_2")),
        layer("n", "lif", "more"),
    )
    assert fold(layers)["n"].sources == ("a_times_2_", "a_times_2")


def test_a_recurrent_bias_keeps_out_of_a_layer_that_counts_twice() -> None:
    back = linear("back", "lif", 2, 2)
    network = (
        linear("twice", "input", 2, 2),
        linear("once", "input", 2, 2, bias=False),
        layer("double", "add", ("twice", "twice")),
        layer("sum", "add", ("double", "once")),
        layer("lif", "lif", ("sum", "back")),
        replace(back, feeds_back="lif"),
    )
    folded = fold(joined(*network))
    np.testing.assert_array_equal(folded["once"].arrays["bias"], back.arrays["bias"])
    np.testing.assert_array_equal(folded["twice"].arrays["bias"], network[0].arrays["bias"])
    alone = [replace(n, sources=("double", "back")) if n.name == "lif" else n for n in network]
    with pytest.raises(UnsupportedModuleError, match="recurrent bias"):
        fold(joined(*(n for n in alone if n.name not in ("once", "sum"))))


def test_norms_after_norms_all_go() -> None:
    layers = joined(linear("first", "input", 3, 2), norm("one", "first", 3), norm("two", "one", 3))
    folded = fold_norms(layers)
    assert list(folded) == ["input", "first"]
    x = np.array([0.3, -0.7])
    np.testing.assert_allclose(evaluate(folded, x), evaluate(layers, x), rtol=1e-14)
