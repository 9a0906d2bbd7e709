"""Run the network of this folder in Lava; Python 3.10 with lava-nc 0.10.0 is all it needs.

    python run_in_lava.py --data samples.npz [--samples N] [--steps T] [--save out.npz] [--hw]

samples.npz holds x (N, *shape), numbers as the network was trained on, and y (N,), the classes;
or, in place of x, messages (T, N, *shape), integers that enter as they are. Prints the accuracy,
the messages (spikes) of every population, and the output of the first sample. ``--save`` keeps

    output                (T, N, *shape of the output)   v or sigma at each chip step, or messages
    classes               (N,)
    <population>.<name>   (T, N, *shape)   for every name of --record; "spikes" are the messages
    <population>.total    (*shape)         messages over all steps and samples

T chip steps of a sample are its input steps and as many silent ones as the network is deep; index 0
is chip step 1. Exit status: 0 done, 1 Lava failed, 2 bad input. Nothing is ever unpickled.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import sys
import tempfile
import threading
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

import lava_network
import numpy as np
import on_loihi2
from encode_samples import BadInput
from read_files import is_current, padded, read_data, read_network

HERE = Path(__file__).resolve().parent
_POLL_S = 0.5
_REPORT_EVERY_S = 5.0
_GRACE_S = 2.0
"""How long Lava may take to report a dead process by itself."""


# --- a run ---------------------------------------------------------------------------------------


def run_exact(
    structure: dict[str, Any], tensors: dict[str, Any], inputs: Any, steps: int, record: set[str]
) -> dict[str, Any]:
    """All samples in one process of Lava, all state set back before each; arrays by name."""
    kept = record | {structure["output_variable"]}
    with tempfile.TemporaryDirectory(prefix="run-in-lava-") as folder:
        network = lava_network.build(structure, tensors, inputs, steps, kept, folder)
        network.start()
        done = threading.Event()
        threading.Thread(target=watch, args=(network, done, folder), daemon=True).start()
        try:
            network.run()
        finally:
            done.set()
        network.stop()
        output = network.records(structure["output"], structure["output_variable"])
        results = {"output": output}
        for population in structure["populations"]:
            name, kind = population["name"], population["kind"]
            if name not in network.names:
                results[f"{name}.total"] = np.count_nonzero(inputs, axis=(0, 1))
                if "spikes" in record:
                    results[f"{name}.spikes"] = inputs
                continue
            results[f"{name}.total"] = network.messages(name)
            for variable in record.intersection((*lava_network.STATE[kind], "spikes")):
                results[f"{name}.{variable}"] = network.records(name, variable)
    return results


def watch(network: Any, done: threading.Event, folder: str) -> None:
    """Report progress; end everything when a process of Lava dies, since the run would hang."""
    started, reported = set(multiprocessing.active_children()), time.monotonic()
    while not done.wait(_POLL_S):
        lost = started - set(multiprocessing.active_children())
        if lost and not done.wait(_GRACE_S):
            ends = ", ".join(f"pid {p.pid} with exit code {p.exitcode}" for p in lost)
            shutil.rmtree(folder, ignore_errors=True)
            abandon(f"a process of Lava ended during the run: {ends}")
        if time.monotonic() - reported >= _REPORT_EVERY_S:
            reported = time.monotonic()
            say(f"{network.samples_done} of {network.samples} samples")


def abandon(message: str) -> NoReturn:
    """End here and now, with all processes of Lava: they would keep this one from ending."""
    say(message)
    for process in multiprocessing.active_children():
        process.kill()
    sys.stderr.flush()
    os._exit(1)


def classes_of(structure: dict[str, Any], output: Any) -> Any:
    """(N,): argmax of the last v or sigma, or of the sum of messages."""
    summed = structure["output_variable"] == "spikes"
    scores = output.sum(axis=0) if summed else output[-1]
    return np.argmax(scores.reshape(len(scores), -1), axis=1)


# --- what is printed -----------------------------------------------------------------------------


def say(message: str) -> None:
    """A line on stderr."""
    print(f"run_in_lava: {' '.join(message.split())}", file=sys.stderr, flush=True)


def report(structure: dict[str, Any], results: dict[str, Any], classes: Any, y: Any) -> None:
    """The result, on stdout."""
    count = len(classes)
    print(f"{'population':20} {'kind':14} {'shape':>14} {'messages a sample':>18}")
    for population in structure["populations"]:
        name, total = population["name"], results.get(f"{population['name']}.total")
        shape = "x".join(map(str, population["shape"]))
        spikes = "not observed" if total is None else f"{int(total.sum()) / count:,.1f}"
        print(f"{name:20} {population['kind']:14} {shape:>14} {spikes:>18}")
    output, variable = results["output"], structure["output_variable"]
    last = output.sum(axis=0) if variable == "spikes" else output[-1]
    what = "messages, summed" if variable == "spikes" else f"{variable} at the last step"
    print(f"output of sample 0 ({what}): {' '.join(map(str, last[0].ravel()[:16]))}")
    if y is None:
        print(f"{count} samples, no classes y to compare with")
    else:
        right = int((classes == y).sum())
        print(f"accuracy: {100 * right / count:.2f} % ({right} of {count})")


def save(path: Path, results: dict[str, Any], classes: Any) -> None:
    """Write the arrays; the file appears complete, by rename."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            np.savez(stream, classes=classes, **results)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


