"""Distillation losses: (student, teacher) → scalar."""

from neurokd.distill.catkd import CATKDLoss
from neurokd.distill.kd import KDLoss
from neurokd.distill.nld import NLDLoss
from neurokd.distill.samd import SAMDLoss

__all__ = ["CATKDLoss", "KDLoss", "NLDLoss", "SAMDLoss"]
