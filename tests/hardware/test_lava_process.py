"""The worker's life: requests, kills, hangs, a dead parent; and nothing stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neurokd.errors import BackendFailedError
from neurokd.hardware.lava_backend import simulate_lava
from neurokd.hardware.lava_process import (
    LavaWorker,
    describe_exit,
    session_processes,
    shared_memory_of,
)
from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.population import InputPopulation, LIFPopulation
from neurokd.hardware.projection import DenseProjection

SHM = Path("/dev/shm")
LONG = 200_000
"""Steps that no machine runs through before the test has done what it is about."""


def small_net() -> DeployedNetwork:
    bias = np.zeros(3, dtype=np.int32)
    return DeployedNetwork(
        (
            InputPopulation("in", (2,)),
            LIFPopulation("out", (3,), du=4095, dv=100, vth=100, bias_mant=bias),
        ),
        (DenseProjection("w", "in", "out", np.full((3, 2), 200, dtype=np.int32)),),
        "out",
        "loihi2",
        4,
    )


def ones(steps: int) -> np.ndarray[Any, np.dtype[np.int32]]:
    return np.ones((steps, 1, 2), dtype=np.int32)


def orphans() -> set[str]:
    """Shared memory that no living process has mapped: another Lava may run on this machine."""
    there = {str(path) for path in SHM.iterdir()}
    living = [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]
    return there - shared_memory_of(living)


def left_behind(before: set[str]) -> set[str]:
    """What of the shared memory is still there once Python's resource tracker, which outlives a
    killed worker for a moment, has had its time."""
    deadline = time.monotonic() + 10
    while (left := orphans() - before) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


@pytest.fixture
def worker(lava_python: str) -> Iterator[LavaWorker]:
    """A worker of the test's own; afterwards nothing of it may be left."""
    before = orphans()
    worker = LavaWorker(lava_python, time_limit_s=120)
    worker.start()
    session = worker.pid
    assert session is not None
    yield worker
    worker.close()
    assert session_processes(session) == []
    assert left_behind(before) == set()


def children(session: int) -> list[int]:
    """The worker's own children that run Lava."""
    found = []
    for pid in session_processes(session):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        if int(fields[1]) == session and b"resource_tracker" not in command:
            found.append(pid)
    return sorted(found)


def when_running(worker: LavaWorker, action: Callable[[int], None]) -> threading.Thread:
    """Do something to the worker as soon as Lava runs in it."""
    session = worker.pid
    assert session is not None

    def wait_and_act() -> None:
        deadline = time.monotonic() + 60
        while len(children(session)) < 6 and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(1.0)
        action(session)

    thread = threading.Thread(target=wait_and_act)
    thread.start()
    return thread


@pytest.mark.lava
def test_a_worker_that_is_killed_says_so_and_leaves_nothing(worker: LavaWorker) -> None:
    killer = when_running(worker, lambda session: os.kill(session, signal.SIGKILL))
    session = worker.pid
    assert session is not None
    with pytest.raises(BackendFailedError, match="ended unexpectedly, killed by SIGKILL"):
        simulate_lava(small_net(), ones(LONG), worker=worker)
    killer.join()
    assert session_processes(session) == []
    # the next request finds a new worker
    assert simulate_lava(small_net(), ones(3), worker=worker).output.shape == (3, 1, 3)


@pytest.mark.lava
@pytest.mark.slow
@pytest.mark.parametrize("which", [0, -1, 3])
def test_a_child_that_is_killed_is_noticed_at_once(worker: LavaWorker, which: int) -> None:
    began = time.monotonic()
    killer = when_running(worker, lambda s: os.kill(children(s)[which], signal.SIGKILL))
    with pytest.raises(
        BackendFailedError, match=r"ended during the run: pid \d+ killed by SIGKILL"
    ):
        simulate_lava(small_net(), ones(LONG), worker=worker, time_limit_s=100)
    killer.join()
    assert time.monotonic() - began < 30


