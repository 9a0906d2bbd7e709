"""Configurations as TOML: read with overrides, and written back resolved."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import tomli_w
from pydantic import ValidationError

from neurokd.config.continual import (
    METHODS,
    ContinualConfig,
    LearningConfig,
    NetworkConfig,
    SpikingConfig,
)
from neurokd.config.distill import DistillConfig
from neurokd.config.embed import EmbedConfig
from neurokd.config.model import ModelConfig
from neurokd.config.recipe import AugmentConfig, RecipeConfig
from neurokd.config.section import Section
from neurokd.config.train import TrainConfig
from neurokd.errors import FileFormatError, UsageError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

AnyConfig = TrainConfig | ContinualConfig | EmbedConfig
"""What ``role`` decides between."""

_Kind = TypeVar("_Kind", TrainConfig, ContinualConfig, EmbedConfig)

SECTIONS: dict[type[Section], dict[str, type[Section]]] = {
    TrainConfig: {
        "model": ModelConfig,
        "recipe": RecipeConfig,
        "augment": AugmentConfig,
        "distill": DistillConfig,
    },
    ContinualConfig: {
        "network": NetworkConfig,
        "learning": LearningConfig,
        **METHODS,
        "spiking": SpikingConfig,
    },
    EmbedConfig: {"model": ModelConfig},
}
"""The tables of each kind of configuration; all other keys stand above them."""


def preset_names() -> list[str]:
    """Names of the shipped configurations."""
    files = (resources.files("neurokd") / "presets").iterdir()
    return sorted(f.name.removesuffix(".toml") for f in files if f.name.endswith(".toml"))


def preset_summary(name: str) -> str:
    """The first line of a shipped configuration, which says what it is."""
    return _text(name)[0].splitlines()[0].lstrip("# ")


def read_config(source: str | Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """The configuration of a training run: a preset's name or a TOML file, with overrides.

    Raises: as `read_any_config`, and `UsageError` for one of continual learning.
    """
    return _of_kind(TrainConfig, "a teacher or a student", source, overrides)


def read_continual_config(source: str | Path, overrides: Sequence[str] = ()) -> ContinualConfig:
    """The configuration of continual learning: a preset's name or a TOML file, with overrides.

    Raises: as `read_any_config`, and `UsageError` for one of another kind.
    """
    return _of_kind(ContinualConfig, "continual learning", source, overrides)


def read_embed_config(source: str | Path, overrides: Sequence[str] = ()) -> EmbedConfig:
    """The configuration of an extractor: a preset's name or a TOML file, with overrides.

    Raises: as `read_any_config`, and `UsageError` for one of another kind.
    """
    return _of_kind(EmbedConfig, "an extractor of embeddings", source, overrides)


def read_any_config(source: str | Path, overrides: Sequence[str] = ()) -> AnyConfig:
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


def _of_kind(
    kind: type[_Kind], expected: str, source: str | Path, overrides: Sequence[str]
) -> _Kind:
    config = read_any_config(source, overrides)
    if isinstance(config, kind):
        return config
    commands = {"teacher": "teach", "student": "train"}
    raise UsageError(
        "this configuration is of another kind",
        where=str(source),
        expected=f"one of {expected}",
        found=f'role = "{config.role}"',
        remedy=f"`neurokd {commands.get(config.role, config.role)}` takes it",
    )


def write_config(config: AnyConfig) -> str:
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


def _validated(values: dict[str, Any], where: str) -> AnyConfig:
    kinds: dict[Any, type[TrainConfig] | type[ContinualConfig] | type[EmbedConfig]]
    kinds = {"continual": ContinualConfig, "embed": EmbedConfig}
    role = values.get("role")
    kind = kinds.get(role, TrainConfig) if isinstance(role, str) else TrainConfig
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise UsageError(
            "; ".join(_problem(dict(found), kind) for found in error.errors()), where=where
        ) from error


def _problem(found: dict[str, Any], kind: type[Section]) -> str:
    """One thing that a configuration has wrong: its key, what was expected, what is there."""
    key = ".".join(str(part) for part in found["loc"])
    at = f"{key}: " if key else ""
    if found["type"] == "extra_forbidden":
        *sections, name = found["loc"]
        section = SECTIONS[kind][str(sections[0])] if sections else kind
        return f"{at}unknown key, {_nearest(str(name), section)}"
    if found["type"] == "value_error":  # of our own validators: a sentence with its remedy
        return f"{at}{found['ctx']['error']}"
    if found["type"] == "missing":
        return f"{at}it is missing"
    message = found["msg"].replace("Input should be", "expected", 1)
    given = found["input"]
    return f"{at}{message}" + ("" if isinstance(given, dict) else f" (found {given!r})")


def _nearest(name: str, section: type[Section]) -> str:
    """The keys of a section that a wrong one may have been meant as, else all of them."""
    keys = list(section.model_fields)
    return f"expected {' or '.join(get_close_matches(name, keys, n=2)) or ', '.join(keys)}"
