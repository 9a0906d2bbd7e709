"""A stateless layer applied at every time step."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from neurokd.neurons.event_linear import event_linear


class PerStep(nn.Module):
    """Applies ``layer`` to all steps at once, time merged into the batch.

    Batch normalisation inside it therefore takes its statistics over steps and samples together.
    An input that is one image expanded over time (stride 0) is computed once and expanded again.
    On a CPU, images in single precision that a convolution takes are laid out with their channels
    last, in which oneDNN needs about two thirds of the time; what follows keeps that layout.
    A linear layer without hooks skips the zeros of spikes while it is trained: `event_linear`.

    Shapes: x (T, B, *in) → (T, B, *out).
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[0] > 1 and x.stride(0) == 0:
            once: Tensor = self._apply_layer(self._laid_out(x[0]))
            return once.expand(x.shape[0], *once.shape)
        merged: Tensor = self._apply_layer(self._laid_out(x.flatten(0, 1)))
        steps: Tensor = merged.unflatten(0, (x.shape[0], x.shape[1]))
        return steps

    def _apply_layer(self, x: Tensor) -> Tensor:
        layer = self.layer
        if type(x) is Tensor and isinstance(layer, nn.Linear) and _is_plain(layer):
            return event_linear(x, layer.weight, layer.bias)
        out: Tensor = layer(x)
        return out

    def _laid_out(self, images: Tensor) -> Tensor:
        suits = images.ndim == 4 and images.dtype == torch.float32 and images.device.type == "cpu"
        if not suits or not any(isinstance(part, nn.Conv2d) for part in self.layer.modules()):
            return images
        if images.shape[1] > 1:
            return images.contiguous(memory_format=torch.channels_last)
        # One channel lies the same either way; only its strides tell torch which is meant.
        batch, _, height, width = images.shape
        strides = (height * width, 1, width, 1)
        return images.contiguous().as_strided(images.shape, strides)


def _is_plain(layer: nn.Linear) -> bool:
    """Whether to call it does no more than the product of its weight and bias."""
    hooks = layer._forward_hooks, layer._forward_pre_hooks, layer._backward_hooks
    return type(layer) is nn.Linear and not any(hooks)
