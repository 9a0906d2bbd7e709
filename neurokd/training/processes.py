"""Training by several processes: this one is the first, and starts the others."""

from __future__ import annotations

import multiprocessing
import os
import socket
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

import torch

from neurokd.config import TrainConfig
from neurokd.errors import BackendFailedError, NeurokdError, UsageError
from neurokd.parent_process import end_with_parent
from neurokd.training.devices import opened

Result = TypeVar("Result")
Work = Callable[..., Result]
"""Called as work(devices, config, *arguments, progress); found by its name in each process."""


def run_on_devices(
    work: Work[Result], config: TrainConfig, arguments: Sequence[Any], progress: Any
) -> Result:
    """What ``work`` returns in the first of ``config.devices`` processes; they end with it.

    Only the first gets ``progress``. Under torchrun the processes are there already.

    Raises: what ``work`` raises in any process; `BackendFailedError` if another process dies,
    `UsageError` where torchrun started another number of processes, or with ``config.qat``.
    """
    if torch.distributed.is_torchelastic_launched():
        _require_torchrun_fits(config)
        with opened(config) as devices:
            return work(devices, config, *arguments, progress if devices.is_first else None)
    if config.devices == 1:
        with opened(config) as devices:
            return work(devices, config, *arguments, progress)
    context = multiprocessing.get_context("spawn")
    port = _free_port()
    others: list[BaseProcess] = []
    ready: list[Connection] = []
    try:
        for rank in range(1, config.devices):
            receiver, sender = context.Pipe(duplex=False)
            process: BaseProcess = context.Process(
                target=_follow,
                args=(sender, rank, port, work, config, arguments),
                daemon=True,
                name=f"neurokd-{rank}",
            )
            process.start()
            sender.close()
            others.append(process)
            ready.append(receiver)
        for process, receiver in zip(others, ready, strict=True):
            _await(process, receiver)
        with opened(config, 0, port) as devices:
            return work(devices, config, *arguments, progress)
    except RuntimeError as error:
        for process, receiver in zip(others, ready, strict=True):
            process.join(5)  # its end is what broke the connection, if it was this
            if refused := _received(receiver):
                raise refused from error
            if process.exitcode:
                raise _died(process) from error
        raise
    finally:
        for process in others:
            process.join(5)
            if process.is_alive():
                process.terminate()
                process.join()


def _follow(
    ready: Connection,
    rank: int,
    port: int,
    work: Work[Any],
    config: TrainConfig,
    arguments: Sequence[Any],
) -> None:
    """What another process does; what is refused in it, the first process gets to know."""
    end_with_parent()
    try:
        ready.send(None)
        with opened(config, rank, port) as devices:
            work(devices, config, *arguments, None)
    except NeurokdError as error:
        ready.send(error)
    except KeyboardInterrupt:
        return  # the first process has met the same, and says so


def _await(process: BaseProcess, receiver: Connection) -> None:
    wait([receiver, process.sentinel])
    try:
        if receiver.poll():
            receiver.recv()
            return
    except EOFError:
        pass
    process.join()
    raise _died(process)


def _received(receiver: Connection) -> NeurokdError | None:
    try:
        return receiver.recv() if receiver.poll() else None
    except EOFError:  # it ended without a word
        return None


def _died(process: BaseProcess) -> BackendFailedError:
    return BackendFailedError(
        "a training process ended on its own",
        where=process.name,
        found=f"exit status {process.exitcode}",
        remedy="see what it said above; a script that trains on several devices must do so "
        "under `if __name__ == '__main__':`",
    )


def _require_torchrun_fits(config: TrainConfig) -> None:
    if config.qat:  # it is done by one process, for which torchrun's others cannot wait
        raise UsageError(
            "training in the deployed integers does not run under torchrun",
            where="qat",
            remedy=f"start it without torchrun, with --set devices={config.devices}",
        )
    started = int(os.environ["WORLD_SIZE"])
    if started != config.devices:
        raise UsageError(
            "torchrun started another number of processes",
            where="devices",
            expected=str(config.devices),
            found=str(started),
            remedy=f"--set devices={started}, or start it without torchrun",
        )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
