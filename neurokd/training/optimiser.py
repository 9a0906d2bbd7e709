"""The optimiser that a recipe names."""

from __future__ import annotations

from torch import nn, optim

from neurokd.config import RecipeConfig


def make_optimiser(model: nn.Module, recipe: RecipeConfig) -> optim.Optimizer:
    """AdamW, or SGD with momentum, over all parameters alike.

    Weight decay is on every parameter, biases and batch normalisation included, as in the paper's
    reference code. SGD adds it to the gradient, AdamW decays the weights beside the gradient step.
    """
    parameters, rate, decay = model.parameters(), recipe.learning_rate, recipe.weight_decay
    if recipe.optimizer == "sgd":
        return optim.SGD(parameters, rate, momentum=recipe.momentum, weight_decay=decay)
    return optim.AdamW(parameters, rate, weight_decay=decay)