# --- the command ---------------------------------------------------------------------------------


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        raise BadInput(message, where="arguments")


def arguments(argv: list[str]) -> argparse.Namespace:
    """What the command line says. Raises: `BadInput`."""
    text = __doc__ or ""
    parser = Parser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="FILE.npz")
    parser.add_argument(
        "--samples", type=positive, default=0, metavar="N", help="the first N alone"
    )
    parser.add_argument(
        "--steps",
        type=positive,
        default=0,
        metavar="T",
        help="input steps; those it was trained for",
    )
    parser.add_argument("--save", type=Path, metavar="FILE.npz", help="keep output and records")
    parser.add_argument(
        "--record",
        nargs="+",
        default=["spikes"],
        choices=lava_network.VARIABLES,
        help="what --save keeps of every population that has it",
    )
    hardware = parser.add_mutually_exclusive_group()
    hardware.add_argument(
        "--hw",
        action="store_true",
        help="on a Loihi 2 chip; needs Intel's lava-loihi; UNTESTED, for want of a chip",
    )
    hardware.add_argument(
        "--rehearse-hw",
        action="store_true",
        help="what --hw runs, in Lava's model of the chip on this computer; of the output alone",
    )
    parsed = parser.parse_args(argv)
    if parsed.save is not None:
        target = parsed.save.absolute()
        if target.is_dir() or not os.access(target.parent, os.W_OK):
            raise BadInput("no file can be written there", where=f"--save {parsed.save}")
    return parsed


def positive(text: str) -> int:
    """A number of an argument."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, found {text!r}")
    return int(text)


def command(argv: list[str]) -> None:
    """Read, run, print, save. Raises: `BadInput`."""
    options = arguments(argv)
    structure, tensors = read_network(HERE / "network.npz")
    inputs, y = read_data(options.data, structure, tensors, options.samples, options.steps)
    if find_spec("lava") is None:
        raise BadInput(
            "lava-nc is not installed for this Python",
            where=sys.executable,
            expected="Python 3.10 with lava-nc 0.10.0",
            found=f"Python {sys.version.split()[0]}",
        )
    if options.hw:
        on_loihi2.require_extension()
        say("on a Loihi 2 chip: this path is UNTESTED, since it cannot be tested without a chip")
    try:
        results = run(structure, tensors, inputs, options)
    except (BadInput, lava_network.NetworkError):
        raise
    except KeyboardInterrupt:
        abandon("interrupted")
    except Exception as error:
        abandon(f"Lava failed: {type(error).__name__}: {error}")
    classes = classes_of(structure, results["output"])
    report(structure, results, classes, y)
    if options.save is not None:
        save(options.save, results, classes)


def run(
    structure: dict[str, Any], tensors: dict[str, Any], inputs: Any, options: argparse.Namespace
) -> dict[str, Any]:
    """The results of all samples, arrays by name, of the run that was asked for."""
    data = padded(structure, inputs)
    if options.hw or options.rehearse_hw:
        network = on_loihi2.ChipNetwork(structure, tensors, data, chip=options.hw)
        return dict(network.run())
    steps = (options.steps or structure["steps"]) + structure["latency"]
    steps = steps if is_current(structure) else len(data)
    record = set(options.record) if options.save is not None else set()
    return run_exact(structure, tensors, data, steps, record)


def main(argv: list[str] | None = None) -> int:
    """The exit status: 0 done, 2 bad input; where Lava fails, the program ends with 1."""
    try:
        command(sys.argv[1:] if argv is None else argv)
    except (BadInput, lava_network.NetworkError) as error:
        say(str(error))
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
