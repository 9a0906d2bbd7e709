"""What a run that learned a stream offers to a report, read and checked."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from neurokd.config import ContinualConfig, read_continual_config
from neurokd.errors import FileFormatError
from neurokd.report.profiled import Range
from neurokd.verify.verdict import Verdict


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class Summary(_Part):
    """``continual.json``: R, of which row i is the accuracies after task i, and what follows."""

    tasks: tuple[tuple[int, ...], ...] = Field(min_length=1)
    matrix: tuple[tuple[float, ...], ...]
    val_acc: float
    average_accuracy: float
    bwt: float | None
    forgetting: float | None
    forward_transfer: float | None

    @model_validator(mode="after")
    def _square(self) -> Summary:
        count = len(self.tasks)
        if len(self.matrix) != count or any(len(row) != count for row in self.matrix):
            raise ValueError(f"the matrix is not {count} × {count}")
        return self


class Line(_Part):
    """One line of ``metrics.jsonl``; ``accuracy`` of a test is Val.Acc."""

    epoch: int
    task: int
    split: Literal["train", "test", "probe"]
    loss: float | None = None
    accuracy: float | None = None


class Cost(_Part):
    """Of one sample on the chip."""

    synaptic_operations: float
    dynamic_pj: Range
    energy_pj: Range
    dense_operations: int
    dense_dynamic_pj: Range


class Deployed(_Part):
    """The networks after a task, on each task seen so far."""

    task: int
    float_accuracies: tuple[float, ...] = Field(alias="float", min_length=1)
    student: tuple[float, ...] = Field(min_length=1)
    deployed: tuple[float, ...] = Field(min_length=1)
    mean_winners: float
    cost: Cost


class Deployment(_Part):
    """``spiking/deployment.json``."""

    k: int
    steps: int
    rows: tuple[Deployed, ...] = Field(min_length=1)


@dataclass(frozen=True)
class StreamInputs:
    """The parts of the run; one that is not there is None, or empty.

    ``deployment_json`` is the deployment as it was written, for the figure that is drawn of it.
    """

    config: ContinualConfig
    summary: Summary | None
    lines: tuple[Line, ...]
    deployment: Deployment | None
    deployment_json: dict[str, Any]
    verdicts: dict[str, Verdict]


def read_stream(folder: Path) -> StreamInputs:
    """Read every part of the run that is there; `FileFormatError` for one that is broken."""
    deployment = _json(folder / "spiking" / "deployment.json")
    verdicts = {
        title: Verdict.from_dict(values, str(folder / name))
        for title, name in (
            ("In ONNX: the dense network", "verdict-onnx.json"),
            ("On the chip: the spiking student", "verdict.json"),
        )
        if (values := _json(folder / name)) is not None
    }
    return StreamInputs(
        read_continual_config(folder / "config.toml"),
        _checked(Summary, _json(folder / "continual.json"), folder / "continual.json"),
        _lines(folder / "metrics.jsonl"),
        _checked(Deployment, deployment, folder / "spiking" / "deployment.json"),
        deployment or {},
        verdicts,
    )


def _checked(kind: Any, values: dict[str, Any] | None, where: Path) -> Any:
    if values is None:
        return None
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        problem = error.errors()[0]
        raise FileFormatError(
            "this is not what a stream leaves",
            where=str(where),
            found=f"{'.'.join(map(str, problem['loc'])) or 'content'}: {problem['msg']}",
        ) from error


def _json(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    value = _parsed(path.read_bytes(), str(path))
    if not isinstance(value, dict):
        raise FileFormatError(
            "this is not a JSON object", where=str(path), found=type(value).__name__
        )
    return value


def _lines(path: Path) -> tuple[Line, ...]:
    if not path.is_file():
        return ()
    rows = enumerate(path.read_bytes().splitlines(), start=1)
    places = [(Path(f"{path}, line {number}"), row) for number, row in rows if row.strip()]
    return tuple(_checked(Line, _parsed(row, str(where)), where) for where, row in places)


def _parsed(content: bytes, where: str) -> Any:
    try:
        return json.loads(content)
    except ValueError as error:
        raise FileFormatError("this is not JSON", where=where, found=str(error)) from error
