"""Compilation of dense networks by torch.compile, where it helps."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from neurokd.errors import BackendUnavailableError, UsageError
from neurokd.training.features import submodule
from neurokd.training.stages import feature_stages


@contextmanager
def compiled_stages(network: nn.Module) -> Iterator[None]:
    """In here, each stage of a dense network is compiled when it first runs.

    A stage is what ``feature_stages`` lists, else the whole network; hooks on it see what they saw
    before, those inside of it would not be called. In the other mode (evaluation of a network that
    is trained) it runs as it is. Spiking networks are left alone: their neurons are compiled
    already, and opaque to torch.compile.

    Raises: `BackendUnavailableError` where there is no C++ compiler, `UsageError` for hooks inside
    a stage, and for stages that are not there.
    """
    if not any(shutil.which(name) for name in (os.environ.get("CXX", "g++"), "g++", "clang++")):
        raise BackendUnavailableError(
            "torch.compile needs a C++ compiler, and there is none",
            where="compiled = true",
            expected="g++ or clang++ on the PATH, or the environment variable CXX",
            remedy="set compiled = false",
        )
    stages = {path: submodule(network, path) for path in feature_stages(network) or ("",)}
    for path, stage in stages.items():
        _require_no_hooks_inside(stage, path)
    for stage in stages.values():
        compiled = torch.compile(stage.forward, dynamic=False)
        stage.forward = partial(_forward, stage, stage.forward, compiled, stage.training)
    try:
        yield
    finally:
        for stage in stages.values():
            del stage.forward


def _require_no_hooks_inside(stage: nn.Module, path: str) -> None:
    for inner, module in stage.named_modules(prefix=path):
        if module is not stage and module._forward_hooks:
            raise UsageError(
                "a compiled network does not say what happens inside a stage",
                where=f"compiled = true, {inner!r}",
                expected=f"hooks on {path!r} alone" if path else "no hooks inside",
                remedy="name a whole stage in distill.teacher_stage, or set compiled = false",
            )


def _forward(
    stage: nn.Module,
    plain: Callable[[Tensor], Tensor],
    compiled: Callable[[Tensor], Tensor],
    training: bool,
    x: Tensor,
) -> Tensor:
    return compiled(x) if stage.training is training else plain(x)
