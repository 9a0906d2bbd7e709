"""Spiking neurons as they are trained."""

from neurokd.neurons.accumulator import Accumulator
from neurokd.neurons.cuba_lif import CubaLIF
from neurokd.neurons.lif import LIF
from neurokd.neurons.per_step import PerStep

__all__ = ["LIF", "Accumulator", "CubaLIF", "PerStep"]
