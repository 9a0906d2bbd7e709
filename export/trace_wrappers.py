"""What changes a module from outside, so that its layers do not say what it computes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize

from neurokd.errors import UsageError
from neurokd.export.trace_layer import refuse
from neurokd.export.trace_neurons import STATES

_WRAPPERS = {
    "OptimizedModule": "pass the module that torch.compile was given",
    "DataParallel": "pass its .module",
    "DistributedDataParallel": "pass its .module",
}


def check_unwrapped(root: nn.Module) -> None:
    """Refuses what torch.fx would step over or trip on: hooks, parametrisations, wrappers, NaN.

    Raises: `UnsupportedModuleError`; `UsageError` if this is no module.
    """
    if not isinstance(root, nn.Module):
        raise UsageError(
            "only a torch module can be traced",
            where="trace",
            expected="torch.nn.Module",
            found=type(root).__name__,
            remedy="pass the network itself",
        )
    module: Any
    for path, module in root.named_modules():
        kind = type(module).__name__
        if kind in _WRAPPERS:
            raise refuse(path, "a wrapped module hides its layers", _WRAPPERS[kind], kind)
        if isinstance(module, torch.jit.ScriptModule):
            raise refuse(
                path, "a scripted module hides its layers", "pass the module it was made from", kind
            )
        if parametrize.is_parametrized(module):
            raise refuse(
                path,
                "a parametrised layer computes its weights anew at each call",
                "call torch.nn.utils.parametrize.remove_parametrizations on it first",
                ", ".join(module.parametrizations),
            )
        if any(is_lazy(parameter) for parameter in module.parameters(recurse=False)):
            raise refuse(path, "a lazy layer has no weights yet", "run it once before", kind)
        if "forward" in vars(module):
            raise refuse(
                path, "this module's forward was replaced", "trace it before that is done", kind
            )
        # forward hooks may change values, and fx never calls those of layers
        if hooks := [*module._forward_pre_hooks.values(), *module._forward_hooks.values()]:
            raise refuse(
                path,
                "a forward hook may change what this module computes",
                "remove the hook (prune.remove, remove_weight_norm, handle.remove) and trace then",
                ", ".join(_named(h) for h in hooks),
            )
        _check_finite(path, module)


def _check_finite(path: str, module: nn.Module) -> None:
    """Refuses parameters that are NaN or infinite; the state of neurons is none."""
    state = STATES.get(type(module), ())
    tensors: list[tuple[str, Tensor]] = [
        *module.named_parameters(recurse=False),
        *((name, t) for name, t in module.named_buffers(recurse=False) if name not in state),
    ]
    for name, tensor in tensors:
        if tensor.is_meta:
            raise refuse(path, f"{name!r} holds no values", "load weights first", "device meta")
        if not bool(torch.isfinite(tensor).all()):
            raise refuse(
                path, f"{name!r} holds values that are not finite", "train or load it again"
            )


def _named(hook: Any) -> str:
    return str(getattr(hook, "__name__", type(hook).__name__))
