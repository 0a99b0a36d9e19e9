"""What threads of a team share: atomic words, phases whose blocks are handed out once, and a wait that lets go."""

import threading

import numba
import numpy as np
import pytest

from fastbp.kernels.machine import sync
from tests.kernels.oracles import INTERPRETED


def released(function):
    """Compile with the GIL released, as the kernels are: threads of a team wait for each other inside."""
    return numba.njit(nogil=True)(function)


@released
def claim(shared, phase, blocks, team, last):
    return sync.claim(sync.Team(shared, team, 0), phase, blocks, last)


@released
def finished(shared, block, blocks, team):
    return sync.finished(sync.Team(shared, team, 0), block, blocks)


@released
def advance(shared, phase, stopped, team):
    sync.advance(sync.Team(shared, team, 0), phase, stopped)


@released
def wait(shared, phase, team):
    sync.wait(sync.Team(shared, team, 0), phase)


@released
def exchange(shared, i, expected, value):
    return sync.exchange(shared, i, expected, value)


@released
def work(shared, phases, blocks, done, mine):
    """Every block of phase p must find all of phase p - 1 done; count what is done, and by whom."""
    team = sync.Team(shared, 2, 0)
    for phase in range(phases):
        block = sync.claim(team, phase, blocks, -1)
        while block < blocks:
            if phase == 0 or done[phase - 1].sum() == blocks:
                done[phase, block] += 1
                mine[0] += 1
            if sync.finished(team, block, blocks):
                sync.advance(team, phase, 0)
            block = sync.claim(team, phase, blocks, block)
        sync.wait(team, phase)


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
    """A team of one hands out its blocks by counting, ends a phase with the last, and never waits."""
    shared = shared_words()
    assert [claim(shared, 5, 3, 1, last) for last in (-1, 0, 1, 2)] == [0, 1, 2, 3]
    assert [finished(shared, block, 3, 1) for block in range(3)] == [False, False, True]
    advance(shared, 5, 1, 1)
    wait(shared, 5, 1)
    assert shared[sync.STOPPED] == 1
    assert np.count_nonzero(shared) == 1


def test_a_phase():
    """Each block is claimed once; the last one done opens the next phase, whose number and blocks start anew."""
    shared = shared_words()
    assert [claim(shared, 0, 3, 2, -1) for _ in range(5)] == [0, 1, 2, 3, 3]
    assert [finished(shared, block, 3, 2) for block in (2, 0, 1)] == [False, False, True]
    waiting = threading.Thread(target=wait, args=(shared, 0, 2))
    waiting.start()
    waiting.join(0.05)
    assert waiting.is_alive() or INTERPRETED, "a phase that is not over let somebody pass"
    advance(shared, 0, 0, 2)
    waiting.join()
    assert shared[sync.PHASE] == 1
    assert shared[sync.DONE] == 0
    assert claim(shared, 0, 3, 2, -1) == 3  # who comes late for phase 0 gets nothing
    assert claim(shared, 2, 3, 2, -1) == 3  # and nobody gets ahead
    assert [claim(shared, 1, 2, 2, -1) for _ in range(3)] == [0, 1, 2]


def test_exchange():
    shared = shared_words()
    assert exchange(shared, 3, 0, 7)
    assert not exchange(shared, 3, 0, 8)
    assert shared[3] == 7


@pytest.mark.skipif(INTERPRETED, reason="Python's threads take turns")
@pytest.mark.parametrize("team", [1, 2, 3, 7])
@pytest.mark.parametrize("blocks", [1, 2, 5])
def test_every_block_is_done_once_and_in_its_phase(team, blocks):
    """With any number of threads, whenever they come."""
    shared, phases = shared_words(), 300
    done = np.zeros((phases, blocks), np.int64)
    mine = np.zeros((team, 1), np.int64)
    in_threads(lambda k: work(shared, phases, blocks, done, mine[k]), team)
    assert np.all(done == 1)
    assert mine.sum() == phases * blocks


@pytest.mark.skipif(INTERPRETED, reason="Python's += is not atomic")
def test_nothing_is_counted_twice():
    shared, times = shared_words(), 20_000
    in_threads(lambda k: add(shared, 8, times), 4)
    assert shared[8] == 4 * times
