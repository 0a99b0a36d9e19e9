"""Rows as they come, for a network that takes prepared columns: what ``fastbp train`` made, used in Python."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbp.tables.columns import CELLS, Column
from fastbp.tables.errors import InputError, listed
from fastbp.tables.preprocessor import RECORD, Numeric, Preprocessor
from fastbp.tables.read import read
from fastbp.tables.table import Table

__all__ = ["description", "encode", "predict", "preprocessor_of"]


def preprocessor_of(net: Any) -> Preprocessor:
    """Return how the columns of a network that ``fastbp train`` made are prepared.

    Parameters
    ----------
    net : Sequential
        From `fastbp.load`.

    Raises
    ------
    InputError
        The network has no record of it, or a damaged one.
    """
    record = getattr(net, "metadata", {}).get(RECORD)
    if record is None:
        raise InputError("this network has no record of how columns are prepared; `fastbp train` keeps one")
    return Preprocessor.from_json(record)


def encode(net: Any, X: Any) -> NDArray[Any]:
    """Return raw columns as the network takes them: numbers scaled, categories as one input each.

    Parameters
    ----------
    net : Sequential
        Made by ``fastbp train``.
    X : str, pandas or polars frame, or array of shape (n, n_columns)
        A file, or columns: those of a file and of a frame are found by name, those of an array by the order of the
        training. Columns of text hold categories.

    Returns
    -------
    array of shape (n, net.n_inputs), of the network's dtype

    Raises
    ------
    InputError
        A column is absent, or holds what it cannot.
    """
    preprocessor = preprocessor_of(net)
    if isinstance(X, str):
        return preprocessor.encode(read(X), net.dtype)
    if hasattr(X, "columns"):
        names = [str(name) for name in X.columns]
        columns: dict[str, Column] = {
            name: _cells(X[own].to_numpy()) for name, own in zip(names, X.columns, strict=True)
        }
        return preprocessor.encode(Table("X", columns), net.dtype)
    array = np.asarray(X)
    if array.ndim != 2:
        raise InputError(f"X must have shape (n, {len(preprocessor.features)}), got {array.shape}")
    columns = {f"x{j}": _cells(array[:, j]) for j in range(array.shape[1])}
    return preprocessor.encode(Table("X", columns, positional=True), net.dtype)


def predict(net: Any, X: Any) -> NDArray[np.float64]:
    """Return what the network says of raw columns: probabilities of the classes, or values in the target's units.

    Parameters
    ----------
    net, X
        As for `encode`. The classes are ``preprocessor_of(net).classes``.

    Returns
    -------
    array of shape (n, n_outputs), float64
    """
    decoded: NDArray[np.float64] = preprocessor_of(net).decode(net.predict(encode(net, X)))
    return decoded


def description(preprocessor: Preprocessor) -> str:
    """Return in words what has to be done to columns and outputs.

    >>> description(Preprocessor("regression", (Numeric("a", 1.0, 2.0),), ("y",), (), (0.5,), (3.0,)))
    '(a - 1) / 2; outputs: y = 3 * output + 0.5'
    """
    steps = [
        f"({feature.name} - {feature.mean:g}) / {feature.scale:g}"
        if isinstance(feature, Numeric)
        else f"{feature.name} as {feature.width} inputs: 1 for the row's own of {listed(list(feature.categories))}"
        for feature in preprocessor.features[:4]
    ]
    if len(preprocessor.features) > 4:
        steps.append(f"... ({len(preprocessor.features)} columns)")
    if preprocessor.task == "classification":
        answers = f"softmax gives the probabilities of {listed(list(preprocessor.classes))}"
    else:
        scales = zip(preprocessor.target, preprocessor.target_scale, preprocessor.target_mean, strict=True)
        answers = ", ".join(f"{name} = {scale:g} * output + {mean:g}" for name, scale, mean in scales)
    return f"{', '.join(steps)}; outputs: {answers}"


def _cells(values: NDArray[Any]) -> Column:
    """Return a column as a `Table` keeps it: numbers and truth values as they are, all else as text."""
    if values.dtype.kind in "biuf" or values.dtype == CELLS:
        return values
    texts = ["" if value is None or value != value else str(value) for value in values.tolist()]
    return np.array(texts, CELLS)
