"""What enters a model becomes arrays as the kernels take them, or is refused: what came, what was expected, where.

The kernels do not check anything, so everything is checked here, once per call. What enters a model becomes a
C-contiguous NumPy array of the model's dtype, or a SciPy CSR matrix of it. The rule for other dtypes is Keras':
integers, booleans and the other float type are converted to the model's dtype (a copy, made once), because each of
their values has a nearest number there. Text, dates, complex numbers and missing values have none and are refused.
"""

from __future__ import annotations

import decimal
import math
import numbers
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastbp.validation import shown

__all__ = [
    "Floats",
    "all_finite",
    "check_rows",
    "check_sparse",
    "is_sparse",
    "refuse_dates",
    "refuse_masked",
    "refuse_nonfinite",
    "resolve_dtype",
    "to_inputs",
    "to_matrix",
    "to_real",
    "to_weights",
]

Floats = NDArray[np.floating[Any]]

# So many numbers a BLAS sums up on the calling thread. For long arrays OpenBLAS wakes its other threads, and these spin
# beside ours for many milliseconds.
BLAS_ALONE = 8192


def resolve_dtype(dtype: DTypeLike) -> np.dtype[Any]:
    """Return float32 or float64 as a `numpy.dtype`; a TypeError for anything else.

    >>> resolve_dtype("float32")
    dtype('float32')
    """
    try:
        resolved = np.dtype(dtype)
    except (TypeError, ValueError):
        raise TypeError(f"dtype must be 'float32' or 'float64', got {shown(dtype)}") from None
    if dtype is None or resolved not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise TypeError(f"dtype must be 'float32' or 'float64', got {shown(dtype)}")
    return resolved


def is_sparse(x: object) -> bool:
    """Whether `x` is a SciPy sparse matrix or array (without importing SciPy when it cannot be one).

    >>> is_sparse([1, 2])
    False
    """
    if not type(x).__module__.startswith("scipy.sparse"):
        return False
    from scipy import sparse

    return bool(sparse.issparse(x))


def check_sparse(x: Any, name: str = "X") -> Any:
    """Return a SciPy sparse matrix whose index arrays are copies that fit its values and its shape.

    SciPy's own code checks no index when it converts, slices or multiplies a matrix, and neither do the kernels: both
    would read and write anywhere. The values are not copied.

    Raises
    ------
    ValueError
        The arrays do not fit each other, or an index lies outside the shape.

    >>> from scipy import sparse
    >>> check_sparse(sparse.csc_array([[1.0, 0.0], [0.0, 2.0]])).toarray()
    array([[1., 0.],
           [0., 2.]])
    """
    kind, shape = x.format, x.shape
    if kind == "coo" and len(shape) == 2:
        values, row, col = x.data, np.array(x.row), np.array(x.col)
        if not (values.ndim == row.ndim == col.ndim == 1 and len(values) == len(row) == len(col)):
            raise ValueError(f"{name} is not a valid COO matrix: its three arrays have different lengths")
        _check_indices(row, shape[0], name, "row")
        _check_indices(col, shape[1], name, "column")
        return type(x)((values, (row, col)), shape=shape)
    if kind not in ("csr", "csc", "bsr") or len(shape) != 2:
        return (
            x  # made of Python objects or of whole diagonals, which SciPy converts without trusting an index
        )
    values, indices, indptr = x.data, np.array(x.indices), np.array(x.indptr)
    height, width = values.shape[1:] if kind == "bsr" and values.ndim == 3 else (1, 1)
    rows, columns = shape[0] // height, shape[1] // width
    major, minor, axis = (columns, rows, "row") if kind == "csc" else (rows, columns, "column")
    integers = indices.dtype.kind in "iu" and indptr.dtype.kind in "iu"
    if integers:
        _check_indices(indices, minor, name, axis)
    if (
        not integers
        or indices.ndim != 1
        or values.ndim != (3 if kind == "bsr" else 1)
        or indptr.shape != (major + 1,)
        or int(indptr[0]) != 0
        or int(indptr[-1]) > min(len(indices), len(values))
        or np.any(indptr[1:] < indptr[:-1])
    ):
        raise ValueError(f"{name} is not a valid {kind.upper()} matrix: indptr does not fit indices")
    used = int(indptr[-1])
    return type(x)((values[:used], indices[:used], indptr), shape=shape)


