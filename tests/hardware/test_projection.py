"""What the chip stores of a weight, and which projections are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from neurokd.errors import NeurokdError
from neurokd.hardware.projection import ConvProjection, DenseProjection


@pytest.mark.parametrize(
    ("mode", "bits", "stored"),
    [
        # Lava's clip_weights and truncate_weights, worked out by hand for these inputs:
        # -300, -255, -3, -1, 0, 1, 3, 255, 300
        ("mixed", 8, [-256, -256, -4, -2, 0, 0, 2, 254, 254]),
        ("mixed", 6, [-256, -256, -8, -8, 0, 0, 0, 248, 248]),
        ("excitatory", 8, [0, 0, 0, 0, 0, 1, 3, 255, 255]),
        ("excitatory", 7, [0, 0, 0, 0, 0, 0, 2, 254, 254]),
        ("inhibitory", 8, [-255, -255, -3, -1, 0, 0, 0, 0, 0]),
        ("inhibitory", 7, [-254, -254, -2, 0, 0, 0, 0, 0, 0]),
    ],
)
def test_effective_weight(mode: Any, bits: int, stored: list[int]) -> None:
    weight = np.array([[-300, -255, -3, -1, 0, 1, 3, 255, 300]])
    projection = DenseProjection("w", "a", "b", weight, num_weight_bits=bits, sign_mode=mode)
    assert projection.effective_weight[0].tolist() == stored
    assert projection.effective_weight.dtype == np.int32


@pytest.mark.parametrize(
    ("weight", "options", "message"),
    [
        (np.ones(3, dtype=int), {}, "two axes"),
        (np.ones((1, 1)), {}, "integers"),
        (np.full((1, 1), 2**31), {}, "32 bits"),
        (np.ones((1, 1), dtype=int), {"num_weight_bits": 9}, "num_weight_bits"),
        (np.ones((1, 1), dtype=int), {"weight_exp": 8}, "weight_exp"),
        (np.ones((1, 1), dtype=int), {"sign_mode": "both"}, "sign mode"),
    ],
)
def test_refused_dense(weight: Any, options: Any, message: str) -> None:
    with pytest.raises(NeurokdError, match=message):
        DenseProjection("w", "a", "b", weight, **options)


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((1, 1, 3), {}, "four axes"),
        ((3, 1, 2, 2), {"groups": 2}, "groups"),
        ((2, 1, 2, 2), {"stride": (0, 1)}, "stride"),
        ((2, 1, 2, 2), {"padding": (0, -1)}, "padding"),
        ((2, 1, 2, 2), {"weight_exp": -1}, "weight_exp"),
        ((2, 1, 2, 2), {"weight_exp": 8}, "weight_exp"),
    ],
)
def test_refused_conv(shape: Any, options: Any, message: str) -> None:
    with pytest.raises(NeurokdError, match=message):
        ConvProjection("w", "a", "b", np.ones(shape, dtype=int), **options)


def test_conv_output_shape() -> None:
    conv = ConvProjection(
        "w",
        "a",
        "b",
        np.ones((4, 2, 3, 2), dtype=int),
        stride=(2, 3),
        padding=(1, 0),
        dilation=(1, 2),
        groups=2,
    )
    # (7 + 2 - 2 - 1) // 2 + 1 = 4; (9 - 2 - 1) // 3 + 1 = 3
    assert conv.output_shape((4, 7, 9)) == (4, 4, 3)
    for bad in ((2, 7, 9), (4, 7), (4, 7, 2)):
        with pytest.raises(NeurokdError, match="fit|larger"):
            conv.output_shape(bad)
