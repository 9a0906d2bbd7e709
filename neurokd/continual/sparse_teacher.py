"""`SubnetworkTeacher`: the network after a task, and what it answers to the samples of the next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from neurokd.continual.kept_shapes import require_shapes
from neurokd.continual.sparse_answer import activity
from neurokd.continual.sparse_arrays import Answers, Integers
from neurokd.continual.sparse_layer import hidden_layer
from neurokd.models.sdmlp import SDMLP

MOST_KEPT = 2**25
"""Activations of the teacher that are kept for a task; one with more answers to every batch."""


@dataclass(frozen=True)
class Taught:
    """Logits (N, K), and of the active neurons of 𝓘 the rank and the activation (N, m); the rank is
    −1 behind the last one."""

    logits: Tensor
    which: Tensor
    heights: Tensor


@dataclass(frozen=True)
class SubnetworkTeacher:
    """W (r, d), Vᵀ (r, K), g (r,) and k of a frozen network, and its subnetwork 𝓘 (n,), sorted."""

    weights: Tensor
    readout: Tensor
    gains: Tensor
    winners: int
    chosen: Tensor

    @classmethod
    def take(cls, network: SDMLP, x: Tensor, n: int) -> SubnetworkTeacher:
        """Copy a network; 𝓘 are the ``n`` neurons that are active for most of the samples x.

        Of neurons that are active equally often, those of lower index are taken.
        """
        layer, classifier, winners = hidden_layer(network)
        weights, gains = layer.clone(), winners.gains()
        readout = classifier.t().contiguous().clone()
        often = np.zeros(len(weights), np.int64)
        for part in activity(weights, readout, gains, winners.k, x):
            often += np.bincount(part.neurons, minlength=len(often))
        first = np.argsort(-often, kind="stable")[:n]
        return cls(weights, readout, gains, winners.k, torch.from_numpy(np.sort(first)))

    def ranks(self) -> Integers:
        """(r,) int64: the place of a neuron in 𝓘, or −1."""
        rank = np.full(len(self.weights), -1, np.int64)
        rank[self.chosen.numpy()] = np.arange(len(self.chosen))
        return rank

    def before(self, x: Tensor) -> Tensor:
        """Activations of 𝓘 before the competition; (B, d) → (B, n)."""
        return x @ self.weights[self.chosen].t()

    def answer(
        self, x: Tensor, most: int | None = None, answers: Answers | None = None
    ) -> Taught | None:
        """What it says to the normalised samples x (N, d); None if it is more than ``most``.

        ``answers`` are arrays to work in, of a network of this shape.
        """
        rank = self.ranks()
        logits = torch.empty(len(x), self.readout.shape[1])
        samples, which, heights = [], [], []
        kept = 0
        for part in activity(self.weights, self.readout, self.gains, self.winners, x, answers):
            logits[part.start : part.start + len(part.logits)] = part.logits
            inside = rank[part.neurons] >= 0
            samples.append(part.start + part.samples[inside])
            which.append(rank[part.neurons[inside]])
            heights.append(part.heights[inside])
            kept += len(which[-1])
            if most is not None and kept > most:
                return None
        sample = np.concatenate(samples)
        number = np.bincount(sample, minlength=len(x))
        place = np.arange(len(sample)) - (np.cumsum(number) - number)[sample]
        width = max(int(number.max()), 1)
        padded_which = np.full((len(x), width), -1, np.int32)
        padded_heights = np.zeros((len(x), width), np.float32)
        padded_which[sample, place] = np.concatenate(which)
        padded_heights[sample, place] = np.concatenate(heights)
        return Taught(logits, torch.from_numpy(padded_which), torch.from_numpy(padded_heights))

    def state(self) -> dict[str, Tensor]:
        """Its tensors, for the checkpoint."""
        return {
            "weights": self.weights,
            "readout": self.readout,
            "gains": self.gains,
            "chosen": self.chosen,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], network: SDMLP, n: int) -> SubnetworkTeacher:
        """What `state` gave; `FileFormatError` if it is of another network."""
        layer, classifier, winners = hidden_layer(network)
        neurons, inputs = layer.shape
        shapes = {
            "weights": (neurons, inputs),
            "readout": (neurons, len(classifier)),
            "gains": (neurons,),
            "chosen": (n,),
        }
        require_shapes(state, shapes, "teacher")
        copies = {key: state[key].clone() for key in shapes}
        return cls(winners=winners.k, **copies)
