"""The stored definition of a grid: what it is, and the sizes that its budget left."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from neurokd import atomic
from neurokd.errors import FileFormatError, UsageError
from neurokd.reproduce.budget import Size
from neurokd.reproduce.planned import PlannedRun

FORMAT = "neurokd.grid/1"
GRID = "grid.json"


@dataclass(frozen=True)
class Plan:
    """``full`` and ``used`` are sizes by run, ``seconds`` what each run is expected to take.

    Without a budget nothing is measured, and all are empty.
    """

    full: Mapping[str, Size]
    used: Mapping[str, Size]
    seconds: Mapping[str, float]


def define(
    experiment: str, budget_minutes: float | None, teacher: str | None, runs: Sequence[PlannedRun]
) -> dict[str, Any]:
    """All that decides the results; ``teacher`` is the fingerprint of foreign weights, or of a file
    of embeddings."""
    return {
        "experiment": experiment,
        "budget_minutes": budget_minutes,
        "teacher": teacher,
        "runs": {run.key: run.config.model_dump(mode="json") for run in runs},
    }


def read_plan(out: Path, definition: Mapping[str, Any]) -> Plan | None:
    """The plan in the folder; None in a new one.

    Raises: `UsageError` if the folder is that of another grid or of something else,
    `FileFormatError` if its file is broken.
    """
    file = out / GRID
    if not file.is_file():
        if out.is_dir() and any(not path.name.startswith(".") for path in out.iterdir()):
            raise UsageError(
                "the folder holds something else than a grid of runs",
                where=str(out),
                remedy="name an empty or a new folder with --out",
            )
        return None
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']!r}")
        stored = content["definition"]
        sizes = {k: {r: Size(**v) for r, v in content[k].items()} for k in ("full", "used")}
        plan = Plan(sizes["full"], sizes["used"], content["seconds"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise FileFormatError(
            "this is not the definition of a grid", where=str(file), found=str(error)
        ) from error
    if stored != json.loads(json.dumps(definition)):
        raise UsageError(
            "the folder belongs to another grid",
            where=str(out),
            expected=_said(definition),
            found=_said(stored),
            remedy="repeat the options it was begun with, or name a new folder with --out",
        )
    return plan


def write_plan(out: Path, definition: Mapping[str, Any], plan: Plan) -> None:
    """Store the definition with its plan."""
    content = {"format": FORMAT, "definition": definition, **asdict(plan)}
    atomic.write_text(out / GRID, json.dumps(content, indent=1) + "\n")


def _said(definition: Mapping[str, Any]) -> str:
    budget = definition["budget_minutes"]
    allowed = "no budget" if budget is None else f"{budget:g} minutes"
    runs = definition["runs"]
    data = sorted({config["data"] for config in runs.values()})
    devices = sorted({config["device"] for config in runs.values()})
    words = f"{definition['experiment']}, {', '.join(data)}, {len(runs)} runs, {allowed}"
    foreign = ", a file of its own" if definition["teacher"] else ""
    return f"{words}, device {', '.join(devices)}{foreign}"
