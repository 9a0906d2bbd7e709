"""`Pool`: where tasks are done, and what comes back of each."""

from __future__ import annotations

import time
import traceback
from abc import ABC, abstractmethod
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol

from neurokd.errors import BackendFailedError, NeurokdError


class Task(Protocol):
    """A piece of work that can be sent to another process."""

    @property
    def key(self) -> str:
        """Its name, unique among the tasks that are under way."""

    def run(self) -> Any:
        """Do it, in the worker."""


@dataclass(frozen=True)
class Failure:
    """Why a task gave no result, in one line.

    ``error`` is there if it was refused; of a bug, ``traceback``. Else its worker was lost.
    """

    line: str
    error: NeurokdError | OSError | None = None
    traceback: str = ""

    def as_error(self, where: str) -> Exception:
        """What to raise where nothing goes on without the task's result."""
        if self.error is not None:
            return self.error
        if self.traceback:  # a bug, for whoever mends it
            return RuntimeError(self.traceback)
        return BackendFailedError(self.line, where=where)


@dataclass(frozen=True)
class Done:
    """A task that ended, with its result or its failure."""

    key: str
    seconds: float
    result: Any = None
    failure: Failure | None = None


class Pool(ABC):
    """Workers; leaving the context stops them, whatever they are doing."""

    @abstractmethod
    def __enter__(self) -> Pool: ...

    @abstractmethod
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None: ...

    @property
    @abstractmethod
    def workers(self) -> int:
        """How many tasks are done at a time."""

    @abstractmethod
    def submit(self, task: Task) -> None:
        """Queue a task."""

    @abstractmethod
    def next_done(self) -> Done:
        """Wait for the next task that ends."""


def perform(task: Task) -> Done:
    """Do a task; whatever it raises becomes its failure, and the worker goes on to the next."""
    started = time.perf_counter()
    result: Any = None
    failure = None
    try:
        result = task.run()
    except NeurokdError as error:
        failure = Failure(error.line(), error)
    except OSError as error:
        failure = Failure(f"{type(error).__name__}: {error}", error)
    except Exception as error:
        line = " ".join(f"this is a bug of neurokd: {type(error).__name__}: {error}".split())
        failure = Failure(line, traceback=traceback.format_exc())
    return Done(task.key, time.perf_counter() - started, result, failure)
