"""Training of teachers and students."""

from neurokd.training.train import train

__all__ = ["train"]
