"""What a column holds: numbers, text, or the cells of a CSV file, which may be either.

A column takes three forms on its way from a file to a network, and each change is made once:

1. as it was read: an array of numbers or booleans, a `Text`, or `cells` of a file that does not say what they are;
2. as it is used: float64 numbers or a `Text` (`Table.column` decides, and checks);
3. as the network sees it: the block of inputs that `fastbp.tables.preprocessor` writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?", "-", "."})
"""Cells (in lower case) that stand for a missing number."""

CELLS = np.dtypes.StringDType()
"""The dtype of cells: 16 bytes each, and no Python object."""


@dataclass(frozen=True, slots=True, eq=False)
class Text:
    """A column of text: the different texts, and which of them each row holds.

    Attributes
    ----------
    values : tuple of str              Each text once, in no particular order. "" is a missing one.
    codes : array, shape (n,), int64   Positions in `values`.
    """

    values: tuple[str, ...]
    codes: NDArray[np.int64]

    @classmethod
    def of(cls, cells: Iterable[str]) -> Self:
        """Make the column of these cells.

        >>> column = Text.of(["red", "blue", "red"])
        >>> column.values, column.codes
        (('red', 'blue'), array([0, 1, 0]))
        """
        places: dict[str, int] = {}
        codes = np.fromiter((places.setdefault(cell, len(places)) for cell in cells), np.int64)
        return cls(tuple(places), codes)

    @classmethod
    def of_numbers(cls, numbers: NDArray[Any]) -> Self:
        """Make the column whose texts are the names of these numbers or truth values, in the order of the numbers.

        >>> Text.of_numbers(np.array([10.0, 0.5, 10.0])).values
        ('0.5', '10')
        """
        values, codes = np.unique(numbers, return_inverse=True)
        name = str if numbers.dtype.kind == "b" else label
        return cls(tuple(name(value) for value in values.tolist()), codes.astype(np.int64))

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.codes)

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> Text:
        """Return some rows as a column."""
        return Text(self.values, self.codes[rows])

    def tolist(self) -> list[str]:
        """Return the text of every row."""
        return [self.values[code] for code in self.codes.tolist()]

    def present(self) -> list[str]:
        """Return the texts that rows hold, sorted: after rows were taken they may be fewer than `values`.

        >>> Text.of(["b", "c", "a"])[:2].present()
        ['b', 'c']
        """
        return sorted(self.values[code] for code in np.unique(self.codes).tolist())

    def places(self, names: Sequence[str]) -> NDArray[np.int64]:
        """Return for each row the position of its text among `names`, -1 if it is none of them.

        >>> Text.of(["b", "a", "x"]).places(["a", "b"])
        array([ 1,  0, -1])
        """
        place = {name: k for k, name in enumerate(names)}
        return np.array([place.get(value, -1) for value in self.values], np.int64)[self.codes]


Column = NDArray[Any] | Text


def label(value: float) -> str:
    """Name a number as a class or category: whole numbers have no decimal point.

    >>> label(3.0), label(0.5)
    ('3', '0.5')
    """
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def number(cell: str) -> float:
    """Return ``float(cell)``, without Python's underscores between digits.

    Raises
    ------
    ValueError         The cell is not a number.

    >>> number("1e3")
    1000.0
    """
    if "_" in cell:
        raise ValueError(cell)
    return float(cell)


def numbers_of(cells: NDArray[Any], decimal_comma: bool) -> NDArray[np.float64] | None:
    """Return cells as numbers, shape (n,), or None if one of them is none.

    Parameters
    ----------
    cells : array, shape (n,), of `CELLS`
    decimal_comma : bool                 Numbers may be written 3,14, in a column without a single point.

    >>> numbers_of(np.array(["1", "2,5"], CELLS), decimal_comma=True)
    array([1. , 2.5])
    """
    if decimal_comma and not _hold(cells, "."):
        cells = np.strings.replace(cells, ",", ".")
    try:
        numbers = cells.astype(np.float64)
    except ValueError:
        return None
    return None if _hold(cells, "_") else numbers  # see `number`


def _hold(cells: NDArray[Any], mark: str) -> bool:
    return bool((np.strings.find(cells, mark) >= 0).any())


@dataclass(frozen=True, slots=True, eq=False)
class Parsed:
    """Text read as numbers; each array has shape (n,).

    Attributes
    ----------
    numbers : array of float64      NaN for what is none.
    missing : array of bool         Rows that hold a word for a missing number.
    others : array of bool          Rows that hold another text.
    """

    numbers: NDArray[np.float64]
    missing: NDArray[np.bool_]
    others: NDArray[np.bool_]

    @property
    def n_others(self) -> int:
        """How many rows hold another text than a number."""
        return int(self.others.sum())

    @property
    def n_numbers(self) -> int:
        """How many rows hold a number."""
        return len(self.numbers) - self.n_others - int(self.missing.sum())


def parse(text: Text, decimal_comma: bool) -> Parsed:
    """Read text as numbers: each different text once.

    >>> parse(Text.of(["1", "NA", "x"]), decimal_comma=False).numbers
    array([ 1., nan, nan])
    """
    comma = decimal_comma and not any("." in value for value in text.values)
    numbers = np.full(len(text.values), np.nan)
    missing = np.zeros(len(text.values), np.bool_)
    others = np.zeros(len(text.values), np.bool_)
    for k, value in enumerate(text.values):
        try:
            numbers[k] = number(value.replace(",", ".") if comma else value)
        except ValueError:
            (missing if value.lower() in MISSING else others)[k] = True
    return Parsed(numbers[text.codes], missing[text.codes], others[text.codes])
