"""The order of a grid: students follow their teacher, and a failure costs only what needs it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from neurokd.reproduce.planned import PlannedRun
from neurokd.reproduce.pool import Done, Failure, Pool, Task

Run = TypeVar("Run", bound=PlannedRun)
Result = TypeVar("Result")

Tell = Callable[[str], None]
"""Called with a line for the person who waits."""


def run_grid(
    runs: Sequence[Run],
    finished: Mapping[str, Result],
    make_task: Callable[[Run], Task],
    pool: Pool,
    tell: Tell,
    work: Mapping[str, float] | None = None,
    say: Callable[[Any], str] = "{:.2%}".format,
) -> tuple[dict[str, Result], dict[str, Failure]]:
    """Do what is not finished; results and failures by the runs' keys.

    ``work`` is what each run takes, in any unit: the expected end is reckoned from it. ``say``
    puts a result into a few words, an accuracy if nothing else is said.
    """
    results = dict(finished)
    failures: dict[str, Failure] = {}
    open_runs = {run.key: run for run in runs if run.key not in finished}
    waiting: dict[str, list[Run]] = {}
    for run in open_runs.values():
        if run.needs is not None and run.needs in open_runs:
            waiting.setdefault(run.needs, []).append(run)
        else:
            pool.submit(make_task(run))
    clock = _Clock(len(runs), {key: (work or {}).get(key, 1.0) for key in open_runs}, len(finished))
    while open_runs:
        done = pool.next_done()
        run = open_runs.pop(done.key)
        if done.failure is None:
            results[run.key] = done.result
            for follower in waiting.pop(run.key, []):
                pool.submit(make_task(follower))
        else:
            failures[run.key] = done.failure
            for follower in waiting.pop(run.key, []):
                del open_runs[follower.key]
                clock.drop(follower.key)
                failures[follower.key] = Failure(f"its teacher {run.key} failed")
        tell(clock.line(done, say))
    return results, failures


class _Clock:
    """Says how far it is, and when it will end at the pace so far."""

    def __init__(self, total: int, open_work: dict[str, float], finished: int) -> None:
        self._total = total
        self._ended = finished
        self._open = open_work
        self._done_work = 0.0
        self._start = time.monotonic()

    def drop(self, key: str) -> None:
        """A run that will not be done."""
        del self._open[key]
        self._ended += 1

    def line(self, done: Done, say: Callable[[Any], str]) -> str:
        """One line about a run that ended."""
        self._ended += 1
        self._done_work += self._open.pop(done.key)
        said = f"FAILED: {done.failure.line}" if done.failure else say(done.result)
        elapsed = time.monotonic() - self._start
        left = elapsed * sum(self._open.values()) / self._done_work
        more = f"; about {duration(left)} more" if self._open else ""
        return f"{self._ended}/{self._total} {done.key}: {said}, {duration(done.seconds)}{more}"


def duration(seconds: float) -> str:
    """Seconds as people say them: 34 s, 5 min, 2.5 h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
