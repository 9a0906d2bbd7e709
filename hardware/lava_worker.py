"""The process that runs Lava: a plain script for an interpreter that has lava-nc.

No other module imports it. Protocol: one JSON request a line on stdin, JSON answers on what was
stdout when it started; all else that is printed goes to stderr. The worker ends when stdin closes,
and its processes end with it.
"""

from __future__ import annotations

import ctypes
import gc
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
from importlib.machinery import ModuleSpec
from importlib.metadata import version
from typing import Any

import numpy as np

FORMAT = "neurokd.deployed/1"
_PARTS = "neurokd_lava_parts"
_POLL_S = 0.1
_GRACE_S = 2.0
"""How long Lava may take to report a dead process by itself, with its own message."""
_PR_SET_PDEATHSIG = 1


class BadRequest(Exception):
    """A request that was refused before any process of Lava existed; the worker stays usable."""


# --- the network, as Lava's own processes -------------------------------------------------------


def to_lava(values: Any) -> Any:
    """Channel-first (…, C, H, W) to Lava's (…, W, H, C); anything not an image becomes flat."""
    return np.ascontiguousarray(np.swapaxes(values, -1, -3))


def layout(shape: list[int]) -> tuple[int, ...]:
    """The shape a population has in Lava: (W, H, C) for an image, else flat."""
    return tuple(reversed(shape)) if len(shape) == 3 else (int(np.prod(shape)),)


def lava_order(shape: list[int]) -> Any:
    """For every neuron in Lava's flat order, its index in the channel-first flat order."""
    index = np.arange(int(np.prod(shape)))
    return to_lava(index.reshape(shape)).ravel() if len(shape) == 3 else index


def make_population(description: dict[str, Any], tensors: dict[str, Any]) -> Any:
    """A `LIF` process for a population of the file."""
    from lava.proc.lif.process import LIF

    shape = layout(description["shape"])
    bias = tensors[f"{description['name']}.bias_mant"].astype(np.int32).reshape(-1)
    return LIF(
        shape=shape,
        du=description["du"],
        dv=description["dv"],
        vth=description["vth"],
        bias_mant=bias[lava_order(description["shape"])].reshape(shape),
        bias_exp=description["bias_exp"],
        name=description["name"],
    )


def connect_projection(
    description: dict[str, Any],
    tensors: dict[str, Any],
    populations: dict[str, dict[str, Any]],
    s_out: Any,
    a_in: Any,
) -> tuple[Any, str]:
    """A `Dense` or `Conv` process between two ports; returns it and the name of its buffer."""
    source = populations[description["source"]]
    target = populations[description["target"]]
    graded = source["kind"] == "input" and source["encoding"] == "graded"
    message_bits = source["bits"] if graded else 0
    weight = tensors[f"{description['name']}.weight"].astype(np.int32)
    if description["kind"] == "dense":
        from lava.proc.dense.process import Dense
        from lava.utils.weightutils import SignMode

        rows, columns = lava_order(target["shape"]), lava_order(source["shape"])
        dense = Dense(
            weights=np.ascontiguousarray(weight[rows][:, columns]),
            weight_exp=description["weight_exp"],
            num_weight_bits=description["num_weight_bits"],
            sign_mode=SignMode[description["sign_mode"].upper()],
            num_message_bits=message_bits,
            name=description["name"],
        )
        s_out.reshape((columns.size,)).connect(dense.s_in)
        dense.a_out.reshape(layout(target["shape"])).connect(a_in)
        return dense, "a_buff"
    if description["kind"] == "conv":
        from lava.proc.conv.process import Conv

        conv = Conv(
            # torch correlates, Lava convolves: the kernel is flipped in both axes
            weight=to_lava(weight[:, :, ::-1, ::-1]),
            weight_exp=0,
            input_shape=layout(source["shape"]),
            stride=tuple(reversed(description["stride"])),
            padding=tuple(reversed(description["padding"])),
            dilation=tuple(reversed(description["dilation"])),
            groups=description["groups"],
            num_message_bits=message_bits,
            name=description["name"],
        )
        s_out.connect(conv.s_in)
        conv.a_out.connect(a_in)
        return conv, "a_buf"
    raise BadRequest(
        f"projection {description['name']!r} is of unknown kind {description['kind']!r}"
    )


