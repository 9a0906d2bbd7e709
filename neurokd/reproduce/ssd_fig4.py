"""`ssd-fig4`: α, the weight of the labels, and τ, the temperature."""

from __future__ import annotations

from neurokd.reproduce.ssd_bases import BASES, accuracies
from neurokd.reproduce.stream_experiment import BWT, VAL_ACC, StreamArm, StreamExperiment

ALPHAS = (0.1, 0.3, 0.5, 0.7, 0.9)
TEMPERATURES = (2.0, 4.0, 6.0, 8.0)

FIGURE4 = StreamExperiment(
    name="ssd-fig4",
    title="SSD, Figure 4: accuracy by α and τ",
    setting="Figure 4, Split CIFAR-10: its text gives the best point, α = 0.7 and τ = 8; the other "
    "points of its grid are not known, and these are ours",
    arms=tuple(
        StreamArm(
            f"alpha-{alpha:g}-tau-{temperature:g}",
            f"α = {alpha:g}, τ = {temperature:g}",
            methods={"ssd": {"alpha": alpha, "temperature": temperature}},
            published=accuracies(0.8174) if (alpha, temperature) == (0.7, 8.0) else {},
            at=(alpha, temperature),
        )
        for alpha in ALPHAS
        for temperature in TEMPERATURES
    ),
    quantities=(VAL_ACC, BWT),
    bases=BASES,
    data=("cifar10",),
    plot="surface",
)
