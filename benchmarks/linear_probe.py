"""Linear probe: what a linear classifier gets out of a file of embeddings, all classes at once.

Run: ``python benchmarks/linear_probe.py FILE.safetensors [--published 79.5]``, with a file by
``neurokd embed``. It is the upper line of a stream of tasks on these embeddings. Logistic
regression (L-BFGS) and ridge regression on one-hot classes (closed form), on standardised numbers;
the weight of the penalty is chosen on a tenth of the training samples, and the classifier is then
fitted to all of them. The test samples are used once a row. "rectified" is SDMLP's own first step,
x⁺ / ‖x⁺‖, which loses the negative half.

It exits with 1 if logistic regression is more than 1 point away from the published figure.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from neurokd.data.embeddings import read_embeddings
from neurokd.models.sdmlp import normalised

PENALTIES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
ROOM = 1.0
"""Points between a published probe and ours, whose recipe is not that of the publisher."""
Fit = Callable[[Tensor, Tensor, int, float], Tensor]
"""(x (N, d + 1), y (N,), classes, penalty) → weights (d + 1, K)."""


def logistic(x: Tensor, y: Tensor, classes: int, penalty: float) -> Tensor:
    """Mean cross-entropy + penalty · ‖W‖², from zero."""
    weight = torch.zeros(x.shape[1], classes, requires_grad=True)
    optimiser = torch.optim.LBFGS([weight], max_iter=150, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = F.cross_entropy(x @ weight, y) + penalty * weight[:-1].square().sum()
        value.backward()
        return value

    optimiser.step(loss)
    return weight.detach()


def ridge(x: Tensor, y: Tensor, classes: int, penalty: float) -> Tensor:
    """(XᵀX / N + penalty · I) W = XᵀY / N, in float64."""
    x64 = x.double()
    gram = x64.T @ x64 / len(x) + penalty * torch.eye(x.shape[1], dtype=torch.float64)
    target = F.one_hot(y, classes).double()
    return torch.linalg.solve(gram, x64.T @ target / len(x)).float()


def standardised(x: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    """Zero mean, unit deviation, and a column of ones."""
    return F.pad((x - mean) / deviation, (0, 1), value=1.0)


def accuracy(x: Tensor, y: Tensor, weight: Tensor) -> float:
    """Per cent of samples whose largest score is that of their class."""
    return 100 * float(((x @ weight).argmax(dim=1) == y).double().mean())


def probe(fit: Fit, x: Tensor, y: Tensor, tests: Tensor, truth: Tensor) -> tuple[float, float]:
    """(test accuracy, penalty)."""
    mean, deviation = x.mean(dim=0), x.std(dim=0).clamp_min(1e-6)
    x, tests = standardised(x, mean, deviation), standardised(tests, mean, deviation)
    classes = int(y.max()) + 1
    out = torch.from_numpy(np.random.default_rng(0).random(len(x)) < 0.1)
    held = {p: accuracy(x[out], y[out], fit(x[~out], y[~out], classes, p)) for p in PENALTIES}
    best = max(held, key=lambda p: held[p])
    return accuracy(tests, truth, fit(x, y, classes, best)), best


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--published", type=float, help="per cent, of a linear probe")
    arguments = parser.parse_args()
    embeddings = read_embeddings(arguments.file)
    x, y = embeddings.train.batch(range(len(embeddings.train)))
    tests, truth = embeddings.test.batch(range(len(embeddings.test)))
    print(f"{embeddings.data} by {embeddings.extractor}")
    print(f"{len(x):,} training and {len(tests):,} test samples, {x.shape[1]} numbers each\n")
    print(
        f"{'input':<12}{'classifier':<14}{'penalty':>8}{'test %':>8}{'published':>11}{'seconds':>9}"
    )
    holds = True
    for given, change in (("as it is", lambda v: v), ("rectified", normalised)):
        for fit in (logistic, ridge):
            started = time.perf_counter()
            found, penalty = probe(fit, change(x), y, change(tests), truth)
            beside = ""
            if arguments.published is not None and (given, fit) == ("as it is", logistic):
                beside = f"{found - arguments.published:+.2f}"
                holds = abs(found - arguments.published) <= ROOM
            seconds = time.perf_counter() - started
            print(
                f"{given:<12}{fit.__name__:<14}{penalty:>8.0e}{found:>8.2f}{beside:>11}{seconds:>9.1f}"
            )
    return 0 if holds else 1


if __name__ == "__main__":
    raise SystemExit(main())
