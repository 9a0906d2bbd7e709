"""The lowering report as a table: what each layer lost on its way to integers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def lowering_rows(metadata: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row a population, from a deployed network's metadata; none for one of another origin.

    ``bits`` of the stored weights, ``used``: log2 of the levels that they take; ``clipped``: the
    share of weights beyond the grid; ``resolution``: a weight's step, in floats; ``range``: the
    threshold in integers, of which a membrane's step is one 64th; ``agreement``: spikes and
    silences as in the float network, on calibration samples, or ``error``: of an accumulator's
    membranes, relative.
    """
    notes: Mapping[str, Any] = metadata.get("lowering", {}).get("populations", {})
    return [_row(name, note) for name, note in notes.items() if "scale" in note]


def _row(name: str, note: Mapping[str, Any]) -> dict[str, Any]:
    layers = note.get("projections", {}).values()
    bits = sorted({layer["bits"] for layer in layers})
    steps = [layer["resolution"] for layer in layers]
    return {
        "layer": name,
        "bits": " ".join(map(str, bits)) or "host",
        "used": note.get("effective_bits", ""),
        "clipped": _percent(note.get("fraction_clipped")),
        "resolution": f"{max(steps or [note.get('current_resolution', 0.0)]):.3g}",
        "range": note.get("threshold", "accumulates"),
        "limited by": note.get("limited_by", ""),
        "agreement": _percent(note.get("spike_agreement")),
        "error": _percent(note.get("rms_output_error")),
        "delays": ", ".join(
            f"{name} {entry['steps']} ({entry['by']})"
            for name, entry in note.get("delays", {}).items()
        )
        or (f"relay of {note['relay_of']}" if "relay_of" in note else ""),
    }


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.2%}"
