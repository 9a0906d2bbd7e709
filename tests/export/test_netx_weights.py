"""Weight formats: room for a shift, bits used, signs; and the weights no synapse holds."""

from __future__ import annotations

import numpy as np
import pytest

from neurokd.errors import CapacityError
from neurokd.export.netx_weights import synapse_format
from neurokd.hardware.weight_format import stored


# by hand from the docstring's equations: weights, shift, bits, signs
@pytest.mark.parametrize(
    ("weights", "shift", "bits", "signs"),
    [
        ([-6, 6], 5, 3, "mixed"),  # ⌊log₂ 127/6⌋ + 1 = 5; one zero bit: 8 − 5 − 1 + 1
        ([-24, 42], 2, 6, "mixed"),
        ([-248, 254], 0, 8, "mixed"),
        ([-3, 5], 5, 4, "mixed"),  # odd, with room
        ([0, 1], 7, 1, "excitatory"),
        ([3, 200], 0, 8, "excitatory"),
        ([16, 96], 1, 3, "excitatory"),  # ⌊log₂ 255/96⌋ = 1; 16 has four zero bits
        ([-10, -2], 4, 3, "inhibitory"),
        ([0, 0], 0, 8, "excitatory"),
    ],
)
def test_format(weights: list[int], shift: int, bits: int, signs: str) -> None:
    form = synapse_format(np.array([weights]), "")
    assert (form.weight_exp, form.num_weight_bits, form.sign_mode) == (-shift, bits, signs)
    np.testing.assert_array_equal(form.weight, np.array([weights]) << shift)
    assert form.changed == 0
    kept = stored(form.weight, form.num_weight_bits, form.sign_mode)
    np.testing.assert_array_equal(kept >> shift, [weights])


def test_clipped_where_signs_are_mixed() -> None:
    form = synapse_format(np.array([[-300, 300, 2]]), "")
    np.testing.assert_array_equal(form.weight, [[-256, 254, 2]])


def test_lost_weights_are_counted() -> None:
    """−128 is shifted to −256, which an inhibitory synapse clips to −255 and then to 7 bits."""
    form = synapse_format(np.array([[-128, -3]]), "")
    assert form.weight.tolist() == [[-256, -6]] and form.changed == 1
    assert stored(form.weight, form.num_weight_bits, form.sign_mode).tolist() == [[-254, -6]]


@pytest.mark.parametrize("weights", [[-255, 1], [0, 256], [-257, -300], [-256, -256]])
def test_refused(weights: list[int]) -> None:
    with pytest.raises(CapacityError, match="layer '1.dense'"):
        synapse_format(np.array([weights]), "layer '1.dense'")


def test_parts_keep_the_format_of_the_whole() -> None:
    """The recurrent half has weights of one sign: Lava gives it a sign mode of its own."""
    form = synapse_format(np.array([[-6, 6, 2, 4]]), "")
    loop = form.part(slice(2, None))
    assert (loop.weight_exp, loop.num_weight_bits, loop.sign_mode) == (-5, 3, "excitatory")
    assert loop.changed == 0
