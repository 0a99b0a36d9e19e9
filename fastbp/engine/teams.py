"""Teams of threads: how many a piece of work is worth, and the call that all of them enter."""

from __future__ import annotations

import _thread
import functools
import math
import os
import queue
import sys
import threading
import time
import weakref
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING

from fastbp.validation import check_threads

# The least work of a batch for a team: with less, a second thread cannot pay for two phases even on an idle machine.
TEAM_FLOPS = 2e6
# The least work of a call: with less, starting a helper costs more than it saves (docs/decisions/by-the-clock.rst).
CALL_FLOPS = 5e7
FIRST_TRIAL = 2  # calls before the slower choice is tried; the pause doubles while it stays the slower,
LONGEST_PAUSE = 32  # up to this many calls
COSTLY = (
    4  # times longer pauses if a call is a whole large batch, since a trial cannot be shorter than a call
)

PATIENCE = 1.0  # seconds until a caller that has sent others to work does it itself if none of them has come
GLANCE = 1e-4  # seconds between two looks at whether a step is over

_active = 0
_active_lock = threading.Lock()
_training_locks: weakref.WeakSet[TrainingLock] = weakref.WeakSet()


class Turn:
    """Whose turn it is: nobody's while there is an attribute `free`. If it is `closed`, somebody waits for it.

    Of two threads that delete an attribute one gets an error, and no operation of Python is quicker.
    """

    free: bool

    def __init__(self) -> None:
        self.free = self.closed = True


class TrainingLock(_thread.RLock):  # type: ignore[misc]  # final to type checkers only
    """A lock for one trainable object: who trains it, callbacks included, may enter again; others wait.

    To enter and to leave it takes a tenth of the smallest step. So there is a quick way for a call that calls nobody
    back, such as a step that is made again with other arrays. It takes the turn if nobody has it and it is not closed::

        turn = lock.turn
        try:
            del turn.free  # whoever can has it; Ctrl-C comes at calls, so not before the next try
        except AttributeError:
            pass
        else:
            try:
                if not turn.closed:
                    ...
            finally:
                turn.free = True
        del turn

    Whoever enters closes it, and waits for the call that has the turn. It stays closed until `open` is called. A signal
    handler may interrupt that very call: to wait for it would be to wait for ever, so that is an error. Such a call is
    known by its frame, in which the name `turn` stands for the turn as long as it has it.
    """

    if TYPE_CHECKING:

        def _is_owned(self) -> bool: ...
        def _at_fork_reinit(self) -> None: ...

    def __init__(self) -> None:
        self.turn = Turn()

    def __enter__(self) -> bool:  # type: ignore[override]
        """Wait until nobody else is inside and nobody has the turn."""
        again = self._is_owned()
        try:
            if not self.acquire(blocking=False):
                self._refuse_within()  # whoever is inside waits for that step
                self.acquire()
            self.turn.closed = True
            while not hasattr(self.turn, "free"):
                self._refuse_within()
                time.sleep(GLANCE)
        except BaseException:
            if not again and self._is_owned():
                self.release()
            raise
        return True

    def _refuse_within(self) -> None:
        """Raise an error if this call has interrupted the one that has the turn, and would wait for ever."""
        if self._interrupted():
            raise RuntimeError(
                "the step that this call has interrupted trains the same model: train it later"
            )

    def _interrupted(self) -> bool:
        """Whether a call of this very thread has the turn, and goes on when its caller's caller has returned."""
        if hasattr(self.turn, "free"):
            return False
        frame: FrameType | None = sys._getframe()
        while frame is not None:
            if "turn" in frame.f_code.co_varnames and frame.f_locals.get("turn") is self.turn:
                return True
            frame = frame.f_back
        return False

    def open(self) -> None:
        """Let others take the turn, until somebody enters: the last act of who has entered, and is in no callback."""
        self.turn.closed = False


def training_lock() -> TrainingLock:
    """Return a new lock, which a fork makes usable in the child."""
    lock = TrainingLock()
    _training_locks.add(lock)
    return lock


def held(lock: TrainingLock) -> bool:
    """Whether this thread is inside a `training_lock`: another one that waits for it would wait for ever."""
    return lock._is_owned()


def _alone_after_fork() -> None:
    """In a child: calls and trainings of the parent's other threads are not under way here, and they hold no lock."""
    global _active, _active_lock
    _active, _active_lock = 0, threading.Lock()
    for lock in _training_locks:
        if not lock._is_owned():  # else this very thread trains, and goes on
            lock._at_fork_reinit()
            if not lock._interrupted():
                lock.turn.free = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_alone_after_fork)


def default_threads() -> int:
    """Return how many cores this process may use: affinity, limits of a container, limits that joblib sets."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    allowed = _allowed(os.getpid(), affinity, os.environ.get("LOKY_MAX_CPU_COUNT"))
    for name in ("FASTBP_NUM_THREADS", "OMP_NUM_THREADS"):
        value = os.environ.get(name, "")
        if value.isdigit() and int(value) > 0:
            return min(allowed, int(value))
    return allowed


@functools.lru_cache(maxsize=4)
def _allowed(pid: int, affinity: int, limit: str | None) -> int:
    """Return joblib's count of cores. It takes a millisecond, so it is kept for all that it depends on."""
    import joblib

    return int(joblib.cpu_count())


