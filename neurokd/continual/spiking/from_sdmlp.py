"""The spiking student as it begins: the weights of a trained SDMLP, in a calibrated circuit."""

from __future__ import annotations

import torch
from torch import Tensor

from neurokd.config.continual import SpikingConfig
from neurokd.continual.spiking.calibrate import SAMPLES, calibrate
from neurokd.errors import UsageError
from neurokd.models.sdmlp import SDMLP, normalised
from neurokd.models.spiking_sdmlp import SpikingSDMLP
from neurokd.models.topk import TopK
from neurokd.models.winner_circuit import Circuit


@torch.no_grad()
def from_sdmlp(
    sdmlp: SDMLP, config: SpikingConfig, x: Tensor, before: Circuit | None = None
) -> SpikingSDMLP:
    """A spiking network that answers about as ``sdmlp`` does.

    V is multiplied by what all activations of the samples sum up to in ``sdmlp``, over what they
    do here.
    ``before`` is the circuit of the task before, as in `calibrate`. The global generator of random
    numbers is left as it was.

    Shapes: x (N, d), `messages` of training samples. Raises: `UsageError` for several hidden
    layers, and as `calibrate`.
    """
    layer, winners = _only_layer(sdmlp)
    with torch.random.fork_rng(devices=[]):
        student = SpikingSDMLP(
            sdmlp.inputs,
            winners.neurons,
            sdmlp.classifier.out_features,
            winners.k,
            unset(config),
        )
    pulse = student.pulse
    pulse.hidden.weight.copy_(layer.get_parameter("weight"))
    x = x[:SAMPLES]
    a = pulse.activations(x)
    pulse.winners.set_circuit(calibrate(a, winners.k, config.steps, config.inhibitors, before))
    training = winners.training
    won = winners.eval()(layer(normalised(x)))
    winners.train(training)
    ratio = float(won.double().sum() / pulse.winners(a).double().sum())
    pulse.classifier.weight.copy_(sdmlp.classifier.weight * ratio)
    return student


def unset(config: SpikingConfig) -> Circuit:
    """A circuit of the configured form, whose settings are still to be found."""
    return Circuit(config.steps, 1.0, 0.5 / (config.steps + 4), 0.0, config.inhibitors)


def _only_layer(sdmlp: SDMLP) -> tuple[torch.nn.Module, TopK]:
    if len(sdmlp.hidden) != 1:
        raise UsageError(
            "a spiking student has one hidden layer",
            where="SDMLP",
            found=f"{len(sdmlp.hidden)} of them",
        )
    winners = sdmlp.winners[0]
    assert isinstance(winners, TopK)
    return sdmlp.hidden[0], winners
