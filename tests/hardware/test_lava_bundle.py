"""What an export holds runs in Lava without neurokd, and gives the emulator's integers."""

from __future__ import annotations

import importlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from neurokd.hardware.emulator import emulate
from neurokd.hardware.host_layer import HostLayer
from neurokd.hardware.lava_bundle import write_bundle
from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.population import (
    CurrentInputPopulation,
    DeltaInputPopulation,
    InputPopulation,
    LIFPopulation,
    Population,
    SigmaDeltaPopulation,
    SigmaPopulation,
)
from neurokd.hardware.projection import (
    ConvProjection,
    DenseProjection,
    Projection,
    SparseProjection,
)
from neurokd.hardware.run import Run

MODULES = ("run_in_lava", "read_files", "encode_samples", "on_loihi2", "lava_network")
CLEAN = {"PATH": "/usr/bin:/bin"}
"""The environment of a stranger: no PYTHONPATH, nothing of neurokd."""


def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def weights(*shape: int, high: int = 60) -> NDArray[np.int32]:
    return rng().integers(-high, high, shape, dtype=np.int32) & ~1


def lif(name: str, *shape: int, bias: int = 0, start_step: int = 1, **fields: Any) -> LIFPopulation:
    chosen = {"du": 2047, "dv": 400, "vth": 60} | fields
    mantissas = rng().integers(-bias, bias + 1, shape, dtype=np.int32)
    return LIFPopulation(name, shape, bias_mant=mantissas, start_step=start_step, **chosen)


def network(populations: list[Population], projections: list[Projection]) -> DeployedNetwork:
    return DeployedNetwork(tuple(populations), tuple(projections), "out", "loihi2", 5)


def convolutional() -> DeployedNetwork:
    """Graded images, a convolution with bias, a dense layer, an accumulator."""
    return network(
        [
            InputPopulation("in", (2, 7, 5), "graded", 8, 255.0),
            lif("conv", 3, 4, 3, vth=4000, bias=900, start_step=2, bias_exp=3),
            lif("hidden", 8, vth=100, start_step=3),
            lif("out", 4, vth=131072, du=4095, dv=0, spiking=False, bias=50, start_step=4),
        ],
        [
            ConvProjection("k", "in", "conv", weights(3, 2, 3, 3), stride=(2, 2), padding=(1, 1)),
            DenseProjection("d", "conv", "hidden", weights(8, 36)),
            DenseProjection("r", "hidden", "out", weights(4, 8), weight_exp=1),
        ],
    )


def spiking() -> DeployedNetwork:
    """Binary spikes in and out, no bias: what a chip can run with `LIFReset`."""
    return network(
        [InputPopulation("in", (6,)), lif("hidden", 8), lif("out", 3)],
        [
            DenseProjection("d", "in", "hidden", weights(8, 6)),
            DenseProjection("e", "hidden", "out", weights(3, 8)),
        ],
    )


