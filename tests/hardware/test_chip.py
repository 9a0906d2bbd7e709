"""Chip constants: complete evidence, and no number that nobody wrote down."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from neurokd.errors import FileFormatError, UsageError
from neurokd.hardware.band import Band
from neurokd.hardware.chip import EVIDENCE, GRADES, ChipSpec

GOOD = """
name = "tiny"
title = "A chip for tests"
[constants.cores_per_chip]
value = 3
unit = "cores"
source = "this test"
conditions = "none"
grade = "assumed"
evidence = "M"
[constants.static_power_mw]
low = 1
nominal = 2.5
high = 4
unit = "mW"
source = "this test"
conditions = "none"
grade = "measured"
evidence = "P"
"""


def load(tmp_path: Path, text: str) -> ChipSpec:
    path = tmp_path / "tiny.toml"
    path.write_text(text, encoding="utf-8")
    return ChipSpec.load(str(path))


@pytest.mark.parametrize("name", ["loihi1", "loihi2"])
def test_shipped_chips_are_complete(name: str) -> None:
    assert name in ChipSpec.names()
    chip = ChipSpec.load(name)
    assert chip.name == name
    assert set(chip.constants) == set(ChipSpec.load("loihi1").constants)
    for constant in chip.constants.values():
        assert constant.grade in GRADES
        assert constant.evidence in EVIDENCE
        assert constant.source and constant.conditions
        unit = {"pj": "pJ", "ns": "ns", "us": "µs", "mw": "mW", "bits": "bit"}
        assert constant.unit == unit.get(constant.name.rsplit("_", 1)[-1], constant.unit)


def test_published_numbers() -> None:
    """Davies et al. 2018 and Intel's brief, as the specification quotes them."""
    one, two = ChipSpec.load("loihi1"), ChipSpec.load("loihi2")
    assert one.integer("neurons_per_core") == 1024
    assert two.integer("neurons_per_core") == 8192
    assert one.integer("synaptic_memory_per_core_bits") == 16384 * 64
    assert one.band("synaptic_operation_dense_energy_pj").low == 23.6
    assert one.band("management_power_mw").nominal == 65
    assert one.band("static_power_mw") == Band(29.7, 29.7, 104)


@pytest.mark.parametrize(
    ("name", "factor"),
    [
        ("synaptic_operation_dense_energy_pj", 5),
        ("synaptic_operation_conv_energy_pj", 5),
        ("neuron_update_energy_pj", 2),
        ("message_energy_pj", 10),
    ],
)
def test_loihi2_energies_follow_their_stated_rule(name: str, factor: int) -> None:
    one, two = ChipSpec.load("loihi1").band(name), ChipSpec.load("loihi2").band(name)
    assert ChipSpec.load("loihi2")[name].grade == "assumed"
    assert two.low == pytest.approx(one.low / factor, rel=5e-3)  # three digits in the file
    assert two.nominal == pytest.approx(one.nominal / math.sqrt(factor), rel=5e-3)
    assert two.high == one.high


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    chip = load(tmp_path, GOOD)
    assert chip.integer("cores_per_chip") == 3
    assert chip.band("static_power_mw") == Band(1, 2.5, 4)
    assert chip.weakest_grade(chip.constants) == "assumed"
    assert chip.weakest_grade(["static_power_mw"]) == "measured"


def test_an_unknown_constant_is_never_guessed(tmp_path: Path) -> None:
    chip = load(tmp_path, GOOD)
    with pytest.raises(UsageError, match="neurons_per_core"):
        chip.band("neurons_per_core")
    with pytest.raises(UsageError, match="only as a band"):
        chip.integer("static_power_mw")


def test_unknown_chip() -> None:
    with pytest.raises(UsageError, match="loihi1, loihi2"):
        ChipSpec.load("loihi3")
    with pytest.raises(UsageError, match="no such chip"):
        ChipSpec.load("../chips/loihi1")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("value = 3", "value = 3\nvalu = 4", "unknown"),
        ('title = "A chip for tests"', "", "title"),
        ("[constants.static", 'colour = "red"\n[constants.static', "colour"),
        ("nominal = 2.5\n", "", "nominal"),
        ("nominal = 2.5", "nominal = 9", "not ordered"),
        ("low = 1", "low = -1", "not ordered"),
        ("low = 1", 'low = "1"', "not a number"),
        ("value = 3", "value = true", "not a number"),
        ("high = 4", "high = nan", "not a number"),
        ('grade = "measured"', 'grade = "guessed"', "grade"),
        ('evidence = "P"', 'evidence = "X"', "evidence"),
        ('source = "this test"', 'source = ""', "not a text"),
        ("[constants.static_power_mw]", "[constants.static_power_mw", "TOML"),
    ],
)
def test_bad_files_are_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in GOOD
    with pytest.raises(FileFormatError, match=message):
        load(tmp_path, GOOD.replace(old, new))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="absent"):
        ChipSpec.load(str(tmp_path / "absent.toml"))
