import torch

from neurokd.training.selection import Selection


def test_accuracy_decides_and_then_the_loss() -> None:
    selection = Selection()
    offered = [(0.5, 1.0), (0.4, 0.1), (0.5, 1.0), (0.5, 0.9), (0.6, 2.0)]
    taken = [selection.offer(epoch, *value) for epoch, value in enumerate(offered, start=1)]
    assert taken == [True, False, False, True, True]
    assert (selection.epoch, selection.accuracy, selection.loss) == (5, 0.6, 2.0)


def test_patience_counts_the_epochs_since_the_best() -> None:
    selection = Selection()
    selection.offer(3, 0.5, 1.0)
    assert [selection.is_over(epoch, 2) for epoch in (3, 4, 5, 6)] == [False, False, True, True]
    assert not selection.is_over(100, 0)


def test_even_an_accuracy_of_zero_is_a_first_best() -> None:
    assert Selection().offer(1, 0.0, 9.0)


def test_kept_weights_are_copies() -> None:
    weights = {"w": torch.ones(2)}
    selection = Selection()
    selection.keep(weights)
    weights["w"].zero_()
    assert selection.weights["w"].tolist() == [1.0, 1.0]
