"""A network of the user's own, built by a factory that is named."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from neurokd.errors import UsageError
from neurokd.neurons import PerStep


def user_network(
    factory: str,
    *,
    spiking: bool,
    classes: int | None = None,
    stages: Sequence[str] | None = None,
    classifier: str | None = None,
) -> nn.Module:
    """What ``package.module:function`` builds, with its feature stages and classifier named.

    The function is called with ``spiking`` and ``classes`` if it has parameters of these names
    (``**kwargs`` does not count), else without arguments. The current folder is searched for the
    module first, as by `python -m`. A dense network maps (B, *shape) → logits (B, K), a spiking
    one (T, B, *shape) → membranes (T, B, K) of an accumulating readout.

    ``stages`` and ``classifier`` are module paths; they are kept as ``feature_stages`` and
    ``classifier_path`` of the network, which is otherwise as the function built it. One that has
    these attributes itself needs neither.

    Raises: `UsageError` for a function that is not there, fails or builds no network, for a path
    that leads to no module, and for a classifier that is no linear layer.
    """
    network = _called(factory, {"spiking": spiking, "classes": classes})
    if stages is not None:
        for path in stages:
            _submodule(network, path, factory, "stages")
        _keep(network, "feature_stages", tuple(stages), factory)
    if classifier is not None:
        layer = _submodule(network, classifier, factory, "classifier")
        layer = layer.layer if isinstance(layer, PerStep) else layer
        if not isinstance(layer, nn.Linear):
            raise UsageError(
                "the classifier is not a linear layer",
                where=f"{factory}, classifier {classifier!r}",
                expected="nn.Linear",
                found=type(layer).__name__,
                remedy=_linear_layers(network),
            )
        _keep(network, "classifier_path", classifier, factory)
    return network


def _called(factory: str, offered: dict[str, bool | int | None]) -> nn.Module:
    module_name, _, function_name = factory.partition(":")
    if not module_name or not function_name:
        raise UsageError(
            "this names no factory", expected="package.module:function", found=repr(factory)
        )
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        function = getattr(importlib.import_module(module_name), function_name)
        parameters = inspect.signature(function).parameters.values()
        named = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        network = function(
            **{k: value for k, value in offered.items() if k in named and value is not None}
        )
    except Exception as error:  # the user's own code, which may fail in any way
        raise UsageError(
            "the factory fails",
            where=factory,
            found=f"{type(error).__name__}: {error}",
            remedy="--debug shows where",
        ) from error
    if not isinstance(network, nn.Module):
        raise UsageError(
            "the factory does not build a network",
            where=factory,
            expected="torch.nn.Module",
            found=type(network).__name__,
        )
    return network


def _submodule(network: nn.Module, path: str, factory: str, option: str) -> nn.Module:
    try:
        return network.get_submodule(path)
    except AttributeError as error:
        raise UsageError(
            "the network has no module of this path",
            where=f"{factory}, {option}",
            expected=", ".join(name for name, _ in network.named_children()),
            found=repr(path),
            remedy=_linear_layers(network) if option == "classifier" else "",
        ) from error


def _linear_layers(network: nn.Module) -> str:
    paths = [name for name, m in network.named_modules() if isinstance(m, nn.Linear)]
    return f"its linear layers are {', '.join(paths)}" if paths else "it has no linear layer"


def _keep(network: nn.Module, name: str, value: str | tuple[str, ...], factory: str) -> None:
    try:
        setattr(network, name, value)
    except AttributeError as error:  # a property of the user's class
        raise UsageError(
            f"the network says itself what its {name} is",
            where=factory,
            found=repr(getattr(network, name)),
            remedy="remove the option, or the property",
        ) from error
