"""The interpreter that runs Lava: found, or built from a Python 3.10 and lava_requirements.txt."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from neurokd.atomic import write_text
from neurokd.cache import cache_folder, lock
from neurokd.errors import BackendFailedError, BackendUnavailableError

PYTHON_VERSION = "3.10"
_REQUIREMENTS = Path(__file__).with_name("lava_requirements.txt")
_MARKER = "neurokd-lava.json"
_PROBE_LIMIT_S = 60
_PROBE = """
import importlib.metadata, importlib.util, json, numpy, safetensors.numpy
spec = importlib.util.find_spec("lava.proc.lif.models")
print(json.dumps(importlib.metadata.version("lava-nc") if spec else None))
"""
_FULL_PROBE = """
import lava.proc.conv.models, lava.proc.dense.models, lava.proc.lif.models
import lava.proc.sdn.models, lava.proc.sparse.models
import lava.magma.compiler.compiler, lava.magma.core.run_configs
"""
_BASE_PROBE = "import ensurepip, sys, venv; print(*sys.version_info[:2], sep='.')"


@dataclass(frozen=True)
class LavaStatus:
    """Whether Lava can run here: the interpreter and its Lava's version, or why not."""

    available: bool
    python: str | None
    lava: str | None
    reason: str | None

    def to_dict(self) -> dict[str, Any]:
        """The status as JSON."""
        return asdict(self)


def lava_status() -> LavaStatus:
    """The interpreter that runs Lava, found in under a second and without building anything.

    In this order: the one that ``NEUROKD_LAVA_PYTHON`` names, and no other if it is set; this one,
    if it has Lava; the environment that `install_lava` builds.
    """
    if sys.platform != "linux":
        return LavaStatus(False, None, None, f"the Lava worker needs Linux, this is {sys.platform}")
    if named := os.environ.get("NEUROKD_LAVA_PYTHON"):
        version, problem = _probe(named)
        if problem is None:
            return LavaStatus(True, named, version, None)
        return LavaStatus(False, named, None, f"NEUROKD_LAVA_PYTHON={named}: {problem}")
    version, problem = _probe(sys.executable)
    if problem is None:
        return LavaStatus(True, sys.executable, version, None)
    return _built_status(environment_folder())


def install_lava(progress: Callable[[str], None] | None = None) -> LavaStatus:
    """Build the environment that runs Lava, unless there is one; ``progress`` hears of each step.

    It is built beside its place and renamed, under a lock that dies with its holder, so that two
    installations at once do it once. Raises: `BackendUnavailableError` (no Python 3.10),
    `BackendFailedError` (pip or the finished environment failed).
    """
    say = progress or (lambda line: None)
    status = lava_status()
    if status.available or os.environ.get("NEUROKD_LAVA_PYTHON") or sys.platform != "linux":
        if not status.available:
            raise BackendUnavailableError(
                "Lava cannot be installed into an interpreter of yours",
                where="lava install",
                found=status.reason or "",
                remedy="unset NEUROKD_LAVA_PYTHON, or install lava-nc and safetensors there",
            )
        return status
    folder = environment_folder()
    waiting = "another installation is under way, waiting for it"
    with lock(folder.parent / "lava.lock", lambda: say(waiting)):
        status = _built_status(folder)
        if status.available:
            return status
        base = find_python()
        say(f"building {folder} from {base}")
        _build(base, folder, say)
        status = _built_status(folder)
    if not status.available:
        raise BackendFailedError(
            "the new environment does not work", where=str(folder), found=status.reason or ""
        )
    return status


def environment_folder() -> Path:
    """Where `install_lava` builds: named by the hash of the pins and the Python version."""
    content = f"{_REQUIREMENTS.read_text()}\n{PYTHON_VERSION}"
    return cache_folder() / f"lava-{hashlib.sha256(content.encode()).hexdigest()[:12]}"


def find_python() -> str:
    """A Python 3.10 that can build environments; `BackendUnavailableError` says where it looked."""
    looked = []
    for origin, candidate in _candidates():
        if candidate is None:
            looked.append(f"{origin}: none")
            continue
        code, output = _run([candidate, "-I", "-c", _BASE_PROBE])
        if code == 0 and output == PYTHON_VERSION:
            return candidate
        looked.append(f"{origin}: {candidate} is unusable: {output or f'exit status {code}'}")
    raise BackendUnavailableError(
        f"there is no Python {PYTHON_VERSION}, the only one that Lava runs on",
        where="lava install",
        found="; ".join(looked),
        remedy=f"install one (`uv python install {PYTHON_VERSION}` or your system's package), "
        "or name an interpreter that has lava-nc in NEUROKD_LAVA_PYTHON",
    )


