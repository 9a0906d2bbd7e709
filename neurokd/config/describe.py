"""A configuration with all its keys, what each does, and the value it has."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal, Union, get_args, get_origin

import tomli_w
from pydantic.fields import FieldInfo

from neurokd.config.read import SECTIONS, AnyConfig
from neurokd.config.section import Section


def described_config(config: AnyConfig) -> str:
    """TOML that reads back as ``config``; keys without a value stand as comments.

    Of the network's options only those it has are there, and a section that is left out, too.
    """
    sections = SECTIONS[type(config)]
    lines = list(_lines(config, skip=sections))
    for name in sections:
        section = getattr(config, name)
        if section is not None:
            lines += ["", f"[{name}]", *_lines(section)]
    return "\n".join(lines) + "\n"


def _lines(section: Section, skip: Any = ()) -> Iterator[str]:
    values = section.model_dump(mode="json")
    offered = section.offered()
    for key, field in type(section).model_fields.items():
        if key in skip or key not in offered:
            continue
        value = values[key]
        line = f"# {key} =" if value is None else _toml(key, value)
        note = _note(field)
        yield f"{line}  # {note}" if note else line


def _toml(key: str, value: Any) -> str:
    if isinstance(value, list):
        return f"{key} = {json.dumps(value)}"  # on one line, as TOML also has it
    return tomli_w.dumps({key: value}).strip()


def _note(field: FieldInfo) -> str:
    choices = " | ".join(_choices(field.annotation))
    return "; ".join(part for part in (choices, field.description) if part)


def _choices(annotation: Any) -> list[str]:
    """The words that a field takes, if it is one of a few."""
    if get_origin(annotation) is Literal:
        return [str(value) for value in get_args(annotation)]
    if get_origin(annotation) is Union or type(annotation).__name__ == "UnionType":
        return [choice for part in get_args(annotation) for choice in _choices(part)]
    return []
