"""Every table and figure by its name: a new one is a file with its definition, and a line here."""

from __future__ import annotations

from neurokd.reproduce.ckdsnn_ablation import ABLATION
from neurokd.reproduce.ckdsnn_cifar import CIFAR
from neurokd.reproduce.ckdsnn_scaling import SCALING
from neurokd.reproduce.experiment import Experiment
from neurokd.reproduce.ssd_fig2 import FIGURE2
from neurokd.reproduce.ssd_fig3 import FIGURE3
from neurokd.reproduce.ssd_fig4 import FIGURE4
from neurokd.reproduce.ssd_fig5 import FIGURE5
from neurokd.reproduce.ssd_fig6 import FIGURE6
from neurokd.reproduce.ssd_fig7 import FIGURE7
from neurokd.reproduce.ssd_table1 import TABLE1
from neurokd.reproduce.ssd_table2 import TABLE2
from neurokd.reproduce.ssd_table3 import TABLE3
from neurokd.reproduce.ssd_table4 import TABLE4
from neurokd.reproduce.ssd_table5 import TABLE5
from neurokd.reproduce.stream_experiment import StreamExperiment

EXPERIMENTS: dict[str, Experiment] = {
    experiment.name: experiment for experiment in (ABLATION, SCALING, CIFAR)
}
"""A student with and without its teacher's losses."""

STREAMS: dict[str, StreamExperiment] = {
    experiment.name: experiment
    for experiment in (
        *(TABLE1, TABLE2, TABLE3, TABLE4, TABLE5),
        *(FIGURE2, FIGURE3, FIGURE4, FIGURE5, FIGURE6, FIGURE7),
    )
}
"""Streams of tasks, learned one after another."""
