"""`RecipeConfig` and `AugmentConfig`: how a network is optimised, and on which variations."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from neurokd.config.section import Section

_MOMENTUM = 0.9


class RecipeConfig(Section):
    """How it is optimised."""

    epochs: int = Field(default=12, ge=1)
    batch_size: int = Field(default=64, ge=2, description="over all processes")
    optimizer: Literal["adamw", "sgd"] = "adamw"
    momentum: float = Field(default=_MOMENTUM, ge=0, lt=1, description="sgd")
    learning_rate: float = Field(default=3e-3, gt=0, description="the highest")
    schedule: Literal["one-cycle", "cosine", "constant"] = "one-cycle"
    warmup_epochs: int = Field(default=0, ge=0, description="linear, before cosine or constant")
    final_learning_rate: float = Field(default=0.0, ge=0, description="cosine")
    weight_decay: float = Field(default=1e-2, ge=0)
    clip_norm: float = Field(default=0.0, ge=0, description="of all gradients together; 0 is off")
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    mixup: float = Field(default=0.0, ge=0, description="α of Beta(α, α); 0 is off")
    mixup_epochs: int = Field(default=0, ge=0, description="mixup ends after these; 0 is never")
    ema: float = Field(
        default=0.0, ge=0, lt=1, description="decay of the averaged weights, which are then kept"
    )
    validation: float = Field(
        default=0.0, ge=0, lt=1, description="fraction of the training set held out of it"
    )
    keep: Literal["last", "best"] = Field(
        default="last", description="weights of the last epoch, or of the best by validation"
    )
    patience: int = Field(
        default=0, ge=0, description="epochs without a better validation, then it stops; 0 is never"
    )

    @model_validator(mode="after")
    def _fits_together(self) -> RecipeConfig:
        if self.validation == 0 and (self.keep == "best" or self.patience):
            raise ValueError("keep = 'best' and patience need validation > 0")
        if self.schedule == "one-cycle" and self.warmup_epochs:
            raise ValueError("one-cycle has its own warm-up: remove warmup_epochs")
        if self.warmup_epochs >= self.epochs:
            raise ValueError("warmup_epochs must be fewer than epochs")
        if self.final_learning_rate and self.schedule != "cosine":
            raise ValueError("final_learning_rate is for schedule = 'cosine': remove it")
        if self.optimizer != "sgd" and self.momentum != _MOMENTUM:
            raise ValueError("momentum is for optimizer = 'sgd': remove it")
        if self.mixup_epochs and not self.mixup:
            raise ValueError("mixup_epochs ends a mixup that is off: set mixup, or remove it")
        if self.final_learning_rate > self.learning_rate:
            raise ValueError("final_learning_rate must not exceed learning_rate")
        return self


class AugmentConfig(Section):
    """Random variations of a training sample; all off but a small translation."""

    max_shift: int = Field(
        default=2, ge=0, le=32, description="translation in pixels, zeros moving in"
    )
    flip: bool = Field(default=False, description="left and right exchanged, every second time")
    autoaugment: Literal["cifar10", "imagenet", "svhn"] | None = Field(
        default=None, description="a learned policy, for RGB images"
    )
    randaugment: tuple[int, int] | None = Field(
        default=None, description="operations and magnitude of 30, for RGB images"
    )
    erasing: float = Field(default=0.0, ge=0, le=1, description="probability of an erased box")
    rotation_degrees: float = Field(
        default=0.0, ge=0, le=180, description="of event frames, all steps alike"
    )
    drop_events: float = Field(
        default=0.0, ge=0, lt=1, description="largest fraction of events left out of a recording"
    )
