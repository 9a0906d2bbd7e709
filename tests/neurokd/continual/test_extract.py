"""Embeddings by a frozen extractor: where they are taken, how they are kept, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from neurokd.config import EmbedConfig
from neurokd.continual.extract import extract, kept_embeddings
from neurokd.continual.extractor import Extractor
from neurokd.data import load_data
from neurokd.data.embeddings import arrays_sha256
from neurokd.errors import FileFormatError, NeurokdError, ShapeMismatchError, UsageError
from neurokd.models import ConvMixer

OWN = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Conv2d(3, 2, 1, bias=False)
        nn.init.constant_(self.body.weight, 1.0)
        self.head = nn.Linear(32, 5)
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        return self.head(self.drop(self.body(x)).flatten(1))

class Headed(Net):
    classifier_path = "head"

class Twice(Net):
    def forward(self, x):
        return super().forward(self.body(x).repeat(1, 2, 1, 1)[:, :3])

class Broken(Net):
    def forward(self, x):
        return super().forward(x) / 0 - super().forward(x) / 0

class Mixed(Net):
    def forward(self, x):
        return super().forward(x).sum(0, keepdim=True)
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache, a module of the user's, and a folder of 7 + 3 images (3, 4, 4)."""
    monkeypatch.setenv("NEUROKD_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("NEUROKD_DATA", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "own_extractor.py").write_text(OWN)
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for split, count in (("train", 7), ("test", 3)):
        x = rng.random((count, 3, 4, 4)).astype(np.float32)
        np.savez(tmp_path / "images" / f"{split}.npz", x=x, y=np.arange(count) % 3)
    return tmp_path


def module(place: Path, name: str = "Net", **settings: Any) -> EmbedConfig:
    model = {"name": "module", "factory": f"own_extractor:{name}"}
    values = {"data": str(place / "images"), "model": model, **settings}
    return EmbedConfig.model_validate(values)


def mixer(place: Path, seed: int = 0, **settings: Any) -> EmbedConfig:
    """A tiny ConvMixer with weights, whose statistics are not those of initialisation."""
    torch.manual_seed(seed)
    network = ConvMixer(dim=8, depth=1, kernel=3, classes=4).train()
    network(torch.rand(16, 3, 4, 4))
    file = place / f"mixer{seed}.safetensors"
    save_file(network.state_dict(), file)
    model = {"name": "convmixer", "dim": 8, "depth": 1, "kernel": 3, "classes": 4}
    values = {"data": str(place / "images"), "weights": str(file), "model": model, **settings}
    return EmbedConfig.model_validate(values)


def images(place: Path, split: str = "train") -> Tensor:
    return torch.from_numpy(load_data(str(place / "images"), split).x)


def test_what_enters_the_classifier_is_the_embedding(place: Path) -> None:
    found = extract(mixer(place))
    torch.manual_seed(0)
    network = ConvMixer(dim=8, depth=1, kernel=3, classes=4).train()
    network(torch.rand(16, 3, 4, 4))
    network.eval()
    assert isinstance(network.get_submodule("9"), nn.Linear)
    network.add_module("9", nn.Identity())
    with torch.no_grad():
        expected = network(images(place)).numpy()
    assert expected.shape == (7, 8)
    np.testing.assert_allclose(found.train.x, expected, rtol=1e-5, atol=1e-6)
    assert found.train.y.tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert found.test.x.shape == (3, 8) and found.extractor.endswith("what enters 9")


@pytest.mark.parametrize(
    ("name", "layer", "shape"),
    [("Net", None, (7, 5)), ("Net", "body", (7, 32)), ("Headed", None, (7, 32))],
)
def test_a_module_of_the_user_is_taken_where_it_says(
    place: Path, name: str, layer: str | None, shape: tuple[int, int]
) -> None:
    found = extract(module(place, name, layer=layer)).train.x
    assert found.shape == shape
    if layer == "body" or name == "Headed":  # both channels are the sum of the three; no dropout
        expected = images(place).sum(dim=1, keepdim=True).repeat(1, 2, 1, 1).flatten(1)
        np.testing.assert_allclose(found, expected.numpy(), rtol=1e-6)


def test_the_input_of_a_module_is_normalised_as_told(place: Path) -> None:
    settings = {"layer": "body", "mean": (0.5, 0.0, 0.0), "deviation": (1.0, 2.0, 4.0)}
    found = extract(module(place, **settings)).train.x
    x = images(place)
    expected = (x[:, 0] - 0.5) + x[:, 1] / 2 + x[:, 2] / 4
    np.testing.assert_allclose(found[:, :16], expected.flatten(1).numpy(), rtol=1e-5, atol=1e-6)


def test_batches_and_their_progress_change_nothing(place: Path) -> None:
    said: list[tuple[int, int]] = []
    one = extract(mixer(place, batch_size=3), lambda done, total, note: said.append((done, total)))
    all_at_once = extract(mixer(place))
    assert said == [(3, 10), (6, 10), (7, 10), (10, 10)]
    np.testing.assert_allclose(one.train.x, all_at_once.train.x, rtol=1e-5, atol=1e-6)
    assert len(extract(mixer(place, samples=4)).train) == 4


def test_the_network_is_frozen_and_torchs_random_numbers_stay(place: Path) -> None:
    config = mixer(place)
    before = torch.get_rng_state()
    extractor = Extractor(config)
    weights = {k: v.clone() for k, v in extractor.network.state_dict().items()}
    first, second = extractor(images(place)), extractor(images(place))
    assert torch.equal(first, second) and not first.requires_grad
    assert torch.equal(torch.get_rng_state(), before)
    after = extractor.network.state_dict()
    assert all(torch.equal(after[key], value) for key, value in weights.items())
    assert extractor.weights_sha256 == arrays_sha256({k: v.numpy() for k, v in weights.items()})


def test_embeddings_are_computed_once(place: Path) -> None:
    said: list[int] = []
    tell = lambda done, total, note: said.append(done)  # noqa: E731
    path, first = kept_embeddings(mixer(place), tell)
    assert path.is_relative_to(place / "cache") and path.name.startswith("images-")
    assert said
    said.clear()
    again, second = kept_embeddings(mixer(place, batch_size=2), tell)
    assert again == path and not said
    np.testing.assert_array_equal(first.train.x, second.train.x)


def test_other_weights_layers_or_images_are_another_file(place: Path) -> None:
    configs = [mixer(place), mixer(place, seed=1), mixer(place, layer="6"), mixer(place, samples=5)]
    paths = {kept_embeddings(config)[0] for config in configs}
    x = np.zeros((7, 3, 4, 4), dtype=np.float32)
    np.savez(place / "images" / "train.npz", x=x, y=np.arange(7) % 3)
    paths.add(kept_embeddings(configs[0])[0])
    assert len(paths) == 5


def test_a_kept_file_that_has_changed_is_refused(place: Path) -> None:
    path, _ = kept_embeddings(mixer(place))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match="not those that were written.*remove the file"):
        kept_embeddings(mixer(place))


