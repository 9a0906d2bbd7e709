import hashlib
import json
from pathlib import Path

import pytest
import torch
from torch import nn

from neurokd.config import read_config
from neurokd.errors import FileFormatError, UsageError
from neurokd.run import RunFolder
from neurokd.training import train
from neurokd.training.teacher_record import (
    RECORD,
    record_teacher,
    require_same_teacher,
    teacher_fingerprint,
)


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))


def test_a_fingerprint_is_that_of_the_file_of_the_weights(tmp_path: Path) -> None:
    folder, teacher = RunFolder(tmp_path), network()
    folder.save_model(teacher)
    expected = hashlib.sha256(folder.weights.read_bytes()).hexdigest()
    assert teacher_fingerprint(teacher) == expected == folder.fingerprint()


def test_a_fingerprint_depends_on_weights_and_buffers() -> None:
    one, other = network(), network()
    assert teacher_fingerprint(one) == teacher_fingerprint(other)
    other[1].running_mean += 1e-6  # type: ignore[operator]
    assert teacher_fingerprint(one) != teacher_fingerprint(other)
    assert teacher_fingerprint(one) != teacher_fingerprint(network(seed=1))


def test_a_run_goes_on_with_its_own_teacher_only(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    record_teacher(folder, network(), "weights.th")
    require_same_teacher(folder, network())
    require_same_teacher(folder, None)  # a run without a teacher is another configuration
    with pytest.raises(UsageError, match=r"another teacher.*of weights\.th.*--teacher"):
        require_same_teacher(folder, network(seed=1))
    record_teacher(folder, None, None)
    assert not (tmp_path / RECORD).exists()


@pytest.mark.parametrize("content", [None, "", "[]", "{}", '{"source": null}'])
def test_a_run_without_a_record_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / RECORD).write_text(content)
    with pytest.raises(FileFormatError, match="does not say which teacher.*without --resume"):
        require_same_teacher(RunFolder(tmp_path), network())


@pytest.mark.training
def test_an_interrupted_run_refuses_another_teacher(tiny: list[str], tmp_path: Path) -> None:
    teacher = train(read_config("mnist-teacher", tiny), RunFolder(tmp_path / "teacher"))
    config, folder = read_config("mnist-student", tiny), RunFolder(tmp_path / "run")

    def stop(done: int, total: int, note: str) -> None:
        if done == total - 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, folder, teacher=teacher, teacher_source="runs/teacher", progress=stop)
    record = json.loads((folder.path / RECORD).read_text())
    fingerprint = RunFolder(tmp_path / "teacher").fingerprint()
    assert record == {"source": "runs/teacher", "sha256": fingerprint}
    other = read_config("mnist-teacher", [*tiny, "recipe.epochs=1"])
    with pytest.raises(UsageError, match="another teacher.*of runs/teacher"):
        train(config, folder, teacher=train(other, RunFolder(tmp_path / "other")), resume=True)
    train(config, folder, teacher=teacher, resume=True)
    assert json.loads((folder.path / RECORD).read_text()) == record
