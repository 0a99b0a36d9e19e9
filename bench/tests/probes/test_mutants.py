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
    one, two = mutants.Group(["test_a.py"]), mutants.Group(["test_a.py::test_good", "test_b.py::test_bad"])
    assert mutants.noticed(tmp_path, [one]) is None
    assert "test_b.py::test_bad" in mutants.noticed(tmp_path, [one, two])


def test_the_tests_that_reach_a_line_come_before_the_nearest():
    path, nearest = Path("kernels/losses.py"), mutants.nearest(Path("kernels/losses.py"))
    others, own = [f"tests/other.py::test_{k}" for k in range(9)], "tests/kernels/test_losses.py::test_x"
    reach = {"compiled": {}, "interpreted": {str(path): {"7": [*others, own]}}}
    first, second, *rest = mutants.groups(path, 7, reach, near=False)
    assert first == mutants.Group([own, *others[:7]], interpreted=True)
    assert second == mutants.Group(others[7:], interpreted=True)
    assert [group.tests for group in rest] == [[test] for test in nearest]
    assert mutants.groups(path, 8, reach, near=True) == [mutants.Group([test]) for test in nearest[:-1]]
