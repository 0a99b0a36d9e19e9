"""Reading tables: the datasets bundled with scikit-learn, CSV, npz and Parquet files."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastbp.tables.columns import CELLS, Column, Text, number
from fastbp.tables.errors import InputError, listed, quoted
from fastbp.tables.table import Table

if TYPE_CHECKING:
    import pyarrow

BUNDLED = ("digits", "iris", "wine", "breast_cancer", "diabetes")
"""Names of the datasets that come with scikit-learn and need no download."""

BLOCK = 4096  # rows of a CSV file that are Python strings at a time


def read(source: str) -> Table:
    """Read a table.

    Parameters
    ----------
    source : str       A name in `BUNDLED`, or the path of a .csv, .tsv, .npz or .parquet file.

    Raises
    ------
    InputError         The file does not hold what its name says; one line says what and where.
    OSError            The file cannot be read.

    >>> read("iris").n_rows
    150
    """
    if source in BUNDLED:
        return _bundled(source)
    path = Path(source)
    if not path.exists():
        raise InputError(f"{source}: no such file (datasets that need none: {', '.join(BUNDLED)})")
    readers: dict[str, Callable[[str], Table]] = {
        ".csv": read_csv,
        ".tsv": read_csv,
        ".txt": read_csv,
        ".npz": read_npz,
        ".parquet": read_parquet,
    }
    if path.is_dir():
        raise InputError(f"{source}: a folder, but a file is needed")
    if path.suffix.lower() not in readers:
        raise InputError(f"{source}: its name must end in one of {', '.join(readers)}, to say what it holds")
    if path.stat().st_size == 0 and path.is_file():
        raise InputError(f"{source}: the file is empty")
    return readers[path.suffix.lower()](source)


def _bundled(name: str) -> Table:
    from sklearn import datasets

    bunch = getattr(datasets, f"load_{name}")()
    columns: dict[str, Column] = {str(key): bunch.data[:, j] for j, key in enumerate(bunch.feature_names)}
    if "target_names" in bunch:
        names = tuple(str(key) for key in bunch.target_names)
        columns["target"] = Text(names, bunch.target.astype(np.int64))
    else:
        columns["target"] = bunch.target
    return Table(name, columns, target=("target",))


def read_csv(source: str) -> Table:
    """Read a CSV file: UTF-8, first line the names; separated by commas, semicolons, tabs or bars, as the header shows.

    Quoted fields, a byte order mark, any line ending and blank lines are all right. Blanks around a cell are not part
    of it. A first column without a name that only counts the rows (as pandas writes it) is left out.

    Raises
    ------
    InputError         Not UTF-8, no header, no rows, a ragged row, a broken quote, names missing or double.
    """
    data = Path(source).read_bytes()
    try:
        empty = not data.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise InputError(
            f"{source}: byte {error.start + 1:,} is not UTF-8 text; save the file as UTF-8"
        ) from None
    if empty:
        raise InputError(f"{source}: the file is empty")
    delimiter = max(",;\t|", key=lambda mark: _count_fields(data, mark))
    header, cells, lines = _read_cells(source, data, delimiter)
    _check_header(source, header)
    if not lines:
        raise InputError(f"{source}: a header, but no rows below it")
    columns: dict[str, Column] = dict(zip(header, cells, strict=True))
    notes = []
    if "" in columns:
        if not _counts_rows(columns.pop("").tolist()):
            raise InputError(f"{source}: column 1 has no name")
        notes.append("the first column has no name and only counts the rows: left out")
    return Table(source, columns, lines=lines, decimal_comma=delimiter == ";", notes=tuple(notes))


def _text(data: bytes) -> io.TextIOWrapper:
    """Open the bytes of a UTF-8 file as csv wants them."""
    return io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig", newline="")


def _count_fields(data: bytes, delimiter: str) -> int:
    """Number of fields that the header would have with this delimiter."""
    try:
        return len(next(row for row in csv.reader(_text(data), delimiter=delimiter) if row))
    except (csv.Error, StopIteration):
        return 0


def _read_cells(source: str, data: bytes, delimiter: str) -> tuple[list[str], list[NDArray[Any]], list[int]]:
    """Header, columns of stripped cells, and the line on which each row ends."""
    reader = csv.reader(_text(data), delimiter=delimiter, skipinitialspace=True, strict=True)
    header: list[str] = []
    blocks: list[list[NDArray[Any]]] = []
    rows: list[list[str]] = []
    lines: list[int] = []

    def store() -> None:
        """Put rows away as columns: Python's strings take five times the memory."""
        for column, cells in zip(blocks, zip(*rows, strict=True), strict=True):
            column.append(np.array(list(map(str.strip, cells)), CELLS))
        rows.clear()

    try:
        for cells in reader:
            if not cells or (len(cells) == 1 and not cells[0].strip() and len(header) != 1):
                continue  # a blank line
            if not header:
                header = [cell.strip() for cell in cells]
                blocks = [[] for _ in header]
                continue
            if len(cells) != len(header):
                raise InputError(
                    f"{source}: row {len(lines) + 1} (line {reader.line_num}): "
                    f"{len(cells)} cells, but the header names {len(header)} columns"
                )
            rows.append(cells)
            lines.append(reader.line_num)
            if len(rows) == BLOCK:
                store()
    except csv.Error as error:
        raise InputError(f"{source}: line {reader.line_num}: {error}") from None
    if rows:
        store()
    return header, [np.concatenate(column) if column else np.empty(0, CELLS) for column in blocks], lines


