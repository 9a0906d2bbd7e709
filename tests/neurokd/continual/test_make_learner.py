"""The learner of a configuration: network, methods, engine, pretrained weights, device."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from neurokd.config.continual import METHODS, ContinualConfig
from neurokd.continual.fly import FlyLearner, FlyModel
from neurokd.continual.gradient_learner import GradientLearner
from neurokd.continual.make_learner import build_network, make_learner
from neurokd.continual.sparse_learner import SparseLearner
from neurokd.data import LabelledData
from neurokd.data.stream import Stream, split_stream
from neurokd.errors import BackendUnavailableError, FileFormatError, UsageError
from neurokd.models import MLP
from neurokd.models.sdmlp import SDMLP

SMALL = {"sizes": (20,), "k": 3, "switch_samples": 50}


@pytest.fixture
def stream() -> Stream:
    rng = np.random.default_rng(0)
    y = np.arange(40) % 4
    data = LabelledData("four", rng.random((40, 1, 2, 3), dtype=np.float32), y)
    return split_stream(data, data)


def _config(network: dict[str, Any] | None = None, **values: Any) -> ContinualConfig:
    return ContinualConfig.model_validate({"network": network or SMALL, **values})


def test_each_network_has_the_streams_geometry_and_its_options(stream: Stream) -> None:
    sdmlp = make_learner(_config({**SMALL, "sizes": (20, 12)}), stream).network
    assert isinstance(sdmlp, SDMLP)
    assert [tuple(p.shape) for p in sdmlp.parameters()] == [(20, 6), (12, 20), (4, 12)]
    assert [(w.k, w.switch_samples) for w in sdmlp.winners] == [(3, 50), (3, 50)]
    mlp = make_learner(_config({"name": "mlp", "sizes": (9,), "dropout": 0.3}), stream).network
    assert isinstance(mlp, MLP) and not mlp.spiking
    assert [m.p for m in mlp.modules() if isinstance(m, torch.nn.Dropout)] == [0.3]
    fly = {"name": "fly", "sizes": (50,), "k": 5, "density": 0.5, "rate": 0.2, "decay": 0.1}
    learner = make_learner(_config(fly), stream)
    assert isinstance(learner, FlyLearner) and isinstance(learner.network, FlyModel)
    assert (learner.rate, learner.decay) == (0.2, 0.1)
    assert learner.network.projection.sum(dim=1).tolist() == [3] * 50


def test_the_seed_alone_decides_the_initialisation(stream: Stream) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = build_network(_config(seed=4), (1, 2, 3), 4).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    again = make_learner(_config(seed=4), stream).network.state_dict()
    other = build_network(_config(seed=5), (1, 2, 3), 4).state_dict()
    assert all(torch.equal(again[key], value) for key, value in first.items())
    assert not torch.equal(first["hidden.0.weight"], other["hidden.0.weight"])


def test_the_methods_are_those_whose_sections_are_there(stream: Stream) -> None:
    for name in METHODS:
        learner = make_learner(_config(engine="dense", **{name: {}}), stream)
        assert isinstance(learner, GradientLearner)
        assert learner.methods.keys() == {name}
        (method,) = learner.methods.values()
        assert method.options == METHODS[name]()  # type: ignore[attr-defined]
    both = make_learner(_config(engine="dense", ssd={"n": 5}, ewc={"weight": 3}), stream)
    assert isinstance(both, GradientLearner)
    assert list(both.methods) == ["ssd", "ewc"]
    assert both.methods["ewc"].options.weight == 3  # type: ignore[attr-defined]
    sparse = make_learner(_config(ssd={"n": 5}, ewc={"weight": 3}), stream)
    assert isinstance(sparse, SparseLearner) and sparse.ssd is not None
    assert (sparse.ssd.n, sparse.pulling and (sparse.pulling.name, sparse.pulling.weight)) == (
        5,
        ("ewc", 3),
    )


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ({}, SparseLearner),
        ({"ssd": {}}, SparseLearner),
        ({"ssd": {}, "engine": "sparse"}, SparseLearner),
        ({"engine": "dense"}, GradientLearner),
        ({"mas": {}, "learning": {"momentum": 0.9}, "engine": "sparse"}, SparseLearner),
        ({"si": {}}, GradientLearner),
        ({"ssd": {}, "lwf": {}}, GradientLearner),
        ({"ewc": {}, "l2": {}}, GradientLearner),
        ({"network": {"name": "mlp", "sizes": (9,)}}, GradientLearner),
    ],
)
def test_the_engine_is_sparse_where_that_fits(
    values: dict[str, Any], kind: type, stream: Stream
) -> None:
    assert type(make_learner(_config(**{"network": SMALL, **values}), stream)) is kind


def test_a_sparse_engine_that_does_not_fit_is_refused(stream: Stream) -> None:
    config = _config({**SMALL, "inhibition": "mask"}, engine="sparse")
    with pytest.raises(UsageError, match="sparse engine"):
        make_learner(config, stream)


def test_pretrained_layers_and_counters_are_kept_and_the_classifier_is_fresh(
    stream: Stream, tmp_path: Path
) -> None:
    torch.manual_seed(9)
    past = SDMLP(6, (20,), 100, k=3, switch_samples=50)
    past.winners[0].get_buffer("counts").copy_(torch.arange(20))
    (tmp_path / "run").mkdir()
    for file in (tmp_path / "run" / "model.safetensors", tmp_path / "own.safetensors"):
        save_file(past.state_dict(), file)
    fresh = build_network(_config(), (6,), 4).state_dict()
    for source in (tmp_path / "run", tmp_path / "own.safetensors"):
        config = _config({**SMALL, "pretrained": str(source)})
        state = make_learner(config, stream).network.state_dict()
        assert torch.equal(state["hidden.0.weight"], past.hidden[0].get_parameter("weight"))
        assert state["winners.0.counts"].tolist() == list(range(20))
        assert torch.equal(state["classifier.weight"], fresh["classifier.weight"])


def test_pretrained_weights_that_do_not_fit_are_refused(stream: Stream, tmp_path: Path) -> None:
    file = tmp_path / "wide.safetensors"
    save_file(SDMLP(6, (21,), 4, k=3).state_dict(), file)
    with pytest.raises(FileFormatError, match="do not fit"):
        make_learner(_config({**SMALL, "pretrained": str(file)}), stream)
    with pytest.raises(FileFormatError, match="no such file.*network.pretrained"):
        make_learner(_config({**SMALL, "pretrained": str(tmp_path)}), stream)


def test_a_users_network_is_built_with_the_number_of_classes(
    stream: Stream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_continual_network.py").write_text(
        "from torch import nn\n"
        "def build(classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(6, classes))\n"
    )
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    config = _config({"name": "module", "factory": "my_continual_network:build"}, l2={})
    learner = make_learner(config, stream)
    assert isinstance(learner, GradientLearner)
    assert learner.scores(torch.rand(3, 1, 2, 3)).shape == (3, 4)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_refused_unless_any_device_will_do(stream: Stream) -> None:
    with pytest.raises(BackendUnavailableError, match="GPU"):
        make_learner(_config(device="cuda"), stream)
    assert isinstance(make_learner(_config(device="auto"), stream), SparseLearner)
