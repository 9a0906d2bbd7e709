"""A training that is killed at any moment goes on to the same weights, bit for bit."""

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from neurokd.cli.app import main
from neurokd.run import RunFolder

pytestmark = pytest.mark.training

# Kills itself just before its N-th operation on a file of the run: no clock decides where.
CHILD = """
import os, signal, sys
left, folder = int(sys.argv.pop(1)), sys.argv.pop(1)
def count(event, arguments):
    global left
    writes = event in ("open", "os.rename", "os.mkdir", "os.remove")
    if writes and str(arguments[0]).startswith(folder):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(count)
from neurokd.cli.app import main
sys.exit(main(sys.argv[1:]))
"""


# Everything that a checkpoint has to hold, and torch's global generator besides.
EVERYTHING = (
    "recipe.optimizer=sgd",
    "recipe.schedule=cosine",
    "recipe.warmup_epochs=1",
    "recipe.learning_rate=0.05",
    "recipe.clip_norm=1.0",
    "recipe.label_smoothing=0.1",
    "recipe.mixup=0.5",
    "recipe.ema=0.9",
    "recipe.validation=0.2",
    "recipe.keep=best",
    "augment.flip=true",
    "augment.erasing=0.5",
)


@pytest.mark.parametrize(
    ("kills", "epochs"), [(3, 4), pytest.param(20, 24, marks=pytest.mark.slow)]
)
def test_killed_and_resumed_until_it_is_done(
    kills: int, epochs: int, tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = [*tiny, *EVERYTHING, f"recipe.epochs={epochs}"]
    words = ["train", "mnist-student-alone", *(w for v in values for w in ("--set", v))]
    assert main([*words, "--out", str(tmp_path / "whole")]) == 0
    cut = RunFolder(tmp_path / "cut")
    moments = random.Random(0)
    for _ in range(kills):
        assert _train(moments.randint(1, 12), cut, words) == -signal.SIGKILL
    assert _train(0, cut, words) == 0
    assert cut.fingerprint() == RunFolder(tmp_path / "whole").fingerprint()
    assert not list(cut.path.glob(".*"))


def _train(kill_at: int, run: RunFolder, words: list[str]) -> int:
    """Start or resume the run in a process of its own; its exit status."""
    resume = ["--resume"] if run.checkpoint.exists() else []
    command = [sys.executable, "-c", CHILD, str(kill_at), str(run.path), *words]
    child = subprocess.run([*command, "--out", str(run.path), *resume], stderr=subprocess.DEVNULL)
    return child.returncode
