"""What threads of a team share: atomic counters, work handed out once, a barrier that holds and lets go."""

import threading

import numba
import numpy as np
import pytest
from oracles import INTERPRETED

from fastbp.kernels import sync


def released(function):
    """Compile with the GIL released, as the kernels are: threads of a team wait for each other inside."""
    return numba.njit(nogil=True)(function)


@released
def barrier(shared, team):
    sync.barrier(shared, team)


@released
def claim(shared, counter, team, last):
    return sync.claim(shared, counter, team, last)


@released
def read(shared, i):
    return sync.read(shared, i)


@released
def meet(shared, team, rounds, here, seen):
    """Write the number of the round, meet, read what the others wrote, meet again."""
    for k in range(rounds):
        sync.publish(shared, here, np.int64(k + 1))
        sync.barrier(shared, team)
        for other in range(team):
            seen[k, other] = sync.read(shared, 64 + 8 * other)
        sync.barrier(shared, team)


@released
def add(shared, i, times):
    before = 0
    for _ in range(times):
        before = sync.fetch_add(shared, i, np.int64(1))
    return before


def shared_words():
    return np.zeros(256, np.int64)


def in_threads(call, count):
    threads = [threading.Thread(target=call, args=(k,)) for k in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_alone():
    """A team of one hands out its blocks by counting and passes every barrier."""
    shared = shared_words()
    assert [claim(shared, sync.ROWS, 1, last) for last in (-1, 0, 1)] == [0, 1, 2]
    barrier(shared, 1)
    assert not shared[: sync.ROWS].any()


def test_two_meet():
    """The first waits until the second comes; the second resets the counters of work."""
    shared = shared_words()
    claimed = [claim(shared, sync.ROWS, 2, -1) for _ in range(3)]
    assert claimed == [0, 1, 2]
    waiting = threading.Thread(target=barrier, args=(shared, 2))
    waiting.start()
    while read(shared, sync.ARRIVED) == 0:
        pass
    waiting.join(0.05)
    assert waiting.is_alive(), "a barrier let one of two pass"
    barrier(shared, 2)
    waiting.join()
    assert shared[sync.ARRIVED] == shared[sync.ROWS] == shared[sync.BLOCKS] == 0
    assert shared[sync.GENERATION] == 1


@pytest.mark.skipif(INTERPRETED, reason="Python's threads take turns")
@pytest.mark.parametrize("team", [2, 3, 7])
def test_nobody_passes_early(team):
    shared, rounds = shared_words(), 300
    seen = np.zeros((team, rounds, team), np.int64)
    in_threads(lambda k: meet(shared, team, rounds, 64 + 8 * k, seen[k]), team)
    assert np.array_equal(seen, np.broadcast_to(np.arange(1, rounds + 1)[None, :, None], seen.shape))


@pytest.mark.skipif(INTERPRETED, reason="Python's += is not atomic")
def test_nothing_is_counted_twice():
    shared, times = shared_words(), 20_000
    add(shared, 0, 1)
    in_threads(lambda k: add(shared, 8, times), 4)
    assert shared[8] == 4 * times
    blocks = [[] for _ in range(4)]

    def take(k):
        while (block := claim(shared, 16, 4, -1)) < 2000:
            blocks[k].append(block)

    in_threads(take, 4)
    assert sorted(sum(blocks, [])) == list(range(2000))
