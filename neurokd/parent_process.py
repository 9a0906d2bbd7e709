"""The parent process, which its children do not outlive."""

from __future__ import annotations

import multiprocessing
import os
import threading


def end_with_parent() -> None:
    """From now on this process, a child by multiprocessing, ends at once when its parent does.

    However the parent ends, by SIGKILL too, and whatever is done here, a collective included.
    """
    threading.Thread(target=_end_after_parent, daemon=True).start()


def _end_after_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
