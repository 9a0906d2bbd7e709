"""Spikes, synaptic operations and energy by layer, as figures."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.ticker import FuncFormatter, NullFormatter

from neurokd.report.figure import BLUE, GREEN, GREY, ORANGE, Picture, axes, embed
from neurokd.report.profiled import Profiled, Range
from neurokd.report.wording import ENERGY_UNITS, energy, number, unit_of

_ROW_INCHES = 0.36
_MARGIN_INCHES = 0.75


def layer_figures(profile: Profiled) -> list[Picture]:
    """Spikes and synaptic operations of each layer, per sample."""
    names = [layer.name for layer in profile.layers]
    return [
        _bars(
            names,
            [layer.spikes_per_sample for layer in profile.layers],
            "spikes per sample",
            BLUE,
            "Spikes that each layer sends per sample.",
        ),
        _bars(
            names,
            [layer.synaptic_operations_per_sample for layer in profile.layers],
            "synaptic operations per sample",
            GREEN,
            "Synaptic operations of each layer per sample: one message that reaches one synapse.",
        ),
    ]


def energy_figures(profile: Profiled) -> list[Picture]:
    """Energy of each layer, and of each line of the model with their sum, as bands."""
    return [
        _ranges(
            [layer.name for layer in profile.layers],
            [layer.energy_pj for layer in profile.layers],
            "Energy of each layer per sample: the dot is nominal, the line is the band from low "
            "to high.",
        ),
        _ranges(
            [*(line.name for line in profile.energy_lines), "total"],
            [*(line.energy_pj for line in profile.energy_lines), profile.energy_pj],
            "Energy per sample by line of the model, and in total: the dot is nominal, the line is "
            "the band from low to high.",
        ),
    ]


def _bars(
    names: Sequence[str], values: Sequence[float], label: str, colour: str, caption: str
) -> Picture:
    figure, panel = axes(_MARGIN_INCHES + _ROW_INCHES * len(names))
    rows = range(len(names))
    panel.barh(rows, values, color=colour, height=0.62)
    panel.set_yticks(rows, names)
    panel.invert_yaxis()
    panel.spines["bottom"].set_visible(False)
    panel.tick_params(axis="both", length=0)
    panel.set_xticks([])  # every bar carries its value
    panel.set_xlabel(label)
    largest = max(values, default=0.0) or 1.0
    panel.set_xlim(0, 1.22 * largest)
    for row, value in zip(rows, values, strict=True):
        panel.text(value + 0.015 * largest, row, number(value), va="center")
    listed = ", ".join(f"{n} {number(v)}" for n, v in zip(names, values, strict=True))
    return embed(figure, f"Bars, {label}: {listed}.", caption)


def _ranges(names: Sequence[str], bands: Sequence[Range], caption: str) -> Picture:
    """Dots on lines from low to high; logarithmic, unless a value is zero and cannot be."""
    scale, unit = unit_of(max(band.nominal for band in bands), ENERGY_UNITS)
    figure, panel = axes(_MARGIN_INCHES + 1.3 * _ROW_INCHES * len(names))
    for row, band in enumerate(bands):
        if band.high == 0:
            panel.annotate("0", (0.01, row), xycoords=("axes fraction", "data"), va="center")
    drawn = [(row, band) for row, band in enumerate(bands) if band.high > 0]
    logarithmic = bool(drawn) and all(band.low > 0 for _, band in drawn)
    for row, band in drawn:
        colour = GREY if names[row] == "total" else ORANGE
        panel.hlines(row, band.low / scale, band.high / scale, color=colour, linewidth=3, alpha=0.5)
        panel.plot(band.nominal / scale, row, "o", color=colour, markersize=6)
        left = band.low if logarithmic else 0.0
        panel.annotate(
            energy(band),
            (left / scale, row),
            xytext=(0, 6),
            textcoords="offset points",
            fontsize=8.5,
        )
    if logarithmic:
        panel.set_xscale("log")
        panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        panel.xaxis.set_minor_formatter(NullFormatter())
        panel.set_xlim(
            0.7 * min(band.low for _, band in drawn) / scale,
            max(1.4 * max(b.high for _, b in drawn), 30 * min(b.low for _, b in drawn)) / scale,
        )
    panel.set_yticks(range(len(names)), names)
    panel.set_ylim(len(names) - 0.5, -0.75)
    panel.tick_params(axis="y", length=0)
    panel.set_xlabel(f"energy per sample ({unit}{', logarithmic' if logarithmic else ''})")
    listed = ", ".join(f"{n} {energy(b)}" for n, b in zip(names, bands, strict=True))
    return embed(figure, f"Energy per sample, nominal (low – high): {listed}.", caption)
