"""Options that depend on a name: which each network has, and their defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Table = Mapping[str, Mapping[str, Any]]
"""By the network's name: its options besides those of all, with their defaults."""


def with_own_options(values: Any, table: Table, default: str) -> Any:
    """The values of a section, completed by the defaults of what its ``name`` names.

    What is no mapping, or has no known name, is left to the checks of the fields.
    Raises: `ValueError` for an option of another network.
    """
    name = values.get("name", default) if isinstance(values, dict) else None
    if not isinstance(name, str) or name not in table:
        return values
    own = table[name]
    given = {key: value for key, value in values.items() if value is not None}
    for key in given:
        if key not in own and any(key in other for other in table.values()):
            raise ValueError(f"{key} is not an option of {name}: it has {', '.join(own)}")
    return {**own, **given}


def foreign_options(table: Table, name: str) -> set[str]:
    """The options that other networks have and this one has not."""
    return {key for options in table.values() for key in options} - table[name].keys()
