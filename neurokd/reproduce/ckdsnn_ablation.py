"""`ckdsnn-ablation`: what each of the two losses gives."""

from __future__ import annotations

from neurokd.config import DistillConfig
from neurokd.reproduce.ckdsnn_bases import ALONE, BASES
from neurokd.reproduce.experiment import Arm, Experiment, Published

_SOURCE = "arXiv 2511.06902, ablation"

ABLATION = Experiment(
    name="ckdsnn-ablation",
    title="CKDSNN: what each loss gives",
    setting="its setting is not known, other data and another network in any case: compare the "
    "order, not the numbers",
    arms=(
        ALONE,
        Arm("kd", "KD", DistillConfig(samd=0, nld=0, kd=1)),
        Arm("samd", "SAMD", DistillConfig(samd=1, nld=0), (Published(78.95, _SOURCE),)),
        Arm("nld", "NLD", DistillConfig(samd=0, nld=1), (Published(77.58, _SOURCE),)),
        Arm("samd-nld", "SAMD + NLD", DistillConfig(samd=1, nld=1), (Published(79.62, _SOURCE),)),
    ),
    baseline=ALONE.name,
    proposed="samd-nld",
    orderings=(("samd-nld", "samd", "nld"), ("samd-nld", "kd")),
    bases=BASES,
    data=("mnist-subset",),
)
