"""The order of a grid, on a pool that does each task here and now."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from neurokd.errors import TrainingDivergedError
from neurokd.reproduce import EXPERIMENTS
from neurokd.reproduce.grid import GridRun, make_grid
from neurokd.reproduce.pool import Done, Pool, Task, perform
from neurokd.reproduce.schedule import duration, run_grid

RUNS = make_grid(EXPERIMENTS["ckdsnn-cifar"], ["cifar10"], 2)
KEYS = [run.key for run in RUNS]


@dataclass(frozen=True)
class _Constant:
    key: str
    failing: frozenset[str]

    def run(self) -> float:
        if self.key in self.failing:
            raise TrainingDivergedError("the loss is not finite")
        return 0.5


class _Serial(Pool):
    workers = 1

    def __init__(self) -> None:
        self.order: list[str] = []
        self._queue: deque[Task] = deque()

    def __enter__(self) -> _Serial:
        return self

    def __exit__(self, *_: object) -> None:
        self._queue.clear()

    def submit(self, task: Task) -> None:
        self._queue.append(task)

    def next_done(self) -> Done:
        task = self._queue.popleft()
        self.order.append(task.key)
        return perform(task)


def _run(
    finished: dict[str, float], *failing: str
) -> tuple[list[str], dict[str, float], dict[str, str], list[str]]:
    def task(run: GridRun) -> Task:
        return _Constant(run.key, frozenset(failing))

    said: list[str] = []
    with _Serial() as pool:
        accuracies, failures = run_grid(RUNS, finished, task, pool, said.append)
    return pool.order, accuracies, {key: f.line for key, f in failures.items()}, said


def test_students_follow_their_teacher() -> None:
    order, accuracies, failures, said = _run({})
    assert sorted(order) == sorted(KEYS) and not failures
    assert accuracies == dict.fromkeys(KEYS, 0.5)
    for run in RUNS:
        assert run.needs is None or order.index(run.needs) < order.index(run.key)
    assert said[0].startswith("1/6 cifar10-teacher-0: 50.00%, 0 s; about 0 s more")
    assert said[-1] == f"6/6 {order[-1]}: 50.00%, 0 s"


def test_what_is_finished_is_not_repeated() -> None:
    order, accuracies, _, said = _run({"cifar10-teacher-0": 0.9, "cifar10-alone-1": 0.8})
    assert set(order) == set(KEYS) - {"cifar10-teacher-0", "cifar10-alone-1"}
    assert accuracies["cifar10-teacher-0"] == 0.9 and len(accuracies) == 6
    assert said[0].startswith("3/6 ") and said[-1].startswith("6/6 ")
    assert _run(dict.fromkeys(KEYS, 0.5))[0] == []


def test_a_failure_costs_only_what_needs_it() -> None:
    order, accuracies, failures, said = _run({}, "cifar10-teacher-1", "cifar10-alone-0")
    assert failures == {
        "cifar10-teacher-1": "the loss is not finite",
        "cifar10-ckdsnn-1": "its teacher cifar10-teacher-1 failed",
        "cifar10-alone-0": "the loss is not finite",
    }
    assert set(accuracies) == {"cifar10-teacher-0", "cifar10-ckdsnn-0", "cifar10-alone-1"}
    assert "cifar10-ckdsnn-1" not in order
    assert any("FAILED: the loss is not finite" in line for line in said)
    assert said[-1].startswith("6/6 ")


def test_durations_as_people_say_them() -> None:
    assert [duration(s) for s in (0.4, 99, 100, 3600, 9000)] == [
        "0 s",
        "99 s",
        "2 min",
        "60 min",
        "2.5 h",
    ]
