"""`ProcessPool`: tasks on processes of this machine, which never outlive the one that asked."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import TracebackType

from neurokd.parent_process import end_with_parent
from neurokd.reproduce.pool import Done, Failure, Pool, Task, perform

_GRACE_SECONDS = 5


@dataclass
class _Worker:
    process: SpawnProcess
    connection: Connection
    task: Task | None = None
    since: float = 0.0


class ProcessPool(Pool):
    """Spawned processes with ``threads`` torch threads each, started as they are needed.

    A worker that is lost costs only the task it had. Ctrl-C reaches this process alone, which then
    stops the workers; should it be killed itself, they end at once.
    """

    def __init__(self, workers: int, threads: int = 1) -> None:
        self._limit = workers
        self._threads = threads
        self._workers: list[_Worker] = []
        self._queue: deque[Task] = deque()

    def __enter__(self) -> ProcessPool:
        return self

    @property
    def workers(self) -> int:
        """How many tasks are done at a time."""
        return self._limit

    def submit(self, task: Task) -> None:
        """Queue a task, and start it if a worker is free."""
        self._queue.append(task)
        self._hand_out()

    def next_done(self) -> Done:
        """Wait for the next task that ends."""
        busy = {worker.connection: worker for worker in self._workers if worker.task}
        assert busy, "nothing was submitted"
        worker = busy[wait(list(busy))[0]]  # type: ignore[index]
        task, seconds = worker.task, time.perf_counter() - worker.since
        assert task is not None
        try:
            done: Done = worker.connection.recv()
            worker.task = None
        except (EOFError, ConnectionError):  # it is gone
            worker.process.join()
            status = worker.process.exitcode
            self._workers.remove(worker)
            worker.connection.close()
            done = Done(task.key, seconds, failure=Failure(_lost(status or 0)))
        self._hand_out()
        return done

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            worker.process.join(_GRACE_SECONDS)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.connection.close()
        self._workers.clear()
        self._queue.clear()

    def _hand_out(self) -> None:
        while self._queue:
            free = next((worker for worker in self._workers if worker.task is None), None)
            if free is None:
                if len(self._workers) == self._limit:
                    return
                free = self._start()
            free.task, free.since = self._queue.popleft(), time.perf_counter()
            free.connection.send(free.task)

    def _start(self) -> _Worker:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, self._threads), daemon=True)
        with _interrupts_blocked():
            process.start()
        theirs.close()
        worker = _Worker(process, ours)
        self._workers.append(worker)
        return worker


def _serve(connection: Connection, threads: int) -> None:
    """A worker's life: do what comes, until nothing comes any more."""
    end_with_parent()  # in the middle of a batch, too: a run goes on from its checkpoint
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = str(threads)  # read when a task brings torch
    if "torch" in sys.modules:  # brought by the script that this process was spawned from
        sys.modules["torch"].set_num_threads(threads)
    while True:
        try:
            task: Task = connection.recv()
        except EOFError:
            return
        connection.send(perform(task))


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """A process started inside inherits the block; an interrupt of this one comes afterwards."""
    resource_tracker.ensure_running()  # which would lift the block, were it started inside
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _lost(status: int) -> str:
    if status < 0:
        name = signal.Signals(-status).name
        hint = "; is there enough memory?" if name == "SIGKILL" else ""
        return f"the worker was ended by {name}{hint}"
    return f"the worker ended with status {status}"
