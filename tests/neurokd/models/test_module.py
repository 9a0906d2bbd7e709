"""Networks of the user's own: how the factory is called, what is named, what is refused."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from neurokd.errors import UsageError
from neurokd.models import build_model

FACTORIES = """
from torch import nn
from neurokd.neurons import LIF, Accumulator, PerStep


class Net(nn.Module):
    def __init__(self, spiking, classes):
        super().__init__()
        layer = PerStep if spiking else nn.Sequential
        act = LIF if spiking else nn.ReLU
        self.body = nn.Sequential(layer(nn.Conv2d(1, 4, 3)), act())
        self.head = layer(nn.Flatten())
        self.fc = PerStep(nn.Linear(16, classes)) if spiking else nn.Linear(16, classes)
        self.readout = Accumulator() if spiking else nn.Identity()

    def forward(self, x):
        return self.readout(self.fc(self.head(self.body(x))))


class Named(Net):
    @property
    def feature_stages(self):
        return ("body",)


def build(*, spiking, classes=10):
    return Net(spiking, classes)


def plain():
    return Net(False, 10)


def anything(**options):
    assert not options
    return Net(True, 10)


def named(spiking):
    return Named(spiking, 10)


def broken():
    return 1 / 0


def number():
    return 3


built = plain()
"""


@pytest.fixture
def factories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "own_factories.py").write_text(FACTORIES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    monkeypatch.delitem(sys.modules, "own_factories", raising=False)
    return "own_factories"


def build(factory: str, spiking: bool = False, **options: Any) -> nn.Module:
    return build_model("module", spiking=spiking, factory=factory, **options)


@pytest.mark.parametrize("spiking", [False, True])
def test_one_factory_serves_teacher_and_student(factories: str, spiking: bool) -> None:
    torch.manual_seed(0)
    named = {"stages": ["body"], "classifier": "fc"}
    network = build(f"{factories}:build", spiking, classes=7, **named)
    assert network.feature_stages == ("body",) and network.classifier_path == "fc"
    x = torch.rand(2, 1, 4, 4)
    if spiking:
        assert network(x.expand(3, *x.shape)).shape == (3, 2, 7)
    else:
        assert network(x).shape == (2, 7)
    # the network is as the user built it: its weights have the user's own names
    assert {key.split(".")[0] for key in network.state_dict()} >= {"body", "fc"}


def test_only_parameters_that_are_named_are_given(factories: str) -> None:
    assert build(f"{factories}:plain", True, classes=7).fc.out_features == 10
    assert build(f"{factories}:anything", False, classes=7).fc.layer.out_features == 10
    assert build(f"{factories}:build").fc.out_features == 10  # its own default


def test_a_network_may_name_its_stages_itself(factories: str) -> None:
    network = build(f"{factories}:named", True)
    assert network.feature_stages == ("body",) and not hasattr(network, "classifier_path")
    with pytest.raises(UsageError, match="says itself.*'body'.*remove the option"):
        build(f"{factories}:named", True, stages=["body"])


@pytest.mark.parametrize(
    ("factory", "options", "message"),
    [
        ("own_factories", {}, "package.module:function"),
        ("own_factories:", {}, "package.module:function"),
        ("no_such_module:build", {}, "ModuleNotFoundError"),
        ("own_factories:absent", {}, "AttributeError.*absent"),
        ("own_factories:broken", {}, "ZeroDivisionError"),
        ("own_factories:number", {}, "expected torch.nn.Module, found int"),
        ("own_factories:plain", {"stages": ["body", "tail"]}, "body, head, fc.*'tail'"),
        ("own_factories:plain", {"classifier": "classifier"}, "its linear layers are fc"),
        ("own_factories:plain", {"classifier": "body"}, "found Sequential.*linear layers are fc"),
    ],
)
def test_what_is_missing_is_said(
    factories: str, factory: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        build(factory, **options)
