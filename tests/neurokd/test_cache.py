import threading
from pathlib import Path

import pytest

from neurokd.cache import cache_folder, lock


def test_the_folder_is_the_one_named_else_the_user_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEUROKD_CACHE", "relative")
    assert cache_folder() == Path.cwd() / "relative"
    monkeypatch.delenv("NEUROKD_CACHE")
    assert cache_folder().name == "neurokd" and cache_folder().is_absolute()


def test_the_second_holder_waits_and_says_so(tmp_path: Path) -> None:
    path, waits, order = tmp_path / "deep" / "a.lock", threading.Event(), []

    def second() -> None:
        with lock(path, waits.set):
            order.append("second")

    with lock(path, lambda: pytest.fail("nobody holds it")):
        other = threading.Thread(target=second)
        other.start()
        assert waits.wait(60)
        order.append("first")
    other.join()
    assert order == ["first", "second"]