def size_for(flops: float, n_threads: int | None) -> int:
    """Return how many threads a run may use: as many as asked for, and one if a batch has too little work for two.

    Raises
    ------
    TypeError, ValueError
        What `check_threads` says.
    """
    n_threads = check_threads(n_threads)
    if n_threads == 1 or flops < TEAM_FLOPS:
        return 1
    # Never more than there are cores: each thread costs memory, and `together` starts no more.
    return min(default_threads(), n_threads or 2**62)


def for_call(team: int, flops: float) -> int:
    """Return how many threads of a run's team a call of so much work gets."""
    return team if flops >= CALL_FLOPS else 1


class Pace:
    """The choice between one thread and a team, by the time that each has taken; the results are the same.

    A team is slower if neighbors hold the cores, or if a host has placed virtual cores badly. That cannot be known
    beforehand. So a team begins, and one thread is tried after `FIRST_TRIAL` calls, later if a call is a whole large
    batch. Then the faster of the two works, and the other is tried again after longer and longer pauses.
    """

    def __init__(self, team: int) -> None:
        self.team = team
        self._seconds = {team: 0.0, 1: math.inf}
        self._calls = 0
        self._last = 0
        self._pause = FIRST_TRIAL

    @property
    def _best(self) -> int:
        return min(self._seconds, key=self._seconds.__getitem__)

    def choose(self, costly: bool = False) -> tuple[int, bool]:
        """Return how many threads the next call gets, and whether that is a trial (which may be short)."""
        if self.team == 1:
            return 1, False
        self._calls += 1
        best = self._best
        if self._calls <= self._last + self._pause * (COSTLY if costly else 1):
            return best, False
        return (self.team if best == 1 else 1), True

    def note(self, size: int, elapsed: float, units: int = 1) -> None:
        """Remember the time of a unit of work with `size` threads: a shorter one at once, a longer one by half."""
        if self.team == 1:
            return
        seconds, before, best = elapsed / units, self._seconds[size], self._best
        known = 0.0 < before < math.inf
        self._seconds[size] = 0.5 * (before + seconds) if known and seconds > before else seconds
        if self._best != best:
            self._pause = FIRST_TRIAL
        elif size != best:
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
        else:
            return
        self._last = self._calls


def together(call: Callable[[], int], team: int, stop: Callable[[], None], *, apart: bool = False) -> int:
    """Run call() on up to `team` threads at once and return what it returned; this thread is one of them.

    Nobody needs anybody (see kernels/machine/sync.py): the work is done whoever comes, so a helper that has not begun
    when it is over does not begin, and is not waited for. With `apart` helpers do all of it and this thread only waits,
    so that a signal is answered while a long call runs: `stop` makes the call end early, and the exception goes on when
    all have left. Calls of several threads at once share the process's cores: the more there are, the fewer helpers
    each gets. Helpers live for one call of about 50 ms, so nothing survives to trouble a fork.
    """
    global _active
    with _active_lock:
        _active += 1
    try:
        if team > 1:
            team = min(team, max(1, -(-default_threads() // max(1, _active))))
        return _run(call, team if apart else team - 1, stop, apart)
    finally:
        with _active_lock:
            _active -= 1


def _run(call: Callable[[], int], helpers: int, stop: Callable[[], None], apart: bool) -> int:
    closed = False
    entered: list[None] = []
    left: list[None] = []
    results: list[int] = []
    errors: list[BaseException] = []
    # A queue in C, not an Event in Python: Ctrl-C amid the latter's lines comes out as an error of its own lock.
    departures: queue.SimpleQueue[None] = queue.SimpleQueue()

    def help_out() -> None:
        inside = False
        try:
            # In this order: who closes the door sees everybody who may be inside.
            entered.append(None)
            inside = True
            if not closed:
                results.append(call())
        except BaseException as error:
            errors.append(error)
        finally:
            if inside:
                left.append(None)
            departures.put(None)

    try:
        started = 0
        for _ in range(helpers):
            try:
                # Not threading.Thread, whose start waits until the new thread runs: 0.2 ms of every call.
                _thread.start_new_thread(help_out, ())
            except (RuntimeError, MemoryError):
                break  # at the process's limit of threads, or without memory for one more stack
            started += 1
        if not (apart and started and _departed(departures, entered)):
            results.append(call())
        closed = True
        while len(left) < len(entered):
            departures.get()
    except BaseException:
        closed = True
        while len(left) < len(entered):
            stop()
            time.sleep(0.01)
        raise
    if errors:
        raise errors[0]
    return results[0]


def _departed(departures: queue.SimpleQueue[None], entered: list[None]) -> bool:
    """Wait until a helper has left; False if after some time none has come: without memory a thread does not begin."""
    try:
        departures.get(timeout=PATIENCE)
    except queue.Empty:
        if not entered:
            return False
        departures.get()
    return True
