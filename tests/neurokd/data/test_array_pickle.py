import pickle
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neurokd.data.array_pickle import load_array_pickle

IMAGES = np.arange(256, dtype=np.uint8).reshape(2, 128)
BATCH = {"labels": [3, 1], "data": IMAGES, "filenames": ["a.png", "b.png"]}


def of_numpy(content: bytes, module: str) -> bytes:
    """The pickle as the NumPy whose array module is ``module`` writes it."""
    for written in (b"numpy.core.multiarray", b"numpy._core.multiarray"):
        content = content.replace(written, module.encode())
    return content


@pytest.mark.parametrize("protocol", [0, 1, 2, 3])
@pytest.mark.parametrize("module", ["numpy.core.multiarray", "numpy._core.multiarray"])
def test_reads_what_either_numpy_writes(protocol: int, module: str) -> None:
    loaded = load_array_pickle(of_numpy(pickle.dumps(BATCH, protocol), module))
    assert np.array_equal(loaded["data"], IMAGES) and loaded["data"].dtype == np.uint8
    assert loaded["labels"] == [3, 1]


def test_reads_what_python_2_wrote() -> None:
    """Protocol 0 as Python 2 writes it: bytes are quoted texts; put together by hand."""
    content = (
        b"(dp0\nS'labels'\np1\n(lp2\nI3\naI1\nasS'data'\np3\n"
        b"cnumpy.core.multiarray\n_reconstruct\np4\n(cnumpy\nndarray\np5\n(I0\ntS'b'\ntRp6\n"
        b"(I1\n(I2\nI2\ntcnumpy\ndtype\np7\n(S'u1'\nI0\nI1\ntRp8\n"
        b"(I3\nS'|'\nNNNI-1\nI-1\nI0\ntbI00\nS'\\x00\\x7f\\xff\\n'\ntbs."
    )
    loaded = load_array_pickle(content)
    assert loaded["data"].tolist() == [[0, 127], [255, 10]] and loaded["labels"] == [3, 1]


class Attack:
    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call[0], self.call[1:]


@pytest.mark.parametrize("protocol", range(6))
def test_nothing_in_the_file_is_run(tmp_path: Path, protocol: int) -> None:
    import os

    attack = Attack(os.system, f"touch {tmp_path / 'pwned'}")
    with pytest.raises(pickle.UnpicklingError, match="system', which no data set needs"):
        load_array_pickle(pickle.dumps({"data": attack}, protocol))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "attack",
    [
        Attack(eval, "1"),
        Attack(getattr, "a", "upper"),
        Attack(np.load, "a.npy", None, True),
        Attack(np.ndarray, (1 << 40,)),
        Attack(np.dtype, "O"),
        np.array([{}, {}]),
        np.array([1.5, 2.5]),
        np.zeros((2, 2), np.uint8, order="F")[:, :1].T.copy(order="F"),
    ],
    ids=["eval", "getattr", "load", "size", "object dtype", "objects", "floats", "one row"],
)
def test_only_arrays_of_bytes_are_made(attack: Any) -> None:
    content = pickle.dumps({"data": attack}, 2)
    if isinstance(attack, np.ndarray) and attack.dtype == np.uint8:
        assert load_array_pickle(content)["data"].shape == attack.shape
        return
    with pytest.raises(pickle.UnpicklingError):
        load_array_pickle(content)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a pickle",
        pickle.dumps(BATCH, 2)[:-40],
        pickle.dumps([1, 2], 2),
        pickle.dumps({1: 2}, 2),
        pickle.dumps({"data": np.zeros((2, 2), np.uint8)}, 2).replace(b"K\x02K\x02", b"K\x02K\x03"),
        pickle.dumps({"data": np.asfortranarray(IMAGES)}, 2),
        b"\x80\x02U\x03abcQ.",  # an object outside the file
        b"\x80\x02\x82\x01.",  # an extension code
    ],
    ids=[
        "empty", "foreign", "cut", "list", "number as key", "wrong shape", "column order",
        "persistent", "extension",
    ],
)  # fmt: skip
def test_every_surprise_is_the_same_error(content: bytes) -> None:
    with pytest.raises(pickle.UnpicklingError):
        load_array_pickle(content)


def test_a_function_cannot_be_changed() -> None:
    content = b"\x80\x02}U\x01acnumpy.core.multiarray\n_reconstruct\n}U\x08__call__K\x01sbs."
    with pytest.raises(pickle.UnpicklingError, match="changes a function"):
        load_array_pickle(content)


def test_reads_protocol_4() -> None:
    assert np.array_equal(load_array_pickle(pickle.dumps(BATCH, 4))["data"], IMAGES)


def test_a_large_memo_index_takes_no_memory() -> None:
    content = pickle.dumps(BATCH, 2).replace(b"}q\x00", b"}r\xff\xff\xff\x7f")
    assert len(content) == len(pickle.dumps(BATCH, 2)) + 3
    tracemalloc.start()
    assert load_array_pickle(content)["labels"] == [3, 1]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20
