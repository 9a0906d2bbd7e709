"""Where a published data set lies: in `NEUROKD_DATA`, else in the cache, downloaded if need be."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from neurokd.cache import cache_folder
from neurokd.data.download import download
from neurokd.data.published import PublishedSet
from neurokd.errors import UsageError


def find_data(published: PublishedSet) -> Path | None:
    """Where a data set is already: in NEUROKD_DATA, else in the cache, else nowhere."""
    named = os.environ.get("NEUROKD_DATA")
    given = Path(named).expanduser() / published.folder if named else None
    if given is not None and given.is_dir():
        return given
    root = cache_root()
    return root / published.folder if published.complete(root) else None


def data_folder(published: PublishedSet, base_url: str | None = None) -> Path:
    """The folder of a data set: ``$NEUROKD_DATA/<folder>``, else ``<cache>/data/<folder>``.

    Where neither has it, it is downloaded once to the cache; nothing is ever written below
    NEUROKD_DATA. If that is set and has no such folder, stderr says so.
    Raises: `UsageError` if NEUROKD_DATA names no folder, `DownloadError`.
    """
    named = os.environ.get("NEUROKD_DATA")
    if named and not Path(named).expanduser().is_dir():
        raise UsageError(
            "NEUROKD_DATA must name a folder of data sets",
            where=published.name,
            found=f"{named}, which is no folder",
            remedy="correct it, or unset it to have the set downloaded",
        )
    root = cache_root()
    if named and not (Path(named).expanduser() / published.folder).is_dir():
        print(
            f"{published.name}: NEUROKD_DATA={named} has no {published.folder}; using {root}",
            file=sys.stderr,
        )
    return find_data(published) or download(published, root, base_url)


def cache_root() -> Path:
    """The data folder in the cache, laid out as NEUROKD_DATA is."""
    return cache_folder() / "data"
