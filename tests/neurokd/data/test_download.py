from __future__ import annotations

import hashlib
import io
import signal
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from neurokd.data.download import DownloadError, download
from neurokd.data.published import PublishedSet
from neurokd.errors import FileFormatError

if TYPE_CHECKING:
    from tests.neurokd.data.conftest import FileServer

CONTENTS = {"one": b"1" + bytes(300_000), "two": b"22"}


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def packed(server: FileServer, folder: str = "packed-py") -> PublishedSet:
    with io.BytesIO() as stream:
        with tarfile.open(fileobj=stream, mode="w:gz") as tar:
            for name, content in CONTENTS.items():
                info = tarfile.TarInfo(f"{folder}/{name}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        archive = stream.getvalue()
    server.files["packed.tar.gz"] = archive
    files = {"packed.tar.gz": md5(archive)}
    return PublishedSet("packed", "packed-py", server.url, files, ("one", "two"), unpack=".")


def below(root: Path) -> set[str]:
    """Every file below ``root`` but the locks."""
    files = (p.relative_to(root) for p in root.rglob("*") if p.is_file())
    return {str(file) for file in files if file.suffix != ".lock"}


def test_plain_files_arrive_once(
    plain: PublishedSet, server: FileServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        assert download(plain, tmp_path) == tmp_path / "Plain" / "raw"
    assert below(tmp_path) == {"Plain/raw/one.gz", "Plain/raw/two.gz"}
    assert (tmp_path / "Plain/raw/one.gz").read_bytes() == CONTENTS["one"]
    assert server.requests == {"one.gz": 1, "two.gz": 1}
    out, err = capsys.readouterr()
    assert not out and f"downloading plain from {server.url}" in err
    assert "one.gz" in err and "300.0/300.0 kB" in err


def test_an_archive_is_unpacked_and_not_kept(server: FileServer, tmp_path: Path) -> None:
    folder = download(packed(server), tmp_path)
    assert below(tmp_path) == {"packed-py/one", "packed-py/two"}
    assert (folder / "one").read_bytes() == CONTENTS["one"]


def test_an_incomplete_folder_is_replaced(server: FileServer, tmp_path: Path) -> None:
    published = packed(server)
    (download(published, tmp_path) / "two").unlink()
    assert (download(published, tmp_path) / "two").read_bytes() == b"22"


def test_another_server_can_be_named(server: FileServer, tmp_path: Path) -> None:
    here = packed(server)
    elsewhere = replace(here, base_url="http://192.0.2.1")
    assert published_files(download(elsewhere, tmp_path, base_url=f"{server.url}/")) == CONTENTS


def test_zips_in_a_zip_at_addresses_of_their_own(server: FileServer, tmp_path: Path) -> None:
    """As CIFAR10-DVS is published: a zip file a class, in one that has another name there."""

    def zipped(files: dict[str, bytes]) -> bytes:
        with io.BytesIO() as stream:
            with zipfile.ZipFile(stream, "w") as file:
                for name, content in files.items():
                    file.writestr(name, content)
            return stream.getvalue()

    outer = zipped({f"{kind}.zip": zipped({f"{kind}/0.aedat4": b"events"}) for kind in "ab"})
    server.files["files/123"] = outer
    published = PublishedSet(
        "dvs",
        "DVS",
        server.url,
        {"DVS.zip": md5(outer)},
        ("a", "b"),
        unpack="DVS",
        nested=True,
        paths={"DVS.zip": "files/123"},
    )
    download(published, tmp_path)
    assert below(tmp_path) == {"DVS/a/0.aedat4", "DVS/b/0.aedat4"}


def published_files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_wrong_hash_is_refused_and_the_file_deleted(
    plain: PublishedSet, server: FileServer, tmp_path: Path
) -> None:
    plain = replace(plain, files={**plain.files, "two.gz": "0" * 32})
    with pytest.raises(DownloadError) as caught:
        download(plain, tmp_path)
    line = caught.value.line()
    assert f"{server.url}/two.gz: this is not the published file" in line
    assert (
        "0" * 32 in line and md5(b"22") in line and "NEUROKD_DATA" in line and "Plain/raw" in line
    )
    assert not (tmp_path / "Plain").exists() and not any("two" in file for file in below(tmp_path))


def test_a_missing_file_is_an_error_of_the_server(
    plain: PublishedSet, server: FileServer, tmp_path: Path
) -> None:
    del server.files["two.gz"]
    with pytest.raises(DownloadError, match=r"two.gz: the server refuses .*404.*NEUROKD_DATA"):
        download(plain, tmp_path)
    assert not (tmp_path / "Plain").exists()


def test_no_network(plain: PublishedSet, tmp_path: Path, server: FileServer) -> None:
    server.shutdown()
    server.server_close()
    with pytest.raises(DownloadError, match=r"one.gz: .* cannot be downloaded .*NEUROKD_DATA"):
        download(plain, tmp_path)


def test_a_broken_download_goes_on_with_the_file_that_broke(
    plain: PublishedSet, server: FileServer, tmp_path: Path
) -> None:
    server.broken = {"two.gz"}
    with pytest.raises(DownloadError, match=r"two.gz: .* cannot be downloaded"):
        download(plain, tmp_path)
    assert not (tmp_path / "Plain").exists()
    server.broken = set()
    download(plain, tmp_path)
    assert server.requests == {"one.gz": 1, "two.gz": 2}
    assert below(tmp_path) == {"Plain/raw/one.gz", "Plain/raw/two.gz"}


def test_an_archive_without_the_set_is_refused(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"packed.tar.gz: .*does not hold.*packed-py/one"):
        download(packed(server, folder="something"), tmp_path)
    assert not (tmp_path / "packed-py").exists()


def test_a_place_that_cannot_be_written(plain: PublishedSet, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DownloadError, match="cannot be written"):
        download(plain, tmp_path / "file")


def start(server: FileServer, root: Path) -> subprocess.Popen[str]:
    """The same download in a process of its own."""
    published = packed(server)
    script = (
        "from pathlib import Path; from neurokd.data.download import download; "
        "from neurokd.data.published import PublishedSet; "
        f"download({published!r}, Path({str(root)!r}))"
    )
    return subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)


def test_two_processes_download_once(server: FileServer, tmp_path: Path) -> None:
    server.go_on.clear()
    with start(server, tmp_path) as first:
        assert server.asked.wait(60)
        with start(server, tmp_path) as second:
            assert second.stderr is not None
            assert "another process, waiting for it" in second.stderr.readline()
            server.go_on.set()
            assert first.wait(60) == 0 and second.wait(60) == 0
    assert server.requests == {"packed.tar.gz": 1}
    assert published_files(tmp_path / "packed-py") == CONTENTS


def test_killed_and_started_again(server: FileServer, tmp_path: Path) -> None:
    server.go_on.clear()
    with start(server, tmp_path) as process:
        assert server.asked.wait(60)
        process.send_signal(signal.SIGKILL)
    assert not (tmp_path / "packed-py").exists()
    server.go_on.set()
    assert published_files(download(packed(server), tmp_path)) == CONTENTS
    assert below(tmp_path) == {"packed-py/one", "packed-py/two"}
