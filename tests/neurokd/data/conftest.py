"""A real HTTP server on loopback, which can refuse, break off and wait."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

import pytest

from neurokd.data.published import PublishedSet


class FileServer(ThreadingHTTPServer):
    """Serves ``files``; those in ``broken`` end after half of their bytes.

    A request sets ``asked`` and, once half of its file is sent, waits for ``go_on``.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.broken: set[str] = set()
        self.requests: Counter[str] = Counter()
        self.asked, self.go_on = Event(), Event()
        self.go_on.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: FileServer

    def do_GET(self) -> None:
        name = self.path.lstrip("/")
        self.server.requests[name] += 1
        if name not in self.server.files:
            self.send_error(404)
            return
        content = self.server.files[name]
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        try:
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            self.server.asked.set()
            self.server.go_on.wait(60)
            if name not in self.server.broken:
                self.wfile.write(content[len(content) // 2 :])
        except (BrokenPipeError, ConnectionResetError):
            pass  # the client was killed, as a test wants

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: pytest shows what fails."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    serving = FileServer()
    thread = Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield serving
    serving.go_on.set()
    serving.shutdown()
    serving.server_close()
    thread.join()


@pytest.fixture
def plain(server: FileServer) -> PublishedSet:
    """A set of two files, as they are, on the server."""
    server.files |= {"one.gz": b"1" + bytes(300_000), "two.gz": b"22"}
    files = {name: hashlib.md5(content).hexdigest() for name, content in server.files.items()}
    return PublishedSet("plain", "Plain/raw", server.url, files, tuple(files))
