"""A ResNet-20 student to measure on: untrained, its neurons as active as those of a trained one."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from emulator_networks import Workload
from torch import Tensor, nn

from neurokd.export import lower, trace
from neurokd.models import build_model
from neurokd.neurons import LIF

STEPS, BATCH = 4, 64
_ACTIVE = 0.12
"""Share of currents above the threshold; with the leak some 15 % of neurons fire in a step."""


def resnet20() -> Workload:
    """The student for images of 3 × 32 × 32, T = 4; lowering it takes a minute."""
    torch.manual_seed(0)
    model = build_model("resnet20", spiking=True)
    images = torch.rand(32, 3, 32, 32)
    with torch.no_grad():
        model(_over_time(images))  # the statistics of batch normalisation
        model.eval()
        hooks = [
            module.register_forward_pre_hook(_set_threshold)
            for module in model.modules()
            if isinstance(module, LIF)
        ]
        model(_over_time(images))
        for hook in hooks:
            hook.remove()
    net = lower(
        trace(model, images[:1], steps=STEPS), chip="loihi2", calibration=images[:8].numpy()
    )
    fed = np.random.default_rng(1).random((BATCH, 3, 32, 32))
    return Workload(
        name="ResNet-20, T=4, batch 64",
        net=net,
        x=np.ascontiguousarray(net.encode(fed, STEPS)),
        twin=_Scaled(model, net.input.scale).eval(),
        classes=lambda out: out[-1].argmax(dim=1),
        snntorch_limit=1.5,
        lava_limit=0,
    )


class _Scaled(nn.Module):
    """The student on the integers that the chip is fed, as the pixels they stand for."""

    def __init__(self, model: nn.Module, scale: float) -> None:
        super().__init__()
        self._model, self._scale = model, scale

    def forward(self, x: Tensor) -> Any:
        return self._model(x / self._scale)


def _over_time(images: Tensor) -> Tensor:
    return images.expand(STEPS, *images.shape)


def _set_threshold(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    """Called before a layer of neurons runs: those before it have their thresholds already."""
    assert isinstance(module, LIF)
    module.cell.threshold.fill_(float(inputs[0].flatten()[::17].quantile(1 - _ACTIVE)))
