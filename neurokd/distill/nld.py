"""NLD: distillation of noise-smoothed student logits."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neurokd.batch_share import WHOLE, BatchShare
from neurokd.distill.kd import softened_divergence
from neurokd.distill.require import require_choice, require_logits, require_temperature
from neurokd.errors import UsageError

Mode = Literal["logit", "prob_mix"]


class NLDLoss(nn.Module):
    """Noise-smoothed logits distillation.

    Equation, ``mode="logit"`` (the paper): ε = mean_K(z_S) + n · std_K(z_S), n ~ N(0, 1) per
    sample and class, z = z_S + λ ε, L = τ² · mean_B KL(softmax(z_T / τ) ‖ softmax(z / τ)).

    Equation, ``mode="prob_mix"`` (the reference code): g = mean_K(z_S) + n · var_K(z_S),
    p_S = (1 − λ) softmax(z_S / τ) + λ softmax(g / τ), L = τ² · mean_B KL(softmax(z_T / τ) ‖ p_S).

    With ``sigma`` (ablation) the factor of n is this number in both modes, whatever the logits'
    own spread. λ is ``noise``. Softmax does not see the mean. Mean and spread (unbiased, over the
    classes) are constants for the gradient unless ``through_spread``, as in the reference code.
    The noise is fresh in every call and comes from ``generator``. Where several processes have a
    ``share`` of the batch each, it is this process's part of the whole batch's noise.

    Shapes: student (B, K), teacher (B, K) → scalar.
    Raises: `ShapeMismatchError`, `UsageError`.
    Source: CKDSNN (arXiv 2511.06902), NLD.
    """

    def __init__(
        self,
        temperature: float = 2.0,
        noise: float = 0.1,
        mode: Mode = "logit",
        sigma: float | None = None,
        through_spread: bool = False,
    ) -> None:
        super().__init__()
        require_temperature("NLDLoss", temperature)
        require_choice("NLDLoss", "mode", mode, Mode)
        if not noise >= 0 or (mode == "prob_mix" and noise > 1):
            raise UsageError(
                "the noise weight is out of range",
                where="NLDLoss",
                expected="0 to 1 for prob_mix" if mode == "prob_mix" else "≥ 0",
                found=str(noise),
            )
        if sigma is not None and not sigma > 0:
            raise UsageError("sigma must be positive", where="NLDLoss", found=str(sigma))
        self.temperature = temperature
        self.noise = noise
        self.mode = mode
        self.sigma = sigma
        self.through_spread = through_spread

    def forward(
        self,
        student_logits: Tensor,
        teacher_logits: Tensor,
        generator: torch.Generator | None = None,
        share: BatchShare = WHOLE,
    ) -> Tensor:
        require_logits("NLDLoss", student_logits, teacher_logits)
        g = self._noise_logits(student_logits, generator, share)
        tau = self.temperature
        if self.mode == "logit":
            log_p = F.log_softmax((student_logits + self.noise * g) / tau, dim=1)
            return softened_divergence(teacher_logits, log_p, tau)
        mixed = (1 - self.noise) * F.softmax(student_logits / tau, dim=1)
        mixed = mixed + self.noise * F.softmax(g / tau, dim=1)
        # at λ = 1 or with far-off logits a probability may be zero in floats, its logarithm not
        tiny = torch.finfo(mixed.dtype).tiny
        return softened_divergence(teacher_logits, mixed.clamp(min=tiny).log(), tau)

    def _noise_logits(
        self, student_logits: Tensor, generator: torch.Generator | None, share: BatchShare
    ) -> Tensor:
        """Normal draws about the mean of each sample's logits. Shapes: (B, K) → (B, K)."""
        source = student_logits if self.through_spread else student_logits.detach()
        normal = share.normal(source, generator)
        mean = source.mean(dim=1, keepdim=True)
        if self.sigma is not None:
            return mean + self.sigma * normal
        spread = source.std(dim=1, keepdim=True)
        return mean + (spread if self.mode == "logit" else spread.square()) * normal
