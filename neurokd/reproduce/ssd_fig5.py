"""`ssd-fig5`: cosine, Jaccard and KL while the stream is learned."""

from __future__ import annotations

from neurokd.reproduce.ssd_bases import BASES, ssd
from neurokd.reproduce.stream_experiment import VAL_ACC, Quantity, StreamExperiment

_LIMITS = {"probe.cosine": 0.77, "probe.jaccard": 0.81, "probe.kl": 0.2}

FIGURE5 = StreamExperiment(
    name="ssd-fig5",
    title="SSD, Figure 5: alignment, stability and retention",
    setting="limits in the text on Figure 5, Split CIFAR-10: cosine from task 1 on, Jaccard once "
    "stable, KL after the jump at the beginning of a task; ours are those at the end of the last "
    "task, on a fixed set of test samples of the tasks seen",
    arms=(ssd(10, {"cifar10": _LIMITS}, named=False),),
    quantities=(
        VAL_ACC,
        Quantity("probe.cosine", "cosine to the teacher", 1.0, ">"),
        Quantity("probe.jaccard", "Jaccard of the top k", 1.0, ">"),
        Quantity("probe.kl", "KL(teacher‖student) (nats)", 1.0, "<", rises=False),
        Quantity("probe.kl_old", "KL on earlier tasks (nats)", 1.0, rises=False),
    ),
    bases=BASES,
    data=("cifar10",),
    plot="alignment",
    points=40,
)
