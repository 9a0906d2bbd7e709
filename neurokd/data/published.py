"""`PublishedSet`: a published data set, where it is published and what its files must be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class PublishedSet:
    """A data set that can be downloaded.

    ``folder`` is its place below a data folder (the layout of torchvision and tonic), ``contents``
    what it has there. ``files`` are what the server offers, with their published md5 hashes:
    the contents themselves or, with ``unpack``, archives to be unpacked at that place below a data
    folder (and, if they are ``nested``, the zip files in them where those lie). A file's address is
    ``base_url``/name, or ``base_url``/``paths[name]``.
    """

    name: str
    folder: str
    base_url: str
    files: Mapping[str, str]
    contents: tuple[str, ...]
    unpack: str | None = None
    nested: bool = False
    paths: Mapping[str, str] = field(default_factory=dict)

    def complete(self, root: Path) -> bool:
        """Whether all its contents are below ``root``."""
        return all((root / self.folder / file).exists() for file in self.contents)

    def url(self, file: str, base_url: str | None = None) -> str:
        """The address of one of ``files``, on the server named if one is."""
        return f"{(base_url or self.base_url).rstrip('/')}/{self.paths.get(file, file)}"
