"""`ssd-fig6`: a long training and a tenth of it."""

from __future__ import annotations

from neurokd.reproduce.ssd_bases import BASES
from neurokd.reproduce.stream_experiment import BWT, VAL_ACC, StreamArm, StreamExperiment

FIGURE6 = StreamExperiment(
    name="ssd-fig6",
    title="SSD, Figure 6: training accuracy in a long training, and in a tenth of it",
    setting="Figure 6, Split CIFAR-10, 2,000 and 200 epochs a task: curves without numbers. N_gaba "
    "is in proportion to the epochs here; the paper does not say what it was",
    arms=(
        StreamArm("long", "long", methods={"ssd": {}}),
        StreamArm("short", "a tenth of it", methods={"ssd": {}}, length=0.1),
    ),
    quantities=(VAL_ACC, BWT),
    bases=BASES,
    data=("cifar10",),
    plot="lengths",
    baseline="short",
    proposed="long",
)
