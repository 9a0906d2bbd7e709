"""`ssd-table2`: Val.Acc with 1,000 neurons."""

from __future__ import annotations

from neurokd.reproduce.ssd_bases import BASES, accuracies, combined, relu, sdmlp, ssd
from neurokd.reproduce.stream_experiment import BWT, VAL_ACC, StreamExperiment

TABLE2 = StreamExperiment(
    name="ssd-table2",
    title="SSD, Table 2: Val.Acc",
    setting="Table 2, means of 5 orders; n is a tenth of the neurons here, as 1,000 of 10,000 are "
    "there (n = 1,000 would be all of them)",
    arms=(
        sdmlp(10, accuracies(0.63, 0.29, 0.53), named=True),
        sdmlp(1, accuracies(0.70, 0.25, 0.69), named=True),
        relu("si", "ReLU + SI", accuracies(0.34, None, 0.36)),
        relu("ewc", "ReLU + EWC", accuracies(0.67, 0.12, 0.61)),
        ssd(10, accuracies(0.73, 0.34, 0.55), named=True),
        ssd(1, accuracies(0.74, 0.35, 0.74), named=True),
        combined(1, accuracies(0.80, 0.40, 0.86), named=True),
    ),
    quantities=(VAL_ACC, BWT),
    bases=BASES,
    data=("mnist",),
    neurons=1000,
    baseline="sdmlp-k10",
    proposed="ssd-k10",
)
