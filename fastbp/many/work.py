"""Threads that take one piece of work after the other, while the caller's thread shows how far they are."""

from __future__ import annotations

import collections
import math
import queue
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from fastbp.callbacks import Callback
from fastbp.callbacks.reports import bar_of

Piece = Callable[["Control"], str]


class Interrupted(KeyboardInterrupt):
    """Raised in a thread that is to end: the net in its hands stays as its last chunk has left it."""


class Control:
    """How far all threads are together, and whether they are to end.

    Parameters
    ----------
    deadline : float
        When they are to end, by `time.monotonic`.

    Attributes
    ----------
    samples : int
        Rows trained.
    ends : bool
        Whether each thread is to end with its present chunk.
    late : bool
        Whether that is because of the deadline.
    note : str
        Shown behind the bar.

    >>> control = Control()
    >>> control.advance(5)
    >>> control.samples
    5
    """

    def __init__(self, deadline: float = math.inf) -> None:
        self.samples = 0
        self.ends = self.late = False
        self.note = ""
        self._deadline = deadline
        self._lock = threading.Lock()

    def advance(self, samples: int) -> None:
        """Note that so many rows were trained; raise `Interrupted` if that was to be the last chunk."""
        with self._lock:
            self.samples += samples
        self.check()

    def check(self) -> None:
        """Raise `Interrupted` if the threads are to end."""
        if time.monotonic() >= self._deadline:
            self.ends = self.late = True
        if self.ends:
            raise Interrupted


class Watch(Callback):
    """Tells `Control` of every chunk."""

    _late = True

    def __init__(self, control: Control) -> None:
        self._control = control

    def on_chunk_end(self, seconds: float, samples: int) -> bool | None:
        """Count the rows."""
        self._control.advance(samples)
        return None


def work_off(
    pieces: Sequence[Piece],
    threads: int,
    control: Control,
    *,
    samples: int = 0,
    verbose: int = 0,
    title: str = "",
) -> None:
    """Do all pieces, each in one of the threads, begun in their order; return when all threads have left.

    Parameters
    ----------
    pieces : sequence of callables
        Called with `control`; each returns a line of text about what it did.
    threads : int
    control : Control
    samples : int
        Rows to train in all, for the bar.
    verbose : int
        1: one bar on a terminal or in a notebook. 2: the line of each piece on standard error.
    title : str
        Of the bar.

    Raises
    ------
    KeyboardInterrupt, or what a piece raised
        The other pieces in hand end with their next chunk, and no further one begins.
    """
    left = collections.deque(pieces)
    control.ends = False  # of an earlier call
    told: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()

    def work() -> None:
        try:
            while not control.ends:
                try:
                    piece = left.popleft()
                except IndexError:
                    break
                told.put(("line", piece(control)))
        except Interrupted:
            pass
        except BaseException as error:
            control.ends = True
            told.put(("error", error))
        finally:
            told.put(("left", None))

    bar = bar_of(samples) if verbose == 1 else None
    begun = control.samples
    if bar is not None:
        bar.set_description_str(title, refresh=False)
    started: list[threading.Thread] = []
    error: BaseException | None = None
    try:
        for _ in range(min(threads, len(pieces))):
            # Before it starts: it may be under way already when an interrupt ends the wait for that.
            started.append(threading.Thread(target=work))
            try:
                started[-1].start()
            except (RuntimeError, MemoryError):
                started.pop()  # at the process's limit of threads
                break
        if pieces and not started:
            work()
        at_work = len(started)
        while at_work:
            try:
                kind, content = told.get(timeout=0.1)
            except queue.Empty:
                kind, content = "", None
            if kind == "left":
                at_work -= 1
            elif kind == "error":
                error = error or content
            elif kind == "line" and verbose == 2:
                sys.stderr.write(content + "\n")
            if bar is not None:
                _show(bar, control, begun)
    finally:
        control.ends = True
        _join(started)
        if bar is not None:
            _show(bar, control, begun)
            bar.close()
    while error is None and not told.empty():
        kind, content = told.get()
        error = content if kind == "error" else None
    if error is not None:
        raise error


def _show(bar: Any, control: Control, begun: int) -> None:
    """Move a bar that began when so many rows were trained."""
    if control.note:
        bar.set_postfix_str(control.note, refresh=False)
    bar.update(control.samples - begun - bar.n)


def _join(threads: Sequence[threading.Thread]) -> None:
    """Wait until all threads have left, also if Ctrl-C is pressed again meanwhile; then raise that."""
    again: KeyboardInterrupt | None = None
    for thread in threads:
        while thread.is_alive():
            try:
                thread.join(0.1)
            except KeyboardInterrupt as interrupt:
                again = interrupt
    if again is not None:
        raise again
