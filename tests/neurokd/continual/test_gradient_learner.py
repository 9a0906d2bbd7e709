"""The learner by gradients: a step by hand, restarts to the bit, and what it may not see."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from neurokd.config.continual import (
    EWCConfig,
    ICaRLConfig,
    L2Config,
    LearningConfig,
    MASConfig,
    SIConfig,
    SSDConfig,
)
from neurokd.continual.ewc import EWC
from neurokd.continual.gradient_learner import GradientLearner
from neurokd.continual.icarl import ICaRL
from neurokd.continual.l2 import L2
from neurokd.continual.lwf import LwF
from neurokd.continual.mas import MAS
from neurokd.continual.method import Batch, Method
from neurokd.continual.si import SI
from neurokd.continual.ssd import SSD
from neurokd.data import LabelledData
from neurokd.data.stream import Stream, Task, split_stream
from neurokd.errors import FileFormatError, TrainingDivergedError, UsageError
from neurokd.models import MLP
from neurokd.models.sdmlp import SDMLP


def _task(x: Any, y: list[int], index: int = 0) -> Task:
    data = LabelledData("tiny", np.asarray(x, dtype=np.float32), np.array(y))
    return Task(index, tuple(sorted(set(y))), data, data)


def _zeros(inputs: int, classes: int) -> nn.Linear:
    layer = nn.Linear(inputs, classes, bias=False)
    nn.init.zeros_(layer.weight)
    return layer


def _stream() -> Stream:
    rng = np.random.default_rng(0)
    centres, y = rng.random((6, 8)), np.arange(90) % 6
    x = np.clip(centres[y] + 0.1 * rng.normal(size=(90, 8)), 0, 1).astype(np.float32)
    data = LabelledData("six", x, y)
    return split_stream(data, data, per_task=2)


def _network() -> SDMLP:
    torch.manual_seed(0)
    return SDMLP(8, (30,), 6, k=3, switch_samples=60)


PENALTIES: dict[str, Callable[[], Method]] = {
    "ewc": lambda: EWC(EWCConfig(beta=1.0, batches=2, batch_size=7)),
    "si": lambda: SI(SIConfig(weight=10.0, beta=1.0)),
    "mas": lambda: MAS(MASConfig(weight=0.5)),
    "l2": lambda: L2(L2Config(weight=0.1)),
    "lwf": lambda: LwF(),
    "ssd": lambda: SSD(SSDConfig(n=5)),
}
METHODS: dict[str, tuple[str, ...]] = {
    **{name: (name,) for name in PENALTIES},
    "none": (),
    "icarl": ("icarl",),
    "all": tuple(PENALTIES),
    "icarl with ewc": ("icarl", "ewc"),
}


def _methods(names: tuple[str, ...]) -> list[Method]:
    made = {**PENALTIES, "icarl": lambda: ICaRL(ICaRLConfig(exemplars=12))}
    return [made[name]() for name in names]


def _learn(learner: GradientLearner, task: Task, generator: torch.Generator, epochs: int) -> None:
    learner.begin_task(task)
    for _ in range(epochs):
        learner.epoch(task, generator)
    learner.end_task(task, generator)


def test_a_step_by_hand() -> None:
    network = _zeros(2, 2)
    learner = GradientLearner(network, LearningConfig(learning_rate=0.5, clip_norm=0))
    task = _task([[1.0, 2.0]], [0])
    learner.begin_task(task)
    metrics = learner.epoch(task, torch.Generator())
    assert metrics == {
        "loss": pytest.approx(np.log(2)),
        "ce": pytest.approx(np.log(2)),
        "accuracy": 1.0,
    }
    # θ − rate (p − y) xᵀ = −½ (∓½)(1, 2)
    torch.testing.assert_close(network.weight.data, torch.tensor([[0.25, 0.5], [-0.25, -0.5]]))


def test_all_gradients_together_are_clipped() -> None:
    network = _zeros(2, 2)
    learner = GradientLearner(network, LearningConfig(learning_rate=1.0, clip_norm=0.1))
    task = _task([[30.0, 40.0]], [0])
    learner.begin_task(task)
    learner.epoch(task, torch.Generator())
    # the direction is (∓½)(30, 40), of length 50/√2; its length becomes 0.1
    expected = 0.1 / np.sqrt(2) * torch.tensor([[0.6, 0.8], [-0.6, -0.8]])
    torch.testing.assert_close(network.weight.data, expected.float(), rtol=1e-5, atol=0)


def test_momentum_begins_anew_with_each_task() -> None:
    def ends(*tasks: int) -> torch.Tensor:
        network = _zeros(1, 2)
        learner = GradientLearner(
            network, LearningConfig(learning_rate=0.1, momentum=0.5, clip_norm=0)
        )
        for index in tasks:
            if index:
                learner.begin_task(_task([[1.0]], [0]))
            learner.epoch(_task([[1.0]], [0]), torch.Generator())
        return network.weight.data[0, 0]

    first = 0.1 * 0.5
    p = 1 / (1 + np.exp(-2 * first))
    assert float(ends(1, 0)) == pytest.approx(first + 0.1 * (0.5 * 0.5 + 1 - p), rel=1e-5)
    assert float(ends(1, 1)) == pytest.approx(first + 0.1 * (1 - p), rel=1e-5)


def test_every_sample_is_seen_once_and_the_means_are_over_samples() -> None:
    seen: list[torch.Tensor] = []

    class Spy(Method):
        def terms(self, network: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
            seen.append(batch.x[:, 0])
            return {"spy": batch.x[:, 0].mean()}

    learner = GradientLearner(_zeros(1, 2), LearningConfig(batch_size=4), [Spy()])
    task = _task(np.arange(10)[:, None], [0, 1] * 5)
    learner.begin_task(task)
    metrics = learner.epoch(task, torch.Generator().manual_seed(0))
    assert [len(batch) for batch in seen] == [4, 4, 2]
    assert sorted(torch.cat(seen).tolist()) == list(range(10))
    assert metrics["spy"] == pytest.approx(4.5)


def test_the_loss_is_the_product_of_the_weights_times_cross_entropy_and_all_terms() -> None:
    class Half(Method):
        @property
        def ce_weight(self) -> float:
            return 0.5

        def terms(self, network: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
            return {type(self).__name__: torch.tensor(2.0)}

    class Third(Half):
        @property
        def ce_weight(self) -> float:
            return 1 / 3

    learner = GradientLearner(_zeros(1, 2), LearningConfig(), [Half(), Third()])
    task = _task([[1.0]], [0])
    learner.begin_task(task)
    loss = learner.epoch(task, torch.Generator())["loss"]
    assert loss == pytest.approx(np.log(2) / 6 + 4)


def test_the_constraints_hold_after_every_step_and_before_the_methods_look() -> None:
    class Look(Method):
        def terms(self, network: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
            return {}

        def after_step(self, network: nn.Module) -> None:
            weight = network.get_parameter("hidden.0.weight")
            assert min(float(p.detach().min()) for p in network.parameters()) >= 0
            torch.testing.assert_close(weight.detach().norm(dim=1), torch.ones(30))

    learner = GradientLearner(_network(), LearningConfig(learning_rate=0.5, batch_size=8), [Look()])
    task = _stream().tasks[0]
    learner.begin_task(task)
    learner.epoch(task, torch.Generator().manual_seed(0))


def test_divergence_names_the_place() -> None:
    learner = GradientLearner(_zeros(1, 2), LearningConfig())
    task = _task([[1.0]], [0], index=2)
    learner.begin_task(task)
    learner.epoch(task, torch.Generator())
    learner.network.get_parameter("weight").data.fill_(torch.nan)
    with pytest.raises(TrainingDivergedError, match=r"task 3, epoch 2: .* ce nan.*learning_rate"):
        learner.epoch(task, torch.Generator())


@pytest.mark.parametrize("names", METHODS.values(), ids=METHODS)
@pytest.mark.training
def test_a_restart_goes_on_with_the_same_bits(names: tuple[str, ...]) -> None:
    """Interrupted in the middle of the second task, and of all that the methods keep there."""
    tasks, learning = _stream().tasks, LearningConfig(batch_size=8, momentum=0.5)
    whole = GradientLearner(_network(), learning, _methods(names))
    generator = torch.Generator().manual_seed(1)
    _learn(whole, tasks[0], generator, 2)
    whole.begin_task(tasks[1])
    whole.epoch(tasks[1], generator)
    state, source = whole.state(), generator.get_state()
    kept = {key: value.clone() for key, value in state.items()}

    torch.manual_seed(5)
    resumed = GradientLearner(SDMLP(8, (30,), 6, k=3, switch_samples=60), learning, _methods(names))
    resumed.load_state(state)
    ends = []
    for learner in (whole, resumed):
        generator.set_state(source)
        found = learner.epoch(tasks[1], generator)
        learner.end_task(tasks[1], generator)
        _learn(learner, tasks[2], generator, 2)
        x = torch.from_numpy(tasks[0].test.x)
        ends.append((found, learner.state(), learner.scores(x)))
    assert ends[0][0] == ends[1][0]
    assert ends[0][1].keys() == ends[1][1].keys()
    for key, value in ends[0][1].items():
        assert torch.equal(ends[1][1][key], value), key
    assert torch.equal(ends[0][2], ends[1][2])
    assert all(torch.equal(state[key], value) for key, value in kept.items())  # it was a copy


def test_dropout_is_drawn_from_the_generator() -> None:
    task, learning = _stream().tasks[0], LearningConfig(batch_size=8)
    ends = []
    for noise, seed in ((1, 7), (2, 7), (1, 8)):
        torch.manual_seed(0)
        learner = GradientLearner(MLP(8, (20,), 6, dropout=0.5), learning)
        torch.manual_seed(noise)
        before = torch.get_rng_state()
        generator = torch.Generator().manual_seed(seed)
        learner.begin_task(task)
        learner.epoch(task, generator)
        assert torch.equal(torch.get_rng_state(), before)
        ends.append(learner.network.get_parameter("classifier.weight").detach().clone())
    assert torch.equal(ends[0], ends[1])
    assert not torch.equal(ends[0], ends[2])


def test_an_epoch_takes_one_permutation_from_the_generator() -> None:
    task, generators = _stream().tasks[0], [torch.Generator().manual_seed(3) for _ in range(2)]
    learner = GradientLearner(_network(), LearningConfig())
    learner.begin_task(task)
    learner.epoch(task, generators[0])
    torch.randperm(len(task.train), generator=generators[1])
    assert torch.equal(generators[0].get_state(), generators[1].get_state())


def test_scores_change_nothing() -> None:
    learner = GradientLearner(MLP(8, (20,), 6, dropout=0.5), LearningConfig())
    learner.network.train()
    before, x = learner.state(), torch.rand(5, 8)
    assert torch.equal(learner.scores(x), learner.scores(x))
    assert learner.network.training and all(m.training for m in learner.network.modules())
    assert all(torch.equal(learner.state()[key], value) for key, value in before.items())


@pytest.mark.training
@pytest.mark.parametrize("names", METHODS.values(), ids=METHODS)
def test_samples_of_other_tasks_have_no_part_in_it(names: tuple[str, ...]) -> None:
    """A task's samples are spoilt before its time and after; the weights are the same."""

    def ends(spoilt: bool) -> dict[str, torch.Tensor]:
        tasks = _stream().tasks
        clean = [task.train.x.copy() for task in tasks]
        learner = GradientLearner(_network(), LearningConfig(batch_size=8), _methods(names))
        generator = torch.Generator().manual_seed(1)
        for index, task in enumerate(tasks):
            for other in tasks:
                other.train.x[:] = np.nan if spoilt else clean[other.index]
            task.train.x[:] = clean[index]
            _learn(learner, task, generator, 2)
        return learner.state()

    expected, found = ends(False), ends(True)
    for key, value in expected.items():
        assert torch.equal(found[key], value), key


