"""`RayPool`: tasks on a Ray cluster, or on a Ray that is started here for them."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import sys
import tempfile
import time
from types import TracebackType
from typing import Any

from neurokd.errors import BackendUnavailableError
from neurokd.reproduce.pool import Done, Failure, Pool, Task, perform

LOCAL = "local"
"""The address that starts a Ray on this machine and stops it at the end."""


class RayPool(Pool):
    """Ray tasks of ``threads`` cores each, and of ``gpus`` GPUs.

    The machines of a cluster have neurokd installed and see the output folder under the same
    path. Raises: `BackendUnavailableError` without Ray, if the cluster does not answer, or if none
    of its machines has the cores and GPUs of a task; those that would still be started don't count.
    """

    def __init__(self, address: str, workers: int, threads: int = 1, gpus: float = 0) -> None:
        if "ray" not in sys.modules:  # these are read when it is imported
            _set_environment(address)
        try:
            import ray
        except ImportError as error:
            raise BackendUnavailableError(
                "Ray is not installed", where="--ray", remedy="pip install 'neurokd[ray]'"
            ) from error
        self._ray: Any = ray
        self._address = address
        self._workers = workers
        self._threads = threads
        self._gpus = gpus
        self._folder: str | None = None
        self._under_way: dict[Any, tuple[str, float]] = {}

    @property
    def workers(self) -> int:
        """How many tasks are done at a time, by the cluster's cores."""
        if self._address == LOCAL:
            return self._workers
        return max(1, int(self._ray.cluster_resources().get("CPU", 1)) // self._threads)

    def __enter__(self) -> RayPool:
        options: dict[str, Any] = {
            "log_to_driver": False,
            "logging_level": logging.ERROR,
            "configure_logging": False,
        }
        if self._address == LOCAL:
            # Ray's sockets lie below, and the path of a socket has about 100 characters.
            self._folder = tempfile.mkdtemp(prefix="nkd-ray-")
            options |= {
                "num_cpus": self._workers * self._threads,
                "include_dashboard": False,
                "_temp_dir": self._folder,
            }
        try:
            self._ray.init(address=self._address, **options)
        except (ConnectionError, ValueError, RuntimeError, OSError) as error:
            self._remove_folder()
            raise BackendUnavailableError(
                "Ray cannot be reached",
                where=f"--ray {self._address}",
                found=str(error).partition("\n")[0],
                remedy=f"`--ray {LOCAL}` starts one here",
            ) from error
        try:
            self._require_resources()
        except BackendUnavailableError:
            self.__exit__(None, None, None)
            raise
        resources = {"num_cpus": self._threads, "num_gpus": self._gpus, "max_retries": 0}
        self._perform = self._ray.remote(**resources)(_perform)
        return self

    def _require_resources(self) -> None:
        """Ray would wait for ever for what none of its machines has."""
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        for name, needed in (("CPU", self._threads), ("GPU", self._gpus)):
            most = max((node.get(name, 0) for node in nodes), default=0)
            nodes = [node for node in nodes if node.get(name, 0) >= needed]  # one with all of it
            if not nodes:
                raise BackendUnavailableError(
                    f"no machine of the Ray cluster has as many {name}s as a run needs",
                    where=f"--ray {self._address}",
                    expected=f"{needed:g}",
                    found=f"{most:g} at most",
                    remedy="take --device cpu" if name == "GPU" else "take fewer --threads",
                )

    def submit(self, task: Task) -> None:
        """Queue a task."""
        reference = self._perform.remote(task, self._threads)
        self._under_way[reference] = (task.key, time.perf_counter())

    def next_done(self) -> Done:
        """Wait for the next task that ends."""
        ready, _ = self._ray.wait(list(self._under_way), num_returns=1)
        key, since = self._under_way.pop(ready[0])
        try:
            done: Done = self._ray.get(ready[0])
        except self._ray.exceptions.RayError as error:
            failure = Failure(f"the worker was lost: {type(error).__name__}")
            done = Done(key, time.perf_counter() - since, failure=failure)
        return done

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        for reference in self._under_way:
            self._ray.cancel(reference, force=True)
        self._under_way.clear()
        self._ray.shutdown()
        self._remove_folder()

    def _remove_folder(self) -> None:
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None


def _set_environment(address: str) -> None:
    """No usage statistics are sent, a worker without a GPU is fine, and only we reach our Ray."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if address == LOCAL and "RAY_AUTH_MODE" not in os.environ:
        # A token in no file: Ray would leave one in the home folder.
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}


def _perform(task: Task, threads: int) -> Done:
    import torch

    torch.set_num_threads(threads)
    return perform(task)