def looped() -> DeployedNetwork:
    """Recurrence and delays: what is in flight at the end of a sample must not reach the next."""
    rows, columns = np.divmod(np.arange(0, 48, 2, dtype=np.int32), 6)
    return network(
        [InputPopulation("in", (6,)), lif("hidden", 8, vth=30, bias=30), lif("out", 3, vth=20)],
        [
            SparseProjection(
                "s",
                "in",
                "hidden",
                weight=weights(24),
                rows=rows,
                columns=columns,
                delays=rows % 3 * (columns % 4 // 2),
            ),
            DenseProjection("again", "hidden", "hidden", abs(weights(8, 8)), recurrent=True),
            DenseProjection("e", "hidden", "out", weights(3, 8), delays=weights(3, 8) % 4),
        ],
    )


def sigma_delta() -> DeployedNetwork:
    """Changes of the data in, sums out."""
    bias = rng().integers(-40, 40, 8, dtype=np.int32)
    return network(
        [
            DeltaInputPopulation("in", (6,), vth=4, spike_exp=1, scale=100.0, offset=-20.0),
            SigmaDeltaPopulation("hidden", (8,), vth=30, bias=bias),
            SigmaPopulation("out", (3,)),
        ],
        [
            DenseProjection("d", "in", "hidden", weights(8, 6)),
            DenseProjection("e", "hidden", "out", weights(3, 8)),
        ],
    )


def hosted() -> DeployedNetwork:
    """A constant current of each sample, from a layer that the host computes."""
    host = HostLayer(
        "first",
        (2, 6, 5),
        (4, 3, 2),
        rng().integers(-30000, 30000, (4, 1, 3, 2), dtype=np.int32),
        rng().integers(-20, 20, (4, 3, 2), dtype=np.int32),
        scale=255.0,
        shift=12,
        bias_shift=10,
        stride=(2, 3),
        padding=(1, 1),
        groups=2,
    )
    populations = (CurrentInputPopulation("in", (4, 3, 2), dv=300, vth=3000), lif("out", 5))
    readout = DenseProjection("d", "in", "out", weights(5, 24))
    return DeployedNetwork(populations, (readout,), "out", "loihi1", 6, host=host)


def samples(net: DeployedNetwork, count: int = 4) -> NDArray[np.float32]:
    shape = net.input.shape if net.host is None else net.host.shape
    return rng().random((count, *shape), dtype=np.float32)


def binary(net: DeployedNetwork, count: int = 4) -> NDArray[np.float32]:
    return (samples(net, count) > 0.5).astype(np.float32)


def emulated(net: DeployedNetwork, x: NDArray[Any], record: tuple[str, ...] = ()) -> Run:
    constant = isinstance(net.input, CurrentInputPopulation)
    data = net.padded(net.encode(x))
    return emulate(net, data, net.chip_steps() if constant else None, record=record)


@pytest.fixture
def bundle(tmp_path: Path) -> Iterator[Path]:
    """A folder for an export, on the path of this process as Python puts a script's folder."""
    folder = tmp_path / "loihi"
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))
    for name in MODULES:
        sys.modules.pop(name, None)


def script(folder: Path, net: DeployedNetwork, name: str = "run_in_lava") -> ModuleType:
    write_bundle(net, folder)
    return importlib.import_module(name)


