"""topk_to_onnx against torch itself, by hand, and on what it has to refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from neurokd.data import load_data
from neurokd.errors import (
    BackendFailedError,
    ShapeMismatchError,
    UnsupportedModuleError,
    UsageError,
)
from neurokd.export import onnx_topk, to_onnx
from neurokd.export.onnx_runtime import describe_onnx, run_onnx
from neurokd.export.onnx_topk import topk_to_onnx
from neurokd.models import MLP
from neurokd.models.sdmlp import SDMLP
from neurokd.models.topk import Inhibition


def sdmlp(
    seed: int,
    inputs: int = 12,
    sizes: tuple[int, ...] = (30,),
    classes: int = 5,
    k: int = 4,
    inhibition: Inhibition = "gaba",
    switched: str = "partly",
) -> SDMLP:
    """Random weights; counters as at the start, in the middle, or at the end of the switch."""
    torch.manual_seed(seed)
    network = SDMLP(inputs, sizes, classes, k, switch_samples=100, inhibition=inhibition)
    for winners in network.winners:
        assert isinstance(winners, nn.Module)
        counts = {"not": 0, "all": 1000}.get(switched)
        drawn = torch.randint(0, 140, (winners.counts.numel(),))
        winners.counts.copy_(drawn if counts is None else torch.full_like(drawn, counts))
        winners.seen.fill_({"not": 0, "all": 1000}.get(switched, 50))
    return network.eval()


def samples(seed: int, count: int, *shape: int) -> np.ndarray:
    """Some of them negative: the network's own rectification has work to do."""
    rng = np.random.default_rng(seed)
    return rng.normal(0.3, 1.0, (count, *shape)).astype(np.float32)


