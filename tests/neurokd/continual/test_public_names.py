"""What `neurokd.continual` offers by name."""

from __future__ import annotations

import pytest

import neurokd.continual


def test_every_public_name_is_there_and_others_are_not() -> None:
    for name in neurokd.continual.__all__:
        assert getattr(neurokd.continual, name).__name__ == name
    assert {"SDMLP", "SSD", "EWC", "SI", "MAS", "L2", "LwF", "ICaRL"} < set(dir(neurokd.continual))
    with pytest.raises(AttributeError, match="no attribute 'GEM'"):
        _ = neurokd.continual.GEM
