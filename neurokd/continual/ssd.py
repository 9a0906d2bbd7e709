"""SSD: the neurons that were most often active in the last task answer as they did then."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from neurokd.config.continual import SSDConfig
from neurokd.continual.anchor import trained_weights, under
from neurokd.continual.frozen import Teacher
from neurokd.continual.method import Batch, Method
from neurokd.continual.observe import require_winner_layers
from neurokd.continual.softened import softened_kl
from neurokd.data.labelled import LabelledData
from neurokd.data.stream import Task
from neurokd.errors import FileFormatError, UsageError

_BATCH = 1000
"""Samples that the teacher sees at once; the result does not depend on it."""


class SSD(Method):
    """Selective subnetwork distillation, on any network with Top-K layers.

    Equation: from the second task on, with a copy T of the network as the last task left it,
    L = α CE + (1 − α)[λ L_h + (1 − λ) L_z], L_• = τ² · mean_B KL(softmax(•_T/τ) ‖ softmax(•_S/τ)):
    L_z over all K logits; L_h over the activations of the n neurons that were most often active in
    T over the last task's samples, the same for both, ties to the lower index; with several Top-K
    layers the mean over them. With one level alone its weight is 1.

    n is a tenth of a layer's neurons unless given. ``hidden`` "pre" takes the activations before
    the competition; those behind it are few and small, and L_h ≈ Var(h_S − h_T)/2 with them.

    ``hidden_grad_norm`` of an epoch is the norm of the weighted L_h's gradient in its first batch.
    Raises: `UsageError` for a network without Top-K layers, and for more neurons than there are.
    Source: the SSD paper, Algorithm 1, Eqs. 2 to 5.
    """

    def __init__(self, options: SSDConfig | None = None) -> None:
        self.options = options or SSDConfig()
        self.teacher: Teacher | None = None
        self.shares: tuple[Tensor, ...] = ()
        self.subnetwork: tuple[Tensor, ...] = ()
        self._gradient_norm: float | None = None

    @property
    def ce_weight(self) -> float:
        return 1.0 if self.teacher is None else self.options.alpha

    def begin_task(self, network: nn.Module, task: Task) -> None:
        for layer in require_winner_layers(network, "ssd"):
            distilled_neurons(self.options, layer.neurons)

    def terms(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        if self.teacher is None:
            return {}
        hidden_weight, logits_weight = level_weights(self.options)
        logits, winners = self.teacher.answer(batch.x)
        tau, direction = self.options.temperature, self.options.direction
        found: dict[str, Tensor] = {}
        if hidden_weight:
            which = self.options.hidden
            parts = []
            for own, past, chosen in zip(batch.winners, winners, self.subnetwork, strict=True):
                student, teacher = getattr(own, which), getattr(past, which)
                parts.append(softened_kl(student[:, chosen], teacher[:, chosen], tau, direction))
            found["ssd_hidden"] = hidden_weight * torch.stack(parts).mean()
            if self._gradient_norm is None:
                self._gradient_norm = _gradient_norm(found["ssd_hidden"], network)
        if logits_weight:
            kl = softened_kl(batch.logits, logits, tau, direction)
            found["ssd_logits"] = logits_weight * kl
        return found

    def end_task(self, network: nn.Module, task: Task, generator: torch.Generator) -> None:
        self.teacher = Teacher(network)
        self.shares = active_shares(self.teacher, task.train)
        self.subnetwork = tuple(
            most_active(share, distilled_neurons(self.options, len(share))) for share in self.shares
        )

    def measured(self) -> dict[str, float]:
        norm, self._gradient_norm = self._gradient_norm, None
        return {} if norm is None else {"hidden_grad_norm": norm}

    def state(self) -> dict[str, Tensor]:
        if self.teacher is None:
            return {}
        return {
            **{f"teacher.{key}": value for key, value in self.teacher.state().items()},
            **{f"share.{index}": share for index, share in enumerate(self.shares)},
        }

    def load_state(self, network: nn.Module, state: Mapping[str, Tensor]) -> None:
        shares = under("share.", state)
        layers = require_winner_layers(network, "ssd")
        sizes = [len(shares[key]) for key in sorted(shares, key=int)]
        if state and sizes != [layer.neurons for layer in layers]:
            raise FileFormatError(
                "the teacher's shares do not fit the network's Top-K layers",
                where="last.ckpt",
                expected=str([layer.neurons for layer in layers]),
                found=str(sizes),
            )
        self.shares = tuple(shares[str(index)] for index in range(len(shares)))
        self.subnetwork = tuple(
            most_active(share, distilled_neurons(self.options, len(share))) for share in self.shares
        )
        self.teacher = Teacher.from_state(network, under("teacher.", state)) if state else None


def level_weights(options: SSDConfig) -> tuple[float, float]:
    """Factors of L_h and L_z in the loss."""
    share = {"both": options.lambda_hidden, "hidden": 1.0, "logits": 0.0}[options.levels]
    return (1 - options.alpha) * share, (1 - options.alpha) * (1 - share)


def distilled_neurons(options: SSDConfig, neurons: int) -> int:
    """n of a layer. Raises: `UsageError` for more than it has."""
    if options.neurons == "all":
        return neurons
    if options.n is not None and options.n > neurons:
        raise UsageError(
            "a layer has fewer neurons than are to be distilled",
            where="ssd.n",
            expected=f"1 … {neurons}",
            found=str(options.n),
            remedy='set neurons = "all" for all of them',
        )
    return max(1, neurons // 10) if options.n is None else options.n


def most_active(share: Tensor, n: int) -> Tensor:
    """Indices of the n largest shares, ascending; among equals the lower index; (r,) → (n,)."""
    return share.argsort(descending=True, stable=True)[:n].sort().values


def active_shares(teacher: Teacher, data: LabelledData) -> tuple[Tensor, ...]:
    """p_i of each Top-K layer: the part of the samples that neuron i is active for; (r,) float64.

    Equation: p_i = #{x in D : h_i(x) > 0} / |D|. Source: the SSD paper, Eq. 1.
    """
    device = next(iter(teacher.network.parameters())).device
    totals: list[Tensor] = []
    for chosen in torch.arange(len(data)).split(_BATCH):
        winners = teacher.answer(data.batch(chosen)[0].to(device))[1]
        counts = [(layer.post > 0).sum(dim=0) for layer in winners]
        totals = [a + b for a, b in zip(totals, counts, strict=True)] if totals else counts
    return tuple(total.double() / len(data) for total in totals)


def _gradient_norm(term: Tensor, network: nn.Module) -> float:
    weights = list(trained_weights(network).values())
    gradients = torch.autograd.grad(term, weights, retain_graph=True, allow_unused=True)
    return float(torch.stack([g.norm() for g in gradients if g is not None]).norm())
