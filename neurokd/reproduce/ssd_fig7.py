"""`ssd-fig7`: accuracy on each task while the stream is learned."""

from __future__ import annotations

from neurokd.reproduce.ssd_bases import BASES, accuracies, ssd
from neurokd.reproduce.stream_experiment import BWT, FORGETTING, VAL_ACC, StreamExperiment

FIGURE7 = StreamExperiment(
    name="ssd-fig7",
    title="SSD, Figure 7: accuracy on each task",
    setting="Figure 7, Split CIFAR-10, α = 0.7, τ = 8",
    arms=(ssd(10, accuracies(0.8174), named=False),),
    quantities=(VAL_ACC, BWT, FORGETTING),
    bases=BASES,
    data=("cifar10",),
    plot="tasks",
    points=40,
)
