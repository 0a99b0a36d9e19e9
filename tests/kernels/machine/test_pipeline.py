"""What is changed in Numba's pipeline changes how long it takes, not what comes out, and nothing for anybody else."""

import contextlib
import gc
import operator
import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numba
import numpy as np
import pytest
from numba.core import types
from numba.core.registry import cpu_target
from numba.core.types.functions import BaseFunction

from fastbp.kernels.machine.pipeline import with_less_work
from tests.kernels.oracles import INTERPRETED

pytestmark = pytest.mark.skipif(INTERPRETED, reason="nothing is compiled")


def operations(a, b, array):
    return a + b, a * b, a / b, a < b, a == b, -a, array[0] + a, array[1] * b, a**2, 2 * (a - b) + a * b


def compiled(function, remember):
    dispatcher = numba.njit(function)
    if remember:
        dispatcher.compile = with_less_work(dispatcher.compile)
    return dispatcher


@pytest.mark.parametrize("dtype", [np.int8, np.uint64, np.float32])
def test_operators_give_what_they_gave(dtype):
    """Types and values, where several combinations of types meet in one function."""
    found, plain = (compiled(operations, remember) for remember in (True, False))
    arguments = dtype(3), np.float64(0.5), np.arange(2, dtype=dtype)
    assert found(*arguments) == plain(*arguments)
    arguments = dtype(3), np.int32(2), np.arange(2, dtype=np.float32)
    assert found(*arguments) == plain(*arguments)
    assert found.nopython_signatures == plain.nopython_signatures


def test_an_answer_for_two_literals_is_none_for_other_numbers():
    """Numba knows that 3 == 3; whatever is compared later in the same compilation is to be looked at."""
    two, three = 2, 3  # literals to Numba, as the names of the plan's places are

    def comparisons(n):
        return three == 3, two == 3, n == 3, n != 3, three == n, two != 3

    found = compiled(comparisons, True)
    for n in (2, 3):
        assert found(n) == comparisons(n)


def test_numba_is_left_as_it_was():
    before = BaseFunction.get_call_type
    assert compiled(operations, True)(1, 2, np.ones(2))[0] == 3
    assert BaseFunction.get_call_type is before
    with pytest.raises(numba.TypingError, match="No implementation of function"):
        compiled(lambda: 1 + "text", True)()
    assert BaseFunction.get_call_type is before


@pytest.mark.parametrize("own", [(700, 10, 10), (50_000, 5, 7), (0, 10, 10)])
@pytest.mark.parametrize("fails", [False, True])
def test_garbage_is_collected_more_rarely_meanwhile(own, fails):
    """The user's numbers come back, and those that ask for less are left alone."""
    seen, before = [], gc.get_threshold()

    def compile_entry(signature):
        seen.append(gc.get_threshold())
        if fails:
            raise ZeroDivisionError

    gc.set_threshold(*own)
    own = gc.get_threshold()  # Python 3.14 has no third
    try:
        with contextlib.suppress(ZeroDivisionError):
            with_less_work(compile_entry)(())
        assert gc.get_threshold() == own
    finally:
        gc.set_threshold(*before)
    assert seen[0][1:] == own[1:]
    assert seen[0][0] == (10_000 if own[0] == 700 else own[0])


def test_only_the_compiling_thread_is_remembered_for():
    """What another thread asks Numba meanwhile, without compiling and so without its lock, is answered by Numba."""
    asked, plain = [], numba.njit(operations)
    plain(1, 2, np.ones(2))
    context = cpu_target.typing_context
    add = context.resolve_value_type(operator.add)

    def compile_entry(signature):
        thread = threading.Thread(
            target=lambda: asked.append(BaseFunction.get_call_type(add, context, pair, {}))
        )
        pair = (types.int64, types.int64)
        first = BaseFunction.get_call_type(add, context, pair, {})
        again = BaseFunction.get_call_type(add, context, pair, {})
        thread.start()
        thread.join()
        return first, again

    first, again = with_less_work(compile_entry)(())
    assert first is again
    assert asked == [first]


AT_THE_SAME_TIME = """
import threading, time
import numba, numpy as np
from numba.core.types.functions import BaseFunction
import fastbp.kernels as kernels
from fastbp.kernels.compiled import State
from tests.kernels.machine.test_pipeline import operations

before = BaseFunction.get_call_type
over, wrong, compiled = threading.Event(), [], [0]

def user(k):
    kinds = [np.int8, np.int16, np.int64, np.float32, np.float64]
    while not over.is_set() or compiled[0] < 8:
        function = numba.njit(operations)
        for kind in (kinds[k % 5], kinds[(k + 2) % 5]):
            got = function(kind(3), np.float32(0.5), np.arange(2, dtype=kind))
            want = operations(float(3), 0.5, np.arange(2, dtype=float))
            if not np.allclose(got, want):
                wrong.append((kind, got, want))
        compiled[0] += 1

threads = [threading.Thread(target=user, args=(k,)) for k in range(3)]
for thread in threads:
    thread.start()
import fastbp as fb
net = fb.Sequential([fb.Dense(2)], n_inputs=3, dtype="float64")
net.set_weights([np.ones((3, 2))], [np.zeros(2)])
out = np.zeros(2)
state = net.compiled()
kernels.predict_one(state, np.array([1.0, 2.0, 3.0]), out)
assert out.tolist() == [6.0, 6.0], out
grad = np.zeros_like(net.engine.theta)
assert kernels.value_and_grad_one(net.compiled(loss="half_squared_error"), np.ones(3), np.zeros(2), grad) == 9.0
over.set()
for thread in threads:
    thread.join()
assert not wrong, wrong
assert BaseFunction.get_call_type is before
print(compiled[0])
"""


@pytest.mark.slow
def test_a_users_functions_compile_at_the_same_time(tmp_path):
    """In other threads, while entries are compiled: both give the right numbers, and nothing stays changed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", AT_THE_SAME_TIME],
        cwd=Path(__file__).parents[3],
        env={**os.environ, "FASTBP_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout) >= 8


def test_compiling_says_so_once_per_dtype(tmp_path):
    """A small entry in a process and a cache of its own: a line on standard error, none if it is switched off."""
    program = """
        import numpy as np
        from fastbp.kernels import compiled, warm

        for dtype in ("float32", "float64", "float32"):
            job, plan, params, work = warm._smallest(dtype)
            row = np.zeros((1, 1), dtype)
            compiled.predict_row(plan, params, row, row)
    """
    lines = []
    for folder, quiet in (("a", ""), ("a", ""), ("b", "1")):
        environment = {**os.environ, "FASTBP_CACHE_DIR": str(tmp_path / folder), "FASTBP_QUIET": quiet}
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(program)], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        lines.append([line for line in done.stderr.splitlines() if line.startswith("fastbp: compiling")])
    assert [line.split(" (")[0] for line in lines[0]] == [
        "fastbp: compiling predict_row for float32",
        "fastbp: compiling predict_row for float64",
    ]
    assert lines[1:] == [[], []]
