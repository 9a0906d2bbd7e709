"""Every table by its name: a new one is a file with an `Experiment`, and its line here."""

from __future__ import annotations

from neurokd.reproduce.ckdsnn_ablation import ABLATION
from neurokd.reproduce.ckdsnn_cifar import CIFAR
from neurokd.reproduce.ckdsnn_scaling import SCALING
from neurokd.reproduce.experiment import Experiment

EXPERIMENTS: dict[str, Experiment] = {
    experiment.name: experiment for experiment in (ABLATION, SCALING, CIFAR)
}
