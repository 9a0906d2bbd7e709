"""A script: begins a run, kills itself, resumes, and so on, until the last life comes to the end.

    python killed_lives.py RUN 3,7,0 train CONFIG …

Each life is a process of its own; what they all import is imported once, before them. The N-th
kills itself just before that many operations on files of the run (0: it is not killed), so that no
clock decides where. How each one ended is a line on stderr.
"""

import os
import signal
import sys

import numba.np.arraymath  # noqa: F401  (what a first step brings)
import scipy.linalg  # noqa: F401
import torch._dynamo  # noqa: F401

import neurokd.training  # noqa: F401
from neurokd.cli.app import main

folder, moments, words = sys.argv[1], [int(n) for n in sys.argv[2].split(",")], sys.argv[3:]

if words[0] == "continual":
    import neurokd.continual.learn

    neurokd.continual.learn.CHECKPOINT_SECONDS = 0.0  # after every epoch


def live(left: int) -> None:
    def count(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        writes = event in ("open", "os.rename", "os.mkdir", "os.remove")
        if writes and str(arguments[0]).startswith(folder):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    resume = ["--resume"] if os.path.exists(os.path.join(folder, "last.ckpt")) else []
    os._exit(main([*words, "--out", folder, *resume]))


for moment in moments:
    child = os.fork()
    if child == 0:
        live(moment)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), file=sys.stderr)
