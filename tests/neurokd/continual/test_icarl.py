"""iCaRL: herding, the nearest mean and the loss by hand; exemplars shared among the classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from neurokd.config.continual import ICaRLConfig
from neurokd.continual.icarl import ICaRL, herding
from neurokd.continual.method import Batch
from neurokd.data import LabelledData
from neurokd.data.stream import Task
from neurokd.errors import FileFormatError, UsageError

NONE = torch.Generator()


class Identity(nn.Module):
    """Whose features are its inputs, two of them; four classes."""

    def __init__(self) -> None:
        super().__init__()
        self.classifier = nn.Linear(2, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.classifier(x)
        return logits


def _angles(*degrees: float) -> np.ndarray[Any, Any]:
    turned = np.deg2rad(degrees)
    return np.stack([np.cos(turned), np.sin(turned)], axis=1).astype(np.float32)


def _task(x: Any, y: list[int], index: int = 0) -> Task:
    data = LabelledData("tiny", np.asarray(x, dtype=np.float32), np.array(y))
    return Task(index, tuple(sorted(set(y))), data, data)


FIRST = _task(_angles(0, 10, 20, 90, 100), [0, 0, 0, 1, 1])


def test_herding_by_hand() -> None:
    # The mean of 0°, 40°, 60° points to 34.4°: nearest is 40°. Then 2μ − φ(40°) points to 28.6°:
    # 0° and 60° are 28.6° and 31.4° away, so 0°; 60° is left.
    assert herding(torch.from_numpy(_angles(0, 40, 60)), 3).tolist() == [1, 0, 2]
    # Of two that are one the first, and then the other: a sample is taken once.
    assert herding(torch.from_numpy(_angles(50, 0, 50, 100)), 2).tolist() == [0, 2]
    assert herding(torch.from_numpy(_angles(5, 15)), 7).tolist() == [0, 1]


def test_herding_is_its_definition() -> None:
    generator = torch.Generator().manual_seed(0)
    found = nn.functional.normalize(torch.rand(30, 4, generator=generator, dtype=torch.float64))
    mean = nn.functional.normalize(found.mean(dim=0), dim=0)
    chosen: list[int] = []
    for k in range(1, 13):
        others = [i for i in range(30) if i not in chosen]
        sums = found[others] + found[chosen].sum(dim=0)
        chosen.append(others[int((mean - sums / k).norm(dim=1).argmin())])
    assert herding(found, 12).tolist() == chosen


def test_exemplars_are_shared_and_shortened_from_their_end() -> None:
    method, network = ICaRL(ICaRLConfig(exemplars=5)), Identity()
    method.begin_task(network, FIRST)
    method.training_data(FIRST.train)
    method.end_task(network, FIRST, NONE)
    # 5 // 2 = 2 of each; of 0°, 10°, 20° the middle first, then the first of two equally good ones
    np.testing.assert_allclose(method.exemplars[0][0], _angles(10)[0], rtol=1e-6)
    assert {c: len(x) for c, x in method.exemplars.items()} == {0: 2, 1: 2}
    second = _task(_angles(180, 190), [2, 2], 1)
    method.begin_task(network, second)
    data = method.training_data(second.train)
    assert data.y.tolist() == [2, 2, 0, 0, 1, 1]
    np.testing.assert_array_equal(data.x[2:4], method.exemplars[0])
    first_of_0 = method.exemplars[0][:1]
    method.end_task(network, second, NONE)
    assert {c: len(x) for c, x in method.exemplars.items()} == {0: 1, 1: 1, 2: 1}
    np.testing.assert_array_equal(method.exemplars[0], first_of_0)


def test_the_nearest_mean_by_hand() -> None:
    method, network = ICaRL(ICaRLConfig(exemplars=6)), Identity()
    assert method.scores(network, torch.zeros(1, 2)) is None
    method.begin_task(network, FIRST)
    method.training_data(FIRST.train)
    method.end_task(network, FIRST, NONE)
    # means at 10° and 95°; the length of x does not matter
    scores = method.scores(network, 7 * torch.from_numpy(_angles(50, 55)))
    assert scores is not None
    # ‖u − v‖² = 2 − 2 cos of the angle between
    cosines = np.cos(np.deg2rad([[40, 45], [45, 40]]))
    np.testing.assert_allclose(scores[:, :2], 2 * cosines - 2, atol=1e-5)
    assert scores.argmax(dim=1).tolist() == [0, 1]
    assert scores[:, 2:].tolist() == [[-np.inf] * 2] * 2


def test_in_a_task_new_classes_have_the_mean_of_their_samples_as_the_network_is_now() -> None:
    method, network = ICaRL(ICaRLConfig(exemplars=6)), Identity()
    method.begin_task(network, FIRST)
    assert method.scores(network, torch.zeros(1, 2)) is None
    method.training_data(FIRST.train)
    x = torch.from_numpy(_angles(10, 95))
    scores = method.scores(network, x)
    assert scores is not None
    assert scores.argmax(dim=1).tolist() == [0, 1]
    torch.testing.assert_close(scores.max(dim=1).values, torch.zeros(2), atol=1e-6, rtol=0)


def test_the_means_follow_the_network() -> None:
    class Turning(Identity):
        turned = False

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x.flip(1) if self.turned else x)

    method, network = ICaRL(ICaRLConfig(exemplars=6)), Turning()
    method.begin_task(network, FIRST)
    method.training_data(FIRST.train)
    method.end_task(network, FIRST, NONE)
    x = torch.from_numpy(_angles(10))
    before = method.scores(network, x)
    network.turned = True
    method.after_step(network)
    after = method.scores(network, x)  # both are turned, and so as near as before
    assert before is not None and after is not None
    torch.testing.assert_close(after[:, :2], before[:, :2], atol=1e-5, rtol=0)


def test_the_loss_by_hand() -> None:
    method, network = ICaRL(ICaRLConfig(exemplars=4)), Identity()
    assert method.ce_weight == 0
    x = torch.from_numpy(_angles(0, 0))
    with torch.no_grad():
        network.classifier.weight.zero_()
        network.classifier.bias.copy_(torch.tensor([1.0, -1.0, 0.5, 9.0]))

    def loss(*labels: int) -> float:
        batch = Batch(x, torch.tensor(labels), network(x), ())
        return method.terms(network, batch)["icarl"].item()

    def bce(z: float, target: float) -> float:
        p = 1 / (1 + np.exp(-z))
        return float(-target * np.log(p) - (1 - target) * np.log(1 - p))

    method.begin_task(network, FIRST)
    # classes 0 and 1 are seen: one sample of each; 2 and 3 have no part in it
    expected = (bce(1, 1) + bce(-1, 0) + bce(1, 0) + bce(-1, 1)) / 2
    assert loss(0, 1) == pytest.approx(expected, rel=1e-5)
    method.end_task(network, FIRST, NONE)
    with torch.no_grad():
        network.classifier.bias.copy_(torch.tensor([0.0, 0.0, 0.5, 9.0]))
    method.begin_task(network, _task(_angles(180), [2], 1))
    # past: what the teacher said, of the new sample and of an exemplar of class 0 alike
    q = [1 / (1 + np.exp(-1)), 1 / (1 + np.exp(1))]
    past = bce(0, q[0]) + bce(0, q[1])
    expected = (past + bce(0.5, 1) + past + bce(0.5, 0)) / 2
    assert loss(2, 0) == pytest.approx(expected, rel=1e-5)


def test_its_state_comes_back_in_the_middle_of_a_task() -> None:
    method, again, network = ICaRL(ICaRLConfig(exemplars=4)), ICaRL(), Identity()
    method.begin_task(network, FIRST)
    method.training_data(FIRST.train)
    method.end_task(network, FIRST, NONE)
    second = _task(_angles(180, 200), [3, 3], 1)
    method.begin_task(network, second)
    again.load_state(network, method.state())
    data, resumed = (m.training_data(second.train) for m in (method, again))
    np.testing.assert_array_equal(resumed.x, data.x)
    x = torch.from_numpy(_angles(30, 120, 190))
    batch = Batch(x, torch.tensor([0, 1, 3]), network(x), ())
    assert torch.equal(again.terms(network, batch)["icarl"], method.terms(network, batch)["icarl"])
    scores, resumed_scores = (m.scores(network, x) for m in (method, again))
    assert scores is not None and resumed_scores is not None
    assert torch.equal(resumed_scores, scores)
    with pytest.raises(FileFormatError, match="not complete"):
        again.load_state(
            network, {k: v for k, v in method.state().items() if not k.startswith("teacher")}
        )


def test_fewer_exemplars_than_classes_are_refused() -> None:
    with pytest.raises(UsageError, match=r"expected 2 or more, found 1"):
        ICaRL(ICaRLConfig(exemplars=1)).begin_task(Identity(), FIRST)


def test_a_network_without_a_classifier_is_refused() -> None:
    with pytest.raises(UsageError, match="no such module"):
        ICaRL().begin_task(nn.Linear(2, 2), FIRST)
