"""In one process with others: what they compute at the same time, and what they find changed after an import."""

import json
import subprocess
import sys

import pytest

from tests.kernels.oracles import INTERPRETED

pytestmark = pytest.mark.skipif(INTERPRETED, reason="the interpreter mode runs one thread at a time")

# Each party works alone first. Then all work at once, each until every other one has had three rounds, and must find
# again what it found alone. The parties' own teams: PyTorch's OpenMP, scikit-learn's OpenMP, Numba's threading layer.
AT_ONCE = """
import sys, threading
import numpy as np

rng = np.random.default_rng(0)
X = rng.normal(size=(3000, 20))
y = np.sin(X[:, 0]) + X[:, 1] * X[:, 2]

def ours():
    import fastbp as fb
    from fastbp.engine import teams
    teams.Pace.choose = lambda self, costly=False: (self.team, False)  # a team, whether or not it is faster
    net = fb.Sequential([fb.Dense(128, "relu"), fb.Dense(64, "tanh"), fb.Dense(1)], n_inputs=20, seed=0)
    def work():
        model = net.copy()
        model.fit(X.astype("float32"), y[:, None].astype("float32"), epochs=2, batch_size=500, n_threads=4, verbose=0)
        return model.predict(X[:100].astype("float32"))
    return work

def torch():
    import torch
    torch.set_num_threads(3)
    a = torch.tensor(X.T @ X / len(X))
    def work():
        b = a
        for _ in range(30):
            b = torch.tanh(b @ a)
        return b.numpy()
    return work

def boosting():
    from sklearn.ensemble import HistGradientBoostingRegressor
    return lambda: HistGradientBoostingRegressor(max_iter=10, random_state=0).fit(X, y).predict(X[:100])

def prange():
    import numba
    @numba.njit(parallel=True)
    def rows(X):
        out = np.empty(len(X))
        for i in numba.prange(len(X)):
            out[i] = np.sqrt((X[i] * X[i]).sum())
        return out
    return lambda: rows(X)

parties = {name: globals()[name]() for name in sys.argv[1:]}
alone = {name: work() for name, work in parties.items()}
rounds, start, failures = dict.fromkeys(parties, 0), threading.Barrier(len(parties)), []

def again(name, work):
    start.wait()
    try:
        while min(rounds.values()) < 3 and not failures:
            if not np.allclose(work(), alone[name], rtol=0, atol=0 if name in ("ours", "prange") else 1e-9):
                raise AssertionError("other numbers than alone")
            rounds[name] += 1
    except BaseException as error:
        failures.append(f"{name}: {error!r}")

threads = [threading.Thread(target=again, args=item) for item in parties.items()]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert not failures, failures
print(rounds)
"""


def run(program, *arguments):
    done = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-c", program, *arguments],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    "order", [["ours", "torch", "boosting", "prange"], ["prange", "boosting", "torch", "ours"]], ids=" ".join
)
def test_teams_of_four_libraries_at_once(order):
    """Whoever comes first loads its OpenMP first."""
    pytest.importorskip("torch")
    assert run(AT_ONCE, *order)


@pytest.mark.slow
def test_teams_beside_what_every_environment_has():
    assert run(AT_ONCE, "ours", "boosting", "prange")


# What a user's code can see of Numba, NumPy and Python before and after. What may grow are Numba's tables of types and
# passes: fastbp enters types of its own there, which nobody else has.
UNCHANGED = """
import faulthandler, gc, json, locale, logging, multiprocessing, os, signal, sys, threading, warnings
import numba, numba.core.registry, numba.np.ufunc.parallel
import llvmlite.binding as llvm
import numpy as np

def instructions(suffix):
    "What Numba makes of a function of the user's, without the names in it."
    space = {}
    exec(f"def mine{suffix}(a, b): return a * b + (a / b if b > a else a - b)", space)
    mine = numba.njit(space[f"mine{suffix}"])
    mine(1.0, 2.0)
    lines = mine.inspect_asm(mine.signatures[0]).splitlines()
    return [line.split()[0] for line in lines if line.startswith("\t") and not line.startswith("\t.")]

PLAIN = (bool, int, float, str, bytes, tuple, type(None))
def cells():
    "Functions, classes and plain values of all modules of Numba and llvmlite, and of their classes."
    found = {}
    for name, module in sorted(sys.modules.items()):
        if name.partition(".")[0] not in ("numba", "llvmlite"):
            continue
        for key, value in list(vars(module).items()):
            found[name, key] = value
            if isinstance(value, type) and value.__module__ == name:
                for inner, content in list(vars(value).items()):
                    if callable(content) or isinstance(content, (staticmethod, classmethod, property, *PLAIN)):
                        found[name, key, inner] = content
    return found

def world():
    return {
        "configuration of Numba": {k: repr(v) for k, v in vars(numba.config).items() if k.isupper()},
        "environment": dict(os.environ),
        "threading layer": numba.np.ufunc.parallel._is_initialized,
        "signals": {int(s): repr(signal.getsignal(s)) for s in signal.valid_signals()},
        "warnings": repr(warnings.filters),
        "errors of NumPy": np.geterr(),
        "recursion": sys.getrecursionlimit(),
        "hooks": [sys.excepthook is sys.__excepthook__, repr(sys.gettrace()), repr(sys.getprofile()),
                  repr(threading.excepthook), repr(sys.unraisablehook), repr(sys.displayhook)],
        "importing": repr(sys.meta_path),
        "garbage": [gc.isenabled(), gc.get_threshold()],
        "locale": locale.setlocale(locale.LC_ALL),
        "logging": [repr(logging.root.handlers), logging.root.level],
        "processes": multiprocessing.get_start_method(allow_none=True),
        "switch interval": sys.getswitchinterval(),
        "tiny numbers": float(np.float32(1e-40) * np.float32(1)),
        "faults": faulthandler.is_enabled(),
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "generator": repr(np.random.get_state()[1][:5]),
        "target": [llvm.get_host_cpu_name(), llvm.get_default_triple()],
    }

code = instructions(1)
before, told = cells(), world()
USE
after, tells = cells(), world()
changed = [name for name in told if told[name] != tells[name]]
changed += [".".join(place) for place, value in before.items()
            if (repr(after.get(place)) != repr(value) if isinstance(value, PLAIN) else after.get(place) is not value)]
if instructions(2) != code:
    changed.append("what Numba makes of a function")
print(json.dumps(changed))
"""

TRAINING = """
import fastbp as fb
net = fb.Sequential([fb.Dense(3, "relu"), fb.Dense(1)], n_inputs=2, seed=0)
net.fit(np.ones((4, 2)), np.ones((4, 1)), epochs=1, verbose=0)
"""


@pytest.mark.parametrize(
    "use", ["import fastbp", "import fastbp.kernels", TRAINING], ids=["import", "kernels", "training"]
)
def test_nothing_of_numba_is_another_afterwards(use):
    assert json.loads(run(UNCHANGED.replace("USE", use))) == []
