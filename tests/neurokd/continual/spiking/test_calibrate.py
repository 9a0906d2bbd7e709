"""Calibration finds a circuit with as many winners as asked for."""

import pytest
import torch
from torch import Tensor

from neurokd.continual.spiking.calibrate import BRAKE, calibrate, winners
from neurokd.errors import UsageError
from neurokd.models.winner_circuit import race


def activations(spread: float = 0.1) -> Tensor:
    torch.manual_seed(0)
    return (0.4 + spread * torch.randn(200, 100)).clamp(min=0)


@pytest.mark.parametrize("k", [3, 10])
@pytest.mark.parametrize("steps", [8, 16])
def test_k_neurons_win_on_the_average(k: int, steps: int) -> None:
    a = activations()
    circuit = calibrate(a, k, steps, 8)
    fired = (race(a, circuit).times < steps).sum(dim=1).double()
    assert winners(a, circuit) == pytest.approx(float(fired.mean()))
    assert abs(float(fired.mean()) - k) <= max(0.02 * k, 0.1)
    assert circuit == circuit.on_grid()


def test_inhibition_is_weaker_where_the_steepest_ramp_has_too_few_winners() -> None:
    a = activations(0.02)
    a[:, :8] = torch.linspace(0.9, 0.6, 8)  # eight neurons far ahead of all others
    circuit = calibrate(a, 12, 16, 8)
    assert circuit.inhibition < BRAKE * circuit.ramp
    assert winners(a, circuit) == pytest.approx(12, abs=1.5)


def test_the_race_begins_where_it_did_for_stronger_samples() -> None:
    weak, strong = activations(), 1.5 * activations()
    first = calibrate(strong, 5, 16, 8)
    alone, after = (calibrate(weak, 5, 16, 8, before) for before in (None, first))
    # without it all neurons above the threshold win together, in the first step
    assert winners(strong, alone) > 16
    assert winners(strong, after) < 12
    assert winners(weak, after) == pytest.approx(5, abs=0.2)
    assert after.threshold - after.ramp >= first.threshold - first.ramp - 1e-3


@pytest.mark.parametrize("inhibitors", [1, 8])
def test_few_winners_are_not_a_mean_of_many_and_none(inhibitors: int) -> None:
    """Samples of very different strength, and neurons of which several are about as active."""
    a = activations(0.02) * torch.linspace(0.6, 1.8, 200)[:, None]
    circuit = calibrate(a, 1, 16, inhibitors)
    fired = (race(a, circuit).times < 16).sum(dim=1)
    assert (fired == 0).double().mean() <= 0.03
    assert circuit.inhibition > 1.5 * BRAKE * circuit.ramp  # others are held back harder
    assert circuit == circuit.on_grid()


def test_silence_is_refused() -> None:
    with pytest.raises(UsageError, match="no circuit"):
        calibrate(torch.zeros(5, 10), 3, 8, 4)
