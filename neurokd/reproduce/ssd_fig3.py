"""`ssd-fig3`: n, the number of neurons whose activations are distilled."""

from __future__ import annotations

from neurokd.reproduce.ssd_bases import BASES, accuracies
from neurokd.reproduce.ssd_table4 import ABLATED
from neurokd.reproduce.stream_experiment import BWT, VAL_ACC, StreamArm, StreamExperiment

_PUBLISHED = {10: None, 100: None, 200: 0.8081, 500: None, 1000: 0.8083, 2000: None}

FIGURE3 = StreamExperiment(
    name="ssd-fig3",
    title="SSD, Figure 3: accuracy by n, the neurons that are distilled",
    setting="Figure 3, Split CIFAR-10, τ = 2, λ = 0.5 inferred; two points are in its text",
    arms=tuple(
        StreamArm(
            f"n-{n}",
            f"n = {n:,} of 10,000",
            methods={"ssd": {**ABLATED, "n": n}},
            published=accuracies(published),
            at=(n / 10_000,),
        )
        for n, published in _PUBLISHED.items()
    ),
    quantities=(VAL_ACC, BWT),
    bases=BASES,
    data=("cifar10",),
    plot="sizes",
)
