"""CAT-KD: the student's class activation maps, all classes, are pulled towards the teacher's."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neurokd.distill.cam import class_activation_maps, mean_over_time, pooled
from neurokd.distill.require import require_features
from neurokd.errors import ShapeMismatchError, UsageError


class CATKDLoss(nn.Module):
    """Class attention transfer.

    Equation: A = pool(Σ_c W[k, c] F[c]), adaptive average pooling to R × R positions, R being
    ``resolution``, for the student with its features' mean over the steps;
    L = mean_B mean_K mean_RR (A_T − A_S)². With ``normalised`` (pure CAT) A ← A / ‖A‖₂ first, the
    norm over the positions of each sample and class, at least 10⁻¹².

    Each network's linear classifier serves as a 1×1 convolution without bias. Gradients reach the
    student's features and its classifier, not the teacher.

    Shapes: student features (T, B, C, H, W), teacher features (B, C', H', W'), teacher weight
    (K, C'), student weight (K, C) → scalar.
    Raises: `ShapeMismatchError`, `UsageError`.
    Source: Guo et al., CVPR 2023, "Class Attention Transfer Based Knowledge Distillation"
    (arXiv 2304.12777).
    """

    def __init__(self, resolution: int = 2, normalised: bool = False) -> None:
        super().__init__()
        if resolution < 1:
            raise UsageError(
                "the maps need a position", where="CATKDLoss", expected="≥ 1", found=str(resolution)
            )
        self.resolution = resolution
        self.normalised = normalised

    def forward(
        self,
        student_features: Tensor,
        teacher_features: Tensor,
        teacher_weight: Tensor,
        student_weight: Tensor,
    ) -> Tensor:
        require_features("CATKDLoss", student_features, teacher_features)
        if len(student_weight) != len(teacher_weight):
            raise ShapeMismatchError(
                "student and teacher have different classes",
                where="CATKDLoss",
                expected="(K, C) and (K, C')",
                found=f"{tuple(student_weight.shape)} and {tuple(teacher_weight.shape)}",
            )
        with torch.no_grad():
            target = self._attention(teacher_features, teacher_weight)
        student = self._attention(mean_over_time(student_features), student_weight)
        return F.mse_loss(student, target)

    def _attention(self, features: Tensor, weight: Tensor) -> Tensor:
        """(B, C, H, W), (K, C) → (B, K, R·R)."""
        size = (self.resolution, self.resolution)
        maps = pooled(class_activation_maps(features, weight), size).flatten(2)
        return F.normalize(maps, dim=2) if self.normalised else maps
