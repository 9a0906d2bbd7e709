"""Distillation: the objective of a spiking student with a frozen dense teacher."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from neurokd.config import DistillConfig
from neurokd.distill import CATKDLoss, KDLoss, NLDLoss, SAMDLoss
from neurokd.distill.cam import grad_cam
from neurokd.training.classification import Objective
from neurokd.training.features import StageFeatures, feature_map
from neurokd.training.linear_head import LinearHead
from neurokd.training.logits import dense_logits, student_logits
from neurokd.training.stages import compared_stages, last_stages, require_last_stage


class Distillation(Objective):
    """CE + samd · SAMD + nld · NLD + kd · KD + catkd · CAT-KD; a weight of 0 is not computed.

    SAMD compares the stages that ``config`` names: a module path, else a number of
    ``feature_stages``, else the last. The teacher's map is its Grad-CAM times H·W, which in front
    of global average pooling and one linear layer is the CAM, and which every stage has. CAT-KD
    compares the last stages (the named ones where a network lists none) and needs the linear
    layers of both (`LinearHead`), as ``mapping = "cam-cam"`` does of the student.

    Each network runs once a batch; a teacher that no term needs does not run. It stays in
    evaluation mode with frozen parameters, and records a graph only behind the stage of its
    Grad-CAM.

    Raises: `UsageError` for stages and layers that are not there, `ShapeMismatchError` for features
    without a map.
    Source: CKDSNN (arXiv 2511.06902).
    """

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module,
        steps: int,
        config: DistillConfig,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(student, label_smoothing)
        self.student = student
        self.teacher = teacher.eval().requires_grad_(False)
        self.steps = steps
        self.config = config
        self.samd = SAMDLoss(
            config.temperature, config.scaling, config.mapping, config.norm, config.tau_squared
        )
        self.nld = NLDLoss(config.temperature, config.noise, config.nld_mode, config.nld_sigma)
        self.kd = KDLoss(config.temperature)
        self.catkd = CATKDLoss()
        cam_cam = bool(config.samd) and config.mapping == "cam-cam"
        if config.catkd:
            self.teacher_head = LinearHead(teacher)
        if config.catkd or cam_cam:
            self.student_head = LinearHead(student)
        self.student_features: dict[str, StageFeatures] = {}
        self.teacher_features: dict[str, StageFeatures] = {}
        if config.samd:
            self.samd_stages = compared_stages(student, teacher, config)
            if cam_cam:
                require_last_stage(student, self.samd_stages[0])
            self._watch(self.samd_stages, leaf=True)
        if config.catkd:
            self.catkd_stages = last_stages(student, teacher, config)
            self._watch(self.catkd_stages, leaf=False)

    def __call__(
        self, images: Tensor, targets: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        config = self.config
        if not (config.samd or config.nld or config.kd or config.catkd):
            logits = student_logits(self.network, images, self.steps)
            return logits, {"ce": self.cross_entropy(logits, targets)}
        for kept in (*self.student_features.values(), *self.teacher_features.values()):
            kept.expect()
        with torch.set_grad_enabled(bool(config.samd)):
            teacher_logits = dense_logits(self.teacher, images)
        logits = student_logits(self.network, images, self.steps)
        constant = teacher_logits.detach()
        terms = {"ce": self.cross_entropy(logits, targets)}
        with torch.autocast(logits.device.type, enabled=False):
            seen = {path: kept.take() for path, kept in self.student_features.items()}
            known = {path: kept.take() for path, kept in self.teacher_features.items()}
            if config.samd:
                terms["samd"] = config.samd * self._samd(seen, known, logits, teacher_logits)
            if config.nld:
                terms["nld"] = config.nld * self.nld(logits, constant, generator, self.share)
            if config.kd:
                terms["kd"] = config.kd * self.kd(logits, constant)
            if config.catkd:
                terms["catkd"] = config.catkd * self._catkd(seen, known)
        return logits, terms

    def _watch(self, stages: tuple[str, str], *, leaf: bool) -> None:
        own, foreign = stages
        if own not in self.student_features:
            self.student_features[own] = StageFeatures(self.student, own)
        if foreign not in self.teacher_features:
            self.teacher_features[foreign] = StageFeatures(self.teacher, foreign, leaf=leaf)

    def _samd(
        self,
        seen: dict[str, Tensor],
        known: dict[str, Tensor],
        logits: Tensor,
        teacher_logits: Tensor,
    ) -> Tensor:
        own, foreign = self.samd_stages
        arrange = partial(feature_map, self.teacher, spiking=False, stage=foreign)
        cam = grad_cam(known[foreign], teacher_logits, arrange)
        cam = cam * (cam.shape[-2] * cam.shape[-1])
        features = feature_map(self.student, seen[own], spiking=True, stage=own)
        weight = self.student_head.weight() if self.samd.mapping == "cam-cam" else None
        return self.samd.compare(self.samd.student_map(features, weight, logits), cam, self.share)

    def _catkd(self, seen: dict[str, Tensor], known: dict[str, Tensor]) -> Tensor:
        own, foreign = self.catkd_stages
        loss: Tensor = self.catkd(
            feature_map(self.student, seen[own], spiking=True, stage=own),
            feature_map(self.teacher, known[foreign].detach(), spiking=False, stage=foreign),
            self.teacher_head.weight(),
            self.student_head.weight(),
        )
        return loss
