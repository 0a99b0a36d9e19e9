"""A fork while Numba compiles or reads machine code: it waits for the end of that.

A child has none of the other threads. It would hold Numba's lock for ever if one of them did, and half of what that
thread was writing down.
"""

import os
import threading

from numba.core.compiler_lock import global_compiler_lock

_forking: list[
    int
] = []  # threads that hold the lock for their fork: Ctrl-C may have kept one from getting it


def _begin():
    global_compiler_lock.acquire()
    _forking.append(threading.get_ident())


def _end():
    thread = threading.get_ident()
    if thread in _forking:
        _forking.remove(thread)
        global_compiler_lock.release()


def register():
    """Have every fork of this process wait for the compilation that is under way in another thread."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_begin, after_in_parent=_end, after_in_child=_end)
