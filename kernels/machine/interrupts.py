"""Ctrl-C while Numba is imported, imports what it needs, or reads machine code: it waits for the end of that."""

import contextlib
import signal
import threading


@contextlib.contextmanager
def held_back():
    """Let Ctrl-C take effect at the end of the block only.

    Numba imports parts of itself when it first needs them, and registers what they define. An import that is cut short
    has registered some of it, so the next attempt is refused, and nothing could be compiled in this process any more.
    """
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield  # the signal does not arrive here, or raises nothing
        return
    pressed = []
    signal.signal(signal.SIGINT, lambda *arguments: pressed.append(arguments))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if pressed:
            handler(*pressed[-1])
