"""The sparse engine beside the dense form: autograd on the module, SSD written out here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neurokd.config.continual import EWCConfig, L2Config, LearningConfig, MASConfig, SSDConfig
from neurokd.continual.anchored import Anchored
from neurokd.continual.ewc import EWC
from neurokd.continual.gradient_learner import GradientLearner
from neurokd.continual.l2 import L2
from neurokd.continual.mas import MAS
from neurokd.continual.method import Method
from neurokd.continual.observe import Observer, Winners
from neurokd.continual.sparse_learner import SparseLearner, epoch_together, sparse_fits
from neurokd.continual.ssd import SSD
from neurokd.data.labelled import LabelledData
from neurokd.data.stream import Task
from neurokd.errors import FileFormatError, TrainingDivergedError, UsageError
from neurokd.models import MLP
from neurokd.models.sdmlp import SDMLP

INPUTS, NEURONS, CLASSES = 12, 90, 4


def network(switch: int = 300, k: int = 3, seed: int = 0, neurons: int = NEURONS) -> SDMLP:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SDMLP(INPUTS, (neurons,), CLASSES, k=k, switch_samples=switch)


def a_task(index: int, samples: int = 70) -> Task:
    """Two classes of clouds of points; 70 samples are two batches of 32 and one of 6."""
    rng = np.random.default_rng(index)
    y = rng.integers(0, 2, samples) + 2 * (index % 2)
    centres = np.random.default_rng(99).random((CLASSES, INPUTS))
    x = (centres[y] + 0.3 * rng.standard_normal((samples, INPUTS))).astype(np.float32)
    data = LabelledData("clouds", x, y.astype(np.int64))
    return Task(index, (0, 1), data, data)


class Dense:
    """SDMLP and SSD by autograd: what the specification says, as plainly as it can be written."""

    def __init__(self, module: SDMLP, learning: LearningConfig, ssd: SSDConfig | None) -> None:
        self.module, self.learning, self.ssd = module, learning, ssd
        self.teacher: SDMLP | None = None
        self.chosen = torch.arange(0)
        self.active: list[Tensor] = []

    def forward(self, module: SDMLP, x: Tensor) -> tuple[Tensor, Winners]:
        observer = Observer(module)
        logits = module(x)
        (winners,) = observer.take()
        observer.close()
        return logits, winners

    def distilled(self, student: Tensor, teacher: Tensor) -> Tensor:
        assert self.ssd is not None
        own = F.log_softmax(student / self.ssd.temperature, dim=1)
        other = F.log_softmax(teacher / self.ssd.temperature, dim=1)
        if self.ssd.direction == "student-teacher":
            own, other = other, own
        kl = F.kl_div(own, other, reduction="batchmean", log_target=True)
        return self.ssd.temperature**2 * kl

    def loss(self, x: Tensor, y: Tensor) -> tuple[Tensor, dict[str, float]]:
        logits, winners = self.forward(self.module, x)
        self.active.append(winners.post.detach() > 0)
        ce = F.cross_entropy(logits, y)
        terms = {"ce": float(ce.detach())}
        if self.ssd is None or self.teacher is None:
            return ce, terms
        with torch.no_grad():
            taught, before = self.forward(self.teacher, x)
        own = getattr(winners, self.ssd.hidden)[:, self.chosen]
        hidden = self.distilled(own, getattr(before, self.ssd.hidden)[:, self.chosen])
        on_logits = self.distilled(logits, taught)
        part = {"both": self.ssd.lambda_hidden, "hidden": 1.0, "logits": 0.0}[self.ssd.levels]
        rest = 1 - self.ssd.alpha
        hidden, on_logits = rest * part * hidden, rest * (1 - part) * on_logits
        terms |= {"ssd_hidden": float(hidden.detach()), "ssd_logits": float(on_logits.detach())}
        return self.ssd.alpha * ce + hidden + on_logits, terms

    def epoch(self, task: Task, generator: torch.Generator) -> dict[str, float]:
        self.module.train()
        optimiser = torch.optim.SGD(self.module.parameters(), lr=self.learning.learning_rate)
        sums: dict[str, float] = {}
        order = torch.randperm(len(task.train), generator=generator)
        for chosen in order.split(self.learning.batch_size):
            x, y = task.train.batch(chosen)
            loss, terms = self.loss(x, y)
            optimiser.zero_grad()
            loss.backward()
            if self.learning.clip_norm:
                nn.utils.clip_grad_norm_(self.module.parameters(), self.learning.clip_norm)
            optimiser.step()
            self.module.constrain()
            for name, value in (terms | {"loss": float(loss.detach())}).items():
                sums[name] = sums.get(name, 0.0) + len(chosen) * value
        return {name: value / len(task.train) for name, value in sums.items()}

    def end_task(self, task: Task) -> None:
        if self.ssd is None:
            return
        self.teacher = network(neurons=self.module.winners[0].neurons)
        self.teacher.winners[0].switch_samples = self.module.winners[0].switch_samples
        self.teacher.winners[0].k = self.module.winners[0].k
        self.teacher.load_state_dict(self.module.state_dict())
        self.teacher.eval()
        with torch.no_grad():
            _, winners = self.forward(self.teacher, torch.from_numpy(task.train.x))
        often = (winners.post > 0).sum(dim=0)
        neurons = len(often)
        n = neurons if self.ssd.neurons == "all" else self.ssd.n or max(1, neurons // 10)
        self.chosen = often.argsort(descending=True, stable=True)[:n].sort().values


def assert_same_network(ours: SDMLP, dense: SDMLP, atol: float = 2e-5) -> None:
    """Weights to the rounding of a few hundred float32 steps; counters exactly, which are sums of
    the active sets of all steps."""
    a, b = ours.state_dict(), dense.state_dict()
    assert a.keys() == b.keys()
    for key in a:
        if a[key].dtype == torch.int64:
            assert torch.equal(a[key], b[key]), key
        else:
            torch.testing.assert_close(a[key], b[key], atol=atol, rtol=0)


def run_both(
    learning: LearningConfig,
    ssd: SSDConfig | None,
    epochs: Sequence[int],
    switch: int = 300,
    k: int = 3,
    neurons: int = NEURONS,
) -> tuple[SparseLearner, Dense]:
    sparse = SparseLearner(network(switch, k, neurons=neurons), learning, ssd)
    dense = Dense(network(switch, k, neurons=neurons), learning, ssd)
    for index, number in enumerate(epochs):
        task = a_task(index)
        generators = [torch.Generator().manual_seed(index) for _ in range(2)]
        sparse.begin_task(task)
        for _ in range(number):
            ours = sparse.epoch(task, generators[0])
            theirs = dense.epoch(task, generators[1])
            for name, value in theirs.items():
                if name in ours:
                    assert ours[name] == pytest.approx(value, rel=2e-4, abs=2e-6), name
                else:
                    assert value == 0, name
            assert_same_network(sparse.network, dense.module)
        sparse.end_task(task, generators[0])
        dense.end_task(task)
    return sparse, dense


def density(dense: Dense) -> list[float]:
    return [float(active.float().mean()) for active in dense.active]


@pytest.mark.parametrize("clip_norm", [1.0, 0.05, 0.0])
def test_steps_are_those_of_autograd_before_during_and_after_the_switch(clip_norm: float) -> None:
    learning = LearningConfig(batch_size=32, learning_rate=0.5, clip_norm=clip_norm)
    _, dense = run_both(learning, None, [25, 5])
    of_all = density(dense)
    assert of_all[0] == 1.0  # excited: every neuron is active
    assert of_all[-1] < 1 / 8  # the lists of active neurons are used
    assert any(1 / 8 < part < 0.9 for part in of_all)


@pytest.mark.parametrize(
    ("levels", "direction", "hidden", "neurons"),
    [
        *product(
            ["both", "hidden", "logits"],
            ["teacher-student", "student-teacher"],
            ["post", "pre"],
            ["selective", "all"],
        )
    ],
)
@pytest.mark.parametrize("switch", [60, 2000], ids=["switched", "switching"])
def test_ssd_is_that_of_autograd_with_every_option(
    levels: str, direction: str, hidden: str, neurons: str, switch: int
) -> None:
    ssd = SSDConfig.model_validate(
        {
            "levels": levels,
            "direction": direction,
            "hidden": hidden,
            "neurons": neurons,
            "alpha": 0.4,
            "lambda_hidden": 0.6,
            "temperature": 0.7,  # so small that both terms have a say
            "n": None if neurons == "all" else 20,
        }
    )
    learning = LearningConfig(batch_size=32, learning_rate=0.3)
    sparse, dense = run_both(learning, ssd, [3, 3, 2], switch)
    assert sparse.teacher is not None
    assert torch.equal(sparse.teacher.chosen, dense.chosen)


@pytest.mark.parametrize(("neurons", "k"), [(70, 1), (200, 40), (640, 5)])
def test_steps_are_those_of_autograd_for_other_sizes(neurons: int, k: int) -> None:
    learning = LearningConfig(batch_size=16, learning_rate=0.2)
    run_both(learning, SSDConfig(temperature=1.0), [12, 3], k=k, neurons=neurons)


def small(
    seed: int = 0,
    ssd: SSDConfig | None = None,
    rate: float = 0.3,
    pull: str | None = None,
    momentum: float = 0.0,
) -> SparseLearner:
    learning = LearningConfig(batch_size=32, learning_rate=rate, momentum=momentum)
    return SparseLearner(network(100, seed=seed), learning, ssd, pulling(pull))


def pulling(name: str | None) -> Anchored | None:
    """With weights at which each has a say beside the cross-entropy of the clouds."""
    options: dict[str, Callable[[], Anchored]] = {
        "ewc": lambda: EWC(EWCConfig(weight=20.0, beta=0.5, batch_size=16)),
        "mas": lambda: MAS(MASConfig(weight=0.05)),
        "l2": lambda: L2(L2Config(weight=0.1)),
    }
    return None if name is None else options[name]()


def same_bits(a: SparseLearner, b: SparseLearner) -> bool:
    x, y = a.state(), b.state()
    return x.keys() == y.keys() and all(torch.equal(x[key], y[key]) for key in x)


def learn(learner: SparseLearner, epochs: Sequence[int], seed: int = 0) -> torch.Generator:
    generator = torch.Generator().manual_seed(seed)
    for index, number in enumerate(epochs):
        task = a_task(index)
        learner.begin_task(task)
        for _ in range(number):
            learner.epoch(task, generator)
        learner.end_task(task, generator)
    return generator


@pytest.mark.parametrize(
    ("hidden", "pull", "momentum"),
    [("post", None, 0.0), ("pre", None, 0.0), ("post", "ewc", 0.9), ("pre", "mas", 0.0)],
)
@pytest.mark.parametrize("taught", [1, 2])
def test_a_learner_that_takes_up_a_state_goes_on_to_the_same_bits(
    hidden: str, pull: str | None, momentum: float, taught: int
) -> None:
    ssd = SSDConfig.model_validate({"hidden": hidden, "temperature": 1.0})
    whole, first = (small(0, ssd, 0.1, pull, momentum) for _ in range(2))
    generators = [learn(each, [4] * taught) for each in (whole, first)]
    task = a_task(taught)
    for each, generator in zip((whole, first), generators, strict=True):
        each.begin_task(task)
        each.epoch(task, generator)
    kept = {key: value.clone() for key, value in first.state().items()}
    resumed = small(5, ssd, 0.1, pull, momentum)
    resumed.load_state(kept)
    for each, generator in zip((whole, resumed), generators, strict=True):
        each.epoch(task, generator)
        each.end_task(task, generator)
    assert same_bits(whole, resumed)
    assert not same_bits(whole, first)


def same_epoch(
    stacked: Sequence[SparseLearner],
    alone: Sequence[SparseLearner],
    tasks: Sequence[Task],
    generators: Sequence[Sequence[torch.Generator]],
) -> list[dict[str, float]]:
    """An epoch in lockstep, and the same one learner after another: the same losses and bits."""
    together = epoch_together(stacked, tasks, generators[0])
    assert together == [
        learner.epoch(task, generator)
        for learner, task, generator in zip(alone, tasks, generators[1], strict=True)
    ]
    assert all(same_bits(a, b) for a, b in zip(stacked, alone, strict=True))
    return together


def test_learners_in_a_stack_get_the_bits_that_each_gets_alone() -> None:
    options: list[SSDConfig | None] = [
        None,
        SSDConfig(temperature=1.0),
        SSDConfig(temperature=2.0, n=30, alpha=0.2, direction="student-teacher"),
        SSDConfig(temperature=1.0, hidden="pre", lambda_hidden=0.9),
        SSDConfig(neurons="all", levels="hidden", temperature=0.5),
    ]
    stacked = [small(seed, ssd, 0.1 + 0.1 * seed) for seed, ssd in enumerate(options)]
    alone = [small(seed, ssd, 0.1 + 0.1 * seed) for seed, ssd in enumerate(options)]
    generators = [
        [torch.Generator().manual_seed(seed) for seed in range(len(options))] for _ in range(2)
    ]
    for index in range(3):
        tasks = [a_task(index, 70 + 16 * (seed % 3)) for seed in range(len(options))]
        for _ in range(3):
            same_epoch(stacked, alone, tasks, generators)
        for mine, task in enumerate(tasks):
            stacked[mine].end_task(task, generators[0][mine])
            alone[mine].end_task(task, generators[1][mine])


def test_learners_that_are_pulled_get_the_bits_in_a_stack_that_each_gets_alone() -> None:
    ssd = SSDConfig(temperature=1.0)
    kinds = [("ewc", None, 0.9), ("mas", ssd, 0.0), ("l2", None, 0.0)]
    stacked, alone = (
        [small(seed, own, 0.1, pull, mu) for seed, (pull, own, mu) in enumerate(kinds)]
        for _ in range(2)
    )
    generators = [[torch.Generator().manual_seed(s) for s in range(3)] for _ in range(2)]
    for mine in range(3):
        for each, generator in ((stacked[mine], generators[0]), (alone[mine], generators[1])):
            each.epoch(a_task(0), generator[mine])
            each.end_task(a_task(0), generator[mine])
            each.begin_task(a_task(1))
    tasks = [a_task(1, 70), a_task(1, 86), a_task(1, 38)]
    for _ in range(3):
        together = same_epoch(stacked, alone, tasks, generators)
    assert all(found[name] > 0 for found, name in zip(together, ("ewc", "mas", "l2"), strict=True))
    with pytest.raises(UsageError, match="or none"):
        epoch_together([alone[0], small()], [a_task(1)] * 2, generators[0][:2])


def test_learners_of_other_shapes_do_not_step_together() -> None:
    learners = [small(), SparseLearner(network(neurons=40), LearningConfig())]
    tasks, generators = [a_task(0)] * 2, [torch.Generator(), torch.Generator()]
    with pytest.raises(UsageError, match="one shape"):
        epoch_together(learners, tasks, generators)


def test_threads_share_the_rows_without_changing_what_comes_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Matrix products aside, whose last bits may be others: here they are of one thread."""
    from neurokd.continual import sparse_step

    ssd = SSDConfig(temperature=1.0)
    one, three = small(ssd=ssd), small(ssd=ssd)
    learn(one, [5, 3])
    parts: list[tuple[int, int]] = []

    def split(count: int, unit: int, work: Callable[[int, int], None]) -> None:
        for part in ((count // 2, count), (0, count // 3), (count // 3, count // 2)):
            parts.append(part)
            work(*part)

    monkeypatch.setattr(sparse_step, "SMALL", 0)
    monkeypatch.setattr(sparse_step, "in_threads", split)
    learn(three, [5, 3])
    assert parts
    assert same_bits(one, three)


def test_a_teacher_that_says_too_much_to_be_kept_is_asked_every_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from neurokd.continual import sparse_learner

    ssd = SSDConfig(temperature=1.0, lambda_hidden=0.5)
    kept, asked = small(ssd=ssd), small(ssd=ssd)
    learn(kept, [5, 3])
    monkeypatch.setattr(sparse_learner, "MOST_KEPT", 1)
    learn(asked, [5, 3])
    assert_same_network(asked.network, kept.network, atol=1e-6)


def test_the_network_is_the_one_that_was_given_and_scores_leave_it_alone() -> None:
    module = network(100)
    learner = SparseLearner(module, LearningConfig(batch_size=32))
    assert learner.network is module
    learn(learner, [2])
    assert int(module.winners[0].seen) == 140
    before = {key: value.clone() for key, value in module.state_dict().items()}
    x = torch.from_numpy(a_task(0).train.x)
    scores = learner.scores(x)
    assert scores.shape == (70, CLASSES)
    assert torch.equal(scores, module.eval()(x))
    assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())


def test_it_fits_one_hidden_layer_of_sdmlp_with_one_pull() -> None:
    for methods in ([], ["ssd"], ["ssd", "ewc"], ["mas"], ["l2", "ssd"]):
        assert sparse_fits(network(), methods)
    for methods in (["si"], ["ewc", "l2"], ["ssd", "lwf"], ["icarl"]):
        assert not sparse_fits(network(), methods)
    assert not sparse_fits(SDMLP(4, (20, 20), 2, k=3))
    assert not sparse_fits(SDMLP(4, (20,), 2, k=3, inhibition="mask"))
    assert not sparse_fits(network().double())
    assert not sparse_fits(MLP(4, (20,), 2))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(UsageError, match="sparse engine"):
        SparseLearner(network().double(), LearningConfig())
    with pytest.raises(UsageError, match="ssd.n"):
        SparseLearner(network(), LearningConfig(), SSDConfig(n=NEURONS + 1))
    state = small().state()
    with pytest.raises(FileFormatError, match="another learner"):
        small().load_state({**state, "momentum.weights": torch.zeros(1)})
    learning = LearningConfig(momentum=0.9)
    for foreign in ({}, {"momentum.weights": torch.zeros(1)}):
        with pytest.raises(FileFormatError, match="momentum"):
            SparseLearner(network(100), learning).load_state({**state, **foreign})
    taught = small(ssd=SSDConfig(n=5))
    learn(taught, [1])
    with pytest.raises(FileFormatError, match="teacher"):
        small(ssd=SSDConfig(n=6)).load_state(taught.state())
    with pytest.raises(FileFormatError, match="another learner"):
        small().load_state(taught.state())


def test_a_loss_that_is_no_number_ends_the_run() -> None:
    learner = small()
    learner.network.classifier.weight.data.fill_(float("inf"))
    with pytest.raises(TrainingDivergedError, match="task 1, epoch 1"):
        learn(learner, [1])


@pytest.mark.parametrize(
    ("hidden", "pull", "momentum", "clip_norm"),
    [
        ("post", None, 0.0, 1.0),
        ("pre", None, 0.0, 1.0),
        (None, None, 0.9, 1.0),
        (None, "ewc", 0.0, 0.0),
        ("post", "ewc", 0.9, 0.5),
        ("pre", "mas", 0.5, 1.0),
        ("post", "l2", 0.0, 1.0),
    ],
)
@pytest.mark.parametrize("switch", [100, 2000], ids=["switched", "switching"])
def test_both_engines_learn_a_stream_alike(
    hidden: str | None, pull: str | None, momentum: float, clip_norm: float, switch: int
) -> None:
    values = {"hidden": hidden, "temperature": 1.0}
    ssd = SSDConfig.model_validate(values) if hidden else None
    learning = LearningConfig(
        batch_size=32, learning_rate=0.1, momentum=momentum, clip_norm=clip_norm
    )
    sparse = SparseLearner(network(switch), learning, ssd, pulling(pull))
    methods: list[Method] = [SSD(ssd)] if ssd else []
    methods += [pulling(pull)] if pull else []  # type: ignore[list-item]
    dense = GradientLearner(network(switch), learning, methods)
    generators = [torch.Generator().manual_seed(1) for _ in range(2)]
    for index in range(3):
        task = a_task(index)
        sparse.begin_task(task)
        dense.begin_task(task)
        for _ in range(4):
            ours = sparse.epoch(task, generators[0])
            theirs = dense.epoch(task, generators[1])
            assert ours == pytest.approx({key: theirs[key] for key in ours}, rel=2e-4, abs=2e-6)
            assert theirs.keys() - ours.keys() <= {"hidden_grad_norm"}
            assert pull is None or index == 0 or ours[pull] > 0
        sparse.end_task(task, generators[0])
        dense.end_task(task, generators[1])
        other = dense.network
        assert isinstance(other, SDMLP)
        assert_same_network(sparse.network, other)
