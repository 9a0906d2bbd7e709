from pathlib import Path

import pytest

from neurokd import atomic


def test_a_file_is_replaced_in_one_step(tmp_path: Path) -> None:
    atomic.write_text(tmp_path / "deep" / "a.txt", "one")
    atomic.write_text(tmp_path / "deep" / "a.txt", "two")
    assert (tmp_path / "deep" / "a.txt").read_text() == "two"
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["a.txt"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = atomic.write_text(tmp_path / "a.txt", "old")
    with pytest.raises(TypeError):
        atomic.write_bytes(path, 5)  # type: ignore[arg-type]
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_files_of_a_folder_appear_together_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with atomic.folder(target) as folder:
        (folder / "a").write_text("1")
        assert not target.exists()
    with pytest.raises(RuntimeError), atomic.folder(target) as folder:
        (folder / "b").write_text("2")
        raise RuntimeError
    assert [p.name for p in target.iterdir()] == ["a"]
    with atomic.folder(target) as folder:
        (folder / "c").write_text("3")
    assert sorted(p.name for p in target.iterdir()) == ["a", "c"]  # what was there stays
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
