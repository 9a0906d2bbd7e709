"""Verification: is the deployed accuracy the trained accuracy, and if not, where does it part."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neurokd.verify.parity import verify
    from neurokd.verify.verdict import Divergence, Identity, Row, Verdict

_HOMES = {
    "verify": "neurokd.verify.parity",
    "Verdict": "neurokd.verify.verdict",
    "Row": "neurokd.verify.verdict",
    "Identity": "neurokd.verify.verdict",
    "Divergence": "neurokd.verify.verdict",
}

__all__ = ["Divergence", "Identity", "Row", "Verdict", "verify"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
