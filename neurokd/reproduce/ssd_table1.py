"""`ssd-table1`: Val.Acc with 10,000 neurons."""

from __future__ import annotations

from neurokd.reproduce.ssd_bases import BASES, accuracies, combined, relu, sdmlp, ssd
from neurokd.reproduce.stream_experiment import BWT, VAL_ACC, StreamExperiment

TABLE1 = StreamExperiment(
    name="ssd-table1",
    title="SSD, Table 1: Val.Acc, k = 10",
    setting="Table 1, means of 5 orders; settings of EWC and SI are those of SDMLP's reference, as "
    "the paper names none; its text says a ConvMixer embeds MNIST too, its numbers fit raw pixels",
    arms=(
        sdmlp(10, accuracies(0.71, 0.32, 0.53), named=False),
        relu("si", "ReLU + SI", accuracies(0.44)),
        relu("ewc", "ReLU + EWC", accuracies(0.65, 0.16, 0.61)),
        ssd(10, accuracies(0.81, 0.43, 0.57), named=False),
        combined(10, accuracies(0.87, 0.52, 0.86), named=False),
    ),
    quantities=(VAL_ACC, BWT),
    bases=BASES,
    data=("mnist",),
    baseline="sdmlp",
    proposed="ssd",
)
