"""SAMD: the student's spike activation map is pulled towards the teacher's class activation map."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neurokd.errors import ShapeMismatchError, UsageError

_RANGE_FLOOR = 1e-3
_PROBABILITY_FLOOR = 1e-10


def class_activation_map(features: Tensor, weight: Tensor, logits: Tensor) -> Tensor:
    """CAM of the class that the teacher predicts.

    Equation: M = ReLU(Σ_c W[k*, c] F[c]), k* = argmax of the logits, no bias.

    Shapes: features (B, C, H, W), weight (K, C), logits (B, K) → (B, H, W).
    Source: Zhou et al. 2016, Eq. 2; CKDSNN (arXiv 2511.06902).
    """
    return torch.relu(torch.einsum("bc,bchw->bhw", weight[logits.argmax(dim=1)], features))


def spike_activation_map(features: Tensor) -> Tensor:
    """SAM: everything that the student's stage emitted, per position.

    Equation: M = Σ_t Σ_c S[t, c]. Shapes: features (T, B, C, H, W) → (B, H, W).
    """
    return features.sum(dim=(0, 2))


class SAMDLoss(nn.Module):
    """Saliency-scaled activation map distillation.

    Equation: with M_T = CAM and M_S = SAM, each M ← (M − min M) / (max M − min M + 10⁻³) over the
    batch, the sample or not at all, then P = softmax(M / τ) + 10⁻¹⁰ over the H·W positions of a
    sample, and L = τ² · mean_B Σ P_T log(P_T / P_S). Without ``tau_squared`` the factor is 1, as
    in the reference code; the paper has τ². No gradient reaches the teacher.

    Normalised maps lie in [0, 1], so L is small: about Var(M_T − M_S) / 2 over the positions, and
    at most 1/2 (with τ², Hoeffding's lemma).

    Shapes: student features (T, B, C, H, W), teacher features (B, C', H, W), teacher weight
    (K, C'), teacher logits (B, K) → scalar.
    Raises: `ShapeMismatchError`, `UsageError`.
    Source: CKDSNN (arXiv 2511.06902), SAMD.
    """

    def __init__(
        self,
        temperature: float = 2.0,
        scaling: Literal["softmax"] = "softmax",
        mapping: Literal["cam-sam"] = "cam-sam",
        norm: Literal["batch", "sample", "none"] = "batch",
        tau_squared: bool = True,
    ) -> None:
        super().__init__()
        for name, value, offered in (
            ("scaling", scaling, ("softmax",)),
            ("mapping", mapping, ("cam-sam",)),
            ("norm", norm, ("batch", "sample", "none")),
        ):
            if value not in offered:
                raise UsageError(
                    f"unknown {name}",
                    where="SAMDLoss",
                    expected=" | ".join(offered),
                    found=repr(value),
                )
        if not temperature > 0:
            raise UsageError(
                "temperature must be positive", where="SAMDLoss", found=str(temperature)
            )
        self.temperature = temperature
        self.norm = norm
        self.tau_squared = tau_squared

    def forward(
        self,
        student_features: Tensor,
        teacher_features: Tensor,
        teacher_weight: Tensor,
        teacher_logits: Tensor,
    ) -> Tensor:
        if (
            student_features.ndim != 5
            or teacher_features.ndim != 4
            or student_features.shape[1] != teacher_features.shape[0]
            or student_features.shape[-2:] != teacher_features.shape[-2:]
        ):
            raise ShapeMismatchError(
                "student and teacher features differ in geometry",
                where="SAMDLoss",
                expected="(T, B, C, H, W) and (B, C', H, W)",
                found=f"{tuple(student_features.shape)} and {tuple(teacher_features.shape)}",
            )
        with torch.no_grad():
            cam = class_activation_map(teacher_features, teacher_weight, teacher_logits)
            target = self._distribution(cam)
        student = self._distribution(spike_activation_map(student_features))
        divergence = (target * (target.log() - student.log())).sum(dim=1).mean()
        return divergence * self.temperature**2 if self.tau_squared else divergence

    def _distribution(self, maps: Tensor) -> Tensor:
        """(B, H, W) → (B, H·W), each row a distribution."""
        flat = maps.flatten(1)
        if self.norm == "batch":
            flat = (flat - flat.min()) / (flat.max() - flat.min() + _RANGE_FLOOR)
        elif self.norm == "sample":
            low = flat.amin(dim=1, keepdim=True)
            span = flat.amax(dim=1, keepdim=True) - low
            flat = (flat - low) / (span + _RANGE_FLOOR)
        return F.softmax(flat / self.temperature, dim=1) + _PROBABILITY_FLOOR