def test_weights_are_found_in_a_run_and_in_the_data_folder(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = mixer(place)
    (place / "run").mkdir()
    (place / "data" / "weights").mkdir(parents=True)
    content = (place / "mixer0.safetensors").read_bytes()
    (place / "run" / "model.safetensors").write_bytes(content)
    (place / "data" / "weights" / "there.safetensors").write_bytes(content)
    monkeypatch.setenv("NEUROKD_DATA", str(place / "data"))
    hashes = {
        Extractor(config.model_copy(update={"weights": named})).weights_sha256
        for named in (config.weights, str(place / "run"), "there.safetensors")
    }
    assert len(hashes) == 1


@pytest.mark.parametrize(
    ("settings", "kind", "message"),
    [
        ({"name": "Broken"}, FileFormatError, "embedding is not finite.*sample 0"),
        ({"name": "Mixed"}, ShapeMismatchError, "not one embedding for each sample"),
        (
            {"name": "Twice", "layer": "body"},
            UsageError,
            "once in a forward pass .found 2 × Tensor",
        ),
        ({"layer": "neck"}, UsageError, "no module of this path .*body, head, drop, found 'neck'"),
        ({"mean": (0.0,), "deviation": (1.0,)}, ShapeMismatchError, r"\(1, H, W\)"),
        ({"data": "events"}, UsageError, "event frames"),
        ({"data": "mnist-subset"}, ShapeMismatchError, "does not take these samples"),
        ({"data": "mnist-subset:train"}, UsageError, "tested on what it was trained on"),
    ],
)
def test_an_extractor_that_cannot_be_is_refused(
    place: Path,
    settings: dict[str, Any],
    kind: type[NeurokdError],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(place)
    (place / "events").mkdir()
    for split in ("train", "test"):
        x = np.zeros((2, 5, 3, 4, 4), dtype=np.uint8)
        np.savez(place / "events" / f"{split}.npz", x=x, y=np.arange(2), events=True)
    with pytest.raises(kind, match=message) as error:
        extract(module(place, **settings))
    assert "\n" not in str(error.value)


def test_weights_that_do_not_fit_are_refused(place: Path) -> None:
    config = mixer(place)
    wide = config.model.model_copy(update={"dim": 16})
    with pytest.raises(FileFormatError, match="do not fit the network"):
        Extractor(config.model_copy(update={"model": wide}))
    with pytest.raises(FileFormatError, match="none.th: the weights of the extractor are missing"):
        Extractor(config.model_copy(update={"weights": "none.th"}))
    (place / "cut.safetensors").write_bytes((place / "mixer0.safetensors").read_bytes()[:500])
    with pytest.raises(FileFormatError, match="not readable weights"):
        Extractor(config.model_copy(update={"weights": str(place / "cut.safetensors")}))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "convmixer needs trained weights"),
        ({"weights": "a", "mean": (0.0,) * 3, "deviation": (1.0,) * 3}, "normalises inside"),
        ({"mean": (0.0,)}, "go together"),
        ({"model": {"name": "module", "factory": "a:b"}, "mean": (0,), "deviation": (0,)}, "pos"),
        ({"model": {"name": "module", "factory": "a:b"}, "mean": (0, 0), "deviation": (1,)}, "one"),
        ({"weights": "a", "colour": 1}, "Extra inputs"),
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        EmbedConfig.model_validate(settings)


def test_the_published_classifier_reads_the_published_extractors_embeddings(
    neurokd_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of ResNet-20, right for 91.73 % of the test images: at least 85 % of the first 200."""
    monkeypatch.setenv("NEUROKD_DATA", str(neurokd_data))
    name = "resnet20-12fca82f.th"
    model = {"name": "cifar-resnet", "layers": 20}
    extractor = Extractor(EmbedConfig.model_validate({"weights": name, "model": model}))
    data = load_data("cifar10:test")
    x, y = data.batch(range(200))
    embedding = extractor(x)
    state = torch.load(neurokd_data / "weights" / name, map_location="cpu", weights_only=True)
    head = state["state_dict"]
    answer = embedding @ head["module.linear.weight"].T + head["module.linear.bias"]
    assert embedding.shape == (200, 64)
    assert (answer.argmax(dim=1) == y).float().mean() >= 0.85
