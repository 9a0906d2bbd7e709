"""Metrics on numbers small enough for paper and pencil, and against scipy."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jaccard as scipy_jaccard
from scipy.stats import entropy as scipy_entropy

from neurokd.continual.metrics import (
    accuracy_matrix,
    activation_entropy,
    average_accuracy,
    backward_transfer,
    dead_neurons,
    divergence,
    entropy_ceiling,
    forgetting,
    forward_transfer,
    jaccard,
    most_active,
    normalised_entropy,
    row_cosine,
    shared_neurons,
    summarise_stream,
    validation_accuracy,
)
from neurokd.errors import ShapeMismatchError, UsageError
from neurokd.models.topk import TopK

R = [
    [0.9, 0.1, 0.0],
    [0.7, 0.8, 0.2],
    [0.8, 0.5, 0.6],
]
"""Task 0 falls to 0.7 and comes back to 0.8, task 1 falls by 0.3."""


def test_backward_transfer_is_the_last_row_less_the_diagonal() -> None:
    assert backward_transfer(R) == pytest.approx(((0.8 - 0.9) + (0.5 - 0.8)) / 2)


def test_forgetting_counts_from_the_best_before_the_last_task() -> None:
    assert forgetting(R) == pytest.approx(((0.9 - 0.8) + (0.8 - 0.5)) / 2)
    later_best = [[0.5, 0.0, 0.0], [0.9, 0.8, 0.0], [0.6, 0.8, 0.7]]
    assert forgetting(later_best) == pytest.approx((0.9 - 0.6) / 2)
    assert backward_transfer(later_best) == pytest.approx((0.6 - 0.5) / 2)


def test_forward_transfer_is_what_was_known_before_the_task_less_the_fresh_network() -> None:
    before = [0.3, 0.15, 0.05]
    assert forward_transfer(R, before) == pytest.approx(((0.1 - 0.15) + (0.2 - 0.05)) / 2)
    with pytest.raises(ShapeMismatchError, match="other tasks"):
        forward_transfer(R, [0.1, 0.2])


def test_average_accuracy_counts_tasks_alike_and_validation_accuracy_samples() -> None:
    assert average_accuracy(R) == pytest.approx((0.8 + 0.5 + 0.6) / 3)
    samples = [10, 30, 60]
    assert validation_accuracy(R[2], samples, 3) == pytest.approx((8 + 15 + 36) / 100)
    assert validation_accuracy(R[1], samples, 2) == pytest.approx((7 + 24) / 40 * 2 / 3)
    assert validation_accuracy(R[0], samples, 1) == pytest.approx(0.9 / 3)
    for wrong in ([10, 30], [10, 30, 60, 1]):
        with pytest.raises(ShapeMismatchError, match="same tasks"):
            validation_accuracy(R[0], wrong, 1)
    with pytest.raises(ShapeMismatchError, match="4 seen"):
        validation_accuracy(R[0], samples, 4)


def test_what_is_no_accuracy_matrix_is_refused() -> None:
    with pytest.raises(ShapeMismatchError, match="row and a column"):
        accuracy_matrix([[0.5, 0.5]])
    for wrong in (1.5, -0.1, math.nan):
        with pytest.raises(UsageError, match="no accuracy"):
            accuracy_matrix([[wrong]])
    for metric in (backward_transfer, forgetting, lambda rows: forward_transfer(rows, [0.0])):
        with pytest.raises(UsageError, match="two tasks"):
            metric([[0.5]])


def test_entropy_is_in_bits_and_that_of_scipy() -> None:
    p = np.array([0.0, 0.25, 0.5, 0.9, 1.0])
    expected = [float(scipy_entropy([q, 1 - q], base=2)) for q in p]
    np.testing.assert_allclose(activation_entropy(p), expected, atol=1e-15)
    assert activation_entropy(p)[2] == 1.0 and activation_entropy(p)[0] == 0.0


def test_the_ceiling_of_the_entropy() -> None:
    assert entropy_ceiling(10, 10_000) == pytest.approx(0.0114, abs=5e-5)
    assert entropy_ceiling(10, 1000) == pytest.approx(0.081, abs=5e-4)
    uniform = np.full(40, 3 / 40)
    assert activation_entropy(uniform).mean() == pytest.approx(entropy_ceiling(3, 40))


@pytest.mark.parametrize("seed", range(5))
def test_the_mean_entropy_never_exceeds_the_ceiling_when_k_neurons_answer(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    layer = TopK(50, k=4)
    layer.counts.fill_(layer.switch_samples)  # the switch is complete: g = 1
    layer.eval()
    bias = torch.randn(50, generator=generator) * seed  # from even to very uneven use
    active = layer(torch.rand(300, 50, generator=generator) + bias + 10) > 0
    assert bool((active.sum(dim=1) == 4).all())
    mean = activation_entropy(active.double().mean(dim=0).numpy()).mean()
    assert 0 <= mean <= entropy_ceiling(4, 50)


def test_normalised_entropy_goes_from_one_neuron_to_all_alike() -> None:
    assert normalised_entropy([0.2] * 8) == pytest.approx(1)
    assert normalised_entropy([0.7, 0, 0, 0]) == 0
    assert normalised_entropy([0.5, 0.5, 0, 0]) == pytest.approx(0.5)  # log 2 / log 4
    p = np.random.default_rng(0).random(30)
    assert normalised_entropy(p) == pytest.approx(scipy_entropy(p / p.sum()) / math.log(30))
    assert normalised_entropy([0.0, 0.0]) == 0


def test_jaccard_and_the_most_active_neurons() -> None:
    assert jaccard([1, 2, 3], [2, 3, 4, 5]) == 2 / 5
    assert jaccard([1], [1]) == 1 and jaccard([1], [2]) == 0 and jaccard([], []) == 1
    a, b = np.random.default_rng(1).random((2, 40)) < 0.4
    same = 1 - scipy_jaccard(a, b)
    assert jaccard(np.flatnonzero(a), np.flatnonzero(b)) == pytest.approx(same)
    assert most_active([0.1, 0.5, 0.5, 0.9], 3).tolist() == [3, 1, 2]  # equals: lower index


def test_cosine_of_weight_rows() -> None:
    one = torch.tensor([[1.0, 0.0], [3.0, 4.0]])
    other = torch.tensor([[0.0, 2.0], [6.0, 8.0]])
    assert row_cosine(one, other) == pytest.approx((0 + 1) / 2)
    with pytest.raises(ShapeMismatchError, match="same neurons"):
        row_cosine(one, other[:1])


def test_divergence_of_softened_predictions_is_that_of_scipy() -> None:
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 6, 4, generator=generator, dtype=torch.float64) * 5
    p, q = (torch.softmax(z / 3, dim=1).numpy() for z in (teacher, student))
    expected = np.mean([scipy_entropy(a, b) for a, b in zip(p, q, strict=True)])
    assert divergence(student, teacher, 3.0) == pytest.approx(expected)
    assert divergence(teacher, student, 3.0) != pytest.approx(expected)
    assert divergence(teacher, teacher, 3.0) == 0
    # One sample by hand: p = (1/2, 1/2), q = (3/4, 1/4), at τ = 1.
    by_hand = divergence(torch.tensor([[math.log(3), 0.0]]), torch.zeros(1, 2), 1.0)
    assert by_hand == pytest.approx(0.5 * math.log(2 / 3) + 0.5 * math.log(2), abs=1e-6)
    with pytest.raises(UsageError, match="temperature"):
        divergence(student, teacher, 0)


def test_dead_and_shared_neurons() -> None:
    assert dead_neurons([0.0, 9e-5, 1.1e-4, 3.0]) == 2
    frequencies = [[0.5, 0.5, 0.0, 0.0], [0.0, 0.5, 0.5, 0.005], [0.3, 0.3, 0.3, 0.3]]
    assert shared_neurons(frequencies) == (0, 1, 3)


def test_the_summary_of_a_stream() -> None:
    tasks = [[0, 1], [2, 3], [4, 5]]
    summary = summarise_stream(
        tasks,
        R,
        samples=[10, 30, 60],
        before=[0.3, 0.15, 0.05],
        validation=R[::-1],
        probe={"kl": 0.5},
    )
    assert summary == {
        "format": "neurokd.continual/1",
        "tasks": tasks,
        "test_samples": [10, 30, 60],
        "matrix": R,
        "before": [0.3, 0.15, 0.05],
        "val_acc": pytest.approx(0.59),
        "average_accuracy": pytest.approx(1.9 / 3),
        "bwt": pytest.approx(-0.2),
        "forgetting": pytest.approx(0.2),
        "forward_transfer": pytest.approx(0.05),
        "validation_matrix": R[::-1],
        "probe": {"kl": 0.5},
    }
    joint = summarise_stream([[0, 1]], [[0.75]], samples=[4], before=[0.1])
    assert joint["bwt"] is joint["forgetting"] is joint["forward_transfer"] is None
    assert joint["val_acc"] == 0.75 and joint["probe"] is joint["validation_matrix"] is None
