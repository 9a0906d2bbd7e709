"""The network's file: what is written comes back; anything else is refused with one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from neurokd.errors import FileFormatError, UsageError
from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.population import (
    CurrentInputPopulation,
    DeltaInputPopulation,
    DeltaPopulation,
    InputPopulation,
    LIFPopulation,
    SigmaDeltaPopulation,
    SigmaPopulation,
)
from neurokd.hardware.projection import ConvProjection, DenseProjection, SparseProjection


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


def every_other_kind() -> DeployedNetwork:
    """The kinds that `network` lacks, with no value at its default."""
    rng = np.random.default_rng(8)
    four, delays = (4,), rng.integers(0, 62, (4, 4))
    rows, columns = np.array([3, 0, 2]), np.array([1, 2, 0])
    lists = (rows, columns, np.array([-9, 300, 5]), -2, 5, "inhibitory")
    return DeployedNetwork(
        (
            DeltaInputPopulation("in", four, 9, 2, 3, True, 12, 17.5, -0.25),
            DeltaPopulation("a", four, 8, 1, 2, True, 5),
            SigmaDeltaPopulation(
                "b", four, 7, np.array([1, -2, 3, -(2**20)]), 3, 4, True, "identity", 6
            ),
            SigmaPopulation("c", four, 4),
            LIFPopulation("d", (4, 2, 2), 4, 5, 6, np.zeros((4, 2, 2), dtype=np.int32)),
        ),
        (
            DenseProjection(
                "ia", "in", "a", rng.integers(0, 9, (4, 4)), 1, 6, "excitatory", delays
            ),
            SparseProjection("ab", "a", "b", *lists, delays=np.array([3, 0, 62])),
            SparseProjection("ba", "b", "a", *lists, recurrent=True),
            DenseProjection("bc", "b", "c", rng.integers(0, 9, (4, 4))),
            DenseProjection("cc", "c", "c", rng.integers(0, 9, (4, 4)), recurrent=True),
            DenseProjection("bd", "b", "d", rng.integers(0, 9, (16, 4))),
            ConvProjection(
                "dd",
                "d",
                "d",
                np.ones((4, 4, 3, 3), dtype=np.int32),
                padding=(1, 1),
                weight_exp=4,
                recurrent=True,
            ),
        ),
        "c",
        "loihi2",
        steps=3,
    )


def current_input() -> DeployedNetwork:
    """The third kind of input."""
    return DeployedNetwork(
        (
            CurrentInputPopulation("in", (2, 3), 17, 99, 3, 42.5, 1.5),
            SigmaPopulation("out", (2,)),
        ),
        (DenseProjection("w", "in", "out", np.ones((2, 6), dtype=np.int32)),),
        "out",
        "loihi1",
        steps=3,
    )


@pytest.mark.parametrize("build", [network, every_other_kind, current_input])
def test_everything_comes_back(tmp_path: Path, build: Callable[[], DeployedNetwork]) -> None:
    before = build()
    path = before.save(tmp_path / "new" / "net.safetensors")
    after = DeployedNetwork.load(path)
    assert (after.output, after.chip, after.steps) == (before.output, before.chip, before.steps)
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


def rewrite(
    path: Path,
    change: Callable[[dict[str, Any], dict[str, Any]], None],
    build: Callable[[], DeployedNetwork] = network,
) -> None:
    """The saved network with its header and tensors changed."""
    from safetensors import safe_open

    with safe_open(str(build().save(path)), framework="numpy") as stream:
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


def part(structure: dict[str, Any], name: str) -> Any:
    """The description of a population or projection."""
    return next(d for d in structure["populations"] + structure["projections"] if d["name"] == name)


OTHER_CHANGES: dict[str, Callable[[dict[str, Any], dict[str, Any]], Any]] = {
    "kind of another": lambda s, t: part(s, "c").update(kind="delta"),
    "two inputs": lambda s, t: part(s, "c").update(kind="input"),
    "vth beyond 32 bits": lambda s, t: part(s, "a").update(vth=2**31 - 1),
    "negative vth": lambda s, t: part(s, "b").update(vth=-1),
    "exponent too large": lambda s, t: part(s, "in").update(spike_exp=8),
    "cum_error a number": lambda s, t: part(s, "a").update(cum_error=1),
    "unknown activation": lambda s, t: part(s, "b").update(activation="tanh"),
    "bias beyond 32 bits": lambda s, t: t.update({"b.bias": np.full(4, 2**30, dtype=np.int32)}),
    "start step 0": lambda s, t: part(s, "c").update(start_step=0),
    "scale no number": lambda s, t: part(s, "in").update(scale=float("nan")),
    "offset infinite": lambda s, t: part(s, "in").update(offset=float("inf")),
    "bits 25": lambda s, t: part(s, "in").update(bits=25),
    "negative row": lambda s, t: t.update({"ab.rows": np.array([-1, 0, 2], dtype=np.int8)}),
    "column too large": lambda s, t: t.update({"ab.columns": np.array([1, 4, 0], dtype=np.int8)}),
    "lists of two lengths": lambda s, t: t.update({"ab.rows": np.array([0, 1], dtype=np.int8)}),
    "a synapse twice": lambda s, t: t.update(
        {"ab.rows": np.zeros(3, dtype=np.int8), "ab.columns": np.zeros(3, dtype=np.int8)}
    ),
    "no columns": lambda s, t: t.pop("ab.columns"),
    "float delays": lambda s, t: t.update({"ia.delays": np.zeros((4, 4), dtype=np.float32)}),
    "delay 63": lambda s, t: t.update({"ia.delays": np.full((4, 4), 63, dtype=np.int8)}),
    "negative delay": lambda s, t: t.update({"ab.delays": np.array([0, -1, 0], dtype=np.int8)}),
    "delays of another shape": lambda s, t: t.update({"ia.delays": np.ones((4, 3), dtype=np.int8)}),
    "recurrent a text": lambda s, t: part(s, "ba").update(recurrent="true"),
    "an open loop": lambda s, t: part(s, "cc").update(recurrent=False),
    "only fed back": lambda s, t: part(s, "bc").update(recurrent=True),
    "two projections of a name": lambda s, t: s["projections"].append(part(s, "ba")),
    "convolution shifted out": lambda s, t: t.update(
        {"dd.weight": np.full((4, 4, 3, 3), 2**30, dtype=np.int32)}
    ),
    "convolution shifted right": lambda s, t: part(s, "dd").update(weight_exp=-1),
    "into the input": lambda s, t: part(s, "ba").update(target="in"),
}


@pytest.mark.parametrize("change", OTHER_CHANGES.values(), ids=OTHER_CHANGES.keys())
def test_inconsistent_files_of_the_other_kinds_are_refused(tmp_path: Path, change: Any) -> None:
    path = tmp_path / "net.safetensors"
    rewrite(path, change, every_other_kind)
    with pytest.raises(FileFormatError) as caught:
        DeployedNetwork.load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("header", ["[" * 100_000, "1" * 5000, "{", "null", "3", '"text"', "[]"])
def test_a_header_that_is_no_structure_is_refused(tmp_path: Path, header: str) -> None:
    path = tmp_path / "net.safetensors"
    save_file({"w": np.zeros(3, dtype=np.int8)}, str(path), metadata={"neurokd": header})
    with pytest.raises(FileFormatError, match=r"net\.safetensors"):
        DeployedNetwork.load(path)


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


def test_numbers_of_numpy_are_written_as_numbers(tmp_path: Path) -> None:
    metadata = {"points": np.float32(0.5), "layers": [np.int64(3)], "holds": np.bool_(True)}
    net = replace(network(), steps=np.int64(4), metadata=metadata)
    loaded = DeployedNetwork.load(net.save(tmp_path / "n.safetensors"))
    assert loaded.steps == 4
    assert loaded.metadata == {"points": 0.5, "layers": [3], "holds": True}


def test_metadata_that_are_no_json_are_refused(tmp_path: Path) -> None:
    for odd in (object(), {"a": {1, 2}}, np.zeros(3)):
        with pytest.raises(UsageError, match="metadata is not JSON"):
            replace(network(), metadata={"odd": odd}).save(tmp_path / "n.safetensors")
    assert not list(tmp_path.iterdir())
