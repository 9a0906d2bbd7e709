"""`Devices`: where a network is trained, and which part of it this process does."""

from __future__ import annotations

import atexit
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from neurokd.batch_share import BatchShare
from neurokd.config import TrainConfig
from neurokd.errors import BackendUnavailableError

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass(frozen=True)
class Devices:
    """One of ``world`` processes that share every batch, and its device.

    Without a ``fabric`` everything is plain torch in this process alone.
    """

    device: torch.device
    rank: int = 0
    world: int = 1
    fabric: Fabric | None = None

    @property
    def is_first(self) -> bool:
        """Whether this process writes the files and tells the progress."""
        return self.rank == 0

    @property
    def share(self) -> BatchShare:
        """What this process has of a batch that divides evenly."""
        return BatchShare(self.rank, self.world)

    def wrapped(self, module: nn.Module) -> nn.Module:
        """The module in the configured precision, its gradients averaged over the processes."""
        if self.fabric is None:
            return module
        wrapped: nn.Module = self.fabric.setup_module(module)
        return wrapped

    def backward(self, loss: Tensor) -> None:
        """Gradients of a loss that came out of a wrapped module."""
        if self.fabric is None:
            loss.backward()
        else:
            self.fabric.backward(loss)

    def total(self, values: Tensor) -> Tensor:
        """The sum over all processes."""
        if self.world > 1:
            torch.distributed.all_reduce(values)
        return values

    def wait(self) -> None:
        """Until every process has come this far."""
        if self.fabric is not None:
            self.fabric.barrier()


@contextmanager
def opened(config: TrainConfig, rank: int = 0, port: int | None = None) -> Iterator[Devices]:
    """The devices of a configuration, for one of its processes; closed on the way out.

    ``port`` is where the processes meet that `run_on_devices` started; without one, several
    processes are torchrun's, and stay together for the next training.

    Raises: `BackendUnavailableError` where there is no such device.
    """
    accelerator = _accelerator(config)
    if accelerator == "cpu" and config.devices == 1 and config.precision == "float32":
        yield Devices(torch.device("cpu"))
        return
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments.lightning import LightningEnvironment
    from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment

    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    options: dict[str, Any] = {"devices": 1}
    variables: dict[str, str] = {}
    if config.devices > 1 and port is not None:
        variables = {
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "NODE_RANK": "0",
            "LOCAL_RANK": str(rank),
        }
        options = {"devices": config.devices, "strategy": "ddp"}
        options["plugins"] = [LightningEnvironment()]
    elif config.devices > 1:
        here = int(os.environ["LOCAL_WORLD_SIZE"])
        options = {"devices": here, "num_nodes": config.devices // here, "strategy": "ddp"}
        options["plugins"] = [TorchElasticEnvironment()]
    precision: Any = "bf16-mixed" if config.precision == "bfloat16" else "32-true"
    with _environment(variables):
        fabric = Fabric(accelerator=accelerator, precision=precision, **options)
        try:
            fabric.launch()
            with _threads(config.devices if accelerator == "cpu" else 1), warnings.catch_warnings():
                # one input channel lies in memory either way, and the layouts have two names
                warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
                yield Devices(fabric.device, fabric.global_rank, fabric.world_size, fabric)
        finally:
            if port is None:  # torchrun's processes meet only once
                atexit.register(_part)
            else:
                _part()


def _part() -> None:
    """End the group of processes, if this one belongs to any."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _accelerator(config: TrainConfig) -> str:
    found = torch.cuda.device_count()
    if config.device == "cpu" or (config.device == "auto" and found < config.devices):
        return "cpu"
    if found < config.devices:
        raise BackendUnavailableError(
            "there are not as many GPUs here",
            where="device",
            expected=f"{config.devices} that torch can use",
            found=str(found),
            remedy="set device = 'cpu', or devices to fewer",
        )
    return "cuda"


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Variables by which torch's processes find each other, set for a while."""
    before = {name: os.environ.get(name) for name in (*variables, "WORLD_SIZE")}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _threads(processes: int) -> Iterator[None]:
    """The processor's cores, shared out evenly."""
    before = torch.get_num_threads()
    if processes > 1:
        torch.set_num_threads(max(1, before // processes))
    try:
        yield
    finally:
        torch.set_num_threads(before)
