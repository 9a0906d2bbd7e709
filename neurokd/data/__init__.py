"""Data sets by name."""

from neurokd.data.labelled import LabelledData
from neurokd.data.load import DATA_SETS, load_data

__all__ = ["DATA_SETS", "LabelledData", "load_data"]
