"""Fine-tuning with quantisation in the loop: the student learns on the chip's own weights."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.fusion import fuse_conv_bn_eval

from neurokd.config import TrainConfig
from neurokd.data import LabelledData
from neurokd.errors import UnsupportedModuleError
from neurokd.export.lower import chip_scales
from neurokd.export.pass_scale_search import BIAS_LIMIT
from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.projection import ConvProjection
from neurokd.run import RunFolder
from neurokd.training.fit import Progress, fit
from neurokd.training.objective import make_objective


class ChipWeight(nn.Module):
    """Weights as the chip stores them, in floats; the gradient passes straight through.

    Equation: w ← step · clip(round(A w / step), −256 / step, 256 / step − 1) / A, ∂w_chip/∂w := 1,
    with A the integers of a weight of 1 and step = 2^(9 − bits).
    Source: straight-through estimator, Bengio et al. 2013 (arXiv 1308.3432).
    """

    def __init__(self, scale: float, bits: int) -> None:
        super().__init__()
        self.scale = scale
        self.step = 1 << (9 - bits)

    def forward(self, weight: Tensor) -> Tensor:
        edge = 256 // self.step
        steps = torch.round(weight.detach() * self.scale / self.step).clamp(-edge, edge - 1)
        return weight + (steps * self.step / self.scale - weight.detach())


class ChipBias(nn.Module):
    """Biases held within what the chip can add in a step: |b| ≤ limit."""

    def __init__(self, limit: float) -> None:
        super().__init__()
        self.limit = limit

    def forward(self, bias: Tensor) -> Tensor:
        return bias.clamp(-self.limit, self.limit)


def finetune(
    student: nn.Module,
    net: DeployedNetwork,
    config: TrainConfig,
    data: LabelledData,
    folder: RunFolder,
    *,
    teacher: nn.Module | None = None,
    epochs: int = 2,
    progress: Progress | None = None,
) -> nn.Module:
    """A student whose convolution weights lie on the integer grid that ``net`` was lowered to.

    Batch normalisation is folded first, as lowering does it, and stays folded: afterwards it only
    adds a bias. The losses of ``config`` stay on, at a tenth of its learning rate. Lowered with
    ``scales=trained_scales(net)`` the result's convolutions have no rounding error. ``student`` is
    left as it is; checkpoint and metrics go to ``folder``.

    Raises: `UnsupportedModuleError` when no convolution of the student is found in ``net``.
    """
    trainee = copy.deepcopy(student)
    convolutions = dict(_folded(trainee))
    bits = int(net.metadata["lowering"]["weight_bits"])
    scales = _weight_scales(net)
    quantised = {name: conv for name, conv in convolutions.items() if name in scales}
    if not quantised:
        raise UnsupportedModuleError(
            "no convolution of the network belongs to a projection of the deployed network",
            where=type(student).__name__,
            expected=", ".join(scales),
            found=", ".join(convolutions) or "no convolution with batch normalisation",
        )
    targets = {p.name: chip_scales(net)[p.target] for p in net.projections}
    for name, convolution in quantised.items():
        parametrize.register_parametrization(
            convolution, "weight", ChipWeight(scales[name], bits), unsafe=True
        )
        parametrize.register_parametrization(
            convolution, "bias", ChipBias(BIAS_LIMIT / targets[name]), unsafe=True
        )
    recipe = config.recipe.model_copy(
        update={"epochs": epochs, "learning_rate": config.recipe.learning_rate / 10}
    )
    config = config.model_copy(update={"recipe": recipe})
    objective = make_objective(config, trainee, teacher)
    fit(trainee, objective, data, config, folder, progress=progress)
    result = copy.deepcopy(student)
    with torch.no_grad():
        _write_back(trainee, result)
    return result.eval()


def trained_scales(net: DeployedNetwork) -> dict[str, float]:
    """The scales that `finetune` trains for: those of populations behind a convolution."""
    targets = {p.target for p in net.projections if isinstance(p, ConvProjection)}
    return {name: scale for name, scale in chip_scales(net).items() if name in targets}


def _weight_scales(net: DeployedNetwork) -> dict[str, float]:
    """For each convolutional projection the integers of a weight of 1."""
    populations: dict[str, Any] = net.metadata["lowering"]["populations"]
    scales = {k: v for note in populations.values() for k, v in note["weight_scale"].items()}
    return {p.name: scales[p.name] for p in net.projections if isinstance(p, ConvProjection)}


def _pairs(network: nn.Module) -> Iterator[tuple[str, nn.Sequential]]:
    """Every convolution followed by batch normalisation, under the convolution's NIR name."""
    for path, module in network.named_modules():
        if (
            isinstance(module, nn.Sequential)
            and len(module) == 2
            and isinstance(module[0], nn.Conv2d)
            and isinstance(module[1], nn.BatchNorm2d)
        ):
            yield f"{path}.0".replace(".", "_"), module


def _folded(network: nn.Module) -> Iterator[tuple[str, nn.Conv2d]]:
    """Fold every pair in place; the normalisation becomes an identity."""
    for name, pair in list(_pairs(network)):
        fused = fuse_conv_bn_eval(pair[0].eval(), pair[1].eval())  # type: ignore[arg-type, type-var]
        pair[0], pair[1] = fused, nn.Identity()
        yield name, fused  # type: ignore[misc]


def _write_back(trainee: nn.Module, result: nn.Module) -> None:
    """Put the folded network's weights into one that still has its batch normalisation."""
    for name, pair in _pairs(result):
        path = next(p for p, m in result.named_modules() if m is pair)
        trained = trainee.get_submodule(f"{path}.0")
        convolution, norm = pair[0], pair[1]
        assert isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d), name
        weight, bias = trained.weight, trained.bias
        assert isinstance(weight, Tensor) and isinstance(bias, Tensor)
        convolution.weight.copy_(weight)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean.zero_()
        norm.running_var.fill_(1.0 - norm.eps)  # so that it divides by 1
        norm.weight.fill_(1.0)
        norm.bias.copy_(bias)
        if convolution.bias is not None:
            convolution.bias.zero_()
    own = dict(result.named_parameters())
    inside = {id(p) for _, pair in _pairs(result) for p in pair.parameters()}
    for path, parameter in trainee.named_parameters():
        if path in own and id(own[path]) not in inside:
            own[path].copy_(parameter)
