"""The network on a Loihi 2 chip: what ``run_in_lava.py --hw`` runs.

UNTESTED ON A CHIP. It needs Intel's extension lava-loihi, which only members of Intel's research
community have, and was written after what lava-nc and lava-dl show of it (the adapters of
lava.proc.embedded_io, `StateProbe`, `Loihi2HwCfg`). What can be tested without a chip is:
``--rehearse-hw`` runs the very same processes, the adapters and the probe left out, in Lava's
fixed-point models on this computer, and gives the output of the exact run.

On a chip no process of this computer can set state back between samples. The neurons do it
themselves: `LIFReset` zeroes u and v every T steps, a population of depth d on entering step d + 1
of a sample, when the sample's first messages arrive. What is left of the sample before is then
forgotten layer by layer, ahead of the new one. This holds for LIF neurons in a feed-forward network
without delays whose ways to a population are equally long; anything else is refused by name.
"""

from __future__ import annotations

import os
from typing import Any

import lava_network
import numpy as np
from encode_samples import BadInput

EXTENSION = "lava.utils.loihi2_profiler"
"""The module by which lava-nc itself tells whether lava-loihi is installed."""
_WEIGHT_LIMIT = 255
_THRESHOLD_LIMIT = (1 << 17) - 1


def require_extension() -> None:
    """Raises: `BadInput` without lava-loihi."""
    from lava.utils import loihi

    if not loihi.is_installed():
        raise BadInput(
            "Intel's extension lava-loihi is not installed beside lava-nc",
            where="--hw",
            expected=f"the module {EXTENSION}",
            found="none; without --hw the network runs on this computer",
        )


def check(structure: dict[str, Any], tensors: dict[str, Any]) -> None:
    """Whether `LIFReset` can separate samples. Raises: `BadInput`, which names what cannot be."""
    if structure["chip"] != "loihi2":
        raise refused("the network", f"made for {structure['chip']}", "a network for loihi2")
    depths = structure["depths"]
    biased: set[str] = set()
    for population in structure["populations"]:
        name, kind = population["name"], population["kind"]
        where = f"population {name!r}"
        if kind not in ("input", "lif"):
            raise refused(where, f"kind {kind}", "spikes or graded spikes in, and LIF neurons")
        incoming = [p for p in structure["projections"] if p["target"] == name]
        for projection in incoming:
            check_projection(projection, tensors, depths)
        if kind == "input":
            ways = {p["kind"] for p in structure["projections"] if p["source"] == name}
            if "conv" in ways and len(ways) > 1:
                found = "projections of kinds " + " and ".join(sorted(ways))
                raise refused(where, found, "one kind: the adapter of a convolution is another")
            continue
        sources = {projection["source"] for projection in incoming}
        if tensors[f"{name}.bias_mant"].any() or sources & biased:
            biased.add(name)
        start = depths[name] + 1
        if population["start_step"] != start and (name in biased or population["start_step"] > 1):
            raise refused(
                where,
                f"start_step {population['start_step']}",
                f"start_step {start}, since it or a population before it has a bias",
            )


def check_projection(
    projection: dict[str, Any], tensors: dict[str, Any], depths: dict[str, int]
) -> None:
    """One projection of `check`."""
    where = f"projection {projection['name']!r}"
    if projection["recurrent"] or f"{projection['name']}.delays" in tensors:
        found = "recurrent" if projection["recurrent"] else "delays"
        raise refused(where, found, "a feed-forward projection without delays")
    way = depths[projection["target"]] - depths[projection["source"]]
    if way != 1:
        raise refused(where, f"{way} steps of depth", "ways of equal length")
    weight = tensors[f"{projection['name']}.weight"].astype(np.int64)
    if projection["kind"] == "conv" and weight.size:
        largest = int(np.abs(weight << projection["weight_exp"]).max())
        if largest > _WEIGHT_LIMIT:
            raise refused(where, f"|weight| {largest}", f"|weight| ≤ {_WEIGHT_LIMIT} once shifted")


def refused(where: str, found: str, expected: str) -> BadInput:
    """The error of a network that only a run on this computer can set back."""
    return BadInput(
        "its state cannot be set back between samples on a chip, or it cannot be expressed there",
        where=f"--hw: {where}",
        expected=expected,
        found=f"{found}; without --hw the network runs on this computer",
    )


