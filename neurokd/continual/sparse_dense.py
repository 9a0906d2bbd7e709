"""The step of one learner while too many neurons are active for lists of them: dense arrays."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from neurokd.continual.sparse_answer import heights_of


class Distilled(NamedTuple):
    """A loss τ² KL between activations or logits: its factor, τ, and its direction."""

    weight: float
    temperature: float
    reverse: bool


def divergence(student: Tensor, teacher: Tensor, loss: Distilled) -> tuple[Tensor, Tensor]:
    """weight · τ² KL of each sample (B,), and its slopes by the student's values (B, n).

    Equation: see `neurokd.continual.sparse_losses.logit_divergence`.
    """
    own = (student / loss.temperature).log_softmax(dim=1)
    other = (teacher / loss.temperature).log_softmax(dim=1)
    if loss.reverse:
        distance = (own.exp() * (own - other)).sum(dim=1)
        slopes = own.exp() * (own - other - distance[:, None])
    else:
        distance = (other.exp() * (other - own)).sum(dim=1)
        slopes = own.exp() - other.exp()
    scale = loss.weight * loss.temperature
    return distance * (scale * loss.temperature), slopes * scale


class Loss(NamedTuple):
    """L = ce · CE + distillation of 𝓘, ``before`` the competition or behind, and of the logits."""

    ce: float = 1.0
    hidden: Distilled = Distilled(0.0, 1.0, False)
    logits: Distilled = Distilled(0.0, 1.0, False)
    before: bool = False


class DenseGradients(NamedTuple):
    """∂L/∂W (r, d), ∂L/∂Vᵀ (r, K), how many samples each neuron was active for (r,), and sums of
    the loss terms over the samples (5,), as in the kernels."""

    weights: Tensor
    readout: Tensor
    active: Tensor
    sums: Tensor


def dense_gradients(
    a: Tensor,
    inhibition: Tensor,
    x: Tensor,
    labels: Tensor,
    readout: Tensor,
    gains: Tensor,
    loss: Loss,
    taught: Tensor | None,
    chosen: Tensor | None,
    taught_hidden: Tensor | None,
) -> DenseGradients:
    """Gradients of one batch: a (B, r), I (B,), x (B, d); the teacher's logits (B, K), 𝓘 (n,), and
    the teacher's activations of 𝓘 (B, n)."""
    h = heights_of(a, gains, inhibition)
    logits = h @ readout
    count = len(labels)
    log_p = logits.log_softmax(dim=1)
    ce = -log_p.gather(1, labels[:, None])[:, 0]
    errors = log_p.exp()
    errors[torch.arange(count), labels] -= 1
    errors *= loss.ce
    hidden, distilled = torch.zeros_like(ce), torch.zeros_like(ce)
    if taught is not None and loss.logits.weight:
        distilled, slopes = divergence(logits, taught, loss.logits)
        errors += slopes
    errors /= count
    slope = errors @ readout.t()
    if chosen is not None and taught_hidden is not None and not loss.before:
        hidden, slopes = divergence(h[:, chosen], taught_hidden, loss.hidden)
        slope.index_add_(1, chosen, slopes / count)
    slope.mul_(h > 0).mul_(a > 0)
    if chosen is not None and taught_hidden is not None and loss.before:
        hidden, slopes = divergence(a[:, chosen], taught_hidden, loss.hidden)
        slope.index_add_(1, chosen, slopes / count)
    right = (logits.argmax(dim=1) == labels).float()
    terms = torch.stack([loss.ce * ce + hidden + distilled, ce, hidden, distilled, right])
    return DenseGradients(
        slope.t() @ x, h.t() @ errors, (h > 0).sum(dim=0), terms.double().sum(dim=1)
    )