def _candidates() -> Iterator[tuple[str, str | None]]:
    if sys.version_info[:2] == (3, 10):
        yield "this interpreter", sys.executable
    yield f"python{PYTHON_VERSION} on PATH", shutil.which(f"python{PYTHON_VERSION}")
    roots = [Path.home() / ".pyenv"]
    if named := os.environ.get("PYENV_ROOT"):
        roots.insert(0, Path(named))
    if shutil.which("pyenv"):
        code, output = _run(["pyenv", "root"])
        roots += [Path(output)] if code == 0 and output else []
    for root in dict.fromkeys(roots):
        versions = sorted(root.glob(f"versions/{PYTHON_VERSION}*/bin/python"), reverse=True)
        yield from ((f"pyenv in {root}", str(python)) for python in versions)
        if not versions:
            yield f"pyenv in {root}", None
    if shutil.which("uv"):
        code, output = _run(["uv", "python", "find", "--no-project", PYTHON_VERSION])
        yield "uv", output if code == 0 and output else None
    else:
        yield "uv", None


def _build(base: str, folder: Path, say: Callable[[str], None]) -> None:
    for stale in folder.parent.glob(
        f".{folder.name}.*"
    ):  # of a build that was killed: we hold the lock
        shutil.rmtree(stale)
    beside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        _run_or_fail([base, "-I", "-m", "venv", str(beside)], "venv", say)
        pip = [str(beside / "bin" / "python"), "-I", "-m", "pip", "--disable-pip-version-check"]
        install = ["install", "--no-input", "--progress-bar", "off", "-r", str(_REQUIREMENTS)]
        _run_or_fail(pip + install, "pip", say)
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(beside, folder)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    # After the rename only bin/python is used (scripts keep the old path), and it is checked in
    # place; without the marker the environment does not count as built.
    python = str(folder / "bin" / "python")
    say("checking that Lava imports")
    _run_or_fail([python, "-I", "-c", _FULL_PROBE], "import of Lava", say)
    version, problem = _probe(python)
    if problem is not None:
        raise BackendFailedError(
            "the new environment has no Lava", where=str(folder), found=problem
        )
    write_text(folder / _MARKER, json.dumps({"lava": version, "base": base}) + "\n")


def _built_status(folder: Path) -> LavaStatus:
    python, marker = folder / "bin" / "python", folder / _MARKER
    if not marker.is_file():
        reason = f"not installed: no environment at {folder}; run `neurokd lava install`"
        return LavaStatus(False, None, None, reason)
    version, problem = _probe(str(python))
    if problem is not None:
        reason = f"the environment at {folder} is broken: {problem}; run `neurokd lava install`"
        return LavaStatus(False, str(python), None, reason)
    return LavaStatus(True, str(python), version, None)


def _probe(python: str) -> tuple[str | None, str | None]:
    """(Lava's version, None), or (None, what is wrong). Isolated, as the worker runs."""
    code, output = _run([python, "-I", "-c", _PROBE])
    if code != 0:
        return None, output or f"exit status {code}"
    try:
        version = json.loads(output)
    except ValueError:
        return None, f"it is not a Python: it printed {output[:80]!r}"
    return (str(version), None) if version else (None, "it has no lava-nc")


def _run(command: list[str]) -> tuple[int, str]:
    """Exit status and last line of output of a short command."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PROBE_LIMIT_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return 127, str(error)
    text = done.stdout if done.returncode == 0 else done.stderr or done.stdout
    lines = text.strip().splitlines()
    return done.returncode, lines[-1].strip() if lines else ""


def _run_or_fail(command: list[str], name: str, say: Callable[[str], None]) -> None:
    tail: deque[str] = deque(maxlen=20)
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip():
                tail.append(line.strip())
                say(line.strip())
    if process.returncode != 0:
        errors = [line for line in tail if line.startswith("ERROR:")]
        raise BackendFailedError(
            f"{name} failed with exit status {process.returncode}",
            where="lava install",
            found=(errors or list(tail) or [""])[-1],
            remedy="a network or an index with the pinned packages is needed once",
        )
