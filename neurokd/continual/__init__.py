"""Continual learning: SDMLP, selective subnetwork distillation, and the baselines."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neurokd.continual.ewc import EWC as EWC
    from neurokd.continual.fly import FlyLearner as FlyLearner
    from neurokd.continual.fly import FlyModel as FlyModel
    from neurokd.continual.gradient_learner import GradientLearner as GradientLearner
    from neurokd.continual.icarl import ICaRL as ICaRL
    from neurokd.continual.l2 import L2 as L2
    from neurokd.continual.learner import Learner as Learner
    from neurokd.continual.lwf import LwF as LwF
    from neurokd.continual.mas import MAS as MAS
    from neurokd.continual.method import Method as Method
    from neurokd.continual.metrics import backward_transfer as backward_transfer
    from neurokd.continual.si import SI as SI
    from neurokd.continual.sparse_learner import SparseLearner as SparseLearner
    from neurokd.continual.ssd import SSD as SSD
    from neurokd.models.sdmlp import SDMLP as SDMLP

_HOMES = {
    "EWC": "neurokd.continual.ewc",
    "FlyLearner": "neurokd.continual.fly",
    "FlyModel": "neurokd.continual.fly",
    "GradientLearner": "neurokd.continual.gradient_learner",
    "ICaRL": "neurokd.continual.icarl",
    "L2": "neurokd.continual.l2",
    "Learner": "neurokd.continual.learner",
    "LwF": "neurokd.continual.lwf",
    "MAS": "neurokd.continual.mas",
    "Method": "neurokd.continual.method",
    "SDMLP": "neurokd.models.sdmlp",
    "SI": "neurokd.continual.si",
    "SSD": "neurokd.continual.ssd",
    "SparseLearner": "neurokd.continual.sparse_learner",
    "backward_transfer": "neurokd.continual.metrics",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    """Each on first use: the metrics need no torch, and the learners need each other's files."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
