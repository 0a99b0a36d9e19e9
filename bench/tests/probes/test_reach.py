"""Which tests reach a line: asked of a package of a few lines and its tests."""

import os
import sys

import pytest

from bench.probes import reach

CODE = """def double(x):
    if x < 0:
        return -2
    return 2 * x


class Sum:
    def of(self, x):
        return double(x) + 1
"""
TESTS = """import time
from fastbp.code import Sum, double

def test_slow():
    time.sleep(1.0)
    assert double(3) == 6

def test_fast():
    assert double(-1) == -2

class TestSum:
    def test_of(self):
        time.sleep(0.4)
        assert Sum().of(1) == 3
"""


def test_the_tests_of_a_line_are_found_the_fastest_first(tmp_path, monkeypatch):
    pytest.importorskip("coverage")
    for name, text in (
        ("fastbp/__init__.py", ""),
        ("fastbp/code.py", CODE),
        ("fastbp/kernels/__init__.py", ""),
        ("tests/__init__.py", ""),
        ("tests/test_code.py", TESTS),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(reach, "RUNS", {"compiled": reach.RUNS["compiled"]})
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    place = tmp_path / "reach.json"
    found = reach.load(place, tmp_path, environment)
    lines = found["compiled"]["fastbp/code.py"]
    fast, of, slow = [
        f"tests/test_code.py::{name}" for name in ("test_fast", "TestSum::test_of", "test_slow")
    ]
    assert lines["2"] == [fast, of, slow]
    assert lines["3"] == [fast]
    assert lines["9"] == [of]
    assert lines["1"] == []  # runs at the import
    monkeypatch.setattr(sys, "executable", "none")
    assert reach.load(place, tmp_path, environment) == found  # from the file
