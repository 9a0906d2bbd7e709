"""Compilation of dense networks by torch.compile, where it helps."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from neurokd.errors import BackendUnavailableError


@contextmanager
def compiled_stages(network: nn.Module) -> Iterator[None]:
    """In here, each stage of a dense network is compiled when it first runs.

    A stage is what ``feature_stages`` lists, else the whole network; hooks on it see what they saw
    before. In the other mode (evaluation of a network that is trained) it runs as it is. Spiking
    networks are left alone: their neurons are compiled already, and opaque to torch.compile.

    Raises: `BackendUnavailableError` where there is no C++ compiler.
    """
    if not any(shutil.which(name) for name in (os.environ.get("CXX", "g++"), "g++", "clang++")):
        raise BackendUnavailableError(
            "torch.compile needs a C++ compiler, and there is none",
            where="compiled = true",
            expected="g++ or clang++ on the PATH, or the environment variable CXX",
            remedy="set compiled = false",
        )
    stages = [network.get_submodule(path) for path in getattr(network, "feature_stages", ("",))]
    for stage in stages:
        compiled = torch.compile(stage.forward, dynamic=False)
        stage.forward = partial(_forward, stage, stage.forward, compiled, stage.training)
    try:
        yield
    finally:
        for stage in stages:
            del stage.forward


def _forward(
    stage: nn.Module,
    plain: Callable[[Tensor], Tensor],
    compiled: Callable[[Tensor], Tensor],
    training: bool,
    x: Tensor,
) -> Tensor:
    return compiled(x) if stage.training is training else plain(x)
