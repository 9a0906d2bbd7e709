"""Two real processes with a share each see what one with the whole batch sees."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from neurokd.batch_share import WHOLE, BatchShare
from neurokd.distill import NLDLoss, SAMDLoss

# One import for both processes; nothing has run in torch before the fork.
TWO = """
import os, sys
from pathlib import Path
import torch
import torch.distributed as dist
from neurokd.batch_share import BatchShare
from neurokd.distill import NLDLoss, SAMDLoss
folder = Path(sys.argv[1])
child = os.fork()
rank = int(child == 0)
dist.init_process_group("gloo", init_method=f"file://{folder / 'store'}", rank=rank, world_size=2)
share = BatchShare(rank, 2)
given = torch.load(folder / "given.pt", weights_only=True)
own = {name: share.of(value) for name, value in given.items()}
values = own["values"].requires_grad_()
low, high = share.extremes(values)
maps, logits = own["maps"].requires_grad_(), own["logits"].requires_grad_()
generator = torch.Generator().manual_seed(5)
samd = SAMDLoss().compare(maps, own["cams"], share)
nld = NLDLoss(noise=0.5)(logits, own["known"], generator, share)
for loss in (low * 2 * (rank + 1) - high * 3, samd / 2, nld / 2):
    loss.backward()
answer = {"low": low, "high": high, "values": values.grad, "maps": maps.grad,
          "logits": logits.grad, "samd": samd, "nld": nld,
          "next": torch.rand(1, generator=generator)}
torch.save({name: value.detach() for name, value in answer.items()}, folder / f"{rank}.pt")
dist.barrier()
dist.destroy_process_group()
if rank:
    os._exit(0)
sys.exit(os.waitpid(child, 0)[1])
"""


def test_two_shares_make_a_whole(tmp_path: Path) -> None:
    """Values and gradients; the least value is there three times, once in the second share."""
    torch.manual_seed(0)
    given = {
        "values": torch.tensor([1.0, -2.0, -2.0, 3.0, 9.0, -2.0, 4.0, 0.0]),
        "maps": torch.rand(8, 4, 4) * 7,
        "cams": torch.rand(8, 4, 4) * 3,
        "logits": torch.randn(8, 10),
        "known": torch.randn(8, 10),
    }
    torch.save(given, tmp_path / "given.pt")
    subprocess.run([sys.executable, "-c", TWO, str(tmp_path)], check=True, timeout=120)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))

    values = given["values"].requires_grad_()
    low, high = WHOLE.extremes(values)
    ((low * 2 - high * 3) + (low * 4 - high * 3)).backward()  # the losses of both
    maps, logits = given["maps"].requires_grad_(), given["logits"].requires_grad_()
    generator = torch.Generator().manual_seed(5)
    samd = SAMDLoss().compare(maps, given["cams"])
    nld = NLDLoss(noise=0.5)(logits, given["known"], generator)
    (samd + nld).backward()
    following = torch.rand(1, generator=generator)
    for part in (first, second):
        assert (part["low"], part["high"]) == (-2, 9)
        assert torch.equal(part["next"], following)
    assert second["values"].tolist() == [-6, 2, 0, 0]  # −2 · 3 for 9, (2 + 4) / 3 for each of three
    for name, whole in {"values": values, "maps": maps, "logits": logits}.items():
        torch.testing.assert_close(torch.cat([first[name], second[name]]), whole.grad)
    for name, loss in {"samd": samd, "nld": nld}.items():
        torch.testing.assert_close((first[name] + second[name]) / 2, loss.detach())


def test_shares_are_slices_of_the_batch() -> None:
    batch = torch.arange(12).reshape(6, 2)
    parts = [BatchShare(rank, 3).of(batch) for rank in range(3)]
    assert torch.equal(torch.cat(parts), batch)


@pytest.mark.parametrize("world", [1, 2])
def test_normal_numbers_are_those_of_one_process(world: int) -> None:
    expected = torch.randn(4, 10, generator=torch.Generator().manual_seed(1))
    like = torch.empty(4 // world, 10)
    drawn = [
        BatchShare(rank, world).normal(like, torch.Generator().manual_seed(1))
        for rank in range(world)
    ]
    assert torch.equal(torch.cat(drawn), expected)
