"""The compiled kernels against the torch engine: every variable, count and overflow."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from neurokd.errors import CapacityError, UsageError
from neurokd.hardware.emulator import emulate
from neurokd.hardware.kernel_ports import why_not_compiled
from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.population import (
    CurrentInputPopulation,
    InputPopulation,
    LIFPopulation,
    SigmaPopulation,
)
from neurokd.hardware.projection import ConvProjection, DenseProjection, SparseProjection
from neurokd.hardware.run import RECORDABLE


def lif(name: str, shape: tuple[int, ...], **options: Any) -> LIFPopulation:
    fields: dict[str, Any] = {"du": 4095, "dv": 0, "vth": 5}
    fields |= {"bias_mant": np.zeros(shape, dtype=np.int32)} | options
    return LIFPopulation(name, shape, **fields)


def network(populations: list[Any], projections: list[Any]) -> DeployedNetwork:
    output = populations[-1].name
    return DeployedNetwork(tuple(populations), tuple(projections), output, "loihi2", 4)


def assert_engines_agree(net: DeployedNetwork, x: Any, steps: int | None = None) -> None:
    compiled = emulate(net, x, steps, record=RECORDABLE, engine="compiled")
    other = emulate(net, x, steps, record=RECORDABLE, engine="torch")
    for name, variables in other.records.items():
        for variable, values in variables.items():
            np.testing.assert_array_equal(
                compiled.records[name][variable], values, err_msg=f"{name}.{variable}"
            )
    np.testing.assert_array_equal(compiled.output, other.output)
    assert compiled.counts == other.counts
    assert compiled.overflows == other.overflows
    hidden = [p.name for p in net.populations if p.name not in (net.input.name, net.output)]
    assert all(other.counts.populations[name].spikes for name in hidden), "nothing happened"


def delays(rng: np.random.Generator, shape: tuple[int, ...], largest: int) -> Any:
    return rng.integers(0, largest + 1, shape).astype(np.int32)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 1.0])
@pytest.mark.parametrize("hidden", [1, 17, 600])
def test_dense_at_any_activity_and_size(hidden: int, share: float) -> None:
    # 784 and 600 fill more than one tile, block of 64 and group of int16; 17 and 1 none of them.
    rng = np.random.default_rng(hidden)
    options: dict[str, Any] = {
        "dv": 400,
        "bias_mant": rng.integers(500, 4000, hidden),
        "bias_exp": 7,
    }
    net = network(
        [InputPopulation("in", (784,)), lif("a", (hidden,), vth=900, **options), lif("out", (3,))],
        [
            DenseProjection("1", "in", "a", rng.integers(-256, 256, (hidden, 784))),
            DenseProjection("2", "a", "out", rng.integers(-100, 256, (3, hidden)), weight_exp=-2),
        ],
    )
    x = (rng.random((20, 5, 784)) < share).astype(np.uint8)
    x[0, 0, 0] = 1
    assert_engines_agree(net, x)


def test_all_weights_at_their_limit_and_all_neurons_spiking() -> None:
    """More than 127 additions of 256 overflow int16: groups have to be emptied in time."""
    for weight, exponent in ((255, 0), (255, 7), (-256, -3)):
        mode: Any = "excitatory" if weight > 0 else "mixed"
        matrix = np.full((20, 3000), weight, dtype=np.int32)
        projection = DenseProjection("1", "in", "out", matrix, exponent, sign_mode=mode)
        bias = np.full(20, 4095)
        net = network(
            [InputPopulation("in", (3000,)), lif("out", (20,), bias_mant=bias, bias_exp=7)],
            [projection],
        )
        assert_engines_agree(net, np.ones((3, 2, 3000), dtype=bool))


@pytest.mark.parametrize("kind", [np.uint8, np.int64])
@pytest.mark.parametrize(("bits", "signed"), [(1, True), (8, False), (8, True), (11, False)])
def test_graded_messages_and_their_repetition(bits: int, signed: bool, kind: type[Any]) -> None:
    rng = np.random.default_rng(bits)
    source = InputPopulation("in", (3, 9, 8), "graded", bits, signed=signed)
    x = rng.integers(source.min_value, source.max_value + 1, (8, 3, 3, 9, 8))
    x[2:5] = x[1]
    x[5, 1:] = 0
    x[6, 1:] = 0
    if not signed and bits <= 8:
        x = x.astype(kind)
    shape = (5, 9, 8)
    net = network(
        [source, lif("a", shape, du=1000, dv=300, vth=40 << bits), lif("out", (7,), vth=90_000)],
        [
            ConvProjection("1", "in", "a", rng.integers(-99, 120, (5, 3, 3, 3)), padding=(1, 1)),
            DenseProjection("2", "in", "out", rng.integers(-99, 120, (7, 216))),
            DenseProjection("3", "a", "out", rng.integers(-99, 120, (7, 360))),
        ],
    )
    assert_engines_agree(net, x)


@pytest.mark.parametrize(
    ("channels", "groups", "stride", "padding", "dilation"),
    [
        ((4, 16), 1, (1, 1), (1, 1), (1, 1)),
        ((5, 7), 1, (2, 3), (0, 2), (1, 1)),
        ((4, 34), 2, (1, 2), (3, 0), (2, 1)),
        ((2, 32), 2, (1, 1), (1, 1), (1, 2)),
        ((6, 6), 6, (2, 2), (0, 0), (1, 1)),
        ((3, 16), 1, (4, 5), (1, 0), (3, 2)),
    ],
)
@pytest.mark.parametrize("largest", [9, 127, 30_000])
def test_convolutions(
    channels: tuple[int, int], groups: int, stride: Any, padding: Any, dilation: Any, largest: int
) -> None:
    # 127 and 30,000 leave int16 on the way to the sum; 30,000 does not fit a byte.
    rng = np.random.default_rng(largest)
    shape = (channels[1], channels[0] // groups, 3, 2)
    weight = rng.integers(-largest, largest + 1, shape)
    source, hidden = InputPopulation("in", (channels[0], 11, 10)), (channels[0], 11, 10)
    second = ConvProjection(
        "2", "a", "b", weight, stride, padding, dilation, groups, weight_exp=1 + (largest < 99)
    )
    shape = second.output_shape(hidden)
    net = network(
        [source, lif("a", hidden, vth=1), lif("b", shape, vth=largest), lif("out", (3,), vth=1)],
        [
            ConvProjection(
                "1", "in", "a", np.ones((channels[0], 1, 1, 1)).astype(int), groups=channels[0]
            ),
            second,
            DenseProjection("3", "b", "out", rng.integers(-40, 99, (3, int(np.prod(shape))))),
            SparseProjection("4", "a", "out", np.arange(3), np.arange(3), np.full(3, 9)),
        ],
    )
    assert_engines_agree(net, (rng.random((6, 3, *hidden)) < 0.4).astype(np.int32))


def test_delays_loops_and_a_start_step() -> None:
    rng = np.random.default_rng(3)
    dense, thin = (9, 9), np.flatnonzero(rng.random(81) < 0.1)
    rows, columns = np.divmod(thin, 9)
    net = network(
        [
            InputPopulation("in", (1, 3, 3)),
            lif("a", (1, 3, 3), du=2000, dv=100, start_step=4, bias_mant=np.full((1, 3, 3), 9)),
            lif("b", (9,), dv=4095),
            lif("out", (2,), vth=131071, spiking=False),
        ],
        [
            DenseProjection(
                "1", "in", "a", rng.integers(-20, 99, dense), -1, delays=delays(rng, dense, 5)
            ),
            DenseProjection(
                "2", "a", "b", rng.integers(-20, 99, dense), 2, delays=delays(rng, dense, 1)
            ),
            SparseProjection(
                "3", "b", "a", rows, columns, np.full(len(thin), 17), -2, recurrent=True
            ),
            ConvProjection("4", "a", "a", np.full((1, 1, 1, 1), 3), recurrent=True),
            SparseProjection(
                "5",
                "b",
                "b",
                rows,
                columns,
                np.full(len(thin), -9),
                delays=delays(rng, thin.shape, 3),
                recurrent=True,
            ),
            DenseProjection("6", "b", "out", rng.integers(-99, 99, (2, 9))),
        ],
    )
    compiled = net
    run = emulate(compiled, np.ones((30, 1, 1, 3, 3), dtype=bool), engine="compiled")
    assert run.counts.populations["b"].spikes
    x = rng.random((30, 4, 1, 3, 3)) < 0.3
    left = emulate(net, x, record=RECORDABLE, engine="compiled")
    right = emulate(net, x, record=RECORDABLE, engine="torch")
    for name, variables in right.records.items():
        for variable, values in variables.items():
            np.testing.assert_array_equal(left.records[name][variable], values)
    assert left.counts == right.counts and left.overflows == right.overflows


def test_a_constant_current_and_a_current_that_wraps() -> None:
    rng = np.random.default_rng(5)
    net = network(
        [
            CurrentInputPopulation("in", (2, 3, 3), dv=40, vth=100, bias_exp=3),
            lif("out", (4,), du=3, vth=40),
        ],
        [DenseProjection("1", "in", "out", rng.integers(-256, 256, (4, 18)), weight_exp=7)],
    )
    assert_engines_agree(net, rng.integers(-500, 2000, (3, 2, 3, 3)), steps=40)
    run = emulate(net, np.full((1, 2, 3, 3), 3000), steps=40, engine="compiled")
    assert {o.variable for o in run.overflows} == {"u", "v"}


def test_threads_and_batches_do_not_change_the_result() -> None:
    rng = np.random.default_rng(7)
    net = network(
        [
            InputPopulation("in", (50,)),
            lif("a", (70,), vth=60),
            lif("out", (3,), vth=131071, spiking=False),
        ],
        [
            DenseProjection("1", "in", "a", rng.integers(-99, 120, (70, 50))),
            DenseProjection("2", "a", "out", rng.integers(-256, 256, (3, 70)), weight_exp=7),
        ],
    )
    x = rng.integers(0, 2, (60, 11, 50)).astype(np.uint8)
    threads = torch.get_num_threads()
    runs = []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            for batch_size in (256, 4):
                runs.append(
                    emulate(net, x, record=RECORDABLE, batch_size=batch_size, engine="compiled")
                )
    finally:
        torch.set_num_threads(threads)
    first = runs[0]
    assert first.overflows
    for run in runs[1:]:
        np.testing.assert_array_equal(run.output, first.output)
        np.testing.assert_array_equal(run.records["a"]["spikes"], first.records["a"]["spikes"])
        assert run.counts == first.counts and run.overflows == first.overflows


def test_what_is_not_proven_is_left_to_torch() -> None:
    source = InputPopulation("in", (1, 1, 1), "graded", 24)
    dense = DenseProjection("w", "in", "out", np.full((1, 1), 254, dtype=np.int32))
    wide = network([source, lif("out", (1,))], [dense])
    assert "projection 'w' can reach 4261412611" in str(why_not_compiled(wide))
    conv = ConvProjection("w", "in", "out", np.ones((1, 1, 1, 1), dtype=np.int32))
    assert "can reach 16777215" in str(
        why_not_compiled(network([source, lif("out", (1, 1, 1))], [conv]))
    )
    ports = [
        DenseProjection(str(i), "in", "out", np.full((1, 1), 100, dtype=np.int32)) for i in range(2)
    ]
    assert "into population 'out'" in str(
        why_not_compiled(network([source, lif("out", (1,))], ports))
    )
    sigma = network([source, SigmaPopulation("out", (1,))], ports[:1])
    assert "SigmaPopulation" in str(why_not_compiled(sigma))
    x = np.full((3, 1, 1, 1, 1), (1 << 24) - 1)
    with pytest.raises(CapacityError, match="4261412611"):
        emulate(wide, x, engine="compiled")
    assert emulate(wide, x).overflows == emulate(wide, x, engine="torch").overflows != ()
    with pytest.raises(UsageError, match="no such engine"):
        emulate(wide, x, engine="numpy")  # type: ignore[arg-type]


def test_importing_the_hardware_side_imports_no_compiler() -> None:
    code = (
        "import sys, neurokd.hardware, neurokd.hardware.emulator; assert 'numba' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_fork_after_a_run_computes_as_well() -> None:
    """No thread of a run outlives it, so that a forked process is not left without one."""
    rng = np.random.default_rng(9)
    net = network(
        [InputPopulation("in", (9,)), lif("out", (4,))],
        [DenseProjection("1", "in", "out", rng.integers(-9, 20, (4, 9)))],
    )
    x = rng.integers(0, 2, (5, 3, 9))
    before = emulate(net, x, engine="compiled")
    child = os.fork()
    if child == 0:
        same = np.array_equal(emulate(net, x, engine="compiled").output, before.output)
        os._exit(0 if same else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_read_only_installation_keeps_kernels_elsewhere(tmp_path: Path) -> None:
    """numba writes beside the source, and where it cannot, into the user's cache folder."""
    source = tmp_path / "package" / "kernel.py"
    source.parent.mkdir()
    source.write_text(
        "from neurokd.hardware.kernel_compiler import compiled\n\n"
        "@compiled\ndef twice(x):\n    return 2 * x\n\n"
        "assert twice(3) == 6\nprint(twice._cache.cache_path)\n"
    )
    # A file where the folder should be denies it to root as well.
    (source.parent / "__pycache__").write_text("")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA_")}
    environment |= {"XDG_CACHE_HOME": str(tmp_path / "cache"), "HOME": str(tmp_path)}
    command = [sys.executable, "-B", str(source)]
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    kept = Path(done.stdout.strip())
    assert kept.is_relative_to(tmp_path) and source.parent not in kept.parents
    assert list(kept.glob("*.nbc"))
