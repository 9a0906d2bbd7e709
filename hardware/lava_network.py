"""A deployed network as Lava's own processes: built, fed, recorded, set back between samples.

It needs numpy and lava-nc (which brings scipy) and nothing of neurokd, and defines no process class
of its own in this file, so that the file works wherever it is copied: in the worker that serves
`simulate_lava`, and beside an exported network. Linux, since Lava's processes are forked.

    network = build(structure, tensors, inputs, steps, record, folder)
    network.start()                   # Lava compiles it and forks one process for each of its own
    network.run()                     # all samples one after another, each from initial state
    network.stop()                    # the processes end; what was recorded stays in the folder
    network.records("conv1", "v")     # (T, N, C, H, W) int32
    network.messages("conv1")         # (C, H, W) int64, non-zero messages over steps and samples

``structure`` holds the lists "populations" and "projections" of a deployed network's file, each
entry a dictionary of its fields; ``tensors`` its arrays, named "<population or projection>.<field>"
and in the field's own shape. Shapes of ``inputs``: (T, N, *shape) integers, one message a neuron
and step; (N, *shape) for a population of kind "current_input". ``record``: any of `VARIABLES`, kept
for every population that has it. ``folder``: an existing one, for the results.

Of lava-nc 0.10.0, and met here: a synapse with ``num_message_bits`` = 0 turns what it receives into
booleans; Conv convolves (the kernels are flipped), has no exponent and no weight format; the sign
mode is guessed from the weights unless it is given; delays must be of numpy's default integer.
"""

from __future__ import annotations

import gc
import os
import sys
import types
from importlib.machinery import ModuleSpec
from typing import Any

import numpy as np

STATE: dict[str, tuple[str, ...]] = {
    "input": (),
    "current_input": ("u", "v"),
    "delta_input": ("act", "residue", "error"),
    "lif": ("u", "v"),
    "sigma": ("sigma",),
    "delta": ("act", "residue", "error"),
    "sigma_delta": ("sigma", "act", "residue", "error"),
}
"""The state variables of each kind of population: what can be recorded, and what is set back."""
VARIABLES = ("u", "v", "sigma", "act", "residue", "error", "spikes")
_BINARY = ("current_input", "lif")
_GRADED_BITS = 24
"""Any number above 0 makes Lava's synapses take the payload; they do not bound it."""
_PARTS = "neurokd_lava_parts"


class NetworkError(ValueError):
    """What was asked for cannot be built; nothing of Lava runs yet."""


# --- populations and projections -----------------------------------------------------------------


def to_lava(values: Any) -> Any:
    """Channel-first (…, C, H, W) to Lava's (…, W, H, C)."""
    return np.ascontiguousarray(np.swapaxes(values, -1, -3))


def from_lava(values: Any, shape: tuple[int, ...]) -> Any:
    """What Lava holds as (W, H, C) or flat, in the population's own shape."""
    return np.swapaxes(values, 0, 2) if len(shape) == 3 else values.reshape(shape)


def layout(shape: Any) -> tuple[int, ...]:
    """The shape a population has in Lava: (W, H, C) for an image, else flat."""
    return tuple(reversed(shape)) if len(shape) == 3 else (int(np.prod(shape)),)


def arranged(values: Any, shape: Any) -> Any:
    """int32 values (…, *shape) in Lava's layout of a population of that shape."""
    lead = values.shape[: values.ndim - len(shape)]
    values = values.astype(np.int32)
    return to_lava(values) if len(shape) == 3 else values.reshape(*lead, -1)


def lava_order(shape: Any) -> Any:
    """For every neuron in Lava's flat order, its index in the channel-first flat order."""
    index = np.arange(int(np.prod(shape)))
    return to_lava(index.reshape(shape)).ravel() if len(shape) == 3 else index


