"""Rows to learn from: the shapes, and the user's table, whatever is in it."""

import numpy as np
import pytest

from fastbp.playground.points import MOST_BYTES, MOST_CLASSES, MOST_ROWS, SHAPES, make, read
from fastbp.tables.errors import InputError


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_are_seeded_and_balanced(shape):
    points = make(shape, 200, 0.1, seed=3)
    again, other = make(shape, 200, 0.1, seed=3), make(shape, 200, 0.1, seed=4)
    assert points.x.shape == (200, 2) and points.x.dtype == np.float64 and points.x.flags.c_contiguous
    assert (points.x == again.x).all() and (points.x != other.x).any()
    assert 60 <= points.y.sum() <= 140 and set(points.y) == {0, 1}
    assert points.held_out.sum() == 60
    assert 0.8 < np.abs(points.x).max() < 2.5


def test_shapes_without_noise_are_separable_by_their_rule():
    circles = make("circles", 100, 0.0, 0)
    assert ((np.hypot(*circles.x.T) < 0.7) == circles.y).all()
    stripes = make("stripes", 100, 0.0, 0)
    assert ((np.floor((stripes.x.sum(axis=1) + 2.4) / 0.8) % 2) == stripes.y).all()


def test_unknown_shape():
    with pytest.raises(ValueError, match="shape must be one of circles, moons"):
        make("squares", 10, 0.0, 0)


def table(rows, header="a,b,kind"):
    return "\n".join([header, *rows]).encode()


def test_a_table_is_scaled_and_its_classes_named():
    rng = np.random.default_rng(0)
    rows = [f"{a},{b},{'pear' if a > 5 else 'fig'}" for a, b in rng.normal(5, 2, (50, 2))]
    points = read("fruit.csv", table(rows))
    assert points.classes == ("fig", "pear") and points.names == ("a", "b")
    assert np.allclose(points.x.mean(axis=0), 0) and np.allclose(points.x.std(axis=0), 1)
    assert points.held_out.sum() == 15


def test_text_columns_are_passed_over_and_semicolons_read():
    rows = [f"{k};x{k};{k},5;{k % 3}" for k in range(12)]
    points = read("t.csv", table(rows, "a;name;b;kind"))
    assert points.names == ("a", "b") and points.classes == ("0", "1", "2")
    assert points.x.shape == (12, 2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "u.csv: the file is empty"),
        (b"\xff\xfe\x00", "u.csv: byte 1 is not UTF-8"),
        (table(["1,2,x"] * 3), "3 rows; at least 10"),
        (table(["1,2,x", "1,3,y"] * 10), 'column "a": its numbers are all the same'),
        (table(["1e300,2,x", "-1e300,3,y"] * 10), "its numbers are all the same, or too large"),
        (table(["1,p,x", "2,q,y"] * 10), "needs two columns of numbers before the last one, found 1"),
        (table(["1,2,x", "2,,y"] * 10), 'row 2, column "b": a number is missing'),
        (table([f"{k},{k * k},x" for k in range(12)]), "must hold 2 to 6 classes, found 1: x"),
        (table([f"{k},{k * k},{k}" for k in range(12)]), "must hold 2 to 6 classes, found 12"),
        (table([f"{k},{k * k},{k % 2}" for k in range(MOST_ROWS + 1)]), "2,001 rows; at most 2,000"),
        (b"a" * (MOST_BYTES + 1), "1,048,577 bytes; at most 1,048,576"),
        (table(["1,2,x", "1,2"] * 10), "u.csv: row 2 (line 3): 2 cells"),
    ],
)
def test_other_tables_are_refused_by_name(content, message):
    with pytest.raises(InputError) as error:
        read("u.csv", content)
    assert message in str(error.value) and str(error.value).startswith("u.csv")
    assert "upload" not in str(error.value)


def test_as_many_classes_as_are_taken():
    rows = [f"{k},{k * k},{k % MOST_CLASSES}" for k in range(60)]
    assert len(read("c.csv", table(rows)).classes) == MOST_CLASSES
