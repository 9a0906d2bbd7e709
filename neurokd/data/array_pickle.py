"""Pickles of a dictionary with NumPy bytes, as CIFAR's files are, read without running anything."""

from __future__ import annotations

import io
import math
import pickle
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


def load_array_pickle(content: bytes) -> dict[str, Any]:
    """The dictionary in a pickle: lists, numbers, texts (as bytes) and arrays of bytes (uint8).

    No function or class that the pickle names is ever called or even imported: the few that such a
    file needs (NumPy's array and dtype, under the module paths of NumPy 1 and 2, and the encoding
    of bytes by Python 3) are replaced by stand-ins that note what was said.
    Raises: `pickle.UnpicklingError`, and no other error, for anything else.
    """
    try:
        loaded = _Unpickler(io.BytesIO(content), encoding="bytes").load()
        if not isinstance(loaded, dict):
            raise pickle.UnpicklingError("it is not a dictionary")
        return {_text(key): _finished(value) for key, value in loaded.items()}
    except pickle.UnpicklingError:
        raise
    except Exception as error:  # whatever a hostile stream provokes in the unpickler
        raise pickle.UnpicklingError(f"{type(error).__name__}: {error!s:.80}") from error


class _StandIn:
    """Something the pickle names; it has no state that a pickle could set."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("the pickle changes a function")


class _ArrayClass(_StandIn):
    """`numpy.ndarray`, which such a pickle only ever passes on."""

    __slots__ = ()


class _Reconstruct(_StandIn):
    """`numpy.core.multiarray._reconstruct`: an array whose state follows."""

    __slots__ = ()

    def __call__(self, kind: object, shape: object, code: object) -> _Array:
        if not isinstance(kind, _ArrayClass):
            raise pickle.UnpicklingError("an array of a foreign class")
        return _Array()


class _DtypeClass(_StandIn):
    """`numpy.dtype`, of unsigned bytes only."""

    __slots__ = ()

    def __call__(self, code: object, *flags: object) -> _Dtype:
        if _text(code) not in ("u1", "|u1"):
            raise pickle.UnpicklingError(f"a dtype other than unsigned bytes: {code!r:.80}")
        return _Dtype()


class _Encode(_StandIn):
    """`_codecs.encode`, by which Python 3 writes bytes in the protocols of Python 2."""

    __slots__ = ()

    def __call__(self, text: object, encoding: object = "latin1") -> bytes:
        if not isinstance(text, str) or _text(encoding) not in ("latin1", "latin-1"):
            raise pickle.UnpicklingError("an encoding other than latin1")
        return text.encode("latin1")


class _Dtype:
    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        """Byte order and layout, which unsigned bytes do not have."""


@dataclass
class _Array:
    """An array's shape and bytes, as its state gave them."""

    state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state

    def finished(self) -> NDArray[np.uint8]:
        """The array, read-only, over the bytes of the pickle."""
        _, shape, dtype, fortran, raw = self.state
        if not (isinstance(dtype, _Dtype) and isinstance(raw, bytes) and fortran is False):
            raise pickle.UnpicklingError("an array other than unsigned bytes in C order")
        if not all(type(size) is int and size >= 0 for size in shape):
            raise pickle.UnpicklingError("an array without a shape")
        if len(shape) > 4 or math.prod(shape) != len(raw):
            raise pickle.UnpicklingError(f"an array of {len(raw)} bytes that is not {shape!r:.80}")
        return np.frombuffer(raw, dtype=np.uint8).reshape(shape)


_MULTIARRAY = ("numpy.core.multiarray", "numpy._core.multiarray")
_PERMITTED: dict[tuple[str, str], _StandIn] = {
    **{(module, "_reconstruct"): _Reconstruct() for module in _MULTIARRAY},
    ("numpy", "ndarray"): _ArrayClass(),
    ("numpy", "dtype"): _DtypeClass(),
    ("_codecs", "encode"): _Encode(),
}


class _Unpickler(pickle._Unpickler):
    """The unpickler in Python: the one in C fills gigabytes for a large memo index alone."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _PERMITTED:
            named = f"{module}.{name}"[:80]
            raise pickle.UnpicklingError(f"it names {named!r}, which no data set needs")
        return _PERMITTED[module, name]

    def persistent_load(self, pid: object) -> Any:
        raise pickle.UnpicklingError("it names an object outside the file")


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("latin1")
    if isinstance(value, str):
        return value
    raise pickle.UnpicklingError("a text is missing")


def _finished(value: Any) -> Any:
    return value.finished() if isinstance(value, _Array) else value