@pytest.mark.lava
@pytest.mark.slow
@pytest.mark.parametrize("stop_worker", [True, False])
def test_a_hang_ends_at_the_time_limit(worker: LavaWorker, stop_worker: bool) -> None:
    def stop(session: int) -> None:
        os.kill(session if stop_worker else children(session)[-1], signal.SIGSTOP)

    stopper = when_running(worker, stop)
    began = time.monotonic()
    with pytest.raises(BackendFailedError, match="did not answer within 6 s"):
        simulate_lava(small_net(), ones(LONG), worker=worker, time_limit_s=6)
    stopper.join()
    assert time.monotonic() - began < 15


@pytest.mark.lava
def test_a_request_that_lava_refuses_is_an_error_with_its_words(
    worker: LavaWorker, tmp_path: Path
) -> None:
    request = {"network": str(tmp_path / "none"), "input": "", "folder": str(tmp_path)}
    with pytest.raises(BackendFailedError, match="No such file"):
        worker.request(request | {"steps": 1, "samples": 1, "record": []})
    assert simulate_lava(small_net(), ones(3), worker=worker).output.shape == (3, 1, 3)


@pytest.mark.lava
def test_threads_take_turns(worker: LavaWorker) -> None:
    shapes: list[tuple[int, ...]] = []

    def run(steps: int) -> None:
        shapes.append(simulate_lava(small_net(), ones(steps), worker=worker).output.shape)

    threads = [threading.Thread(target=run, args=(steps,)) for steps in (2, 3, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(shapes) == [(2, 1, 3), (3, 1, 3), (4, 1, 3)]


@pytest.mark.lava
@pytest.mark.slow
def test_twenty_requests_leak_nothing(worker: LavaWorker) -> None:
    session = worker.pid
    assert session is not None

    def holdings() -> tuple[int, int, int, int]:
        descriptors = len(os.listdir(f"/proc/{session}/fd"))
        threads = len(os.listdir(f"/proc/{session}/task"))
        processes = session_processes(session)
        return len(processes), descriptors, threads, len(shared_memory_of(processes))

    for _ in range(2):
        simulate_lava(small_net(), ones(3), worker=worker)
    before = holdings()
    own = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        simulate_lava(small_net(), ones(3), worker=worker)
    assert worker.pid == session
    assert holdings() == before
    assert len(os.listdir("/proc/self/fd")) == own


@pytest.mark.lava
def test_a_parent_that_is_killed_takes_all_with_it(lava_python: str, tmp_path: Path) -> None:
    before = orphans()
    script = textwrap.dedent(
        f"""
        import sys
        sys.path[:0] = {sys.path!r}
        from importlib.util import module_from_spec, spec_from_file_location
        spec = spec_from_file_location("life", {__file__!r})
        life = module_from_spec(spec)
        spec.loader.exec_module(life)
        with life.LavaWorker({lava_python!r}) as worker:
            print(worker.pid, flush=True)
            life.simulate_lava(life.small_net(), life.ones(life.LONG), worker=worker)
        """
    )
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    ) as parent:
        assert parent.stdout is not None
        session = int(parent.stdout.readline())
        deadline = time.monotonic() + 60
        while len(children(session)) < 6 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert len(children(session)) >= 6
        parent.kill()
    deadline = time.monotonic() + 20
    while session_processes(session) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert session_processes(session) == []
    assert left_behind(before) == set()


def test_an_interpreter_that_does_not_exist() -> None:
    with pytest.raises(BackendFailedError, match="/nowhere/python.*does not start"):
        LavaWorker("/nowhere/python").start()


def test_an_interpreter_without_lava_fails_with_its_last_words(tmp_path: Path) -> None:
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\necho something is missing >&2\nexit 3\n")
    fake.chmod(0o755)
    with pytest.raises(BackendFailedError, match="exit status 3.*something is missing"):
        LavaWorker(fake).start()


def test_an_interpreter_that_answers_nonsense(tmp_path: Path) -> None:
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\necho hello\nexec sleep 60\n")
    fake.chmod(0o755)
    worker = LavaWorker(fake)
    with pytest.raises(BackendFailedError, match="nonsense.*hello"):
        worker.start()
    assert worker.pid is None


@pytest.mark.parametrize(
    ("code", "words"), [(-9, "killed by SIGKILL"), (2, "exit status 2"), (None, "it still runs")]
)
def test_exits_in_words(code: int | None, words: str) -> None:
    assert describe_exit(code) == words
