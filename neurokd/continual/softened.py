"""Softened distributions of two networks, and how far they are from each other."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

Direction = Literal["teacher-student", "student-teacher"]


def softened_kl(
    student: Tensor, teacher: Tensor, temperature: float, direction: Direction = "teacher-student"
) -> Tensor:
    """L = τ² · mean_B KL(p_T ‖ p_S), or of (p_S ‖ p_T); p = softmax(a / τ), teacher constant.

    For large τ both are Var_i(a_S − a_T) / 2 of a sample. Shapes: (B, n), (B, n) → scalar.
    """
    log_s = F.log_softmax(student / temperature, dim=1)
    log_t = F.log_softmax(teacher.detach() / temperature, dim=1)
    if direction == "student-teacher":
        log_s, log_t = log_t, log_s
    return temperature**2 * (log_t.exp() * (log_t - log_s)).sum(dim=1).mean()
