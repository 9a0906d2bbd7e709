"""Cosine between the weight vectors that some neurons have in two networks."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from neurokd.errors import ShapeMismatchError


def row_cosine(one: Tensor, other: Tensor) -> float:
    """Equation: mean_i ⟨a_i, b_i⟩ / (‖a_i‖ ‖b_i‖) over the rows, one for each neuron.

    The paper compares "subnetworks" without saying how; this is our definition of it.
    Shapes: (n, d) twice. Raises: `ShapeMismatchError`.
    """
    if one.ndim != 2 or one.shape != other.shape:
        raise ShapeMismatchError(
            "the weights are not of the same neurons",
            where="row_cosine",
            expected="(n, d) twice",
            found=f"{tuple(one.shape)} and {tuple(other.shape)}",
        )
    return float(F.cosine_similarity(one.double(), other.double(), dim=1).mean())