def run(
    python: str, folder: Path, *options: str, **arrays: NDArray[Any]
) -> tuple[subprocess.CompletedProcess[str], dict[str, NDArray[Any]]]:
    """The command, from another folder than its own; what it printed and what it saved."""
    elsewhere = folder.parent / "elsewhere"
    elsewhere.mkdir()
    np.savez(elsewhere / "samples.npz", **arrays)  # type: ignore[arg-type]
    command = [python, str(folder / "run_in_lava.py"), "--data", "samples.npz"]
    done = subprocess.run(
        [*command, "--save", "kept.npz", *options],
        cwd=elsewhere,
        env=CLEAN,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with np.load(elsewhere / "kept.npz", allow_pickle=False) as archive:
        return done, dict(archive)


# --- runs ----------------------------------------------------------------------------------------


@pytest.mark.lava
@pytest.mark.parametrize("build", [convolutional, looped, sigma_delta, hosted])
def test_the_bundle_gives_the_emulators_integers(
    lava_python: str, tmp_path: Path, build: Any
) -> None:
    net = build()
    write_bundle(net, tmp_path / "loihi")
    x = binary(net) if build is looped else samples(net)
    y = np.array([0, 1, 2, 0])
    names = ("u", "v", "sigma", "act", "residue", "error", "spikes")
    expected = emulated(net, x, names)
    done, found = run(lava_python, tmp_path / "loihi", "--record", *names, x=x, y=y)
    np.testing.assert_array_equal(found["output"], expected.output)
    np.testing.assert_array_equal(found["classes"], expected.classes)
    assert np.count_nonzero(expected.output[-2:])
    for name, variables in expected.records.items():
        for variable, values in variables.items():
            np.testing.assert_array_equal(found[f"{name}.{variable}"], values)
        spikes = np.count_nonzero(variables["spikes"], axis=(0, 1))
        np.testing.assert_array_equal(found[f"{name}.total"], spikes)
        assert re.search(rf"^{name} .* {spikes.sum() / 4:,.1f}$", done.stdout, re.MULTILINE)
    right = int((expected.classes == y).sum())
    assert f"accuracy: {25 * right:.2f} % ({right} of 4)" in done.stdout


@pytest.mark.lava
def test_steps_and_samples_are_chosen_and_only_the_output_is_kept(
    lava_python: str, tmp_path: Path
) -> None:
    net = spiking()
    write_bundle(net, tmp_path / "loihi")
    x = binary(net, 5)
    done, found = run(lava_python, tmp_path / "loihi", "--samples", "2", "--steps", "3", x=x)
    expected = emulate(net, net.padded(net.encode(x[:2], 3)), record=("spikes",))
    np.testing.assert_array_equal(found["output"], expected.output)
    np.testing.assert_array_equal(found["hidden.spikes"], expected.records["hidden"]["spikes"])
    assert "hidden.v" not in found
    assert "2 samples, no classes y to compare with" in done.stdout


@pytest.mark.lava
def test_messages_enter_as_they_are(lava_python: str, tmp_path: Path) -> None:
    net = spiking()
    write_bundle(net, tmp_path / "loihi")
    messages = rng().integers(0, 2, (7, 3, 6), dtype=np.int8)
    _, found = run(lava_python, tmp_path / "loihi", messages=messages)
    expected = emulate(net, net.padded(messages.astype(np.int32)))
    np.testing.assert_array_equal(found["output"], expected.output)


@pytest.mark.lava
@pytest.mark.parametrize(
    ("build", "steps"),
    [(convolutional, 5), (spiking, 5), (spiking, 1)],
    ids=["conv", "spikes", "one step"],
)
def test_the_chips_resets_separate_samples(
    lava_python: str, tmp_path: Path, build: Any, steps: int
) -> None:
    """What --hw runs, adapters left out: the same output wherever it is valid.

    With one step the last population is reset in the last step of a sample.
    """
    net = build()
    write_bundle(net, tmp_path / "loihi")
    x = binary(net, 12) if build is spiking else samples(net)
    expected = emulate(net, net.padded(net.encode(x, steps)))
    assert np.count_nonzero(expected.output[-2:])
    options = ("--rehearse-hw", "--steps", str(steps))
    done, found = run(lava_python, tmp_path / "loihi", *options, x=x)
    np.testing.assert_array_equal(found["output"], expected.output[net.latency :])
    np.testing.assert_array_equal(found["classes"], expected.classes)
    assert re.search(r"^hidden .* not observed$", done.stdout, re.MULTILINE)


@pytest.mark.lava
def test_hardware_without_intels_extension_is_refused(lava_python: str, tmp_path: Path) -> None:
    net = spiking()
    write_bundle(net, tmp_path / "loihi")
    np.savez(tmp_path / "samples.npz", x=binary(net))
    command = [lava_python, str(tmp_path / "loihi" / "run_in_lava.py"), "--hw"]
    command += ["--data", str(tmp_path / "samples.npz")]
    done = subprocess.run(command, env=CLEAN, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and not done.stdout
    assert done.stderr.count("\n") == 1
    assert "lava-loihi is not installed" in done.stderr and "loihi2_profiler" in done.stderr


@pytest.mark.lava
def test_a_dead_process_of_lava_ends_the_run(lava_python: str, tmp_path: Path) -> None:
    """It would wait for ever for what the dead one was to send."""
    write_bundle(spiking(), tmp_path / "loihi")
    np.savez(tmp_path / "samples.npz", x=np.ones((20_000, 6)))
    command = [lava_python, str(tmp_path / "loihi" / "run_in_lava.py")]
    with subprocess.Popen(
        [*command, "--data", str(tmp_path / "samples.npz")],
        env=CLEAN | {"TMPDIR": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert "of 20000 samples" in process.stderr.readline()
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(max(map(int, children)), signal.SIGKILL)
        _, said = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "run_in_lava: a process of Lava ended during the run: pid" in said
    assert not list(tmp_path.glob("run-in-lava-*"))


# --- files, data and refusals, in this process ----------------------------------------------------


def test_what_the_folder_holds(tmp_path: Path) -> None:
    files = write_bundle(convolutional(), tmp_path / "loihi")
    assert sorted(f.name for f in files) == sorted(p.name for p in (tmp_path / "loihi").iterdir())
    readme = (tmp_path / "loihi" / "README.txt").read_text()
    assert "run_in_lava.py --data samples.npz" in readme and "(samples, 2, 7, 5)" in readme
    assert "UNTESTED" in readme
    assert all(
        f.name in readme for f in files if f.name not in ("network.safetensors", "README.txt")
    )
    for file in files:
        if file.suffix == ".py":
            imported = re.findall(r"^\s*(?:import|from) +(\w+)", file.read_text(), re.MULTILINE)
            known = {*sys.stdlib_module_names, *MODULES, "numpy", "scipy", "lava"}
            assert set(imported) <= known, file.name


def test_the_network_is_the_one_that_was_saved(bundle: Path) -> None:
    net = looped()
    structure, tensors = script(bundle, net, "read_files").read_network(bundle / "network.npz")
    assert structure["latency"] == net.latency and structure["depths"]["out"] == 2
    assert structure["output_variable"] == "spikes" and "metadata" not in structure
    again = DeployedNetwork.load(bundle / "network.safetensors")
    for projection in again.projections:
        np.testing.assert_array_equal(tensors[f"{projection.name}.weight"], projection.weight)


@pytest.mark.parametrize("build", [convolutional, spiking, sigma_delta, hosted])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_samples_are_encoded_as_the_network_does(bundle: Path, build: Any, dtype: Any) -> None:
    net = build()
    module = script(bundle, net, "encode_samples")
    structure, tensors = script(bundle, net, "read_files").read_network(bundle / "network.npz")
    x = binary(net).astype(dtype) if build is spiking else samples(net).astype(dtype)
    found = module.encode(structure, tensors, x, 3)
    np.testing.assert_array_equal(found, net.encode(x.astype(np.float32), 3))
    assert found.dtype == np.int32


def test_a_dense_host_layer(bundle: Path) -> None:
    host = HostLayer(
        "first",
        (7,),
        (3,),
        rng().integers(-32768, 32768, (3, 7), dtype=np.int32),
        rng().integers(-3000, 3000, 3, dtype=np.int32),
        scale=127.0,
        shift=9,
        bits=7,
        signed=True,
    )
    populations = (CurrentInputPopulation("in", (3,), dv=0, vth=9), lif("out", 2))
    readout = DenseProjection("d", "in", "out", weights(2, 3))
    net = DeployedNetwork(populations, (readout,), "out", "loihi1", 2, host=host)
    module = script(bundle, net, "encode_samples")
    structure, tensors = script(bundle, net, "read_files").read_network(bundle / "network.npz")
    x = rng().uniform(-1, 1, (50, 7)).astype(np.float32)
    np.testing.assert_array_equal(module.encode(structure, tensors, x, 2), net.encode(x))


@pytest.mark.parametrize(
    ("arrays", "found"),
    [
        ({"x": np.zeros((2, 5))}, r"expected \(samples, 6\); found \(2, 5\)"),
        ({"x": np.zeros((0, 6))}, "there are no samples"),
        ({"x": np.full((2, 6), 1.6)}, r"expected 0 … 1; found 1\.6"),
        ({"x": np.full((2, 6), np.nan)}, "found nan"),
        ({"x": np.array([["a"] * 6])}, "x does not hold numbers"),
        ({"x": np.zeros((2, 6)), "y": np.zeros(3, int)}, r"expected integers \(2,\)"),
        ({"x": np.zeros((2, 6)), "y": np.zeros(2)}, "y does not hold one class a sample"),
        ({"y": np.zeros(2, int)}, "expected x, or messages in its place; found y"),
        ({"messages": np.zeros((5, 2, 4), int)}, r"expected integers \(steps, samples, 6\)"),
        ({"messages": np.zeros((5, 2, 6))}, "found float64"),
        ({"messages": np.full((5, 2, 6), 2)}, "expected 0 … 1; found 2 … 2"),
        ({"x": np.array([{}] * 2)}, "without pickled objects"),
    ],
)
def test_bad_data_is_refused_in_one_line(
    bundle: Path, capsys: pytest.CaptureFixture[str], arrays: Any, found: str
) -> None:
    module = script(bundle, spiking())
    data = bundle.parent / "samples.npz"
    np.savez(data, **arrays)
    assert module.main(["--data", str(data)]) == 2
    answer = capsys.readouterr().err
    assert str(data) in answer and answer.count("\n") == 1
    assert re.search(found, answer), answer


@pytest.mark.parametrize("keep", [0.0, 0.05, 0.5, 0.95])
def test_a_torn_file_is_refused(
    bundle: Path, capsys: pytest.CaptureFixture[str], keep: float
) -> None:
    module = script(bundle, spiking())
    for file in (bundle / "network.npz", bundle.parent / "samples.npz"):
        np.savez(bundle.parent / "samples.npz", x=np.zeros((2, 6)), y=np.zeros(2, int))
        content = file.read_bytes()
        file.write_bytes(content[: int(keep * len(content))])
        assert module.main(["--data", str(bundle.parent / "samples.npz")]) == 2
        answer = capsys.readouterr().err
        assert str(file) in answer and answer.count("\n") == 1
        write_bundle(spiking(), bundle)


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ([], "--data"),
        (["--data", "none.npz"], "none.npz: no such file"),
        (["--data", "x", "--samples", "0"], "from 1, found '0'"),
        (["--data", "x", "--hw", "--rehearse-hw"], "not allowed with"),
        (["--data", "x", "--save", "/nowhere/at/all.npz"], "no file can be written"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(
    bundle: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], found: str
) -> None:
    assert script(bundle, spiking()).main(arguments) == 2
    answer = capsys.readouterr().err
    assert found in answer and answer.count("\n") == 1


@pytest.mark.parametrize(
    ("net", "found"),
    [
        (
            network([InputPopulation("in", (1, 2, 2)), lif("out", 1, 2, 2)], [
                ConvProjection("k", "in", "out", weights(1, 1, 1, 1)),
                DenseProjection("d", "in", "out", weights(4, 4)),
            ]),
            "population 'in': .* found projections of kinds conv and dense",
        ),
        (hosted(), "the network: .* found made for loihi1"),
        (looped(), "projection 's': .* found delays"),
        (sigma_delta(), "population 'in': .* found kind delta_input"),
        (
            network([InputPopulation("in", (6,)), lif("out", 3, bias=9)], [
                DenseProjection("d", "in", "out", weights(3, 6))
            ]),
            "population 'out': .* expected start_step 2",
        ),
        (
            network([InputPopulation("in", (6,)), lif("mid", 6), lif("out", 3)], [
                DenseProjection("d", "in", "mid", weights(6, 6)),
                DenseProjection("e", "mid", "out", weights(3, 6)),
                DenseProjection("short", "in", "out", weights(3, 6)),
            ]),
            "projection 'short': .* found 2 steps of depth",
        ),
        (
            network([InputPopulation("in", (6,)), lif("out", 6)], [
                DenseProjection("d", "in", "out", weights(6, 6)),
                DenseProjection("again", "out", "out", weights(6, 6), recurrent=True),
            ]),
            "projection 'again': .* found recurrent",
        ),
        (
            network([InputPopulation("in", (1, 2, 2)), lif("out", 1, 2, 2)], [
                ConvProjection("k", "in", "out", weights(1, 1, 1, 1) * 0 + 130, weight_exp=1),
            ]),
            r"projection 'k': .* found \|weight\| 260",
        ),
    ],
)  # fmt: skip
def test_what_a_chip_cannot_set_back_is_refused_by_name(
    bundle: Path, net: DeployedNetwork, found: str
) -> None:
    structure, tensors = script(bundle, net, "read_files").read_network(bundle / "network.npz")
    module = importlib.import_module("on_loihi2")
    refusal = importlib.import_module("encode_samples").BadInput
    with pytest.raises(refusal, match=found):
        module.check(structure, tensors)


@pytest.mark.parametrize(
    ("structure", "found"),
    [
        ("{", "the structure is not JSON"),
        ("[]", "expected format 'neurokd.bundle/1'; found None"),
        ('{"format": "neurokd.deployed/1"}', "found 'neurokd.deployed/1'"),
        ('{"format": "neurokd.bundle/1"}', "the structure is incomplete"),
    ],
)
def test_a_foreign_network_is_refused(bundle: Path, structure: str, found: str) -> None:
    module = script(bundle, spiking(), "read_files")
    np.savez(bundle / "network.npz", structure=np.array(structure))
    refusal = importlib.import_module("encode_samples").BadInput
    with pytest.raises(refusal, match=found):
        module.read_network(bundle / "network.npz")


def test_a_convolution_that_lava_cannot_express_is_refused(bundle: Path) -> None:
    wide = ConvProjection("wide", "in", "out", weights(1, 1, 1, 1), stride=(1, 130))
    net = network([InputPopulation("in", (1, 1, 140)), lif("out", 1, 1, 2)], [wide])
    module = script(bundle, net, "read_files")
    refusal = importlib.import_module("encode_samples").BadInput
    with pytest.raises(refusal, match="projection 'wide': .* expected .* ≤ 127; found 130"):
        module.read_network(bundle / "network.npz")
