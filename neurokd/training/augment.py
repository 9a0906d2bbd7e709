"""Augmentation of batches of images and of event frames."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from neurokd.config import AugmentConfig
from neurokd.errors import UsageError
from neurokd.training.learned_policy import (
    MAGNITUDES,
    RAND_AUGMENT,
    auto_augmented,
    rand_augmented,
)
from neurokd.training.warp import rotation, warped

ERASED_AREA = (0.02, 0.2)
"""Least and largest share of an image that is erased."""
ERASED_RATIO = (0.3, 3.3)
"""Least and largest ratio of an erased box's height to its width."""


def augmented(batch: Tensor, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """Random variations of each sample, all steps of a recording alike.

    In this order: shift, flip, learned policy (RGB images in [0, 1]), rotation (event frames),
    erasing, dropped events (event frames). Everything is drawn from ``generator``, on the CPU; what
    is off draws nothing.

    Shapes: images (B, C, H, W) or event frames (B, T, C, H, W) → same.
    """
    maps = batch.flatten(1, 2) if batch.ndim == 5 else batch
    maps = random_shift(maps, config.max_shift, generator)
    if config.flip:
        maps = random_flip(maps, generator)
    if config.autoaugment:
        maps = auto_augmented(maps, config.autoaugment, generator)
    if config.randaugment:
        maps = rand_augmented(maps, *config.randaugment, generator)
    if config.rotation_degrees:
        maps = random_rotation(maps, config.rotation_degrees, generator)
    if config.erasing:
        maps = random_erasing(maps, config.erasing, generator)
    if config.drop_events:
        maps = dropped_events(maps, config.drop_events, generator)
    return maps if batch.ndim == 4 else maps.reshape(batch.shape)


def check_augment(config: AugmentConfig, sample_shape: tuple[int, ...], events: bool) -> None:
    """Refuse variations that these samples cannot have, before a run begins.

    ``autoaugment`` and ``randaugment`` are for RGB images alone, one of them at a time;
    ``rotation_degrees`` and ``drop_events`` for event frames alone; ``max_shift``, ``flip`` and
    ``erasing`` for both, as long as they are (C, H, W). A flip changes what a gesture means.

    Raises: `UsageError`.
    """
    only_events = {
        "rotation_degrees": config.rotation_degrees,
        "drop_events": config.drop_events,
    }
    policies = {"autoaugment": config.autoaugment, "randaugment": config.randaugment}
    spatial = {"max_shift": config.max_shift, "flip": config.flip, "erasing": config.erasing}
    for name in [name for name, value in only_events.items() if value and not events]:
        raise _refused(name, "this is for event frames", "event frames", "static images")
    for name in [name for name, value in policies.items() if value]:
        if events or len(sample_shape) != 3 or sample_shape[0] != 3:
            kind = "event frames" if events else "images"
            raise _refused(name, "this is for RGB images", "(3, H, W)", f"{kind} {sample_shape}")
    if config.autoaugment and config.randaugment:
        raise _refused("randaugment", "autoaugment is on as well", "one of the two", "both")
    if config.randaugment:
        _check_randaugment(*config.randaugment)
    for name in [name for name, value in (spatial | only_events).items() if value]:
        if len(sample_shape) != 3 and name != "drop_events":
            raise _refused(name, "these samples have no rows", "(C, H, W)", str(sample_shape))


def _check_randaugment(operations: int, magnitude: int) -> None:
    if not 1 <= operations <= len(RAND_AUGMENT) or not 0 <= magnitude <= MAGNITUDES:
        raise UsageError(
            "there is no such RandAugment",
            where="augment.randaugment",
            expected=f"1 to {len(RAND_AUGMENT)} operations, a magnitude from 0 to {MAGNITUDES}",
            found=f"[{operations}, {magnitude}]",
        )


def _refused(name: str, what: str, expected: str, found: str) -> UsageError:
    return UsageError(
        what,
        where=f"augment.{name}",
        expected=expected,
        found=found,
        remedy=f"set augment.{name} = 0" if name == "max_shift" else f"remove augment.{name}",
    )


def random_shift(images: Tensor, max_shift: int, generator: torch.Generator) -> Tensor:
    """Each image moved by up to ``max_shift`` pixels along both axes, zeros moving in.

    Shapes: (B, C, H, W) → same.
    """
    if max_shift == 0:
        return images
    batch, _, height, width = images.shape
    padded = F.pad(images, (max_shift,) * 4)
    offsets = torch.randint(0, 2 * max_shift + 1, (2, batch), generator=generator)
    offsets = offsets.to(images.device)
    rows = offsets[0, :, None] + torch.arange(height, device=images.device)
    columns = offsets[1, :, None] + torch.arange(width, device=images.device)
    samples = torch.arange(batch, device=images.device)[:, None, None]
    moved = padded[samples, :, rows[:, :, None], columns[:, None, :]]  # (B, H, W, C)
    return moved.permute(0, 3, 1, 2).contiguous()


def random_flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Left and right of each image exchanged with probability ½. Shapes: (B, C, H, W) → same."""
    chosen = torch.rand(len(images), generator=generator) < 0.5
    return torch.where(chosen.to(images.device)[:, None, None, None], images.flip(-1), images)


def random_rotation(images: Tensor, degrees: float, generator: torch.Generator) -> Tensor:
    """Each image turned about its centre by an angle uniform in ± ``degrees``, nearest pixels.

    Shapes: (B, C, H, W) → same.
    """
    angles = (torch.rand(len(images), generator=generator, dtype=torch.float64) * 2 - 1) * degrees
    return warped(images, rotation(angles), torch.zeros(len(images), 2))


def random_erasing(images: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """A box of each image set to zero with ``probability``.

    Its area is uniform in `ERASED_AREA`, its ratio of height to width log-uniform in
    `ERASED_RATIO`, its place uniform; sides are rounded, and end at the image's.

    Shapes: (B, C, H, W) → same. Source: Zhong et al. 2020 (arXiv 1708.04896), algorithm 1.
    """
    height, width = images.shape[-2:]
    chance, area, ratio, top, left = torch.rand(5, len(images), generator=generator)
    area = (ERASED_AREA[0] + area * (ERASED_AREA[1] - ERASED_AREA[0])) * height * width
    low, high = (math.log(limit) for limit in ERASED_RATIO)
    ratio = torch.exp(low + ratio * (high - low))
    rows = torch.round((area * ratio).sqrt()).clamp(1, height)
    columns = torch.round((area / ratio).sqrt()).clamp(1, width)
    erased = _span(top, rows, height)[:, :, None] & _span(left, columns, width)[:, None, :]
    erased &= (chance < probability)[:, None, None]
    return images.masked_fill(erased.to(images.device)[:, None], 0.0)


def _span(place: Tensor, length: Tensor, size: int) -> Tensor:
    """Where an interval of ``length`` lies, ``place`` in [0, 1). Shapes: (B,), (B,) → (B, size)."""
    first = torch.floor(place * (size - length + 1))
    pixels = torch.arange(size)
    return (pixels >= first[:, None]) & (pixels < (first + length)[:, None])


def dropped_events(frames: Tensor, largest: float, generator: torch.Generator) -> Tensor:
    """Each event of a recording left out with a probability uniform in [0, ``largest``).

    Equation: f ~ U(0, largest) for each recording, n′ ~ Binomial(n, 1 − f) for each count n.

    Shapes: (B, *shape), whole numbers ≥ 0 → same.
    Raises: `UsageError` if the frames do not hold counts.
    """
    kept = 1 - largest * torch.rand(len(frames), generator=generator)
    flat = frames.flatten(1).cpu()
    where = flat.nonzero(as_tuple=True)
    counts = flat[where]
    if bool(((counts < 0) | (counts != counts.floor())).any()):
        raise UsageError(
            "events can only be left out of counts",
            where="augment.drop_events",
            expected="frames of whole numbers",
            found=f"values from {float(counts.min()):g} to {float(counts.max()):g}",
            remedy="remove augment.drop_events",
        )
    events = torch.repeat_interleave(counts.long())  # of each event, the count it belongs to
    stays = torch.rand(len(events), generator=generator) < kept[where[0]][events]
    thinned = torch.zeros_like(flat)
    thinned[where] = torch.bincount(events[stays], minlength=len(counts)).to(flat.dtype)
    return thinned.reshape(frames.shape).to(frames.device)
