"""`PlannedRun`: what a grid's plan and its schedule have to know of a run."""

from __future__ import annotations

from typing import Protocol

from neurokd.config.section import Section


class PlannedRun(Protocol):
    """A run with a name; ``needs`` is the key of a run that has to be finished before it."""

    @property
    def key(self) -> str: ...

    @property
    def config(self) -> Section: ...

    @property
    def needs(self) -> str | None: ...
