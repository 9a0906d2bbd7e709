"""The raster: which neurons share a row, and what the row shows."""

from __future__ import annotations

import numpy as np

from neurokd.report.raster import shares


def test_few_neurons_have_a_row_each() -> None:
    spikes = np.array([[True, False, False], [False, False, True]])
    image, together = shares(spikes, rows=3)
    assert together == 1
    assert image.tolist() == [[1, 0], [0, 0], [0, 1]]


def test_many_neurons_share_rows_and_the_last_may_be_short() -> None:
    # Five neurons in at most two rows: three share the first, two the second.
    spikes = np.array([[1, 1, 0, 0, 1], [0, 0, 0, 1, 1]], dtype=bool)
    image, together = shares(spikes, rows=2)
    assert together == 3
    np.testing.assert_allclose(image, [[2 / 3, 0], [1 / 2, 1]])
