"""`verify` on a small network: the real emulator, and runtimes that are told what to answer."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from neurokd.data.labelled import LabelledData
from neurokd.errors import (
    BackendUnavailableError,
    FileFormatError,
    NeurokdError,
    ShapeMismatchError,
    UsageError,
)
from neurokd.hardware import lava_environment
from neurokd.hardware.emulator import emulate
from neurokd.hardware.lava_environment import LavaStatus
from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.population import InputPopulation, LIFPopulation
from neurokd.hardware.projection import DenseProjection
from neurokd.hardware.run import Run
from neurokd.verify import Verdict, verify

SAMPLES, STEPS = 400, 3
WEIGHT = np.array([[4, -2, 6, 0], [-4, 8, 0, 2], [2, 2, -6, 4]], dtype=np.int32)


def network() -> DeployedNetwork:
    """Two layers: relays that spike at every message, then an accumulator of three classes."""

    def lif(name: str, size: int, vth: int, dv: int, spiking: bool) -> LIFPopulation:
        zero = np.zeros(size, np.int32)
        return LIFPopulation(name, (size,), 4095, dv, vth, zero, spiking=spiking)

    return DeployedNetwork(
        populations=(
            InputPopulation("input", (4,)),
            lif("relay", 4, 1, 4095, True),
            lif("readout", 3, 100_000, 0, False),
        ),
        projections=(
            DenseProjection("copy", "input", "relay", 2 * np.eye(4, dtype=np.int32)),
            DenseProjection("fc", "relay", "readout", WEIGHT),
        ),
        output="readout",
        chip="loihi2",
        steps=STEPS,
    )


def scores(x: NDArray[np.float32]) -> NDArray[np.float64]:
    """What the network computes, up to a factor."""
    return x @ WEIGHT.T.astype(np.float64)


def data(wrong: int = 40) -> LabelledData:
    x = np.random.default_rng(1).integers(0, 2, (SAMPLES, 4)).astype(np.float32)
    y = np.argmax(scores(x), axis=1)
    y[:wrong] = (y[:wrong] + 1) % 3
    return LabelledData("toy", x, y)


class FakeLava(ModuleType):
    """A Lava that computes as the emulator does, and can be told to err."""

    def __init__(self) -> None:
        super().__init__("neurokd.hardware.lava_backend")
        self.err_at: tuple[str, str, tuple[int, ...]] | None = None
        self.workers: list[Any] = []

    def simulate_lava(
        self,
        net: DeployedNetwork,
        x: NDArray[Any],
        steps: int,
        record: tuple[str, ...],
        worker: Any,
        progress: Any,
    ) -> Run:
        self.workers.append(worker)
        run = emulate(net, x, record=record)
        records = {
            name: {variable: values.copy() for variable, values in variables.items()}
            for name, variables in run.records.items()
        }
        if self.err_at is not None:
            population, variable, index = self.err_at
            records[population][variable][index] += 1
        return replace(run, backend="lava", records=records)


@pytest.fixture
def lava(monkeypatch: pytest.MonkeyPatch) -> FakeLava:
    fake = FakeLava()
    monkeypatch.setitem(sys.modules, fake.__name__, fake)
    monkeypatch.setattr(
        lava_environment, "lava_status", lambda: LavaStatus(True, "python", "0.10.0", None)
    )
    return fake


@pytest.fixture
def onnx_flips(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[tuple[Path, list[int]]]:
    """An .onnx file whose runtime answers as the student, but wrongly on the listed samples."""
    path = tmp_path / "net.onnx"
    path.write_bytes(b"never read")
    flips: list[int] = []
    everything = scores(data().x)

    def run_onnx(file: Path, x: NDArray[np.float32], steps: int) -> NDArray[np.float64]:
        assert (file, steps) == (path, STEPS)
        if len(x) == 1:  # the probe, before the batches
            return everything[:1]
        start = run_onnx.calls  # type: ignore[attr-defined]
        run_onnx.calls += len(x)  # type: ignore[attr-defined]
        found = everything[start : start + len(x)].copy()
        for i in flips:
            if start <= i < start + len(x):
                found[i - start] = np.eye(3)[(data(0).y[i] + 1) % 3]
        return found

    run_onnx.calls = 0  # type: ignore[attr-defined]
    module = ModuleType("neurokd.export.onnx_runtime")
    module.run_onnx = run_onnx  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    yield path, flips


def rows(verdict: Verdict) -> dict[str, Any]:
    return {row.backend: row for row in verdict.rows}


def test_the_name_verify_is_the_function() -> None:
    import neurokd.verify.parity
    import neurokd.verify.verdict  # noqa: F401  submodules must not hide the function

    assert callable(verify) and neurokd.verify.verify is neurokd.verify.parity.verify


def test_the_emulator_holds_where_it_computes_what_the_student_does() -> None:
    verdict = verify(scores, network(), data(), ["emulator"])
    assert verdict.holds and verdict.reference == "student" and verdict.identity is None
    student, emulator = verdict.rows
    assert (student.backend, student.correct, student.holds) == ("student", SAMPLES - 40, None)
    assert (emulator.correct, emulator.agreement, emulator.difference) == (SAMPLES - 40, 1.0, 0.0)
    assert emulator.p_value == 1.0 and emulator.holds is True


def test_a_student_that_differs_on_more_than_the_tolerance_does_not_hold() -> None:
    everything = scores(data().x)

    def better(x: NDArray[np.float32]) -> NDArray[np.float64]:
        # Right on 3 of the 40 samples that the network gets wrong: 0.75 points.
        assert len(x) <= SAMPLES // 2
        found = everything[better.calls : better.calls + len(x)].copy()  # type: ignore[attr-defined]
        if better.calls == 0:  # type: ignore[attr-defined]
            found[:3] = np.eye(3)[data().y[:3]]
        better.calls += len(x)  # type: ignore[attr-defined]
        return found

    for tolerance, holds in ((0.005, False), (0.0075, True)):
        better.calls = 0  # type: ignore[attr-defined]
        emulator = verify(better, network(), data(), ["emulator"], tolerance=tolerance).rows[1]
        assert emulator.difference == -3 / SAMPLES
        assert emulator.agreement == 1 - 3 / SAMPLES
        assert emulator.p_value == 0.25  # 2 · (1/2)^3
        assert emulator.holds is holds


def test_a_better_network_is_another_network_too() -> None:
    def worse(x: NDArray[np.float32]) -> NDArray[np.float64]:
        return -scores(x)

    emulator = verify(worse, network(), data(0), ["emulator"]).rows[1]
    assert emulator.difference is not None and emulator.difference > 0.005
    assert emulator.holds is False


@pytest.mark.parametrize(("flipped", "holds"), [(0, True), (2, True), (3, False)])
def test_onnx_holds_up_to_the_tolerance(
    onnx_flips: tuple[Path, list[int]], flipped: int, holds: bool
) -> None:
    path, flips = onnx_flips
    flips.extend(range(SAMPLES - flipped, SAMPLES))  # samples that the student gets right
    verdict = verify(scores, network(), data(), ["onnx"], onnx=path)
    assert list(rows(verdict)) == ["student", "onnx"]
    assert verdict.rows[1].difference == -flipped / SAMPLES
    assert verdict.rows[1].holds is holds and verdict.holds is holds


def test_lava_holds_by_identity_on_its_samples(lava: FakeLava) -> None:
    worker = object()
    verdict = verify(
        scores, network(), data(), ["emulator", "lava"], lava_samples=50, worker=worker
    )
    row = rows(verdict)["lava"]
    assert verdict.holds and row.holds is True
    assert (row.samples, row.correct, row.difference) == (50, 10, 0.0)
    assert lava.workers == [worker]
    identity = verdict.identity
    assert identity is not None and identity.identical
    assert identity.populations == ("relay", "readout") and identity.samples == 50
    # Three variables, steps plus two of latency, 4 + 3 neurons.
    assert identity.compared == 3 * (STEPS + 2) * 50 * 7


def test_one_wrong_integer_in_lava_does_not_hold(lava: FakeLava) -> None:
    lava.err_at = ("relay", "u", (3, 7, 2))
    verdict = verify(scores, network(), data(), ["lava"], lava_samples=20)
    row = rows(verdict)["lava"]
    assert row.difference == 0.0 and row.holds is False and not verdict.holds
    assert verdict.identity is not None
    divergence = verdict.identity.first_divergence
    assert divergence is not None
    assert (divergence.population, divergence.variable) == ("relay", "u")
    assert (divergence.step, divergence.sample, divergence.neuron) == (4, 7, (2,))
    assert divergence.found == divergence.expected + 1


def test_without_a_student_the_emulator_is_the_reference(
    onnx_flips: tuple[Path, list[int]],
) -> None:
    path, flips = onnx_flips
    flips.extend([100, 101, 102])
    verdict = verify(None, network(), data(), ["onnx"], onnx=path)
    assert verdict.reference == "emulator"
    reference, onnx = verdict.rows
    assert (reference.backend, reference.criterion) == ("emulator", "reference")
    assert reference.difference is None and reference.holds is None
    assert onnx.difference == -3 / SAMPLES and onnx.holds is False
    assert "emulator" in onnx.criterion


def test_only_the_first_samples_are_taken_and_progress_is_told() -> None:
    told: list[tuple[str, int, int]] = []
    verdict = verify(
        scores,
        network(),
        data(),
        ["emulator"],
        samples=250,
        progress=lambda *values: told.append(values),
    )
    assert verdict.samples == 250 and {row.samples for row in verdict.rows} == {250}
    for name in ("emulator", "student"):
        assert [t[1:] for t in told if t[0] == name] == [(0, 250), (200, 250), (250, 250)]


def refuses_at_once(**arguments: Any) -> NeurokdError:
    def never(x: NDArray[np.float32]) -> NDArray[Any]:
        raise AssertionError("long work was started")

    defaults: dict[str, Any] = {"student": never, "net": network(), "data": data()}
    with pytest.raises(NeurokdError) as raised:
        verify(**{**defaults, **arguments})
    return raised.value


def test_bad_arguments_are_refused_before_long_work(tmp_path: Path) -> None:
    assert "'loihi'" in str(refuses_at_once(backends=["emulator", "loihi"]))
    assert "no backend" in str(refuses_at_once(backends=[]))
    assert "nothing to compare" in str(refuses_at_once(student=None, backends=["emulator"]))
    for tolerance in (-0.1, 1.5, float("nan")):
        error = refuses_at_once(backends=["emulator"], tolerance=tolerance)
        assert isinstance(error, UsageError)
    assert "lava_samples" in str(refuses_at_once(backends=["lava"], lava_samples=0))
    assert "steps" in str(refuses_at_once(backends=["emulator"], steps=0))
    assert "needs an .onnx file" in str(refuses_at_once(backends=["onnx"]))
    error = refuses_at_once(backends=["onnx"], onnx=tmp_path / "none.onnx")
    assert isinstance(error, FileFormatError) and "none.onnx" in str(error)


def test_missing_lava_is_told_before_long_work(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = LavaStatus(False, None, None, "there is no Python 3.10")
    monkeypatch.setattr(lava_environment, "lava_status", lambda: missing)
    error = refuses_at_once(backends=["emulator", "lava"])
    assert isinstance(error, BackendUnavailableError) and "no Python 3.10" in str(error)


def test_a_foreign_onnx_file_is_refused_before_long_work(tmp_path: Path) -> None:
    path = tmp_path / "foreign.onnx"
    path.write_bytes(b"not a model")
    error = refuses_at_once(backends=["onnx"], onnx=path)
    assert isinstance(error, FileFormatError) and "foreign.onnx" in str(error)


def test_data_that_does_not_fit_is_refused_before_long_work() -> None:
    wide = LabelledData("wide", np.zeros((2, 5), np.float32), np.zeros(2, np.int64))
    assert isinstance(refuses_at_once(data=wide, backends=["emulator"]), ShapeMismatchError)
    many = LabelledData("many", np.zeros((2, 4), np.float32), np.array([0, 3]))
    error = refuses_at_once(data=many, backends=["emulator"])
    assert isinstance(error, UsageError) and "0 … 2" in str(error)


@pytest.mark.lava
def test_real_lava_is_identical() -> None:
    verdict = verify(scores, network(), data(), ["emulator", "lava"], lava_samples=4)
    assert verdict.holds
    assert verdict.identity is not None
    assert verdict.identity.identical and verdict.identity.compared == 3 * (STEPS + 2) * 4 * 7


def dense_model(path: Path, sign: float = 1.0) -> Path:
    """The scores of this file as an ONNX model of a dense network."""
    import torch

    from neurokd.export.onnx_topk import topk_to_onnx
    from neurokd.models import MLP

    torch.manual_seed(0)
    made = MLP(4, (8,), 3)
    identity = torch.cat([torch.eye(4), -torch.eye(4)])
    stage, classifier = made.stages[0][0], made.classifier  # type: ignore[index]
    weight = torch.from_numpy(WEIGHT.astype(np.float32))
    for parameter, value in (
        (stage.weight, identity),
        (stage.bias, torch.zeros(8)),
        (classifier.weight, sign * torch.cat([weight, -weight], dim=1)),
        (classifier.bias, torch.zeros(3)),
    ):
        parameter.data = value
    topk_to_onnx(made, path, "float")
    return path


def test_a_dense_network_is_judged_in_onnx_against_itself(tmp_path: Path) -> None:
    model = dense_model(tmp_path / "net.onnx")
    verdict = verify(scores, None, data(), ["onnx"], onnx=model)
    assert verdict.holds and verdict.reference == "network" and verdict.samples == SAMPLES
    assert [row.backend for row in verdict.rows] == ["network", "onnx"]
    assert rows(verdict)["network"].correct == SAMPLES - 40
    assert rows(verdict)["onnx"].agreement == 1.0
    wrong = verify(scores, None, data(), ["onnx"], onnx=dense_model(tmp_path / "not.onnx", -1.0))
    assert not wrong.holds
    assert Verdict.from_dict(wrong.to_dict()) == wrong


@pytest.mark.parametrize("backends", [["emulator"], ["lava", "onnx"]])
def test_without_a_deployed_network_no_chip_runs_anything(backends: list[str]) -> None:
    with pytest.raises(UsageError, match="without a deployed network"):
        verify(scores, None, data(), backends, onnx="net.onnx")


def test_without_any_network_nothing_can_be_verified() -> None:
    with pytest.raises(UsageError, match="expected a network"):
        verify(None, None, data(), ["onnx"], onnx="net.onnx")


def test_a_dense_model_of_another_shape_or_class_is_refused(tmp_path: Path) -> None:
    model = dense_model(tmp_path / "net.onnx")
    foreign = LabelledData("foreign", np.zeros((2, 5), np.float32), np.zeros(2, np.int64))
    with pytest.raises(ShapeMismatchError, match="fit"):
        verify(scores, None, foreign, ["onnx"], onnx=model)
    unknown = replace(data(), y=np.full(SAMPLES, 7))
    with pytest.raises(UsageError, match="class"):
        verify(scores, None, unknown, ["onnx"], onnx=model)
