"""Weights of other trainers: what loading takes off their names, and what it does not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from torch import nn

from neurokd.config import ContinualConfig, read_config
from neurokd.errors import FileFormatError, UsageError
from neurokd.run import RunFolder, load_state, newest_run

FILE = Path("weights.th")


class Wrapped(nn.Module):
    """As torch's parallel wrappers hold a network."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module


def test_the_name_of_a_parallel_wrapper_is_taken_off() -> None:
    trained, network = nn.Linear(3, 2), nn.Linear(3, 2)
    load_state(network, Wrapped(trained).state_dict(), FILE)
    assert torch.equal(network.weight, trained.weight)


def test_a_network_that_has_such_a_name_itself_keeps_it() -> None:
    trained, network = Wrapped(nn.Linear(3, 2)), Wrapped(nn.Linear(3, 2))
    load_state(network, trained.state_dict(), FILE)
    assert torch.equal(network.module.weight, trained.module.weight)


def test_a_name_that_only_some_have_is_no_wrapper() -> None:
    state = {"module.weight": torch.zeros(2, 3), "bias": torch.zeros(2)}
    with pytest.raises(FileFormatError, match="do not fit the network.*weight"):
        load_state(nn.Linear(3, 2), state, FILE)


def test_weights_of_a_foreign_network_are_refused_in_few_words() -> None:
    state = {f"layer.{i}.weight": torch.zeros(2, 3) for i in range(40)}
    with pytest.raises(
        FileFormatError, match="do not fit.*weight and 1 more.*and 39 more"
    ) as error:
        load_state(nn.Linear(3, 2), state, FILE)
    assert len(error.value.line()) < 200


@pytest.mark.parametrize("content", [None, "", '{"epoch": ', "[1]", '{"epoch": 1}'])
def test_broken_metrics_are_refused(content: str | None, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    if content is not None:
        folder.metrics.write_text(content)
    with pytest.raises(FileFormatError, match="metrics.jsonl: the file does not end in a line"):
        folder.test_row()


def test_the_last_line_of_the_metrics_is_the_test(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    rows = [{"epoch": 3, "split": s, "accuracy": a} for s, a in (("train", 0.5), ("test", 0.25))]
    folder.write_metrics(rows)
    assert folder.test_row() == {"epoch": 3, "accuracy": 0.25}


def continual(path: Path, name: str = "sdmlp") -> RunFolder:
    config = ContinualConfig.model_validate({"network": {"name": name}})
    folder = RunFolder(path)
    folder.begin(config)
    folder.weights.write_bytes(b"")
    return folder


def test_a_folder_says_which_kind_of_run_it_holds(tmp_path: Path) -> None:
    stream, student = continual(tmp_path / "stream"), RunFolder(tmp_path / "student")
    student.begin(read_config("mnist-student"))
    assert stream.any_config() == stream.continual_config() == ContinualConfig()
    assert student.any_config() == student.config()
    with pytest.raises(UsageError, match="learned a stream"):
        stream.config()
    with pytest.raises(UsageError, match="did not learn a stream"):
        student.continual_config()
    for read in (RunFolder(tmp_path).config, RunFolder(tmp_path).any_config):
        with pytest.raises(FileFormatError, match="not a run folder"):
            read()


def test_the_newest_run_is_one_from_which_something_is_deployed(tmp_path: Path) -> None:
    for age, name in enumerate(("fly", "sdmlp", "mlp")):
        folder = continual(tmp_path / name, name)
        os.utime(folder.weights, ns=(0, 10**9 * (10 - age)))
    assert newest_run(tmp_path).path.name == "sdmlp"
    with pytest.raises(UsageError, match="no trained run"):
        newest_run(tmp_path / "nowhere")
