"""SSD: who is distilled, the loss by hand, and a teacher that stands still."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from neurokd.config.continual import LearningConfig, SSDConfig
from neurokd.continual.frozen import Teacher
from neurokd.continual.gradient_learner import GradientLearner
from neurokd.continual.method import Batch
from neurokd.continual.observe import Observer
from neurokd.continual.ssd import SSD, active_shares, distilled_neurons, level_weights, most_active
from neurokd.data import LabelledData
from neurokd.data.stream import Task
from neurokd.errors import FileFormatError, UsageError
from neurokd.models import MLP
from neurokd.models.sdmlp import SDMLP
from neurokd.models.topk import TopK

NONE = torch.Generator()


class Plain(nn.Module):
    """What comes in is what competes: three neurons, one winner, two classes."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 3, bias=False)
        self.winners = TopK(3, k=1, inhibition="mask")
        self.classifier = nn.Linear(3, 2, bias=False)
        with torch.no_grad():
            self.first.weight.copy_(torch.eye(3))
            self.classifier.weight.copy_(torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]]))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.winners(self.first(x)))
        return logits


def _task(x: Any, y: Any, index: int = 0) -> Task:
    data = LabelledData("tiny", np.array(x, dtype=np.float32), np.array(y))
    return Task(index, tuple(sorted(set(data.y.tolist()))), data, data)


TASK = _task([[3, 1, 0], [2, 0, 1], [0, 1, 0], [0, 2, 1], [0, 0, 1.0]], [0, 0, 1, 1, 1])


def _batch(network: nn.Module, x: Tensor) -> Batch:
    observer = Observer(network)
    logits = network(x)
    observer.close()
    return Batch(x, torch.zeros(len(x), dtype=torch.int64), logits, observer.take())


def _kl(student: Any, teacher: Any, tau: float) -> float:
    """τ² mean KL(teacher ‖ student) of rows, in numpy."""
    s, t = (np.exp(np.array(a, dtype=float) / tau) for a in (student, teacher))
    p_s, p_t = (p / p.sum(axis=1, keepdims=True) for p in (s, t))
    return float(tau**2 * (p_t * np.log(p_t / p_s)).sum(axis=1).mean())


def test_shares_are_those_of_the_samples_for_which_a_neuron_wins() -> None:
    (share,) = active_shares(Teacher(Plain()), TASK.train)
    assert share.tolist() == [0.4, 0.4, 0.2]


def test_the_most_active_are_chosen_and_ties_go_to_the_lower_index() -> None:
    share = torch.tensor([0.1, 0.5, 0.3, 0.5, 0.3])
    assert [most_active(share, n).tolist() for n in (1, 2, 3)] == [[1], [1, 3], [1, 2, 3]]
    assert most_active(torch.zeros(50), 4).tolist() == [0, 1, 2, 3]


def test_a_tenth_of_a_layer_is_distilled_unless_given() -> None:
    assert [distilled_neurons(SSDConfig(), r) for r in (9, 10, 29, 1000)] == [1, 1, 2, 100]
    assert distilled_neurons(SSDConfig(n=7), 10) == 7
    assert distilled_neurons(SSDConfig(neurons="all"), 10) == 10
    with pytest.raises(UsageError, match=r"expected 1 … 10, found 11"):
        distilled_neurons(SSDConfig(n=11), 10)


def test_the_factors_of_the_levels() -> None:
    assert level_weights(SSDConfig()) == pytest.approx((0.03, 0.27))
    assert level_weights(SSDConfig(levels="hidden")) == pytest.approx((0.3, 0.0))
    assert level_weights(SSDConfig(levels="logits")) == pytest.approx((0.0, 0.3))


@pytest.mark.parametrize("hidden", ["post", "pre"])
def test_the_terms_by_hand(hidden: Any) -> None:
    network = Plain()
    method = SSD(SSDConfig(n=2, hidden=hidden, lambda_hidden=0.25, alpha=0.6, temperature=2.0))
    x = torch.tensor([[2.0, 1.0, 0.0], [0.0, 1.0, 3.0]])
    assert method.ce_weight == 1.0
    assert method.terms(network, _batch(network, x)) == {}
    method.begin_task(network, TASK)
    method.end_task(network, TASK, NONE)
    assert method.ce_weight == 0.6
    assert method.subnetwork[0].tolist() == [0, 1]
    with torch.no_grad():
        network.first.weight.copy_(torch.tensor([[1.0, 0, 0], [0, 4, 0], [0, 0, 1]]))
    # winners: teacher (2,·,·) and (·,·,3); student (·,4,·) twice
    own, past = {
        "post": ([[0, 4], [0, 4]], [[2, 0], [0, 0]]),
        "pre": ([[2, 4], [0, 4]], [[2, 1], [0, 1]]),
    }[hidden]
    logits, taught = [[0, 4], [0, 4]], [[2, 0], [0, 3]]
    found = method.terms(network, _batch(network, x))
    assert found["ssd_hidden"].item() == pytest.approx(0.4 * 0.25 * _kl(own, past, 2.0), rel=1e-5)
    assert found["ssd_logits"].item() == pytest.approx(
        0.4 * 0.75 * _kl(logits, taught, 2.0), rel=1e-5
    )


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"levels": "hidden"}, {"ssd_hidden"}),
        ({"levels": "logits"}, {"ssd_logits"}),
        ({"lambda_hidden": 0.0}, {"ssd_logits"}),
        ({"lambda_hidden": 1.0}, {"ssd_hidden"}),
        ({"alpha": 1.0}, set()),
    ],
)
def test_levels_of_weight_zero_are_left_out(options: dict[str, Any], names: set[str]) -> None:
    network, method = Plain(), SSD(SSDConfig(**options))
    method.end_task(network, TASK, NONE)
    assert method.terms(network, _batch(network, torch.rand(2, 3))).keys() == names


