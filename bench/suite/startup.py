"""What a user waits for before the first number: import, the first compilation, later starts."""

import os
import subprocess
import sys
import tempfile
import time

from . import DTYPES, Benchmark

SCRIPT = """
import numpy as np
from fastbp.engine import Engine
try:
    from fastbp.engine import Session
    from fastbp.layers import Layer
    from fastbp.objectives import Objective
    from fastbp.optimizers import Rule
except ImportError:  # an earlier layout of the package
    from fastbp.session import Session
    from fastbp.specs import Layer, Objective, Rule
engine = Engine(20, [Layer(64, "relu"), Layer(64, "relu"), Layer(1)], "{dtype}")
x, y = np.ones((64, 20), "{dtype}"), np.ones((64, 1), "{dtype}")
Session(engine, Objective("mse"), Rule("adam"), batch_size=32, n_threads=1).run(x, y, np.arange(64), 1e-3)
"""


class Import(Benchmark):
    """`import fastbp` in a fresh interpreter."""

    number = 1
    repeat = (3, 5, 10.0)

    def timeraw_import(self):
        """The package alone: nothing heavy may come with it."""
        return "import fastbp"

    def timeraw_engine(self):
        """With the engine, and so Numba."""
        return "import fastbp.engine"


class FirstStep(Benchmark):
    """A fresh process up to the end of its first training step."""

    params = [DTYPES]
    param_names = ["dtype"]
    unit = "seconds"
    timeout = 300

    def _start(self, dtype, **variables):
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "-c", SCRIPT.format(dtype=dtype)], env=os.environ | variables, check=True
        )
        return time.perf_counter() - start

    def track_cold_seconds(self, dtype):
        """Nothing cached: everything is compiled."""
        with tempfile.TemporaryDirectory() as cache:
            return self._start(dtype, FASTBP_CACHE_DIR=cache)

    def track_warm_seconds(self, dtype):
        """From the cache that every other benchmark uses: the best of three starts after one that fills it."""
        return min([self._start(dtype) for _ in range(4)][1:])
