"""From columns to what a network takes, and back: scaling, one-hot categories, classes.

A :class:`Preprocessor` is saved with the model as JSON, so that ``fastbp predict`` treats new rows exactly as the
training rows were treated. How it is learned from them: `fastbp.tables.prepare`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

import fastbp.formats._schema as schema
from fastbp.tables.columns import Text
from fastbp.tables.errors import InputError, listed, quoted
from fastbp.tables.table import Table
from fastbp.validation import one_line

Task = Literal["classification", "regression"]

RECORD = "preprocessing"
"""Key of a model's metadata under which its preprocessor is kept."""

_TEXTS, _SCALE = schema.items(schema.text), schema.number(5e-324, finite=True)
_NUMERIC = schema.record({"name": schema.text, "mean": schema.number(finite=True), "scale": _SCALE})
_CATEGORICAL = schema.record({"name": schema.text, "categories": _TEXTS})


def _feature(value: Any, name: str) -> None:
    (_CATEGORICAL if isinstance(value, dict) and "categories" in value else _NUMERIC)(value, name)


_FIELDS = schema.record(
    {
        "version": schema.one_of(1),
        "task": schema.one_of("classification", "regression"),
        "features": schema.items(_feature),
        "target": _TEXTS,
        "classes": _TEXTS,
        "target_mean": schema.items(schema.number(finite=True)),
        "target_scale": schema.items(_SCALE),
        "positional": schema.flag,
    }
)


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

    def encode(self, values: NDArray[np.float64], out: NDArray[Any]) -> NDArray[np.bool_]:
        """Write the inputs, shape (n, 1), from the column, shape (n,); return which rows could not be, shape (n,)."""
        with np.errstate(over="ignore"):
            out[:, 0] = (values - self.mean) / self.scale
        bad: NDArray[np.bool_] = ~np.isfinite(out[:, 0])
        return bad


@dataclass(frozen=True, slots=True)
class Categorical:
    """A column of text; the network sees one input per category: 1 for the row's own, 0 for the others."""

    name: str
    categories: tuple[str, ...]

    @property
    def width(self) -> int:
        """Inputs of the network that this column takes."""
        return len(self.categories)

    def encode(self, text: Text, out: NDArray[Any]) -> NDArray[np.bool_]:
        """Write the inputs, shape (n, number of categories); return which rows hold no category, and are zeros."""
        places = text.places(self.categories)
        rows = np.flatnonzero(places >= 0)
        out[:] = 0
        out[rows, places[rows]] = 1
        return places < 0


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

        Columns are found by name; in any order, and others beside them do not matter. If the table has no names of
        its own they are taken by position.

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
        columns = (
            (name, table.numbers(name) if isinstance(feature, Numeric) else table.text(name))
            for name, feature in zip(names, self.features, strict=True)
        )
        return self.encode_columns(table, columns, np.arange(table.n_rows), dtype, note)

    def encode_columns(
        self,
        table: Table,
        columns: Iterable[tuple[str, Any]],
        rows: NDArray[np.int64],
        dtype: DTypeLike,
        note: Callable[[str], None] | None = None,
    ) -> NDArray[Any]:
        """The network's inputs from columns that `Table.column` gave, for some rows of the table in that order.

        Parameters
        ----------
        table : Table                          Whose columns they are; it says where a fault is.
        columns : iterable of (name, column)   One per feature: an array of float64 for a `Numeric`, else a `Text`.
        rows : array, shape (n,), int64
        dtype, note                            As for `encode`.

        Raises
        ------
        InputError                             A value is too large for the dtype.
        """
        x = np.empty((len(rows), self.n_inputs), dtype=dtype)
        start = 0
        for feature, (name, column) in zip(self.features, columns, strict=True):
            block = x[:, start : start + feature.width]
            start += feature.width
            bad = feature.encode(column[rows], block)
            if not bad.any():
                continue
            row = int(rows[bad].min())
            if isinstance(feature, Numeric):
                raise table.fault(f"too large for {np.dtype(dtype)}", row=row, column=name)
            if note is not None:
                value = quoted(column.values[column.codes[row]])
                note(str(table.fault(f"{value} was not among the training rows", row=row, column=name)))
        return x

    def encode_target(self, table: Table, dtype: DTypeLike) -> NDArray[Any]:
        """What the network should say: class codes, shape (n,), int64; or scaled values, shape (n, k), of that dtype.

        Raises
        ------
        InputError         A class that training never saw; a missing value.
        """
        table.require(self.target)
        if self.task == "regression":
            return self.scale_target([table.numbers(name) for name in self.target], dtype)
        name = self.target[0]
        labels = table.text(name)
        if not set(self.classes).issuperset(labels.values):
            # The file may write 1.0 for a class that the training file wrote 1.
            column = table.column(name)
            labels = column if isinstance(column, Text) else Text.of_numbers(column)
        codes = labels.places(self.classes)
        if (codes < 0).any():
            row = int((codes < 0).argmax())
            found = quoted(labels.values[labels.codes[row]])
            what = f"{found} is none of the classes: {listed(self.classes)}"
            raise table.fault(what, row=row, column=name)
        return codes

    def scale_target(self, columns: Sequence[NDArray[np.float64]], dtype: DTypeLike) -> NDArray[Any]:
        """Target columns of numbers as the network should say them: scaled, shape (n, k), of that dtype."""
        values = np.column_stack(columns)
        return np.ascontiguousarray((values - self.target_mean) / self.target_scale, dtype=dtype)

    def decode(self, outputs: NDArray[Any]) -> NDArray[np.float64]:
        """Probabilities of the classes, or values in the units of the target; shape (n, n_outputs), float64."""
        if self.task == "classification":
            from scipy.special import softmax

            probabilities: NDArray[np.float64] = softmax(outputs.astype(np.float64), axis=1)
            return probabilities
        values: NDArray[np.float64] = outputs * np.array(self.target_scale) + np.array(self.target_mean)
        return values

    def score(self, outputs: NDArray[Any], y: NDArray[Any]) -> dict[str, float | None]:
        """How well outputs of the network predict `y`, which is what :meth:`encode_target` gives.

        Returns
        -------
        dict
            ``accuracy``; or ``r2`` (mean over targets, None if a target does not vary) and ``rmse`` in the units of
            the target.
        """
        if self.task == "classification":
            return {"accuracy": float(np.mean(np.argmax(outputs, axis=1) == y))}
        truth = self.decode(y.reshape(len(y), -1))
        squares = np.square(self.decode(outputs) - truth).mean(axis=0)
        variances = truth.var(axis=0)
        r2 = float(np.mean(1 - squares / variances)) if np.all(variances > 0) else None
        return {"r2": r2, "rmse": float(np.sqrt(squares.mean()))}

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
            schema.one_of(1)(fields.get("version") if isinstance(fields, dict) else None, "version")
            _FIELDS(fields, "record")
        except (ValueError, RecursionError) as error:
            problem = one_line(str(error), 200)
            raise InputError(f"the record of how its columns were prepared is damaged ({problem})") from None
        features = tuple(
            Categorical(f["name"], tuple(f["categories"]))
            if "categories" in f
            else Numeric(f["name"], float(f["mean"]), float(f["scale"]))
            for f in fields["features"]
        )
        result = cls(
            task=fields["task"],
            features=features,
            target=tuple(fields["target"]),
            classes=tuple(fields["classes"]),
            target_mean=tuple(float(value) for value in fields["target_mean"]),
            target_scale=tuple(float(value) for value in fields["target_scale"]),
            positional=fields["positional"],
        )
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
