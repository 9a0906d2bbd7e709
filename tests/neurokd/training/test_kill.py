"""A training that is killed at any moment goes on to the same weights, bit for bit."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from neurokd.cli.app import main
from neurokd.run import RunFolder

pytestmark = [pytest.mark.slow, pytest.mark.training]


def test_killed_and_resumed_until_it_is_done(
    tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = [*tiny, "recipe.epochs=8"]
    words = ["train", "mnist-student-alone", *(w for v in values for w in ("--set", v))]
    assert main([*words, "--out", str(tmp_path / "whole")]) == 0
    cut = RunFolder(tmp_path / "cut")
    command = [sys.executable, "-m", "neurokd", *words, "--out", str(cut.path)]
    moments, kills = random.Random(0), 0
    while not cut.weights.exists():
        resume = ["--resume"] if cut.checkpoint.exists() else []
        process = subprocess.Popen([*command, *resume], stderr=subprocess.DEVNULL)
        before = cut.metrics.read_text().count("\n") if cut.metrics.exists() else 0
        # wait for the first new epoch, so that every round gets on, then kill somewhere in the next
        while process.poll() is None:
            if cut.metrics.exists() and cut.metrics.read_text().count("\n") > before:
                time.sleep(moments.uniform(0, 0.5))
                break
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
    assert kills >= 2
    assert cut.fingerprint() == RunFolder(tmp_path / "whole").fingerprint()
