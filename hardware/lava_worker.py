"""The process that runs Lava: a plain script for an interpreter that has lava-nc.

No other module imports it. Protocol: one JSON request a line on stdin, JSON answers on what was
stdout when it started; all else that is printed goes to stderr. The worker ends when stdin closes,
and its processes end with it.
"""

from __future__ import annotations

import ctypes
import json
import multiprocessing
import os
import queue
import select
import signal
import sys
import threading
import time
import traceback
import types
from importlib.metadata import version
from importlib.util import module_from_spec, spec_from_file_location
from typing import Any

FORMAT = "neurokd.deployed/1"
_POLL_S = 0.1
_GRACE_S = 2.0
"""How long Lava may take to report a dead process by itself, with its own message."""
_PR_SET_PDEATHSIG = 1


class BadRequest(Exception):
    """A request that was refused before any process of Lava existed; the worker stays usable."""


def beside(name: str) -> types.ModuleType:
    """A module of this folder, which is not on the path, where its files would shadow others."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), f"{name}.py")
    spec = spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


lava_network = beside("lava_network")


def read_network(path: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Structure and tensors of a deployed network; the parent has validated it."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as stream:
        structure = json.loads((stream.metadata() or {}).get("neurokd", "null"))
        tensors = {key: stream.get_tensor(key) for key in stream.keys()}  # noqa: SIM118
    if not isinstance(structure, dict) or structure.get("format") != FORMAT:
        raise BadRequest(f"{path} is not of format {FORMAT}")
    return structure, tensors


def build(request: dict[str, Any]) -> Any:
    """The network of a request, all its processes connected."""
    from safetensors.numpy import load_file

    structure, tensors = read_network(request["network"])
    inputs = load_file(request["input"])["input"]
    return lava_network.build(
        structure, tensors, inputs, request["steps"], request["record"], request["folder"]
    )


class Worker:
    """Answers requests one after another; a thread watches the processes of the one that runs."""

    def __init__(self, request_fd: int, answer_fd: int) -> None:
        self.requests: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self.request_fd = request_fd
        self.answer_fd = answer_fd
        self.lock = threading.Lock()

    def answer(self, **content: Any) -> None:
        """Write one line of the protocol."""
        line = (json.dumps(content) + "\n").encode()
        with self.lock:
            while line:
                line = line[os.write(self.answer_fd, line) :]

    def read_requests(self) -> None:
        """Take lines from the parent; when it is gone, so is everything here."""
        buffer, parent = b"", os.getppid()
        # a process that the parent forked may hold the pipe open after it, so its id is asked too
        while os.getppid() == parent:
            if not select.select([self.request_fd], [], [], 1.0)[0]:
                continue
            chunk = os.read(self.request_fd, 1 << 16)
            if not chunk:
                break
            *lines, buffer = (buffer + chunk).split(b"\n")
            for line in lines:
                self.requests.put(line.decode())
        # SIGKILL, so that nothing can hold it up: the kernel ends the children (die_with_parent),
        # and Python's resource tracker, alone then, unlinks their shared memory.
        os.kill(os.getpid(), signal.SIGKILL)

    def serve(self) -> None:
        """Answer until the parent closes the pipe."""
        threading.Thread(target=self.read_requests, daemon=True).start()
        self.answer(ready=True, python=sys.version.split()[0], lava=version("lava-nc"))
        while True:
            request = json.loads(self.requests.get() or "null")
            try:
                self.answer(id=request["id"], ok=True, **self.run(request))
            except (BadRequest, lava_network.NetworkError) as error:
                self.answer(id=request["id"], ok=False, usable=True, message=str(error))
            except Exception as error:
                # what Lava left running cannot be trusted: the parent starts another worker
                message = f"{type(error).__name__}: {error}"
                self.answer(id=request["id"], ok=False, usable=False, message=message)
                traceback.print_exc()
                os.kill(os.getpid(), signal.SIGKILL)

    def run(self, request: dict[str, Any]) -> dict[str, Any]:
        """Build, run, stop; times in seconds."""
        began = time.monotonic()
        network = build(request)
        network.start()
        built = time.monotonic()
        # the parent removes what is left of it, should this process not live to do so
        self.answer(id=request["id"], shared=mapped_shared_memory())
        done = threading.Event()
        watch = threading.Thread(target=self.watch, args=(request, network, done), daemon=True)
        watch.start()
        try:
            network.run()
        finally:
            done.set()
            watch.join()
        ran = time.monotonic()
        names = network.names
        del watch
        network.stop()
        return {"populations": names, "build_s": built - began, "run_s": ran - built}

    def watch(self, request: dict[str, Any], network: Any, done: threading.Event) -> None:
        """Report progress; a process of Lava that ends before the run does ends the worker."""
        started = multiprocessing.active_children()
        reported = 0
        while not done.wait(_POLL_S):
            finished = network.samples_done
            if finished > reported:
                reported = finished
                self.answer(id=request["id"], progress=finished, samples=network.samples)
            lost = set(started) - set(multiprocessing.active_children())
            if lost and not done.wait(_GRACE_S):
                ends = ", ".join(sorted(f"pid {p.pid} {how_it_ended(p.exitcode)}" for p in lost))
                message = f"a process of Lava ended during the run: {ends}"
                self.answer(id=request["id"], ok=False, usable=False, message=message)
                os.kill(os.getpid(), signal.SIGKILL)


def mapped_shared_memory() -> list[str]:
    """Files of /dev/shm that this process has mapped: the channels between Lava's processes."""
    with open("/proc/self/maps") as stream:
        paths = {line[line.find("/") :].rstrip("\n") for line in stream if "/dev/shm/" in line}
    return sorted(path for path in paths if not path.endswith("(deleted)"))


def how_it_ended(exit_code: int | None) -> str:
    """An exit code in words."""
    if exit_code is not None and exit_code < 0:
        return f"killed by {signal.Signals(-exit_code).name}"
    return f"exit status {exit_code}"


def main() -> None:
    """Set up the protocol, then serve."""
    request_fd, answer_fd = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    libc = ctypes.CDLL(None, use_errno=True)
    parent = os.getpid()

    def die_with_parent() -> None:
        os.close(request_fd)
        os.close(answer_fd)
        if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0 or os.getppid() != parent:
            os._exit(1)

    os.register_at_fork(after_in_child=die_with_parent)
    Worker(request_fd, answer_fd).serve()


if __name__ == "__main__":
    main()
