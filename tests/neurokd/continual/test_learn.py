"""The loop over a stream: what it leaves behind, and that no kill changes it."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from neurokd.cli.app import main
from neurokd.config import ContinualConfig
from neurokd.continual.learn import Job, learn, learn_together
from neurokd.data import load_data
from neurokd.errors import FileFormatError, NeurokdError, UsageError
from neurokd.run import RunFolder

pytestmark = pytest.mark.training

SMALL = {"learning": {"epochs": 3, "batch_size": 16}, "seed": 1}
SDMLP = {"name": "sdmlp", "sizes": [64], "k": 4, "switch_samples": 150}


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Six classes of real digits, a few of each."""
    folder = tmp_path_factory.mktemp("digits")
    for split, most in (("train", 25), ("test", 12)):
        data = load_data(f"mnist-subset:{split}")
        chosen = np.concatenate([np.flatnonzero(data.y == c)[:most] for c in range(6)])
        np.savez(folder / f"{split}.npz", x=data.x[chosen], y=data.y[chosen])
    return str(folder)


def config_of(digits: str, **changes: object) -> ContinualConfig:
    values = {"data": digits, **SMALL, "network": SDMLP, "ssd": {}}
    return ContinualConfig.model_validate(values | changes)


def test_a_stream_leaves_a_complete_run_folder(digits: str, tmp_path: Path) -> None:
    config = config_of(digits, learning=SMALL["learning"] | {"evaluate_every": 2})  # type: ignore[operator]
    folder = RunFolder(tmp_path / "run")
    told: list[tuple[int, int, str]] = []
    summary = learn(config, folder, progress=lambda *words: told.append(words))

    assert json.loads((folder.path / "continual.json").read_text()) == summary
    assert summary["tasks"] == [[0, 1], [2, 3], [4, 5]]
    matrix = np.array(summary["matrix"])
    assert matrix.shape == (3, 3) and ((matrix >= 0) & (matrix <= 1)).all()
    assert matrix[0, 0] > 0.6 and (matrix[0, 1:] < 0.1).all()  # nothing is known of later tasks
    bwt = ((matrix[2, 0] - matrix[0, 0]) + (matrix[2, 1] - matrix[1, 1])) / 2
    assert summary["bwt"] == pytest.approx(bwt)
    assert summary["val_acc"] == pytest.approx(matrix[2].mean())  # tests are of equal size
    rows = [json.loads(line) for line in folder.metrics.read_text().splitlines()]
    splits = [row["split"] for row in rows]
    assert splits.count("train") == 9 and splits.count("test") == splits.count("probe") == 6
    assert rows[-1]["split"] == "test" and rows[-1]["accuracy"] == pytest.approx(matrix[2].mean())
    after_first = next(r for r in rows if r["split"] == "test" and r["task_epoch"] == 3)
    assert after_first["accuracy"] == pytest.approx(matrix[0, 0] / 3)  # of three tasks one is seen
    assert [t[0] for t in told] == list(range(1, 10)) and {t[1] for t in told} == {9}
    final = load_file(folder.weights)
    last = load_file(folder.path / "tasks" / "2.safetensors")
    assert final.keys() == last.keys()
    assert all(torch.equal(final[name], last[name]) for name in final)


def test_joint_training_has_one_task(digits: str, tmp_path: Path) -> None:
    summary = learn(config_of(digits, ssd=None, joint=True), RunFolder(tmp_path / "run"))
    assert summary["tasks"] == [[0, 1, 2, 3, 4, 5]] and summary["bwt"] is None
    assert len(summary["matrix"]) == 1


def test_a_validation_split_has_a_matrix_of_its_own(digits: str, tmp_path: Path) -> None:
    config = config_of(digits, learning=SMALL["learning"] | {"validation": 0.2})  # type: ignore[operator]
    summary = learn(config, RunFolder(tmp_path / "run"))
    assert np.array(summary["validation_matrix"]).shape == (3, 3)


