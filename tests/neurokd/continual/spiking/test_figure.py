"""The figure of a deployed stream."""

from pathlib import Path

import pytest

from neurokd.continual.metrics import backward_transfer
from neurokd.continual.spiking.figure import draw, running_transfer, save_figure
from neurokd.report.figure import style


def row(task: int, accuracies: list[float]) -> dict[str, object]:
    band = {"low": 1e6, "nominal": 2e6, "high": 4e6}
    names = ("dynamic_pj", "energy_pj", "dense_dynamic_pj")
    return {
        "task": task,
        **{name: accuracies for name in ("float", "student", "deployed")},
        "cost": {name: band for name in names},
    }


SUMMARY = {"rows": [row(0, [1.0]), row(1, [0.5, 0.9]), row(2, [0.4, 0.7, 0.8])]}


def test_transfer_up_to_each_task_ends_in_that_of_the_stream() -> None:
    found = running_transfer([[1.0], [0.5, 0.9], [0.4, 0.7, 0.8]])
    assert found == pytest.approx([-0.5, (-0.6 - 0.2) / 2])
    whole = backward_transfer([[1.0, 0, 0], [0.5, 0.9, 0], [0.4, 0.7, 0.8]])
    assert found[-1] == pytest.approx(whole)


def test_accuracy_transfer_and_energy_are_drawn_in_one_figure(tmp_path: Path) -> None:
    with style():
        top, middle, bottom = draw(SUMMARY).axes
    assert list(top.lines[0].get_ydata()) == pytest.approx([100, 70, 100 * 1.9 / 3])
    assert list(middle.lines[0].get_ydata()) == pytest.approx([-50, -40])
    assert list(bottom.lines[0].get_ydata()) == pytest.approx([2, 2, 2])  # µJ
    path = save_figure(SUMMARY, tmp_path / "deployment.png")
    first = path.read_bytes()
    assert first.startswith(b"\x89PNG")
    assert save_figure(SUMMARY, path).read_bytes() == first
