"""Logits: what a dense or a spiking network answers to a batch, static or of event frames."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from neurokd.errors import ShapeMismatchError


def student_logits(student: nn.Module, images: Tensor, steps: int) -> Tensor:
    """Logits of a spiking network: its membrane after T steps, over T.

    A static batch is the same at every step; event frames have T steps of their own.

    Shapes: (B, C, H, W), or frames (B, T, C, H, W) → (B, K).
    Raises: `ShapeMismatchError` for frames of another number of steps.
    """
    if images.ndim == 5:
        if images.shape[1] != steps:
            raise ShapeMismatchError(
                "the recordings have another number of frames than the network has steps",
                where="event frames (B, T, C, H, W)",
                expected=f"T = {steps}",
                found=f"T = {images.shape[1]}",
                remedy="read the data with these steps, or set steps to T",
            )
        train = images.transpose(0, 1)
    else:
        train = images.expand(steps, *images.shape)
    membranes: Tensor = student(train)
    return _single(membranes[-1] / steps)


def dense_logits(network: nn.Module, images: Tensor) -> Tensor:
    """Logits of a dense network; of event frames it sees the mean over time.

    On a CPU images are laid out with their channels last, in which oneDNN is faster.

    Shapes: (B, C, H, W), or frames (B, T, C, H, W) → (B, K).
    """
    seen = images.mean(dim=1) if images.ndim == 5 else images
    if seen.ndim == 4 and seen.device.type == "cpu" and seen.dtype == torch.float32:
        seen = seen.contiguous(memory_format=torch.channels_last)
    logits: Tensor = network(seen)
    return _single(logits)


def _single(logits: Tensor) -> Tensor:
    """What mixed precision gives, in a type that losses can be computed in."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
