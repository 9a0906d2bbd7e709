"""Every example runs in its fast mode; its own assertions are the test."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("[0-9][0-9]_*.py"))
TRAIN = {
    ROOT / "examples" / f"{name}.py"
    for name in (
        "01_distill_and_deploy",
        "06_train_in_integers",
        "07_distil_your_own",
        "08_event_camera",
        "09_learn_without_forgetting",
        "10_spiking_sdmlp",
    )
}


def _parameter(path: Path) -> object:
    return pytest.param(path, id=path.stem, marks=[pytest.mark.training] * (path in TRAIN))


def test_examples_are_numbered_in_order() -> None:
    assert len(EXAMPLES) >= 5
    assert [int(path.name[:2]) for path in EXAMPLES] == list(range(1, len(EXAMPLES) + 1))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("path", [_parameter(path) for path in EXAMPLES])
def test_example(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(path.parent))  # as `python examples/NAME.py` has it
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.main(fast=True)