def _check_indices(indices: NDArray[Any], count: int, name: str, axis: str) -> None:
    """Refuse indices that are no integers from 0 to count - 1."""
    if indices.dtype.kind not in "iu":
        raise ValueError(f"{name} must have integers as {axis} indices, got {indices.dtype}")
    if indices.size and not 0 <= int(indices.min()) <= int(indices.max()) < count:
        raise ValueError(f"{name} holds {axis} indices outside 0..{count - 1}")


def check_rows(got: int, expected: int, name: str, other: str = "X") -> None:
    """Raise a ValueError unless both arguments have the same number of rows."""
    if got != expected:
        raise ValueError(f"{name} has {got} rows, but {other} has {expected}")


def to_real(x: Any, name: str) -> NDArray[Any]:
    """Make `x` an array of booleans, integers or floats, with the dtype and the axes that it has.

    Parameters
    ----------
    x : array-like
        Numbers that are kept as Python objects become float64.
    name : str
        How the message calls the argument.

    Raises
    ------
    TypeError
        Text, dates, durations, complex numbers, masked entries, None, other objects.
    ValueError
        Rows of different lengths, or an integer that is too large for a float.

    >>> to_real([[1, 2]], "X").dtype.kind
    'i'
    """
    if type(x) is np.ndarray and x.dtype.kind in "biuf":
        return x
    return _to_real(x, name, _columns(x))


def to_matrix(x: Any, dtype: np.dtype[Any], name: str, *, finite: bool = True) -> Floats:
    """Make `x` a C-contiguous array of `dtype`, with the number of axes that it has.

    Parameters
    ----------
    x : array-like
        An array that is already C-contiguous and of `dtype` is returned as it is, without a copy.
    dtype : numpy.dtype
        float32 or float64.
    name : str
        How the message calls the argument.
    finite : bool
        Refuse NaN and infinity, naming row and column. Maps of files (`numpy.memmap`) are not read for it.

    Raises
    ------
    TypeError, ValueError
        As `to_real`, and for NaN or infinity, or a number too large for `dtype`.

    >>> to_matrix([[1, 2], [3, 4]], np.dtype("float32"), "X")
    array([[1., 2.],
           [3., 4.]], dtype=float32)
    """
    if type(x) is np.ndarray and x.dtype == dtype and x.flags.c_contiguous:
        if finite:
            refuse_nonfinite(x, name)
        return x
    columns = _columns(x)
    array = _to_real(x, name, columns)
    if array.dtype != dtype or not array.flags.c_contiguous:
        with np.errstate(over="ignore"):  # an overflow becomes inf, and is then reported with its place
            array = np.asarray(array, dtype=dtype, order="C")
    if finite and not isinstance(x, np.memmap):
        refuse_nonfinite(array, name, columns)
    return array


