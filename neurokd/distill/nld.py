"""NLD: distillation of noise-smoothed student logits."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neurokd.distill.kd import require_logits, require_temperature, softened_divergence
from neurokd.errors import UsageError


class NLDLoss(nn.Module):
    """Noise-smoothed logits distillation.

    Equation, ``mode="logit"`` (the paper): ε ~ N(mean_K(z_S), std_K(z_S)²) per sample and class,
    z = z_S + λ ε, L = τ² · mean_B KL(softmax(z_T / τ) ‖ softmax(z / τ)).

    Equation, ``mode="prob_mix"`` (the reference code): g = mean_K(z_S) + n · var_K(z_S),
    n ~ N(0, 1), p_S = (1 − λ) softmax(z_S / τ) + λ softmax(g / τ),
    L = τ² · mean_B KL(softmax(z_T / τ) ‖ p_S).

    Mean and spread (unbiased, over the classes) are constants for the gradient. The noise is fresh
    in every call and comes from ``generator``.

    Shapes: student (B, K), teacher (B, K) → scalar.
    Raises: `ShapeMismatchError`, `UsageError`.
    Source: CKDSNN (arXiv 2511.06902), NLD.
    """

    def __init__(
        self,
        temperature: float = 2.0,
        noise: float = 0.1,
        mode: Literal["logit", "prob_mix"] = "logit",
    ) -> None:
        super().__init__()
        require_temperature("NLDLoss", temperature)
        if mode not in ("logit", "prob_mix"):
            raise UsageError(
                "unknown mode", where="NLDLoss", expected="logit | prob_mix", found=repr(mode)
            )
        if noise < 0 or (mode == "prob_mix" and noise > 1):
            raise UsageError("the noise weight is out of range", where="NLDLoss", found=str(noise))
        self.temperature = temperature
        self.noise = noise
        self.mode = mode

    def forward(
        self,
        student_logits: Tensor,
        teacher_logits: Tensor,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        require_logits("NLDLoss", student_logits, teacher_logits)
        constant = student_logits.detach()
        mean = constant.mean(dim=1, keepdim=True)
        spread = constant.std(dim=1, keepdim=True)
        normal = torch.randn(
            constant.shape, generator=generator, device=constant.device, dtype=constant.dtype
        )
        tau = self.temperature
        if self.mode == "logit":
            smooth = student_logits + self.noise * (mean + spread * normal)
            return softened_divergence(teacher_logits, F.log_softmax(smooth / tau, dim=1), tau)
        noise_logits = mean + spread.square() * normal
        mixed = (1 - self.noise) * F.softmax(student_logits / tau, dim=1)
        mixed = mixed + self.noise * F.softmax(noise_logits / tau, dim=1)
        return softened_divergence(teacher_logits, mixed.log(), tau)
