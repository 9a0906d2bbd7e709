"""Divergence: a loss that is no longer finite or that grows, and the layer where it began."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from neurokd.errors import TrainingDivergedError

EXPLODED = 10.0
"""A mean loss of so many times the first epoch's has diverged."""
_SMALL = 1.0
"""Below this, the loss of a network that began well is no measure."""
_SLOWER = "lower recipe.learning_rate, or set recipe.clip_norm"


def require_bounded_loss(rows: Sequence[Mapping[str, Any]]) -> None:
    """Raise `TrainingDivergedError` if the last epoch's loss is `EXPLODED` times the first's.

    A first loss below 1 counts as 1. ``rows`` are metric rows; those of the split "train" count.
    """
    trained = [row for row in rows if row.get("split") == "train"]
    losses = [float(row["loss"]) for row in trained]
    if len(losses) > 1 and losses[-1] > EXPLODED * max(losses[0], _SMALL):
        raise TrainingDivergedError(
            "the loss grows instead of falling",
            where=f"epoch {trained[-1]['epoch']}",
            expected=f"≤ {EXPLODED * max(losses[0], _SMALL):.4g}, after {losses[0]:.4g} in epoch 1",
            found=f"{losses[-1]:.4g}",
            remedy=_SLOWER,
        )


def diagnose_divergence(
    model: nn.Module,
    batch: Tensor,
    rerun: Callable[[], object],
    terms: Mapping[str, float],
    where: str,
) -> TrainingDivergedError:
    """The error to raise for a batch whose loss is not finite; says where it began.

    In this order: the batch itself, the network's weights and buffers, the first module whose
    output is not finite while ``rerun`` repeats the step's forward pass, the loss term alone. The
    network is left as it was.

    ``terms`` are the values of the loss terms; ``where`` names epoch and batch.
    """
    name, value = next(
        ((name, value) for name, value in terms.items() if not _is_finite(torch.tensor(value))),
        ("loss", float("nan")),
    )
    broken = f"the loss term {name} is not a finite number"
    if not _is_finite(batch):
        origin, remedy = "the batch itself is not finite", "check the data for NaN and infinity"
    elif path := next(_broken_tensors(model), None):
        origin, remedy = f"the values of {path!r} are not finite", _SLOWER
    elif path := _first_broken_output(model, rerun):
        origin, remedy = f"layer {path!r} is the first whose output is not finite", _SLOWER
    else:
        origin = "every layer's output is finite"
        remedy = f"{_SLOWER}, or lower the weight of {name}"
    return TrainingDivergedError(
        f"{broken}: {origin}", where=where, found=f"{name} = {value}", remedy=remedy
    )


def _broken_tensors(model: nn.Module) -> Iterator[str]:
    for path, value in model.state_dict().items():
        if not _is_finite(value):
            yield path


def _first_broken_output(model: nn.Module, rerun: Callable[[], object]) -> str | None:
    """Path of the innermost module that finishes first with an output that is not finite."""
    broken: list[str] = []

    def watching(path: str) -> Callable[[nn.Module, Any, Any], None]:
        def watch(module: nn.Module, inputs: Any, output: Any) -> None:
            if not broken and not all(_is_finite(value) for value in _tensors(output)):
                broken.append(path or type(module).__name__)

        return watch

    state = {name: value.clone() for name, value in model.state_dict().items()}
    with ExitStack() as stack:
        for path, module in model.named_modules():
            stack.callback(module.register_forward_hook(watching(path)).remove)
        try:
            with torch.no_grad():
                rerun()
        finally:
            model.load_state_dict(state)
    return broken[0] if broken else None


def _tensors(output: Any) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, (tuple, list)):
        for part in output:
            yield from _tensors(part)


def _is_finite(values: Tensor) -> bool:
    return not values.is_floating_point() or bool(values.isfinite().all())
