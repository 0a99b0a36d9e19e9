"""From a table to what a network takes and back: scaling, one-hot categories, classes; learned on training rows only.

A :class:`Preprocessor` is saved with the model as JSON, so that ``fastbp predict`` treats new rows exactly as the
training rows were treated.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastbp.tables.table import InputError, Table, label, listed, quoted

Task = Literal["classification", "regression"]

# More texts than this in one column are names or identifiers, from which nothing can be learned.
MAX_CATEGORIES = 1000
# Whole numbers with more values than this are a quantity, unless the user says otherwise.
MAX_NUMERIC_CLASSES = 20
MIN_ROWS = 10
MIN_LEFT = 8  # of these one is for validation


@dataclass(frozen=True, slots=True)
class Numeric:
    """A column of numbers; the network sees (value - mean) / scale."""

    name: str
    mean: float
    scale: float

    @property
    def width(self) -> int:
        """Inputs of the network that this column takes."""
        return 1

    def encode(self, table: Table, name: str) -> NDArray[np.float64]:
        """Shape (n, 1), float64, from the column of that name (its own, or the one at its position)."""
        with np.errstate(over="ignore"):
            scaled: NDArray[np.float64] = (table.column(name, text=False) - self.mean) / self.scale
        return scaled[:, None]


@dataclass(frozen=True, slots=True)
class Categorical:
    """A column of text; the network sees one input per category: 1 where it is the row's, else 0."""

    name: str
    categories: tuple[str, ...]

    @property
    def width(self) -> int:
        """Inputs of the network that this column takes."""
        return len(self.categories)

    def encode(self, table: Table, name: str) -> NDArray[np.float64]:
        """Shape (n, number of categories), float64; a category never seen in training is a row of zeros."""
        values = table.column(name, text=True)
        known = np.array(self.categories, dtype=object)
        encoded: NDArray[np.float64] = (values[:, None] == known).astype(np.float64)
        return encoded


