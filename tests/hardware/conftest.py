"""What the tests of the hardware side share: one Lava worker for all of them."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from neurokd.hardware.lava_environment import lava_status
from neurokd.hardware.lava_process import LavaWorker


@pytest.fixture(scope="session")
def lava_python() -> str:
    """The interpreter that has Lava; without one the test is skipped, and fails in CI."""
    status = lava_status()
    if not status.available or status.python is None:
        reason = f"no Lava: {status.reason}"
        if os.environ.get("CI") == "true":
            pytest.fail(f"{reason} (CI=true: this is no reason to skip)", pytrace=False)
        pytest.skip(reason)
    return status.python


@pytest.fixture(scope="session")
def lava_worker(lava_python: str) -> Iterator[LavaWorker]:
    """One worker that serves every test."""
    with LavaWorker(lava_python, time_limit_s=120) as worker:
        yield worker