def _check_header(source: str, header: list[str]) -> None:
    for position, name in enumerate(header[1:], start=2):
        if not name:
            raise InputError(f"{source}: column {position} has no name")
    twice = [name for name, count in Counter(header).items() if count > 1]
    if twice:
        raise InputError(f"{source}: two columns are named {quoted(twice[0])}")
    if all(_is_number(name) for name in header):
        raise InputError(f"{source}: the first line should name the columns, but holds only numbers")


def _is_number(cell: str) -> bool:
    try:
        return math.isfinite(number(cell))
    except ValueError:
        return False


def _counts_rows(cells: Sequence[str]) -> bool:
    return any(list(cells) == [str(start + i) for i in range(len(cells))] for start in (0, 1))


def read_npz(source: str) -> Table:
    """Read a NumPy archive with arrays X (or x) and, unless only predictions are wanted, y.

    X has shape (n, ...): everything behind the first axis becomes columns x0, x1, ... y has shape (n,) or (n, k).

    Raises
    ------
    InputError         Not an archive, damaged, other keys, objects instead of numbers, lengths that differ.
    """
    try:
        with open(source, "rb") as file:  # opened here, because np.load leaves a damaged file open
            archive = np.load(file, allow_pickle=False)
            if isinstance(archive, np.ndarray):
                raise InputError(f"{source}: one array, but an archive with X and y is needed (numpy.savez)")
            found = archive.files
            arrays = {key: archive[key] for key in found if key in ("X", "x", "y")}
    except (
        Exception
    ) as error:  # a damaged or forged archive makes zipfile, zlib and NumPy raise almost anything
        if isinstance(error, InputError | PermissionError):
            raise
        raise InputError(f"{source}: not a NumPy archive of plain arrays, or damaged ({error})") from None
    for key, array in arrays.items():
        if not isinstance(array, np.ndarray):  # np.load hands out the bytes of a member that begins otherwise
            raise InputError(f"{source}: {key} is not an array in NumPy's format (.npy)")
    if ("X" in arrays) == ("x" in arrays):
        raise InputError(
            f'{source}: needs one array "X" or "x", and "y"; it holds: {listed(found) or "nothing"}'
        )
    x = arrays["X"] if "X" in arrays else arrays["x"]
    if x.ndim == 0 or x.size == 0:
        raise InputError(f"{source}: X is empty, shape {x.shape}")
    if x.dtype.kind not in "fiub":
        raise InputError(f"{source}: X holds {x.dtype}, but numbers are needed")
    x = x.reshape(len(x), -1)
    columns: dict[str, Column] = {f"x{j}": x[:, j] for j in range(x.shape[1])}
    target: tuple[str, ...] = ()
    if "y" in arrays:
        y = arrays["y"]
        if y.ndim not in (1, 2) or len(y) != len(x):
            raise InputError(
                f"{source}: y has shape {y.shape}, but ({len(x)},) or ({len(x)}, k) is needed, as X has"
            )
        if y.dtype.kind not in "fiubU":
            raise InputError(f"{source}: y holds {y.dtype}, but numbers or text are needed")
        y = y.reshape(len(y), -1)
        target = ("y",) if y.shape[1] == 1 else tuple(f"y{j}" for j in range(y.shape[1]))
        is_text = y.dtype.kind == "U"
        columns |= {name: Text.of(y[:, j].tolist()) if is_text else y[:, j] for j, name in enumerate(target)}
    return Table(source, columns, target=target, positional=True)


def read_parquet(source: str) -> Table:
    """Read a Parquet file (needs pyarrow, the extra ``parquet``): numbers, booleans and text.

    Raises
    ------
    InputError         pyarrow is not installed; not a Parquet file, or damaged; no rows; names double.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise InputError(f'{source}: reading Parquet needs pyarrow: pip install "fastbp[parquet]"') from None
    try:
        with parquet.ParquetFile(source) as file:
            table = file.read()
    except (pyarrow.ArrowException, OSError) as error:
        if isinstance(error, PermissionError):
            raise
        raise InputError(f"{source}: not a Parquet file, or damaged ({error})") from None
    names = table.column_names
    _check_header(source, ["", *names])
    if not table.num_rows:
        raise InputError(f"{source}: a table without rows")
    columns: dict[str, Column] = {}
    unsupported: dict[str, str] = {}
    for name, values in zip(names, table.columns, strict=True):
        if name.startswith("__index_level_"):  # the row names of a pandas frame, not data
            continue
        column = _column_of_arrow(values)
        if column is None:
            unsupported[name] = str(values.type)
        else:
            columns[name] = column
    return Table(source, columns, unsupported=unsupported)


def _column_of_arrow(values: pyarrow.ChunkedArray) -> Column | None:
    """Numbers as numbers (null becomes NaN), booleans as booleans, text as text; None for everything else."""
    import pyarrow
    from pyarrow import types

    if types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if types.is_decimal(values.type) or (types.is_boolean(values.type) and values.null_count):
        values = values.cast(pyarrow.float64())
    kind = values.type
    if types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind):
        return np.asarray(values.to_numpy())
    if types.is_string(kind) or types.is_large_string(kind):
        return Text.of("" if cell is None else cell for cell in values.to_pylist())
    return None