class ChipNetwork:
    """The processes of a network for the chip; ``chip`` = False: for its rehearsal.

    ``inputs`` (T, N, *shape) are the messages of T chip steps, silence at the end included.
    """

    def __init__(
        self, structure: dict[str, Any], tensors: dict[str, Any], inputs: Any, chip: bool = True
    ) -> None:
        check(structure, tensors)
        self.chip = chip
        self.steps, self.samples = inputs.shape[:2]
        populations = {p["name"]: p for p in structure["populations"]}
        self.output = populations[structure["output"]]
        self.latency = structure["latency"]
        self.spikes = structure["output_variable"] == "spikes"
        first, *others = structure["populations"]
        image = any(
            p["kind"] == "conv" for p in structure["projections"] if p["source"] == first["name"]
        )
        s_out = {first["name"]: self.source(first, inputs, image)}
        neurons = {}
        for population in others:
            name = population["name"]
            neurons[name] = make_neurons(
                population, tensors, self.steps, structure["depths"][name] + 1
            )
            s_out[name] = neurons[name].s_out
        for projection in structure["projections"]:
            source, target = projection["source"], projection["target"]
            lava_network.connect(
                projection,
                tensors,
                populations[source],
                populations[target],
                s_out[source],
                neurons[target].a_in,
            )
        self.root = neurons[structure["output"]]
        self.callbacks: list[Any] = []
        self.observe(self.root)

    def source(self, population: dict[str, Any], inputs: Any, image: bool) -> Any:
        """The port from which messages come: of a ring buffer, on the chip of its adapter."""
        from lava.proc.io.source import RingBuffer

        values = lava_network.arranged(inputs, population["shape"])
        by_sample = np.swapaxes(values, 0, 1).reshape(-1, *values.shape[2:])
        port = RingBuffer(data=np.ascontiguousarray(np.moveaxis(by_sample, 0, -1))).s_out
        if not self.chip:
            return port
        from lava.proc.embedded_io import spike

        bits = lava_network.message_bits(population)
        shape = lava_network.layout(population["shape"])
        # num_message_bits as lava-dl (16 into a convolution) and lava-nc's networks (24) set it
        adapter = (
            spike.PyToN3ConvAdapter(shape=shape, num_message_bits=16 if bits else 0)
            if image
            else spike.PyToNxAdapter(shape=shape, num_message_bits=bits)
        )
        port.connect(adapter.inp)
        return adapter.out

    def observe(self, neurons: Any) -> None:
        """Record the output at each step: its spikes, or v where it accumulates."""
        from lava.proc.io import sink

        total = self.samples * self.steps
        shape = lava_network.layout(self.output["shape"])
        if self.spikes:
            port = neurons.s_out
            if self.chip:
                from lava.proc.embedded_io import spike

                adapter = spike.NxToPyAdapter(shape=shape, num_message_bits=0)
                port.connect(adapter.inp)
                port = adapter.out
            self.recorder = sink.RingBuffer(shape=shape, buffer=total)
            port.connect(self.recorder.a_in)
        elif self.chip:
            from lava.utils.loihi2_state_probes import StateProbe

            self.recorder = StateProbe(neurons.v)
            self.callbacks.append(self.recorder)
        else:
            self.recorder = sink.Read(buffer=total)
            self.recorder.connect_var(neurons.v)

    def run(self) -> dict[str, Any]:
        """All samples: "output" (T − latency, N, *shape) int32, the steps at which it is valid."""
        from lava.magma.core.run_conditions import RunSteps
        from lava.magma.core.run_configs import Loihi2HwCfg, Loihi2SimCfg

        if self.chip:
            choose_host()
            config = Loihi2HwCfg(select_tag="fixed_pt", callback_fxs=self.callbacks)
        else:
            config = Loihi2SimCfg(select_tag="fixed_pt")
        total = self.samples * self.steps
        self.root.run(condition=RunSteps(num_steps=total), run_cfg=config)
        if self.chip and not self.spikes:
            data = np.asarray(self.recorder.time_series)
        else:
            data = self.recorder.data.get()
        self.root.stop()
        by_step = np.moveaxis(data.reshape(*self.root.s_out.shape, total), -1, 0)
        shape = tuple(self.output["shape"])
        values = lava_network.to_lava(by_step) if len(shape) == 3 else by_step
        values = values.reshape(self.samples, self.steps, *shape)
        output = np.swapaxes(values, 0, 1)[self.latency :].astype(np.int32)
        if not self.spikes:
            return {"output": output}
        name = self.output["name"]
        return {"output": output, f"{name}.total": np.count_nonzero(output, axis=(0, 1))}


def make_neurons(
    population: dict[str, Any], tensors: dict[str, Any], interval: int, first_step: int
) -> Any:
    """LIF neurons whose u and v are 0 on entering ``first_step`` of every ``interval`` steps."""
    from lava.proc.lif.process import LIFReset

    name = population["name"]
    return LIFReset(
        shape=lava_network.layout(population["shape"]),
        du=population["du"],
        dv=population["dv"],
        # an accumulator may ask for 2^17, which no v exceeds; the chip has 17 bits
        vth=min(population["vth"], _THRESHOLD_LIMIT),
        bias_mant=lava_network.arranged(tensors[f"{name}.bias_mant"], population["shape"]),
        bias_exp=population["bias_exp"],
        reset_interval=interval,
        reset_offset=first_step % interval,
        name=name,
    )


def choose_host() -> None:
    """A chip by SLURM where it is there and nothing else was asked for in the environment."""
    from lava.utils import loihi, slurm

    asked = {"NXSDKHOST", "BOARD", "PARTITION", "SLURM", "NOSLURM"} & set(os.environ)
    if not asked and slurm.is_available():
        loihi.use_slurm_host()
