"""The command `neurokd`: finds the file of a command, runs it, and answers with an exit status."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from inspect import getdoc
from typing import Annotated

import typer

from neurokd import __version__
from neurokd.cli.failure import INTERRUPTED, guard

COMMANDS = {
    "doctor": "Versions, devices, Lava, data: what works here, what not.",
    "presets": "The shipped configurations, or one of them in full.",
    "demo": "The whole path, training to verdict, on an MNIST subset.",
    "teach": "Train a dense teacher.",
    "train": "Train a spiking student, by distillation if it has a teacher.",
    "embed": "A data set's embeddings by a frozen extractor.",
    "continual": "Learn a stream of tasks: SDMLP, SSD and baselines.",
    "export": "Write a network as NIR, for Loihi, or as ONNX.",
    "simulate": "Run a network on the emulator, Lava or ONNX Runtime.",
    "profile": "Spikes, operations, energy and latency of a network.",
    "verify": "Does the deployed network answer as the trained one does?",
    "report": "One self-contained HTML file about a run.",
    "reproduce": "A table or figure of a paper, from a grid of training runs.",
    "inspect": "What a .nir, .onnx or deployed file contains; runs nothing.",
    "lava": "Install, or look for, the environment that runs Lava.",
}
"""Every command, in the order of `--help`. Command `x` is the function `run` of `neurokd.cli.x`;
only the command that is called is imported. Its help is the line given here and then whatever
its docstring says after the first sentence."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit status.

    0 done (and the verdict holds), 1 the verdict does not hold, 2 bad input or usage,
    70 a bug of neurokd, 130 interrupted.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments  # anywhere on the line, before the command or after it
    arguments = [argument for argument in arguments if argument != "--debug"]

    def dispatch() -> int:
        status = _application(arguments)(args=arguments, prog_name="neurokd", standalone_mode=False)
        sys.stdout.flush()  # here, where a closed pipe is dealt with
        if status == INTERRUPTED:  # Typer makes a silent exit status of control-C
            raise KeyboardInterrupt
        return int(status or 0)

    return guard(dispatch, debug=debug)


def _application(arguments: Sequence[str]) -> typer.Typer:
    """The command that is called, with all it takes; of the others the names and a line each."""
    application = typer.Typer(
        name="neurokd",
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    application.callback()(_global_options)
    called = next((word for word in arguments if not word.startswith("-")), None)
    for name, summary in COMMANDS.items():
        if name == called:
            run = import_module(f"neurokd.cli.{name}").run
            _, _, details = (getdoc(run) or "").partition("\n")
            application.command(name, help=f"{summary}\n{details}")(run)
        else:
            application.command(name, help=summary)(_not_called)
    return application


def _not_called() -> None:
    """Stands in `--help` for a command whose file need not be imported."""


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"neurokd {__version__}")
        raise typer.Exit()


def _global_options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error; goes anywhere.")
    ] = False,
) -> None:
    """From a trained spiking network to neuromorphic and edge hardware, with proof."""