# --- the processes that feed and observe it ------------------------------------------------------


def parts_module() -> types.ModuleType:
    """An empty module for the classes made here: Lava runs every file beside a process's own."""
    module = types.ModuleType(_PARTS)
    module.__spec__ = ModuleSpec(_PARTS, None)
    module.__file__ = os.path.join(os.devnull, f"{_PARTS}.py")
    sys.modules[_PARTS] = module
    return module


def make_source(messages: Any) -> Any:
    """A process that sends ``messages[i]`` in step i + 1."""
    from lava.magma.core.decorator import implements, requires, tag
    from lava.magma.core.model.py.model import PyLoihiProcessModel
    from lava.magma.core.model.py.ports import PyOutPort
    from lava.magma.core.model.py.type import LavaPyType
    from lava.magma.core.process.ports.ports import OutPort
    from lava.magma.core.process.process import AbstractProcess
    from lava.magma.core.resources import CPU
    from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

    class Source(AbstractProcess):  # type: ignore[misc]
        __module__ = _PARTS

        def __init__(self) -> None:
            super().__init__(messages=messages)
            self.s_out = OutPort(shape=messages.shape[1:])

    class SourceModel(PyLoihiProcessModel):  # type: ignore[misc]
        __module__ = _PARTS
        s_out = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)

        def run_spk(self) -> None:
            self.s_out.send(self.proc_params["messages"][self.time_step - 1])

    module = sys.modules[_PARTS]
    model = tag("fixed_pt")(
        requires(CPU)(implements(proc=Source, protocol=LoihiProtocol)(SourceModel))
    )
    module.__dict__.update(Source=Source, SourceModel=model)
    return Source()


class Observer:
    """What the recorder does in each phase: writes records to files and sets state to zero.

    ``spikes``, ``u``, ``v``: port name and file by population; ``reset_after``: for each step of a
    sample, the state ports that are zero when the next step begins.
    """

    def __init__(self, steps: int, folder: str) -> None:
        self.steps = steps
        self.folder = folder
        self.ports: dict[str, tuple[int, ...]] = {}
        self.spike_files: dict[str, Any] = {}
        self.count_files: dict[str, Any] = {}
        self.state_files: dict[str, Any] = {}
        self.reset_after: dict[int, list[str]] = {}
        self.progress = np.lib.format.open_memmap(
            os.path.join(folder, "progress.npy"), mode="w+", dtype=np.int64, shape=(1,)
        )

    def file(self, name: str, dtype: Any, shape: tuple[int, ...]) -> Any:
        """A result file, mapped into memory that the recorder's process shares."""
        path = os.path.join(self.folder, f"{name}.npy")
        return np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)

    def observe_spikes(self, model: Any) -> None:
        """Take the spikes of this step."""
        index = model.time_step - 1
        for port, count in self.count_files.items():
            spikes = channel_first(getattr(model, port).recv(), count.shape)
            count += spikes != 0
            if port in self.spike_files:
                self.spike_files[port][index] = spikes

    def wants_state(self, model: Any) -> bool:
        """Whether this step ends with reading or setting state."""
        last = (model.time_step - 1) % self.steps
        return bool(self.state_files) or last in self.reset_after

    def observe_state(self, model: Any) -> None:
        """Read the state this step ended with, then set to zero what the next one starts anew."""
        index = model.time_step - 1
        for port, file in self.state_files.items():
            file[index] = channel_first(getattr(model, port).read(), file.shape[1:])
        reset = self.reset_after.get(index % self.steps, [])
        for port in reset:
            getattr(model, port).write(np.zeros(self.ports[port], dtype=np.int32))
        for port in reset:
            getattr(model, port).wait()
        self.progress[0] = index + 1


