"""KD: the student's softened class probabilities are pulled towards the teacher's."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from neurokd.distill.require import require_logits, require_temperature


def softened_divergence(
    teacher_logits: Tensor, student_log_p: Tensor, temperature: float
) -> Tensor:
    """τ² · mean_B KL(softmax(z_T / τ) ‖ p_S), with log p_S given; the teacher is a constant.

    Shapes: (B, K), (B, K) → scalar.
    """
    target = F.log_softmax(teacher_logits.detach() / temperature, dim=1)
    divergence = F.kl_div(student_log_p, target, reduction="batchmean", log_target=True)
    return divergence * temperature**2


class KDLoss(nn.Module):
    """Knowledge distillation of the logits.

    Equation: L = τ² · mean_B KL(softmax(z_T / τ) ‖ softmax(z_S / τ)).

    Shapes: student (B, K), teacher (B, K) → scalar.
    Raises: `ShapeMismatchError`, `UsageError`.
    Source: Hinton, Vinyals, Dean 2015 (arXiv 1503.02531), section 2.
    """

    def __init__(self, temperature: float = 2.0) -> None:
        super().__init__()
        require_temperature("KDLoss", temperature)
        self.temperature = temperature

    def forward(self, student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
        require_logits("KDLoss", student_logits, teacher_logits)
        log_p = F.log_softmax(student_logits / self.temperature, dim=1)
        return softened_divergence(teacher_logits, log_p, self.temperature)
