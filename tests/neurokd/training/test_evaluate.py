import numpy as np
import pytest
import torch
from torch import nn

from neurokd.data import LabelledData
from neurokd.training.devices import Devices
from neurokd.training.evaluate import accuracy, evaluate, predict

X = np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1]]
DATA = LabelledData("eye", X, np.array([0, 1, 2, 1, 1]))


def test_accuracy_and_loss_on_all_samples() -> None:
    network = nn.Linear(3, 3, bias=False)
    with torch.no_grad():
        network.weight.copy_(torch.eye(3))
    assert accuracy(network, DATA, None) == pytest.approx(0.8)
    right, loss = evaluate(network, DATA, None, Devices(torch.device("cpu")))
    # log(e + 2) minus the logit, which is 1 for four of them and 0 for one
    assert right == 0.8 and loss == pytest.approx(np.log(np.e + 2) - 0.8)
    logits = predict(network, DATA, None, batch=2, indices=torch.tensor([4, 0, 2]))
    assert torch.equal(logits, torch.eye(3)[[1, 0, 2]])


def test_event_frames_are_seen_in_time_or_as_their_mean() -> None:
    frames = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 1, 2, 2)
    data = LabelledData("frames", frames, np.array([0, 1]), events=True)
    dense = predict(nn.Flatten(), data, None)
    np.testing.assert_allclose(dense, frames.mean(axis=1).reshape(2, 4))

    class Sums(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.flatten(2).cumsum(0)

    np.testing.assert_allclose(predict(Sums(), data, 3), frames.mean(axis=1).reshape(2, 4))


def test_the_mode_of_the_network_is_as_before() -> None:
    network = nn.Sequential(nn.Linear(3, 3), nn.Dropout(1.0)).train()
    assert float(predict(network, DATA, None).abs().sum()) > 0  # no dropout
    assert network.training
