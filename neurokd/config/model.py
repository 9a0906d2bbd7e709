"""`ModelConfig`: which network, and its geometry."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from neurokd.config.named_options import foreign_options, with_own_options
from neurokd.config.section import Section

_OPTIONS: dict[str, dict[str, Any]] = {
    "convnet": {
        "in_channels": 1,
        "channels": (16, 32, 64, 64),
        "kernels": (5, 3, 3, 3),
        "strides": (2, 2, 1, 1),
    },
    "vgg": {
        "in_channels": 3,
        "channels": (64, 128, 256, 512, 512),
        "depths": (1, 1, 2, 2, 2),
        "last_activation": "lif",
    },
    "mlp": {"inputs": 784, "sizes": (256, 256)},
    "resnet19": {"in_channels": 3, "width": 8, "hidden": 256, "last_activation": "lif"},
    "resnet20": {"in_channels": 3, "width": 1, "hidden": 256, "last_activation": "lif"},
    "spikformer": {
        "in_channels": 3,
        "dim": 384,
        "depth": 4,
        "heads": 12,
        "mlp_ratio": 4,
        "last_activation": "lif",
    },
    "cifar-resnet": {"in_channels": 3, "layers": 20},
    "convmixer": {"in_channels": 3, "dim": 256, "depth": 8, "kernel": 5, "patch": 2},
    "module": {"factory": None, "stages": None, "classifier": None},
}
"""What each network has besides the options of all, and its defaults."""
_NEURONS = ("beta", "threshold")
_ONLY_SPIKING = (*_NEURONS, "hidden", "last_activation")
DENSE_ONLY = ("cifar-resnet", "convmixer")
"""Networks without a spiking form."""


class ModelConfig(Section):
    """Which network, and its geometry; the options of another network are refused."""

    name: Literal[
        "convnet",
        "vgg",
        "mlp",
        "resnet19",
        "resnet20",
        "spikformer",
        "cifar-resnet",
        "convmixer",
        "module",
    ] = "convnet"
    in_channels: int | None = Field(default=None, ge=1, description="all but mlp and module")
    classes: int = Field(default=10, ge=2)
    beta: float = Field(default=0.5, gt=0, lt=1)
    threshold: float = Field(default=1.0, gt=0)
    channels: tuple[int, ...] | None = Field(
        default=None, description="convnet, vgg: of each stage"
    )
    kernels: tuple[int, ...] | None = Field(default=None, description="convnet: of each stage")
    strides: tuple[int, ...] | None = Field(default=None, description="convnet: of each stage")
    depths: tuple[int, ...] | None = Field(
        default=None, description="vgg: convolutions of each stage"
    )
    inputs: int | None = Field(default=None, ge=1, description="mlp: numbers in a sample")
    sizes: tuple[int, ...] | None = Field(default=None, description="mlp: of each hidden layer")
    width: int | None = Field(
        default=None, ge=1, description="resnet: 16, 32 and 64 times this many channels"
    )
    hidden: int | None = Field(
        default=None, ge=0, description="resnet student: units in its head; 0 is one linear layer"
    )
    last_activation: Literal["lif", "relu"] | None = Field(
        default=None, description="student: of its last stage; relu is not deployable"
    )
    dim: int | None = Field(default=None, ge=1, description="spikformer, convmixer: channels")
    depth: int | None = Field(default=None, ge=1, description="spikformer, convmixer: blocks")
    heads: int | None = Field(default=None, ge=1, description="spikformer: attention heads")
    mlp_ratio: int | None = Field(default=None, ge=1, description="spikformer: of its MLP")
    layers: Literal[20, 32, 56] | None = Field(default=None, description="cifar-resnet, a teacher")
    kernel: int | None = Field(default=None, ge=1, description="convmixer: of a block, in pixels")
    patch: int | None = Field(default=None, ge=1, description="convmixer: side in pixels")
    factory: str | None = Field(
        default=None, description="module: package.module:function that builds the network"
    )
    stages: tuple[str, ...] | None = Field(
        default=None, description="module: paths of its feature stages, first to last"
    )
    classifier: str | None = Field(
        default=None, description="module: path of its last linear layer"
    )

    @model_validator(mode="before")
    @classmethod
    def _options_of_this_network(cls, values: Any) -> Any:
        return with_own_options(values, _OPTIONS, "convnet")

    @model_validator(mode="after")
    def _fits_together(self) -> ModelConfig:
        per_stage = {
            key: value
            for key in ("channels", "kernels", "strides", "depths")
            if (value := getattr(self, key)) is not None
        }
        if per_stage and len({len(value) for value in per_stage.values()}) != 1:
            raise ValueError(f"{_listed(per_stage)} need one entry per stage")
        for key, value in (per_stage | {"sizes": self.sizes or (1,)}).items():
            if not value or min(value) < 1:
                raise ValueError(f"{key} must be positive")
        if any(kernel % 2 == 0 for kernel in self.kernels or ()):
            raise ValueError("kernels must be odd, so that padding keeps the geometry")
        if self.dim and self.heads and (self.dim % self.heads or self.dim % 8):
            raise ValueError("dim must be a multiple of heads and of 8")
        if self.name in DENSE_ONLY and self.in_channels != 3:
            raise ValueError(f"{self.name} is for RGB images: in_channels must be 3")
        if self.name == "module" and not self.factory:
            raise ValueError("factory must name package.module:function")
        for key in _NEURONS if self.name == "module" else ():
            if getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(f"{key} is decided by the factory of a module: remove it")
        return self

    def offered(self) -> tuple[str, ...]:
        """The options of this network, and those of all."""
        foreign = foreign_options(_OPTIONS, self.name)
        foreign |= set(_NEURONS) if self.name == "module" else set()
        return tuple(key for key in type(self).model_fields if key not in foreign)

    def geometry(self, *, spiking: bool) -> dict[str, Any]:
        """The arguments of `build_model`; a dense network has no neurons and one linear layer."""
        options = self.model_dump(exclude={"name"}, exclude_none=True)
        if self.name == "module":  # its factory knows the rest
            own = (*_OPTIONS["module"], "classes")
            return {key: options[key] for key in own if key in options}
        if not spiking:
            for key in _ONLY_SPIKING:
                options.pop(key, None)
        elif options.get("hidden") == 0:
            options["hidden"] = None
        return options


def _listed(names: dict[str, Any]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}"
