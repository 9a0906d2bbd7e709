"""`Metrics`: what a training run wrote down, epoch by epoch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from neurokd.errors import FileFormatError

TERMS = {"ce": "cross-entropy", "samd": "SAMD", "nld": "NLD", "kd": "KD", "catkd": "CAT-KD"}
"""The terms of the loss, each as weighted in it."""

Split = Literal["train", "validation", "test"]


class Line(BaseModel):
    """One line of ``metrics.jsonl``."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    epoch: int
    split: Split
    loss: float | None = None
    accuracy: float | None = None
    seconds: float | None = None
    ce: float | None = None
    samd: float | None = None
    nld: float | None = None
    kd: float | None = None
    catkd: float | None = None


@dataclass(frozen=True)
class Metrics:
    """Lines of a training run by split, in the order of their epochs."""

    train: tuple[Line, ...]
    validation: tuple[Line, ...]
    test: tuple[Line, ...]

    def series(self, split: Split, name: str) -> list[tuple[int, float]]:
        """(epoch, value) wherever the value was written down."""
        lines: tuple[Line, ...] = getattr(self, split)
        return [(line.epoch, value) for line in lines if (value := getattr(line, name)) is not None]

    def last(self, split: Split, name: str) -> float | None:
        """The value of the last epoch that has one."""
        series = self.series(split, name)
        return series[-1][1] if series else None


def parse_metrics(text: str, where: str) -> Metrics:
    """Metrics from JSON lines; of an epoch that occurs twice (a resumed run) the later line counts.

    Raises: `FileFormatError` naming the line.
    """
    lines: dict[tuple[str, int], Line] = {}
    for number, row in enumerate(text.splitlines(), start=1):
        if not row.strip():
            continue
        try:
            line = Line.model_validate(json.loads(row))
        except ValidationError as error:
            problem = error.errors()[0]
            raise FileFormatError(
                "this is not a line of metrics",
                where=f"{where}, line {number}",
                found=f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}",
            ) from error
        except ValueError as error:
            raise FileFormatError(
                "this is not JSON", where=f"{where}, line {number}", found=str(error)
            ) from error
        lines[line.split, line.epoch] = line
    ordered = [lines[key] for key in sorted(lines)]
    return Metrics(*(tuple(x for x in ordered if x.split == split) for split in get_args(Split)))
