"""What a command says: messages and progress on stderr, its result on stdout."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

MILESTONES = 4


class Advance(Protocol):
    """Called as work gets done: ``advance(3)``, ``advance(1, "loss 0.12")``."""

    def __call__(self, amount: int = 1, note: str = "") -> None: ...


def message(text: str) -> None:
    """A line for the person who waits."""
    print(text, file=sys.stderr, flush=True)


def result(text: str) -> None:
    """A part of the answer."""
    print(text)


def result_json(value: Any) -> None:
    """The whole answer as one JSON object; a number that is not finite is refused."""
    print(json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False))


def significant(value: float) -> str:
    """Three significant digits, thousands apart: 1,440 and 0.0968."""
    return f"{float(f'{value:.3g}'):,g}"


def band(values: Mapping[str, float], unit: float = 1.0) -> tuple[str, str, str]:
    """Low, nominal and high of a band, in ``unit``."""
    low, nominal, high = (significant(values[k] / unit) for k in ("low", "nominal", "high"))
    return low, nominal, high


def table(rows: Sequence[Sequence[object]], headers: Sequence[str] = ()) -> str:
    """Rows in aligned columns; columns of numbers only are aligned to the right."""
    if not rows and not headers:
        return ""
    body = [[str(cell) for cell in row] for row in rows]
    head = [list(headers)] if headers else []
    columns = list(zip(*(head + body), strict=True))
    widths = [max(map(len, column)) for column in columns]
    numeric = [all(isinstance(row[i], (int, float)) for row in rows) for i in range(len(widths))]
    rule = [["─" * width for width in widths]] if headers else []
    return "\n".join(
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in head + rule + body
    )


@contextmanager
def progress(description: str, total: int) -> Iterator[Advance]:
    """A progress bar on stderr, or, where that is no terminal, a plain line at each quarter."""
    if sys.stderr.isatty():
        with _bar(description, total) as advance:
            yield advance
    else:
        yield _Milestones(description, total)


@contextmanager
def _bar(description: str, total: int) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
    )
    with bar:
        task = bar.add_task(description, total=total, note="")

        def advance(amount: int = 1, note: str = "") -> None:
            bar.advance(task, amount)
            if note:
                bar.update(task, note=note)

        yield advance


class _Milestones:
    """Counts the work and says a line each time another quarter is done."""

    def __init__(self, description: str, total: int) -> None:
        self._description = description
        self._total = max(total, 1)
        self._done = 0
        self._said = 0
        self._start = time.monotonic()

    def __call__(self, amount: int = 1, note: str = "") -> None:
        self._done += amount
        reached = min(self._done * MILESTONES // self._total, MILESTONES)
        if reached > self._said:
            self._said = reached
            seconds = time.monotonic() - self._start
            left = seconds * (self._total / self._done - 1)
            more = f", about {left:.0f} s more" if self._done < self._total else ""
            extra = f"{more}, {note}" if note else more
            message(f"{self._description}: {self._done}/{self._total} after {seconds:.0f} s{extra}")


@contextmanager
def steps(description: str) -> Iterator[Callable[[int, int, str], None]]:
    """A progress bar for work that reports (done, in all, note); it opens with the first report."""
    with ExitStack() as stack:
        bars: list[Advance] = []
        last = 0

        def tell(done: int, total: int, note: str) -> None:
            nonlocal last
            if not bars:
                bars.append(stack.enter_context(progress(description, total)))
            bars[0](done - last, note)
            last = done

        yield tell


@contextmanager
def phases() -> Iterator[Callable[[str, int, int], None]]:
    """Progress bars for work that reports (phase, done, in all); a new phase opens a new bar."""
    current = ""
    inner: Callable[[int, int, str], None]
    stack = ExitStack()

    def tell(phase: str, done: int, total: int) -> None:
        nonlocal current, inner
        if phase != current:
            stack.close()
            current, inner = phase, stack.enter_context(steps(phase))
        inner(done, total, "")

    with stack:
        yield tell
