"""Configuration of a run: frozen, validated, read from TOML and written back to it."""

from neurokd.config.continual import ContinualConfig
from neurokd.config.describe import described_config
from neurokd.config.distill import DistillConfig
from neurokd.config.embed import EmbedConfig
from neurokd.config.model import ModelConfig
from neurokd.config.read import (
    AnyConfig,
    preset_names,
    preset_summary,
    read_any_config,
    read_config,
    read_continual_config,
    read_embed_config,
    write_config,
)
from neurokd.config.recipe import AugmentConfig, RecipeConfig
from neurokd.config.train import TrainConfig

__all__ = [
    "AnyConfig",
    "AugmentConfig",
    "ContinualConfig",
    "DistillConfig",
    "EmbedConfig",
    "ModelConfig",
    "RecipeConfig",
    "TrainConfig",
    "described_config",
    "preset_names",
    "preset_summary",
    "read_any_config",
    "read_config",
    "read_continual_config",
    "read_embed_config",
    "write_config",
]
