"""The race of spiking neurons, worked out by hand."""

from dataclasses import replace

import pytest
import torch

from neurokd.errors import UsageError
from neurokd.models.winner_circuit import SCALE, Circuit, WinnerCircuit, race

HAND = Circuit(steps=6, threshold=2.0, ramp=0.125, inhibition=0.5, inhibitors=1)
# v = a + (t + 1) / 8: 1.6 passes 2 at t = 3; 1.5 is 2.0 there and passes at t = 4; 1.3 would pass
# at t = 5 with 2.05. The first spike's inhibition arrives at t = 5.
A = torch.tensor([[1.6, 1.5, 1.3]])


def test_the_most_active_neuron_fires_first_and_its_inhibition_comes_two_steps_later() -> None:
    assert race(A, HAND).times.tolist() == [[3, 4, 6]]
    free = replace(HAND, inhibition=0.0)
    assert race(A, free).times.tolist() == [[3, 4, 5]]


def test_the_bar_is_the_lowest_activation_that_would_still_have_fired() -> None:
    # after five steps of ramp 2 − 5/8; then inhibition lifts it again
    assert race(A, HAND).bar.tolist() == [[1.375]]
    above = race(torch.tensor([[1.6, 1.5, 1.376]]), HAND)
    below = race(torch.tensor([[1.6, 1.5, 1.375]]), HAND)
    assert above.times.tolist() == [[3, 4, 4]] and below.times.tolist() == [[3, 4, 6]]


def test_inhibitors_count_no_further_than_there_are_of_them() -> None:
    a = torch.tensor([[1.6, 1.6, 1.2]])
    strong = replace(HAND, steps=9, threshold=2.25, inhibition=0.1875, inhibitors=2)
    # both fire at t = 5; 1.2 would pass 2.25 at t = 8 with 2.325: one count leaves it 2.1375
    assert race(a, replace(strong, inhibition=0.0)).times.tolist() == [[5, 5, 8]]
    assert race(a, strong).times.tolist() == [[5, 5, 9]]
    weak = replace(strong, inhibition=0.046875)
    assert race(a, weak).times.tolist() == [[5, 5, 9]]  # 2 · 0.047 = 0.094 > 0.075
    assert race(a, replace(weak, inhibitors=1)).times.tolist() == [[5, 5, 8]]  # 0.047 < 0.075


def test_samples_do_not_inhibit_each_other() -> None:
    together = race(torch.cat([A, torch.tensor([[0.0, 0.0, 1.3]])]), HAND).times
    assert together.tolist() == [[3, 4, 6], [6, 6, 5]]


def test_a_winner_counts_by_how_early_it_fires_and_learns_as_the_bar_moves() -> None:
    layer = WinnerCircuit(3, 1, HAND)
    a = torch.tensor([[1.6, 1.375 - 0.125, 1.0]], requires_grad=True)
    h = layer(a)
    assert h.tolist() == [[0.5, 0.0, 0.0]]
    h.sum().backward()
    # t = 4 leaves the bar at 1.375; a neuron a ramp below it has half the gradient of a winner
    assert a.grad is not None
    torch.testing.assert_close(a.grad, torch.tensor([[1.0, 0.5, 0.0]]) / (6 * 0.125))


def test_the_circuit_is_part_of_the_weights() -> None:
    layer, other = WinnerCircuit(3, 1, HAND), WinnerCircuit(3, 1, replace(HAND, ramp=0.0625))
    other.load_state_dict(layer.state_dict())
    assert other.circuit == HAND
    with pytest.raises(UsageError, match="another form"):
        layer.set_circuit(replace(HAND, steps=7))


def test_a_circuit_on_the_grid_has_numbers_of_the_chip_only() -> None:
    found = Circuit(16, 0.9131, 0.03217, 0.0641, 8).on_grid()
    assert found.on_grid() == found
    assert found.threshold * SCALE % 1 == 1 / 128
    assert found.ramp * SCALE % 1 == 0
    for value in (found.inhibition, found.again):
        stored = value * SCALE
        exponent = next(e for e in range(8) if stored <= 254 << e)
        assert stored % (2 << exponent) == 0
    assert found.again >= found.threshold + 8 * found.inhibition
    assert abs(found.threshold - 0.9131) < 1 / SCALE
    assert abs(found.inhibition - 0.0641) < 8 / SCALE


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ramp": 0.2}, "ramp alone"),
        ({"ramp": 0.0}, "cannot be"),
        ({"inhibitors": 0}, "cannot be"),
    ],
)
def test_impossible_circuits_are_refused(change: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        replace(HAND, **change)


def test_inhibition_that_no_synapse_can_overcome_is_refused() -> None:
    with pytest.raises(UsageError, match="fewer inhibitors"):
        Circuit(16, 0.9, 0.03, 0.2, 8).on_grid()