def make_population(population: dict[str, Any], tensors: dict[str, Any], constant: Any) -> Any:
    """The neuron process of a population; ``constant`` is the first bias of a current input."""
    kind, name, shape = population["kind"], population["name"], layout(population["shape"])
    if kind in ("lif", "current_input"):
        from lava.proc.lif.process import LIF

        bias = constant
        if kind == "lif":
            bias = arranged(tensors[f"{name}.bias_mant"], population["shape"])
        return LIF(
            shape=shape,
            du=population.get("du", 0),
            dv=population["dv"],
            vth=population["vth"],
            bias_mant=bias,
            bias_exp=population["bias_exp"],
            name=name,
        )
    from lava.proc.sdn.process import ActivationMode, Delta, Sigma, SigmaDelta

    if kind == "sigma":
        return Sigma(shape=shape)
    delta = {key: population[key] for key in ("vth", "cum_error", "spike_exp", "state_exp")}
    if kind in ("delta", "delta_input"):
        return Delta(shape=shape, **delta)
    if kind == "sigma_delta":
        modes = {"relu": ActivationMode.RELU, "identity": ActivationMode.UNIT}
        return SigmaDelta(
            shape=shape,
            bias=arranged(tensors[f"{name}.bias"], population["shape"]),
            act_mode=modes[population["activation"]],
            **delta,
        )
    raise NetworkError(f"population {name!r} is of unknown kind {kind!r}")


def message_bits(source: dict[str, Any]) -> int:
    """Lava's ``num_message_bits`` behind a population: 0 is for binary spikes alone."""
    if source["kind"] in _BINARY or source.get("encoding") == "spikes":
        return 0
    return _GRADED_BITS


def make_matrix(
    projection: dict[str, Any], tensors: dict[str, Any], source: dict[str, Any], target: Any
) -> Any:
    """`Dense`, `DelayDense`, `Sparse` or `DelaySparse`, both sides in Lava's order."""
    from lava.utils.weightutils import SignMode

    name = projection["name"]
    fields = {
        "weight_exp": projection["weight_exp"],
        "num_weight_bits": projection["num_weight_bits"],
        "sign_mode": SignMode[projection["sign_mode"].upper()],
        "num_message_bits": message_bits(source),
        "name": name,
    }
    weight = tensors[f"{name}.weight"].astype(np.int32)
    delays = tensors.get(f"{name}.delays")
    rows, columns = lava_order(target["shape"]), lava_order(source["shape"])
    if projection["kind"] == "dense":
        from lava.proc.dense.process import DelayDense, Dense

        weight = np.ascontiguousarray(weight[rows][:, columns])
        if delays is None:
            return Dense(weights=weight, **fields)
        delays = np.ascontiguousarray(delays.astype(int)[rows][:, columns])
        return DelayDense(weights=weight, delays=delays, **fields)
    from lava.proc.sparse.process import DelaySparse, Sparse
    from scipy.sparse import csr_matrix

    ends = (
        np.argsort(rows)[tensors[f"{name}.rows"]],
        np.argsort(columns)[tensors[f"{name}.columns"]],
    )
    shape = (rows.size, columns.size)
    weight = csr_matrix((weight, ends), shape=shape)
    if delays is None:
        return Sparse(weights=weight, **fields)
    return DelaySparse(
        weights=weight, delays=csr_matrix((delays.astype(int), ends), shape=shape), **fields
    )


def make_conv(projection: dict[str, Any], tensors: dict[str, Any], source: dict[str, Any]) -> Any:
    """`Conv`, given the weights already shifted by the exponent, which it would ignore."""
    from lava.proc.conv.process import Conv

    weight = tensors[f"{projection['name']}.weight"].astype(np.int32) << projection["weight_exp"]
    return Conv(
        # a projection correlates, Lava convolves: the kernel is flipped in both axes
        weight=to_lava(weight[:, :, ::-1, ::-1]),
        input_shape=layout(source["shape"]),
        stride=tuple(reversed(projection["stride"])),
        padding=tuple(reversed(projection["padding"])),
        dilation=tuple(reversed(projection["dilation"])),
        groups=projection["groups"],
        num_message_bits=message_bits(source),
        name=projection["name"],
    )


