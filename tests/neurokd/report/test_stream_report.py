"""The page of a run that learned a stream: what it shows, what it lacks, what it refuses."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neurokd.config import ContinualConfig, write_config
from neurokd.errors import FileFormatError
from neurokd.report import stream_figures, write_report
from neurokd.report.stream_inputs import read_stream
from neurokd.verify.verdict import Row, Verdict

SUMMARY: dict[str, Any] = {
    "format": "neurokd.continual/1",
    "tasks": [[3, 7], [0, 1], [2, 9]],
    "test_samples": [10, 20, 30],
    "matrix": [[0.95, 0.1, 0.0], [0.6, 0.9, 0.05], [0.25, 0.5, 0.85]],
    "before": [0.0, 0.0, 0.0],
    "val_acc": 0.6333,
    "average_accuracy": 0.5333,
    "bwt": -0.55,
    "forgetting": 0.55,
    "forward_transfer": 0.075,
}


def band(nominal: float) -> dict[str, float]:
    return {"low": nominal / 2, "nominal": nominal, "high": 4 * nominal}


def deployed(task: int) -> dict[str, Any]:
    accuracies = [0.9 - 0.1 * i for i in range(task + 1)]
    return {
        "task": task,
        "float": accuracies,
        "student": accuracies,
        "deployed": accuracies,
        "mean_winners": 9.5,
        "cost": {
            "synaptic_operations": 12345.6,
            "dynamic_pj": band(3e5),
            "energy_pj": band(4e6),
            "dense_operations": 794000,
            "dense_dynamic_pj": band(1e6),
        },
    }


def rows() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for task in range(3):
        epoch = 2 * task + 2
        found += [
            {"epoch": epoch - 1, "task": task, "split": "train", "loss": 2.0, "accuracy": 0.5},
            {"epoch": epoch, "task": task, "split": "train", "loss": 1.5, "accuracy": 0.9},
            {"epoch": epoch, "task": task, "split": "probe", "entropy_bits": 0.1, "dead": [1]},
            {"epoch": epoch, "task": task, "split": "test", "accuracy": 0.3, "accuracies": [0.3]},
        ]
    return found


def folder(path: Path, **changes: Any) -> Path:
    """A whole run; a part that is None is left out."""
    values = {"methods": {}, "spiking": {}, "summary": SUMMARY, "rows": rows(), **changes}
    spiking = {} if values["spiking"] is None else {"spiking": values["spiking"]}
    config = ContinualConfig.model_validate({"ssd": {}, "order": 15, **spiking})
    path.mkdir()
    (path / "config.toml").write_text(write_config(config))
    if values["summary"] is not None:
        (path / "continual.json").write_text(json.dumps(values["summary"]))
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in values["rows"]))
    return path


def verdict(holds: bool) -> Verdict:
    reference = Row("network", 100, 80, 0.8, (0.7, 0.9), None, None, None, "reference", None)
    other = Row("onnx", 100, 70, 0.7, (0.6, 0.8), 0.88, -0.1, 0.002, "within", holds)
    return Verdict(0.005, 100, "network", (reference, other))


def text(page: str) -> str:
    body = re.sub(r"<style>.*?</style>", "", page, flags=re.S)
    return " ".join(re.sub(r"<[^>]+>", " ", body).replace("\u00a0", " ").split())


def test_a_whole_stream_is_on_one_page(tmp_path: Path) -> None:
    run = folder(tmp_path / "my-stream")
    (run / "spiking").mkdir()
    content = {"k": 10, "steps": 16, "rows": [deployed(task) for task in range(3)]}
    (run / "spiking" / "deployment.json").write_text(json.dumps(content))
    (run / "verdict-onnx.json").write_text(json.dumps(verdict(True).to_dict()))
    page = write_report(run).read_text(encoding="utf-8")
    shown = text(page)
    for part in (
        "my-stream",
        "sdmlp, 1000 neurons",
        "shuffled by seed 15",
        "Val.Acc 63.33 %",
        "BWT -55.00 points",
        "forward transfer +7.50 points",
        "network (float)",
        "The verdict holds",
        "12,346",
        "794,000",
        "9.50",
    ):
        assert part in shown, part
    assert "Missing" not in shown
    assert page.count("<img") == 4 and page.count("data:image/svg+xml") == 4
    assert not re.search(r"(src|href)=\"(?!data:)", page) and "<script" not in page


def test_what_is_missing_is_named_with_its_command(tmp_path: Path) -> None:
    shown = text(write_report(folder(tmp_path / "run", summary=None)).read_text())
    assert "neurokd continual CONFIG --out RUN --resume" in shown
    assert "neurokd verify RUN" in shown and "spiking student after each task" in shown
    assert "Training loss" in shown


def test_a_run_without_a_spiking_student_misses_none(tmp_path: Path) -> None:
    shown = text(write_report(folder(tmp_path / "run", spiking=None)).read_text())
    assert "On the chip" not in shown and "neurokd verify RUN" in shown


def test_one_task_has_no_matrix(tmp_path: Path) -> None:
    joint = {**SUMMARY, "tasks": [[0, 1]], "matrix": [[0.9]]}
    joint |= dict.fromkeys(("bwt", "forgetting", "forward_transfer"))
    page = write_report(folder(tmp_path / "run", summary=joint, rows=rows()[:4])).read_text()
    assert "needs two tasks" in text(page) and page.count("<img") == 1


def test_the_matrix_shows_what_was_learned_and_hides_what_was_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Any] = []
    embed = stream_figures.embed

    def seen(figure: Any, alt: str, caption: str) -> Any:
        drawn.append(figure)
        return embed(figure, alt, caption)

    monkeypatch.setattr(stream_figures, "embed", seen)
    summary = read_stream(folder(tmp_path / "run")).summary
    assert summary is not None
    picture = stream_figures.matrix_figure(summary)
    panel = drawn[0].axes[0]
    image = panel.images[0].get_array()
    assert image.mask.tolist() == [[False, True, True], [False, False, True], [False] * 3]
    np.testing.assert_allclose(image[2], [25.0, 50.0, 85.0])
    assert [t.get_text() for t in panel.texts] == ["95", "60", "90", "25", "50", "85"]
    assert [t.get_text() for t in panel.get_xticklabels()] == ["3,7", "0,1", "2,9"]
    assert "25.0\u00a0%, 50.0\u00a0%, 85.0\u00a0%" in picture.alt
    stream_figures.fate_figure(summary, read_stream(tmp_path / "run").lines)
    fates = [line.get_ydata().tolist() for line in drawn[1].axes[0].lines]
    np.testing.assert_allclose(fates[0], [95, 60, 25])
    np.testing.assert_allclose(fates[2], [85])
    np.testing.assert_allclose(fates[3], [30, 30, 30])  # Val.Acc


def test_the_same_run_gives_the_same_pictures(tmp_path: Path) -> None:
    run = folder(tmp_path / "run")
    first, second = (
        re.findall(r'src="([^"]+)"', write_report(run).read_text(encoding="utf-8"))
        for _ in range(2)
    )
    assert first == second and len(first) == 3
    assert base64.b64decode(first[0].partition(",")[2]).startswith(b"<?xml")


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("continual.json", "{", "not JSON"),
        ("continual.json", "[]", "not a JSON object"),
        ("continual.json", json.dumps({**SUMMARY, "matrix": [[0.5]]}), "not 3 × 3"),
        ("continual.json", json.dumps({**SUMMARY, "bwt": "bad"}), "bwt"),
        ("metrics.jsonl", '{"epoch": 1, "task": 0, "split": "nap"}', "line 1.*split"),
        ("metrics.jsonl", "no", "line 1.*not JSON"),
        ("verdict.json", "{}", "not a verdict"),
        ("spiking/deployment.json", '{"k": 10, "steps": 4, "rows": []}', "rows"),
    ],
)
def test_a_broken_part_is_refused(file: str, content: str, message: str, tmp_path: Path) -> None:
    run = folder(tmp_path / "run")
    (run / "spiking").mkdir()
    (run / file).write_text(content)
    with pytest.raises(FileFormatError, match=message):
        write_report(run)
    assert not (run / "report.html").exists()
