"""`python -m bench.probes.compilation` names the functions that take long to compile, and the time of loading."""

import re
import subprocess
import sys

import pytest
from numba.core import config

from bench.fair import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(config.DISABLE_JIT), reason="nothing is compiled"),
]


def test_every_function_is_counted_once():
    done = subprocess.run(
        [sys.executable, "-m", "bench.probes.compilation", "float64"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    head, *rows, last = done.stdout.splitlines()
    total = float(re.fullmatch(r"float64: ([\d.]+) s for \d+ functions", head)[1])
    times = {name: float(seconds) for name, seconds in (row[:-2].rsplit(maxsplit=1) for row in rows)}
    # The entry takes the most by far; which building blocks are among the 25 longest changes from run to run.
    assert {"network.run", "all others"} <= {name.strip() for name in times} and len(times) == 26
    assert 0.5 * total < sum(times.values()) < total + 0.5  # the rest is what Numba sets up before the first
    assert re.fullmatch(r"loaded from the cache in [\d.]+ s", last)
