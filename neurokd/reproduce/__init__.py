"""Tables of the papers: grids of training runs, their statistics, and the published numbers."""

from neurokd.reproduce.experiment import Arm, Base, Experiment, Published
from neurokd.reproduce.experiments import EXPERIMENTS
from neurokd.reproduce.reproduce import Request, reproduce

__all__ = ["EXPERIMENTS", "Arm", "Base", "Experiment", "Published", "Request", "reproduce"]
