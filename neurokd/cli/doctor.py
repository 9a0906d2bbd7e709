"""`neurokd doctor`: what is installed here, and what will work with it."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from neurokd import __version__
from neurokd.cli import console
from neurokd.cli.options import Json

PACKAGES = (
    "torch", "lightning-fabric", "kornia", "snntorch", "nir", "h5py", "numpy", "scipy",
    "safetensors", "onnx", "onnxruntime", "pydantic", "typer", "matplotlib", "tonic",
    "tensorboard", "ray", "lava-nc", "lava-dl",
)  # fmt: skip


def run(as_json: Json = False) -> int:
    """Versions, devices, Lava, data: what works here, what not."""
    report = examine()
    if as_json:
        console.result_json(report)
    else:
        _print(report)
    return 0


def examine() -> dict[str, Any]:
    """Everything that `doctor` reports, as JSON."""
    from neurokd.cache import cache_folder
    from neurokd.hardware.lava_environment import lava_status

    packages = {name: _version(name) for name in PACKAGES}
    torch_reason, devices = _torch_devices()
    lava = lava_status().to_dict()
    data = _data()
    return {
        "neurokd": __version__,
        "python": platform.python_version(),
        "interpreter": sys.executable,
        "world": world(sys.version_info[:2], packages),
        "packages": packages,
        "devices": devices,
        "lava": lava,
        "data": data,
        "cache": str(cache_folder()),
        "capabilities": _capabilities(packages, torch_reason, lava),
    }


def world(python: tuple[int, int], packages: dict[str, str | None]) -> str:
    """Which of the two tested worlds this is, if one."""
    if python >= (3, 11):
        return "modern (Python 3.11 to 3.13, torch 2.13; Lava in a process of its own)"
    if packages["lava-dl"]:
        return "full (Python 3.10 with lava-dl, torch 2.3 and numpy 1.26)"
    return "Python 3.10 without lava-dl (`pip install 'neurokd[lava-dl]'` makes it the full world)"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _torch_devices() -> tuple[str | None, list[str]]:
    """Why torch cannot be used, if so, and the devices it can compute on."""
    try:
        import torch
    except (ImportError, OSError) as error:
        return f"torch cannot be imported: {error}", []
    devices = [f"cpu ({torch.get_num_threads()} threads)"]
    if torch.cuda.is_available():
        devices += [
            f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count())
        ]
    return None, devices


def _data() -> dict[str, Any]:
    from neurokd.data.folder import find_data
    from neurokd.data.load import PUBLISHED_SETS

    here = {name: find_data(each) is not None for name, each in PUBLISHED_SETS.items()}
    return {"folder": os.environ.get("NEUROKD_DATA"), "sets": {"mnist-subset": True, **here}}


def _capabilities(
    packages: dict[str, str | None],
    torch_reason: str | None,
    lava: dict[str, Any],
) -> list[dict[str, Any]]:
    """What a user may want to do, each with the reason why it will not work, or none."""

    def needs(*names: str) -> str | None:
        missing = [name for name in names if not packages[name]]
        return f"not installed: {', '.join(missing)}" if missing else None

    def extra(name: str, package: str) -> str | None:
        return None if packages[package] else f"pip install 'neurokd[{name}]' adds it"

    lava_dl = needs("lava-dl")
    if lava_dl and sys.version_info >= (3, 11):
        lava_dl = "lava-dl runs on Python 3.10 only"
    reasons = {
        "train (snnTorch)": torch_reason or needs("snntorch"),
        "train (lava-dl SLAYER)": torch_reason or lava_dl,
        "export to NIR and Loihi": torch_reason or needs("nir", "h5py", "safetensors"),
        "export to ONNX, run it": needs("onnx", "onnxruntime"),
        "run on the emulator": needs("numpy", "safetensors"),
        "run on Lava": None if lava["available"] else str(lava["reason"]),
        "data of event cameras": extra("events", "tonic"),
        "curves for TensorBoard": extra("tensorboard", "tensorboard"),
        "reproduce on Ray": extra("ray", "ray"),
    }
    return [
        {"name": name, "works": reason is None, "reason": reason}
        for name, reason in reasons.items()
    ]


def _print(report: dict[str, Any]) -> None:
    lava, data = report["lava"], report["data"]
    facts = [
        ("neurokd", report["neurokd"]),
        ("Python", f"{report['python']} ({report['interpreter']})"),
        ("world", report["world"]),
        ("devices", ", ".join(report["devices"]) or "none"),
        ("Lava", f"{lava['lava']} ({lava['python']})" if lava["available"] else lava["reason"]),
        ("data folder", data["folder"] or "NEUROKD_DATA is not set"),
        ("cache folder", report["cache"]),
        *((name, found or "not installed") for name, found in report["packages"].items()),
    ]
    console.result(console.table(facts))
    console.result("")
    for capability in report["capabilities"]:
        mark, reason = ("yes", "") if capability["works"] else ("NO ", f": {capability['reason']}")
        console.result(f"{mark}  {capability['name']}{reason}")
    console.result("")
    for title, wanted in (("data sets here", True), ("downloaded on first use", False)):
        names = [name for name, here in data["sets"].items() if here is wanted]
        if names:
            console.result(f"{title}: {', '.join(names)}")
