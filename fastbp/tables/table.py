"""A table of named columns that says where in it something is wrong.

A :class:`Table` keeps what was read as it came; :meth:`Table.column` turns one column into numbers or text when it is
used, and only then complains about it: a missing value in a column that nobody uses harms nobody. Every fault of the
input is an :class:`~fastbp.tables.errors.InputError` whose message is one line that says which file, row and column.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fastbp.tables.columns import CELLS, Column, Parsed, Text, numbers_of, parse
from fastbp.tables.errors import InputError, listed, quoted


@dataclass(frozen=True, slots=True)
class Table:
    """A table as it was read: named columns of equal length.

    Attributes
    ----------
    source : str                   Where it came from, as the user wrote it; every message starts with it.
    columns : dict                 Per name an array of numbers, booleans or cells, shape (n,), or a `Text`.
    target : tuple of str          The target columns, if the source says which they are (bundled datasets, npz).
    lines : sequence of int        The line of the file on which each row ends (CSV), else empty.
    positional : bool              The names were made up (npz): columns are known by their position.
    decimal_comma : bool           Numbers may be written 3,14: a CSV file separated by semicolons.
    unsupported : dict             Columns that can be named but not used, and the type they hold (Parquet).
    notes : tuple of str           What the reader decided and the user should know.
    """

    source: str
    columns: dict[str, Column]
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

    def holds_booleans(self, name: str) -> bool:
        """Whether the source declares the column one of truth values."""
        values = self.columns.get(name)
        return isinstance(values, np.ndarray) and values.dtype.kind == "b"

    def column(self, name: str) -> NDArray[np.float64] | Text:
        """One column as what the file declares it; if it declares nothing (CSV), as numbers if most cells are.

        Returns
        -------
        array, shape (n,), float64, or Text

        Raises
        ------
        InputError         A missing value, an infinite number, text among numbers: names row and column.

        >>> from fastbp.tables.columns import CELLS
        >>> Table("t", {"a": np.array(["1", "2"], CELLS)}).column("a")
        array([1., 2.])
        """
        values = self._values(name)
        if isinstance(values, Text):
            return self._complete(name, values)
        found = self._numbers_or_text(name, values)
        if not isinstance(found, Text):
            return found
        parsed = parse(found, self.decimal_comma)
        if 0 < parsed.n_others >= parsed.n_numbers:
            return self._complete(name, found)
        # One slip of the pen must not turn a quantity into hundreds of categories.
        return self._checked(
            name, found, parsed, f", but {parsed.n_numbers:,} other cells of this column are"
        )

    def numbers(self, name: str) -> NDArray[np.float64]:
        """One column as numbers, shape (n,).

        Raises
        ------
        InputError         A missing value, an infinite number, any text: names row and column.
        """
        found = self._numbers_or_text(name, self._values(name))
        return (
            self._checked(name, found, parse(found, self.decimal_comma)) if isinstance(found, Text) else found
        )

    def text(self, name: str) -> Text:
        """One column as text: cells as they were written, numbers and truth values by their names.

        Raises
        ------
        InputError         A missing value or an infinite number: names row and column.
        """
        values = self._values(name)
        if isinstance(values, np.ndarray) and values.dtype != CELLS:
            numbers = self._finite(name, values.astype(np.float64, copy=False))
            return Text.of_numbers(values if values.dtype.kind == "b" else numbers)
        return self._complete(name, values if isinstance(values, Text) else Text.of(values.tolist()))

    def _values(self, name: str) -> Column:
        if name in self.unsupported:
            kind = self.unsupported[name]
            raise self.fault(f"holds {kind}; only numbers, booleans and text can be used", column=name)
        self.require([name])
        return self.columns[name]

    def _numbers_or_text(self, name: str, values: Column) -> NDArray[np.float64] | Text:
        """The column as checked numbers if every value is one, otherwise as text, which is not checked."""
        if isinstance(values, Text):
            return values
        numbers = (
            numbers_of(values, self.decimal_comma)
            if values.dtype == CELLS
            else values.astype(np.float64, copy=False)
        )
        return Text.of(values.tolist()) if numbers is None else self._finite(name, numbers)

    def _checked(self, name: str, text: Text, parsed: Parsed, hint: str = "") -> NDArray[np.float64]:
        """The numbers, unless a cell is none: the first fault of the column is reported."""
        first = int(parsed.others.argmax())
        if parsed.n_others and not parsed.missing[:first].any():
            what = f"{quoted(text.values[text.codes[first]])} is not a number{hint}"
            raise self.fault(what, row=first, column=name)
        return self._finite(name, parsed.numbers)

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

    def _complete(self, name: str, text: Text) -> Text:
        missing = np.array([not value or value.lower() == "nan" for value in text.values])
        if missing.any():
            raise self.fault("missing value", row=int(missing[text.codes].argmax()), column=name)
        return text