def channel_first(values: Any, shape: tuple[int, ...]) -> Any:
    """What Lava holds as (W, H, C) or flat, in the population's own shape."""
    return np.swapaxes(values, 0, 2) if len(shape) == 3 else values.reshape(shape)


def make_recorder(observer: Observer) -> Any:
    """The process with a port for all that ``observer`` listens to."""
    from lava.magma.core.decorator import implements, requires, tag
    from lava.magma.core.model.py.model import PyLoihiProcessModel
    from lava.magma.core.model.py.ports import PyInPort, PyRefPort
    from lava.magma.core.model.py.type import LavaPyType
    from lava.magma.core.process.ports.ports import InPort, RefPort
    from lava.magma.core.process.process import AbstractProcess
    from lava.magma.core.resources import CPU
    from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

    class Recorder(AbstractProcess):  # type: ignore[misc]
        __module__ = _PARTS

        def __init__(self) -> None:
            super().__init__(observer=observer)
            for name, shape in observer.ports.items():
                port = InPort if name.startswith("s_") else RefPort
                setattr(self, name, port(shape=shape))

    class RecorderModel(PyLoihiProcessModel):  # type: ignore[misc]
        __module__ = _PARTS

        def run_spk(self) -> None:
            self.proc_params["observer"].observe_spikes(self)

        def post_guard(self) -> bool:
            return bool(self.proc_params["observer"].wants_state(self))

        def run_post_mgmt(self) -> None:
            self.proc_params["observer"].observe_state(self)

    for name in observer.ports:
        kind = PyInPort.VEC_DENSE if name.startswith("s_") else PyRefPort.VEC_DENSE
        setattr(RecorderModel, name, LavaPyType(kind, np.int32, precision=24))
    module = sys.modules[_PARTS]
    model = tag("fixed_pt")(
        requires(CPU)(implements(proc=Recorder, protocol=LoihiProtocol)(RecorderModel))
    )
    module.__dict__.update(Recorder=Recorder, RecorderModel=model)
    return Recorder()


# --- one request ----------------------------------------------------------------------------------


