"""What the tests of the reports share."""

import pytest

from bench.report import tables
from bench.tests.measured import MACHINE, case


@pytest.fixture
def results(tmp_path):
    """A results file in which fastbp wins on one thread and loses on two."""
    cases = {}
    for threads, ours in ((1, 2e6), (2, 5e5)):
        key = f"training/tabular-small/{threads}/float32"
        cases[key] = case(key, fastbp=ours, jax_scan=1e6, sklearn=5e4, fma_peak=1e11 * threads)
    key = "latency/one-row/1/float32"
    cases[key] = case(key, fastbp=4e5, fastbp_njit=2e6, numpy_hand=1e5)
    path = tmp_path / "peers.json"
    tables.save({"format": tables.FORMAT, "machine": MACHINE, "cases": cases}, path)
    return path