def connect(
    projection: dict[str, Any],
    tensors: dict[str, Any],
    source: dict[str, Any],
    target: dict[str, Any],
    s_out: Any,
    a_in: Any,
) -> Any:
    """Put a projection's process between two ports; returns the buffer of what is in flight."""
    kind = projection["kind"]
    if kind == "conv":
        conv = make_conv(projection, tensors, source)
        s_out.connect(conv.s_in)
        conv.a_out.connect(a_in)
        return conv.a_buf
    if kind not in ("dense", "sparse"):
        raise NetworkError(f"projection {projection['name']!r} is of unknown kind {kind!r}")
    matrix = make_matrix(projection, tensors, source, target)
    s_out.reshape(matrix.s_in.shape).connect(matrix.s_in)
    matrix.a_out.reshape(layout(target["shape"])).connect(a_in)
    return matrix.a_buff


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
    """What the recorder does in each phase: writes records to files and sets state back.

    ``ports``: shape by port name; s_… receive messages, all others refer to variables.
    ``zero_after``: for each step of a sample, the variables that are 0 when the next one begins.
    ``constants``: variables that hold the data of the sample, (N, *shape).
    """

    def __init__(self, steps: int, folder: str) -> None:
        self.steps = steps
        self.folder = folder
        self.ports: dict[str, tuple[int, ...]] = {}
        self.spike_files: dict[str, Any] = {}
        self.count_files: dict[str, Any] = {}
        self.state_files: dict[str, Any] = {}
        self.zero_after: dict[int, list[str]] = {}
        self.constants: dict[str, Any] = {}
        self.progress = np.lib.format.open_memmap(
            os.path.join(folder, "progress.npy"), mode="w+", dtype=np.int64, shape=(1,)
        )

    def file(self, name: str, dtype: Any, shape: tuple[int, ...]) -> Any:
        """A result file, mapped into memory that the recorder's process shares."""
        path = os.path.join(self.folder, f"{name}.npy")
        return np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)

    def observe_spikes(self, model: Any) -> None:
        """Take the messages of this step."""
        index = model.time_step - 1
        for port, count in self.count_files.items():
            spikes = from_lava(getattr(model, port).recv(), count.shape)
            count += spikes != 0
            if port in self.spike_files:
                self.spike_files[port][index] = spikes

    def wants_state(self, model: Any) -> bool:
        """Whether this step ends with reading or setting state."""
        last = (model.time_step - 1) % self.steps
        return bool(self.state_files) or last in self.zero_after

    def observe_state(self, model: Any) -> None:
        """Read the state this step ended with, then set what the next one begins with."""
        index = model.time_step - 1
        for port, file in self.state_files.items():
            file[index] = from_lava(getattr(model, port).read(), file.shape[1:])
        changes = {
            port: np.zeros(self.ports[port], dtype=np.int32)
            for port in self.zero_after.get(index % self.steps, [])
        }
        sample, step = divmod(index + 1, self.steps)
        for port, values in self.constants.items():
            if step == 0 and sample < len(values):
                changes[port] = values[sample]
        for port, value in changes.items():
            getattr(model, port).write(value)
        for port in changes:
            getattr(model, port).wait()
        self.progress[0] = index + 1


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


# --- the whole ------------------------------------------------------------------------------------


class LavaNetwork:
    """A network that Lava can run: see the module's text. Use it once."""

    def __init__(
        self, recorder: Any, observer: Observer, names: list[str], steps: int, samples: int
    ) -> None:
        self.recorder = recorder
        self.observer = observer
        self.names = names
        self.steps = steps
        self.samples = samples

    @property
    def samples_done(self) -> int:
        """How many samples have run, also while `run` is under way in another thread."""
        return int(self.observer.progress[0]) // self.steps

    def start(self, run_config: Any = None) -> None:
        """Compile and fork; without ``run_config`` for Lava's CPU backend, fixed point."""
        from lava.magma.core.run_configs import Loihi2SimCfg

        config = Loihi2SimCfg(select_tag="fixed_pt") if run_config is None else run_config
        self.recorder.create_runtime(run_cfg=config)

    def run(self) -> None:
        """Run every sample for every step; returns when all is recorded."""
        from lava.magma.core.run_conditions import RunSteps

        self.recorder.run(RunSteps(num_steps=self.samples * self.steps))

    def stop(self) -> None:
        """End Lava's processes and forget everything about them."""
        from lava.magma.core.process.process import ProcessServer
        from lava.magma.core.process.variable import VarServer

        self.recorder.stop()
        self.recorder = None
        ProcessServer().reset_server()
        VarServer().reset_server()
        sys.modules[_PARTS].__dict__.clear()
        gc.collect()

    def records(self, name: str, variable: str) -> Any:
        """(T, N, *shape) int32 of a variable that was recorded."""
        return read_records(self.observer.folder, self.names.index(name), variable, self.steps)

    def messages(self, name: str) -> Any:
        """int64 of the population's shape: non-zero messages over steps and samples."""
        return read_messages(self.observer.folder, self.names.index(name))


