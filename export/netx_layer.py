"""One layer of a netx file: its fields, each read as what it has to be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurokd.errors import FileFormatError

Integers = NDArray[np.int64]
MAX_NUMBERS = 1 << 26
"""Neurons of a network, or weights of a layer that the file states with few bytes."""
_LARGEST = 1 << 31


@dataclass(frozen=True)
class NetxLayer:
    """A group of a netx file: ``/layer/<index>``, or the ``neuron`` group in it.

    ``where`` names it in errors, ``name`` in the network: "1.conv".
    """

    index: int
    kind: str
    fields: dict[str, Any]

    @property
    def name(self) -> str:
        """Stable name: the index in the file and the layer's type."""
        return f"{self.index}.{self.kind}"

    @property
    def where(self) -> str:
        """How errors name the layer."""
        return f"layer {self.name!r}"

    def __contains__(self, key: str) -> bool:
        return key in self.fields

    @property
    def neuron(self) -> NetxLayer | None:
        """The description of the neurons, if the layer has one."""
        group = self.fields.get("neuron")
        if group is None:
            return None
        if not isinstance(group, dict):
            raise FileFormatError("neuron is no group", where=self.where)
        return NetxLayer(self.index, self.kind, group)

    def text(self, key: str) -> str:
        """A text: a scalar, or the first of a list, as lava-dl writes both."""
        value = self._value(key)
        if isinstance(value, np.ndarray) and value.size == 1 and value.dtype.kind in "SO":
            value = value.reshape(-1)[0]
        if isinstance(value, bytes):
            value = value.decode("ascii")
        if not isinstance(value, str):
            raise self._no(key, "a text", value)
        return value

    def integers(self, key: str) -> Integers:
        """Numbers, their fractions cut off towards zero, as lava-dl casts weights and biases."""
        value = self._value(key)
        array = np.asarray(value)
        if isinstance(value, dict) or array.dtype.kind not in "iufb":
            raise self._no(key, "numbers", value)
        if not array.size:
            raise self._no(key, "at least one number", value)
        if not np.isfinite(array).all() or float(np.abs(array.astype(np.float64)).max()) > _LARGEST:
            raise FileFormatError(
                f"{key} has values that are no 32-bit integers",
                where=self.where,
                expected="finite numbers",
                found=f"{array.min()} … {array.max()}",
            )
        return array.astype(np.int64)

    def integer(self, key: str) -> int:
        """One integer, or several that are the same; fractions are refused.

        lava-dl writes a vector where its neurons do not share a parameter; the chip shares it.
        """
        whole = self.integers(key)
        if (np.asarray(self._value(key)) != whole).any():
            raise self._no(key, "an integer", self._value(key))
        if int(whole.min()) != int(whole.max()):
            raise FileFormatError(
                f"{key} differs between the neurons of a layer, which share it on the chip",
                where=self.where,
                expected="one value",
                found=f"{int(whole.min())} … {int(whole.max())}",
                remedy="train with shared_param=True",
            )
        return int(whole.reshape(-1)[0])

    def flag(self, key: str) -> bool:
        """A truth value; one that is missing is false."""
        return key in self and self.integer(key) != 0

    def shape(self, key: str = "shape") -> tuple[int, ...]:
        """Positive sizes, (C, H, W) or (N,)."""
        sizes = self.integers(key)
        if sizes.ndim != 1 or len(sizes) > 3 or int(sizes.min()) < 1:
            raise self._no(key, "(C, H, W) or (N,)", sizes.tolist())
        return tuple(int(size) for size in sizes)

    def pair(self, key: str, default: int | None = None) -> tuple[int, int]:
        """(height, width); one number stands for both, ``default`` for a missing field."""
        if key not in self and default is not None:
            return default, default
        values = self.integers(key).reshape(-1)
        if len(values) not in (1, 2):
            raise self._no(key, "one integer or two", values.tolist())
        return int(values[0]), int(values[-1])

    def require_memory(self, what: str, numbers: int) -> None:
        """`FileFormatError` for more than `MAX_NUMBERS`: few bytes must not become many."""
        if numbers > MAX_NUMBERS:
            raise FileFormatError(
                f"too many {what}",
                where=self.where,
                expected=f"≤ {MAX_NUMBERS}",
                found=str(numbers),
            )

    def _value(self, key: str) -> Any:
        if key not in self.fields:
            raise FileFormatError(
                f"the layer has no {key!r}",
                where=self.where,
                expected=key,
                found=", ".join(sorted(self.fields)) or "nothing",
            )
        return self.fields[key]

    def _no(self, key: str, expected: str, found: Any) -> FileFormatError:
        shown = "a group" if isinstance(found, dict) else str(found)
        return FileFormatError(
            f"{key} cannot be read", where=self.where, expected=expected, found=shown
        )
