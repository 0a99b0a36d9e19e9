"""asv suite. FASTBP_BENCH=quick (under two minutes) or full (default) chooses how much of it runs.

Everything goes through the public interface, so that old commits can be measured with today's benchmarks. One kernel
serves every network, so a part is timed by a network that spends nearly all of its work in that part. Code that
compiles is called once in `setup`; compiling and importing are benchmarks of their own. All run on one thread unless
threads are the subject: bench/asv_environment.py sets the environment.
"""

import importlib
import json
import os
import sys
from pathlib import Path

import numpy as np

if __name__ == "suite":
    # asv offers this package alone. The checkout comes last: what is measured is the installed fastbp.
    sys.path.append(str(Path(__file__).parents[2]))

from bench.peers import workloads

PROFILE = os.environ.get("FASTBP_BENCH", "full")
if PROFILE not in ("quick", "full"):
    raise ValueError(f"FASTBP_BENCH must be quick or full, got {PROFILE!r}")
QUICK = PROFILE == "quick"
DTYPES = ["float32"] if QUICK else ["float32", "float64"]
# One in SHARE activations and losses is timed: each takes a process of its own for a second.
SHARE = 3 if QUICK else 1

# What names a benchmark's line over the commits. Without it asv takes a hash of the code, and an edited import ends the
# line. A benchmark that measures something else from now on gets a new version here, and the old one stands in "ended".
VERSIONS = json.loads(Path(__file__).with_name("versions.json").read_text(encoding="utf-8"))["versions"]


class Benchmark:
    """Gives each benchmark method the version that stands in versions.json."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        room = cls.__module__.rpartition(".")[2]
        for name, method in vars(cls).items():
            version = VERSIONS.get(f"{room}.{cls.__name__}.{name}")
            if version is not None:
                method.version = version


class Timed(Benchmark):
    """How long a benchmark is timed; asv reads these names."""

    rounds = 1 if QUICK else 2
    repeat = (2, 3, 0.1) if QUICK else (3, 10, 2.0)
    sample_time = 0.01 if QUICK else 0.05
    warmup_time = 0.0 if QUICK else 0.1
    timeout = 180


def randn(*shape, dtype="float32", seed=0):
    """Standard normal numbers, seeded."""
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


# The rooms of names below the public classes, in this commit and in earlier ones.
_ROOMS = {
    "Engine": ("engine",),
    "Session": ("engine", "session"),
    "Layer": ("layers", "specs"),
    "Objective": ("objectives", "specs"),
    "Rule": ("optimizers", "specs"),
    "ACTIVATION_NAMES": ("layers", "specs"),
    "OBJECTIVE_NAMES": ("objectives", "specs"),
    "RULE_NAMES": ("optimizers", "specs"),
}


def __getattr__(name):
    """Find a name of `_ROOMS` in the room that has it."""
    for room in _ROOMS.get(name, ()):
        try:
            return getattr(importlib.import_module(f"fastbp.{room}"), name)
        except (ImportError, AttributeError):
            pass
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def make_engine(sizes, activation, dtype, seed=1):
    """An engine with the common initial parameters, identity outputs."""
    from . import Engine, Layer

    layers = [Layer(units, activation) for units in sizes[1:-1]]
    engine = Engine(sizes[0], [*layers, Layer(sizes[-1])], dtype)
    engine.set_parameters(*workloads.initial_parameters(sizes, dtype, seed))
    return engine


def make_run(name, dtype, n_threads=1, epochs=1, rows=None):
    """(session, x, y, orders, learning rate) of a workload, ready to run; `rows` shortens the epoch."""
    from . import Objective, Rule, Session

    w = workloads.WORKLOADS[name]
    n_rows = rows or w.n_rows
    x, y = workloads.make_data(w.sizes, w.loss, n_rows, dtype)
    rule = Rule("adam", **workloads.ADAM) if w.optimizer == "adam" else Rule("sgd")
    if w.optimizer == "momentum":
        rule = Rule("sgd", momentum=workloads.MOMENTUM)
    session = Session(
        make_engine(w.sizes, w.activation, dtype),
        Objective(w.loss),
        rule,
        batch_size=w.batch_size,
        n_threads=n_threads,
    )
    y = y if w.loss == "cross_entropy" else y[:, None]
    return session, x, y, workloads.make_orders(n_rows, epochs), w.learning_rate


def _preload():
    """Load the kernels once, in the process that asv forks for each benchmark, instead of in every fork."""
    try:
        for dtype in DTYPES:
            session, x, y, orders, rate = make_run("tabular-small", dtype, rows=32)
            session.run(x, y, orders[0], rate)
    except (ImportError, AttributeError, TypeError):
        pass  # an old commit without this interface: asv shows which benchmarks fail there


_preload()
