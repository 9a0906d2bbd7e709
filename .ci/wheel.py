"""Builds the wheel, as a user would get it, and tries it from outside the checkout."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path

import tomllib

ROOT = Path(__file__).resolve().parent.parent
PROBE = """
import sys, importlib, pathlib, neurokd
home = pathlib.Path(neurokd.__file__).resolve()
assert home.is_relative_to(sys.prefix), f"neurokd was imported from {home}"
for name in sys.argv[1:]:
    importlib.import_module(name)
from neurokd.config import preset_names
from neurokd.data import load_data
assert preset_names(), "no presets in the wheel"
assert len(load_data("mnist-subset:test")) == 1000, "no MNIST subset in the wheel"
"""


def main() -> None:
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"][
        "packages"
    ]
    with tempfile.TemporaryDirectory(prefix="neurokd-wheel-") as temporary:
        folder = Path(temporary)
        # Without an output option, `build` makes the wheel from the sdist: both are tested.
        call(sys.executable, "-m", "build", "--no-isolation", "--outdir", temporary, str(ROOT))
        wheel = next(folder.glob("*.whl"))
        check_content(wheel)
        python = throwaway_environment(folder / "venv", wheel)
        call(str(python), "-c", PROBE, *packages, cwd=folder)
        command = str(python.parent / "neurokd")
        for arguments in (["--help"], ["presets"], ["doctor", "--json"]):
            call(command, *arguments, cwd=folder)
        print(f"{wheel.name}: built, installed and run outside the checkout")


def check_content(wheel: Path) -> None:
    """Every file of the packages is in the wheel, and nothing else is at its top."""
    names = set(zipfile.ZipFile(wheel).namelist())
    top = {name.split("/")[0] for name in names}
    if stray := {name for name in top if name != "neurokd" and not name.endswith(".dist-info")}:
        sys.exit(f"the wheel leaks {', '.join(sorted(stray))} into site-packages")
    files = {
        file.relative_to(ROOT)
        for folder in ("neurokd", "export", "hardware")
        for file in (ROOT / folder).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    inside = Path("neurokd")
    expected = {str(f if f.is_relative_to(inside) else inside / f) for f in files}
    if missing := expected - names:
        sys.exit(f"the wheel lacks {', '.join(sorted(missing))}")


def throwaway_environment(folder: Path, wheel: Path) -> Path:
    """A new environment with the wheel; its dependencies are those of the main environment."""
    call(sys.executable, "-m", "venv", str(folder))
    python = folder / "bin" / "python"
    install = ["-m", "pip", "install", "-qq", "--disable-pip-version-check", "--no-deps"]
    call(str(python), *install, "--no-index", str(wheel))
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    link = folder / "lib" / version / "site-packages" / "dependencies.pth"
    # A path that a .pth file adds has its own .pth files ignored: the editable neurokd stays out.
    link.write_text(sysconfig.get_paths()["purelib"] + "\n")
    return python


def call(*command: str, cwd: Path | None = None) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}failed: {done.returncode}")


if __name__ == "__main__":
    main()
