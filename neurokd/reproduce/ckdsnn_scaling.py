"""`ckdsnn-scaling`: how the two activation maps are brought to one scale, and which maps."""

from __future__ import annotations

from neurokd.config import DistillConfig
from neurokd.reproduce.ckdsnn_bases import ALONE, BASES
from neurokd.reproduce.experiment import Arm, Experiment, Published

_SUMMARY = "arXiv 2511.06902"
_NOTES = "notes on it"

SCALING = Experiment(
    name="ckdsnn-scaling",
    title="CKDSNN: scaling of the activation maps, and which maps",
    setting="CIFAR-100, ResNet-19, T = 1 as far as is known: compare the order, not the numbers; "
    "sources disagree on whether 75.56 is L2 or no scaling, and that of CAT-KD may mix networks",
    arms=(
        ALONE,
        Arm("softmax", "softmax", DistillConfig(), (Published(79.11, _SUMMARY),)),
        Arm("zscore", "z-score", DistillConfig(scaling="zscore"), (Published(76.48, _SUMMARY),)),
        Arm(
            "l2",
            "L2",
            DistillConfig(scaling="l2"),
            (Published(75.56, _SUMMARY), Published(74.78, _NOTES)),
        ),
        Arm("none", "none", DistillConfig(scaling="none"), (Published(75.56, _NOTES),)),
        Arm("cam-cam", "CAM-CAM", DistillConfig(mapping="cam-cam")),
        Arm("catkd", "CAT-KD", DistillConfig(samd=0, catkd=15), (Published(77.23, _SUMMARY),)),
    ),
    baseline=ALONE.name,
    proposed="softmax",
    orderings=(("softmax", "zscore", "l2"), ("softmax", "cam-cam"), ("softmax", "catkd")),
    bases=BASES,
    data=("mnist-subset",),
)
