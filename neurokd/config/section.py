"""The form of every section of a configuration."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Frozen; unknown keys, infinities and NaN are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def offered(self) -> tuple[str, ...]:
        """The keys that make sense with the others as they are."""
        return tuple(type(self).model_fields)
