"""Configuration of training: frozen, validated, read from TOML and written back to it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from neurokd.errors import FileFormatError, UsageError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


_MODEL_OPTIONS: dict[str, dict[str, Any]] = {
    "convnet": {
        "in_channels": 1,
        "channels": (16, 32, 64, 64),
        "kernels": (5, 3, 3, 3),
        "strides": (2, 2, 1, 1),
    },
    "resnet19": {"in_channels": 3, "width": 8, "hidden": 256, "last_activation": "lif"},
    "resnet20": {"in_channels": 3, "width": 1, "hidden": 256, "last_activation": "lif"},
}
"""What each network has besides the options of all, and its defaults."""


class ModelConfig(_Section):
    """Which network, and its geometry; the options of another network are refused."""

    name: Literal["convnet", "resnet19", "resnet20"] = "convnet"
    in_channels: int = Field(default=1, ge=1)
    classes: int = Field(default=10, ge=2)
    beta: float = Field(default=0.5, gt=0, lt=1)
    threshold: float = Field(default=1.0, gt=0)
    channels: tuple[int, ...] | None = Field(default=None, description="convnet: of each stage")
    kernels: tuple[int, ...] | None = Field(default=None, description="convnet: of each stage")
    strides: tuple[int, ...] | None = Field(default=None, description="convnet: of each stage")
    width: int | None = Field(
        default=None, ge=1, description="resnet: 16, 32 and 64 times this many channels"
    )
    hidden: int | None = Field(
        default=None, ge=0, description="resnet student: units in its head; 0 is one linear layer"
    )
    last_activation: Literal["lif", "relu"] | None = Field(
        default=None, description="resnet student: of its last block"
    )

    @model_validator(mode="before")
    @classmethod
    def _options_of_this_network(cls, values: Any) -> Any:
        name = values.get("name", "convnet") if isinstance(values, dict) else None
        if not isinstance(name, str) or name not in _MODEL_OPTIONS:
            return values  # refused where the fields are checked
        own = _MODEL_OPTIONS[name]
        given = {key: value for key, value in values.items() if value is not None}
        for key in given:
            if key not in own and any(key in other for other in _MODEL_OPTIONS.values()):
                raise ValueError(f"{key} is not an option of {name}")
        return own | given

    @model_validator(mode="after")
    def _same_depth(self) -> ModelConfig:
        if self.channels is None or self.kernels is None or self.strides is None:
            return self
        if not len(self.channels) == len(self.kernels) == len(self.strides) > 0:
            raise ValueError("channels, kernels and strides need one entry per stage")
        if min(self.channels) < 1 or min(self.strides) < 1:
            raise ValueError("channels and strides must be positive")
        if any(kernel < 1 or kernel % 2 == 0 for kernel in self.kernels):
            raise ValueError("kernels must be odd, so that padding keeps the geometry")
        return self

    def geometry(self, *, spiking: bool) -> dict[str, Any]:
        """The arguments of `build_model`; a dense network has no neurons and one linear layer."""
        options = self.model_dump(exclude={"name"}, exclude_none=True)
        if not spiking:
            for key in ("beta", "threshold", "hidden", "last_activation"):
                options.pop(key, None)
        elif options.get("hidden") == 0:
            options["hidden"] = None
        return options


class RecipeConfig(_Section):
    """How it is optimised: AdamW under a one-cycle schedule."""

    epochs: int = Field(default=12, ge=1)
    batch_size: int = Field(default=64, ge=2)
    learning_rate: float = Field(default=3e-3, gt=0)
    weight_decay: float = Field(default=1e-2, ge=0)
    max_shift: int = Field(default=2, ge=0, le=8, description="random translation, in pixels")


class DistillConfig(_Section):
    """What the teacher adds: L = CE + samd · SAMD + nld · NLD."""

    samd: float = Field(default=1.0, ge=0)
    nld: float = Field(default=1.0, ge=0)
    temperature: float = Field(default=2.0, gt=0)
    noise: float = Field(default=0.1, ge=0)
    norm: Literal["batch", "sample", "none"] = "batch"
    tau_squared: bool = True


class TrainConfig(_Section):
    """One training run, of a dense teacher or of a spiking student."""

    role: Literal["teacher", "student"]
    data: str = "mnist-subset"
    seed: int = Field(default=0, ge=0, lt=2**63)
    steps: int = Field(default=4, ge=1, le=1024, description="time steps T of a student")
    model: ModelConfig = ModelConfig()
    recipe: RecipeConfig = RecipeConfig()
    distill: DistillConfig | None = None
    teacher: str | None = Field(
        default=None, description="preset or file that trains the teacher when none is given"
    )
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
        return self


def preset_names() -> list[str]:
    """Names of the shipped configurations."""
    files = (resources.files("neurokd") / "presets").iterdir()
    return sorted(f.name.removesuffix(".toml") for f in files if f.name.endswith(".toml"))


def read_config(source: str | Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """A preset's name or a TOML file, with ``key=value`` overrides (``recipe.epochs=3``).

    Raises: `FileFormatError` for a missing or broken file, `UsageError` for an unknown key or a
    value that does not fit.
    """
    text, where = _text(source)
    try:
        values: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise FileFormatError("this is not TOML", where=where, found=str(error)) from error
    for override in overrides:
        _override(values, override)
    return _validated(values, where)


def write_config(config: TrainConfig) -> str:
    """The resolved configuration as TOML."""
    return tomli_w.dumps(config.model_dump(mode="json", exclude_none=True))


def _text(source: str | Path) -> tuple[str, str]:
    if str(source) in preset_names():
        preset = resources.files("neurokd") / "presets" / f"{source}.toml"
        return preset.read_text(encoding="utf-8"), str(source)
    path = Path(source)
    if not path.is_file():
        raise UsageError(
            "no such configuration",
            where=str(source),
            expected=f"a TOML file, or one of {', '.join(preset_names())}",
            remedy="`neurokd presets` lists the presets",
        )
    try:
        return path.read_text(encoding="utf-8"), str(path)
    except (OSError, UnicodeDecodeError) as error:
        raise FileFormatError(
            "the file cannot be read", where=str(path), found=str(error)
        ) from error


def _override(values: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not all(part for part in key.split(".")):
        raise UsageError(
            "this is not an override", where="--set", expected="key=value", found=repr(override)
        )
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text  # a bare word is a string
    *path, last = key.split(".")
    for part in path:
        values = values.setdefault(part, {})
        if not isinstance(values, dict):
            raise UsageError("this key has no parts", where="--set", found=repr(key))
    values[last] = value


def _validated(values: dict[str, Any], where: str) -> TrainConfig:
    try:
        return TrainConfig.model_validate(values)
    except ValidationError as error:
        problems = []
        for problem in error.errors():
            key = ".".join(str(part) for part in problem["loc"]) or "configuration"
            if problem["type"] == "extra_forbidden":
                problems.append(f"{key}: unknown key")
            else:
                given = problem["input"]
                shown = "" if isinstance(given, dict) else f" (found {given!r})"
                problems.append(f"{key}: {problem['msg']}{shown}")
        raise UsageError("; ".join(problems), where=where) from error
