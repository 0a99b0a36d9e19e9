"""Forks amid the compilations of another thread: the child can compile."""

import os
import subprocess
import sys

import pytest
from numba.core.compiler_lock import global_compiler_lock

from fastbp.kernels.machine import forks
from tests.kernels.oracles import INTERPRETED

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="a platform without forks")

PROGRAM = """
import os, signal, threading, time, warnings
import numpy as np
import fastbp as fb
from fastbp.kernels.machine import disk

inside, plain = threading.Event(), disk.Cache.load_overload

def load(cache, *arguments):
    # Numba holds its lock here, as it does all through a compilation.
    if not inside.is_set():
        inside.set()
        time.sleep(0.3)
    return plain(cache, *arguments)

disk.Cache.load_overload = load
nets = {dtype: fb.Sequential([fb.Dense(2)], 3, dtype=dtype) for dtype in ("float32", "float64")}
rows = {dtype: np.zeros((1, 3), dtype) for dtype in nets}
thread = threading.Thread(target=nets["float32"].predict, args=(rows["float32"],))
thread.start()
assert inside.wait(120)
warnings.simplefilter("ignore")  # Python 3.12 warns of what is tried here
child = os.fork()
if child == 0:
    signal.alarm(120)  # which ends a child that hangs
    for dtype, net in nets.items():
        net.predict(rows[dtype])
    os._exit(0)
thread.join()
print(os.waitpid(child, 0)[1])
"""


@pytest.mark.skipif(INTERPRETED, reason="nothing is compiled in the interpreter mode")
def test_a_fork_waits_for_a_compilation():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.stdout.split() == ["0"], done.stderr


def test_the_lock_is_given_back_once():
    """Also if Ctrl-C kept a fork from getting it: then there is nothing to give back."""
    forks._begin()
    assert global_compiler_lock.is_locked()
    forks._end()
    forks._end()
    assert not global_compiler_lock.is_locked()
