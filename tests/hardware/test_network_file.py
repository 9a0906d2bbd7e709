"""The network's file: what is written comes back; anything else is refused with one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from neurokd.errors import FileFormatError
from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.population import InputPopulation, LIFPopulation
from neurokd.hardware.projection import ConvProjection, DenseProjection


def network() -> DeployedNetwork:
    """Every field of every kind has a value that is not its default."""
    rng = np.random.default_rng(7)
    image = (4, 4, 3)
    return DeployedNetwork(
        (
            InputPopulation("in", (2, 7, 9), "graded", 8, 255.5),
            LIFPopulation("a", image, 1, 2, 3, rng.integers(-4096, 4095, image), 5, 6, True),
            LIFPopulation("out", (3,), 4, 5, 131071, np.array([1, -2, 3]), 1, 2, False),
        ),
        (
            ConvProjection(
                "c",
                "in",
                "a",
                rng.integers(-(2**30), 2**30, (4, 1, 3, 2)),
                (2, 3),
                (1, 0),
                (1, 2),
                2,
                5,
            ),
            DenseProjection("d", "a", "out", rng.integers(-255, 0, (3, 48)), -3, 7, "inhibitory"),
        ),
        "out",
        "loihi1",
        steps=9,
        metadata={"from": "a test", "passes": ["x", 1]},
    )


def test_everything_comes_back(tmp_path: Path) -> None:
    before = network()
    path = before.save(tmp_path / "new" / "net.safetensors")
    after = DeployedNetwork.load(path)
    assert (after.output, after.chip, after.steps) == ("out", "loihi1", 9)
    assert after.metadata == before.metadata
    pairs = [
        *zip(before.populations, after.populations, strict=True),
        *zip(before.projections, after.projections, strict=True),
    ]
    for old, new in pairs:
        assert type(old) is type(new)
        for entry in fields(old):
            one, two = getattr(old, entry.name), getattr(new, entry.name)
            np.testing.assert_array_equal(one, two)
            assert type(one) is type(two)
    assert [p.name for p in path.parent.iterdir()] == ["net.safetensors"]


def rewrite(path: Path, change: Callable[[dict[str, Any], dict[str, Any]], None]) -> None:
    """The saved network with its header and tensors changed."""
    from safetensors import safe_open

    with safe_open(str(network().save(path)), framework="numpy") as stream:
        structure = json.loads(stream.metadata()["neurokd"])
        tensors = {key: stream.get_tensor(key) for key in stream.keys()}  # noqa: SIM118
    change(structure, tensors)
    save_file(tensors, str(path), metadata={"neurokd": json.dumps(structure)})


CHANGES: dict[str, Callable[[dict[str, Any], dict[str, Any]], Any]] = {
    "format": lambda s, t: s.update(format="neurokd.deployed/99"),
    "no steps": lambda s, t: s.pop("steps"),
    "steps a text": lambda s, t: s.update(steps="9"),
    "steps a float": lambda s, t: s.update(steps=9.5),
    "chip a number": lambda s, t: s.update(chip=3),
    "metadata a list": lambda s, t: s.update(metadata=[]),
    "populations null": lambda s, t: s.update(populations=None),
    "population a number": lambda s, t: s.update(populations=[3]),
    "unknown kind": lambda s, t: s["populations"][1].update(kind="sigma"),
    "kind a list": lambda s, t: s["populations"][1].update(kind=[]),
    "unknown field": lambda s, t: s["populations"][1].update(colour="red"),
    "missing field": lambda s, t: s["populations"][1].pop("start_step"),
    "float decay": lambda s, t: s["populations"][1].update(du=1.5),
    "true decay": lambda s, t: s["populations"][1].update(du=True),
    "decay too large": lambda s, t: s["populations"][1].update(du=4096),
    "shape a number": lambda s, t: s["populations"][1].update(shape=3),
    "shape of texts": lambda s, t: s["populations"][1].update(shape=["4"]),
    "negative shape": lambda s, t: s["populations"][0].update(shape=[2, -7, -9]),
    "stride of three": lambda s, t: s["projections"][0].update(stride=[1, 1, 1]),
    "missing tensor": lambda s, t: t.pop("c.weight"),
    "float tensor": lambda s, t: t.update({"c.weight": t["c.weight"].astype(np.float32)}),
    "long tensor": lambda s, t: t.update({"d.weight": np.full((3, 48), 2**40)}),
    "foreign tensor": lambda s, t: t.update(extra=np.zeros(3, dtype=np.int8)),
    "cycle": lambda s, t: s["projections"][0].update(source="out"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_inconsistent_files_are_refused(tmp_path: Path, change: Any) -> None:
    path = tmp_path / "net.safetensors"
    rewrite(path, change)
    with pytest.raises(FileFormatError) as caught:
        DeployedNetwork.load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_foreign_and_broken_files_are_refused(tmp_path: Path) -> None:
    good = network().save(tmp_path / "good.safetensors").read_bytes()
    cases = {
        "absent": None,
        "empty": b"",
        "text": b"not a network",
        "truncated": good[: len(good) // 2],
        "short": good[:-1],
    }
    for name, content in cases.items():
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(FileFormatError, match=name):
            DeployedNetwork.load(path)
    foreign = tmp_path / "foreign"
    save_file({"w": np.zeros(3, dtype=np.float32)}, str(foreign))
    with pytest.raises(FileFormatError, match="not a deployed network"):
        DeployedNetwork.load(foreign)
    with pytest.raises(FileFormatError, match="no such file"):
        DeployedNetwork.load(tmp_path)