def read_records(folder: Any, index: int, variable: str, steps: int) -> Any:
    """(T, N, *shape) int32 from the folder of a run; ``index`` counts `LavaNetwork.names`."""
    stored = np.load(os.path.join(folder, f"{index}.{variable}.npy"))
    by_sample = stored.reshape(-1, steps, *stored.shape[1:])
    return np.ascontiguousarray(np.swapaxes(by_sample, 0, 1), dtype=np.int32)


def read_messages(folder: Any, index: int) -> Any:
    """int64 of a population's shape: non-zero messages over steps and samples."""
    return np.load(os.path.join(folder, f"{index}.messages.npy"))


def check_inputs(inputs: Any, population: dict[str, Any], steps: int) -> int:
    """The number of samples; `NetworkError` for data of another shape."""
    constant = population["kind"] == "current_input"
    lead = inputs.shape[: inputs.ndim - len(population["shape"])]
    expected = lead if constant else (steps, *lead[-1:])
    if inputs.dtype.kind not in "iu" or inputs.shape != (*expected, *population["shape"]):
        raise NetworkError(f"the input is {inputs.dtype} {inputs.shape}")
    return int(lead[-1])


def build(
    structure: dict[str, Any],
    tensors: dict[str, Any],
    inputs: Any,
    steps: int,
    record: Any,
    folder: str,
) -> LavaNetwork:
    """All processes, connected; nothing runs yet. Raises: `NetworkError`."""
    populations = {p["name"]: p for p in structure["populations"]}
    first = next(p for p in populations.values() if "input" in p["kind"])
    samples = check_inputs(inputs, first, steps)
    parts_module()
    values = arranged(inputs, first["shape"])
    neurons = {
        name: make_population(p, tensors, values[0])
        for name, p in populations.items()
        if p["kind"] != "input"
    }
    s_out = {name: process.s_out for name, process in neurons.items()}
    observer = Observer(steps, folder)
    connections: dict[str, Any] = {}
    if first["kind"] == "current_input":
        connections["m_0"] = neurons[first["name"]].bias_mant
        observer.ports["m_0"] = values.shape[1:]
        observer.constants["m_0"] = values
    else:
        by_sample = np.swapaxes(values, 0, 1).reshape(samples * steps, *values.shape[2:])
        source = make_source(by_sample)
        if first["kind"] == "input":
            s_out[first["name"]] = source.s_out
        else:
            source.s_out.connect(neurons[first["name"]].a_in)
    for i, (name, process) in enumerate(neurons.items()):
        connections |= observe(observer, i, populations[name], process, record, samples)
    for j, projection in enumerate(structure["projections"]):
        source_name, target_name = projection["source"], projection["target"]
        buffer = connect(
            projection,
            tensors,
            populations[source_name],
            populations[target_name],
            s_out[source_name],
            neurons[target_name].a_in,
        )
        observer.ports[f"b_{j}"] = buffer.shape
        connections[f"b_{j}"] = buffer
        observer.zero_after[steps - 1].append(f"b_{j}")
    recorder = make_recorder(observer)
    for name, end in connections.items():
        if name.startswith("s_"):
            getattr(recorder, name).connect_from(end)
        else:
            getattr(recorder, name).connect_var(end)
    return LavaNetwork(recorder, observer, list(neurons), steps, samples)


def observe(
    observer: Observer,
    index: int,
    population: dict[str, Any],
    process: Any,
    record: Any,
    samples: int,
) -> dict[str, Any]:
    """Have a population counted, recorded and set back; returns what its ports connect to."""
    shape = tuple(population["shape"])
    steps = observer.steps
    times = samples * steps
    port = f"s_{index}"
    connections = {port: process.s_out}
    observer.ports[port] = layout(shape)
    observer.count_files[port] = observer.file(f"{index}.messages", np.int64, shape)
    if "spikes" in record:
        dtype = np.int8 if population["kind"] in _BINARY else np.int32
        observer.spike_files[port] = observer.file(f"{index}.spikes", dtype, (times, *shape))
    end = observer.zero_after.setdefault(steps - 1, [])
    start = population.get("start_step", 1)
    for variable in STATE[population["kind"]]:
        port = f"{variable}_{index}"
        observer.ports[port] = layout(shape)
        connections[port] = getattr(process, variable)
        end.append(port)
        if 1 < start <= steps:
            observer.zero_after.setdefault(start - 2, []).append(port)
        if variable in record:
            observer.state_files[port] = observer.file(
                f"{index}.{variable}", np.int32, (times, *shape)
            )
    return connections
