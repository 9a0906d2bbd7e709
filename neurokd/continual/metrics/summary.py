"""The summary of a stream: all that is computed from its accuracies, as one JSON object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from neurokd.continual.metrics.accuracy_matrix import Rows, accuracy_matrix
from neurokd.continual.metrics.average_accuracy import average_accuracy
from neurokd.continual.metrics.backward_transfer import backward_transfer
from neurokd.continual.metrics.forgetting import forgetting
from neurokd.continual.metrics.forward_transfer import forward_transfer
from neurokd.continual.metrics.validation_accuracy import validation_accuracy

FORMAT = "neurokd.continual/1"


def summarise_stream(
    tasks: Sequence[Sequence[int]],
    rows: Rows,
    *,
    samples: Sequence[int],
    before: Sequence[float],
    validation: Sequence[Sequence[float]] | None = None,
    probe: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What ``continual.json`` holds, after the last task.

    ``tasks`` are their classes, ``rows`` is R, ``samples`` the number of test samples of each task,
    ``before`` the accuracies of the fresh network, ``validation`` R on what was held out. What
    needs two tasks is null for a stream of one. Raises: as the metrics.
    """
    matrix = accuracy_matrix(rows)
    several = len(matrix) > 1
    last = [float(value) for value in matrix[-1]]
    return {
        "format": FORMAT,
        "tasks": [list(classes) for classes in tasks],
        "test_samples": list(samples),
        "matrix": matrix.tolist(),
        "before": [float(value) for value in before],
        "val_acc": validation_accuracy(last, samples, len(matrix)),
        "average_accuracy": average_accuracy(matrix),
        "bwt": backward_transfer(matrix) if several else None,
        "forgetting": forgetting(matrix) if several else None,
        "forward_transfer": forward_transfer(matrix, before) if several else None,
        "validation_matrix": accuracy_matrix(validation).tolist() if validation else None,
        "probe": dict(probe) if probe is not None else None,
    }