def to_inputs(
    x: Any,
    n_inputs: int,
    dtype: np.dtype[Any],
    *,
    name: str = "X",
    layer: str = "the first layer",
    finite: bool = True,
) -> Any:
    """Make `x` what the engine takes: a C-contiguous (n, n_inputs) array, or a CSR matrix, of `dtype`.

    Accepted: arrays, nested lists, pandas and polars frames, tensors on the CPU, SciPy sparse (never
    densified) and maps of files. A `numpy.memmap` of the model's dtype passes without being read; one of
    another dtype is returned as it is, and the caller converts it block by block.

    Returns
    -------
    numpy.ndarray or scipy.sparse.csr_array or csr_matrix
        Shape (n, n_inputs).

    Raises
    ------
    TypeError, ValueError
        As `to_matrix`, and for a wrong shape: ``X has 5 columns, but the first layer takes 4``.

    >>> to_inputs([[1, 2, 3]], 3, np.dtype("float64")).shape
    (1, 3)
    """
    if type(x) is not np.ndarray and is_sparse(x):
        matrix = check_sparse(x, name).tocsr()
        _check_shape(matrix.shape, n_inputs, name, layer)
        if matrix.dtype.kind not in "biuf":
            raise TypeError(f"{name} must hold real numbers, got sparse dtype {matrix.dtype}")
        with np.errstate(over="ignore"):
            matrix = matrix.astype(dtype, copy=False)
        if finite and not np.isfinite(matrix.data).all():
            bad = int(np.flatnonzero(~np.isfinite(matrix.data))[0])
            row = int(np.searchsorted(matrix.indptr, bad, side="right")) - 1
            raise ValueError(
                f"{name} holds {matrix.data[bad]} in row {row}, column {matrix.indices[bad]}; expected finite numbers"
            )
        return matrix
    if isinstance(x, np.memmap) and x.dtype.kind in "biuf" and (x.dtype != dtype or not x.flags.c_contiguous):
        _check_shape(x.shape, n_inputs, name, layer)
        return x
    array = to_matrix(x, dtype, name, finite=finite)
    _check_shape(array.shape, n_inputs, name, layer)
    return array


def to_weights(weights: Any, n: int, dtype: np.dtype[Any], name: str = "sample_weight") -> Floats | None:
    """Make `weights` an (n,) array of `dtype`, finite and >= 0 with a positive sum; None stays None.

    >>> to_weights([1, 2], 2, np.dtype("float32"))
    array([1., 2.], dtype=float32)
    """
    if weights is None:
        return None
    # A copy: nobody else can change what is checked here.
    array = to_matrix(weights, dtype, name).copy()
    if array.ndim != 1:
        raise ValueError(f"{name} must have shape ({n},), got {array.shape}")
    check_rows(len(array), n, name)
    if (array < 0).any():
        row = int(np.flatnonzero(array < 0)[0])
        raise ValueError(f"{name} must be >= 0, got {array[row]} in row {row}")
    if not array.any():
        raise ValueError(f"{name} is zero everywhere: there would be nothing to learn from")
    return array


def refuse_nonfinite(array: Floats, name: str, columns: list[str] | None = None) -> None:
    """Raise a ValueError that names row and column of the first NaN or infinity.

    >>> refuse_nonfinite(np.array([[1.0, np.nan]]), "X")
    Traceback (most recent call last):
    ...
    ValueError: X holds nan in row 0, column 1; expected finite numbers
    """
    if array.ndim == 0:
        if not np.isfinite(array):
            raise ValueError(f"{name} is {array}; expected a finite number")
        return
    if all_finite(array):
        return
    for start, part in _parts(array):
        bad = np.argwhere(~np.isfinite(part))
        if len(bad):
            place = bad[0]
            row = start + int(place[0])
            where = f"row {row}"
            if array.ndim > 1:
                column = int(place[1])
                where += f", column {columns[column]!r}" if columns else f", column {column}"
            raise ValueError(f"{name} holds {part[tuple(place)]} in {where}; expected finite numbers")


def all_finite(array: Floats) -> bool:
    """Whether every number of `array` is finite.

    >>> all_finite(np.array([1e300])), all_finite(np.array([np.nan]))
    (True, False)
    """
    # One cheap pass in the good case: a sum is finite only if every term is; but it may overflow. Not np.dot of a short
    # array, which warns of both: to keep it from that takes longer than the sum.
    if array.size <= BLAS_ALONE:
        total = np.vdot(array, array)
    else:
        with np.errstate(all="ignore"):
            total = array.sum()
    return math.isfinite(total) or all(np.isfinite(part).all() for _, part in _parts(array))


