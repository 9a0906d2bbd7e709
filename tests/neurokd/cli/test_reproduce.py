"""`neurokd reproduce`: what it prints, what it refuses, and its exit status."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from neurokd.cli.app import main
from neurokd.config import ModelConfig, RecipeConfig, TrainConfig
from neurokd.reproduce import EXPERIMENTS, STREAMS, Base


@pytest.fixture
def tiny_table(tiny_data: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A table by the name of `tiny`: the last arm cannot be trained."""
    teacher = TrainConfig(
        role="teacher",
        data=tiny_data,
        model=ModelConfig(channels=(4, 6), kernels=(3, 3), strides=(2, 2)),
        recipe=RecipeConfig(epochs=1, batch_size=32),
    )
    student = teacher.model_copy(update={"role": "student", "steps": 1})
    base = EXPERIMENTS["ckdsnn-cifar"]
    alone, full = base.arms
    assert full.distill is not None
    wrong = full.distill.model_copy(update={"student_stage": "nowhere"})
    tiny = replace(
        base,
        arms=(alone, replace(full, distill=wrong)),
        bases={"tiny": Base(teacher, student)},
        data=("tiny",),
    )
    monkeypatch.setitem(EXPERIMENTS, "tiny", tiny)
    return "tiny"


@pytest.mark.training
def test_a_run_that_fails_costs_the_status_but_not_the_others(
    tiny_table: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["reproduce", tiny_table, "--seeds", "1", "--budget", "full", "--workers", "1"]
    assert main([*words, "--out", str(tmp_path / "out"), "--json"]) == 2
    captured = capsys.readouterr()
    content = json.loads(captured.out)
    assert content["folder"] == str(tmp_path / "out")
    assert list(content["failed"]) == ["tiny-ckdsnn-0"]
    alone = content["data"][0]["arms"][0]
    assert alone["percent"]["n"] == 1 and alone["percent"]["standard_error"] is None
    last = captured.err.splitlines()[-1]
    assert last.startswith("neurokd: tiny-ckdsnn-0: ") and "nowhere" in last
    table = (tmp_path / "out" / "table.md").read_text()
    assert "| student alone | " in table and "FAILED tiny-ckdsnn-0" in table


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["ssd-table9"], "no such table"),
        (["ckdsnn-ablation", "--data", "imagenet"], "no definition"),
        (["ckdsnn-ablation", "--budget", "soon"], "minutes, or full"),
        (["ckdsnn-ablation", "--budget", "0"], "minutes, or full"),
        (["ckdsnn-ablation", "--budget", "nan"], "minutes, or full"),
        (["ckdsnn-ablation", "--seeds", "0"], "at least one seed"),
        (["ckdsnn-ablation", "--workers", "0"], "--workers"),
        (["ckdsnn-ablation", "--device", "tpu"], "no such device"),
        (["ckdsnn-ablation", "--data", "mnist,nmnist", "--teacher", "x"], "one data set"),
        (["ckdsnn-cifar", "--teacher", "nowhere"], "no such file"),
        (["ckdsnn-cifar", "--neurons", "10"], "the other paper"),
        (["ckdsnn-cifar", "--embeddings", "x"], "the other paper"),
        (["ssd-table1", "--teacher", "x"], "the other paper"),
        (["ckdsnn-cifar", "--epochs", "9"], "the other paper"),
        (["ssd-table1", "--epochs", "9", "--budget", "9"], "given twice"),
        (["ssd-table1", "--epochs", "9999"], "2 … 500"),
        (["ssd-table1", "--seeds", "6"], "five"),
        (["ssd-table1", "--data", "imagenet"], "no definition"),
        (["ssd-table1", "--neurons", "10"], "--neurons"),
        (["ssd-table1", "--embeddings", "nowhere"], "no such file"),
        (["ssd-table1", "--data", "cifar100"], "neurokd embed"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    words: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["reproduce", *words]) == 2
    captured = capsys.readouterr()
    assert message in captured.err and captured.err.count("\n") == 1 and captured.out == ""
    assert list(tmp_path.iterdir()) == []


def test_help_says_what_a_budget_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", "--help"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "fewer epochs, down to 12, and then by fewer training samples, down to 500" in said
    for name in EXPERIMENTS:
        assert name in said
    assert "fewer epochs of each task, and N_gaba in proportion" in said
    assert "ssd-table1 … 5, ssd-fig2 … 7" in said and len(STREAMS) == 5 + 6