def torch_scores(network: nn.Module, x: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        found: np.ndarray = network(torch.from_numpy(x)).numpy()
    return found


@pytest.mark.parametrize("seed", range(12))
def test_a_random_network_answers_as_in_torch(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    inputs, classes, k = int(rng.integers(2, 90)), int(rng.integers(2, 12)), int(rng.integers(1, 9))
    sizes = tuple(int(n) for n in rng.integers(k + 1, 120, int(rng.integers(1, 4))))
    kinds: list[Inhibition] = ["gaba", "gaba", "subtract-decay", "mask", "mask-decay"]
    network = sdmlp(seed, inputs, sizes, classes, k, kinds[int(rng.integers(5))])
    x = samples(seed, 70, inputs)
    expected = torch_scores(network, x)
    as_float = topk_to_onnx(network, tmp_path / "f.onnx", "float")
    np.testing.assert_allclose(run_onnx(tmp_path / "f.onnx", x), expected, rtol=2e-5, atol=2e-6)
    assert as_float.max_error <= 1e-5 * max(as_float.score_scale, 1.0)
    int8 = topk_to_onnx(network, tmp_path / "i.onnx", calibration=x)
    assert len(int8.quantised) == len(sizes) + 1 and not int8.unquantised
    assert int8.max_error <= 0.02 * int8.score_scale + 1e-6


@pytest.mark.parametrize("inhibition", ["gaba", "subtract-decay", "mask", "mask-decay"])
@pytest.mark.parametrize("switched", ["not", "partly", "all"])
def test_every_inhibition_at_every_stage_is_what_torch_computes(
    inhibition: Inhibition, switched: str, tmp_path: Path
) -> None:
    network = sdmlp(3, sizes=(40, 20), inhibition=inhibition, switched=switched)
    x = samples(5, 50, 12)
    topk_to_onnx(network, tmp_path / "f.onnx", "float")
    found = run_onnx(tmp_path / "f.onnx", x)
    np.testing.assert_allclose(found, torch_scores(network, x), rtol=2e-5, atol=2e-6)


def by_hand(gains: list[float], inhibition: Inhibition = "gaba") -> SDMLP:
    """Four neurons that each see one of four inputs, k = 1; class i adds i times neuron i."""
    network = SDMLP(4, (4,), 2, k=1, switch_samples=2, inhibition=inhibition)
    network.hidden[0].get_parameter("weight").data = torch.eye(4)
    network.classifier.weight.data = torch.tensor([[1.0, 1.0, 1.0, 1.0], [0.0, 1.0, 2.0, 3.0]])
    counts = network.winners[0].get_buffer("counts")
    counts.copy_(torch.tensor([round(g + 1) for g in gains]))  # g = −1 + 2c/2
    return network


@pytest.mark.parametrize(
    ("gains", "x", "active"),
    [
        # x / ‖x‖ = (0.8, 0.4, 0.4, 0.2): I = 0.4, the second largest
        ([1, 1, 1, 1], [4.0, 2.0, 2.0, 1.0], [0.4, 0.0, 0.0, 0.0]),
        ([-1, 0, 1, -1], [4.0, 2.0, 2.0, 1.0], [1.2, 0.4, 0.0, 0.6]),  # more than k are active
        ([1, 1, 1, 1], [-3.0, 0.0, 4.0, 3.0], [0.0, 0.0, 0.2, 0.0]),  # (0, 0, 0.8, 0.6)
        ([1, 1, 1, 1], [0.0, 5.0, 0.0, -1.0], [0.0, 1.0, 0.0, 0.0]),  # one is positive: I = 0
        ([1, 1, 1, 1], [0.0, 3.0, 3.0, 0.0], [0.0, 0.0, 0.0, 0.0]),  # a tie: nobody wins
        ([-1, -1, -1, -1], [0.0, 0.0, 0.0, -2.0], [0.0, 0.0, 0.0, 0.0]),  # nothing positive
    ],
)
def test_inhibition_by_hand(
    gains: list[float], x: list[float], active: list[float], tmp_path: Path
) -> None:
    topk_to_onnx(by_hand(gains), tmp_path / "f.onnx", "float")
    found = run_onnx(tmp_path / "f.onnx", np.array([x], np.float32))
    expected = [sum(active), active[1] + 2 * active[2] + 3 * active[3]]
    np.testing.assert_allclose(found, [expected], rtol=1e-6, atol=1e-7)


def test_a_mask_by_hand(tmp_path: Path) -> None:
    topk_to_onnx(by_hand([0, 0, 0, 0], "mask"), tmp_path / "f.onnx", "float")
    x = np.array([[4.0, 2.0, 2.0, 1.0], [0.0, 3.0, 3.0, 0.0]], np.float32)
    np.testing.assert_allclose(
        run_onnx(tmp_path / "f.onnx", x), [[0.8, 0.0], [0.0, 0.0]], rtol=1e-6
    )


def operators(network: nn.Module, path: Path, precision: str) -> dict[str, int]:
    x = samples(0, 20, 3, 4)
    report = topk_to_onnx(network, path, precision, calibration=x)
    assert sum(report.operators.values()) == report.nodes
    return report.operators


def test_the_structure_of_one_hidden_layer(tmp_path: Path) -> None:
    expected = {
        "Flatten": 1,
        "Relu": 3,  # of x, of a, of what inhibition leaves
        "ReduceL2": 1,
        "Max": 1,
        "Div": 1,
        "Gemm": 2,
        "TopK": 1,
        "Gather": 1,
        "Mul": 1,
        "Sub": 1,
    }
    assert operators(sdmlp(0), tmp_path / "f.onnx", "float") == expected
    quantised = {"QuantizeLinear": 2, "DequantizeLinear": 4, **expected}
    assert operators(sdmlp(0), tmp_path / "i.onnx", "int8") == quantised


def test_a_complete_switch_needs_no_gains_and_a_mask_no_difference(tmp_path: Path) -> None:
    complete = operators(sdmlp(0, switched="all"), tmp_path / "c.onnx", "float")
    assert complete["Sub"] == 1 and "Mul" not in complete
    masked = operators(sdmlp(0, inhibition="mask"), tmp_path / "m.onnx", "float")
    assert masked["Greater"] == masked["Where"] == 1 and "Sub" not in masked
    everybody = operators(
        sdmlp(0, inhibition="mask-decay", switched="not"), tmp_path / "e.onnx", "float"
    )
    assert "TopK" not in everybody  # all neurons may win before the first sample


def test_a_second_hidden_layer_is_normalised_too(tmp_path: Path) -> None:
    found = operators(sdmlp(0, sizes=(30, 20)), tmp_path / "i.onnx", "int8")
    assert found["TopK"] == found["ReduceL2"] == 2 and found["Gemm"] == 3
    assert found["Relu"] == 5  # what the first layer gives is positive already


def test_weights_are_int8_by_row_and_winners_k_plus_1(tmp_path: Path) -> None:
    network = sdmlp(1, k=4)
    topk_to_onnx(network, tmp_path / "i.onnx", calibration=samples(0, 20, 12))
    model = onnx.load(tmp_path / "i.onnx")
    stored = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    levels, scale = stored["hidden.0.weight.levels"], stored["hidden.0.weight.scale"]
    weight = network.hidden[0].get_parameter("weight").detach().numpy()
    assert levels.dtype == np.int8 and levels.max(axis=1).tolist() == [127] * 30
    np.testing.assert_allclose(scale, weight.max(axis=1) / 127, rtol=1e-6)
    assert np.all(np.abs(levels * scale[:, None] - weight) <= 0.501 * scale[:, None])
    assert stored["hidden.0.k_plus_1"].tolist() == [5] and stored["hidden.0.k"].tolist() == [4]
    assert model.opset_import[0].version == 20 and model.ir_version == 10


def test_equal_networks_give_equal_bytes_and_training_goes_on(tmp_path: Path) -> None:
    network = sdmlp(2).train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    for name in ("a", "b"):
        topk_to_onnx(network, tmp_path / f"{name}.onnx", calibration=samples(0, 20, 12))
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    assert network.training
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize("sizes", [(20,), (20, 15)])
def test_a_dense_mlp_is_a_chain_of_gemms(sizes: tuple[int, ...], tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = MLP(12, sizes, 5).eval()
    x = samples(1, 60, 3, 4)
    report = topk_to_onnx(network, tmp_path / "f.onnx", "float", sample_shape=(3, 4))
    assert report.operators == {"Flatten": 1, "Gemm": len(sizes) + 1, "Relu": len(sizes)}
    expected = torch_scores(network, x)
    found = run_onnx(tmp_path / "f.onnx", x)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    int8 = topk_to_onnx(network, tmp_path / "i.onnx", calibration=x)
    assert len(int8.quantised) == len(sizes) + 1
    assert np.abs(run_onnx(tmp_path / "i.onnx", x) - expected).max() < 0.05 * np.abs(expected).max()


def test_pixels_enter_an_mlp_without_rounding(tmp_path: Path) -> None:
    pixels = (np.arange(48).reshape(4, 12) * 5 / 255).astype(np.float32)
    report = to_onnx(MLP(12, (8,), 3), tmp_path / "i.onnx", calibration=pixels)
    assert report.activations["stages.0"]["exact"] and not report.activations["classifier"]["exact"]


def test_the_model_is_described_with_its_winners(tmp_path: Path) -> None:
    report = to_onnx(sdmlp(0, sizes=(30, 20)), tmp_path / "i.onnx", calibration=samples(0, 9, 12))
    found = describe_onnx(tmp_path / "i.onnx")
    assert found["operators"]["TopK"] == 2 and found["is_quantised"]
    assert found["neurokd"]["form"] == report.form == "dense"
    assert found["neurokd"]["winners"] == [4, 4]
    assert report.steps is report.dt_s is None


class FlyModel(nn.Module):
    """Not ours: only its name matters."""


@pytest.mark.parametrize(
    ("network", "arguments", "kind", "message"),
    [
        (sdmlp(0), {"precision": "int4"}, UsageError, "precision.*int4"),
        (sdmlp(0), {"opset": 7}, UsageError, "opset.*7"),
        (sdmlp(0), {}, UsageError, "needs data"),
        (sdmlp(0), {"calibration": samples(0, 4, 11)}, ShapeMismatchError, "12 numbers a sample"),
        (sdmlp(0), {"calibration": np.zeros((0, 12))}, ShapeMismatchError, r"\(0, 12\)"),
        (sdmlp(0), {"calibration": np.full((2, 12), np.nan)}, UsageError, "not finite"),
        (sdmlp(0), {"sample_shape": (3, 5), "precision": "float"}, ShapeMismatchError, "sample_sh"),
        (FlyModel(), {"precision": "float"}, UnsupportedModuleError, "FlyModel"),
        (MLP(12, (8,), 3, spiking=True), {"precision": "float"}, UnsupportedModuleError, "NIR"),
        (nn.Linear(3, 2), {"precision": "float"}, UnsupportedModuleError, "Linear"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_written(
    network: nn.Module,
    arguments: dict[str, Any],
    kind: type[Exception],
    message: str,
    tmp_path: Path,
) -> None:
    with pytest.raises(kind, match=message):
        topk_to_onnx(network, tmp_path / "x.onnx", **arguments)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "options", [{"form": "step"}, {"steps": 4}, {"dt": 1.0}, {"static_input": False}]
)
def test_a_dense_network_has_no_options_of_spiking_ones(
    options: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=f"no {next(iter(options))}"):
        to_onnx(sdmlp(0), tmp_path / "x.onnx", calibration=samples(0, 4, 12), **options)


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    network = sdmlp(0)
    network.classifier.weight.data[0, 0] = float("inf")
    with pytest.raises(UsageError, match="classifier.*not finite"):
        topk_to_onnx(network, tmp_path / "x.onnx", "float")


def test_steps_and_wrong_samples_are_refused_by_the_runtime(tmp_path: Path) -> None:
    topk_to_onnx(sdmlp(0), tmp_path / "f.onnx", "float")
    with pytest.raises(UsageError, match="no steps"):
        run_onnx(tmp_path / "f.onnx", samples(0, 3, 12), steps=4)
    with pytest.raises(ShapeMismatchError, match=r"\(B, 12\)"):
        run_onnx(tmp_path / "f.onnx", samples(0, 3, 3, 4))


def test_a_wrong_answer_stops_the_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A builder that forgets the inhibition is found out by the proof."""
    from dataclasses import replace

    build = onnx_topk.build_dense

    def forgetful(layers: Any, *rest: Any) -> Any:
        return build([replace(layer, competition=None) for layer in layers], *rest)

    monkeypatch.setattr(onnx_topk, "build_dense", forgetful)
    with pytest.raises(BackendFailedError, match="not what the network gives"):
        topk_to_onnx(sdmlp(0, switched="all"), tmp_path / "x.onnx", "float")
    assert not list(tmp_path.iterdir())


@pytest.mark.training
def test_int8_keeps_the_accuracy_of_a_trained_network(tmp_path: Path) -> None:
    train, test = load_data("mnist-subset:train"), load_data("mnist-subset:test")
    torch.manual_seed(0)
    network = SDMLP(784, (200,), 10, k=10, switch_samples=20_000)
    optimiser = torch.optim.SGD(network.parameters(), lr=5.0)
    generator = torch.Generator().manual_seed(0)
    for _ in range(8):
        for chosen in torch.randperm(len(train), generator=generator).split(128):
            x, y = train.batch(chosen)
            loss = nn.functional.cross_entropy(network(x), y)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            network.constrain()
    expected = torch_scores(network.eval(), test.x).argmax(axis=1)
    right = float((expected == test.y).mean())
    assert right > 0.75
    report = topk_to_onnx(network, tmp_path / "i.onnx", calibration=train.x[:256])
    found = run_onnx(tmp_path / "i.onnx", test.x).argmax(axis=1)
    assert abs(float((found == test.y).mean()) - right) <= 0.005
    assert float((found == expected).mean()) >= 0.98
    assert 3.8 < report.float_bytes / report.bytes <= 4
