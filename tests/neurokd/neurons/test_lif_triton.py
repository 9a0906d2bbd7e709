"""The GPU's kernels in Triton's interpreter, which runs them on a CPU, beside torch's operations.

In a process of its own: Triton looks once, when it is imported, whether to interpret.
"""

import os
import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec

import pytest
import torch
from torch import Tensor

from neurokd.neurons import time_loop
from neurokd.neurons.surrogate import Surrogate

SURROGATES = [("triangle", 1.3), ("atan", 2.0), ("fast_sigmoid", 5.0), ("sigmoid", 4.0)]


def gradients(
    x: Tensor, weights: Tensor, parameters: list[Tensor | None], surrogate: Surrogate
) -> tuple[Tensor, list[Tensor]]:
    """Spikes, and gradients to x, β, threshold and α."""
    leaves = [None if p is None else p.clone().requires_grad_() for p in (x, *parameters)]
    given, beta, threshold, alpha = leaves
    assert given is not None and beta is not None and threshold is not None
    spikes = time_loop.spike_train(given.expand_as(weights), beta, threshold, surrogate, alpha)
    (spikes * weights).sum().backward()
    found = [leaf.grad for leaf in leaves if leaf is not None]
    return spikes.detach(), [gradient for gradient in found if gradient is not None]


def compare() -> int:
    """What the process does; how many cases it compared."""
    generator = torch.Generator().manual_seed(0)
    compared = 0
    for steps, batch, neurons in ((5, 3, 110), (1, 2, 4), (20, 1, 300)):
        for static, filtered, single in [(s, f, p) for s in (0, 1) for f in (0, 1) for p in (0, 1)]:
            for form, slope in SURROGATES:
                x = torch.randn(1 if static else steps, batch, neurons, generator=generator)
                weights = torch.randn(steps, batch, neurons, generator=generator)
                values = torch.rand(3, 1 if single else neurons, generator=generator)
                parameters = [values[0], values[1], values[2] if filtered else None]
                results = []
                for fused in (False, True):
                    time_loop._is_compiled = lambda x: False  # type: ignore[assignment]
                    time_loop._is_fused = lambda x, fused=fused: fused  # type: ignore[assignment, misc]
                    surrogate = Surrogate(form, slope)  # type: ignore[arg-type]
                    results.append(gradients(x, weights, parameters, surrogate))
                (spikes, expected), (fused_spikes, found) = results
                assert torch.equal(spikes, fused_spikes)
                assert 0 < float(spikes.mean()) < 1 or neurons == 4
                assert len(found) == len(expected) == (4 if filtered else 3)
                for one, other in zip(found, expected, strict=True):
                    if form == "sigmoid":  # whose exponential has a rounding of its own
                        assert torch.allclose(one, other, rtol=1e-5, atol=1e-5)
                    else:
                        assert torch.equal(one, other)
                compared += 1
    return compared


@pytest.mark.slow
def test_the_kernels_give_the_bits_of_torch() -> None:
    if find_spec("triton") is None or int(version("triton").partition(".")[0]) < 3:
        pytest.skip("needs Triton 3, which comes with torch for CUDA")
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    ended = subprocess.run(
        [sys.executable, __file__], env=environment, capture_output=True, text=True, check=False
    )
    assert ended.stdout.strip() == "96", ended.stderr


def test_on_a_cpu_no_triton_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "neurokd.neurons.lif_triton", None)
    x = torch.ones(2, 1, 3, requires_grad=True)
    one = torch.tensor(0.5)
    time_loop.spike_train(x, one, one, Surrogate("triangle", 1.0)).sum().backward()
    assert not time_loop._is_fused(x)


if __name__ == "__main__":
    print(compare())
