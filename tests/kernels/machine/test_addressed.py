"""Functions called by their address: the right one, with the right arguments, and compiled if somebody asks only."""

import os
import subprocess
import sys
import textwrap
from typing import NamedTuple

import numba
import numpy as np
import pytest

from fastbp.kernels.machine.addressed import address_of, by_address
from fastbp.kernels.machine.records import Record, View, record_at
from tests.kernels.oracles import INTERPRETED, compiled

HEAD = Record("AddressedHead", {"count": 0, "rate": 1}, 1)
head_at = record_at(HEAD)


class Pair(NamedTuple):
    head: object
    values: np.ndarray


def examples(dtype):
    return Pair(View(np.zeros(2, np.int64), 0, HEAD), np.zeros(0, dtype)), 0, False


call = by_address(examples)


@compiled
def add(pair, place, twice):
    pair.values[place] += pair.head.count * pair.head.rate * (2 if twice else 1)


@compiled
def subtract(pair, place, twice):
    pair.values[place] -= pair.head.count * pair.head.rate * (2 if twice else 1)


@compiled
def fail(pair, place, twice):
    if place == 1:
        raise IndexError("a kernel reached outside its array")
    pair.values[place] = 7.0


@compiled
def caller(address, words, values, place):
    pair = Pair(head_at(words, 0), values)
    call(address, (pair, place, False))
    call(address, (pair, 0, place == 2))


def words(count, rate):
    made = np.zeros(2, np.int64)
    made[0], made.view(np.float64)[1] = count, rate
    return made


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_function_at_the_address_is_called(dtype):
    for function, sign in ((add, 1), (subtract, -1)):
        values = np.zeros(4, dtype)
        caller(address_of(function, examples(dtype)), words(3, 0.5), values, 2)
        np.testing.assert_array_equal(values, [3.0 * sign, 0.0, 1.5 * sign, 0.0])


def test_an_error_comes_through():
    values = np.zeros(4)
    with pytest.raises(IndexError, match="outside its array"):
        caller(address_of(fail, examples("float64")), words(1, 1.0), values, 1)
    np.testing.assert_array_equal(values, 0.0)


@pytest.mark.skipif(INTERPRETED, reason="nothing has types")
def test_other_types_are_not_compiled():
    @numba.njit
    def wrong(address, words, values):
        call(address, (Pair(head_at(words, 0), values), 1.0, False))

    with pytest.raises(TypeError, match="other types than its own"):
        wrong(address_of(add, examples("float64")), words(1, 1.0), np.zeros(4))


@pytest.mark.skipif(INTERPRETED, reason="nothing is compiled")
def test_who_needs_no_entry_compiles_none(tmp_path):
    """Dense rows train with `run` alone; a wide text asks for `first_layer` and `waiting_phase`, once each."""
    program = """
        import numpy as np, scipy.sparse
        import fastbp as fb
        from fastbp.kernels.machine.jit import kept

        net = fb.Sequential([fb.Dense(2), fb.Dense(1)], n_inputs=3)
        net.fit(np.ones((4, 3)), np.ones((4, 1)), verbose=0)
        print(*kept())
        net = fb.Sequential([fb.Dense(32), fb.Dense(1)], n_inputs=30_000)
        x = scipy.sparse.random(40, 30_000, 0.001, "csr", random_state=0)
        for _ in range(2):
            net.fit(x, np.ones((40, 1)), batch_size=20, n_threads=1, verbose=0)
        print(*kept())
    """
    environment = {**os.environ, "FASTBP_CACHE_DIR": str(tmp_path), "FASTBP_QUIET": ""}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    dense, text = done.stdout.splitlines()
    assert dense == "network.run for float32"
    assert {"network.run", "waiting.waiting_phase", "sparse.first_layer"} == set(text.split()[::3])
    assert done.stderr.count("compiling waiting_phase for float32") == 1
