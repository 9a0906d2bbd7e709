"""Extraction: the embeddings of a data set by a frozen network, computed once and kept."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from neurokd.cache import cache_folder, lock
from neurokd.config import EmbedConfig
from neurokd.continual.extractor import Extractor
from neurokd.data.embeddings import FORMAT, SUFFIX, Embeddings, read_embeddings, write_embeddings
from neurokd.data.labelled import LabelledData
from neurokd.data.load import DATA_SETS, load_data, require_splits

Progress = Callable[[int, int, str], None]
"""Called with (samples done, samples in all, the split)."""


def extract(config: EmbedConfig, progress: Progress | None = None) -> Embeddings:
    """The embeddings of both splits of a data set; see `Extractor` for what can go wrong."""
    return _extracted(config, Extractor(config), progress)


def kept_embeddings(
    config: EmbedConfig, progress: Progress | None = None
) -> tuple[Path, Embeddings]:
    """The embeddings from the cache, where they are put first if they are not there.

    The file is found by a hash over the data (its name, or the content of a folder), the
    extractor's configuration and its weights; code of a module is no part of it. Two processes
    compute it once. Raises: as `extract` and `read_embeddings`.
    """
    require_splits(config.data)
    extractor = Extractor(config)
    name = Path(config.data).name
    path = cache_folder() / "embeddings" / f"{name}-{_key(config, extractor)}{SUFFIX}"

    def waiting() -> None:
        print("another process computes these embeddings, waiting for it", file=sys.stderr)

    with lock(path.with_suffix(".lock"), waiting):
        if not path.is_file():
            write_embeddings(path, _extracted(config, extractor, progress))
    return path, read_embeddings(path)


def _extracted(config: EmbedConfig, extractor: Extractor, progress: Progress | None) -> Embeddings:
    require_splits(config.data)
    sets = [load_data(config.data, "train").first(config.samples), load_data(config.data, "test")]
    total, done = sum(map(len, sets)), 0
    parts = []
    for data in sets:
        extractor.check(data)
        rows = []
        for start in range(0, len(data), config.batch_size):
            x, _ = data.batch(range(start, min(start + config.batch_size, len(data))))
            rows.append(extractor(x).numpy())
            done += len(x)
            if progress:
                progress(done, total, "")
        parts.append(LabelledData(f"{data.name}, embedded", np.concatenate(rows), data.y))
    return Embeddings(config.data, extractor.name, extractor.weights_sha256, *parts)


def _key(config: EmbedConfig, extractor: Extractor) -> str:
    values = config.model_dump(mode="json", exclude={"weights", "batch_size", "device"})
    values |= {"format": FORMAT, "weights": extractor.weights_sha256}
    if config.data not in DATA_SETS:
        for split in ("train", "test"):
            file = Path(config.data) / f"{split}.npz"
            values[split] = hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]
