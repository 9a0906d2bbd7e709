from pathlib import Path

import pytest
import torch

from neurokd.config import read_config
from neurokd.models import build_model
from neurokd.run import RunFolder
from neurokd.training import train
from neurokd.training.precision import neurons_in_float32


def test_neurons_integrate_in_float32_under_autocast() -> None:
    network = build_model("convnet", spiking=True, channels=(4, 6), kernels=(3, 3), strides=(2, 2))
    seen: dict[str, torch.dtype] = {}
    for name, module in network.named_modules():
        if name in ("stages.0.1", "stages.1.0.layer.0", "readout"):
            module.register_forward_hook(
                lambda m, inputs, output, name=name: seen.update({name: output.dtype})
            )
    x = torch.rand(3, 2, 1, 12, 12)
    with neurons_in_float32(network), torch.autocast("cpu", torch.bfloat16):
        network(x).sum().backward()
    assert seen["stages.0.1"] == seen["readout"] == torch.float32
    assert seen["stages.1.0.layer.0"] == torch.bfloat16  # the convolution is faster
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in network.parameters())
    with torch.autocast("cpu", torch.bfloat16):
        network(x)
    assert seen["stages.1.0.layer.0"] == torch.bfloat16  # and the hooks are gone
    assert not any(module._forward_pre_hooks for module in network.modules())


@pytest.mark.training
def test_training_in_bfloat16_is_near_that_in_float32(tiny: list[str], tmp_path: Path) -> None:
    networks = [
        train(
            read_config("mnist-student-alone", [*tiny, f"precision={precision}"]),
            RunFolder(tmp_path / precision),
        )
        for precision in ("float32", "bfloat16")
    ]
    whole, short = (torch.cat([p.detach().flatten() for p in n.parameters()]) for n in networks)
    assert short.dtype == torch.float32 and not torch.equal(whole, short)
    # each product has a relative error of 2⁻⁸; fifteen steps of AdamW move the weights by 0.1
    assert float((whole - short).norm() / whole.norm()) < 0.05
