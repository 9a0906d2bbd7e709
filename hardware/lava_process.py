"""`LavaWorker`: the life of the process that runs Lava, from start to the last trace of it."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from neurokd.errors import BackendFailedError

DEFAULT_TIME_LIMIT_S = 1800.0
_START_LIMIT_S = 120.0
_POLL_S = 0.2
_END_LIMIT_S = 5.0
"""How long a closed worker's processes may take to end by themselves."""
_SHARED_MEMORY = "/dev/shm/"
_STDERR_LINES = 5

Progress = Callable[[int, int], None]
"""Called with (samples done, samples in all)."""


def session_processes(session: int) -> list[int]:
    """Living processes of a session; zombies, which hold nothing, are not among them."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        with contextlib.suppress(OSError):
            # pid (name) state ppid pgrp session …; the name may hold spaces and brackets
            fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
            if fields[0] not in ("Z", "X") and int(fields[3]) == session:
                found.append(int(entry))
    return found


def shared_memory_of(pids: list[int]) -> set[str]:
    """Files of /dev/shm that these processes have mapped."""
    found = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
                path = line[line.find("/") :] if "/" in line else ""
                if path.startswith(_SHARED_MEMORY) and not path.endswith("(deleted)"):
                    found.add(path)
    return found


def describe_exit(code: int | None) -> str:
    """How a process ended, in words."""
    if code is None:
        return "it still runs"
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exit status {code}"


class LavaWorker:
    """Lava in a process of its own, which serves one request after another.

    A context manager. The worker and every process that Lava starts are one session; when the
    worker fails, exceeds a time limit or is closed, all of them and their shared memory are
    removed. A request after a failure starts a new worker. Linux only.

    Units: time limits in seconds. Raises: `BackendFailedError`.
    """

    def __init__(self, python: str | Path, *, time_limit_s: float = DEFAULT_TIME_LIMIT_S) -> None:
        self.python = str(python)
        self.time_limit_s = time_limit_s
        self.lava_version: str | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._stderr: IO[bytes] | None = None
        self._pending = b""
        self._requests = 0
        self._turn = threading.Lock()
        self._shared: set[str] = set()

    def __enter__(self) -> LavaWorker:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The worker's process, which is also its session; None when there is none."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the worker unless it runs."""
        if self._process is not None:
            return
        self._stderr = tempfile.TemporaryFile()
        self._pending = b""
        try:
            self._process = subprocess.Popen(
                # isolated: neither this folder nor PYTHONPATH may shadow what Lava imports
                [self.python, "-I", str(Path(__file__).with_name("lava_worker.py"))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                start_new_session=True,
                env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            )
        except OSError as error:
            self._stderr.close()
            raise BackendFailedError(
                "Lava's interpreter does not start",
                where=self.python,
                found=str(error),
                remedy="see `neurokd lava status`",
            ) from error
        try:
            ready = self._answer(time.monotonic() + _START_LIMIT_S, _START_LIMIT_S)
            self.lava_version = str(ready["lava"])
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the worker; returns when no process and no shared memory of it is left."""
        process, self._process = self._process, None
        if process is None:
            return
        members = session_processes(process.pid)
        shared = shared_memory_of(members) | self._shared
        self._shared = set()
        # With the worker its children die, and Python's resource tracker, which outlives them,
        # unlinks their shared memory; whatever is left after that is removed here.
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # unsent bytes to a dead worker
                    pipe.close()
        deadline = time.monotonic() + _END_LIMIT_S
        while (members := session_processes(process.pid)) and time.monotonic() < deadline:
            time.sleep(0.02)
        shared |= shared_memory_of(members)
        deadline = time.monotonic() + _END_LIMIT_S
        while (members := session_processes(process.pid)) and time.monotonic() < deadline:
            for pid in members:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
        for path in shared:
            Path(path).unlink(missing_ok=True)
        if self._stderr is not None:
            self._stderr.close()
            self._stderr = None
        if members:
            raise BackendFailedError(
                "processes of Lava cannot be ended",
                where="Lava worker",
                found=f"pids {', '.join(map(str, members))}",
            )

    def request(
        self,
        content: dict[str, Any],
        *,
        time_limit_s: float | None = None,
        progress: Progress | None = None,
    ) -> dict[str, Any]:
        """Send one request and wait for its answer; a failed worker is ended before this raises.

        Threads take turns; the time limit runs from a thread's own turn.
        """
        with self._turn:
            return self._request(
                content, self.time_limit_s if time_limit_s is None else time_limit_s, progress
            )

    def _request(
        self, content: dict[str, Any], limit: float, progress: Progress | None
    ) -> dict[str, Any]:
        deadline = time.monotonic() + limit
        self.start()
        assert self._process is not None and self._process.stdin is not None
        self._requests += 1
        line = json.dumps({**content, "id": self._requests}) + "\n"
        try:
            # a worker that died answers with an end of file, which `_answer` explains
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.write(line.encode())
                self._process.stdin.flush()
            while True:
                answer = self._answer(deadline, limit)
                if answer.get("id") != self._requests:
                    continue
                if "shared" in answer:
                    self._shared = set(answer["shared"])
                    continue
                if "ok" not in answer:
                    if progress is not None:
                        progress(int(answer["progress"]), int(answer["samples"]))
                    continue
                break
        except BaseException:
            self.close()
            raise
        if answer["ok"]:
            self._shared = set()  # Lava has removed it
            return answer
        last_words = self._last_words()
        if not answer["usable"]:
            self.close()
        raise BackendFailedError(
            "Lava could not run the network",
            where="Lava worker",
            found="; ".join(part for part in (str(answer["message"]), last_words) if part),
        )

    def _answer(self, deadline: float, limit_s: float) -> dict[str, Any]:
        """The next line of the protocol, as JSON."""
        process = self._process
        assert process is not None and process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._pending:
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    self._fail(f"did not answer within {limit_s:g} s")
                # its children hold the pipe open too, so an exit need not show as an end of file
                exited = process.poll() is not None
                if selector.select(0 if exited else min(_POLL_S, remaining)):
                    chunk = os.read(process.stdout.fileno(), 1 << 16)
                    self._pending += chunk
                    if chunk:
                        continue
                    process.wait()
                    exited = True
                if exited:
                    self._fail(f"ended unexpectedly, {describe_exit(process.poll())}")
        line, _, self._pending = self._pending.partition(b"\n")
        try:
            answer = json.loads(line)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            self._fail(f"answered nonsense, {line[:80]!r}")
        return dict(answer)

    def _fail(self, what: str) -> None:
        last_words = self._last_words()
        raise BackendFailedError(
            f"Lava's worker {what}",
            where="Lava worker",
            found=f"last output: {last_words}" if last_words else "",
        )

    def _last_words(self) -> str:
        """The last lines that the worker or Lava printed."""
        if self._stderr is None:
            return ""
        size = os.fstat(self._stderr.fileno()).st_size
        start = max(0, size - 4096)
        tail = os.pread(self._stderr.fileno(), size - start, start).decode(errors="replace")
        return " | ".join(tail.strip().splitlines()[-_STDERR_LINES:])
