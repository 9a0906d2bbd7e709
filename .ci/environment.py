"""Builds the environments of this checkout: `main` in .venv, the others in the cache.

`python3 .ci/environment.py main` needs Python 3.11 to 3.13 and its standard library only.
`.venv/bin/python .ci/environment.py NAME` comes after it: `full` (Python 3.10), or a client of the
conformance matrix, `spikingjelly` or `norse`. Each prints the interpreter on stdout.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CLIENTS = ("spikingjelly", "norse")
STAMP = "neurokd-built-from"  # written last: an environment without it was interrupted


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def settings() -> dict[str, Any]:
    import tomllib  # here, so that an older Python gets as far as being told that it is too old

    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def digest(*parts: object) -> str:
    """Names what an environment is built from: the pins, and what else it depends on."""
    state = hashlib.sha256((ROOT / "constraints.txt").read_bytes())
    state.update(json.dumps(parts, sort_keys=True).encode())
    return state.hexdigest()[:16]


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Only one process builds; the others wait and then find it built."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def is_built(folder: Path, key: str) -> bool:
    stamp = folder / STAMP
    return stamp.is_file() and stamp.read_text() == key


def install(python: Path, *requirements: str, constraints: Path = ROOT / "constraints.txt") -> None:
    command = [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    command += ["-c", str(constraints), *requirements]
    subprocess.run(command, check=True, stdout=sys.stderr)


def main_environment() -> Path:
    """.venv, in which neurokd is installed from this checkout; reused while its pins hold."""
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        sys.exit(f"{sys.executable} is Python {sys.version.split()[0]}; 3.11 to 3.13 is needed")
    folder = ROOT / ".venv"
    python = folder / "bin" / "python"
    # The folder is part of the key: an editable install names the checkout it belongs to.
    found = settings()
    key = digest(found["project"], found["tool"]["setuptools"], sys.version, str(ROOT))
    with lock(ROOT / ".venv.lock"):
        if not is_built(folder, key):
            say(f"building {folder} (a few minutes, once)")
            shutil.rmtree(folder, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
            install(python, "-e", f"{ROOT}[dev]")
            (folder / STAMP).write_text(key)
    return python


def full_environment() -> Path:
    """Python 3.10 with lava-dl and all that neurokd needs, but not neurokd itself.

    The tests import neurokd from the checkout, so every checkout with these pins shares it.
    """
    from neurokd.cache import cache_folder
    from neurokd.errors import BackendUnavailableError
    from neurokd.hardware.lava_environment import find_python

    try:
        base = find_python()
    except BackendUnavailableError as error:
        sys.exit(error.line())
    project = settings()["project"]
    extras = project["optional-dependencies"]
    needed = ("lava-dl", "events", "tensorboard", "test")
    requirements = [*project["dependencies"], *(r for extra in needed for r in extras[extra])]
    requirements = [r for r in requirements if not r.startswith("neurokd[")]
    key = digest(requirements, base)
    folder = cache_folder() / f"full-{key}"
    with lock(folder.with_suffix(".lock")):
        if not is_built(folder, key):
            say(f"building {folder} (Python 3.10 with lava-dl and torch 2.3.1: 6 GB, once)")
            with fresh(folder, base, key) as python:
                install(python, *requirements)
    return folder / "bin" / "python"


def client_environment(client: str) -> Path:
    """Another framework that reads and writes NIR, on this Python, with nothing it does not import.

    Its constraints file pins every package, so that pip resolves nothing and takes no other torch;
    its last line is the client, which is built, where it has to be, with what stands above it.
    """
    from neurokd.cache import cache_folder

    pins = ROOT / ".ci" / f"constraints-{client}.txt"
    text = pins.read_text(encoding="utf-8")
    *others, last = (line for line in text.splitlines() if line and line[0] != "#")
    base = sys.version
    key = hashlib.sha256(json.dumps([others, last, base]).encode()).hexdigest()[:16]
    folder = cache_folder() / f"{client}-{key}"
    with lock(folder.with_suffix(".lock")):
        if not is_built(folder, key):
            say(f"building {folder} ({last}: 1 GB, once)")
            with fresh(folder, sys.executable, key) as python:
                install(python, "--no-deps", *others, constraints=pins)
                install(python, "--no-deps", "--no-build-isolation", last, constraints=pins)
    return folder / "bin" / "python"


@contextmanager
def fresh(folder: Path, base: str, key: str) -> Iterator[Path]:
    """An empty environment beside ``folder``; it takes that name once the block has filled it."""
    beside = folder.with_suffix(".partial")
    shutil.rmtree(beside, ignore_errors=True)
    subprocess.run([base, "-m", "venv", str(beside)], check=True)
    yield beside / "bin" / "python"
    (beside / STAMP).write_text(key)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(beside, folder)


if __name__ == "__main__":
    builders: dict[str, Callable[[], Path]] = {"main": main_environment, "full": full_environment}
    builders |= {client: partial(client_environment, client) for client in CLIENTS}
    if len(sys.argv) != 2 or sys.argv[1] not in builders:
        sys.exit(__doc__)
    try:
        print(builders[sys.argv[1]]())
    except subprocess.CalledProcessError as error:
        sys.exit(f"this step failed: {' '.join(error.cmd)}")
