from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn

from neurokd.training.batch_norm_sync import synchronised_batch_norms


@pytest.mark.parametrize("momentum", [0.1, None])
def test_for_one_process_it_is_plain_batch_normalisation(
    tmp_path: Path, momentum: float | None
) -> None:
    """The other case, several processes, is in test_processes.py."""
    dist.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1
    )
    try:
        torch.manual_seed(0)
        plain, synced = (nn.Sequential(nn.BatchNorm2d(3, momentum=momentum)) for _ in range(2))
        for _ in range(3):
            x = torch.randn(4, 3, 5, 6) * 2 + 1
            results = []
            for network in (plain, synced):
                given = x.clone().requires_grad_()
                if network is synced:
                    with synchronised_batch_norms(network):
                        y = network(given)
                else:
                    y = network(given)
                network.zero_grad()
                (y * y.detach().sin()).sum().backward()
                gradients = [given.grad, *(p.grad for p in network.parameters())]
                results.append([y.detach(), *(g.clone() for g in gradients if g is not None)])
            for a, b in zip(*results, strict=True):
                torch.testing.assert_close(b, a, rtol=1e-4, atol=1e-5)
            for a, b in zip(plain.buffers(), synced.buffers(), strict=True):
                torch.testing.assert_close(b, a)
        with synchronised_batch_norms(synced):
            torch.testing.assert_close(synced.eval()(x), plain.eval()(x))
        assert "forward" not in vars(synced[0])
    finally:
        dist.destroy_process_group()
