"""`verify`: run one network on its runtimes and judge each against the float student."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from neurokd.data.labelled import LabelledData
from neurokd.data.steps_first import batches, steps_first
from neurokd.errors import BackendUnavailableError, FileFormatError, UsageError
from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.run import RECORDABLE
from neurokd.verify.divergence import compare_runs
from neurokd.verify.reference import Scores, Student, as_scores, classify
from neurokd.verify.statistics import mcnemar_p, wilson_interval
from neurokd.verify.verdict import Identity, Row, Verdict

if TYPE_CHECKING:
    from neurokd.hardware.lava_process import LavaWorker

BACKENDS = ("emulator", "lava", "onnx")
ROUNDING = 1e-12
"""Slack of the comparison with the tolerance: 5 of 1,000 samples are within 0.005."""

Classes: TypeAlias = NDArray[np.int64]
Progress: TypeAlias = Callable[[str, int, int], None]
"""Called as (backend, samples done, samples in all)."""


def verify(
    student: Student | None,
    net: DeployedNetwork | None,
    data: LabelledData,
    backends: Iterable[str] = BACKENDS,
    *,
    tolerance: float = 0.005,
    samples: int | None = None,
    lava_samples: int = 50,
    onnx: str | Path | None = None,
    steps: int | None = None,
    worker: LavaWorker | None = None,
    progress: Progress | None = None,
) -> Verdict:
    """Judge the deployed network on every backend against the student on the same samples.

    Emulator and ONNX hold if |accuracy − the student's| ≤ ``tolerance``, paired on all samples. The
    bar has two sides: a deployed network that is better by more than this is another network, too.
    Lava holds if every u, v and spike of every neuron population equals the emulator's at every
    chip step of the first ``lava_samples`` samples; its accuracy is shown, not judged.

    Frames of events are given to every backend as they are, one a step: ``steps`` is their number.

    A dense network, which no chip runs, has no ``net``: it is itself the reference, and ONNX the
    only backend.

    ``student`` is anything `neurokd.verify.reference.as_scores` takes; with None the emulator is
    the reference. ``samples`` limits the data to its first samples. ``onnx`` is the file to run.
    ``worker`` goes to `simulate_lava`.

    Raises: `UsageError`, `FileFormatError`, `BackendUnavailableError` before anything long is run;
    `BackendFailedError` for a runtime that fails or answers nonsense.
    """
    chosen = tuple(dict.fromkeys(backends))
    data = data.first(samples)
    _check_arguments(student, net, chosen, tolerance, lava_samples)
    if net is None:
        assert student is not None  # as the arguments were checked
        return _dense(student, _onnx_file(onnx), data, tolerance, progress)
    steps = steps if steps is not None else data.steps or net.steps
    _require_positive("steps", steps)
    net.encode(steps_first(data.first(1)), steps, timed=data.events)
    classes = net.population(net.output).size
    _check_classes(data, classes)
    onnx_scores = _onnx_scores(_onnx_file(onnx), data, steps) if "onnx" in chosen else None
    if "lava" in chosen:
        _require_lava(worker)

    found: dict[str, Classes] = {}
    if "emulator" in chosen or student is None:
        found["emulator"] = _emulated(net, data, steps, progress)
    if student is not None:
        scores = as_scores(student, steps, timed=data.events)
        found["student"] = _scored("student", scores, data, classes, progress)
    if onnx_scores is not None:
        found["onnx"] = _scored("onnx", onnx_scores, data, classes, progress)
    identity = None
    if "lava" in chosen:
        found["lava"], identity = _on_lava(net, data.first(lava_samples), steps, worker, progress)

    reference = "emulator" if student is None else "student"
    rows = [
        _row(name, found[name], found[reference], reference, data.y, tolerance, identity)
        for name in dict.fromkeys((reference, *chosen))
    ]
    return Verdict(tolerance, len(data), reference, tuple(rows), identity)


def _dense(
    network: Student,
    onnx: Path,
    data: LabelledData,
    tolerance: float,
    progress: Progress | None,
) -> Verdict:
    """The verdict on a network without steps: its ONNX model against the float network."""
    in_onnx = _onnx_scores(onnx, data, None)
    scores = as_scores(network, 1)
    first = np.asarray(scores(steps_first(data.first(1))))
    classes = first.shape[-1] if first.ndim == 2 else 0
    classify(first, 1, classes, where="network")
    _check_classes(data, classes)
    found = {
        name: _scored(name, function, data, classes, progress)
        for name, function in (("network", scores), ("onnx", in_onnx))
    }
    rows = [
        _row(name, answers, found["network"], "network", data.y, tolerance, None)
        for name, answers in found.items()
    ]
    return Verdict(tolerance, len(data), "network", tuple(rows))


def _check_arguments(
    student: Student | None,
    net: DeployedNetwork | None,
    backends: Sequence[str],
    tolerance: float,
    lava_samples: int,
) -> None:
    unknown = [name for name in backends if name not in BACKENDS]
    if unknown or not backends:
        raise UsageError(
            "unknown backend" if unknown else "no backend to verify",
            where="backends",
            expected=", ".join(BACKENDS),
            found=", ".join(map(repr, unknown)) or "none",
        )
    if net is None and (student is None or set(backends) != {"onnx"}):
        raise UsageError(
            "without a deployed network only a model in ONNX can be verified, against its network",
            where="backends",
            expected="onnx" if student is not None else "a network",
            found=", ".join(backends) if student is not None else "none",
        )
    if student is None and set(backends) == {"emulator"}:
        raise UsageError(
            "there is nothing to compare the emulator with",
            where="verify",
            remedy="give what it was made from, or --backends emulator,lava",
        )
    if not (math.isfinite(tolerance) and 0 <= tolerance <= 1):
        raise UsageError(
            "the tolerance is not a fraction",
            where="tolerance",
            expected="0 … 1",
            found=str(tolerance),
        )
    _require_positive("lava_samples", lava_samples)


def _require_positive(name: str, value: int) -> None:
    if value < 1:
        raise UsageError(f"{name} must be positive", where=name, expected="≥ 1", found=str(value))


def _check_classes(data: LabelledData, classes: int) -> None:
    outside = data.y[(data.y < 0) | (data.y >= classes)]
    if len(outside):
        raise UsageError(
            "the data has a class that the network does not have",
            where=data.name,
            expected=f"0 … {classes - 1}",
            found=str(outside[0]),
        )


def _onnx_file(onnx: str | Path | None) -> Path:
    if onnx is None:
        raise UsageError(
            "the backend onnx needs an .onnx file",
            where="onnx",
            found="none",
            remedy="write one with `neurokd export --target onnx`",
        )
    path = Path(onnx)
    if not path.is_file():
        raise FileFormatError(
            "no such file",
            where=str(path),
            expected="an .onnx file",
            remedy="write one with `neurokd export --target onnx`",
        )
    return path


def _onnx_scores(path: Path, data: LabelledData, steps: int | None) -> Scores:
    from neurokd.export.onnx_runtime import run_onnx

    # One sample first: a broken file or one of another shape is told before anything long is run.
    run_onnx(path, steps_first(data.first(1)), steps)
    return lambda batch: run_onnx(path, batch, steps)


def _require_lava(worker: LavaWorker | None) -> None:
    """Raise `BackendUnavailableError` unless Lava can be run."""
    from neurokd.hardware.lava_environment import lava_status

    if worker is not None:
        return
    status = lava_status()
    if not status.available:
        raise BackendUnavailableError(
            "Lava is not available",
            where="backend lava",
            found=status.reason or "",
            remedy="run `neurokd lava install`, or verify without lava",
        )


def _batches(
    backend: str, data: LabelledData, progress: Progress | None
) -> Iterable[NDArray[np.float32]]:
    if progress is not None:
        progress(backend, 0, len(data))
    for done, batch in batches(data):
        yield batch
        if progress is not None:
            progress(backend, done, len(data))


def _emulated(
    net: DeployedNetwork, data: LabelledData, steps: int, progress: Progress | None
) -> Classes:
    from neurokd.hardware.emulator import emulate

    return np.concatenate(
        [
            emulate(
                net,
                net.padded(net.encode(batch, steps, timed=data.events)),
                net.chip_steps(steps),
            ).classes
            for batch in _batches("emulator", data, progress)
        ]
    )


def _scored(
    name: str, scores: Scores, data: LabelledData, classes: int, progress: Progress | None
) -> Classes:
    return np.concatenate(
        [
            classify(scores(batch), batch.shape[1 if data.events else 0], classes, where=name)
            for batch in _batches(name, data, progress)
        ]
    )


def _on_lava(
    net: DeployedNetwork,
    data: LabelledData,
    steps: int,
    worker: LavaWorker | None,
    progress: Progress | None,
) -> tuple[Classes, Identity]:
    from neurokd.hardware.emulator import emulate
    from neurokd.hardware.lava_backend import simulate_lava

    def tell(done: int, total: int) -> None:
        if progress is not None:
            progress("lava", done, total)

    messages = net.padded(net.encode(steps_first(data), steps, timed=data.events))
    total = net.chip_steps(steps)
    expected = emulate(net, messages, total, record=RECORDABLE)
    found = simulate_lava(net, messages, total, record=RECORDABLE, worker=worker, progress=tell)
    return found.classes, compare_runs(net, expected, found)


def _row(
    backend: str,
    classes: Classes,
    reference_classes: Classes,
    reference: str,
    labels: NDArray[np.int64],
    tolerance: float,
    identity: Identity | None,
) -> Row:
    """The row of a backend; classes may be of the first samples only."""
    samples = len(classes)
    right = classes == labels[:samples]
    correct = int(right.sum())
    if backend == reference:
        agreement = difference = p_value = holds = None
        criterion = "reference"
    else:
        reference_right = reference_classes[:samples] == labels[:samples]
        agreement = float((classes == reference_classes[:samples]).mean())
        difference = (correct - int(reference_right.sum())) / samples
        p_value = mcnemar_p(reference_right, right)
        if backend == "lava":
            assert identity is not None
            criterion = "every u, v and spike equals the emulator's at every step"
            holds = identity.identical
        else:
            criterion = f"within {100 * tolerance:g} points of the {reference} on the same samples"
            holds = abs(difference) <= tolerance + ROUNDING
    return Row(
        backend=backend,
        samples=samples,
        correct=correct,
        accuracy=correct / samples,
        interval=wilson_interval(correct, samples),
        agreement=agreement,
        difference=difference,
        p_value=p_value,
        criterion=criterion,
        holds=holds,
    )
