"""The PilotNet LIF network that the lava-dl 0.6.0 wheel carries with its own tests, one frame."""

from __future__ import annotations

import numpy as np
from emulator_networks import Workload

from neurokd.cache import cache_folder
from neurokd.errors import BackendUnavailableError
from neurokd.export import read_netx

STEPS = 15


def pilotnet() -> Workload:
    """Read from the cache; ``pytest tests/conformance/test_lava_dl_vectors.py`` puts it there."""
    inside = "tests/lava/lib/dl/netx/gts/pilotnet_lif"
    found = sorted(cache_folder().glob(f"lava-dl-vectors-*/{inside}/network.net"))
    if not found:
        raise BackendUnavailableError(
            "lava-dl's networks are not unpacked",
            where=str(cache_folder()),
            remedy="run pytest tests/conformance/test_lava_dl_vectors.py",
        )
    image = np.load(found[-1].with_name("image.npy")).T[None].astype(np.int32)
    return Workload(
        name="PilotNet LIF, 1 frame, 15 steps",
        net=read_netx(found[-1], reset=True),
        x=image,
        twin=lambda x: x,
        classes=lambda out: out,
        snntorch_limit=0,
        lava_limit=10,
        lava_steps=STEPS,
    )