def read_network(path: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Structure and tensors of a deployed network; the parent has validated it."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as stream:
        structure = json.loads((stream.metadata() or {}).get("neurokd", "null"))
        tensors = {key: stream.get_tensor(key) for key in stream.keys()}  # noqa: SIM118
    if not isinstance(structure, dict) or structure.get("format") != FORMAT:
        raise BadRequest(f"{path} is not of format {FORMAT}")
    return structure, tensors


def read_messages(path: str, shape: list[int], samples: int, steps: int) -> Any:
    """(N · T, *lava shape) int32 from the file's (T, N, *shape)."""
    from safetensors.numpy import load_file

    messages = load_file(path)["messages"]
    if messages.shape != (steps, samples, *shape) or messages.dtype != np.int32:
        raise BadRequest(f"messages are {messages.dtype} {messages.shape}")
    messages = np.moveaxis(messages, 0, 1).reshape(samples * steps, *shape)
    return to_lava(messages) if len(shape) == 3 else messages.reshape(samples * steps, -1)


def build(request: dict[str, Any]) -> tuple[Any, Observer, list[str]]:
    """All processes of a request, connected.

    Returns the recorder, through which they are run, what it does, and the populations in the
    order of its files.
    """
    structure, tensors = read_network(request["network"])
    steps, samples = request["steps"], request["samples"]
    populations = {p["name"]: p for p in structure["populations"]}
    inputs = next(p for p in structure["populations"] if p["kind"] == "input")
    messages = read_messages(request["input"], inputs["shape"], samples, steps)
    parts_module()
    source = make_source(messages)
    lifs = {
        name: make_population(p, tensors) for name, p in populations.items() if p["kind"] == "lif"
    }
    s_out = {inputs["name"]: source.s_out} | {name: lif.s_out for name, lif in lifs.items()}
    observer = Observer(steps, request["folder"])
    connections: dict[str, Any] = {}
    end = observer.reset_after.setdefault(steps - 1, [])
    for i, (name, lif) in enumerate(lifs.items()):
        shape = tuple(populations[name]["shape"])
        observer.ports[f"s_{i}"] = layout(populations[name]["shape"])
        connections[f"s_{i}"] = lif.s_out
        observer.count_files[f"s_{i}"] = observer.file(f"{i}.messages", np.int64, shape)
        if "spikes" in request["record"]:
            observer.spike_files[f"s_{i}"] = observer.file(
                f"{i}.spikes", np.int8, (samples * steps, *shape)
            )
        for variable in ("u", "v"):
            port = f"{variable}_{i}"
            observer.ports[port] = layout(populations[name]["shape"])
            connections[port] = getattr(lif, variable)
            end.append(port)
            start = populations[name]["start_step"]
            if 1 < start <= steps:
                observer.reset_after.setdefault(start - 2, []).append(port)
            if variable in request["record"]:
                observer.state_files[port] = observer.file(
                    f"{i}.{variable}", np.int32, (samples * steps, *shape)
                )
    for j, projection in enumerate(structure["projections"]):
        process, buffer = connect_projection(
            projection,
            tensors,
            populations,
            s_out[projection["source"]],
            lifs[projection["target"]].a_in,
        )
        observer.ports[f"b_{j}"] = getattr(process, buffer).shape
        connections[f"b_{j}"] = getattr(process, buffer)
        end.append(f"b_{j}")
    recorder = make_recorder(observer)
    for name, end_point in connections.items():
        if name.startswith("s_"):
            getattr(recorder, name).connect_from(end_point)
        else:
            getattr(recorder, name).connect_var(end_point)
    return recorder, observer, list(lifs)


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
            except BadRequest as error:
                self.answer(id=request["id"], ok=False, usable=True, message=str(error))
            except Exception as error:
                # what Lava left running cannot be trusted: the parent starts another worker
                message = f"{type(error).__name__}: {error}"
                self.answer(id=request["id"], ok=False, usable=False, message=message)
                traceback.print_exc()
                os.kill(os.getpid(), signal.SIGKILL)

    def run(self, request: dict[str, Any]) -> dict[str, Any]:
        """Build, run, stop; times in seconds."""
        from lava.magma.core.process.process import ProcessServer
        from lava.magma.core.process.variable import VarServer
        from lava.magma.core.run_conditions import RunSteps
        from lava.magma.core.run_configs import Loihi2SimCfg

        began = time.monotonic()
        recorder, observer, names = build(request)
        recorder.create_runtime(run_cfg=Loihi2SimCfg(select_tag="fixed_pt"))
        built = time.monotonic()
        # the parent removes what is left of it, should this process not live to do so
        self.answer(id=request["id"], shared=mapped_shared_memory())
        done = threading.Event()
        watch = threading.Thread(target=self.watch, args=(request, observer, done), daemon=True)
        watch.start()
        try:
            recorder.run(RunSteps(num_steps=request["samples"] * request["steps"]))
        finally:
            done.set()
            watch.join()
        ran = time.monotonic()
        recorder.stop()
        del recorder, observer, watch
        ProcessServer().reset_server()
        VarServer().reset_server()
        sys.modules[_PARTS].__dict__.clear()
        gc.collect()
        return {"populations": names, "build_s": built - began, "run_s": ran - built}

    def watch(self, request: dict[str, Any], observer: Observer, done: threading.Event) -> None:
        """Report progress; a process of Lava that ends before the run does ends the worker."""
        started = multiprocessing.active_children()
        reported = 0
        while not done.wait(_POLL_S):
            finished = int(observer.progress[0]) // request["steps"]
            if finished > reported:
                reported = finished
                self.answer(id=request["id"], progress=finished, samples=request["samples"])
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
