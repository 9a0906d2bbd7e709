import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from neurokd.data.archive import unpack
from neurokd.errors import FileFormatError


def tar_of(path: Path, *members: tuple[tarfile.TarInfo, bytes], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for member, content in members:
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, 0o4755
    return info


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_files_and_folders_are_written(tmp_path: Path, mode: str) -> None:
    archive = tar_of(
        tmp_path / "a.tar",
        (member("set", tarfile.DIRTYPE), b""),
        (member("./set/one"), b"1"),
        (member("set/deep/two"), b"22"),
        mode=mode,
    )
    (target := tmp_path / "out").mkdir()
    unpack(archive, target)
    files = {str(p.relative_to(target)): p.read_bytes() for p in target.rglob("*") if p.is_file()}
    assert files == {"set/one": b"1", "set/deep/two": b"22"}
    assert not (target / "set" / "one").stat().st_mode & 0o4111  # neither set-uid nor executable


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (member("../outside"), "leads outside"),
        (member("set/../../outside"), "leads outside"),
        (member("/outside"), "leads outside"),
        (member("C:\\outside"), "leads outside"),
        (member("set", tarfile.SYMTYPE, ".."), "other than files"),
        (member("set", tarfile.LNKTYPE, "../outside"), "other than files"),
        (member("set", tarfile.FIFOTYPE), "other than files"),
        (member("set", tarfile.CHRTYPE), "other than files"),
    ],
)
def test_nothing_is_written_outside(tmp_path: Path, bad: tarfile.TarInfo, message: str) -> None:
    archive = tar_of(tmp_path / "a.tar", (bad, b""), (member("set/file"), b"x"))
    (target := tmp_path / "out").mkdir()
    with pytest.raises(FileFormatError, match=message):
        unpack(archive, target)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["a.tar", "out"]


@pytest.mark.parametrize("content", [b"", b"no tar file", None])
def test_a_broken_archive_is_refused(tmp_path: Path, content: bytes | None) -> None:
    archive = tar_of(tmp_path / "a.tar", (member("file"), bytes(range(256)) * 100))
    archive.write_bytes(archive.read_bytes()[:-40] if content is None else content)
    (target := tmp_path / "out").mkdir()
    with pytest.raises(FileFormatError, match="not a complete"):
        unpack(archive, target)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    info = member("zeros")
    info.size = 33 << 30
    archive = tmp_path / "a.tar"
    archive.write_bytes(info.tobuf() + bytes(10240))
    (target := tmp_path / "out").mkdir()
    with pytest.raises(FileFormatError, match="larger than any data set"):
        unpack(archive, target)
    assert not list(target.iterdir())


def zip_of(path: Path, *members: tuple[str, int, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, mode, content in members:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            file.writestr(info, content)
    return path


def test_a_zip_is_unpacked_too(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "a.zip", ("set/", 0o40755, b""), ("set/one", 0o104755, b"1"))
    (target := tmp_path / "out").mkdir()
    unpack(archive, target)
    assert (target / "set" / "one").read_bytes() == b"1"
    assert not (target / "set" / "one").stat().st_mode & 0o4111


@pytest.mark.parametrize(
    ("name", "mode", "message"),
    [
        ("../outside", 0, "leads outside"),
        ("/outside", 0, "leads outside"),
        ("set", 0o120777, "other than files"),
    ],
)
def test_nothing_of_a_zip_is_written_outside(
    tmp_path: Path, name: str, mode: int, message: str
) -> None:
    archive = zip_of(tmp_path / "a.zip", (name, mode, b".."))
    (target := tmp_path / "out").mkdir()
    with pytest.raises(FileFormatError, match=message):
        unpack(archive, target)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["a.zip", "out"]


@pytest.mark.parametrize("damage", ["cut", "checksum"])
def test_a_broken_zip_is_refused(tmp_path: Path, damage: str) -> None:
    archive = zip_of(tmp_path / "a.zip", ("one", 0, bytes(range(256))))
    content = bytearray(archive.read_bytes())
    if damage == "cut":
        del content[-10:]
    else:
        content[60] ^= 1
    archive.write_bytes(content)
    (target := tmp_path / "out").mkdir()
    with pytest.raises(FileFormatError, match="not a complete"):
        unpack(archive, target)
