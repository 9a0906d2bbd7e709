"""SAMD: the student's activation map is pulled towards the teacher's class activation map."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neurokd.batch_share import WHOLE, BatchShare
from neurokd.distill.cam import (
    class_activation_map,
    mean_over_time,
    pooled,
    spike_activation_map,
)
from neurokd.distill.require import (
    require_choice,
    require_features,
    require_temperature,
)
from neurokd.errors import ShapeMismatchError, UsageError

Scaling = Literal["softmax", "none", "zscore", "l2"]
Mapping = Literal["cam-sam", "cam-cam"]
Norm = Literal["batch", "sample", "none"]

_RANGE_FLOOR = 1e-3
_PROBABILITY_FLOOR = 1e-10
_SQUARE_FLOOR = 1e-6


class SAMDLoss(nn.Module):
    """Saliency-scaled activation map distillation.

    Maps: M_T is the teacher's CAM of the class that it predicts. ``mapping="cam-sam"``: M_S is the
    student's SAM, Σ_t Σ_c S[t, c]. ``mapping="cam-cam"``: M_S is the student's CAM, with its own
    classifier, the class that it predicts itself, and its features' mean over the steps.

    Geometry: where the maps differ in size, each is average-pooled (adaptively) to the smaller
    height and the smaller width of both.

    Norm: M ← (M − min M) / (max M − min M + 10⁻³), over the batch (of all processes, where this one
    has a ``share`` of it), the sample, or not at all.

    Equation, by ``scaling``, over the H·W positions of each sample:

    - ``softmax``: P = softmax(M / τ) + 10⁻¹⁰, L = τ² · mean_B Σ P_T log(P_T / P_S); without
      ``tau_squared`` the factor is 1, as in the reference code. The paper has τ².
    - ``none``: L = mean_B mean_HW (M_T − M_S)².
    - ``zscore``: the same with Z = (M − mean_HW M) / √(Var_HW M + 10⁻⁶) for M (population
      variance).
    - ``l2``: the same with U = M / √(Σ_HW M² + 10⁻⁶) for M.

    τ and ``tau_squared`` matter to softmax alone. Normalised maps lie in [0, 1], so its KL is
    small: about Var_HW(M_T − M_S) / (2 τ²), and at most 1 / (2 τ²) (Hoeffding's lemma). No gradient
    reaches the teacher.

    Shapes: student features (T, B, C, H, W), teacher features (B, C', H', W'), teacher weight
    (K, C'), teacher logits (B, K), and for cam-cam student weight (K, C), student logits (B, K)
    → scalar.
    Raises: `ShapeMismatchError`, `UsageError`.
    Source: CKDSNN (arXiv 2511.06902), SAMD and the ablation of its scaling.
    """

    def __init__(
        self,
        temperature: float = 2.0,
        scaling: Scaling = "softmax",
        mapping: Mapping = "cam-sam",
        norm: Norm = "batch",
        tau_squared: bool = True,
    ) -> None:
        super().__init__()
        require_choice("SAMDLoss", "scaling", scaling, Scaling)
        require_choice("SAMDLoss", "mapping", mapping, Mapping)
        require_choice("SAMDLoss", "norm", norm, Norm)
        require_temperature("SAMDLoss", temperature)
        self.temperature = temperature
        self.scaling = scaling
        self.mapping = mapping
        self.norm = norm
        self.tau_squared = tau_squared

    def forward(
        self,
        student_features: Tensor,
        teacher_features: Tensor,
        teacher_weight: Tensor,
        teacher_logits: Tensor,
        student_weight: Tensor | None = None,
        student_logits: Tensor | None = None,
        share: BatchShare = WHOLE,
    ) -> Tensor:
        require_features("SAMDLoss", student_features, teacher_features)
        with torch.no_grad():
            cam = class_activation_map(teacher_features, teacher_weight, teacher_logits)
        own = self.student_map(student_features, student_weight, student_logits)
        return self.compare(own, cam, share)

    def student_map(
        self, features: Tensor, weight: Tensor | None = None, logits: Tensor | None = None
    ) -> Tensor:
        """M_S before its norm. Shapes: (T, B, C, H, W), (K, C), (B, K) → (B, H, W)."""
        if self.mapping == "cam-sam":
            return spike_activation_map(features)
        if weight is None or logits is None:
            raise UsageError(
                "mapping cam-cam needs the student's own classifier",
                where="SAMDLoss",
                expected="student_weight (K, C) and student_logits (B, K)",
                remedy="give both, or use mapping cam-sam",
            )
        return class_activation_map(mean_over_time(features), weight, logits)

    def compare(
        self, student_map: Tensor, teacher_map: Tensor, share: BatchShare = WHOLE
    ) -> Tensor:
        """The loss of two maps. Shapes: (B, H, W), (B, H', W') → scalar."""
        if student_map.ndim != 3 or teacher_map.ndim != 3 or len(student_map) != len(teacher_map):
            raise ShapeMismatchError(
                "student and teacher maps do not belong to one batch",
                where="SAMDLoss",
                expected="(B, H, W) and (B, H', W')",
                found=f"{tuple(student_map.shape)} and {tuple(teacher_map.shape)}",
            )
        height, width = (
            min(a, b) for a, b in zip(student_map.shape[1:], teacher_map.shape[1:], strict=True)
        )
        student, teacher = (
            normalised(pooled(maps, (height, width)).flatten(1), self.norm, share)
            for maps in (student_map, teacher_map.detach())
        )
        if self.scaling != "softmax":
            return F.mse_loss(
                standardised(student, self.scaling), standardised(teacher, self.scaling)
            )
        log_student, log_teacher = self._log_p(student), self._log_p(teacher)
        divergence = (log_teacher.exp() * (log_teacher - log_student)).sum(dim=1).mean()
        return divergence * self.temperature**2 if self.tau_squared else divergence

    def _log_p(self, flat: Tensor) -> Tensor:
        return (F.softmax(flat / self.temperature, dim=1) + _PROBABILITY_FLOOR).log()


def normalised(flat: Tensor, norm: Norm, share: BatchShare = WHOLE) -> Tensor:
    """(M − min M) / (max M − min M + 10⁻³) over the batch, the sample, or not. (B, N) → (B, N)."""
    if norm == "none":
        return flat
    if norm == "batch":
        low, high = share.extremes(flat)
    else:
        low, high = flat.amin(dim=1, keepdim=True), flat.amax(dim=1, keepdim=True)
    return (flat - low) / (high - low + _RANGE_FLOOR)


def standardised(flat: Tensor, scaling: Scaling) -> Tensor:
    """The maps that the squared error compares, sample by sample. Shapes: (B, N) → (B, N)."""
    if scaling == "zscore":
        centred = flat - flat.mean(dim=1, keepdim=True)
        return centred / (centred.square().mean(dim=1, keepdim=True) + _SQUARE_FLOOR).sqrt()
    if scaling == "l2":
        return flat / (flat.square().sum(dim=1, keepdim=True) + _SQUARE_FLOOR).sqrt()
    return flat
