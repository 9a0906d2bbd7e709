"""The probe on networks whose weights are set by hand, and on random ones."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from neurokd.continual.metrics import divergence, entropy_ceiling
from neurokd.continual.probe import Probe
from neurokd.data.labelled import LabelledData
from neurokd.data.stream import Stream, split_stream
from neurokd.errors import FileFormatError, UsageError
from neurokd.models.mlp import MLP
from neurokd.models.sdmlp import SDMLP


def one_hot_stream(per_class: int = 5) -> Stream:
    """Class c is the unit vector c of six; two classes a task."""
    y = np.repeat(np.arange(6), per_class)
    return split_stream(*[LabelledData("units", np.eye(6, dtype=np.float32)[y], y)] * 2)


def identity_network() -> SDMLP:
    """Neuron i answers class i alone, and says so; neurons 6 and 7 answer nothing."""
    network = SDMLP(inputs=6, sizes=(8,), classes=6, k=1)
    with torch.no_grad():
        network.hidden[0].weight.copy_(torch.eye(8, 6))
        network.classifier.weight.copy_(torch.eye(6, 8))
    network.winners[0].counts.fill_(network.winners[0].switch_samples)
    return network


def random_network(seed: int, **options: int) -> SDMLP:
    torch.manual_seed(seed)
    return SDMLP(inputs=6, sizes=(40, 30), classes=6, k=4, **options)


def test_a_network_known_by_hand() -> None:
    stream, network = one_hot_stream(), identity_network()
    probe = Probe(stream, samples=12, n=2)
    probe.begin_task(network, stream.tasks[0])
    row = probe.measure(network, stream.tasks[0])
    # Ten test samples, five of each of the classes 0 and 1.
    assert row["samples"] == 10 and row["winners"] == [1.0]
    assert row["top"] == [[0]] and row["jaccard"] == 1.0
    assert row["dead"] == [6] and row["shared"] == [[0]]
    assert row["entropy_bits"] == pytest.approx(2 / 8)  # two neurons with p = 1/2: one bit each
    assert row["entropy_ceiling_bits"] == pytest.approx(entropy_ceiling(1, 8))
    assert row["entropy_normalised"] == pytest.approx(1 / 3)  # log 2 / log 8
    assert not {"kl", "cosine"} & row.keys()  # there is no teacher yet


def test_change_is_measured_against_the_end_of_the_task_before() -> None:
    stream, network = one_hot_stream(), identity_network()
    probe = Probe(stream, samples=20, temperature=2.0, n=2)
    probe.begin_task(network, stream.tasks[1])
    still = probe.measure(network, stream.tasks[1])
    assert (still["kl"], still["kl_old"], still["kl_new"]) == (0, 0, 0)
    assert still["cosine"] == pytest.approx(1) and still["shared"] == [[0, 0]]

    teacher = copy.deepcopy(network)
    with torch.no_grad():  # neuron 0 turns away from class 0, by 45 degrees, class 2 weighs more
        network.hidden[0].weight[0, :2] = 0.5**0.5
        network.classifier.weight[2] *= 3
    moved = probe.measure(network, stream.tasks[1])
    # 𝓘: of the earlier task the neurons 0 and 1, each of which answers half of its samples.
    assert moved["cosine"] == pytest.approx((0.5**0.5 + 1) / 2)
    x = torch.eye(6)[[0] * 5 + [1] * 5 + [2] * 5 + [3] * 5]
    network.eval()
    teacher.eval()
    with torch.no_grad():
        student_logits, teacher_logits = network(x), teacher(x)
    for name, part in (("kl", slice(20)), ("kl_old", slice(10)), ("kl_new", slice(10, 20))):
        expected = divergence(student_logits[part], teacher_logits[part], 2.0)
        assert moved[name] == pytest.approx(expected) and expected > 0


def test_jaccard_compares_with_the_last_measurement() -> None:
    stream, network = one_hot_stream(), identity_network()
    probe = Probe(stream, samples=10)
    probe.begin_task(network, stream.tasks[0])
    with torch.no_grad():  # neuron 7 takes over from neuron 0
        network.hidden[0].weight[7] = network.hidden[0].weight[0]
        network.hidden[0].weight[0] = 0
        network.hidden[0].weight[1, :2] = torch.tensor([0.1, 0.9])
        network.hidden[0].weight[7, 1] = 1.0
    first = probe.measure(network, stream.tasks[0])
    assert first["top"] == [[7]] and first["jaccard"] == 0
    assert probe.measure(network, stream.tasks[0])["jaccard"] == 1


def test_the_network_is_left_as_it_was() -> None:
    stream, network = one_hot_stream(), random_network(0)
    network.train()
    network.winners[1].eval()  # a mode of its own
    before = copy.deepcopy(network.state_dict())
    random = torch.get_rng_state()
    probe = Probe(stream)
    probe.begin_task(network, stream.tasks[2])
    probe.measure(network, stream.tasks[2])
    assert network.training and network.winners[0].training and not network.winners[1].training
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert torch.equal(random, torch.get_rng_state())
    assert not any(module._forward_hooks for module in network.modules())


def test_a_resumed_probe_says_the_same() -> None:
    stream, network = one_hot_stream(), random_network(1)
    whole, task = Probe(stream), stream.tasks[1]
    whole.begin_task(network, task)
    other = random_network(2)
    whole.measure(other, task)
    resumed = Probe(stream)
    resumed.load_state({key: value.clone() for key, value in whole.state().items()})
    last = random_network(3)
    row = resumed.measure(last, task)
    assert row == whole.measure(last, task)
    assert {"kl", "kl_old", "kl_new", "cosine", "jaccard"} <= row.keys()
    assert len(row["top"]) == len(row["dead"]) == len(row["shared"]) == 2  # of two layers
    with pytest.raises(FileFormatError, match="no state of a probe"):
        resumed.load_state({"weights": torch.zeros(1)})


def test_batches_of_any_size_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, network = one_hot_stream(), random_network(4)
    rows = []
    for size in (250, 3):
        monkeypatch.setattr("neurokd.continual.activity._BATCH", size)
        probe = Probe(stream)
        probe.begin_task(random_network(5), stream.tasks[2])
        rows.append(probe.measure(network, stream.tasks[2]))
    assert rows[0].keys() == rows[1].keys()
    for name, value in rows[0].items():
        assert np.asarray(rows[1][name]) == pytest.approx(np.asarray(value), rel=1e-5), name


def test_of_a_relu_network_only_the_predictions_are_measured() -> None:
    stream, network = one_hot_stream(), MLP(inputs=6, sizes=(5,), classes=6)
    probe = Probe(stream)
    probe.begin_task(network, stream.tasks[0])
    assert probe.measure(network, stream.tasks[0]) == {"samples": 10}
    probe.begin_task(network, stream.tasks[1])
    row = probe.measure(network, stream.tasks[1])
    assert row == {"samples": 20, "kl": 0, "kl_old": 0, "kl_new": 0}


def test_weights_that_are_not_directly_before_the_layer_are_left_out() -> None:
    stream, network = one_hot_stream(), random_network(6)
    indirect = nn.Sequential(nn.Linear(6, 40), nn.Tanh(), network.winners[0], nn.Linear(40, 6))
    probe = Probe(stream)
    probe.begin_task(indirect, stream.tasks[1])
    row = probe.measure(indirect, stream.tasks[1])
    assert "cosine" not in row and "jaccard" in row


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(UsageError, match="each task"):
        Probe(one_hot_stream(), samples=2)
