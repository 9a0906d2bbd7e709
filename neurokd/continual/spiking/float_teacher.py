"""Distillation from the float SDMLP: the spiking student answers as the network it came from."""

from __future__ import annotations

from torch import Tensor, nn

from neurokd.continual.frozen import Teacher
from neurokd.continual.method import Batch, Method
from neurokd.continual.softened import softened_kl


class FloatTeacher(Method):
    """Pulls the student's logits towards those of a float network on the same samples.

    Equation: L = (1 − weight) CE + weight · τ² KL(softmax(z_T / τ) ‖ softmax(z_S / τ)).

    The teacher knows earlier tasks, so that its answers on this task's samples say something of
    them. The teacher is no part of the state: whoever goes on with training gives it again.
    """

    def __init__(self, network: nn.Module, weight: float, temperature: float) -> None:
        self.teacher = Teacher(network)
        self.weight = weight
        self.temperature = temperature

    @property
    def ce_weight(self) -> float:
        return 1.0 - self.weight

    def terms(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        if not self.weight:
            return {}
        logits = self.teacher.answer(batch.x)[0]
        kl = softened_kl(batch.logits, logits, self.temperature)
        return {"float_logits": self.weight * kl}
