"""Distillation losses: (student, teacher) → scalar."""

from neurokd.distill.kd import KDLoss
from neurokd.distill.nld import NLDLoss
from neurokd.distill.samd import SAMDLoss

__all__ = ["KDLoss", "NLDLoss", "SAMDLoss"]
