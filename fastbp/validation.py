"""Checks at the door: what came, what was expected, in which argument.

The kernels do not check anything, so everything is checked here, once per call. What enters a model becomes a
C-contiguous NumPy array of the model's dtype, or a SciPy CSR matrix of it. The rule for other dtypes is Keras':
integers, booleans and the other float type are converted to the model's dtype (a copy, made once), because each of
their values has a nearest number there. Text, dates, complex numbers and missing values have none and are refused.
"""

from __future__ import annotations

import difflib
import math
import numbers
import re
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

__all__ = [
    "Floats",
    "check_choice",
    "check_count",
    "check_number",
    "check_plain",
    "check_rows",
    "is_sparse",
    "parse_call",
    "refuse_nonfinite",
    "resolve_dtype",
    "to_inputs",
    "to_matrix",
    "to_weights",
]

Floats = NDArray[np.floating[Any]]

_CALL = re.compile(r"\s*([A-Za-z_]\w*)\s*(?:\(([^()]*)\))?\s*")


def check_count(value: object, name: str, minimum: int = 1) -> int:
    """Return `value` as an int of at least `minimum`, or raise an error that names the argument.

    >>> check_count(3, "epochs")
    3
    """
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be an integer >= {minimum}, got {value!r} ({type(value).__name__})")
    if int(value) < minimum:
        raise ValueError(f"{name} must be an integer >= {minimum}, got {value!r}")
    return int(value)


def check_number(
    value: object,
    name: str,
    low: float = -np.inf,
    high: float = np.inf,
    *,
    open_low: bool = False,
    open_high: bool = False,
) -> float:
    """Return `value` as a finite float in [low, high] (an end is excluded when `open_low` / `open_high`).

    >>> check_number(0.5, "rate", 0, 1, open_high=True)
    0.5
    """
    expected = f"a finite number in {'(' if open_low else '['}{low:g}, {high:g}{')' if open_high else ']'}"
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be {expected}, got {value!r} ({type(value).__name__})")
    number = float(value)
    too_low = number <= low if open_low else number < low
    too_high = number >= high if open_high else number > high
    if not np.isfinite(number) or too_low or too_high:
        raise ValueError(f"{name} must be {expected}, got {value!r}")
    return number


def check_choice(value: object, name: str, choices: Iterable[str]) -> str:
    """Return `value` if it is one of `choices`; the error lists them and guesses what was meant.

    >>> check_choice("relu", "activation", ("relu", "tanh"))
    'relu'
    """
    known = tuple(choices)
    if isinstance(value, str) and value in known:
        return value
    close = difflib.get_close_matches(str(value), known, n=1)
    guess = f" (did you mean {close[0]!r}?)" if close else ""
    raise ValueError(f"{name} must be one of {', '.join(known)}; got {value!r}{guess}")


def check_plain(model: object, base: type, methods: Iterable[str]) -> None:
    """Refuse an object whose class has its own version of a method of `base`: an export would not have it.

    >>> check_plain("a", str, ["upper"])
    """
    for name in methods:
        if getattr(type(model), name, None) is not getattr(base, name, None) or name in getattr(
            model, "__dict__", {}
        ):
            kind = type(model).__name__
            raise TypeError(f"{kind} has its own {name}, which an export of a {base.__name__} would not have")


def parse_call(text: str, name: str) -> tuple[str, tuple[float, ...]]:
    """Read ``"name"`` or ``"name(1, 2)"``: a name and its numbers.

    >>> parse_call("uniform(-0.1, 0.1)", "initializer")
    ('uniform', (-0.1, 0.1))
    """
    match = _CALL.fullmatch(text)
    if match is None:
        raise ValueError(f"{name} must read like 'name' or 'name(0.5)', got {text!r}")
    word, inside = match.groups()
    try:
        values = tuple(float(part) for part in inside.split(",")) if inside and inside.strip() else ()
    except ValueError:
        raise ValueError(f"{name}: the arguments in {text!r} must be numbers") from None
    return word, values


def resolve_dtype(dtype: DTypeLike) -> np.dtype[Any]:
    """Return float32 or float64 as a `numpy.dtype`; a TypeError for anything else.

    >>> resolve_dtype("float32")
    dtype('float32')
    """
    try:
        resolved = np.dtype(dtype)
    except TypeError:
        raise TypeError(f"dtype must be 'float32' or 'float64', got {dtype!r}") from None
    if dtype is None or resolved not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise TypeError(f"dtype must be 'float32' or 'float64', got {dtype!r}")
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


