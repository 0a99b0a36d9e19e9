"""Planted faults: every one is another program, and what the tests say of it is passed on."""

import ast
from pathlib import Path

import pytest

from bench.fair import ROOT
from bench.probes import mutants

SOURCE = '''"""A module."""
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os


def f(x: int = 3, *, flag=True) -> int:
    """Say 3 + 4."""
    if x < 3 and flag:
        raise ValueError(f"x is {x + 1}, not " + "more")
    x += 2
    print(x)
    return x * 2.5 if flag else -x
'''


def test_what_is_planted():
    count = len(list(mutants.places(ast.parse(SOURCE))))
    faults = [mutants.plant(SOURCE, number) for number in range(count)]
    assert len({text for text, _, _ in faults}) == count
    changes = {what for _, what, _ in faults}
    assert changes >= {
        "x < 3 and flag  ->  x < 3 or flag",
        "x < 3  ->  x <= 3",
        "x += 2  ->  pass",
        "print(x)  ->  pass",
        "x * 2.5  ->  x / 2.5",
        "2.5  ->  3.750000001",
        "True  ->  False",
        "3  ->  4",
    }
    for text, what, line in faults:
        before, after = SOURCE.splitlines(), text.splitlines()
        assert [i + 1 for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b] == [line], what
        assert "TYPE_CHECKING" not in what
        assert "more" not in what.split("->")[1]


@pytest.mark.parametrize("path", ["fastbp/layers.py", "fastbp/training/loop.py", "kernels/network.py"])
def test_every_fault_of_a_file_is_a_program(path):
    source = (ROOT / path).read_text(encoding="utf-8")
    count = len(list(mutants.places(ast.parse(source))))
    assert count > 20
    for number in range(0, count, 3):
        text, _, _ = mutants.plant(source, number)
        assert ast.dump(ast.parse(text)) != ast.dump(ast.parse(source))


def test_the_nearest_tests_come_first():
    assert mutants.nearest(Path("fastbp/formats/_values.py"))[-2:] == ["tests/formats", "tests"]
    assert mutants.nearest(Path("kernels/losses.py")) == [
        "tests/kernels/test_losses.py",
        "tests/kernels",
        "tests",
    ]
    assert mutants.nearest(Path("fastbp/metrics.py")) == ["tests/test_metrics.py", "tests"]


def test_a_test_that_fails_is_named(tmp_path):
    (tmp_path / "test_a.py").write_text("def test_good():\n    pass\n")
    (tmp_path / "test_b.py").write_text("def test_bad():\n    assert False\n")
    assert mutants.noticed(tmp_path, ["test_a.py"]) is None
    assert "test_b.py::test_bad" in mutants.noticed(tmp_path, ["test_a.py", "test_b.py"])