@pytest.mark.training
def test_a_method_remembers_what_is_forgotten_without_it() -> None:
    tasks = _stream().tasks
    kept = {}
    for name, methods in {"none": [], "l2": [L2(L2Config(weight=10.0))]}.items():
        torch.manual_seed(0)
        learning = LearningConfig(batch_size=8, learning_rate=0.1)
        learner = GradientLearner(MLP(8, (30,), 6), learning, methods)
        generator = torch.Generator().manual_seed(1)
        for task in tasks[:2]:
            _learn(learner, task, generator, 40)
        right = learner.scores(torch.from_numpy(tasks[0].test.x)).argmax(1).numpy()
        kept[name] = float((right == tasks[0].test.y).mean())
    assert kept["none"] < 0.2 and kept["l2"] > 0.8


def test_a_method_given_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="twice"):
        GradientLearner(_network(), LearningConfig(), [L2(), L2()])


def test_a_foreign_state_is_refused() -> None:
    learner = GradientLearner(_network(), LearningConfig(momentum=0.5))
    state = learner.state()
    for foreign, message in (
        ({**state, "ewc.offset": torch.zeros(())}, "state of ewc"),
        ({**state, "momentum.0": torch.zeros(3)}, "momentum"),
        ({**state, "momentum.9": torch.zeros(3)}, "other weights"),
        ({k: v for k, v in state.items() if k != "epoch"}, "epoch"),
        ({k: v for k, v in state.items() if k != "network.classifier.weight"}, "do not fit"),
    ):
        with pytest.raises(FileFormatError, match=message):
            learner.load_state(foreign)
