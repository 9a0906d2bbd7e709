"""The layers of an SDMLP or a dense MLP, as an ONNX model computes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neurokd.errors import UnsupportedModuleError
from neurokd.export.onnx_plan import Stage

if TYPE_CHECKING:
    from torch import Tensor, nn

    from neurokd.models.mlp import MLP
    from neurokd.models.sdmlp import SDMLP
    from neurokd.models.topk import TopK

Array = NDArray[Any]


@dataclass(frozen=True)
class Competition:
    """What becomes of positive activations a⁺ (B, r): I is the (k+1)-th largest of a sample.

    ``gains`` (r,) float32: h = max(a⁺ − g I, 0). None, a mask: h = a⁺ where a⁺ > I, else 0.
    """

    k: int
    gains: Array | None


@dataclass(frozen=True)
class Layer:
    """a = W x + b; x is x⁺ / ‖x⁺‖₂ of what comes in where ``normalised``. a⁺ follows, unless it is
    the ``last`` layer, and the competition, if there is one.

    Shapes: weight (out, in) float32, bias (out,) float32 or None.
    """

    name: str
    weight: Array
    bias: Array | None = None
    normalised: bool = False
    competition: Competition | None = None
    last: bool = False

    @property
    def stage(self) -> Stage:
        """The weights as a node of NIR, the form that quantisation takes."""
        import nir

        node: Any = nir.Linear(weight=self.weight)
        if self.bias is not None:
            node = nir.Affine(weight=self.weight, bias=self.bias)
        outputs, inputs = self.weight.shape
        return Stage(self.name, node, (), (inputs,), (outputs,), "membrane")


def layers_of(network: nn.Module) -> tuple[Layer, ...]:
    """The layers of an SDMLP or of a dense MLP, as they are now: counters become constant gains.

    Raises: `UnsupportedModuleError` for any other network.
    """
    from neurokd.models.mlp import MLP
    from neurokd.models.sdmlp import SDMLP

    if isinstance(network, SDMLP):
        return _of_sdmlp(network)
    if isinstance(network, MLP) and not network.spiking:
        return _of_mlp(network)
    raise UnsupportedModuleError(
        "this network has no dense ONNX form",
        where=type(network).__name__,
        expected="SDMLP, or a dense MLP",
        remedy="spiking networks are exported from NIR: neurokd.export.trace",
    )


def _of_sdmlp(network: SDMLP) -> tuple[Layer, ...]:
    hidden = [
        Layer(
            f"hidden.{index}",
            _array(layer.get_parameter("weight")),
            normalised=True,
            competition=_competition(winners),  # type: ignore[arg-type]
        )
        for index, (layer, winners) in enumerate(zip(network.hidden, network.winners, strict=True))
    ]
    return (*hidden, Layer("classifier", _array(network.classifier.weight), last=True))


def _competition(winners: TopK) -> Competition | None:
    k = winners.winners()
    if k >= winners.neurons:
        return None
    masked = winners.inhibition.startswith("mask")
    return Competition(k, None if masked else _array(winners.gains()))


def _of_mlp(network: MLP) -> tuple[Layer, ...]:
    from torch import nn

    layers = []
    for index, stage in enumerate(network.stages):
        linear, *rest = stage.children()
        known = all(isinstance(part, nn.ReLU | nn.Dropout) for part in rest)
        if not (isinstance(linear, nn.Linear) and known):
            raise UnsupportedModuleError(
                "this stage has no dense ONNX form", where=f"stages.{index}", found=str(stage)
            )
        layers.append(Layer(f"stages.{index}", _array(linear.weight), _array(linear.bias)))
    classifier = network.classifier
    assert isinstance(classifier, nn.Linear)  # of the dense form
    return (
        *layers,
        Layer("classifier", _array(classifier.weight), _array(classifier.bias), last=True),
    )


def _array(tensor: Tensor) -> Array:
    array: Array = tensor.detach().cpu().numpy().astype(np.float32)
    return array
