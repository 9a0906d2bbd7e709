"""Tables and figures of the papers: grids of runs, their statistics, and the published numbers."""

from neurokd.reproduce.experiment import Arm, Base, Experiment, Published
from neurokd.reproduce.experiments import EXPERIMENTS, STREAMS
from neurokd.reproduce.reproduce import Request, reproduce
from neurokd.reproduce.stream_experiment import StreamArm, StreamBase, StreamExperiment
from neurokd.reproduce.stream_reproduce import StreamRequest, reproduce_streams

__all__ = [
    "EXPERIMENTS",
    "STREAMS",
    "Arm",
    "Base",
    "Experiment",
    "Published",
    "Request",
    "StreamArm",
    "StreamBase",
    "StreamExperiment",
    "StreamRequest",
    "reproduce",
    "reproduce_streams",
]