@dataclass(frozen=True, slots=True)
class Preprocessor:
    """What was learned about the columns of the training rows.

    Attributes
    ----------
    task : "classification" or "regression"
    features : tuple of Numeric or Categorical     In the order of the network's inputs.
    target : tuple of str                          Names of the target columns.
    classes : tuple of str                         The class of each output (classification).
    target_mean, target_scale : tuple of float     One per target column (regression).
    positional : bool                              Columns are matched by position, not by name (npz).
    """

    task: Task
    features: tuple[Numeric | Categorical, ...]
    target: tuple[str, ...]
    classes: tuple[str, ...] = ()
    target_mean: tuple[float, ...] = ()
    target_scale: tuple[float, ...] = ()
    positional: bool = False

    @property
    def n_inputs(self) -> int:
        """Inputs of the network."""
        return sum(feature.width for feature in self.features)

    @property
    def n_outputs(self) -> int:
        """Outputs of the network: one per class, or one per target column."""
        return len(self.classes) if self.task == "classification" else len(self.target)

    def encode(
        self, table: Table, dtype: DTypeLike, note: Callable[[str], None] | None = None
    ) -> NDArray[Any]:
        """The network's inputs, shape (n, n_inputs), C-contiguous, of that dtype.

        Columns are found by name; in any order, and others beside them do not matter. Where the table has no names
        of its own they are taken by position.

        Parameters
        ----------
        table : Table
        dtype : float32 or float64
        note : callable        Called with a line of text for every column that holds categories unseen in training.

        Raises
        ------
        InputError             A column is absent, has missing or infinite values, or values too large for the dtype.
        """
        names = [feature.name for feature in self.features]
        if table.positional:
            names = [name for name in table.columns if name not in table.target]
            if len(names) != len(self.features):
                raise InputError(
                    f"{table.source}: X has {len(names)} columns, but the model takes {len(self.features)}"
                )
        table.require(names)
        x = np.empty((table.n_rows, self.n_inputs), dtype=dtype)
        start = 0
        for feature, name in zip(self.features, names, strict=True):
            block = x[:, start : start + feature.width]
            start += feature.width
            with np.errstate(over="ignore"):
                block[:] = feature.encode(table, name)
            if isinstance(feature, Numeric):
                bad = np.flatnonzero(~np.isfinite(block[:, 0]))
                if bad.size:
                    raise table.fault(f"too large for {np.dtype(dtype)}", row=int(bad[0]), column=name)
            elif note is not None and not block.any(axis=1).all():
                row = int(np.flatnonzero(~block.any(axis=1))[0])
                value = quoted(table.column(name, text=True)[row])
                note(str(table.fault(f"{value} was not among the training rows", row=row, column=name)))
        return x

    def encode_target(self, table: Table, dtype: DTypeLike) -> NDArray[Any]:
        """What the network should say: class codes, shape (n,), int64; or scaled values, shape (n, k), of that dtype.

        Raises
        ------
        InputError         A class that training never saw; a missing value.
        """
        table.require(self.target)
        if self.task == "classification":
            name = self.target[0]
            codes = {known: code for code, known in enumerate(self.classes)}
            labels = table.column(name, text=True).tolist()
            if not codes.keys() >= set(labels):  # the file may write 1.0 where the one for training wrote 1
                labels = _labels(table.column(name))
            for row, found in enumerate(labels):
                if found not in codes:
                    what = f"{quoted(found)} is none of the classes: {listed(self.classes)}"
                    raise table.fault(what, row=row, column=name)
            return np.array([codes[found] for found in labels], dtype=np.int64)
        values = np.column_stack([table.column(name, text=False) for name in self.target])
        return np.ascontiguousarray((values - self.target_mean) / self.target_scale, dtype=dtype)

    def decode(self, outputs: NDArray[Any]) -> NDArray[np.float64]:
        """Probabilities of the classes, or values in the units of the target; shape (n, n_outputs), float64."""
        if self.task == "classification":
            from scipy.special import softmax

            probabilities: NDArray[np.float64] = softmax(outputs.astype(np.float64), axis=1)
            return probabilities
        values: NDArray[np.float64] = outputs * np.array(self.target_scale) + np.array(self.target_mean)
        return values

    def to_json(self) -> str:
        """The whole of it as JSON, for the metadata of a model."""
        return json.dumps({"version": 1, **asdict(self)}, ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Preprocessor:
        """Read back what :meth:`to_json` wrote, believing nothing.

        Raises
        ------
        InputError         Not JSON, another version, parts missing or of another kind.

        >>> scaled = Preprocessor("regression", (Numeric("a", 0.0, 2.0),), ("y",), (), (0.0,), (1.0,))
        >>> Preprocessor.from_json(scaled.to_json()) == scaled
        True
        """
        try:
            fields = json.loads(text)
            if fields.pop("version") != 1:
                raise ValueError("written by another version of fastbp")
            if fields["task"] not in ("classification", "regression"):
                raise ValueError(f"task {fields['task']!r}")
            features = tuple(
                Categorical(str(f["name"]), tuple(str(c) for c in f["categories"]))
                if "categories" in f
                else Numeric(str(f["name"]), _finite(f["mean"]), _finite(f["scale"]))
                for f in fields["features"]
            )
            result = cls(
                task=fields["task"],
                features=features,
                target=tuple(str(name) for name in fields["target"]),
                classes=tuple(str(name) for name in fields["classes"]),
                target_mean=tuple(_finite(v) for v in fields["target_mean"]),
                target_scale=tuple(_finite(v) for v in fields["target_scale"]),
                positional=bool(fields["positional"]),
            )
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise InputError(f"the record of how its columns were prepared is damaged ({error})") from None
        lengths = {len(result.target), len(result.target_mean), len(result.target_scale)}
        if result.task == "classification":
            sound = len(result.classes) > 1 and len(result.target) == 1
        else:
            sound = len(lengths) == 1 and 0 not in lengths
        if not sound or not features:
            raise InputError(
                "the record of how its columns were prepared is damaged (its parts do not fit together)"
            )
        return result


def _finite(value: Any) -> float:
    result = float(value)
    if not math.isfinite(result):
        raise ValueError(f"{value} where a finite number is needed")
    return result


def _labels(values: NDArray[Any]) -> list[str]:
    return [v if isinstance(v, str) else label(v) for v in values.tolist()]


@dataclass(frozen=True, slots=True)
class Prepared:
    """Rows ready for training: inputs x, targets y, and the row numbers of the three parts (disjoint, int64)."""

    preprocessor: Preprocessor
    x: NDArray[Any]
    y: NDArray[Any]
    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]


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
    if not names:
        raise InputError(f"{table.source}: no column is left to learn from beside {listed(goals)}")
    if table.n_rows < MIN_ROWS:
        raise InputError(f"{table.source}: at least {MIN_ROWS} rows are needed, there are {table.n_rows}")
    left = table.n_rows - math.ceil(test_size * table.n_rows)
    if left < MIN_LEFT:
        raise InputError(
            f"{table.source}: {left} rows would be left to learn from, where at least {MIN_LEFT} are needed; "
            f"hold out less than {test_size:g} of them"
        )
    columns = {name: table.column(name, text=True if name in text else None) for name in names}
    values = [
        table.column(name, text=True if name in text or _is_bool(table, name) else None) for name in goals
    ]
    task = _choose_task(table, goals, values, task)
    parsed = dict(zip([*names, *goals], [*columns.values(), *values], strict=True))
    table = replace(table, columns={**table.columns, **parsed})  # so that no cell is parsed twice
    skeleton = Preprocessor(task, (), goals, positional=table.positional)
    strata = None
    if task == "classification":
        skeleton = replace(skeleton, classes=_choose_classes(table, goals[0], values[0]))
        codes = {name: code for code, name in enumerate(skeleton.classes)}
        strata = np.array([codes[name] for name in _labels(values[0])], dtype=np.int64)
    rest, test = _split(np.arange(table.n_rows), strata, test_size, seed)
    train, validation = _split(rest, strata, validation_size, seed)
    features = tuple(_learn(table, name, column[train], column) for name, column in columns.items())
    if task == "regression":
        for name, column in zip(goals, values, strict=True):
            if np.ptp(column) == 0:
                raise table.fault(f"{label(column[0])} in every row: nothing to learn", column=name)
        scalers = [_learn(table, name, v[train], v) for name, v in zip(goals, values, strict=True)]
        numeric = [scaler for scaler in scalers if isinstance(scaler, Numeric)]
        skeleton = replace(
            skeleton,
            target_mean=tuple(scaler.mean for scaler in numeric),
            target_scale=tuple(scaler.scale for scaler in numeric),
        )
    preprocessor = replace(skeleton, features=features)
    x = preprocessor.encode(table, dtype)
    y = preprocessor.encode_target(table, dtype) if strata is None else strata
    return Prepared(preprocessor, x, y, train, validation, test)


