"""`TrainConfig`: one training run."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from neurokd.config.distill import DistillConfig
from neurokd.config.model import DENSE_ONLY, ModelConfig
from neurokd.config.recipe import AugmentConfig, RecipeConfig
from neurokd.config.section import Section


class TrainConfig(Section):
    """One training run, of a dense teacher or of a spiking student."""

    role: Literal["teacher", "student"]
    data: str = "mnist-subset"
    samples: int | None = Field(
        default=None, ge=2, description="training samples used, the first ones; else all"
    )
    seed: int = Field(default=0, ge=0, lt=2**63)
    steps: int = Field(default=4, ge=1, le=1024, description="time steps T of a student")
    model: ModelConfig = ModelConfig()
    recipe: RecipeConfig = RecipeConfig()
    augment: AugmentConfig = AugmentConfig()
    distill: DistillConfig | None = None
    teacher: str | None = Field(
        default=None, description="preset or file that trains the teacher when none is given"
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="cpu", description="auto takes a GPU where there is one"
    )
    devices: int = Field(default=1, ge=1, description="processes that share a batch")
    precision: Literal["float32", "bfloat16"] = Field(
        default="float32", description="of matrix products and convolutions"
    )
    compiled: bool = Field(default=False, description="torch.compile where it helps")
    recompute: bool = Field(
        default=False, description="stages once more on the way back: less memory, more time"
    )
    tensorboard: bool = Field(default=False, description="curves for TensorBoard, too")
    qat: bool = Field(
        default=False, description="train on in the deployed integers once the student is trained"
    )
    qat_epochs: int = Field(default=4, ge=1, description="epochs of that, at a tenth of the rate")
    weight_bits: int = Field(default=8, ge=1, le=8, description="bits of a weight on the chip")

    @model_validator(mode="after")
    def _distillation_is_for_students(self) -> TrainConfig:
        if self.role == "teacher" and (self.distill or self.teacher):
            raise ValueError("a teacher is not distilled: remove distill and teacher")
        if self.role == "teacher" and self.qat:
            raise ValueError("a teacher is not deployed: remove qat")
        if self.role == "student" and self.model.name in DENSE_ONLY:
            raise ValueError(
                f"{self.model.name} is a dense teacher without a spiking form: "
                "resnet20 is a student for it"
            )
        if self.teacher and self.distill is None:
            raise ValueError("nobody listens to this teacher: remove it, or add distill.samd = 1")
        if self.compiled and self.role == "student" and self.distill is None:
            raise ValueError("compiled is for a dense network, and none takes part: remove it")
        terms = self.distill
        if self.qat and terms and (terms.catkd or (terms.samd and terms.mapping == "cam-cam")):
            raise ValueError("qat has no class activation maps of the student: use cam-sam, or kd")
        return self

    @model_validator(mode="after")
    def _terms_that_count(self) -> TrainConfig:
        """An option of a term whose weight is 0 would do nothing."""
        if self.distill is None:
            return self
        weights = {name: getattr(self.distill, name) for name in ("samd", "nld", "kd", "catkd")}
        if not any(weights.values()):
            raise ValueError("nothing is distilled: raise samd, nld, kd or catkd, or drop distill")
        for term, options in DistillConfig.OPTIONS.items():
            for key in options:
                default = DistillConfig.model_fields[key].default
                if not weights[term] and getattr(self.distill, key) != default:
                    raise ValueError(f"distill.{key} is for {term}, whose weight is 0: remove it")
        return self