def test_another_seed_gives_another_network_and_the_same_one_the_same(
    digits: str, tmp_path: Path
) -> None:
    folders = [RunFolder(tmp_path / name) for name in "abc"]
    for folder, seed in zip(folders, (1, 1, 2), strict=True):
        learn(config_of(digits, seed=seed), folder)
    prints = [folder.fingerprint() for folder in folders]
    assert prints[0] == prints[1] != prints[2]


def test_what_cannot_be_resumed_is_refused(digits: str, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    with pytest.raises(FileFormatError, match="nothing to resume"):
        learn(config_of(digits), folder, resume=True)
    summary = learn(config_of(digits), folder)
    assert learn(config_of(digits), folder, resume=True) == summary  # it is finished
    with pytest.raises(UsageError, match="another configuration"):
        learn(config_of(digits, seed=5), folder, resume=True)
    folder.checkpoint.write_bytes(folder.checkpoint.read_bytes()[:100])
    with pytest.raises(FileFormatError, match="not a complete checkpoint"):
        learn(config_of(digits), folder, resume=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"per_task": 4}, "divide"),
        ({"tasks": 4}, "not so many tasks"),
        ({"network": {"name": "sdmlp", "sizes": [8], "k": 9}}, "smaller than every layer"),
        ({"network": {"name": "mlp"}}, "Top-K"),
        ({"joint": True}, "no method"),
        ({"data": "nowhere"}, "unknown data set"),
        ({"engine": "sparse", "si": {}}, "sparse engine"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(
    changes: dict[str, object], message: str, digits: str, tmp_path: Path
) -> None:
    with pytest.raises((NeurokdError, ValueError), match=message):
        learn(config_of(digits, **changes), RunFolder(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


LIVES = Path(__file__).resolve().parents[1] / "killed_lives.py"
MLP = ("network.name=mlp", "network.sizes=[32]", "network.dropout=0.1", "learning.momentum=0.9")
TOP_K = ("network.sizes=[64]", "network.k=4", "network.switch_samples=150")


@pytest.mark.parametrize(
    ("kills", "values"),
    [
        pytest.param(3, [*TOP_K, "ssd.n=8"], id="ssd"),
        pytest.param(3, [*MLP, "ewc.weight=50", "si.weight=5"], id="ewc-si"),
        pytest.param(5, [*MLP, "icarl.exemplars=12"], id="icarl", marks=pytest.mark.slow),
        pytest.param(20, [*TOP_K, "ssd.hidden=pre"], id="ssd-pre", marks=pytest.mark.slow),
        pytest.param(
            5, [*TOP_K, "ssd.n=8", "ewc.weight=50"], id="ssd-ewc", marks=pytest.mark.slow
        ),
        pytest.param(
            5, [*MLP, "mas.weight=1", "lwf.weight=1"], id="mas-lwf", marks=pytest.mark.slow
        ),
        pytest.param(
            5, ["network.name=fly", "network.sizes=[200]"], id="fly", marks=pytest.mark.slow
        ),
    ],
)  # fmt: skip
def test_killed_and_resumed_until_it_is_done(
    kills: int, values: list[str], digits: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "stream.toml").write_text('role = "continual"\n')
    every = [f"data={json.dumps(digits)}", "learning.epochs=4", "learning.batch_size=16", *values]
    words = ["continual", str(tmp_path / "stream.toml"), *(w for v in every for w in ("--set", v))]
    assert main([*words, "--out", str(tmp_path / "whole")]) == 0
    cut, whole = RunFolder(tmp_path / "cut"), RunFolder(tmp_path / "whole")
    moments = random.Random(0)
    ends = [*(moments.randint(2, 14) for _ in range(kills)), 0]  # the last one is not killed
    command = [sys.executable, str(LIVES), str(cut.path), ",".join(map(str, ends)), *words]
    said = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    statuses = [line for line in said.stderr.splitlines() if line.lstrip("-").isdigit()]
    assert statuses[-1] == "0" and statuses.count(str(-signal.SIGKILL)) >= kills // 2, said.stderr
    assert cut.fingerprint() == whole.fingerprint()
    assert (cut.path / "continual.json").read_text() == (whole.path / "continual.json").read_text()
    assert not list(cut.path.glob(".*"))


def test_a_run_killed_at_its_very_first_file_can_be_begun_again(
    digits: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "stream.toml").write_text(f'role = "continual"\ndata = {json.dumps(digits)}\n')
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".config.toml.abcd").write_text("half")
    words = ["continual", str(tmp_path / "stream.toml"), "--out", str(tmp_path / "run")]
    assert main([*words, "--json", "--set", "learning.epochs=1", "--set", "tasks=1"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["bwt"] is None and answer["val_acc"] == answer["matrix"][0][0]
    assert not list((tmp_path / "run").glob(".*"))


def test_streams_that_learn_together_have_the_bits_of_each_alone(
    digits: str, tmp_path: Path
) -> None:
    """Three that step together, of different orders and losses, one that does so in the first task,
    one by itself, since all its weights move, and one of another engine."""
    configs = [
        config_of(digits, order=3),
        config_of(digits, ssd={"alpha": 0.4, "n": 5}),
        config_of(digits, ssd=None, learning=SMALL["learning"] | {"epochs": 2}),  # type: ignore[operator]
        config_of(digits, ewc={}),
        config_of(digits, learning=SMALL["learning"] | {"momentum": 0.5}),  # type: ignore[operator]
        config_of(digits, si={}),
    ]
    alone = [RunFolder(tmp_path / f"alone{i}") for i in range(6)]
    together = [RunFolder(tmp_path / f"together{i}") for i in range(6)]
    told: list[tuple[int, int, str]] = []
    jobs = [Job(config, folder) for config, folder in zip(configs, together, strict=True)]
    summaries = learn_together(jobs, lambda *words: told.append(words))
    assert summaries == [learn(c, folder) for c, folder in zip(configs, alone, strict=True)]
    assert [f.fingerprint() for f in together] == [f.fingerprint() for f in alone]
    assert told[-1][:2] == (51, 51)  # five of 9 epochs, one of 6
    resumed = [Job(job.config, job.folder, resume=True) for job in jobs]
    assert learn_together(resumed) == summaries


def test_nothing_is_written_if_one_of_several_cannot_begin(digits: str, tmp_path: Path) -> None:
    jobs = [
        Job(config_of(digits), RunFolder(tmp_path / "a")),
        Job(config_of(digits, tasks=4), RunFolder(tmp_path / "b")),
    ]
    with pytest.raises(UsageError, match="not so many tasks"):
        learn_together(jobs)
    assert list(tmp_path.iterdir()) == []


def test_orders_are_learned_from_one_command(
    digits: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "s.toml").write_text(f'role = "continual"\ndata = {json.dumps(digits)}\n')
    words = ["continual", str(tmp_path / "s.toml"), "--set", "learning.epochs=2"]
    words += ["--set", "learning.batch_size=16", "--out", str(tmp_path / "all")]
    assert main([*words, "--orders", "ordinal,3", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    values = [run["val_acc"] for run in answer["runs"]]
    assert answer["val_acc"]["mean"] == pytest.approx(sum(values) / 2) and len(values) == 2
    assert {path.name for path in (tmp_path / "all").iterdir()} == {"order-ordinal", "order-3"}
    # one more order: what is finished stays, what is new begins
    assert main([*words, "--orders", "ordinal,3,15", "--resume"]) == 0
    assert "3 orders, in points: Val.Acc " in capsys.readouterr().out
    assert main([*words, "--orders", "ordinal,x"]) == 2
    assert "no order of the classes" in capsys.readouterr().err
