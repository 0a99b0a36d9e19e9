"""Forks amid the imports of another thread: the child can import the same."""

import os
import subprocess
import sys
import threading

import pytest

from fastbp import forks

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="a platform without forks")

PROGRAM = """
import os, signal, sys, threading, time, warnings
from importlib.abc import MetaPathFinder
import fastbp as fb

inside = threading.Event()

class Slow(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == sys.argv[1] and not inside.is_set():
            inside.set()
            time.sleep(0.3)

def use():
    fb.Sequential([fb.Dense(2)], 3)
    fb.EarlyStopping(monitor="accuracy")

sys.meta_path.insert(0, Slow())
thread = threading.Thread(target=use)
thread.start()
assert inside.wait(120)
warnings.simplefilter("ignore")  # Python 3.12 warns of what is tried here
child = os.fork()
if child == 0:
    signal.alarm(120)  # which ends a child that hangs
    use()
    os._exit(0)
thread.join()
print(os.waitpid(child, 0)[1])
"""


@pytest.mark.parametrize("module", ["fastbp.engine.session", "numba", "sklearn.metrics"])
def test_a_fork_waits_for_an_import(module):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, module], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.stdout.split() == ["0"], done.stderr


def named(name, program):
    """Return the function `f` of a program, as if it stood in the module of that name."""
    namespace = {"__name__": name}
    exec(program, namespace)
    return namespace["f"]


IMPORTS = "def f():\n    import slow"


@pytest.mark.parametrize(
    ("target", "waited_for"),
    [
        (named("fastbp.room", IMPORTS), True),
        (named("fastbp", IMPORTS), True),
        (named("fastbp_of_mine", IMPORTS), False),
        # a module of the user's that takes long may itself be what forks
        (named("mine", IMPORTS), False),
        (named("fastbp.room", "def f():\n    import sys\n    sys.meet()"), False),
        # the body of a module of fastbp
        (named("x", "def f():\n    exec('import sys; sys.meet()', {'__name__': 'fastbp.room'})"), True),
    ],
)
def test_what_is_waited_for(target, waited_for, tmp_path, monkeypatch):
    here, on = threading.Event(), threading.Event()

    def meet():
        here.set()
        on.wait(60)

    monkeypatch.setattr(sys, "meet", meet, raising=False)
    (tmp_path / "slow.py").write_text("import sys; sys.meet()")
    monkeypatch.syspath_prepend(tmp_path)
    thread = threading.Thread(target=target)
    thread.start()
    try:
        assert here.wait(60)
        assert forks.importing(sys._current_frames()[thread.ident]) is waited_for
    finally:
        on.set()
        thread.join()
        sys.modules.pop("slow", None)


def test_a_fork_does_not_wait_for_ever(monkeypatch):
    """For an import that waits for the fork itself."""
    asked = []
    monkeypatch.setattr(forks, "PATIENCE", 0.01)
    monkeypatch.setattr(forks, "importing", lambda frame: asked.append(frame) or True)
    on = threading.Event()
    thread = threading.Thread(target=on.wait)
    thread.start()
    forks._wait()
    on.set()
    thread.join()
    assert asked
