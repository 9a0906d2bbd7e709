"""The grid of a stream experiment: a run for each data set, arm and order of the classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neurokd.config.continual import ContinualConfig
from neurokd.errors import UsageError
from neurokd.reproduce.stream_experiment import StreamArm, StreamBase, StreamExperiment

ORDERS: tuple[str | int, ...] = ("ordinal", 3, 15, 27, 97)
"""The paper's five runs: the classes as numbered, and shuffled by four seeds."""


@dataclass(frozen=True)
class StreamRun:
    """One run; ``seed`` is the place of its order in `ORDERS`, and the seed of everything else."""

    key: str
    data: str
    arm: str
    seed: int
    config: ContinualConfig
    needs: str | None = None


def make_stream_grid(
    experiment: StreamExperiment,
    data: Sequence[str],
    seeds: int,
    *,
    neurons: int | None = None,
    embeddings: Path | None = None,
    device: str = "cpu",
) -> tuple[StreamRun, ...]:
    """Order by order, so that whole comparisons are there early.

    ``neurons`` replaces the experiment's; numbers of neurons in the arms shrink in proportion.
    ``embeddings`` is a file that takes the place of the data set's own samples.
    Raises: `UsageError` for what the experiment does not define.
    """
    if not 1 <= seeds <= len(ORDERS):
        raise UsageError(
            "the orders of the paper are five",
            where="--seeds",
            expected=f"1 … {len(ORDERS)}",
            found=str(seeds),
        )
    names = list(dict.fromkeys(data))
    if embeddings is not None and len(names) != 1:
        raise UsageError(
            "a file of embeddings is of one data set",
            where="--embeddings",
            expected="one name in --data",
            found=", ".join(names),
        )
    for name in names:
        _require_base(experiment, name, embeddings)
    runs = []
    for seed, order in enumerate(ORDERS[:seeds]):
        for name in names:
            for arm in experiment.arms:
                config = arm_config(experiment, experiment.bases[name], arm, neurons)
                values = config.model_dump() | {"seed": seed, "order": order, "device": device}
                if embeddings is not None:
                    values |= {"data": str(embeddings), "embedding": None}
                key = f"{name}-{arm.name}-{order}"
                valid = ContinualConfig.model_validate(values)
                runs.append(StreamRun(key, name, arm.name, seed, valid))
    return tuple(runs)


def _require_base(experiment: StreamExperiment, name: str, embeddings: Path | None) -> None:
    if name not in experiment.bases:
        raise UsageError(
            f"{experiment.name} has no definition for this data set",
            where="--data",
            expected=", ".join(experiment.bases),
            found=repr(name),
        )
    base = experiment.bases[name]
    if base.embedded and base.embedding is None and embeddings is None:
        raise UsageError(
            "embeddings of this data set are learned, and no extractor of it is shipped",
            where=name,
            remedy="`neurokd embed` makes a file of them for --embeddings",
        )


def arm_config(
    experiment: StreamExperiment, base: StreamBase, arm: StreamArm, neurons: int | None = None
) -> ContinualConfig:
    """The configuration of an arm on a data set, at full length, in ordinal order.

    Raises: `UsageError` if the network cannot have so few neurons.
    """
    size = experiment.neurons if neurons is None else neurons
    network: dict[str, Any] = {"sizes": (size,), **arm.network}
    if network.get("name", "sdmlp") == "sdmlp":
        network["switch_samples"] = max(1, round(base.switch_samples * arm.length))
    epochs = max(1, round(base.epochs * arm.length))
    learning = {
        "epochs": epochs,
        "evaluate_every": max(1, epochs // experiment.points) if experiment.points else 0,
        **arm.learning,
    }
    methods = {name: {**base.methods.get(name, {}), **own} for name, own in arm.methods.items()}
    of_ssd = methods.get("ssd", {})
    if "n" in of_ssd:
        of_ssd["n"] = max(1, round(of_ssd["n"] * size / experiment.neurons))
    values = {
        "data": base.data,
        "embedding": base.embedding,
        "per_task": base.per_task,
        "network": network,
        "learning": learning,
        **methods,
    }
    try:
        return ContinualConfig.model_validate(values)
    except ValueError as error:  # pydantic's; the definitions themselves are valid
        raise UsageError(
            f"the arm {arm.name!r} cannot have this network",
            where="--neurons",
            found=str(size),
            remedy="give it more",
        ) from error
