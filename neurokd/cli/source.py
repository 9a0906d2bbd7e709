"""SOURCE of the command line: where a network comes from, and what can be made of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurokd.cli import console
from neurokd.config import ContinualConfig
from neurokd.data import LabelledData, load_data
from neurokd.data.steps_first import lowering_arguments
from neurokd.errors import FileFormatError, UsageError
from neurokd.hardware.network import DeployedNetwork
from neurokd.run import RUNS, RunFolder, load_state, newest_run, read_weights

if TYPE_CHECKING:
    import nir
    from torch import nn

    from neurokd.continual.load_network import LearnedStream
    from neurokd.export.trace_neurons import ResetNone
    from neurokd.verify.reference import Student

CALIBRATION_SAMPLES = 256
DEFAULT_CHIP = "loihi2"
_FACTORY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


@dataclass(frozen=True)
class Source:
    """A network given on the command line, in whichever form it came."""

    name: str
    run: RunFolder | None = None
    nir_file: Path | None = None
    deployed_file: Path | None = None
    factory: str | None = None
    weights: Path | None = None
    sample_shape: tuple[int, ...] | None = None
    data_name: str | None = None
    steps_given: int | None = None
    reset_none: ResetNone = "refuse"

    @property
    def folder(self) -> Path:
        """Where outputs go unless told otherwise."""
        return self.run.path if self.run else RUNS / self.name

    @cached_property
    def learned(self) -> LearnedStream | None:
        """The run as that of a stream of tasks, if it is one."""
        if self.run is None or not isinstance(self.run.any_config(), ContinualConfig):
            return None
        from neurokd.continual.load_network import LearnedStream

        return LearnedStream(self.run)

    @cached_property
    def data(self) -> LabelledData:
        """The data given, else the test split that the run was trained with."""
        if self.data_name:
            return load_data(self.data_name, steps=self._frames)
        if self.learned:
            return self.learned.test
        if self.run:
            return load_data(self.run.config().data, "test", steps=self._frames)
        raise UsageError(
            "this source says nothing about its data",
            where=self.name,
            remedy="give --data: a data set's name, or an .npz with x and y",
        )

    @cached_property
    def calibration(self) -> LabelledData:
        """Samples that scales are searched on: training data where there is any."""
        if self.learned:
            return self.learned.training_samples(CALIBRATION_SAMPLES)
        if self.run:
            data = load_data(self.run.config().data, "train", steps=self._frames)
            return data.first(CALIBRATION_SAMPLES)
        return self.data.first(CALIBRATION_SAMPLES)

    def for_chip(self, data: LabelledData) -> LabelledData:
        """The samples as the deployed network takes them."""
        if self.learned is None:
            return data
        self.learned.require_spiking()
        from neurokd.continual.spiking.deployed_data import deployed_data

        return deployed_data(self.learned.config, data)

    @property
    def steps(self) -> int | None:
        """Input steps T: given, trained with, the data's, or None where only the network knows."""
        if self._steps_asked is None and self.data_name:
            return self.data.steps
        return self._steps_asked

    @property
    def _steps_asked(self) -> int | None:
        if self.steps_given is not None:
            return self.steps_given
        if self.run is None or self.learned:  # a spiking student of a stream says itself
            return None
        return self.run.config().steps

    @property
    def _frames(self) -> int | None:
        """The frames that events are cut into: given, trained with, or those of a file."""
        if self._steps_asked is None and self.deployed_file and self.deployed_file.suffix != ".net":
            return DeployedNetwork.load(self.deployed_file).steps
        if self._steps_asked is None and self.nir_file and "steps" in self.graph.metadata:
            return int(self.graph.metadata["steps"])
        return self._steps_asked

    @cached_property
    def module(self) -> nn.Module | None:
        """The trained torch network that is deployed, if the source is one."""
        if self.learned:
            return self.learned.spiking
        if self.run:
            if self.run.config().role != "student":
                raise UsageError(
                    "this run trained a dense teacher, which is not deployed",
                    where=str(self.run.path),
                    expected="the run of a spiking student",
                )
            return self.run.load_model()
        return _build(self.factory, self.weights) if self.factory else None

    @property
    def dense(self) -> nn.Module | None:
        """The network without steps that a stream was learned by; it is exported to ONNX only."""
        return self.learned.network if self.learned else None

    @cached_property
    def graph(self) -> nir.NIRGraph:
        """The network as NIR."""
        from neurokd.export.read_nir import read_nir
        from neurokd.export.trace import trace

        if self.nir_file:
            return read_nir(self.nir_file)
        if self.learned:
            from neurokd.continual.spiking.to_nir import to_nir

            return to_nir(self.learned.spiking)
        if self.module is None:
            raise UsageError(
                "a deployed network cannot be turned back into NIR",
                where=self.name,
                expected="a run, a .nir file or a torch network",
            )
        import torch

        shape = self.sample_shape or self.data.sample_shape
        double = any(tensor.dtype == torch.float64 for tensor in self.module.state_dict().values())
        sample = torch.zeros(1, *shape, dtype=torch.float64 if double else torch.float32)
        return trace(self.module, sample, steps=self.steps, reset_none=self.reset_none)

    def reference(self) -> Student | None:
        """What deployment is measured against: the torch network, the NIR graph, or nothing."""
        if self.deployed_file:
            return None
        if self.learned:
            return self.learned.spiking_scores
        return self.module or self.graph

    def fingerprint(self) -> str | None:
        """Identifies a run's weights; what was exported from others is out of date."""
        if self.learned:
            return RunFolder(self.learned.run.path / "spiking").fingerprint()
        return self.run.fingerprint() if self.run else None

    def lower(self, chip: str, **options: Any) -> DeployedNetwork:
        """Lower the network, noting the weights it was made from.

        Without options, a run that was trained in integers keeps the grid that they lie on.
        """
        from dataclasses import replace

        from neurokd.export.lower import lower
        from neurokd.training.finetune_run import recorded_quantisation

        if not options and self.run is not None:
            options = recorded_quantisation(self.run) or {}
        seen = lowering_arguments(self.for_chip(self.calibration), chip)
        net = lower(self.graph, chip, steps=self.steps, **seen, **options)
        return replace(net, metadata={**net.metadata, "source": self.fingerprint() or self.name})

    def network(self, chip: str | None = None) -> DeployedNetwork:
        """The deployed network: the file, the run's export if up to date, else lowered now."""
        if self.deployed_file and self.deployed_file.suffix == ".net":
            return self._netx(self.deployed_file, chip)
        if self.deployed_file:
            net = DeployedNetwork.load(self.deployed_file)
            if chip not in (None, net.chip):
                raise UsageError(
                    "the network was lowered for another chip",
                    where=str(self.deployed_file),
                    expected=str(chip),
                    found=net.chip,
                )
            if self.steps_given is not None and self.steps_given > net.steps:
                raise UsageError(
                    "the network was lowered for fewer steps, and its readout may overflow",
                    where=str(self.deployed_file),
                    expected=f"≤ {net.steps} steps",
                    found=str(self.steps_given),
                    remedy="lower it again with --steps",
                )
            return net
        exported = self.folder / "loihi" / "network.safetensors"
        if self.run and exported.is_file():
            net = DeployedNetwork.load(exported)
            reasons = {
                f"it is for {net.chip}": chip not in (None, net.chip),
                f"it is for {net.steps} steps": (self.steps or 0) > net.steps,
                "it was made from other weights": net.metadata.get("source") != self.fingerprint(),
            }
            if not any(reasons.values()):
                return net
            why = ", ".join(reason for reason, holds in reasons.items() if holds)
            console.message(f"{exported}: {why}; the network is lowered anew")
        return self.lower(chip or DEFAULT_CHIP)

    def _netx(self, file: Path, chip: str | None) -> DeployedNetwork:
        """A netx file does not say for how many steps or which chip it is meant."""
        from dataclasses import replace

        from neurokd.export.read_netx import read_netx

        net = read_netx(file, steps=self.steps_given, input_shape=self.sample_shape)
        return replace(net, chip=chip or net.chip)


