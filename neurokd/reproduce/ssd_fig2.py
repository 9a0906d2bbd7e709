"""`ssd-fig2`: which neurons answer most often, over the epochs, and their entropy."""

from __future__ import annotations

from neurokd.reproduce.ssd_bases import BASES, sdmlp, ssd
from neurokd.reproduce.stream_experiment import VAL_ACC, Quantity, StreamExperiment

_ENTROPY = "probe.entropy_bits"

FIGURE2 = StreamExperiment(
    name="ssd-fig2",
    title="SSD, Figure 2: the neurons that answer most often, k = 10",
    setting="entropies of Split CIFAR-10 in its text; .99 cannot be Eq. 1 of a network whose "
    "samples have 10 winners of 10,000, whose mean is at most the ceiling beside it (in nats no "
    "entropy is above .69): what the paper measured is unknown",
    arms=(
        sdmlp(10, {"cifar10": {_ENTROPY: 0.99}}, named=False),
        ssd(10, {"cifar10": {_ENTROPY: 0.003}}, named=False),
    ),
    quantities=(
        VAL_ACC,
        Quantity(_ENTROPY, "entropy, Eq. 1 (bits)", 1.0, rises=False),
        Quantity("probe.entropy_ceiling_bits", "its ceiling for k winners (bits)", 1.0),
        Quantity("probe.entropy_normalised", "normalised entropy", 1.0),
        Quantity("probe.winners", "winners", 1.0),
    ),
    bases=BASES,
    data=("cifar10",),
    plot="winners",
    baseline="sdmlp",
    proposed="ssd",
    points=40,
)
