"""Whether a network takes the samples that it will get, and answers with one number a class."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from neurokd.errors import ShapeMismatchError


def require_answer(
    network: nn.Module,
    shape: tuple[int, ...],
    *,
    where: str,
    steps: int | None = None,
    classes: int | None = None,
) -> None:
    """Send one sample of zeros through a network before it is trained, and look at the answer.

    It runs in evaluation mode and without gradients; modes, statistics and random numbers are
    afterwards as they were. ``steps`` is T of a spiking network, None for a dense one.

    Shapes: dense (1, *shape) → (1, K); spiking (T, 1, *shape) → (T, 1, K); K is ``classes`` if
    that is given.
    Raises: `ShapeMismatchError` for a network that fails on the sample, or answers otherwise.
    """
    lead = (1,) if steps is None else (steps, 1)
    expected = f"{lead + shape} → {_text((*lead, 'K' if classes is None else classes))}"
    modes = [(module, module.training) for module in network.modules()]
    place = next(network.parameters(), torch.empty(0))
    sample = torch.zeros(*lead, *shape, device=place.device)
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            answer = network.eval()(sample)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:  # of whoever wrote it
        raise ShapeMismatchError(
            "the network does not take these samples",
            where=where,
            expected=expected,
            found=f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}",
        ) from error
    finally:
        for module, mode in modes:
            module.training = mode
    found = tuple(answer.shape) if isinstance(answer, Tensor) else None
    if found is None or found[:-1] != lead or classes not in (None, found[-1]):
        raise ShapeMismatchError(
            "the network does not answer with one number a class",
            where=where,
            expected=expected,
            found=_text(found) if found is not None else type(answer).__name__,
        )


def _text(shape: tuple[object, ...]) -> str:
    return f"({', '.join(map(str, shape))})"