def _choose_target(table: Table, target: Sequence[str]) -> tuple[str, ...]:
    if target:
        table.require(target)
        return tuple(dict.fromkeys(target))
    if table.target:
        return table.target
    if table.positional:
        raise InputError(f'{table.source}: no array "y" to learn')
    return ("target",) if "target" in table.columns else (list(table.columns)[-1],)


def _is_bool(table: Table, name: str) -> bool:
    values = table.columns.get(name)
    return isinstance(values, np.ndarray) and values.dtype.kind == "b"


def _choose_task(table: Table, goals: tuple[str, ...], values: list[NDArray[Any]], task: Task | None) -> Task:
    texts = [name for name, column in zip(goals, values, strict=True) if column.dtype.kind == "O"]
    if len(goals) > 1:
        if texts or task == "classification":
            raise table.fault("several targets must all be numbers", column=(texts or goals)[0])
        return "regression"
    if texts:
        if task == "regression":
            raise table.fault("holds text, and a regression needs numbers", column=goals[0])
        return "classification"
    if task is not None:
        return task
    distinct = np.unique(values[0])
    few = distinct.size <= min(MAX_NUMERIC_CLASSES, table.n_rows // 2)
    return "classification" if few and bool(np.all(distinct == np.floor(distinct))) else "regression"


def _choose_classes(table: Table, name: str, values: NDArray[Any]) -> tuple[str, ...]:
    distinct = np.unique(values)  # numbers in the order of numbers, text in that of text
    if distinct.size == 1:
        only = quoted(_labels(distinct)[0])
        raise table.fault(
            f"one class only ({only} in all {len(values):,} rows), where two are needed", column=name
        )
    if distinct.size > len(values) // 2:
        raise table.fault(
            f"{distinct.size:,} different values in {len(values):,} rows are not classes to learn",
            column=name,
        )
    return tuple(_labels(distinct))


def _split(
    rows: NDArray[np.int64], strata: NDArray[np.int64] | None, share: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Two disjoint parts in random order; every class in both in proportion, where it has rows enough."""
    from sklearn.model_selection import train_test_split

    n_second = math.ceil(share * len(rows))
    if share == 0:
        return rows, rows[:0]
    stratify = None
    if strata is not None:
        counts = np.unique(strata[rows], return_counts=True)[1]
        if counts.min() >= 2 and counts.size <= min(n_second, len(rows) - n_second):
            stratify = strata[rows]
    first, second = train_test_split(rows, test_size=n_second, stratify=stratify, random_state=seed)
    return first, second


def _learn(table: Table, name: str, train: NDArray[Any], everything: NDArray[Any]) -> Numeric | Categorical:
    """Scaling or categories of one column, from its training rows."""
    if everything.dtype.kind == "O":
        categories = tuple(np.unique(train).tolist())
        if len(categories) > MAX_CATEGORIES:
            raise table.fault(
                f"{len(categories):,} different texts (at most {MAX_CATEGORIES:,}); leave it out: --drop",
                column=name,
            )
        return Categorical(name, categories)
    from sklearn.preprocessing import StandardScaler

    with np.errstate(all="ignore"):
        scaler = StandardScaler().fit(train[:, None])
    mean, scale = float(scaler.mean_[0]), float(scaler.scale_[0])
    if not (math.isfinite(mean) and math.isfinite(scale)):
        raise table.fault("its numbers are too large to be scaled", column=name)
    return Numeric(name, mean, scale)
