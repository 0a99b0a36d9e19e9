"""What a user waits for before the first number: import, the first compilation, later starts."""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from . import DTYPES, QUICK, Benchmark

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


class Precompiled(Benchmark):
    """The same with the kernels that a wheel of this platform brings: nothing is compiled, nothing was kept before."""

    params = [DTYPES]
    param_names = ["dtype"]
    unit = "seconds"
    timeout = 900

    def setup_cache(self):
        """Make what a wheel brings, beside a copy of the installed package; return the folder. It takes minutes."""
        if QUICK or importlib.util.find_spec("fastbp.kernels.precompile") is None:
            return None
        tree = Path("tree").resolve()
        package = Path(importlib.util.find_spec("fastbp").origin).parent
        shutil.copytree(package, tree / "fastbp", ignore=shutil.ignore_patterns("__pycache__"))
        command = [
            sys.executable,
            "-m",
            "fastbp.kernels.precompile",
            str(tree / "fastbp/kernels/precompiled"),
        ]
        subprocess.run(command, env=os.environ | {"PYTHONPATH": str(tree)}, cwd=tree, check=True)
        return str(tree)

    def setup(self, tree, dtype):
        """Leave out the quick profile, and commits before there were such wheels."""
        if tree is None:
            raise NotImplementedError

    def track_first_step_seconds(self, tree, dtype):
        """A fresh process up to the end of its first training step, from an empty cache: the best of three."""
        return min(self._start(tree, dtype) for _ in range(3))

    def _start(self, tree, dtype):
        with tempfile.TemporaryDirectory() as cache:
            variables = {"PYTHONPATH": tree, "FASTBP_CACHE_DIR": cache, "FASTBP_COMPILE": "never"}
            start = time.perf_counter()
            subprocess.run(
                [sys.executable, "-c", SCRIPT.format(dtype=dtype)], env=os.environ | variables, check=True
            )
            return time.perf_counter() - start
