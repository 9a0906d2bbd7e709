"""`BatchShare`: the part of a batch that one of several processes has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class BatchShare:
    """The share of process ``rank`` of ``world``, which all have as many samples.

    What is measured or drawn here is that of the whole batch, as one process would have it. With
    ``world`` 1 nothing is communicated; else all processes call the same, in the same order.
    """

    rank: int = 0
    world: int = 1

    def of(self, batch: Tensor) -> Tensor:
        """This process's samples. Shapes: (world · B, *shape) → (B, *shape)."""
        size = len(batch) // self.world
        return batch[self.rank * size : (self.rank + 1) * size]

    def normal(self, like: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """This process's part of standard normal numbers for the whole batch.

        They are drawn where ``generator`` lives, so that a GPU sees the same ones; the processes'
        generators stand at the same place before and after. Shapes: like (B, *shape) → same.
        """
        device = generator.device if generator is not None else like.device
        shape = (self.world * len(like), *like.shape[1:])
        drawn = torch.randn(shape, generator=generator, device=device, dtype=like.dtype)
        return self.of(drawn).to(like.device)

    def extremes(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Least and greatest value of the whole batch, (), ().

        Gradients are shared out evenly among equal values, in whichever process they are. Each
        process's loss counts for them, as for those of a sum over processes.
        """
        if self.world == 1:
            return values.min(), values.max()
        found = torch.stack([values.detach().min(), -values.detach().max()])
        dist.all_reduce(found, dist.ReduceOp.MIN)
        places = torch.stack([values == found[0], values == -found[1]]).flatten(1)
        counts = places.sum(dim=1).to(values.dtype)
        dist.all_reduce(counts)
        sums = torch.where(places, values.flatten(), 0.0).sum(dim=1)
        low, high = (total_over_processes(sums) / counts).unbind()
        return low, high


WHOLE = BatchShare()
"""All of the batch, in this process alone."""


def total_over_processes(values: Tensor) -> Tensor:
    """The sum over all processes; every process's loss counts for the gradient."""
    total: Tensor = _Total.apply(values)  # type: ignore[no-untyped-call]
    return total


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total
