"""What scikit-learn's checks let pass, though it is no number or no weight.

scikit-learn drops the mask of a masked array, makes seconds of dates, drops imaginary parts in columns of objects, and
fails on a huge integer without naming it. Everything else is left to its own checks: labels of any kind, text that
reads as numbers, missing values, shapes.
"""

from __future__ import annotations

import numbers
from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.utils.validation import _check_sample_weight, assert_all_finite

from fastbp.arrays import refuse_dates, refuse_masked, refuse_nonfinite
from fastbp.estimators.parameters import Array
from fastbp.validation import check_number, shown

# Dates, durations, records. scikit-learn refuses complex arrays, and makes numbers of text or refuses it.
REFUSED = "MmV"


def checked_labels(y: Any, name: str = "y", known: Array | None = None) -> Any:
    """Return labels as they came; refuse masked ones, NaN, and dates among labels of another kind.

    Parameters
    ----------
    y : array-like
    name : str
        How messages call it.
    known : ndarray, optional
        The labels of an earlier fit.

    Raises
    ------
    TypeError, ValueError
    """
    refuse_masked(y, name)
    try:
        labels = np.asarray(y)
    except ValueError:  # rows of different lengths: scikit-learn has words for them
        return y
    kind = labels.dtype.kind
    if known is not None and kind in ("m", "M") and known.dtype.kind != kind:
        raise TypeError(f"{name} holds {labels.dtype}, but classes_ holds {known.dtype}")
    if kind == "f":
        assert_all_finite(labels, input_name=name)  # in scikit-learn's words, before it casts them
    if kind == "O":
        for value in labels.reshape(-1):
            if isinstance(value, np.datetime64 | np.timedelta64):
                raise TypeError(
                    f"{name} must be an array of one kind of labels, got {shown(value)} as an object"
                )
    return y


def labels_in(y: Any) -> Array | None:
    """Return the labels in y, sorted, as scikit-learn's `unique_labels` does; None if it has to look at y.

    It takes 300 us to see that a column of integers, truth values, texts or whole floats are labels.

    >>> labels_in(np.array([2, 0, 2])), labels_in(np.array([0.5, 1.0]))
    (array([0, 2]), None)
    """
    if type(y) is not np.ndarray or y.ndim != 1 or not len(y) or not y.dtype.isnative:
        return None
    kind = y.dtype.kind
    if kind not in "biuU" and not (kind == "f" and (np.abs(y) < 2**53).all() and (y == np.trunc(y)).all()):
        return None
    labels = np.unique(y)
    if len(y) > 20 and 2 * len(labels) > len(y):
        return None  # some versions warn of so many classes
    # A text is no longer than the longest label.
    return np.array(labels.tolist()) if kind == "U" else labels


def checked_numbers(x: Any, name: str) -> Any:
    """Return what is to be numbers as it came, lists as arrays.

    Parameters
    ----------
    x : array-like, sparse matrix or frame
    name : str
        How messages call it.

    Raises
    ------
    TypeError
        Masked entries, dates, durations, complex numbers, records.
    ValueError
        An integer that is too large for a float.
    """
    refuse_masked(x, name)
    if isinstance(x, list | tuple):
        try:
            x = np.asarray(x)
        except ValueError:  # rows of different lengths: scikit-learn has words for them
            return x
    if hasattr(x, "columns"):
        refuse_dates(x, name)
    for column, array in _parts(x):
        if array.dtype.kind in REFUSED:
            raise TypeError(f"{name} must hold real numbers, got dtype {array.dtype}")
        if array.dtype.kind == "O":
            for place, value in np.ndenumerate(array):
                _check_object(value, name, place, column)
    return x


def checked_weights(sample_weight: Any, X: Any, name: str = "sample_weight") -> Array:
    """Return weights as scikit-learn takes them: (n,), floats; one number stands for all rows.

    Raises
    ------
    TypeError, ValueError
        As `checked_numbers`; a wrong shape, NaN or infinity.
    """
    weights: Array = _check_sample_weight(checked_numbers(sample_weight, name), X)
    refuse_nonfinite(weights, name)  # scikit-learn does not look at one number for all rows
    return weights


def checked_class_weight(class_weight: Any) -> Any:
    """Return class weights as they came; the values of their dicts must be finite and >= 0.

    Raises
    ------
    TypeError, ValueError
    """
    for table in class_weight if isinstance(class_weight, list) else [class_weight]:
        if isinstance(table, dict):
            for label, value in table.items():
                check_number(value, f"class_weight[{shown(label)}]", 0.0)
    return class_weight


def _parts(x: Any) -> Iterator[tuple[str, Array]]:
    """Yield an array, or the columns of objects of a frame, each with the words for its place."""
    if isinstance(x, np.ndarray):
        yield "", x
    elif hasattr(x, "columns") and hasattr(x, "to_numpy"):
        empty = x[:0]  # no row of a frame is needed for the types of its columns
        for name in x.columns if np.asarray(empty.to_numpy()).dtype.kind == "O" else ():
            if np.asarray(empty[name].to_numpy()).dtype.kind == "O":
                yield f", column {str(name)!r}", np.asarray(x[name].to_numpy())
    elif hasattr(x, "to_numpy"):  # a column
        yield "", np.asarray(x.to_numpy())


def _check_object(value: object, name: str, place: tuple[int, ...], column: str) -> None:
    where = f"row {place[0]}" + (f", column {place[1]}" if len(place) > 1 else column) if place else "it"
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} must hold real numbers, but {where} is masked; fill it first")
    if isinstance(value, np.generic) and value.dtype.kind in REFUSED + "c":
        raise TypeError(
            f"{name} must hold real numbers, but {where} holds {shown(value)} ({type(value).__name__})"
        )
    if isinstance(value, numbers.Real):
        try:
            float(value)
        except OverflowError:
            raise ValueError(
                f"{name} must hold numbers that fit a float, but {where} holds {shown(value)}"
            ) from None
