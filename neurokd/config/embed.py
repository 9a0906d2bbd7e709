"""`EmbedConfig`: a frozen extractor, and the data set whose embeddings it computes."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from neurokd.config.model import DENSE_ONLY, ModelConfig
from neurokd.config.section import Section


class EmbedConfig(Section):
    """What computes embeddings, of which samples."""

    role: Literal["embed"] = "embed"
    data: str = Field(default="cifar10", description="a data set of images, or a folder")
    samples: int | None = Field(
        default=None, ge=2, description="training samples used, the first ones; else all"
    )
    weights: str | None = Field(
        default=None,
        description="file or run of the trained extractor; also looked for in NEUROKD_DATA/weights",
    )
    layer: str | None = Field(
        default=None,
        description="module path whose output is the embedding; else what enters the classifier",
    )
    mean: tuple[float, ...] | None = Field(
        default=None, description="module: of each channel, subtracted from the input"
    )
    deviation: tuple[float, ...] | None = Field(
        default=None, description="module: of each channel, by which the input is divided then"
    )
    batch_size: int = Field(default=100, ge=1)
    device: Literal["auto", "cpu", "cuda"] = "cpu"
    model: ModelConfig = ModelConfig(name="convmixer", classes=100)

    @model_validator(mode="after")
    def _fits_together(self) -> EmbedConfig:
        if (self.mean is None) != (self.deviation is None):
            raise ValueError("mean and deviation go together: give both, or none")
        if self.mean is not None and self.deviation is not None:
            if self.model.name in DENSE_ONLY:
                raise ValueError(f"{self.model.name} normalises inside: remove mean and deviation")
            if len(self.mean) != len(self.deviation) or not self.mean:
                raise ValueError("mean and deviation need one entry per channel")
            if min(self.deviation) <= 0:
                raise ValueError("deviation must be positive")
        if self.weights is None and self.model.name != "module":
            raise ValueError(
                f"{self.model.name} needs trained weights: set weights to a file, or to a run"
            )
        return self
