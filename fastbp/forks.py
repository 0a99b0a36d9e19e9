"""A fork while another thread imports a part of fastbp: it waits for the end of that.

Names are imported when they are first used, packages such as Numba and SciPy when they are first needed. Python has a
lock for each module that is being imported. A child has none of the other threads, so a lock that one of them held at
the fork is held for ever, and the child's own import of the module never returns.
"""

from __future__ import annotations

# Holds its lock over a fork, and packages ask for that lock while they are imported. Hooks run in the reverse order of
# their registration: with logging here, nobody holds the lock while this room waits for an import to end.
import logging  # noqa: F401
import os
import sys
import threading
import time
from types import FrameType

# Seconds until a fork no longer waits. An import takes two; one that waits for the forking thread itself never ends.
PATIENCE = 60.0
IMPORTLIB = "<frozen importlib._bootstrap>"


def importing(frame: FrameType | None) -> bool:
    """Whether a thread imports a part of fastbp, or something for it.

    Parameters
    ----------
    frame : frame
        The innermost one of the thread.

    >>> importing(None)
    False
    """
    within = False
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if frame.f_code.co_filename == IMPORTLIB:
            within = True
        elif (name == "fastbp" or name.startswith("fastbp.")) and (
            within or frame.f_code.co_name == "<module>"
        ):
            return True
        frame = frame.f_back
    return False


def _wait() -> None:
    own, end = threading.get_ident(), time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if not any(importing(frame) for thread, frame in sys._current_frames().items() if thread != own):
            break
        time.sleep(0.001)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_wait)
