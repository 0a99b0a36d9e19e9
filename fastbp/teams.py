"""Teams of threads: how many a piece of work is worth, and the call that all of them enter."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

# Below this much work per batch a second thread cannot pay for two barriers, however idle the machine.
TEAM_FLOPS = 2e6
PROBE_FIRST = 2  # calls from one trial of the slower choice to the next: twice as many each time it loses,
PROBE_NEAR = 8  # up to this where it was nearly as fast: a trial costs little, an unlucky one decides less,
PROBE_FAR = 32  # and to this where it was slower by half or more
COSTLY_AFTER = 8
ALONE_SECONDS = 0.02  # a fit that is over before this has nothing to gain from a team, and threads to start

_active = 0
_active_lock = threading.Lock()


def default_threads() -> int:
    """Return how many cores this process may use: affinity, container limits, and what joblib's workers are given."""
    import joblib

    allowed = int(joblib.cpu_count())
    for name in ("FASTBP_NUM_THREADS", "OMP_NUM_THREADS"):
        value = os.environ.get(name, "")
        if value.isdigit() and int(value) > 0:
            return min(allowed, int(value))
    return allowed


def size_for(flops: float, n_threads: int | None) -> int:
    """Return how many threads a run uses: no more than asked for, than its work feeds, than this process has left."""
    if n_threads is not None and n_threads < 1:
        raise ValueError(f"n_threads must be at least 1 or None, got {n_threads}")
    if n_threads == 1 or flops < TEAM_FLOPS:
        return 1
    return default_threads() if n_threads is None else n_threads


class Pace:
    """The choice between one thread and a team, made by what each has taken: results are the same, only time differs.

    A team is faster on idle cores and slower where neighbors hold them, which no plan can know. Work begins on one
    thread; after `ALONE_SECONDS` a team is tried; then the faster one works, and the other is tried again, ever more
    seldom. The first call of either finds caches cold and a core asleep and says nothing. Where a call is costly, a
    whole large batch, a team begins, every call counts, and one thread waits `COSTLY_AFTER` calls for its first: there
    a team is nearly always the faster.
    """

    def __init__(self, team: int) -> None:
        self.team = team
        self._seconds = {1: 0.0, team: 0.0}
        self._spent = 0.0
        self._calls = 0
        self._cold = {1, team}
        self._costly = False
        self._wait = PROBE_FIRST
        self._next = 0

    @property
    def _best(self) -> int:
        return min(self._seconds, key=self._seconds.__getitem__)

    def choose(self, costly: bool = False) -> tuple[int, bool]:
        """Return how many threads the next call gets, and whether that is a trial (which may be short)."""
        if self.team == 1:
            return 1, False
        self._calls += 1
        self._costly = costly
        if costly:
            self._cold.clear()
        elif self._spent < ALONE_SECONDS:
            return 1, True
        if self._seconds[self.team] == 0.0:
            return self.team, True
        if self._seconds[1] == 0.0:
            wait = costly and self._calls <= COSTLY_AFTER
            return (self.team, False) if wait else (1, True)
        if self._calls < self._next:
            return self._best, False
        return (self.team if self._best == 1 else 1), True

    def note(self, size: int, elapsed: float, units: int = 1) -> None:
        """Remember what a unit of work took with `size` threads: at once if it was less, by halves if it was more."""
        self._spent += elapsed
        if size in self._cold:
            self._cold.remove(size)
            return
        seconds = elapsed / units
        before, best = self._seconds[size], self._best
        self._seconds[size] = seconds if not 0.0 < before < seconds else 0.5 * (before + seconds)
        slow, fast = max(self._seconds.values()), min(self._seconds.values())
        if fast == 0.0:
            return
        if self._best != best or self._next == 0:
            self._wait = PROBE_FAR if self._costly else PROBE_FIRST
        elif size != best:
            self._wait = min(2 * self._wait, PROBE_NEAR if slow < 1.5 * fast else PROBE_FAR)
        else:
            return
        self._next = self._calls + self._wait


def together(call: Callable[[int, int], int], team: int, stop: Callable[[], None]) -> int:
    """Run call(member, team) on `team` threads at once, or on fewer where no more can be started; return member 0's.

    All of them are helpers and this thread only waits, so that a signal is answered while a long call runs: `stop`
    makes the call end early, and the exception goes on when all have. Threads of one call share the process's cores
    with those of other calls: the more fits run at once, the fewer threads each gets. They live for one call of about
    50 ms, so nothing survives to trouble a fork.
    """
    global _active
    with _active_lock:
        _active += 1
    try:
        return _run(call, team if team == 1 else max(1, min(team, -(-default_threads() // _active))), stop)
    finally:
        with _active_lock:
            _active -= 1


def _run(call: Callable[[int, int], int], team: int, stop: Callable[[], None]) -> int:
    results: dict[int, int] = {}
    errors: list[BaseException] = []
    go, over = threading.Event(), threading.Event()
    size = started = 0

    def member(number: int) -> None:
        go.wait()
        try:
            if number < size:
                results[number] = int(call(number, size))
        except BaseException as error:
            errors.append(error)
        finally:
            ended.append(number)
            if len(ended) >= size:
                over.set()

    ended: list[int] = []
    try:
        for number in range(team):
            try:
                threading.Thread(target=member, args=(number,), name="fastbp", daemon=True).start()
            except RuntimeError:
                break
            started += 1
        size = started
        go.set()
        if size:
            over.wait()
    except BaseException:
        # Interrupted: if the gate is closed nobody has begun and nobody will; else all of them end at the next block.
        # It is opened anew in any case: an interrupt amid `set` leaves it open and some of them asleep before it.
        if not go.is_set():
            size = 0
        go.set()
        while len(ended) < size:
            stop()
            over.wait(0.01)
        raise
    if errors:
        raise errors[0]
    return results[0] if size else call(0, 1)
