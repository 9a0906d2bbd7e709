"""`load_stream`: the stream of tasks that a configuration names."""

from __future__ import annotations

from neurokd.config.continual import ContinualConfig
from neurokd.data.load import load_data, require_splits
from neurokd.data.stream import Stream, split_stream


def load_stream(config: ContinualConfig) -> Stream:
    """The tasks of a data set, in the order that the configuration asks for.

    ``samples`` takes the first training samples; all test samples stay.
    Raises: `UsageError` for data that cannot be cut so, and what `load_data` raises.
    """
    require_splits(config.data)
    train = load_data(config.data, "train").first(config.samples)
    test = load_data(config.data, "test")
    stream = split_stream(
        train,
        test,
        per_task=config.per_task,
        order=config.order,
        tasks=config.tasks,
        validation=config.learning.validation,
        seed=config.seed,
    )
    return stream.joined() if config.joint else stream