def resolve(
    source: str | None,
    *,
    data: str | None = None,
    weights: Path | None = None,
    sample_shape: str | None = None,
    steps: int | None = None,
    reset_none: ResetNone = "refuse",
) -> Source:
    """The SOURCE argument as a `Source`; without one, the newest run, named on stderr.

    Raises: `UsageError`, `FileFormatError` for something that is no source.
    """
    if steps is not None and steps < 1:
        raise UsageError("--steps must be positive", expected="≥ 1", found=str(steps))
    shape = _shape(sample_shape)
    common: dict[str, Any] = {
        "data_name": data,
        "steps_given": steps,
        "sample_shape": shape,
        "reset_none": reset_none,
    }
    if source is None:
        run = newest_run()
        console.message(f"source: {run.path}")
        return Source(str(run.path), run=run, **common)
    path = Path(source)
    if path.is_dir():
        run = RunFolder(path)
        run.any_config()
        return Source(source, run=run, **common)
    if _FACTORY.fullmatch(source) and not path.exists():
        if shape is None:
            raise UsageError(
                "a network of your own needs --sample-shape",
                where=source,
                expected="the shape of one sample, as in --sample-shape 1,28,28",
            )
        name = source.replace(":", ".")
        return Source(name, factory=source, weights=weights, **common)
    if not path.is_file():
        raise FileFormatError(
            "no such source",
            where=source,
            expected="a run folder, a .nir, .net or .safetensors file, or package.module:factory",
        )
    if path.suffix == ".nir":
        return Source(path.stem, nir_file=path, **common)
    if path.suffix in (".safetensors", ".net"):
        return Source(path.stem, deployed_file=path, **common)
    raise UsageError(
        "no network can be read from a file of this kind",
        where=source,
        expected=".nir, .net or a deployed .safetensors",
        found=path.suffix or "no ending",
    )


def _shape(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    parts: Sequence[str] = text.split(",")
    if not all(part.strip().isdigit() and int(part) > 0 for part in parts):
        raise UsageError(
            "this is not a shape",
            where="--sample-shape",
            expected="positive numbers, as in 1,28,28",
            found=repr(text),
        )
    return tuple(int(part) for part in parts)


def _build(factory: str, weights: Path | None) -> nn.Module:
    """The network of ``package.module:factory``, in evaluation mode."""
    from neurokd.models import user_network

    network = user_network(factory, spiking=True)
    if weights is not None:
        load_state(network, read_weights(weights), weights)
    return network.eval()
