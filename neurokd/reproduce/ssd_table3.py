"""`ssd-table3`: backward transfer of SDMLP and SSD."""

from __future__ import annotations

from neurokd.reproduce.ssd_bases import BASES, sdmlp, ssd
from neurokd.reproduce.stream_experiment import BWT, FORGETTING, VAL_ACC, StreamExperiment

TABLE3 = StreamExperiment(
    name="ssd-table3",
    title="SSD, Table 3: backward transfer, k = 10",
    setting="Table 3, Split CIFAR-10; its caption says that lower is better, but BWT is negative "
    "and higher is better: −18.28 → −12.34 is the 32.5 % less forgetting that it names",
    arms=(
        sdmlp(10, {"cifar10": {"bwt": -0.1828, "val_acc": 0.71}}, named=False),
        ssd(10, {"cifar10": {"bwt": -0.1234, "val_acc": 0.81}}, named=False),
    ),
    quantities=(BWT, FORGETTING, VAL_ACC),
    bases=BASES,
    data=("cifar10",),
    baseline="sdmlp",
    proposed="ssd",
)
