"""`make_learner`: the learner that a configuration describes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from pathlib import Path

import torch
from torch import nn

from neurokd.config.continual import ContinualConfig
from neurokd.config.section import Section
from neurokd.continual.anchored import Anchored
from neurokd.continual.ewc import EWC
from neurokd.continual.fly import FlyLearner, FlyModel
from neurokd.continual.gradient_learner import GradientLearner
from neurokd.continual.icarl import ICaRL
from neurokd.continual.l2 import L2
from neurokd.continual.learner import Learner
from neurokd.continual.lwf import LwF
from neurokd.continual.mas import MAS
from neurokd.continual.method import Method
from neurokd.continual.si import SI
from neurokd.continual.sparse_learner import SparseLearner, sparse_fits
from neurokd.continual.ssd import SSD
from neurokd.data.stream import Stream
from neurokd.errors import BackendUnavailableError, UsageError
from neurokd.models.mlp import MLP
from neurokd.models.module import user_network
from neurokd.models.sdmlp import SDMLP
from neurokd.run import WEIGHTS, load_state, read_weights


def make_learner(config: ContinualConfig, stream: Stream) -> Learner:
    """The network, freshly initialised or pretrained, with its methods and its engine.

    Raises: `UsageError` for a network that cannot be, `FileFormatError` for pretrained weights
    that do not fit, `BackendUnavailableError` where there is no such device.
    """
    network = build_network(config, stream.sample_shape, stream.classes)
    if config.network.pretrained is not None:
        load_pretrained(network, Path(config.network.pretrained))
    device = _device(config.device)
    if isinstance(network, FlyModel):
        rate, decay = config.network.rate, config.network.decay
        assert rate is not None and decay is not None  # as the configuration was checked
        return FlyLearner(network, rate, decay, config.learning.batch_size, device)
    methods = make_methods(config)
    if _is_sparse(config, network, device):
        assert isinstance(network, SDMLP)
        pulling = next((method for method in methods if isinstance(method, Anchored)), None)
        return SparseLearner(network, config.learning, config.ssd, pulling)
    return GradientLearner(network, config.learning, methods, device)


def _is_sparse(config: ContinualConfig, network: nn.Module, device: torch.device) -> bool:
    """Whether the sparse engine learns it; asked for where it does not fit, it refuses itself."""
    if config.engine == "sparse" and device.type != "cpu":
        raise UsageError(
            "the sparse engine works on the CPU",
            where="engine",
            found=f'device "{config.device}"',
            remedy='set device = "cpu", or engine = "dense"',
        )
    fits = device.type == "cpu" and sparse_fits(network, config.methods)
    return config.engine == "sparse" or (config.engine == "auto" and fits)


def make_methods(config: ContinualConfig) -> list[Method]:
    """The methods of a configuration, in the order of its sections."""
    made: list[tuple[Section | None, Callable[..., Method]]] = [
        (config.ssd, SSD),
        (config.ewc, EWC),
        (config.si, SI),
        (config.mas, MAS),
        (config.l2, L2),
        (config.lwf, LwF),
        (config.icarl, ICaRL),
    ]
    return [method(section) for section, method in made if section is not None]


def build_network(config: ContinualConfig, sample_shape: Sequence[int], classes: int) -> nn.Module:
    """The configured network as it is before it learns; its initialisation is drawn by ``seed``."""
    options = config.network
    inputs = prod(sample_shape)
    sizes = options.sizes or ()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        if options.name == "module":
            assert options.factory is not None  # as the configuration was checked
            return user_network(options.factory, spiking=False, classes=classes)
        if options.name == "mlp":
            return MLP(inputs, sizes, classes, dropout=options.dropout or 0.0)
        assert options.k is not None
        if options.name == "fly":
            assert options.density is not None
            return FlyModel(inputs, sizes[0], classes, options.k, options.density)
        assert options.switch_samples is not None and options.inhibition is not None
        return SDMLP(inputs, sizes, classes, options.k, options.switch_samples, options.inhibition)


def load_pretrained(network: nn.Module, path: Path) -> None:
    """Load all but the classifier, counters included, from a run folder or a weights file."""
    file = path / WEIGHTS if path.is_dir() else path
    state = read_weights(file, remedy="network.pretrained names a run that is complete, or a file")
    kept = {key: value for key, value in state.items() if not key.startswith("classifier.")}
    fresh = {k: v for k, v in network.state_dict().items() if k.startswith("classifier.")}
    load_state(network, {**kept, **fresh}, file)


def _device(name: str) -> torch.device:
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise BackendUnavailableError(
            "there is no GPU here that torch can use", where="device", remedy="set device = 'cpu'"
        )
    return torch.device("cuda" if name != "cpu" and available else "cpu")
