"""`ContinualConfig`: one learner on one stream of tasks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import Field, model_validator

from neurokd.config.named_options import foreign_options, with_own_options
from neurokd.config.section import Section

_NETWORKS: dict[str, dict[str, Any]] = {
    "sdmlp": {"sizes": (1000,), "k": 10, "switch_samples": 500_000, "inhibition": "gaba"},
    "mlp": {"sizes": (1000,), "dropout": 0.0},
    "fly": {"sizes": (10_000,), "k": 10, "density": 0.1, "rate": 0.01, "decay": 0.0},
    "module": {"factory": None},
}
"""What each network has, and its defaults."""


class NetworkConfig(Section):
    """Which network learns the stream; the options of another one are refused."""

    name: Literal["sdmlp", "mlp", "fly", "module"] = "sdmlp"
    sizes: tuple[int, ...] | None = Field(default=None, description="of each hidden layer")
    k: int | None = Field(default=None, ge=1, description="winners of a layer")
    switch_samples: int | None = Field(
        default=None, ge=1, description="sdmlp: N_gaba, samples until inhibition is complete"
    )
    inhibition: Literal["gaba", "subtract-decay", "mask", "mask-decay"] | None = Field(
        default=None, description="sdmlp: how the winners are found"
    )
    dropout: float | None = Field(default=None, ge=0, lt=1, description="mlp")
    density: float | None = Field(
        default=None, gt=0, le=1, description="fly: part of the inputs that a Kenyon cell sees"
    )
    rate: float | None = Field(default=None, gt=0, le=1, description="fly: learning rate")
    decay: float | None = Field(default=None, ge=0, lt=1, description="fly: of other classes")
    factory: str | None = Field(
        default=None, description="module: package.module:function that builds the network"
    )
    pretrained: str | None = Field(
        default=None, description="run whose hidden layers and counters it begins with"
    )

    @model_validator(mode="before")
    @classmethod
    def _options_of_this_network(cls, values: Any) -> Any:
        return with_own_options(values, _NETWORKS, "sdmlp")

    @model_validator(mode="after")
    def _fits_together(self) -> NetworkConfig:
        if self.sizes is not None and (not self.sizes or min(self.sizes) < 1):
            raise ValueError("sizes must be positive, one for each hidden layer")
        if self.name == "fly" and len(self.sizes or ()) != 1:
            raise ValueError("fly has one layer of Kenyon cells: one number in sizes")
        if self.k is not None and self.sizes is not None and self.k >= min(self.sizes):
            raise ValueError("k must be smaller than every layer")
        if self.name == "module" and not self.factory:
            raise ValueError("factory must name package.module:function")
        if self.pretrained is not None and self.name not in ("sdmlp", "mlp"):
            raise ValueError(f"{self.name} has no pretraining: remove pretrained")
        return self

    def offered(self) -> tuple[str, ...]:
        """The options of this network, and those of all."""
        foreign = foreign_options(_NETWORKS, self.name)
        return tuple(key for key in type(self).model_fields if key not in foreign)


class SSDConfig(Section):
    """L = alpha · CE + (1 − alpha)(lambda_hidden · L_hidden + (1 − lambda_hidden) · L_logits)."""

    alpha: float = Field(default=0.7, ge=0, le=1)
    lambda_hidden: float = Field(default=0.1, ge=0, le=1, description="λ")
    temperature: float = Field(default=8.0, gt=0, description="τ")
    n: int | None = Field(default=None, ge=1, description="neurons distilled; else a tenth of them")
    neurons: Literal["selective", "all"] = "selective"
    levels: Literal["both", "hidden", "logits"] = "both"
    direction: Literal["teacher-student", "student-teacher"] = Field(
        default="teacher-student", description="KL(teacher‖student), or the reverse"
    )
    hidden: Literal["post", "pre"] = Field(
        default="post", description="activations behind or before the competition"
    )


class EWCConfig(Section):
    """Penalty weight · Σ F (θ − θ*)², without ½."""

    weight: float = Field(default=200.0, ge=0, description="λ")
    beta: float = Field(default=0.005, gt=0, description="factor of the logits in the Fisher")
    batches: int = Field(default=5, ge=1)
    batch_size: int = Field(default=512, ge=1)


class SIConfig(Section):
    """Penalty weight · Σ Ω (θ − θ*)²."""

    weight: float = Field(default=1500.0, ge=0)
    beta: float = Field(
        default=0.005, gt=0, description="factor of the logits in the path integral"
    )
    damping: float = Field(default=0.1, gt=0)


class MASConfig(Section):
    """Penalty weight · Σ |∂‖z‖²/∂θ| (θ − θ*)²."""

    weight: float = Field(default=0.5, ge=0)


class L2Config(Section):
    """Penalty weight · Σ (θ − θ*)²."""

    weight: float = Field(default=10.0, ge=0)


class LwFConfig(Section):
    """Distils the logits that the network had before the task."""

    weight: float = Field(default=1.0, ge=0)
    temperature: float = Field(default=2.0, gt=0)


class ICaRLConfig(Section):
    """Exemplars and nearest-mean classification."""

    exemplars: int = Field(default=2000, ge=1, description="of all classes together")


def sparse_methods(names: Iterable[str]) -> bool:
    """Whether the sparse engine has methods of these names together."""
    names, pulls = set(names), {"ewc", "mas", "l2"}
    return not names - pulls - {"ssd"} and len(names & pulls) <= 1


class LearningConfig(Section):
    """How each task is learned: SGD at a constant rate."""

    epochs: int = Field(default=50, ge=1, description="of each task")
    batch_size: int = Field(default=128, ge=1)
    learning_rate: float = Field(default=0.05, gt=0)
    momentum: float = Field(default=0.0, ge=0, lt=1)
    clip_norm: float = Field(default=1.0, ge=0, description="of all gradients together; 0 is off")
    validation: float = Field(
        default=0.0, ge=0, lt=1, description="part of each class held out of training"
    )
    evaluate_every: int = Field(
        default=0, ge=0, description="epochs between evaluations; 0 is at the end of a task only"
    )


class SpikingConfig(Section):
    """The spiking student that is trained and deployed after each task."""

    steps: int = Field(default=16, ge=4, le=60, description="time steps T")
    inhibitors: int = Field(
        default=8, ge=1, le=256, description="neurons that count spikes and hold the others back"
    )
    epochs: int = Field(default=2, ge=0, description="of each task")
    learning_rate: float = Field(default=0.02, gt=0)
    batch_size: int = Field(default=128, ge=1)
    clip_norm: float = Field(default=1.0, ge=0, description="of all gradients together; 0 is off")
    distillation: float = Field(
        default=0.9, ge=0, le=1, description="weight of the float network's logits, of CE the rest"
    )
    temperature: float = Field(default=2.0, gt=0)
    samples: int = Field(
        default=400, ge=1, description="test samples of each task, the first ones, in the emulator"
    )


METHODS: dict[str, type[Section]] = {
    "ssd": SSDConfig,
    "ewc": EWCConfig,
    "si": SIConfig,
    "mas": MASConfig,
    "l2": L2Config,
    "lwf": LwFConfig,
    "icarl": ICaRLConfig,
}
"""Sections of methods: one is used if its section is there."""


class ContinualConfig(Section):
    """One learner on one stream; the methods are those whose sections are there."""

    role: Literal["continual"] = "continual"
    data: str = Field(default="mnist", description="a data set, a folder, a file of embeddings")
    embedding: str | None = Field(
        default=None, description="preset or file of an extractor whose embeddings are learned"
    )
    samples: int | None = Field(
        default=None, ge=2, description="training samples used, the first ones; else all"
    )
    seed: int = Field(default=0, ge=0, lt=2**63)
    order: Literal["ordinal"] | int = Field(
        default="ordinal", description="of the classes; a number is a seed that shuffles them"
    )
    per_task: int = Field(default=2, ge=1, description="classes of a task")
    tasks: int | None = Field(default=None, ge=1, description="the first ones only")
    joint: bool = Field(default=False, description="all classes in one task: the upper line")
    engine: Literal["auto", "dense", "sparse"] = Field(
        default="auto",
        description="sparse: gradients of active neurons only; sdmlp, ssd, and one of ewc, mas, l2",
    )
    device: Literal["auto", "cpu", "cuda"] = "cpu"
    network: NetworkConfig = NetworkConfig()
    learning: LearningConfig = LearningConfig()
    ssd: SSDConfig | None = None
    ewc: EWCConfig | None = None
    si: SIConfig | None = None
    mas: MASConfig | None = None
    l2: L2Config | None = None
    lwf: LwFConfig | None = None
    icarl: ICaRLConfig | None = None
    spiking: SpikingConfig | None = None

    @property
    def methods(self) -> dict[str, Section]:
        """The sections that are there, by name."""
        sections = {name: getattr(self, name) for name in METHODS}
        return {name: section for name, section in sections.items() if section is not None}

    @model_validator(mode="after")
    def _fits_together(self) -> ContinualConfig:
        if isinstance(self.order, int) and self.order < 0:
            raise ValueError('order must be "ordinal" or a seed ≥ 0')
        if self.joint and self.methods:
            raise ValueError("joint training has one task, and nothing to remember: no method")
        if self.network.name == "fly" and self.methods:
            raise ValueError("fly has a rule of its own: it takes no method")
        if self.network.name == "mlp" and self.ssd is not None:
            raise ValueError("ssd needs a network with Top-K layers: sdmlp, or a module")
        if self.spiking is not None and self.network.name != "sdmlp":
            raise ValueError("the spiking student is one of sdmlp: remove spiking")
        if self.spiking is not None and len(self.network.sizes or ()) != 1:
            raise ValueError("the spiking student has one hidden layer: one number in sizes")
        if self.icarl is not None and self.ssd is not None:
            raise ValueError("icarl has a distillation of its own: remove ssd or icarl")
        if self.engine == "sparse" and (
            self.network.name != "sdmlp" or not sparse_methods(self.methods)
        ):
            raise ValueError("the sparse engine is for sdmlp, ssd, and one of ewc, mas and l2")
        return self