def _parts(array: Floats) -> Iterator[tuple[int, Floats]]:
    """Yield where a part of about a million numbers begins, and the part."""
    step = max(1, 1_000_000 // max(1, array[:1].size))
    for start in range(0, len(array), step):
        yield start, array[start : start + step]


def _check_shape(shape: tuple[int, ...], n_inputs: int, name: str, layer: str) -> None:
    if len(shape) != 2:
        hint = f"; one row is {name}.reshape(1, -1)" if len(shape) == 1 else ""
        raise ValueError(f"{name} must have shape (n, {n_inputs}), got {tuple(shape)}{hint}")
    if shape[1] != n_inputs:
        raise ValueError(f"{name} has {shape[1]} columns, but {layer} takes {n_inputs}")


def refuse_masked(x: object, name: str) -> None:
    """Raise a TypeError for a masked array with masked entries, or a list that holds such rows.

    >>> refuse_masked(np.ma.masked_array([1, 2], [True, False]), "y")
    Traceback (most recent call last):
    ...
    TypeError: y is a masked array with masked entries; fill them first
    """
    for part in x if isinstance(x, list | tuple) else (x,):
        if isinstance(part, np.ma.MaskedArray) and np.ma.getmaskarray(part).any():
            raise TypeError(f"{name} is a masked array with masked entries; fill them first")


def _columns(x: Any) -> list[str] | None:
    return [str(column) for column in x.columns] if hasattr(x, "columns") else None


def refuse_dates(frame: Any, name: str) -> None:
    """Raise a TypeError for a frame (pandas, polars) with a column of dates or durations: some make numbers of them."""
    for column, dtype in zip(frame.columns, getattr(frame, "dtypes", ()), strict=False):
        temporal = getattr(dtype, "is_temporal", None)  # polars; pandas' types have NumPy's kinds
        if getattr(dtype, "kind", "") in ("m", "M") or (callable(temporal) and temporal()):
            raise TypeError(f"{name} must hold real numbers, got {dtype} in column {str(column)!r}")


def _to_real(x: Any, name: str, columns: list[str] | None) -> NDArray[Any]:
    refuse_masked(x, name)
    if columns is not None:
        refuse_dates(x, name)
    try:
        if not isinstance(x, np.ndarray) and hasattr(x, "to_numpy"):  # pandas and polars: frames and columns
            array = np.asarray(x.to_numpy())
        else:  # also the plain view of a memmap: subclasses cost time in every call
            array = np.asarray(x)
    except ValueError as error:
        raise ValueError(f"{name} is not a rectangular array: {error}") from None
    if array.dtype.kind == "O":
        return _from_objects(array, name, columns)
    if array.dtype.kind not in "biuf":
        example = f", for example {shown(array.reshape(-1)[:1].tolist()[0], 40)}" if array.size else ""
        raise TypeError(f"{name} must hold real numbers, got dtype {array.dtype}{example}")
    return array


def _from_objects(array: NDArray[Any], name: str, columns: list[str] | None) -> Floats:
    """Numbers kept as Python objects (mixed frames, nullable columns), as float64; the first that is none is named."""
    result = np.empty(array.shape, np.float64)
    for place, value in np.ndenumerate(array):
        try:
            if not _is_number(value):
                raise TypeError
            result[place] = float(value)
        except Exception as error:  # whatever an object of the user's answers when it is asked for its number
            where = f"row {place[0]}" if place else "it"
            if len(place) > 1:
                where += f", column {columns[place[1]]!r}" if columns else f", column {place[1]}"
            kind = f"{shown(value)} ({type(value).__name__})"
            if isinstance(error, OverflowError):
                raise ValueError(
                    f"{name} must hold numbers that fit a float, but {where} holds {kind}"
                ) from None
            raise TypeError(f"{name} must hold numbers, but {where} holds {kind}") from None
    return result


def _is_number(value: object) -> bool:
    """Whether `float(value)` is that number: NumPy makes NaN of None, and numbers of dates, text and complex ones."""
    if isinstance(value, np.generic) or (type(value) is np.ndarray and value.ndim == 0):
        return value.dtype.kind in "biuf"
    if isinstance(value, str | bytes | np.ndarray):
        return False
    return isinstance(value, numbers.Real | decimal.Decimal) or hasattr(type(value), "__float__")
