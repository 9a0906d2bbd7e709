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

LIVES = Path(__file__).resolve().parents[1] / "killed_lives.py"

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
    ends = [*(moments.randint(1, 12) for _ in range(kills)), 0]  # the last one is not killed
    command = [sys.executable, str(LIVES), str(cut.path), ",".join(map(str, ends)), *words]
    said = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    statuses = [line for line in said.stderr.splitlines() if line.lstrip("-").isdigit()]
    assert statuses == [*[str(-signal.SIGKILL)] * kills, "0"], said.stderr
    assert cut.fingerprint() == RunFolder(tmp_path / "whole").fingerprint()
    assert not list(cut.path.glob(".*"))
