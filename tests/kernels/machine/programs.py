"""Small programs in processes of their own, with a cache and, if wanted, a copy of the package of their own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastbp
from tests.kernels.oracles import INTERPRETED

compiles = pytest.mark.skipif(INTERPRETED, reason="the interpreter mode keeps nothing")

# One row through a layer of tanh: a small entry, whose callees are in other files.
PROGRAM = """
import numpy as np
import fastbp
from fastbp.engine import Engine
from fastbp.kernels import compiled
from fastbp.kernels.machine import cache
from fastbp.layers import Layer
engine = Engine(1, [Layer(1, "tanh", use_bias=False)], "float64")
engine.weights[0][...] = 1.0
value = float(engine.predict(np.ones((1, 1)))[0, 0])
entry = compiled.predict_row
print(value, sum(entry.stats.cache_hits.values()), sum(entry.stats.cache_misses.values()), cache.cache_dir())
"""
TANH_1 = float(np.tanh(1.0))


def start(tree=None, program=PROGRAM, before=(), **env):
    """Start a program in a fresh process, with the package from `tree` if given, by way of the command `before`."""
    variables = {name: value for name, value in os.environ.items() if name != "FASTBP_CACHE_DIR"}
    variables.update({name: str(value) for name, value in env.items()})
    if tree is not None:
        variables["PYTHONPATH"] = str(tree)
    return subprocess.Popen(
        [*before, sys.executable, "-W", "always::RuntimeWarning", "-c", program],
        env=variables,
        cwd=Path(__file__).parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    """Return what PROGRAM printed (value, hits, misses, folder) and its warnings."""
    out, err = process.communicate()
    assert process.returncode == 0, err
    value, hits, misses, folder = out.split()
    return float(value), int(hits), int(misses), folder, err


def copy_of_the_package(tree):
    """Copy the package into a folder; returns its path there."""
    ignored = shutil.ignore_patterns("__pycache__")
    return Path(shutil.copytree(Path(fastbp.__file__).parent, tree / "fastbp", ignore=ignored))


def with_another_tanh(package):
    """Edit a copy of the package: a function that entries call, in another file than theirs."""
    with (package / "kernels" / "elementary.py").open("a") as file:
        file.write("\n\ndef tanh(x):\n    return x * 0.25\n")
