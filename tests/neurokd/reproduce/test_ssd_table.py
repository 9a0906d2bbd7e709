"""Tables of streams from numbers that are made up."""

from __future__ import annotations

import json

import pytest

from neurokd.reproduce import STREAMS
from neurokd.reproduce.budget import Size
from neurokd.reproduce.plan import Plan
from neurokd.reproduce.pool import Failure
from neurokd.reproduce.stream_budget import with_stream_sizes
from neurokd.reproduce.stream_grid import make_stream_grid
from neurokd.reproduce.stream_results import StreamResults, number_at, summarise_streams
from neurokd.reproduce.stream_table import stream_markdown

RUNS = make_stream_grid(STREAMS["ssd-table3"], ["cifar10"], 2)


def table3(bwt: dict[str, float], **options: object) -> StreamResults:
    summaries = {
        key: {"bwt": value, "forgetting": -value, "val_acc": 0.5} for key, value in bwt.items()
    }
    failures = {run.key: Failure("lost") for run in RUNS if run.key not in bwt}
    return summarise_streams(STREAMS["ssd-table3"], RUNS, summaries, failures, **options)  # type: ignore[arg-type]


ALL = {
    "cifar10-sdmlp-ordinal": -0.20,
    "cifar10-sdmlp-3": -0.22,
    "cifar10-ssd-ordinal": -0.10,
    "cifar10-ssd-3": -0.14,
}


def test_numbers_at_keys() -> None:
    summary = {"a": 1, "b": {"c": [1.0, 2.0], "d": None}}
    assert number_at(summary, "a") == 1 and number_at(summary, "b.c") == 1.5
    assert number_at(summary, "b.d") is None and number_at(summary, "a.c") is None


def test_means_gains_and_differences() -> None:
    (data,) = table3(ALL).data
    plain, ssd = data.arms
    assert plain.gain is None and plain.main.mean is not None and ssd.main.mean is not None
    assert plain.main.mean.mean == pytest.approx(-21) and ssd.main.mean.mean == pytest.approx(-12)
    # ± of −10 and −14: their standard deviation is √8, by √2.
    assert ssd.main.mean.standard_error == pytest.approx(2)
    # Paired: +10 and +8.
    assert ssd.gain is not None and ssd.gain.mean == pytest.approx(9)
    assert ssd.gain.standard_error == pytest.approx(1)
    assert ssd.main.published == pytest.approx(-12.34)
    assert ssd.main.difference == pytest.approx(0.34)
    assert data.ordering is not None and data.ordering.arms == ("ssd", "sdmlp")
    assert data.ordering.holds is True


def test_the_table() -> None:
    text = stream_markdown(table3(ALL))
    assert text.startswith("# SSD, Table 3: backward transfer, k = 10 (10,000 neurons)\n")
    assert (
        "| SDMLP | -21.00 ± 1.00 | -18.28 | -2.72 | 21.00 ± 1.00 | 50.00 ± 0.00 | 71.00 |" in text
    )
    assert "| SSD | -12.00 ± 2.00 | -12.34 | +0.34 |" in text and "| 2 | +9.00 ± 1.00 |" in text
    assert "SSD is better than SDMLP in BWT beyond its error bar: yes (+9.00 ± 1.00)." in text
    assert "The paper's order SSD > SDMLP: holds beyond the error bars" in text
    assert "2 orders of the classes (ordinal, 3)" in text
    assert "No budget: full length, nothing was shrunk." in text
    assert text.endswith("\n") and "FAILED" not in text


def test_what_failed_and_what_is_unknown_is_said() -> None:
    some = {key: value for key, value in ALL.items() if key.startswith("cifar10-sdmlp")}
    results = table3(some)
    text = stream_markdown(results)
    assert "| SSD | – | -12.34 |  | – | – | 81.00 |  | 0 |" in text
    assert "FAILED cifar10-ssd-3: lost" in text and "beyond its error bar: unknown" in text
    content = json.loads(json.dumps(results.to_dict()))
    assert content["orders"] == ["ordinal", "3"] and len(content["failed"]) == 2
    plain, ssd = content["data"][0]["arms"]
    assert plain["quantities"]["bwt"]["by_order"] == {"ordinal": -20.0, "3": -22.0}
    assert ssd["quantities"]["bwt"]["mean"] is None and ssd["gain"] is None


def test_what_a_budget_shrank_is_said() -> None:
    full = {run.key: Size(2000, 50_000) for run in RUNS}
    used = {run.key: Size(40, 50_000) for run in RUNS}
    runs = with_stream_sizes(RUNS, used)
    experiment = STREAMS["ssd-table3"]
    results = summarise_streams(
        experiment, runs, {}, {}, budget_minutes=30, plan=Plan(full, used, {}), neurons=1000
    )
    said = (
        "Budget 30 minutes. Unlike the full setting: 10,000 → 1,000 neurons (n in proportion); "
        "cifar10: 2,000 → 40 epochs a task, N_gaba in proportion (5,000,000 → 100,000)."
    )
    text = stream_markdown(results)
    assert said in text and text.startswith("# SSD, Table 3: backward transfer, k = 10 (1,000 ")


def test_networks_with_and_without_a_switch_share_a_line() -> None:
    experiment = STREAMS["ssd-table1"]
    runs = make_stream_grid(experiment, ["mnist"], 2)
    full = {run.key: Size(500, 60_000) for run in runs}
    used = {run.key: Size(50, 60_000) for run in runs}
    shorter = with_stream_sizes(runs, used)
    for given in (shorter, shorter[::-1]):
        results = summarise_streams(experiment, given, {}, {}, plan=Plan(full, used, {}))
        assert results.changes == (
            "mnist: 500 → 50 epochs a task, N_gaba in proportion (5,000,000 → 500,000)",
        )


def test_the_papers_order_comes_from_its_numbers() -> None:
    experiment = STREAMS["ssd-table1"]
    orders = {}
    for name in ("cifar10", "mnist", "fashion-mnist"):
        runs = make_stream_grid(experiment, [name], 1)
        (data,) = summarise_streams(experiment, runs, {}, {}).data
        orders[name] = data.ordering and data.ordering.arms
    assert orders["cifar10"] == ("ssd-ewc", "ssd", "sdmlp", "ewc", "si")
    assert orders["mnist"] == ("ssd-ewc", "ewc", "ssd", "sdmlp")
    assert orders["fashion-mnist"] is None


def test_limits_of_the_paper_are_shown_as_such() -> None:
    experiment = STREAMS["ssd-fig5"]
    runs = make_stream_grid(experiment, ["cifar10"], 1)
    probe = {"cosine": 0.9, "jaccard": 0.5, "kl": 0.01, "kl_old": 0.02}
    summary = {"val_acc": 0.5, "probe": probe}
    results = summarise_streams(experiment, runs, {runs[0].key: summary}, {})
    text = stream_markdown(results)
    assert "| SSD | 50.00 | 0.9 | > 0.77 | +0.13 | 0.5 | > 0.81 | -0.31 | 0.01 | < 0.2 |" in text
