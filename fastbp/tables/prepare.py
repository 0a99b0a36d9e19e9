"""From a table to rows ready for training: choose the target, split the rows, learn the scaling, encode.

Every column is typed once, learned from once and encoded once. The encoded rows lie in the order training rows,
validation rows, held-out rows, so that each part is a slice and nobody copies them again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastbp.tables.columns import Column, Text, label
from fastbp.tables.errors import InputError, listed, quoted
from fastbp.tables.preprocessor import Categorical, Numeric, Preprocessor, Task
from fastbp.tables.table import Table

# More texts than this in one column are names or identifiers, from which nothing can be learned.
MAX_CATEGORIES = 1000
# Whole numbers with more values than this are a quantity, unless the user says otherwise.
MAX_NUMERIC_CLASSES = 20
MIN_ROWS = 10
MIN_LEFT = 8  # of these one is for validation


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """Rows ready for training.

    Attributes
    ----------
    preprocessor : Preprocessor
    x : array, shape (n, n_inputs)
    y : array, shape (n,) of class codes or (n, k) of scaled values
    rows : array, shape (n,), int64        The row of the table that each row of x comes from.
    train, validation, test : slice        Rows of x, y and `rows`; disjoint.
    learned : slice                        Training and validation rows together.
    """

    preprocessor: Preprocessor
    x: NDArray[Any]
    y: NDArray[Any]
    rows: NDArray[np.int64]
    train: slice
    validation: slice
    test: slice

    @property
    def learned(self) -> slice:
        """All rows but those held out."""
        return slice(0, self.test.start)

    @property
    def n_rows(self) -> dict[str, int]:
        """Number of rows of each part."""
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: part.stop - part.start for name, part in parts.items()}


def prepare(
    table: Table,
    *,
    target: Sequence[str] = (),
    drop: Sequence[str] = (),
    text: Sequence[str] = (),
    task: Task | None = None,
    test_size: float = 0.2,
    validation_size: float = 0.125,
    seed: int = 0,
    dtype: DTypeLike = "float32",
) -> Prepared:
    """Choose the target, split the rows, learn the scaling on the training rows, and encode all rows.

    Parameters
    ----------
    table : Table
    target : sequence of str       Target columns; empty: the source's own, a column named "target", or the last.
    drop : sequence of str         Columns to leave out.
    text : sequence of str         Columns of numbers that are categories (postal codes), or classes.
    task : str or None             None: text, booleans and whole numbers of few values are classes.
    test_size : float              Share of the rows held out for the final score.
    validation_size : float        Share of the other rows, for choices during training (0: none).
    seed : int                     Of the split.
    dtype : float32 or float64

    Raises
    ------
    InputError                     Too few rows, one class only, a constant target, columns absent or not usable.
    """
    goals = _choose_target(table, target)
    table.require([*drop, *text])
    names = [name for name in [*table.columns, *table.unsupported] if name not in goals and name not in drop]
    _check_size(table, goals, names, test_size)
    columns = {name: table.text(name) if name in text else table.column(name) for name in names}
    labels = {name for name in goals if name in text or table.holds_booleans(name)}
    targets = {name: table.text(name) if name in labels else table.column(name) for name in goals}
    task = _choose_task(table, targets, task)
    preprocessor = Preprocessor(task, (), goals, positional=table.positional)
    codes = None
    if task == "classification":
        classes, codes = _choose_classes(table, goals[0], targets[goals[0]])
        preprocessor = replace(preprocessor, classes=classes)
    rest, test = _split(np.arange(table.n_rows), codes, test_size, seed)
    train, validation = _split(rest, codes, validation_size, seed)
    rows = np.concatenate([train, validation, test])
    features = tuple(_learn(table, name, column[train]) for name, column in columns.items())
    preprocessor = replace(preprocessor, features=features)
    if codes is None:
        numbers = _numbers(table, targets)
        scalers = [_learn_numeric(table, name, values[train]) for name, values in numbers.items()]
        preprocessor = replace(
            preprocessor,
            target_mean=tuple(scaler.mean for scaler in scalers),
            target_scale=tuple(scaler.scale for scaler in scalers),
        )
        y = preprocessor.scale_target([values[rows] for values in numbers.values()], dtype)
    else:
        y = codes[rows]
    start, stop = len(train), len(rest)
    return Prepared(
        preprocessor,
        x=preprocessor.encode_columns(table, columns.items(), rows, dtype),
        y=y,
        rows=rows,
        train=slice(0, start),
        validation=slice(start, stop),
        test=slice(stop, len(rows)),
    )


def _choose_target(table: Table, target: Sequence[str]) -> tuple[str, ...]:
    if target:
        table.require(target)
        return tuple(dict.fromkeys(target))
    if table.target:
        return table.target
    if table.positional:
        raise InputError(f'{table.source}: no array "y" to learn')
    return ("target",) if "target" in table.columns else (list(table.columns)[-1],)


def _check_size(table: Table, goals: Sequence[str], names: Sequence[str], test_size: float) -> None:
    """Refuse a table without columns to learn from, or with too few rows."""
    if not names:
        raise InputError(f"{table.source}: no column is left to learn from beside {listed(goals)}")
    if table.n_rows < MIN_ROWS:
        raise InputError(f"{table.source}: at least {MIN_ROWS} rows are needed, there are {table.n_rows}")
    left = table.n_rows - math.ceil(test_size * table.n_rows)
    if left < MIN_LEFT:
        raise InputError(
            f"{table.source}: {left} rows would be left to learn from, but at least {MIN_LEFT} are needed; "
            f"hold out less than {test_size:g} of them"
        )


def _choose_task(table: Table, targets: dict[str, Column], task: Task | None) -> Task:
    name, column = next(iter(targets.items()))
    if len(targets) > 1:
        texts = [other for other, values in targets.items() if isinstance(values, Text)]
        if texts or task == "classification":
            raise table.fault("several targets must all be numbers", column=texts[0] if texts else name)
        return "regression"
    if isinstance(column, Text):
        if task == "regression":
            raise table.fault("holds text, and a regression needs numbers", column=name)
        return "classification"
    if task is not None:
        return task
    distinct = np.unique(column)
    few = distinct.size <= min(MAX_NUMERIC_CLASSES, table.n_rows // 2)
    return "classification" if few and bool(np.all(distinct == np.floor(distinct))) else "regression"


def _choose_classes(table: Table, name: str, column: Column) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """The classes, numbers in the order of numbers and text in that of text, and the class of every row."""
    if isinstance(column, Text):
        classes = tuple(column.present())
    else:
        column = Text.of_numbers(column)
        classes = column.values
    if len(classes) == 1:
        raise table.fault(
            f"one class only ({quoted(classes[0])} in all {len(column):,} rows), but two are needed",
            column=name,
        )
    if len(classes) > len(column) // 2:
        raise table.fault(
            f"{len(classes):,} different values in {len(column):,} rows are not classes to learn",
            column=name,
        )
    return classes, column.places(classes)


def _split(
    rows: NDArray[np.int64], codes: NDArray[np.int64] | None, share: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Two disjoint parts in random order; every class in both in proportion, if it has rows enough."""
    from sklearn.model_selection import train_test_split

    n_second = math.ceil(share * len(rows))
    if share == 0:
        return rows, rows[:0]
    stratify = None
    if codes is not None:
        counts = np.unique(codes[rows], return_counts=True)[1]
        if counts.min() >= 2 and counts.size <= min(n_second, len(rows) - n_second):
            stratify = codes[rows]
    first, second = train_test_split(rows, test_size=n_second, stratify=stratify, random_state=seed)
    return first, second


