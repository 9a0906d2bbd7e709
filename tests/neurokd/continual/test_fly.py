"""FlyModel: its projection, its winners and its rule by hand, and that it learns a stream."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from neurokd.continual.fly import FlyLearner, FlyModel, KenyonCells, associate
from neurokd.data import LabelledData
from neurokd.data.stream import Task
from neurokd.errors import FileFormatError, UsageError


def test_every_cell_sees_the_same_number_of_inputs_and_not_the_same_ones() -> None:
    torch.manual_seed(0)
    network = FlyModel(inputs=20, cells=50, classes=3, k=4, density=0.25)
    assert network.projection.sum(dim=1).tolist() == [5] * 50
    assert len({tuple(row.tolist()) for row in network.projection}) > 40
    assert not network.classifier.weight.any()
    assert not any(p.requires_grad for p in network.parameters())


def test_winners_are_scaled_to_one_and_nothing_negative_wins() -> None:
    cells = KenyonCells(4, 2)
    found = cells(torch.tensor([[1.0, 4.0, 2.0, 0.5], [-1.0, -2.0, 3.0, -4.0], [0.0] * 4]))
    expected = [[0.0, 1.0, 0.5, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0] * 4]
    assert found.tolist() == expected


def test_centred_inputs_have_the_same_winners() -> None:
    torch.manual_seed(0)
    network = FlyModel(inputs=20, cells=50, classes=3, k=4, density=0.25)
    x = torch.rand(5, 20, dtype=torch.float64)
    winners = [
        (y @ network.projection.double().T).topk(4, dim=1).indices for y in (x, x - x.mean(1, True))
    ]
    assert torch.equal(*winners)


def test_the_rule_by_hand() -> None:
    weight = torch.tensor([[0.5, 0.95, 0.2], [0.4, 0.6, 0.8]])
    associate(weight, torch.tensor([[0.5, 1.0, 0.0]]), torch.tensor([0]), rate=0.1, decay=0.0)
    torch.testing.assert_close(weight, torch.tensor([[0.55, 1.0, 0.2], [0.4, 0.6, 0.8]]))
    associate(weight, torch.tensor([[0.0, 0.0, 1.0]]), torch.tensor([1]), rate=0.1, decay=0.5)
    torch.testing.assert_close(weight, torch.tensor([[0.275, 0.5, 0.1], [0.4, 0.6, 0.9]]))


def test_samples_are_learned_in_their_order() -> None:
    h = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    together, alone = torch.full((2, 2), 0.5), torch.full((2, 2), 0.5)
    associate(together, h, torch.tensor([0, 1]), rate=0.2, decay=0.1)
    for sample, label in ((0, 0), (1, 1)):
        associate(alone, h[[sample]], torch.tensor([label]), rate=0.2, decay=0.1)
    assert torch.equal(together, alone)
    # class 0: 0.5 + 0.2, then decays by the second sample
    assert together[0].tolist() == pytest.approx([0.7 * 0.9, 0.5 * 0.9])


def _stream() -> list[Task]:
    rng = np.random.default_rng(0)
    centres = rng.random((4, 30))
    tasks = []
    for index, classes in enumerate(((0, 1), (2, 3))):
        y = np.array(classes * 40)
        x = np.clip(centres[y] + 0.05 * rng.normal(size=(80, 30)), 0, None).astype(np.float32)
        data = LabelledData("four", x, y)
        tasks.append(Task(index, classes, data, data))
    return tasks


def _learner(batch_size: int = 16) -> FlyLearner:
    torch.manual_seed(1)
    return FlyLearner(FlyModel(30, 400, 4, k=20, density=0.1), batch_size=batch_size)


def test_it_learns_a_task_and_keeps_it() -> None:
    learner, generator = _learner(), torch.Generator().manual_seed(0)
    tasks = _stream()
    for task in tasks:
        learner.begin_task(task)
        metrics = learner.epoch(task, generator)
        learner.end_task(task, generator)
    assert metrics.keys() == {"loss", "accuracy"}
    for task in tasks:
        right = learner.scores(torch.from_numpy(task.test.x)).argmax(dim=1).numpy() == task.test.y
        assert right.mean() == 1.0


def test_batches_are_no_part_of_the_rule() -> None:
    weights = []
    for batch_size in (1, 33):
        learner = _learner(batch_size)
        learner.epoch(_stream()[0], torch.Generator().manual_seed(3))
        weights.append(learner.network.state_dict()["classifier.weight"])
    torch.testing.assert_close(*weights)


def test_its_state_goes_on_with_the_same_bits() -> None:
    first, second = _learner(), _learner()
    task, generator = _stream()[0], torch.Generator().manual_seed(0)
    first.epoch(task, generator)
    second.network.get_buffer("projection").zero_()
    second.load_state(first.state())
    ahead = torch.Generator().manual_seed(9)
    state = ahead.get_state()
    results = [first.epoch(task, ahead), second.epoch(task, ahead.set_state(state))]
    assert results[0] == results[1]
    for key, value in first.state().items():
        assert torch.equal(second.state()[key], value)
    with pytest.raises(FileFormatError, match="do not fit"):
        first.load_state({})


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(UsageError, match="density 0.01"):
        FlyModel(inputs=20, cells=50, classes=3, k=4, density=0.01)
    with pytest.raises(UsageError, match="winners"):
        FlyModel(inputs=20, cells=50, classes=3, k=50)
