"""Metrics: order of epochs, and lines written twice."""

from __future__ import annotations

from neurokd.report.metrics import parse_metrics


def test_the_later_line_of_an_epoch_counts_and_epochs_are_in_order() -> None:
    metrics = parse_metrics(
        '{"epoch": 2, "split": "train", "loss": 5}\n'
        '{"epoch": 1, "split": "train", "loss": 9, "ce": 4}\n\n'
        '{"epoch": 2, "split": "train", "loss": 3}\n'
        '{"epoch": 2, "split": "test", "accuracy": 0.5}\n',
        "m",
    )
    assert metrics.series("train", "loss") == [(1, 9.0), (2, 3.0)]
    assert metrics.series("train", "ce") == [(1, 4.0)]
    assert metrics.last("train", "loss") == 3.0
    assert metrics.last("test", "accuracy") == 0.5
    assert metrics.last("test", "loss") is None


def test_validation_is_a_split_of_its_own() -> None:
    text = '{"epoch": 1, "split": "validation", "accuracy": 0.25}\n' + (
        '{"epoch": 1, "split": "test", "accuracy": 0.75}\n'
    )
    metrics = parse_metrics(text, "here")
    assert metrics.series("validation", "accuracy") == [(1, 0.25)]
    assert metrics.last("test", "accuracy") == 0.75 and metrics.train == ()