def _numbers(table: Table, targets: dict[str, Column]) -> dict[str, NDArray[np.float64]]:
    """The targets of a regression, each of which must vary."""
    numbers = {name: column for name, column in targets.items() if not isinstance(column, Text)}
    for name, column in numbers.items():
        if np.ptp(column) == 0:
            raise table.fault(f"{label(column[0])} in every row: nothing to learn", column=name)
    return numbers


def _learn(table: Table, name: str, train: Column) -> Numeric | Categorical:
    """Scaling or categories of one column, from its training rows."""
    if not isinstance(train, Text):
        return _learn_numeric(table, name, train)
    categories = tuple(train.present())
    if len(categories) > MAX_CATEGORIES:
        raise table.fault(
            f"{len(categories):,} different texts (at most {MAX_CATEGORIES:,}); leave it out: --drop",
            column=name,
        )
    return Categorical(name, categories)


def _learn_numeric(table: Table, name: str, train: NDArray[np.float64]) -> Numeric:
    from sklearn.preprocessing import StandardScaler

    with np.errstate(all="ignore"):
        scaler = StandardScaler().fit(train[:, None])
    mean, scale = float(scaler.mean_[0]), float(scaler.scale_[0])
    if not (math.isfinite(mean) and math.isfinite(scale)):
        raise table.fault("its numbers are too large to be scaled", column=name)
    return Numeric(name, mean, scale)
