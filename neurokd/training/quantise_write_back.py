"""Writing back: what was learnt on the chip's grid becomes the student's own weights."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import nir
import torch
from torch import Tensor, nn

from neurokd.errors import UnsupportedModuleError
from neurokd.export.nir_structure import predecessors
from neurokd.training.quantise_network import QuantisedNetwork


def write_back(trained: QuantisedNetwork, graph: nir.NIRGraph, student: nn.Module) -> nn.Module:
    """A copy of the student with the weights that the chip stores, in floats.

    A convolution takes its kernel, the batch normalisation behind it the bias alone: it no longer
    scales or shifts anything else. Where several projections share a population the first one has
    its bias. Of two linear layers in a row the first takes the change that the product needs, by
    the pseudo-inverse of the second.

    Raises: `UnsupportedModuleError` for a projection that is no layer of the student.
    """
    result = _copied(student).eval()
    modules = {path.replace(".", "_"): module for path, module in result.named_modules()}
    norms = _norms(result)
    biases = {
        name: neurons.snapped
        for name, neurons in zip(trained.names, trained.populations(), strict=True)
    }
    with torch.no_grad():
        for weights in trained.projections():
            if not weights.learnt:
                continue
            projection = weights.projection
            module = modules.get(projection.name)
            bias = biases.pop(projection.target, None)
            if isinstance(module, nn.Conv2d):
                _require_size(projection.name, module.weight, weights.snapped)
                module.weight.copy_(weights.snapped.reshape(module.weight.shape))
                _set_convolution_bias(module, norms.get(id(module)), bias)
            elif isinstance(module, nn.Linear):
                before = _linear_before(graph, projection.name, projection.source, modules)
                _set_linear(projection.name, module, before, weights.snapped, bias)
            else:
                raise _no_layer(projection.name, modules)
    return result


def _copied(student: nn.Module) -> nn.Module:
    """A copy; membranes that the last pass left behind, with their gradients, are cut off."""
    memo: dict[int, Tensor] = {}
    for module in student.modules():
        for value in (*vars(module).values(), *module.buffers(recurse=False)):
            if isinstance(value, Tensor) and not value.is_leaf:
                memo[id(value)] = value.detach().clone()
    return copy.deepcopy(student, memo)


def _norms(network: nn.Module) -> Mapping[int, nn.BatchNorm2d]:
    """The batch normalisation that follows a convolution in its `nn.Sequential`."""
    found = {}
    for module in network.modules():
        if isinstance(module, nn.Sequential):
            layers = list(module)
            for layer, following in zip(layers, layers[1:], strict=False):
                if isinstance(layer, nn.Conv2d) and isinstance(following, nn.BatchNorm2d):
                    found[id(layer)] = following
    return found


def _set_convolution_bias(
    module: nn.Conv2d, norm: nn.BatchNorm2d | None, bias: Tensor | None
) -> None:
    values = torch.zeros(module.out_channels, dtype=torch.float64)
    if bias is not None:
        if bias.numel() not in (1, module.out_channels):
            raise UnsupportedModuleError(
                "the bias differs from position to position, which a convolution cannot express",
                where=f"a convolution of {module.out_channels} channels",
                found=f"{bias.numel()} values",
                remedy="export without fine-tuning",
            )
        values = values + bias.reshape(-1)
    if norm is not None:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean.zero_()
        norm.running_var.fill_(1.0 - norm.eps)  # so that it divides by 1
        norm.weight.fill_(1.0)
        norm.bias.copy_(values)
        values = torch.zeros_like(values)
    if module.bias is not None:
        module.bias.copy_(values)
    elif values.any():
        raise UnsupportedModuleError(
            "a convolution without bias or normalisation cannot take the learnt bias",
            where=f"a convolution of {module.out_channels} channels",
            remedy="give it a bias",
        )


def _set_linear(
    name: str, module: nn.Linear, before: nn.Linear | None, product: Tensor, bias: Tensor | None
) -> None:
    if before is None:
        _require_size(name, module.weight, product)
        module.weight.copy_(product.reshape(module.weight.shape))
        arriving: Tensor | float = 0.0
    else:
        second, first = module.weight.double(), before.weight.double()
        _require_size(name, second @ first, product)
        first = first + torch.linalg.pinv(second) @ (product - second @ first)
        before.weight.copy_(first)
        arriving = 0.0 if before.bias is None else second @ before.bias.double()
    wanted = (0.0 if bias is None else bias.reshape(-1)) - arriving
    if module.bias is not None:
        module.bias.copy_(torch.as_tensor(wanted, dtype=torch.float64))
    elif bool(torch.as_tensor(wanted).any()):
        raise UnsupportedModuleError(
            "a linear layer without bias cannot take the learnt bias",
            where=f"layer {name!r}",
            remedy="give it a bias",
        )


def _linear_before(
    graph: nir.NIRGraph, name: str, source: str, modules: Mapping[str, nn.Module]
) -> nn.Linear | None:
    """The linear layer between a projection's source and its last layer, if there is one."""
    sources = predecessors(graph)
    (current,) = sources[name]
    while current != source:
        module = modules.get(current)
        if isinstance(module, nn.Linear):
            return module
        (current,) = sources[current]
    return None


def _require_size(name: str, weight: Tensor, learnt: Tensor) -> None:
    if weight.numel() != learnt.numel():
        raise UnsupportedModuleError(
            "the layer does not have the weights of its projection",
            where=f"layer {name!r}",
            expected=f"{learnt.numel()} weights",
            found=str(weight.numel()),
            remedy="export without fine-tuning",
        )


def _no_layer(name: str, modules: Mapping[str, nn.Module]) -> UnsupportedModuleError:
    layers = [k for k, m in modules.items() if isinstance(m, (nn.Conv2d, nn.Linear))]
    return UnsupportedModuleError(
        "no convolution or linear layer of the student belongs to a projection",
        where=f"projection {name!r}",
        expected=", ".join(layers),
        remedy="export without fine-tuning",
    )
