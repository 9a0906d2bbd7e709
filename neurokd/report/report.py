"""`write_report`: what a run folder holds, on one page that needs nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from neurokd import atomic
from neurokd.report import wording
from neurokd.report.accuracies import accuracy_figure
from neurokd.report.curves import accuracy_curves, gain, loss_curves
from neurokd.report.facts import flat, versions
from neurokd.report.figure import style
from neurokd.report.inputs import Inputs, read_inputs, read_toml
from neurokd.report.layers import energy_figures, layer_figures
from neurokd.report.raster import raster_panels
from neurokd.report.verdict_table import headline, lines

FILE = "report.html"


def write_report(folder: Path) -> Path:
    """Write ``report.html`` into a run folder from whatever parts the folder has; returns its path.

    A run that learned a stream of tasks has a page of its own.
    The page holds its style and its figures itself and refers to nothing outside. A part that is
    missing is named there, with the command that makes it. Everything read is escaped.

    Raises: `FileFormatError` for a folder without any part, or with a broken one.
    """
    template = "report.html.j2"
    if _is_stream(folder):
        from neurokd.report.stream_report import TEMPLATE, stream_context

        template, context = TEMPLATE, stream_context(folder)
    else:
        inputs = read_inputs(folder)
        with style():
            context = _context(folder, inputs)
    environment = Environment(
        loader=PackageLoader("neurokd.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in ("number", "percent", "energy", "duration", "memory", "grade"):
        environment.filters[name] = getattr(wording, name)
    page = environment.get_template(template).render(context)
    return atomic.write_text(folder / FILE, page)


def _is_stream(folder: Path) -> bool:
    """Whether the folder holds a run of continual learning."""
    return (read_toml(folder / "config.toml") or {}).get("role") == "continual"


def _context(folder: Path, inputs: Inputs) -> dict[str, Any]:
    """Everything that the template shows."""
    role = str((inputs.config or {}).get("role", "student"))
    runs = {
        name: metrics
        for name, metrics in (
            ("teacher", inputs.teacher),
            (role, inputs.own),
            ("without distillation", inputs.baseline),
        )
        if metrics is not None
    }
    loss = loss_curves(inputs.own, role) if inputs.own else None
    curves = [picture for picture in (accuracy_curves(runs), loss) if picture]
    verdict, profile = inputs.verdict, inputs.profile
    return {
        "name": folder.resolve().name,
        "deployed": role != "teacher",
        "facts": _facts(inputs),
        "settings": list(flat(inputs.config)) if inputs.config else [],
        "verdict": verdict,
        "headline": headline(verdict) if verdict else None,
        "verdict_lines": lines(verdict) if verdict else [],
        "accuracies": accuracy_figure(verdict) if verdict and verdict.rows else None,
        "runs": runs,
        "curves": curves,
        "gain": gain(runs),
        "raster": inputs.raster,
        "raster_panels": raster_panels(inputs.raster) if inputs.raster else [],
        "profile": profile,
        "layer_figures": layer_figures(profile) if profile else [],
        "energy_figures": energy_figures(profile) if profile else [],
        "lowering": list(flat(inputs.lowering)) if inputs.lowering else [],
        "missing": _missing(inputs),
    }


def _facts(inputs: Inputs) -> list[tuple[str, str]]:
    """What this is, as (label, value)."""
    config = inputs.config or {}
    network = config.get("model", {})
    given = [
        ("network", network.get("name") if isinstance(network, dict) else None),
        ("role", config.get("role")),
        ("data", config.get("data")),
        ("seed", config.get("seed")),
        ("time steps", config.get("steps")),
        ("chip", inputs.profile.chip if inputs.profile else None),
        *versions(),
    ]
    return [(label, str(value)) for label, value in given if value is not None]


def _missing(inputs: Inputs) -> dict[str, str]:
    """The command that makes each part that is not there."""
    commands = {
        "config": "neurokd train CONFIG --out RUN",
        "own": "neurokd train CONFIG --out RUN",
        "teacher": "neurokd teach CONFIG --out RUN/teacher",
        "baseline": "neurokd train CONFIG --out RUN/baseline",
        "profile": "neurokd profile RUN",
        "verdict": "neurokd verify RUN",
        "raster": "neurokd profile RUN",
        "lowering": "neurokd export RUN --target loihi",
    }
    config = inputs.config or {"distill": {}}
    if config.get("role") == "teacher":
        commands = {"own": "neurokd teach CONFIG --out RUN"}
    elif "distill" not in config:  # no teacher took part, and it is the baseline itself
        del commands["teacher"], commands["baseline"]
    return {name: command for name, command in commands.items() if getattr(inputs, name) is None}
