"""`ckdsnn-cifar`: the shipped configuration of the paper's code, ResNet-20 on CIFAR-10, T = 1."""

from __future__ import annotations

from neurokd.config import DistillConfig, read_config
from neurokd.reproduce.ckdsnn_bases import ALONE
from neurokd.reproduce.experiment import Arm, Base, Experiment, Published

_BASE = Base(
    read_config("cifar10-resnet20-teacher"),
    # As its code does it: the last activation is no spike.
    read_config("cifar10-resnet20-student", ["steps=1", "model.last_activation=relu"]),
)

CIFAR = Experiment(
    name="ckdsnn-cifar",
    title="CKDSNN: ResNet-20 on CIFAR-10, one time step",
    setting="a comment in its code's configuration of CIFAR-10, which fits "
    "ResNet-20 and T = 1; chosen there by the best test accuracy of any epoch, here by the last",
    arms=(
        ALONE,
        Arm(
            "ckdsnn",
            "CKDSNN",
            DistillConfig(samd=1, nld=1),
            (Published(93.44, "code of arXiv 2511.06902"),),
        ),
    ),
    baseline=ALONE.name,
    proposed="ckdsnn",
    orderings=(("ckdsnn", "alone"),),
    bases={"cifar10": _BASE},
    data=("cifar10",),
)
