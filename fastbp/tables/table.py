"""A table of named columns, and the errors that say where in it something is wrong.

A :class:`Table` keeps what was read as it came; :meth:`Table.column` turns one column into numbers or text when it is
used, and only then complains about it: a missing value in a column that nobody uses harms nobody. Every fault of the
input is an :class:`InputError` whose message is one line that says which file, row and column.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?", "-", "."})
"""Cells (in lower case) that stand for a missing number."""


class InputError(ValueError):
    """The input is at fault; the message is one line that says what and where."""

    def __init__(self, message: str) -> None:
        super().__init__(
            " ".join(message.split())
        )  # other libraries' messages, quoted in ours, may have several


def quoted(text: object) -> str:
    """Quote a name or a cell for a message, on one line and not longer than a line should be.

    >>> quoted("a" * 50)
    '"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa..."'
    """
    line = " ".join(str(text).split())
    return f'"{line[:37]}..."' if len(line) > 40 else f'"{line}"'


def listed(names: Sequence[str], limit: int = 8) -> str:
    """Names for a message: the first few, and how many more there are.

    >>> listed(["a", "b", "c"], limit=2)
    'a, b and 1 more'
    """
    shown = ", ".join(" ".join(name.split()) for name in names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit:,} more"


def label(value: float) -> str:
    """A number as the name of a class or category: whole numbers without a decimal point.

    >>> label(3.0), label(0.5)
    ('3', '0.5')
    """
    return str(int(value)) if value.is_integer() else repr(float(value))


def number(cell: str) -> float:
    """``float(cell)``, without Python's underscores between digits.

    Raises
    ------
    ValueError         The cell is not a number.

    >>> number("1e3")
    1000.0
    """
    if "_" in cell:
        raise ValueError(cell)
    return float(cell)


@dataclass(frozen=True, slots=True)
class Table:
    """A table as it was read: named columns of equal length.

    Attributes
    ----------
    source : str                   Where it came from, as the user wrote it; every message starts with it.
    columns : dict                 Per name either a tuple of n cells of text (CSV) or an array, shape (n,).
    target : tuple of str          The target columns, where the source says which they are (bundled datasets, npz).
    lines : sequence of int        The line of the file on which each row ends (CSV), else empty.
    positional : bool              The names were made up (npz): columns are known by their position.
    decimal_comma : bool           Numbers may be written 3,14: a CSV file separated by semicolons.
    unsupported : dict             Columns that can be named but not used, and the type they hold (Parquet).
    notes : tuple of str           What the reader decided and the user should know.
    """

    source: str
    columns: dict[str, tuple[str, ...] | NDArray[Any]]
    target: tuple[str, ...] = ()
    lines: Sequence[int] = ()
    positional: bool = False
    decimal_comma: bool = False
    unsupported: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def n_rows(self) -> int:
        """Number of rows, the header not counted."""
        return len(next(iter(self.columns.values()))) if self.columns else 0

    def fault(self, what: str, *, row: int | None = None, column: str | None = None) -> InputError:
        """Make the error that says what is wrong and where; rows are counted from 0 here and from 1 in the message."""
        place = [self.source]
        if row is not None:
            line = f" (line {self.lines[row]})" if len(self.lines) else ""
            place.append(
                f"row {row + 1}{line}" + (f", column {quoted(column)}" if column is not None else "")
            )
        elif column is not None:
            place.append(f"column {quoted(column)}")
        return InputError(": ".join([*place, what]))

    def require(self, names: Sequence[str]) -> None:
        """Check that the columns exist.

        Raises
        ------
        InputError         "iris.csv: no column "price"; its columns are: ..."
        """
        for name in names:
            if name not in self.columns and name not in self.unsupported:
                raise InputError(
                    f"{self.source}: no column {quoted(name)}; its columns are: {listed(list(self.columns))}"
                )

    def column(self, name: str, *, text: bool | None = None) -> NDArray[Any]:
        """One column, checked: every value there, every number finite.

        Parameters
        ----------
        name : str
        text : bool or None        True: as text. False: as numbers. None: as what the file declares it, and where it
                                   cannot (CSV), as numbers if most cells are.

        Returns
        -------
        array, shape (n,)          float64, or object (str) for text.

        Raises
        ------
        InputError                 A missing value, an infinite number, text among numbers: names row and column.

        >>> Table("t", {"a": ("1", "2")}).column("a")
        array([1., 2.])
        """
        if name in self.unsupported:
            kind = self.unsupported[name]
            raise self.fault(f"holds {kind}; only numbers, booleans and text can be used", column=name)
        self.require([name])
        values = self.columns[name]
        if isinstance(values, np.ndarray) and values.dtype.kind in "fiub":
            numbers = self._finite(name, values.astype(np.float64))
            if not text:
                return numbers
            if values.dtype.kind == "b":
                return values.astype(str).astype(object)
            return np.array([label(v) for v in numbers.tolist()], dtype=object)
        if text or (text is None and isinstance(values, np.ndarray)):
            return self._text(name, values)
        numbers_or_none = self._numbers(name, values, demanded=text is False)
        return self._text(name, values) if numbers_or_none is None else numbers_or_none

    def _finite(self, name: str, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        bad = np.flatnonzero(~np.isfinite(numbers))
        if bad.size:
            value = numbers[bad[0]]
            what = (
                "missing value"
                if np.isnan(value)
                else "an infinite value, or one beyond the range of float64"
            )
            raise self.fault(what, row=int(bad[0]), column=name)
        return numbers

    def _text(self, name: str, values: Sequence[str] | NDArray[Any]) -> NDArray[Any]:
        for row, cell in enumerate(values):
            if cell is None or cell == "" or str(cell).lower() == "nan":
                raise self.fault("missing value", row=row, column=name)
        result = np.empty(len(values), dtype=object)
        result[:] = [str(cell) for cell in values]
        return result

    def _numbers(self, name: str, values: Any, *, demanded: bool) -> NDArray[np.float64] | None:
        """The column as numbers, or None for text.

        A column is one of numbers when more than half of its cells are: then a cell that is not is reported, because
        one slip of the pen must not turn a quantity into hundreds of categories.
        """
        comma = self.decimal_comma and not any("." in cell for cell in values)
        missing = others = None
        numbers = np.empty(len(values))
        n_numbers = n_others = 0
        for row, cell in enumerate(values):
            try:
                numbers[row] = number(cell.replace(",", ".") if comma else cell)
                n_numbers += 1
            except (ValueError, AttributeError):  # None, where a Parquet file has a null
                numbers[row] = np.nan
                if cell is None or cell.lower() in MISSING:
                    missing = row if missing is None else missing
                else:
                    n_others += 1
                    others = row if others is None else others
        if others is not None and not demanded and n_numbers <= n_others:
            return None
        if others is not None and (missing is None or others < missing):
            raise self.fault(
                f"{quoted(values[others])} is not a number"
                + ("" if demanded else f", but {n_numbers:,} other cells of this column are"),
                row=others,
                column=name,
            )
        return self._finite(name, numbers)
