"""What is shipped: the packages, the links, the pins, and what an import costs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

import neurokd

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
SETTINGS: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SETUPTOOLS = SETTINGS["tool"]["setuptools"]
HOMES = {"neurokd": "neurokd", "neurokd.export": "export", "neurokd.hardware": "hardware"}


def _packages_on_disk() -> set[str]:
    found = set()
    for package, folder in HOMES.items():
        for file in (ROOT / folder).rglob("__init__.py"):
            inner = file.parent.relative_to(ROOT / folder)
            linked = package == "neurokd" and inner.parts[:1] in {("export",), ("hardware",)}
            if not linked:
                found.add(".".join((package, *inner.parts)))
    return found


def test_every_package_is_listed() -> None:
    assert SETUPTOOLS["package-dir"] == HOMES
    assert set(SETUPTOOLS["packages"]) == _packages_on_disk()


@pytest.mark.parametrize("name", ["export", "hardware"])
def test_links_are_links(name: str) -> None:
    link = ROOT / "neurokd" / name
    assert link.is_symlink() and link.resolve() == ROOT / name


def test_package_data_exists() -> None:
    for package, patterns in SETUPTOOLS["package-data"].items():
        folder = ROOT / HOMES.get(package, package.replace(".", "/"))
        for pattern in patterns:
            assert list(folder.glob(pattern)), f"{package} ships {pattern}, but there is none"


def test_importing_neurokd_brings_nothing_heavy() -> None:
    heavy = ("torch", "numpy", "onnx", "nir", "matplotlib", "scipy", "h5py", "pydantic", "typer")
    code = f"import sys, neurokd; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", neurokd.__all__)
def test_public_name_exists(name: str) -> None:
    assert getattr(neurokd, name) is not None


def test_unknown_public_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        neurokd.nonsense  # noqa: B018


@pytest.mark.parametrize("python", ["3.10", "3.11"])
def test_every_dependency_is_pinned_once_in_each_world(python: str) -> None:
    environment = {"python_version": python}
    pins: dict[str, str] = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            pin = Requirement(line)
            if pin.marker is None or pin.marker.evaluate(environment):
                assert pin.name not in pins, f"{pin.name} is pinned twice for Python {python}"
                pins[pin.name] = re.sub("^==", "", str(pin.specifier))
    project = SETTINGS["project"]
    extras = project["optional-dependencies"]
    named = ["lava-dl", "test", "events", "tensorboard"]
    if python == "3.11":
        named += ["dev", "ray"]
    wanted = project["dependencies"] + [line for name in named for line in extras[name]]
    for line in wanted:
        if line.startswith("neurokd["):
            continue
        need = Requirement(line)
        if need.marker is None or need.marker.evaluate(environment):
            assert need.name in pins, f"{need.name} has no pin for Python {python}"
            assert need.specifier.contains(pins[need.name]), f"{line} excludes its own pin"
