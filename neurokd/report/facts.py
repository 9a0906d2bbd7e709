"""What every report says of itself, and nested settings as rows."""

from __future__ import annotations

import platform
from datetime import datetime, timezone
from importlib import metadata
from typing import Any

from neurokd import __version__

_PACKAGES = ("torch", "snntorch", "nir", "onnxruntime", "numpy")


def versions() -> list[tuple[str, str]]:
    """When the report was written and with what, as (label, value)."""
    installed = {d.metadata["Name"]: d.version for d in metadata.distributions()}
    packages = [f"{name} {installed[name]}" for name in _PACKAGES if name in installed]
    return [
        ("report written", datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")),
        ("neurokd", __version__),
        ("with", ", ".join([f"Python {platform.python_version()}", *packages])),
    ]


def flat(values: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested tables as ``a.b.c`` and a text; long lists are cut and say so."""
    rows: list[tuple[str, str]] = []
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            rows += flat(value, f"{name}.")
            continue
        text = str(value)
        rows.append((name, text if len(text) <= 300 else f"{text[:300]} … ({len(text)} signs)"))
    return rows
