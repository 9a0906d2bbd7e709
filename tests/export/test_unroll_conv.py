"""A convolution written out is the same linear map."""

from __future__ import annotations

import numpy as np
import pytest

from neurokd.export.float_network import ConvGeometry, FloatProjection
from neurokd.export.unroll_conv import unroll, unrolled_size

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("geometry", "target", "size"),
    [
        (ConvGeometry(), (4, 3, 2), 4 * 2 * (3 * 3) * (2 * 2)),
        # rows −1, 0, 1; 1, 2, 3; 3, 4, 5 of five: 2 + 3 + 2
        (ConvGeometry(stride=(2, 1), padding=(1, 0), groups=2), (4, 3, 2), 4 * 1 * 7 * 4),
        # rows −2, 0, 2 … 2, 4, 6 of five: 2 + 2 + 3 + 2 + 2; columns −2, 0 … 2, 4 of three: 6
        (ConvGeometry(padding=(2, 2), dilation=(2, 2)), (4, 5, 5), 4 * 2 * 11 * 6),
    ],
)
def test_it_computes_the_same(geometry: ConvGeometry, target: tuple[int, ...], size: int) -> None:
    source = (2, 5, 3)
    weight = RNG.normal(size=(4, 2 // geometry.groups, 3, 2))
    values, ends = unroll(weight, geometry, source, target)
    assert values.size == unrolled_size(weight, geometry, source, target) == size
    assert len(set(zip(ends.rows, ends.columns, strict=True))) == size
    x = RNG.normal(size=(3, *source))
    whole = FloatProjection("w", "a", "b", weight, geometry).currents(x, target)
    listed = FloatProjection("w", "a", "b", values, ends=ends).currents(x, target)
    np.testing.assert_allclose(listed, whole, atol=1e-12)
