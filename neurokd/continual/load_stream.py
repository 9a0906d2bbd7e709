"""`load_stream`: the stream of tasks that a configuration names."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from neurokd.config import read_embed_config
from neurokd.config.continual import ContinualConfig
from neurokd.continual.extract import Progress, kept_embeddings
from neurokd.data.embeddings import SUFFIX, read_embeddings
from neurokd.data.labelled import LabelledData
from neurokd.data.load import load_data, require_splits
from neurokd.data.stream import Stream, split_stream
from neurokd.errors import UsageError


def load_stream(config: ContinualConfig, progress: Progress | None = None) -> Stream:
    """The tasks of a data set, of a file of embeddings, or of a data set behind an extractor.

    ``samples`` takes the first training samples; all test samples stay. Embeddings are computed
    once, whatever stream they are for; ``progress`` is told of it.
    Raises: `UsageError` for data that cannot be cut so, and what `load_data`, `read_embeddings` and
    `kept_embeddings` raise.
    """
    train, test = _splits(config, progress)
    stream = split_stream(
        train.first(config.samples),
        test,
        per_task=config.per_task,
        order=config.order,
        tasks=config.tasks,
        validation=config.learning.validation,
        seed=config.seed,
    )
    return stream.joined() if config.joint else stream


def _splits(
    config: ContinualConfig, progress: Progress | None
) -> tuple[LabelledData, LabelledData]:
    if config.data.endswith(SUFFIX):
        if config.embedding is not None:
            raise UsageError(
                "these are embeddings already",
                where="data",
                found=config.data,
                remedy="remove embedding, or give the images",
            )
        file = read_embeddings(Path(config.data))
        return file.train, file.test
    if config.embedding is not None:
        extractor = read_embed_config(config.embedding, [f"data={json.dumps(config.data)}"])
        _, kept = kept_embeddings(extractor, progress)
        train, test = (
            replace(part, name=f"{config.data}:{split} behind {config.embedding}")
            for split, part in (("train", kept.train), ("test", kept.test))
        )
        return train, test
    require_splits(config.data)
    return load_data(config.data, "train"), load_data(config.data, "test")
