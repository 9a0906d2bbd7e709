"""Learning rates over a training run: one cycle, cosine or constant, the latter two warmed up."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

from neurokd.config import RecipeConfig


def make_schedule(optimiser: Optimizer, recipe: RecipeConfig, per_epoch: int) -> LRScheduler:
    """The schedule of a recipe, stepped after each of ``per_epoch`` batches of an epoch.

    One cycle moves AdamW's β₁ against the learning rate; the momentum of SGD stays as it is given.
    Source: one cycle, Smith and Topin 2017 (arXiv 1708.07120), in torch's form.
    """
    if recipe.schedule == "one-cycle":
        return OneCycleLR(
            optimiser,
            recipe.learning_rate,
            total_steps=recipe.epochs * per_epoch,
            cycle_momentum=recipe.optimizer == "adamw",
        )
    return LambdaLR(optimiser, share_of_rate(recipe, per_epoch))


def share_of_rate(recipe: RecipeConfig, per_epoch: int) -> Callable[[int], float]:
    """Batches done → the next batch's learning rate, as a share of the highest.

    Equation, over N batches of which w warm up: (n + 1) / w for n < w; then 1 if constant, else
    f + (1 − f) (1 + cos(π (n − w) / (N − w))) / 2, with f the final rate as a share. It moves with
    every batch; by whole epochs it would be the same curve in steps.

    Source: cosine, Loshchilov and Hutter 2016 (arXiv 1608.03983), without restarts.
    """
    warmup, total = recipe.warmup_epochs * per_epoch, recipe.epochs * per_epoch
    final = recipe.final_learning_rate / recipe.learning_rate

    def share(done: int) -> float:
        if done < warmup:
            return (done + 1) / warmup
        if recipe.schedule == "constant":
            return 1.0
        way = min((done - warmup) / (total - warmup), 1.0)
        return final + (1 - final) * (1 + math.cos(math.pi * way)) / 2

    return share
