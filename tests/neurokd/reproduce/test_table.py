"""The table of made-up accuracies, worked out by hand."""

import json
from dataclasses import replace

import pytest

from neurokd.reproduce import EXPERIMENTS
from neurokd.reproduce.budget import Size
from neurokd.reproduce.figure import draw
from neurokd.reproduce.grid import GridRun, make_grid
from neurokd.reproduce.plan import Plan
from neurokd.reproduce.pool import Failure
from neurokd.reproduce.results import Results, summarise
from neurokd.reproduce.table import markdown

EXPERIMENT = EXPERIMENTS["ckdsnn-ablation"]
PERCENTS = {
    "teacher": (98.0, 99.0),  # 98.5 ± 0.5
    "alone": (90.0, 92.0),  # 91 ± 1
    "kd": (90.0, 92.0),  # gain 0 ± 0
    "samd": (91.0, 92.0),  # gain 0.5 ± 0.5
    "nld": (90.0, 91.0),  # gain −0.5 ± 0.5; SAMD − NLD 1 ± 0
    "samd-nld": (92.0, 95.0),  # gain 2.5 ± 0.5, t = 5, p = 0.1257 at one degree of freedom
}


def _results(**changes: object) -> Results:
    runs = make_grid(EXPERIMENT, ["mnist-subset"], 2)
    accuracies = {run.key: PERCENTS[run.arm][run.seed] / 100 for run in runs}
    return replace(summarise(EXPERIMENT, runs, accuracies, {}), **changes)  # type: ignore[arg-type]


def test_rows_and_findings() -> None:
    text = markdown(_results())
    for line in (
        "## mnist-subset (teacher 98.50 ± 0.50 %, n = 2)",
        "| arm | accuracy (%) | n | gain (points) | p | paper (%) |",
        "| student alone | 91.00 ± 1.00 | 2 |  |  |  |",
        "| KD | 91.00 ± 1.00 | 2 | +0.00 ± 0.00 |  |  |",
        "| SAMD | 91.50 ± 0.50 | 2 | +0.50 ± 0.50 | 0.5 | 78.95 |",
        "| NLD | 90.50 ± 0.50 | 2 | -0.50 ± 0.50 | 0.5 | 77.58 |",
        "| SAMD + NLD | 93.50 ± 1.50 | 2 | +2.50 ± 0.50 | 0.13 | 79.62 |",
        "- Distillation (SAMD + NLD) helps beyond its error bar: yes (+2.50 ± 0.50 points).",
        "- The paper's order SAMD + NLD > SAMD > NLD: holds beyond the error bars "
        "(SAMD + NLD − SAMD +2.00 ± 1.00; SAMD − NLD +1.00 ± 0.00).",
        "- Full recipes, no budget.",
    ):
        assert line in text.splitlines()


def test_json_is_one_object_without_nan() -> None:
    content = json.loads(json.dumps(_results().to_dict(), allow_nan=False))
    (data,) = content["data"]
    row = data["arms"][-1]
    assert row["arm"] == "samd-nld" and row["percent_by_seed"] == {"0": 92.0, "1": 95.0}
    assert row["percent"] == {"mean": 93.5, "standard_error": pytest.approx(1.5), "n": 2}
    assert row["gain_points"]["mean"] == 2.5
    assert data["distillation"]["helps_beyond_error"] is True
    assert [o["holds"] for o in data["orderings"]] == [True, True]


def test_missing_runs_are_said_and_do_not_stop_the_table() -> None:
    runs = make_grid(EXPERIMENT, ["mnist-subset"], 2)
    accuracies = {run.key: 0.9 for run in runs if run.arm in ("alone", "samd") and run.seed == 0}
    failures = {"mnist-subset-teacher-1": Failure("the loss is not finite")}
    results = summarise(EXPERIMENT, runs, accuracies, failures)
    text = markdown(results)
    assert "| KD | – | 0 |  |  |  |" in text
    assert "| SAMD | 90.00 | 1 | +0.00 |  | 78.95 |" in text
    assert "helps beyond its error bar: unknown" in text
    assert "SAMD + NLD > SAMD > NLD: unknown" in text
    assert "- FAILED mnist-subset-teacher-1: the loss is not finite" in text
    json.dumps(results.to_dict(), allow_nan=False)
    assert draw(results).startswith(b"\x89PNG")


def test_what_the_budget_took_is_said_once() -> None:
    runs = make_grid(EXPERIMENT, ["mnist-subset"], 2)

    def sizes(student: Size) -> dict[str, Size]:
        def size(run: GridRun) -> Size:
            return Size(12, 5000) if run.arm == "teacher" else student

        return {run.key: size(run) for run in runs}

    plan = Plan(sizes(Size(100, 5000)), sizes(Size(12, 640)), {})
    results = summarise(EXPERIMENT, runs, {}, {}, budget_minutes=5, plan=plan)
    change = "mnist-subset, students: 100 → 12 epochs, 5,000 → 640 training samples"
    assert results.shrunk == (change,)
    assert f"- Budget 5 minutes, which shrank: {change}." in markdown(results)
    unshrunk = replace(results, shrunk=())
    assert "the full recipes fitted, nothing was shrunk" in markdown(unshrunk)


def test_figure_is_drawn_and_the_same_each_time() -> None:
    assert draw(_results()) == draw(_results())
