"""The float network between NIR and the chip: populations and projections, not yet rounded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from neurokd.errors import UsageError
from neurokd.export.linear_maps import Floats, conv

Shape = tuple[int, ...]
Steps = NDArray[np.int64]


@dataclass(frozen=True)
class FloatPopulation:
    """Neurons of one kind; all share decays and threshold.

    Equation: u ← keep u + Σ W s; v ← beta v + u + bias; a spiking one fires at v > threshold and
    resets to 0, an accumulator gives v. ``gain``, for each neuron, is what NIR's r, τ, w_in and the
    neuron's own threshold multiply the input with; None once it is folded into weights and bias.
    ``decays`` are keep and beta neuron by neuron where they differ, None once that is split up.
    A ``relay`` repeats the spikes of its source; a ``drive`` fires at every step, from the first.

    Shapes: bias, gain (*shape); decays (2, *shape).
    """

    name: str
    shape: Shape
    kind: Literal["input", "spiking", "accumulator"]
    bias: Floats
    keep: float = 0.0
    beta: float = 1.0
    threshold: float = 0.0
    gain: Floats | None = None
    decays: Floats | None = None
    relay: bool = False
    drive: bool = False

    @property
    def size(self) -> int:
        """Number of neurons."""
        return int(np.prod(self.shape))


@dataclass(frozen=True)
class ConvGeometry:
    """How a convolution walks over its source."""

    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1


@dataclass(frozen=True)
class Ends:
    """Target and source neuron of each synapse of a sparse projection, in C order."""

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]


@dataclass(frozen=True)
class FloatProjection:
    """Weights from one population to another.

    Three forms: a convolution's kernel (``geometry``), a list of synapses (``ends``), or the
    matrix (targets, sources). ``lag``: steps by which the float model itself delays what is sent,
    1 for an edge that closes a loop; ``lags`` adds to it synapse by synapse. ``delay`` is what the
    chip must add to the step that every delivery takes, once `pass_depth` knows it. ``recurrent``
    closes a loop of populations. ``fixed`` weights are structure (identities, pools), not learnt.
    """

    name: str
    source: str
    target: str
    weight: Floats
    geometry: ConvGeometry | None = None
    ends: Ends | None = None
    lag: int = 0
    lags: Steps | None = None
    delay: int = 0
    recurrent: bool = False
    fixed: bool = False

    def currents(self, messages: Floats, target_shape: Shape) -> Floats:
        """Σ W s for messages (N, *source shape) → (N, *target shape), without any lag."""
        if self.geometry is not None:
            g = self.geometry
            return conv(messages, self.weight, g.stride, g.padding, g.dilation, g.groups)
        flat = messages.reshape(len(messages), -1)
        if self.ends is None:
            product = flat @ self.weight.T
        else:
            size = (int(np.prod(target_shape)), flat.shape[1])
            matrix = csr_array((self.weight, (self.ends.rows, self.ends.columns)), shape=size)
            product = (matrix @ flat.T).T
        return product.reshape(len(messages), *target_shape)

    def by_lag(self) -> Iterator[tuple[int, FloatProjection]]:
        """Each lag, with the projection of the synapses that have it."""
        if self.lags is None:
            yield self.lag, self
            return
        for extra in np.unique(self.lags):
            masked = np.where(self.lags == extra, self.weight, 0.0)
            yield self.lag + int(extra), replace(self, weight=masked, lags=None)

    def one_sided_sums(self, target_shape: Shape) -> tuple[Floats, Floats]:
        """For each target neuron: the sum of the positive weights, and minus that of the negative.

        Of a convolution without regard to padding, which only makes sums smaller.
        """
        up, down = np.maximum(self.weight, 0), np.maximum(-self.weight, 0)
        return self._summed(up, target_shape), self._summed(down, target_shape)

    def _summed(self, weight: Floats, target_shape: Shape) -> Floats:
        if self.ends is not None:
            size = int(np.prod(target_shape))
            return np.bincount(self.ends.rows, weight, minlength=size).astype(np.float64)
        rows: Floats = weight.reshape(len(weight), -1).sum(axis=1)
        if self.geometry is None:
            return rows
        return np.repeat(rows, int(np.prod(target_shape[1:])))


@dataclass(frozen=True)
class FloatNetwork:
    """Populations in topological order, the input first, and the projections between them."""

    populations: tuple[FloatPopulation, ...]
    projections: tuple[FloatProjection, ...]
    output: str

    def population(self, name: str) -> FloatPopulation:
        """The population of this name."""
        for candidate in self.populations:
            if candidate.name == name:
                return candidate
        raise UsageError("no such population", where="network", found=repr(name))

    def incoming(self, name: str) -> tuple[FloatProjection, ...]:
        """The projections into a population."""
        return tuple(p for p in self.projections if p.target == name)

    @property
    def neurons(self) -> tuple[FloatPopulation, ...]:
        """All populations but the input."""
        return tuple(p for p in self.populations if p.kind != "input")
