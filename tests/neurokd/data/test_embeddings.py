"""Files of embeddings: there and back, and every way in which one can be broken."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from neurokd.data import LabelledData, load_data
from neurokd.data.embeddings import Embeddings, arrays_sha256, read_embeddings, write_embeddings
from neurokd.errors import FileFormatError, NeurokdError, ShapeMismatchError, UsageError


def embeddings(dimensions: int = 3) -> Embeddings:
    rng = np.random.default_rng(0)
    train, test = (
        LabelledData(name, rng.normal(size=(n, dimensions)).astype(np.float32), np.arange(n) % 2)
        for name, n in (("train", 6), ("test", 4))
    )
    return Embeddings("squares", "a network, what leaves it", "0" * 64, train, test)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_embeddings(tmp_path / "e.safetensors", embeddings())


def test_what_is_written_reads_back_bit_for_bit(file: Path) -> None:
    written, read = embeddings(), read_embeddings(file)
    for split in ("train", "test"):
        before, after = getattr(written, split), getattr(read, split)
        np.testing.assert_array_equal(before.x, after.x)
        np.testing.assert_array_equal(before.y, after.y)
        assert (after.x.dtype, after.y.dtype) == (np.float32, np.int64)
    assert (read.data, read.extractor) == ("squares", "a network, what leaves it")
    assert read.weights_sha256 == "0" * 64 and read.dimensions == 3
    assert read.sha256() == written.sha256()


def test_the_hash_is_over_names_types_shapes_and_bytes() -> None:
    # by hand: "a float32 (2,)\n" and 1.0, 2.0 in little endian
    expected = hashlib.sha256(b"a float32 (2,)\n" + struct.pack("<2f", 1, 2)).hexdigest()
    one = np.array([1, 2], dtype=np.float32)
    assert arrays_sha256({"a": one}) == expected
    others = [{"b": one}, {"a": one[:, None]}, {"a": one.view(np.int32)}, {"a": one[::-1]}]
    assert len({expected, *map(arrays_sha256, others)}) == 5


def test_a_file_is_data_for_every_command(file: Path) -> None:
    test, train = load_data(str(file)), load_data(f"{file}:train")
    assert (len(train), len(test), test.sample_shape) == (6, 4, (3,))
    assert len(load_data(str(file), "train")) == 6
    with pytest.raises(UsageError, match="unknown split"):
        load_data(f"{file}:validation")


def rewritten(file: Path, change: Callable[[dict[str, Any], dict[str, Any]], object]) -> None:
    """The file with its arrays and its header changed, and the hash put right."""
    arrays = embeddings().arrays()
    header = {"format": "neurokd embeddings 1", "data": "d", "extractor": "e"}
    header["weights_sha256"] = "0" * 64
    change(arrays, header)
    header.setdefault("sha256", arrays_sha256(arrays))
    save_file(arrays, file, metadata={"embeddings": json.dumps(header)})


def set_first(arrays: dict[str, Any], name: str, value: float) -> None:
    arrays[name].flat[0] = value


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        (lambda a, h: None, None, ""),  # the way of breaking it breaks nothing by itself
        (lambda a, h: set_first(a, "test.x", np.nan), FileFormatError, "not finite.*sample 0"),
        (lambda a, h: set_first(a, "train.x", np.inf), FileFormatError, "not finite"),
        (lambda a, h: set_first(a, "train.y", -1), FileFormatError, "classes 0, 1, ….*found -1"),
        (lambda a, h: a.pop("test.y"), FileFormatError, "does not hold its arrays"),
        (lambda a, h: a.update(more=a["test.x"]), FileFormatError, "does not hold its arrays"),
        (
            lambda a, h: a.update({"test.x": a["test.x"].astype(np.float64)}),
            FileFormatError,
            "test.x: an array is of another type .expected float32, found float64",
        ),
        (
            lambda a, h: a.update({"test.y": a["test.y"].astype(np.int32)}),
            FileFormatError,
            "expected int64, found int32",
        ),
        (
            lambda a, h: a.update({"test.x": a["test.x"][:, :2].copy()}),
            ShapeMismatchError,
            "one kind",
        ),
        (lambda a, h: a.update({"test.x": a["test.x"][:3]}), ShapeMismatchError, "do not fit"),
        (lambda a, h: a.update({"test.y": a["test.y"][:, None]}), ShapeMismatchError, "do not fit"),
        (lambda a, h: h.update(format="neurokd embeddings 9"), FileFormatError, "embeddings 9"),
        (lambda a, h: h.pop("extractor"), FileFormatError, "lacks an entry.*extractor"),
        (lambda a, h: h.update(data=3), FileFormatError, "lacks an entry.*data"),
        (lambda a, h: h.update(sha256="f" * 64), FileFormatError, "not those that were written"),
    ],
)
def test_a_broken_file_is_refused(
    file: Path, change: Callable[..., object], kind: type[NeurokdError] | None, message: str
) -> None:
    rewritten(file, change)
    if kind is None:
        assert len(read_embeddings(file).train) == 6
        return
    with pytest.raises(kind, match=message) as error:
        read_embeddings(file)
    assert "\n" not in str(error.value)


def test_a_changed_byte_is_found(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(FileFormatError, match="not those that were written.*neurokd embed"):
        read_embeddings(file)


@pytest.mark.parametrize("size", [0, 4, 100, -1])
def test_a_truncated_file_is_refused(file: Path, size: int) -> None:
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(FileFormatError, match="not a complete safetensors file"):
        read_embeddings(file)


@pytest.mark.parametrize("header", [{}, {"embeddings": "[1"}, {"embeddings": "[]"}])
def test_foreign_safetensors_are_refused(tmp_path: Path, header: dict[str, str]) -> None:
    file = tmp_path / "weights.safetensors"
    save_file({"weight": np.zeros(3)}, file, metadata=header)
    with pytest.raises(FileFormatError, match="holds no embeddings|not JSON"):
        read_embeddings(file)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"e\.safetensors: no such file; `neurokd embed`"):
        load_data(str(tmp_path / "e.safetensors"))
    with pytest.raises(FileFormatError, match="no such file"):
        read_embeddings(tmp_path)
