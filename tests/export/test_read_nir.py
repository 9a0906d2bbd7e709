"""Every damaged, foreign or hostile file ends in one line that names file, node and cause."""

from __future__ import annotations

import random
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest

from neurokd.errors import FileFormatError
from neurokd.export import read_nir, simulate_nir, write_nir

Damage = Callable[[h5py.File], None]


def graph() -> nir.NIRGraph:
    return nir.NIRGraph(
        nodes={
            "input": nir.Input(np.array([2, 4, 4])),
            "conv": nir.Conv2d(
                (4, 4), np.ones((3, 2, 3, 3)), (1, 1), (1, 1), (1, 1), 1, np.ones(3)
            ),
            "lif": nir.LIF(*(np.full((3, 4, 4), v) for v in (2e-4, 2.0, 0.0, 1.0, 0.0))),
            "pool": nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
            "flat": nir.Flatten({"input": np.array([3, 2, 2])}, 0, -1),
            "linear": nir.Affine(np.ones((5, 12)), np.ones(5)),
            "readout": nir.I(np.full(5, 1e4)),
            "output": nir.Output(np.array([5])),
        },
        edges=[
            ("input", "conv"),
            ("conv", "lif"),
            ("lif", "pool"),
            ("pool", "flat"),
            ("flat", "linear"),
            ("linear", "readout"),
            ("readout", "output"),
        ],
        metadata={"dt": 1e-4},
    )


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return write_nir(graph(), tmp_path / "good.nir")


def put(stream: h5py.File, path: str, value: object) -> None:
    del stream[path]
    stream[path] = value


def set_entry(path: str, index: tuple[int, ...], value: float) -> Damage:
    def damage(stream: h5py.File) -> None:
        stream[path][index] = value

    return damage


def edges(*pairs: tuple[str, str]) -> Damage:
    def damage(stream: h5py.File) -> None:
        existing = [tuple(e.decode() for e in pair) for pair in stream["node/edges"][()]]
        del stream["node/edges"]
        data = np.array([*existing, *pairs], dtype=object)
        stream["node"].create_dataset("edges", data=data, dtype=h5py.string_dtype())

    return damage


def without_edge(source: str) -> Damage:
    def damage(stream: h5py.File) -> None:
        existing = [[e.decode() for e in pair] for pair in stream["node/edges"][()]]
        kept = np.array([pair for pair in existing if pair[0] != source], dtype=object)
        del stream["node/edges"]
        stream["node"].create_dataset("edges", data=kept, dtype=h5py.string_dtype())

    return damage


def unallocated(stream: h5py.File) -> None:
    del stream["node/nodes/linear/weight"]
    stream.create_dataset("node/nodes/linear/weight", (900, 900), "f8", chunks=(100, 100))


def enlarged(stream: h5py.File) -> None:
    """A 44 kB file in which 650 MB were to be materialised before any check."""
    del stream["node/nodes/linear/weight"]
    stream.create_dataset("node/nodes/linear/weight", (9000, 9000), "f8", chunks=(100, 100))


def bomb(stream: h5py.File) -> None:
    """A chunk that claims 8 kB and unpacks to 200 MB."""
    del stream["node/nodes/linear/weight"]
    options = {"chunks": (1, 1024), "compression": "gzip"}
    made = stream.create_dataset("node/nodes/linear/weight", (1, 1024), "f8", **options)
    packer = zlib.compressobj(9)
    stored = b"".join(packer.compress(bytes(1 << 20)) for _ in range(200)) + packer.flush()
    made.id.write_direct_chunk((0, 0), stored)


def shared_text(stream: h5py.File) -> None:
    """A thousand references to one text of 60 kB."""
    texts = np.array(["x" * 60_000] + ["y"] * 999, dtype=object)
    note = stream["node/metadata"].create_dataset("note", data=texts, dtype=h5py.string_dtype())
    stream.flush()
    with open(stream.filename, "r+b") as raw:
        raw.seek(note.id.get_offset())
        reference = raw.read(16)
        raw.seek(note.id.get_offset())
        raw.write(reference * 1000)


def deep(stream: h5py.File) -> None:
    group = stream["node/metadata"]
    for _ in range(30):
        group = group.create_group("m")


def huge(stream: h5py.File) -> None:
    del stream["node/nodes/linear/weight"]
    stream.create_dataset("node/nodes/linear/weight", (1 << 20, 1 << 20), "f4", chunks=(64, 64))


def external(stream: h5py.File) -> None:
    put(stream, "node/nodes/linear/weight", h5py.ExternalLink("/etc/hostname", "/x"))


def soft(stream: h5py.File) -> None:
    put(stream, "node/nodes/linear/weight", h5py.SoftLink("/node/nodes/linear/bias"))


