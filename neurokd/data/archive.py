"""Unpacking a tar or zip file that is not trusted: regular files and folders, inside one folder."""

from __future__ import annotations

import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from neurokd.errors import FileFormatError

_MAX_BYTES = 32 << 30
_MAX_MEMBERS = 200_000


@dataclass(frozen=True)
class _Member:
    """One entry of an archive; ``open`` is None for whatever is neither a file nor a folder."""

    name: str
    size: int
    is_folder: bool
    open: Callable[[], IO[bytes] | None] | None


def unpack(archive: Path, folder: Path) -> None:
    """Write every file of a zip file or a (compressed) tar file below ``folder``, which exists.

    Owners, permissions and times are not taken over. Raises: `FileFormatError` for a broken
    archive, a path that leads outside, a link or device, or contents beyond 32 GiB.
    """
    total = 0
    try:
        with _members(archive) as members:
            for count, member in enumerate(members):
                total += member.size
                if total > _MAX_BYTES or count >= _MAX_MEMBERS:
                    raise FileFormatError(
                        "the archive is larger than any data set",
                        where=str(archive),
                        expected=f"≤ {_MAX_BYTES >> 30} GiB in ≤ {_MAX_MEMBERS} files",
                    )
                _write(member, folder, str(archive))
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, RuntimeError) as error:
        raise _broken(archive, error) from error
    except OSError as error:
        if error.errno is not None:
            raise  # the disk, not the archive
        raise _broken(archive, error) from error


@contextmanager
def _members(archive: Path) -> Iterator[Iterator[_Member]]:
    with archive.open("rb") as stream:
        zipped = stream.read(2) == b"PK"
    if zipped:
        with zipfile.ZipFile(archive) as file:
            yield (_of_zip(file, info) for info in file.infolist())
    else:
        with tarfile.open(archive) as tar:
            yield (_of_tar(tar, info) for info in tar)


def _of_tar(tar: tarfile.TarFile, info: tarfile.TarInfo) -> _Member:
    opener = (lambda: tar.extractfile(info)) if info.isreg() else None
    return _Member(info.name, info.size, info.isdir(), opener)


def _of_zip(file: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Member:
    kind = stat.S_IFMT(info.external_attr >> 16)  # 0 where no Unix wrote the archive
    opener = (lambda: file.open(info)) if kind in (0, stat.S_IFREG) else None
    return _Member(info.filename, info.file_size, info.is_dir(), opener)


def _write(member: _Member, folder: Path, where: str) -> None:
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts or "\\" in member.name or ":" in member.name:
        raise FileFormatError(
            "the archive holds a path that leads outside", where=where, found=repr(member.name)
        )
    target = folder.joinpath(*name.parts)
    if member.is_folder:
        target.mkdir(parents=True, exist_ok=True)
        return
    source = member.open() if member.open else None
    if source is None:
        raise FileFormatError(
            "the archive holds something other than files and folders",
            where=where,
            expected="no links and no devices",
            found=repr(member.name),
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    with source, target.open("wb") as stream:
        shutil.copyfileobj(source, stream, 1 << 20)


def _broken(archive: Path, error: Exception) -> FileFormatError:
    return FileFormatError(
        "this is not a complete tar or zip file", where=str(archive), found=str(error)
    )
