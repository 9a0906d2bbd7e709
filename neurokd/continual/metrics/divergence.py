"""KL of the student's predictions from the teacher's, both softened."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from neurokd.distill.require import require_logits, require_temperature


def divergence(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> float:
    """Equation: mean over samples of KL(softmax(z_T / τ) ‖ softmax(z_S / τ)), in nats.

    Without the factor τ² of the loss. Shapes: (N, K) twice.
    Raises: `ShapeMismatchError`, `UsageError`. Source: Xue et al. (SSD), Eq. 9.
    """
    require_temperature("divergence", temperature)
    require_logits("divergence", student_logits, teacher_logits)
    student, teacher = (
        F.log_softmax(logits.double() / temperature, dim=1)
        for logits in (student_logits, teacher_logits)
    )
    # A sum of rounded terms may fall below 0 by the last bit.
    return max(0.0, float(F.kl_div(student, teacher, reduction="batchmean", log_target=True)))