def circle(stream: h5py.File) -> None:
    stream["node/nodes/lif/again"] = stream["node/nodes"]


def dead_end(stream: h5py.File) -> None:
    stream.copy("node/nodes/lif", "node/nodes/lost")
    edges(("conv", "lost"))(stream)


def slash(stream: h5py.File) -> None:
    stream.create_group("node/nodes/a/b")["type"] = "I"


DAMAGES: dict[str, tuple[Damage, str]] = {
    "nan": (set_entry("node/nodes/linear/weight", (1, 2), np.nan), "node 'linear'.*weight.*nan"),
    "negative tau": (set_entry("node/nodes/lif/tau", (0, 0, 0), -1.0), "node 'lif'.*tau.*-1"),
    "zero tau": (set_entry("node/nodes/lif/tau", (0, 0, 0), 0.0), "node 'lif'.*tau"),
    "short tau": (set_entry("node/nodes/lif/tau", (0, 0, 0), 5e-5), "node 'lif'.*5e-05"),
    "infinite tau": (set_entry("node/nodes/lif/tau", (0, 0, 0), np.inf), "node 'lif'.*finite"),
    "dt": (lambda f: put(f, "node/metadata/dt", -1.0), "dt"),
    "bias": (lambda f: put(f, "node/nodes/linear/bias", np.ones(4)), "bias.*(5,).*(4,)"),
    "conv bias": (lambda f: put(f, "node/nodes/conv/bias", np.ones(1)), "node 'conv'.*bias"),
    "weight": (lambda f: put(f, "node/nodes/linear/weight", np.ones((5, 9))), "node 'linear'"),
    "threshold": (lambda f: put(f, "node/nodes/lif/v_threshold", np.ones(3)), "node 'lif'"),
    "type": (lambda f: put(f, "node/nodes/lif/type", "Alpha"), "node 'lif'.*Alpha"),
    "nested": (lambda f: put(f, "node/nodes/lif/type", "NIRGraph"), "node 'lif'.*inside"),
    "no type": (lambda f: f["node/nodes/lif"].__delitem__("type"), "node 'lif'.*type"),
    "field": (lambda f: f["node/nodes/lif"].__delitem__("tau"), "node 'lif'.*tau"),
    "text": (lambda f: put(f, "node/nodes/lif/r", "x"), "node 'lif'"),
    "extra field": (lambda f: f["node/nodes/lif"].create_dataset("x", data=1), "node 'lif'"),
    "slash": (slash, "node 'a'.*'/'"),
    "self-loop": (edges(("lif", "lif")), "node 'lif'.*itself"),
    "dangling": (edges(("lif", "nobody")), "nobody"),
    "duplicate": (edges(("input", "conv")), "twice"),
    "unreachable": (without_edge("input"), "input reaches"),
    "dead end": (dead_end, "node 'lost'.*does not reach an output"),
    "no output": (lambda f: f["node/nodes"].__delitem__("output"), "no Output"),
    "no input": (lambda f: f["node/nodes"].__delitem__("input"), "no Input"),
    "no edges": (lambda f: f["node"].__delitem__("edges"), "incomplete"),
    "no graph": (lambda f: f.__delitem__("node"), "no NIR graph"),
    "unallocated": (unallocated, "linear/weight.*never written"),
    "huge": (huge, "linear/weight.*too large"),
    "enlarged": (enlarged, "linear/weight.*too large.*648000000"),
    "bomb": (bomb, "linear/weight.*unpacks to more"),
    "shared text": (shared_text, "metadata/note.*too long"),
    "deep": (deep, "deeply nested"),
    "into input": (edges(("lif", "input")), "node 'input'|input"),
    "from output": (edges(("output", "lif")), "node 'output'"),
    "half a stride": (lambda f: put(f, "node/nodes/pool/stride", [1.5, 1]), "node 'pool'.*stride"),
    "no window": (lambda f: put(f, "node/nodes/pool/kernel_size", [0, 2]), "node 'pool'"),
    "shape": (lambda f: put(f, "node/nodes/input/shape", [2, -4, 4]), "node 'input'"),
    "unprintable": (lambda f: f.move("node/nodes/lif", "node/nodes/a\x1b"), "unprintable"),
    "reference": (
        lambda f: put(f, "node/nodes/lif/r", f["node"].ref),
        "lif/r.*no plain text",
    ),
    "unknown field": (lambda f: f["node"].create_dataset("type_check", data=0), "type_check"),
    "external": (external, "links elsewhere.*ExternalLink"),
    "soft": (soft, "links elsewhere.*SoftLink"),
    "circle": (circle, "circle"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_files_are_refused_in_one_line(name: str, good: Path) -> None:
    damage, message = DAMAGES[name]
    with h5py.File(good, "r+") as stream:
        damage(stream)
    with pytest.raises(FileFormatError, match=message) as caught:
        read_nir(good)
    assert str(good) in str(caught.value) and "\n" not in str(caught.value)
    assert caught.value.where != str(good)  # the node, or the place in the file
    assert caught.value.expected and caught.value.found


def test_missing_foreign_and_truncated_files(tmp_path: Path, good: Path) -> None:
    for path, found in ((tmp_path / "none.nir", "nothing"), (tmp_path, "a folder")):
        with pytest.raises(FileFormatError, match=f"no such file.*{found}"):
            read_nir(path)
    foreign = tmp_path / "foreign.nir"
    foreign.write_bytes(b"not hdf5" * 100)
    with pytest.raises(FileFormatError, match="not a complete NIR file"):
        read_nir(foreign)
    foreign.write_bytes(good.read_bytes()[:-500])
    with pytest.raises(FileFormatError, match="not a complete NIR file"):
        read_nir(foreign)
    with h5py.File(tmp_path / "empty.h5", "w"):
        pass
    with pytest.raises(FileFormatError, match="no NIR graph"):
        read_nir(tmp_path / "empty.h5")


def test_random_bytes_either_read_or_are_refused(tmp_path: Path, good: Path) -> None:
    content = good.read_bytes()
    source = random.Random(0)
    path = tmp_path / "damaged.nir"
    refused = 0
    for _ in range(60):
        damaged = bytearray(content)
        for _ in range(8):
            damaged[source.randrange(len(damaged))] = source.randrange(256)
        path.write_bytes(damaged)
        try:
            read_nir(path)
        except FileFormatError as error:
            assert error.expected and error.found
            refused += 1
    assert refused > 5


def test_files_of_other_writers_are_read(tmp_path: Path) -> None:
    # a grouped convolution with a rectangular kernel and a cycle, which nir's type check refuses
    made = nir.NIRGraph(
        nodes={
            "input": nir.Input(np.array([2, 5, 6])),
            "conv": nir.Conv2d((5, 6), np.ones((2, 1, 3, 2)), 1, 0, 1, 2, np.zeros(2)),
            "lif": nir.LIF(*(np.full((2, 3, 5), v) for v in (1e-3, 1.0, 0.0, 1.0, 0.0))),
            "back": nir.Scale(np.full((2, 3, 5), 0.5)),
            "output": nir.Output(np.array([2, 3, 5])),
        },
        edges=[
            ("input", "conv"),
            ("conv", "lif"),
            ("lif", "back"),
            ("back", "lif"),
            ("lif", "output"),
        ],
        type_check=False,
    )
    nir.write(tmp_path / "other.nir", made)
    read = read_nir(tmp_path / "other.nir")
    assert tuple(read.nodes["conv"].output_type["output"]) == (2, 3, 5)
    assert read.input_type["input"].tolist() == [2, 5, 6]


def test_nested_graphs_are_flattened(tmp_path: Path) -> None:
    inner = nir.NIRGraph.from_list(nir.Linear(np.eye(2)), nir.I(np.full(2, 1e4)))
    outer = nir.NIRGraph(
        {"input": nir.Input(np.array([2])), "in": inner, "output": nir.Output(np.array([2]))},
        [("input", "in"), ("in", "output")],
        metadata={"dt": 1e-3},
    )
    nir.write(tmp_path / "nested.nir", outer)
    read = read_nir(tmp_path / "nested.nir")
    assert set(read.nodes) == {"input", "in.linear", "in.i", "output"}
    assert set(read.edges) == {
        ("input", "in.linear"),
        ("in.linear", "in.i"),
        ("in.i", "output"),
    }
    x = np.random.default_rng(0).normal(size=(5, 2, 2))
    np.testing.assert_array_equal(simulate_nir(read, x).output, simulate_nir(outer, x).output)


def test_an_unreadable_file_is_a_typed_error(tmp_path: Path, monkeypatch: Any) -> None:
    path = tmp_path / "x.nir"
    path.touch()

    def forbidden(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", forbidden)
    with pytest.raises(FileFormatError, match="Permission denied"):
        read_nir(path)


@pytest.mark.parametrize(
    "files", [pytest.param(120, id="some"), pytest.param(3000, id="many", marks=pytest.mark.slow)]
)
def test_fuzzed_files_read_or_are_refused(files: int) -> None:
    script = Path(__file__).parents[2] / "benchmarks" / "fuzz_nir.py"
    command = [sys.executable, str(script), "--files", str(files), "--start", "1000000"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"| **all** | {files:,} |" in done.stdout
