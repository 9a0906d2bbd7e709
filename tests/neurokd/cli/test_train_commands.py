import json
import shutil
from pathlib import Path

import pytest

from neurokd.cli.app import main
from neurokd.run import RunFolder, newest_run

pytestmark = pytest.mark.training


def _set(values: list[str]) -> list[str]:
    return [word for value in values for word in ("--set", value)]


def test_teach_train_and_resume(
    tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher, student = tmp_path / "teacher", tmp_path / "student"
    assert main(["teach", "mnist-teacher", *_set(tiny), "--out", str(teacher), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["run"] == str(teacher) and 0 <= answer["test_accuracy"] <= 1
    words = ["train", "mnist-student", *_set(tiny), "--out", str(student)]
    assert main([*words, "--teacher", str(teacher)]) == 0
    before = RunFolder(student).fingerprint()
    assert main([*words, "--teacher", str(teacher), "--resume"]) == 0  # nothing is left to do
    assert RunFolder(student).fingerprint() == before
    assert not (student / "teacher").exists()


def test_train_brings_its_own_teacher(tiny: list[str], tmp_path: Path) -> None:
    run = tmp_path / "student"
    words = ["--set", "recipe.epochs=1", "--set", "teacher=" + str(tmp_path / "lesson.toml")]
    values = "\n".join(v for v in tiny if not v.startswith("data="))
    (tmp_path / "lesson.toml").write_text(f'role = "teacher"\n{values}\n')
    assert main(["train", "mnist-student", *_set(tiny), *words, "--out", str(run)]) == 0
    assert (run / "teacher" / "model.safetensors").is_file()
    assert RunFolder(run / "teacher").config().data == RunFolder(run).config().data


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "mnist-teacher"], "neurokd teach"),
        (["teach", "mnist-student"], "neurokd train"),
        (["train", "nothing.toml"], "no such configuration"),
        (["train", "mnist-student", "--set", "recipe.epoch=1"], "unknown key"),
        (["train", "mnist-student", "--teacher", "nowhere"], "not a run folder"),
        (["train", "mnist-student-alone", "--teacher", "nowhere"], "without distillation"),
        (["train", "mnist-student-alone", "--resume"], "nothing to resume"),
        (["train", "mnist-student-alone", "--set", "data=nowhere"], "unknown data set"),
        (["train", "mnist-student-alone", "--set", "data=imagenet"], "unknown data set"),
        (["train"], "Missing argument"),
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
    assert main(words) == 2
    captured = capsys.readouterr()
    assert message in captured.err and captured.err.count("\n") == 1 and captured.out == ""
    assert list(tmp_path.iterdir()) == []


def test_a_teacher_must_not_be_a_student(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.toml").write_text('role = "student"\n')
    words = ["train", "mnist-student", "--teacher", str(tmp_path), "--out", str(tmp_path / "run")]
    assert main(words) == 2
    err = capsys.readouterr().err
    assert "this run trained a student" in err and "`neurokd teach` makes one" in err
    assert not (tmp_path / "run").exists()


def test_a_finished_run_with_broken_metrics_is_named(
    tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "mnist-student-alone", *_set(tiny), "--out", str(tmp_path / "run")]
    assert main(words) == 0
    RunFolder(tmp_path / "run").metrics.write_text('{"epoch": ')
    capsys.readouterr()
    assert main([*words, "--resume"]) == 2
    assert "metrics.jsonl: the file does not end in a line" in capsys.readouterr().err


def test_a_folder_with_something_else_is_not_touched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    assert main(["train", "mnist-student-alone", "--out", str(tmp_path)]) == 2
    assert "something else" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_teacher_may_be_a_file_of_weights(tiny: list[str], tmp_path: Path) -> None:
    lesson = tmp_path / "lesson.toml"
    values = "\n".join(tiny)
    lesson.write_text(f'role = "teacher"\n{values}\n')
    assert main(["teach", str(lesson), "--out", str(tmp_path / "teacher")]) == 0
    weights = str(tmp_path / "teacher" / "model.safetensors")
    runs = []
    for name, given in (("a", weights), ("b", str(tmp_path / "teacher"))):
        words = ["train", "mnist-student", *_set(tiny), "--set", f"teacher={lesson}"]
        assert main([*words, "--teacher", given, "--out", str(tmp_path / name)]) == 0
        runs.append(RunFolder(tmp_path / name).fingerprint())
    assert runs[0] == runs[1]


def test_the_newest_run_is_a_students(
    tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", "mnist-student-alone", *_set(tiny)]) == 0
    assert main(["teach", "mnist-teacher", *_set(tiny)]) == 0
    assert newest_run().path.name == "mnist-student-alone"


def test_nothing_that_was_trained_is_overwritten(
    tiny: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["train", "mnist-student-alone", *_set(tiny)]
    assert main(words) == 0 and main(words) == 0
    runs = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert runs == ["mnist-student-alone", "mnist-student-alone-2"]
    before = RunFolder(tmp_path / "runs" / runs[0]).fingerprint()
    assert main([*words, "--out", f"runs/{runs[0]}"]) == 2
    assert "holds a run already" in capsys.readouterr().err
    assert RunFolder(tmp_path / "runs" / runs[0]).fingerprint() == before
    assert main([*words, "--resume"]) == 0  # the last one, where nothing is left to do
    assert len(list((tmp_path / "runs").iterdir())) == 2


@pytest.mark.parametrize("moment", ["teacher", "between"])
def test_a_run_killed_before_its_first_checkpoint_goes_on(
    moment: str, tiny: list[str], tmp_path: Path
) -> None:
    """Killed while the teacher was trained, or before the student's first epoch was over."""
    lesson, run = tmp_path / "lesson.toml", tmp_path / "run"
    values = "\n".join(tiny)
    lesson.write_text(f'role = "teacher"\n{values}\n')
    words = ["train", "mnist-student", *_set(tiny), "--set", f"teacher={lesson}"]
    assert main([*words, "--out", str(tmp_path / "whole")]) == 0
    shutil.copytree(tmp_path / "whole" / "teacher", run / "teacher")
    if moment == "teacher":
        (run / "teacher" / "model.safetensors").unlink()
    else:
        shutil.copy(tmp_path / "whole" / "config.toml", run)
        (run / ".metrics.jsonl.abcdefgh").write_text("half a li")
    assert main([*words, "--out", str(run), "--resume"]) == 0
    assert RunFolder(run).fingerprint() == RunFolder(tmp_path / "whole").fingerprint()
    assert not list(run.glob(".*"))
