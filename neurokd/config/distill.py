"""`DistillConfig`: what the teacher adds to the loss."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from neurokd.config.section import Section


class DistillConfig(Section):
    """L = CE + samd · SAMD + nld · NLD + kd · KD + catkd · CAT-KD; a weight of 0 leaves it out."""

    OPTIONS: ClassVar[dict[str, tuple[str, ...]]] = {
        "samd": ("scaling", "mapping", "norm", "tau_squared", "stage"),
        "nld": ("noise", "nld_mode", "nld_sigma"),
    }
    """What is of one term alone."""

    samd: float = Field(default=1.0, ge=0)
    nld: float = Field(default=1.0, ge=0)
    kd: float = Field(default=0.0, ge=0)
    catkd: float = Field(default=0.0, ge=0, description="15 in its paper")
    temperature: float = Field(default=2.0, gt=0)
    scaling: Literal["softmax", "none", "zscore", "l2"] = "softmax"
    mapping: Literal["cam-sam", "cam-cam"] = "cam-sam"
    norm: Literal["batch", "sample", "none"] = "batch"
    tau_squared: bool = True
    noise: float = Field(default=0.1, ge=0, description="λ of NLD")
    nld_mode: Literal["logit", "prob_mix"] = "logit"
    nld_sigma: float | None = Field(
        default=None, gt=0, description="a fixed spread of NLD's noise instead of the logits'"
    )
    stage: int | None = Field(
        default=None, ge=1, description="of SAMD, counted from 1; else the last"
    )
    student_stage: str | None = Field(default=None, description="its module path, instead")
    teacher_stage: str | None = Field(default=None, description="its module path, instead")

    @model_validator(mode="after")
    def _noise_is_a_share(self) -> DistillConfig:
        if self.nld_mode == "prob_mix" and self.noise > 1:
            raise ValueError("noise is a share of the probabilities in prob_mix: at most 1")
        return self
