"""Downloading a published data set: hash-checked, with progress, complete or not at all."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from neurokd.cache import lock
from neurokd.data.archive import unpack
from neurokd.data.download_bar import DownloadBar
from neurokd.data.published import PublishedSet
from neurokd.errors import FileFormatError, NeurokdError

_TIME_LIMIT_S = 30
_CHUNK_BYTES = 1 << 16


class DownloadError(NeurokdError):
    """A download that failed: no network, a server that refuses, or a file of another hash."""


def download(published: PublishedSet, root: Path, base_url: str | None = None) -> Path:
    """The folder of ``published`` below ``root``, downloaded unless it is there.

    Files that arrived in an earlier attempt are not fetched again. The folder appears by rename,
    under a lock, so that two processes download once. ``base_url`` names another server.
    Raises: `DownloadError` with the URL, `FileFormatError` for an archive without the set.
    """
    folder = root / published.folder
    if published.complete(root):
        return folder
    beside = root / ".download" / published.name

    def waiting() -> None:
        _say(f"{published.name} is being downloaded by another process, waiting for it")

    try:
        with lock(beside.with_name(f"{published.name}.lock"), waiting):
            if not published.complete(root):
                _complete(published, root, beside, base_url)
    except OSError as error:
        raise DownloadError(
            f"the data set {published.name} cannot be written", where=str(root), found=str(error)
        ) from error
    return folder


def _complete(published: PublishedSet, root: Path, beside: Path, base_url: str | None) -> None:
    """Fetch all files, unpack archives, and put the folder in its place."""
    ready = arrived = beside / "files"
    arrived.mkdir(parents=True, exist_ok=True)
    server = base_url or published.base_url
    _say(f"downloading {published.name} from {server} to {root / published.folder}")
    for file, md5 in published.files.items():
        _fetch(published.url(file, base_url), md5, arrived / file, published)
    if published.unpack is not None:
        _say(f"unpacking {published.name}")
        unpacked = beside / "unpacked"
        shutil.rmtree(unpacked, ignore_errors=True)  # of an attempt that was killed
        _unpack(published, arrived, unpacked / published.unpack)
        ready = unpacked / published.folder
        if not published.complete(unpacked):
            raise FileFormatError(
                f"the archive does not hold the data set {published.name}",
                where=published.url(next(iter(published.files)), base_url),
                expected=", ".join(f"{published.folder}/{file}" for file in published.contents),
            )
        shutil.rmtree(arrived)
    folder = root / published.folder
    if folder.exists():
        shutil.rmtree(folder)  # incomplete, and in our own cache
    folder.parent.mkdir(parents=True, exist_ok=True)
    os.replace(ready, folder)
    shutil.rmtree(beside)


def _unpack(published: PublishedSet, arrived: Path, target: Path) -> None:
    target.mkdir(parents=True)
    for file in published.files:
        unpack(arrived / file, target)
    for inner in sorted(target.rglob("*.zip")) if published.nested else ():
        unpack(inner, inner.parent)
        inner.unlink()


def _fetch(url: str, md5: str, path: Path, published: PublishedSet) -> None:
    """One file, under its name only once its hash is the published one."""
    import pooch
    import requests

    if path.is_file() and pooch.file_hash(str(path), alg="md5") == md5:
        return
    partial = path.with_name(f"{path.name}.partial")
    bar = DownloadBar(path.name)
    # Some servers declare a .gz as compressed in transport, and it would arrive unpacked.
    fetch = pooch.HTTPDownloader(
        progressbar=bar,
        chunk_size=_CHUNK_BYTES,
        timeout=_TIME_LIMIT_S,
        headers={"Accept-Encoding": "identity"},
    )
    try:
        fetch(url, str(partial), None)
    except requests.exceptions.HTTPError as error:
        raise _failed("the server refuses the file", url, str(error), published) from error
    except requests.exceptions.RequestException as error:
        raise _failed("the file cannot be downloaded", url, _cause(error), published) from error
    finally:
        bar.close()
    found = pooch.file_hash(str(partial), alg="md5")
    if found != md5:
        partial.unlink()
        raise DownloadError(
            f"this is not the published file of {published.name}; it was deleted",
            where=url,
            expected=f"md5 {md5}",
            found=f"md5 {found}",
            remedy=f"try again, or {_by_hand(published)}",
        )
    os.replace(partial, path)


def _failed(what: str, url: str, found: str, published: PublishedSet) -> DownloadError:
    remedy = f"try again with a network, or {_by_hand(published)}"
    return DownloadError(what, where=url, found=found, remedy=remedy)


def _by_hand(published: PublishedSet) -> str:
    return f"set NEUROKD_DATA to a folder that holds {published.folder}"


def _cause(error: BaseException) -> str:
    """The innermost reason: requests wraps the one that says something."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__ or error
    return f"{type(error).__name__}: {error}"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
