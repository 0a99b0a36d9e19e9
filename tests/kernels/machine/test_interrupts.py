"""Ctrl-C at moments that must not be cut short."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from fastbp.kernels.machine.interrupts import held_back
from tests.kernels.oracles import INTERPRETED


def test_it_waits_for_the_end_of_the_block():
    before, done = signal.getsignal(signal.SIGINT), []
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012
        with held_back():
            signal.raise_signal(signal.SIGINT)
            done.append("all")
        done.append("too much")
    assert done == ["all"]
    assert signal.getsignal(signal.SIGINT) is before


def test_an_error_within_the_block_comes_first():
    with pytest.raises(KeyboardInterrupt) as raised, held_back():
        signal.raise_signal(signal.SIGINT)
        raise OSError("within")
    assert isinstance(raised.value.__context__, OSError)


def test_without_ctrl_c_and_in_other_threads_nothing_happens():
    done = []

    def work():
        with held_back():
            done.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [signal.getsignal(signal.SIGINT)]


PROGRAM = """
import signal, sys
import numpy as np
import fastbp as fb

from numba.core import extending

plain = extending.overload

def overload(*arguments, **options):
    # Press Ctrl-C once, in the middle of a module that has registered half of what it defines.
    if sys._getframe(1).f_globals["__name__"] == "numba.cpython.unicode":
        extending.overload = plain
        signal.raise_signal(signal.SIGINT)
    return plain(*arguments, **options)

extending.overload = overload
net = fb.Sequential([fb.Dense(3)], 4)
data = np.ones((5, 4), "float32"), np.ones((5, 3))
try:
    net.fit(*data, verbose=0)
except KeyboardInterrupt:
    print("interrupted")
print(len(net.fit(*data, epochs=3, verbose=0).loss))
if extending.overload is not plain:
    print("never pressed")
"""


@pytest.mark.skipif(INTERPRETED, reason="nothing is imported late in the interpreter mode")
def test_an_import_within_the_first_fit_is_whole():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=300, check=False
    )
    if done.stdout == "3\nnever pressed\n":
        pytest.skip("this Numba imports nothing that late")
    assert done.stdout.split() == ["interrupted", "3"], done.stderr


IMPORT = """
import numpy as np
import fastbp as fb

try:
    fb.Sequential
except KeyboardInterrupt:
    print("interrupted")
print(fb.Sequential([fb.Dense(2)], 3).predict(np.zeros((1, 3), "float32")).shape[0])
"""

# Numba imports a package of this name if it is there. Press Ctrl-C in the middle of it, the first time, and fail the
# second time: as do packages that have registered half of what they define.
ONCE = """
import signal, sys

if hasattr(sys, "begun"):
    raise AttributeError("partially initialized module")
sys.begun = True
signal.raise_signal(signal.SIGINT)
"""


def test_the_import_of_numba_is_whole(tmp_path):
    (tmp_path / "yaml.py").write_text(ONCE)
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-c", IMPORT],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.stdout.split() == ["interrupted", "1"], done.stderr