def test_several_layers_share_the_hidden_level() -> None:
    torch.manual_seed(0)
    network = SDMLP(6, (20, 10), 3, k=2, switch_samples=1)
    method = SSD(SSDConfig(levels="hidden", alpha=0.0, hidden="pre", temperature=0.5))
    x = torch.rand(30, 6)
    task = _task(x.numpy(), [0, 1, 2] * 10)
    method.end_task(network, task, NONE)
    assert [len(chosen) for chosen in method.subnetwork] == [2, 1]
    with torch.no_grad():
        for p in network.parameters():
            p += 0.1 * torch.rand(p.shape)
    batch = _batch(network.eval(), x)
    assert method.teacher is not None
    past = method.teacher.answer(x)[1]
    each = [
        _kl(own.pre[:, c].detach().numpy(), before.pre[:, c].numpy(), 0.5)
        for own, before, c in zip(batch.winners, past, method.subnetwork, strict=True)
    ]
    assert each[0] > 0 and each[1] == pytest.approx(0, abs=1e-9)  # one neuron has nothing to say
    found = method.terms(network, batch)["ssd_hidden"].item()
    assert found == pytest.approx(each[0] / 2, rel=1e-4)


def test_the_teacher_stands_still_while_the_network_learns() -> None:
    torch.manual_seed(0)
    network = SDMLP(3, (12,), 2, k=2, switch_samples=50)
    method = SSD()
    learner = GradientLearner(network, LearningConfig(batch_size=2, learning_rate=0.5), [method])
    generator = torch.Generator().manual_seed(0)
    learner.begin_task(TASK)
    terms = learner.epoch(TASK, generator)
    assert terms["loss"] == terms["ce"] and "ssd_logits" not in terms
    learner.end_task(TASK, generator)
    assert method.teacher is not None
    before = {k: v.clone() for k, v in method.teacher.state().items()}
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())
    learner.begin_task(TASK)
    terms = learner.epoch(TASK, generator)
    expected = 0.7 * terms["ce"] + terms["ssd_hidden"] + terms["ssd_logits"]
    assert terms["loss"] == pytest.approx(expected, rel=1e-5)
    assert not torch.equal(before["winners.0.counts"], network.winners[0].get_buffer("counts"))
    assert all(torch.equal(before[k], v) for k, v in method.teacher.state().items())


def test_the_norm_of_the_hidden_gradient_is_that_of_an_epochs_first_batch() -> None:
    network, method = Plain(), SSD(SSDConfig(n=2, hidden="pre"))
    method.end_task(network, TASK, NONE)
    assert method.measured() == {}
    with torch.no_grad():
        network.first.weight.mul_(2.0)
    x = torch.tensor([[2.0, 1.0, 0.0]])
    term = method.terms(network, _batch(network, x))["ssd_hidden"]
    method.terms(network, _batch(network, 0 * x))  # not the first
    term.backward()
    norm = float(network.first.weight.grad.norm())  # type: ignore[union-attr]
    assert norm > 0
    assert method.measured() == {"hidden_grad_norm": pytest.approx(norm)}
    assert method.measured() == {}


def test_its_state_comes_back() -> None:
    network, method, again = Plain(), SSD(SSDConfig(n=2)), SSD(SSDConfig(n=2))
    assert method.state() == {}
    method.end_task(network, TASK, NONE)
    with torch.no_grad():
        network.first.weight.mul_(2.0)
    again.load_state(network, method.state())
    batch = _batch(network, torch.rand(4, 3))
    for name, value in method.terms(network, batch).items():
        assert torch.equal(again.terms(network, batch)[name], value)
    with pytest.raises(FileFormatError, match="shares"):
        again.load_state(SDMLP(3, (5,), 2, k=1), method.state())
    again.load_state(network, {})
    assert again.teacher is None


def test_a_network_without_top_k_layers_is_refused() -> None:
    with pytest.raises(UsageError, match="ssd needs a network with Top-K layers"):
        SSD().begin_task(MLP(3, (4,), 2), TASK)
