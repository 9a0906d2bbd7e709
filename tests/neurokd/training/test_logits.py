"""Logits of static batches and of event frames."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from neurokd.errors import ShapeMismatchError
from neurokd.neurons import Accumulator
from neurokd.training.logits import dense_logits, student_logits


class _Sums(nn.Module):
    """A readout of each step's pixel sum; keeps the input it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.readout = Accumulator()

    def forward(self, x: Tensor) -> Tensor:
        self.seen = x
        membranes: Tensor = self.readout(x.flatten(2).sum(dim=2, keepdim=True))
        return membranes


def test_a_static_batch_is_expanded_over_time() -> None:
    network, images = _Sums(), torch.rand(3, 2, 4, 4)
    torch.testing.assert_close(student_logits(network, images, 5)[:, 0], images.sum(dim=(1, 2, 3)))
    assert network.seen.shape == (5, 3, 2, 4, 4) and network.seen.stride(0) == 0


def test_frames_are_seen_in_their_order_and_averaged() -> None:
    network, frames = _Sums(), torch.rand(3, 5, 2, 4, 4)
    logits = student_logits(network, frames, 5)
    torch.testing.assert_close(logits[:, 0], frames.sum(dim=(2, 3, 4)).mean(dim=1))
    torch.testing.assert_close(network.seen[1], frames[:, 1])


def test_frames_of_another_number_of_steps_are_refused() -> None:
    with pytest.raises(ShapeMismatchError, match="expected T = 4, found T = 5"):
        student_logits(_Sums(), torch.rand(3, 5, 2, 4, 4), 4)


def test_a_dense_network_sees_the_mean_over_time() -> None:
    network, frames = nn.Flatten(), torch.rand(3, 5, 2, 4, 4)
    torch.testing.assert_close(dense_logits(network, frames), frames.mean(dim=1).flatten(1))
    torch.testing.assert_close(dense_logits(network, frames[:, 0]), frames[:, 0].flatten(1))


def test_logits_in_half_precision_become_single() -> None:
    assert dense_logits(nn.Flatten(), torch.rand(1, 2, 3, 3).bfloat16()).dtype == torch.float32