def check_rows(got: int, expected: int, name: str, other: str = "X") -> None:
    """Raise a ValueError unless both arguments have the same number of rows."""
    if got != expected:
        raise ValueError(f"{name} has {got} rows, but {other} has {expected}")


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
    TypeError
        Text, dates, complex numbers, masked entries.
    ValueError
        NaN or infinity, or a number too large for `dtype`.

    >>> to_matrix([[1, 2], [3, 4]], np.dtype("float32"), "X")
    array([[1., 2.],
           [3., 4.]], dtype=float32)
    """
    mapped = isinstance(x, np.memmap)
    columns = [str(column) for column in x.columns] if hasattr(x, "columns") else None
    array = _to_ndarray(x, name)
    if array.dtype.kind == "O":
        array = _from_objects(array, dtype, name, columns)
    elif array.dtype.kind not in "biuf":
        example = f", for example {array.reshape(-1)[:1].tolist()[0]!r}" if array.size else ""
        raise TypeError(f"{name} must hold real numbers, got dtype {array.dtype}{example}")
    if array.dtype != dtype or not array.flags.c_contiguous:
        with np.errstate(over="ignore"):  # an overflow becomes inf, and is then reported with its place
            array = np.ascontiguousarray(array, dtype=dtype)
    if finite and not mapped:
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
    if is_sparse(x):
        matrix = x.tocsr()
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
    array = to_matrix(weights, dtype, name)
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
    # One cheap pass in the good case: a sum of squares is finite only if every term is. Overflow is settled below.
    flat = array.reshape(-1)
    with np.errstate(over="ignore", invalid="ignore"):
        if math.isfinite(np.dot(flat, flat)):
            return
    step = max(1, 1_000_000 // max(1, array[:1].size))
    for start in range(0, len(array), step):
        bad = np.argwhere(~np.isfinite(array[start : start + step]))
        if len(bad):
            place = bad[0]
            value = array[start : start + step][tuple(place)]
            row = start + int(place[0])
            where = f"row {row}"
            if array.ndim > 1:
                column = int(place[1])
                where += f", column {columns[column]!r}" if columns else f", column {column}"
            raise ValueError(f"{name} holds {value} in {where}; expected finite numbers")


def _check_shape(shape: tuple[int, ...], n_inputs: int, name: str, layer: str) -> None:
    if len(shape) != 2:
        hint = f"; one row is {name}.reshape(1, -1)" if len(shape) == 1 else ""
        raise ValueError(f"{name} must have shape (n, {n_inputs}), got {tuple(shape)}{hint}")
    if shape[1] != n_inputs:
        raise ValueError(f"{name} has {shape[1]} columns, but {layer} takes {n_inputs}")


def _to_ndarray(x: Any, name: str) -> NDArray[Any]:
    if isinstance(x, np.ma.MaskedArray):
        if np.ma.getmaskarray(x).any():
            raise TypeError(f"{name} is a masked array with masked entries; fill them first")
        return np.asarray(x.data)
    if not isinstance(x, np.ndarray) and hasattr(x, "to_numpy"):  # pandas and polars: frames and columns
        return np.asarray(x.to_numpy())
    try:
        return np.asarray(x)  # also the plain view of a memmap: subclasses cost time in every call
    except ValueError as error:
        raise ValueError(f"{name} is not a rectangular array: {error}") from None


def _from_objects(
    array: NDArray[Any], dtype: np.dtype[Any], name: str, columns: list[str] | None
) -> NDArray[Any]:
    """Numbers kept as Python objects (mixed frames, nullable columns); the first that is none is named."""
    result = np.empty(array.shape, dtype)
    for place, value in np.ndenumerate(array):
        try:
            if value is None or isinstance(value, str | bytes):
                raise TypeError  # NumPy would make NaN of None, and a number of text that looks like one
            result[place] = value
        except (TypeError, ValueError):
            where = f"row {place[0]}" if place else "it"
            if len(place) > 1:
                where += f", column {columns[place[1]]!r}" if columns else f", column {place[1]}"
            raise TypeError(
                f"{name} must hold numbers, but {where} holds {value!r} ({type(value).__name__})"
            ) from None
    return result
