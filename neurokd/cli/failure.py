"""What the command line does with an error: one line on stderr and an exit status."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable

import typer

from neurokd.errors import NeurokdError

BAD_INPUT = 2
BUG = 70  # EX_SOFTWARE of sysexits.h
INTERRUPTED = 130
BROKEN_PIPE = 141


def guard(action: Callable[[], int], *, debug: bool) -> int:
    """The exit status of ``action``; every error becomes one line, with ``debug`` its traceback.

    2: input or usage that is refused, or a file that the system refuses. 70: any other error,
    which is a bug of neurokd. 130: interrupted. 141: the reader of stdout is gone.
    """
    try:
        return action()
    except KeyboardInterrupt:
        return _say("interrupted", INTERRUPTED)
    except typer.Abort:
        return _say("aborted", INTERRUPTED)
    except BrokenPipeError:
        # Python flushes stdout once more at its end, which must not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except NeurokdError as error:
        return _report(error.line(), BAD_INPUT, debug)
    except typer.TyperException as error:
        return _report(
            f"{error.format_message().rstrip('.')}; see `neurokd --help`", BAD_INPUT, debug
        )
    except OSError as error:
        return _report(_system_message(error), BAD_INPUT, debug)
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        remedy = "" if debug else "; --debug shows where"
        return _report(f"this is a bug of neurokd: {what}{remedy}", BUG, debug)


def _report(line: str, status: int, debug: bool) -> int:
    if debug:
        traceback.print_exc(file=sys.stderr)
    return _say(line, status)


def _say(line: str, status: int) -> int:
    print(f"neurokd: {' '.join(line.split())}", file=sys.stderr)
    return status


def _system_message(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename is not None else ""
    return f"{where}{error.strerror or error}"
