"""Real processes: what they give back, and that none is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

from neurokd.errors import UsageError
from neurokd.reproduce.pool import Done
from neurokd.reproduce.process_pool import ProcessPool

TASKS = """
import os, signal, time
from dataclasses import dataclass
from pathlib import Path
from neurokd.errors import UsageError

@dataclass(frozen=True)
class Work:
    key: str
    what: str
    path: Path = Path()

    def run(self):
        if self.what == "threads":
            import torch
            return torch.get_num_threads()
        if self.what == "refuse":
            raise UsageError("no", where="here", remedy="yes")
        if self.what == "bug":
            return {}["missing"]
        if self.what == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.what == "stay":
            part = self.path / "part"
            part.write_text(str(os.getpid()))
            part.rename(self.path / "pid")
            while True:
                time.sleep(3600)
"""


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Tasks in a module that workers can import, too."""
    import importlib

    (tmp_path / "pool_work.py").write_text(TASKS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "pool_work", raising=False)
    return importlib.import_module("pool_work")


def test_results_and_failures_come_back(work: ModuleType) -> None:
    with ProcessPool(2, threads=1) as pool:
        for what in ("refuse", "die", "bug", "threads"):
            pool.submit(work.Work(f"{what}", what))
        done: dict[str, list[Done]] = {}
        for _ in range(4):
            one = pool.next_done()
            done.setdefault(one.key, []).append(one)
    assert [one.result for one in done["threads"]] == [1]  # after a worker was lost
    refused = done["refuse"][0].failure
    assert refused is not None and isinstance(refused.error, UsageError)
    assert refused.line == "here: no; yes" == refused.error.line()
    lost = done["die"][0].failure
    assert lost is not None and "SIGKILL" in lost.line and lost.error is None
    bug = done["bug"][0].failure
    assert bug is not None and "KeyError: 'missing'" in bug.traceback and "bug" in bug.line


def test_leaving_stops_what_is_under_way(work: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), ProcessPool(1) as pool:
        pool.submit(work.Work("stay", "stay", tmp_path))
        pid = _pid_in(tmp_path)
        raise KeyboardInterrupt
    assert not _lives(pid)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_no_worker_outlives_its_parent(
    end: signal.Signals, work: ModuleType, tmp_path: Path
) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from pathlib import Path; import pool_work, signal\n"
        # a shell starts what runs in its background with interrupts ignored
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from neurokd.reproduce.process_pool import ProcessPool\n"
        "with ProcessPool(1) as pool:\n"
        f"    pool.submit(pool_work.Work('stay', 'stay', Path({str(tmp_path)!r})))\n"
        "    pool.next_done()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    pid = _pid_in(tmp_path)
    if end == signal.SIGINT:
        os.killpg(parent.pid, end)  # as Ctrl-C: all processes of the group get it
    else:
        parent.send_signal(end)
    said = parent.communicate(timeout=60)[1]
    assert parent.returncode != 0 and "SpawnProcess" not in said  # the worker's own complaint
    deadline = time.monotonic() + 60
    while _lives(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _lives(pid)


def _pid_in(folder: Path) -> int:
    deadline = time.monotonic() + 120
    while not (folder / "pid").is_file():
        assert time.monotonic() < deadline, "the worker did not begin"
        time.sleep(0.05)
    return int((folder / "pid").read_text())


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    # Ended, and only waiting for init to notice, is not alive.
    return not state.is_file() or state.read_text().rpartition(")")[2].split()[0] != "Z"
