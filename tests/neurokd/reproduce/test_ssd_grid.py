"""Definitions, configurations and budgets of stream experiments, worked out by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from neurokd.config.continual import ContinualConfig
from neurokd.errors import UsageError
from neurokd.reproduce import STREAMS
from neurokd.reproduce.budget import Size
from neurokd.reproduce.stream_budget import (
    StreamCost,
    fit_streams,
    stream_kind,
    stream_seconds,
    with_epochs,
    with_stream_sizes,
)
from neurokd.reproduce.stream_grid import ORDERS, StreamRun, make_stream_grid


def config_of(name: str, arm: str, data: str = "mnist", **options: int) -> ContinualConfig:
    runs = make_stream_grid(STREAMS[name], [data], 1, **options)  # type: ignore[arg-type]
    return next(run.config for run in runs if run.arm == arm)


def test_every_table_and_figure_of_the_paper_is_defined() -> None:
    tables = {f"ssd-table{i}" for i in range(1, 6)}
    assert STREAMS.keys() == tables | {f"ssd-fig{i}" for i in range(2, 8)}
    for experiment in STREAMS.values():
        names = [arm.name for arm in experiment.arms]
        assert len(set(names)) == len(names)
        for arm in (experiment.baseline, experiment.proposed):
            assert arm is None or arm in names
        for data, base in experiment.bases.items():
            file = Path("x.safetensors") if base.embedded else None
            make_stream_grid(experiment, [data], 5, embeddings=file)  # all are valid


@pytest.mark.parametrize(
    ("table", "arm", "numbers"),
    [
        ("ssd-table1", "sdmlp", (0.71, 0.32, 0.53)),
        ("ssd-table1", "si", (0.44, None, None)),
        ("ssd-table1", "ewc", (0.65, 0.16, 0.61)),
        ("ssd-table1", "ssd", (0.81, 0.43, 0.57)),
        ("ssd-table1", "ssd-ewc", (0.87, 0.52, 0.86)),
        ("ssd-table2", "sdmlp-k10", (0.63, 0.29, 0.53)),
        ("ssd-table2", "sdmlp-k1", (0.70, 0.25, 0.69)),
        ("ssd-table2", "si", (0.34, None, 0.36)),
        ("ssd-table2", "ewc", (0.67, 0.12, 0.61)),
        ("ssd-table2", "ssd-k10", (0.73, 0.34, 0.55)),
        ("ssd-table2", "ssd-k1", (0.74, 0.35, 0.74)),
        ("ssd-table2", "ssd-ewc-k1", (0.80, 0.40, 0.86)),
    ],
)
def test_the_published_numbers(
    table: str, arm: str, numbers: tuple[float | None, float | None, float | None]
) -> None:
    published = next(each.published for each in STREAMS[table].arms if each.name == arm)
    found = [published.get(d, {}).get("val_acc") for d in ("cifar10", "cifar100", "mnist")]
    assert tuple(found) == numbers


def test_orders_and_seeds_are_the_papers() -> None:
    runs = make_stream_grid(STREAMS["ssd-table3"], ["mnist", "mnist"], 5)
    assert len(runs) == 2 * 5  # a data set that is named twice is one
    assert [run.config.order for run in runs[::2]] == list(ORDERS) == ["ordinal", 3, 15, 27, 97]
    assert (
        [run.config.seed for run in runs[::2]] == [run.seed for run in runs[::2]] == [0, 1, 2, 3, 4]
    )
    assert runs[0].key == "mnist-sdmlp-ordinal" and runs[-1].key == "mnist-ssd-97"


def test_configurations_of_the_arms() -> None:
    plain = config_of("ssd-table1", "sdmlp")
    assert plain.network.sizes == (10_000,) and plain.network.k == 10
    assert plain.network.switch_samples == 5_000_000 and plain.learning.epochs == 500
    assert not plain.methods and plain.learning.learning_rate == 0.05
    both = config_of("ssd-table2", "ssd-ewc-k1")
    assert both.network.sizes == (1000,) and both.network.k == 1
    assert (both.learning.learning_rate, both.learning.momentum) == (0.03, 0.9)
    assert both.ssd is not None and (both.ssd.alpha, both.ssd.temperature) == (0.7, 8)
    assert both.ewc is not None and (both.ewc.weight, both.ewc.beta) == (200, 0.005)
    relu = config_of("ssd-table1", "ewc", "cifar10")
    assert relu.network.name == "mlp" and relu.embedding == "embed-cifar10-convmixer"
    assert relu.ewc is not None and (relu.ewc.weight, relu.ewc.beta) == (100, 0.08)
    si = config_of("ssd-table1", "si", "cifar10").si
    assert si is not None and (si.weight, si.beta) == (1350, 0.02)
    ablated = config_of("ssd-table4", "hierarchical").ssd
    assert ablated is not None and ablated.neurons == "all" and ablated.levels == "both"
    assert (ablated.temperature, ablated.lambda_hidden) == (2, 0.5)


def test_fewer_neurons_take_n_along() -> None:
    def n(share: str, **options: int) -> int | None:
        section = config_of("ssd-fig3", share, **options).ssd
        assert section is not None
        return section.n

    assert [n(f"n-{n_}") for n_ in (10, 1000)] == [10, 1000]
    assert [n(f"n-{n_}", neurons=1000) for n_ in (10, 200, 2000)] == [1, 20, 200]
    assert config_of("ssd-fig3", "n-10", neurons=1000).network.sizes == (1000,)
    with pytest.raises(UsageError, match="--neurons"):
        config_of("ssd-fig3", "n-10", neurons=10)


def test_a_tenth_of_the_length_has_a_tenth_of_n_gaba() -> None:
    long, short = (config_of("ssd-fig6", arm) for arm in ("long", "short"))
    assert (long.learning.epochs, short.learning.epochs) == (500, 50)
    assert (long.network.switch_samples, short.network.switch_samples) == (5_000_000, 500_000)


def test_curves_are_sampled_forty_times_a_task() -> None:
    config = config_of("ssd-fig5", "ssd", "cifar10")
    assert config.learning.epochs == 2000 and config.learning.evaluate_every == 50
    assert with_epochs(config, 400).learning.evaluate_every == 10
    assert with_epochs(config, 10).learning.evaluate_every == 1
    assert config_of("ssd-table1", "ssd").learning.evaluate_every == 0


def test_shorter_streams_switch_sooner() -> None:
    config = config_of("ssd-table1", "ssd")
    short = with_epochs(config, 50)
    assert short.learning.epochs == 50 and short.network.switch_samples == 500_000
    assert with_epochs(config, 500) == config
    relu = with_epochs(config_of("ssd-table1", "ewc"), 50)
    assert relu.learning.epochs == 50 and relu.network.switch_samples is None


def test_what_is_measured_once() -> None:
    kinds = {stream_kind(run) for run in make_stream_grid(STREAMS["ssd-fig4"], ["mnist"], 5)}
    assert kinds == {"mnist-sdmlp-10000-k10-ssd-both-selective"}
    kinds = {stream_kind(run) for run in make_stream_grid(STREAMS["ssd-table2"], ["mnist"], 2)}
    assert len(kinds) == 7


def _runs() -> tuple[StreamRun, StreamRun]:
    first, second = make_stream_grid(STREAMS["ssd-table3"], ["mnist"], 1)
    return first, second


def test_the_largest_common_part_of_the_epochs_that_fits() -> None:
    plain, ssd = _runs()
    costs = {
        stream_kind(plain): StreamCost(10, 0.001, 7, 1000),  # 7 s are not needed: no samplings
        stream_kind(ssd): StreamCost(20, 0.002, 7, 1000),
    }
    runs = [plain, ssd]
    # 500 epochs: 10 + 500 and 20 + 1000 seconds.
    full = {plain.key: Size(500, 1000), ssd.key: Size(500, 1000)}
    assert fit_streams(runs, costs, 1, 1530.001) == full
    assert fit_streams(runs, costs, 2, 1020.001) == full  # the longest of them
    half = fit_streams(runs, costs, 1, 780.001)
    assert half == {plain.key: Size(250, 1000), ssd.key: Size(250, 1000)}
    least = {plain.key: Size(2, 1000), ssd.key: Size(2, 1000)}
    assert fit_streams(runs, costs, 1, 36.001) == least
    with pytest.raises(UsageError, match="budget is too small"):
        fit_streams(runs, costs, 1, 35)
    shorter = with_stream_sizes(runs, half)
    assert [run.config.learning.epochs for run in shorter] == [250, 250]
    assert [run.config.network.switch_samples for run in shorter] == [2_500_000] * 2


def test_samplings_take_their_time() -> None:
    (run,) = make_stream_grid(STREAMS["ssd-fig5"], ["mnist"], 1)
    cost = StreamCost(10, 0.001, 2, 1000)
    # 500 epochs, sampled every 12: 41 times within a task. Then 40 every one, the last at its end.
    assert stream_seconds(run, Size(500, 1000), cost) == pytest.approx(10 + 500 + 41 * 2)
    assert stream_seconds(run, Size(40, 1000), cost) == pytest.approx(10 + 40 + 39 * 2)
    assert stream_seconds(run, Size(2, 1000), cost) == pytest.approx(10 + 2 + 1 * 2)


def test_what_is_not_defined_is_refused() -> None:
    table = STREAMS["ssd-table1"]
    for seeds in (0, 6):
        with pytest.raises(UsageError, match="five"):
            make_stream_grid(table, ["mnist"], seeds)
    with pytest.raises(UsageError, match="no definition"):
        make_stream_grid(table, ["imagenet"], 1)
    with pytest.raises(UsageError, match="one name in --data"):
        make_stream_grid(table, ["mnist", "cifar10"], 1, embeddings=Path("x.safetensors"))
    with pytest.raises(UsageError, match="neurokd embed"):
        make_stream_grid(table, ["cifar100"], 1)
    (run, *_) = make_stream_grid(table, ["cifar100"], 1, embeddings=Path("x.safetensors"))
    assert run.config.data == "x.safetensors" and run.config.embedding is None
    assert run.data == "cifar100"
