"""Rows in the plane to learn from: four shapes, and the user's own table."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fastbp.tables.columns import Text, parse
from fastbp.tables.errors import InputError, listed, quoted
from fastbp.tables.read import read_csv
from fastbp.tables.table import Table

__all__ = ["MOST_BYTES", "MOST_CLASSES", "MOST_ROWS", "SHAPES", "Points", "make", "read"]

Floats = NDArray[np.float64]

SHAPES = ("circles", "moons", "spirals", "stripes")
MOST_BYTES, MOST_ROWS, MOST_CLASSES = 2**20, 2000, 6
HELD_OUT = 0.3


@dataclass(frozen=True, slots=True)
class Points:
    """Rows with a class each.

    Attributes
    ----------
    x : array of shape (n, 2), float64
    y : array of shape (n,), int64         Places in `classes`.
    held_out : array of shape (n,), bool   The rows that are not learned from.
    classes : tuple of str
    names : tuple of str                   Of the two columns.
    """

    x: Floats
    y: NDArray[np.int64]
    held_out: NDArray[np.bool_]
    classes: tuple[str, ...] = ("0", "1")
    names: tuple[str, str] = ("x1", "x2")


def make(shape: str, n: int, noise: float, seed: int) -> Points:
    """Return two classes in one of `SHAPES`.

    Parameters
    ----------
    shape : str
    n : int              Rows; those of each class are as many, give or take one.
    noise : float        Standard deviation of what is added to both columns.
    seed : int

    >>> points = make("moons", 100, 0.1, seed=0)
    >>> points.x.shape, points.y.sum().item(), points.held_out.sum().item()
    ((100, 2), 50, 30)
    """
    rng = np.random.default_rng(seed)
    if shape in ("circles", "moons"):
        from sklearn import datasets

        if shape == "circles":
            x, y = datasets.make_circles(n, factor=0.4, shuffle=False)
        else:
            x, y = datasets.make_moons(n, shuffle=False)
            x = x - (0.5, 0.25)
    elif shape == "spirals":
        y = np.arange(n) % 2
        turn = np.linspace(0.15, 1.0, n)
        angle = 3.0 * np.pi * turn + np.pi * y
        x = 1.2 * np.column_stack([turn * np.cos(angle), turn * np.sin(angle)])
    elif shape == "stripes":
        x = rng.uniform(-1.2, 1.2, (n, 2))
        x = x[np.argsort(np.floor((x.sum(axis=1) + 2.4) / 0.8) % 2, kind="stable")]
        y = (np.floor((x.sum(axis=1) + 2.4) / 0.8) % 2).astype(np.int64)
    else:
        raise ValueError(f"shape must be one of {', '.join(SHAPES)}, got {shape!r}")
    x = x + noise * rng.standard_normal((n, 2))
    return Points(np.ascontiguousarray(x), np.asarray(y, np.int64), _hold_out(n, rng))


def read(name: str, content: bytes, seed: int = 0) -> Points:
    """Return the rows of a CSV file: its first two columns of numbers, and the last column as the class.

    The columns are scaled to mean 0 and standard deviation 1.

    Parameters
    ----------
    name : str           The file's, for messages.
    content : bytes      UTF-8; the first line names the columns.
    seed : int           Decides which rows are held out.

    Raises
    ------
    InputError           It is too large, is no such table, or has too many classes; one line says what and where.

    >>> points = read("fruit.csv", b"size,weight,kind\\n" + b"1,2,fig\\n3,5,pear\\n" * 10)
    >>> points.x.shape, points.classes, points.names
    ((20, 2), ('fig', 'pear'), ('size', 'weight'))
    """
    if len(content) > MOST_BYTES:
        raise InputError(f"{name}: {len(content):,} bytes; at most {MOST_BYTES:,} are taken")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "upload.csv"
        path.write_bytes(content)
        try:
            table = read_csv(str(path))
        except InputError as error:
            raise InputError(str(error).replace(str(path), name)) from None
    if table.n_rows > MOST_ROWS:
        raise InputError(f"{name}: {table.n_rows:,} rows; at most {MOST_ROWS:,} are taken")
    if table.n_rows < 10:
        raise InputError(f"{name}: {table.n_rows} rows; at least 10 are needed")
    *inputs, target = table.columns
    columns = {column: values for column in inputs if (values := _numbers(table, column)) is not None}
    if len(columns) < 2:
        raise InputError(f"{name}: needs two columns of numbers before the last one, found {len(columns)}")
    pair = list(columns)[:2]
    x = np.column_stack([columns[column] for column in pair])
    for column, values in zip(pair, x.T, strict=True):
        if not np.isfinite(values).all():
            row = int(np.flatnonzero(~np.isfinite(values))[0])
            raise InputError(f"{name}: row {row + 1}, column {quoted(column)}: a number is missing")
        with np.errstate(over="ignore"):
            spread = values.std()
        if not 0 < spread < np.inf:
            raise InputError(f"{name}: column {quoted(column)}: its numbers are all the same, or too large")
    cells = _cells(table, target)
    labels = sorted(set(cells))
    if not 2 <= len(labels) <= MOST_CLASSES:
        raise InputError(
            f"{name}: the last column, {quoted(target)}, must hold 2 to {MOST_CLASSES} classes, found "
            f"{len(labels)}: {listed(labels, 4)}"
        )
    y = np.array([labels.index(cell) for cell in cells], np.int64)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    held_out = _hold_out(len(x), np.random.default_rng(seed))
    return Points(x, y, held_out, tuple(labels), (pair[0], pair[1]))


def _hold_out(n: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    mask = np.zeros(n, np.bool_)
    mask[rng.permutation(n)[: round(HELD_OUT * n)]] = True
    return mask


def _numbers(table: Table, name: str) -> Floats | None:
    """Return the numbers of a column, NaN if one is missing; None if it holds other text."""
    parsed = parse(Text.of(_cells(table, name)), table.decimal_comma)
    return None if parsed.others.any() else parsed.numbers


def _cells(table: Table, name: str) -> list[str]:
    column = table.columns[name]
    assert not isinstance(column, Text)  # which no CSV file gives
    return [str(cell) for cell in column]
