"""One for all or one per net: what came, told apart, and checked once however many nets share it."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastbp.arrays import is_sparse
from fastbp.engine.layout import Layout
from fastbp.engine.memory import Array
from fastbp.engine.sources import Source, checked, label
from fastbp.objectives import Objective, check_output
from fastbp.validation import shown

ALL = slice(None)


def each(value: Any, n: int, name: str) -> list[Any]:
    """Return a parameter for each of n nets: from a list, a tuple or an array one by one, else the same for all.

    >>> each(0.1, 2, "learning_rate"), each(np.array([1, 2]), 2, "seed")
    ([0.1, 0.1], [1, 2])
    """
    if isinstance(value, np.ndarray) and value.ndim == 1:
        value = value.tolist()
    if not isinstance(value, list | tuple):
        return [value] * n
    check_length(value, n, name)
    return list(value)


def check_length(values: Sequence[Any], n: int, name: str) -> None:
    """Raise a ValueError unless there is one for each of n nets."""
    if len(values) != n:
        raise ValueError(
            f"{name} must be one for all or a list with one for each of the {n} nets, got {len(values)}"
        )


def axes(value: Any) -> int:
    """Return how many axes an array, frame, matrix or nested list has."""
    shape = getattr(value, "shape", None)
    if shape is not None:
        return len(shape)
    try:
        return int(np.ndim(value))
    except ValueError:  # rows of different lengths: said later
        return 1


def listed(value: Any, least: int) -> bool:
    """Whether this is a list of arrays with at least `least` axes, one per net, and not one of rows."""
    if not isinstance(value, list | tuple):
        return axes(value) > least and not is_sparse(value)
    first = next((item for item in value if item is not None), None)
    return first is not None and axes(first) >= least and (least > 1 or hasattr(first, "shape"))


def rows_of(value: Any, n: int, name: str) -> Array:
    """Return row numbers of X as checked int64: from numbers, a mask of n truth values, a range or a slice."""
    if isinstance(value, slice):
        value = range(*value.indices(n))
    array = np.array(value)
    if array.dtype.kind == "b" and array.shape == (n,):
        array = np.flatnonzero(array)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise TypeError(
            f"{name} must be row numbers of X, a mask of {n} truth values or a slice, got {shown(value)}"
        )
    if not array.size:
        raise ValueError(f"{name} is empty")
    if not 0 <= int(array.min()) <= int(array.max()) < n:
        raise ValueError(f"{name} must be row numbers from 0 to {n - 1}, got {array.min()} to {array.max()}")
    return array.astype(np.int64)


@dataclass(slots=True)
class Shared:
    """Results by the identity of what they were made of, which is kept as long."""

    made: dict[tuple[int, ...], tuple[Any, Any]] = field(default_factory=dict)

    def get(self, parts: tuple[Any, ...], make: Callable[[], Any]) -> Any:
        """Return what `make` made of these very objects, if need be now."""
        key = tuple(map(id, parts))
        if key not in self.made:
            self.made[key] = parts, make()
        return self.made[key][1]


def about(error: TypeError | ValueError, index: int, n: int) -> TypeError | ValueError:
    """Return an error that names the net that it is about, if there are several.

    >>> about(ValueError("y has 2 rows, but X has 3"), 3, 5)
    ValueError('nets[3]: y has 2 rows, but X has 3')
    """
    if n == 1:
        return error
    kind = TypeError if isinstance(error, TypeError) else ValueError
    return kind(f"nets[{index}]: {error}")


class Data:
    """The rows of each net: x, y, weights and row numbers, one for all or one per net.

    Parameters
    ----------
    layouts : list of Layout
        Of the nets.
    x, y, sample_weight, rows, validation_rows
        As in `fastbp.fit_many`.
    objective : Objective
    """

    def __init__(
        self,
        layouts: Sequence[Layout],
        x: Any,
        y: Any,
        sample_weight: Any,
        rows: Any,
        validation_rows: Any,
        objective: Objective,
    ) -> None:
        self._layouts, self._objective, self._memo = layouts, objective, Shared()
        n = len(layouts)
        self._before: tuple[Layout, tuple[Any, Any, Any], Source] | None = None
        self._span = 0  # rows of each net in a data set of all of them
        several = [several_rows(rows), several_rows(validation_rows)]
        if not self._joined(x, y, sample_weight):
            flat = isinstance(x, np.ndarray) and x.ndim == 3 and getattr(y, "shape", ())[:2] == x.shape[:2]
            of_y = flat or listed(y, 1 if isinstance(y, list | tuple) else 2)
            several += [listed(x, 2), of_y, listed(sample_weight, 1)]
            self._x = _per_net(x, several[2], n, "x")
            self._y = _per_net(y, of_y, n, "y")
            self._weights = _per_net(sample_weight, several[4], n, "sample_weight")
        self._rows = _per_net(rows, several[0], n, "rows")
        self._validation = _per_net(validation_rows, several[1], n, "validation_rows")
        # Whether all nets get the same, but for where their rows begin in a data set of all of them.
        self.alike = not any(several)

    def _joined(self, x: Any, y: Any, sample_weight: Any) -> bool:
        """Make one data set of arrays that hold those of all nets along their first axis: it is checked in one go.

        False if these are no such arrays, or if something is wrong with them: one by one, the error names the net.
        """
        if not (isinstance(x, np.ndarray) and x.ndim == 3 and isinstance(y, np.ndarray) and y.ndim >= 2):
            return False
        n, span, width = x.shape
        if n != len(self._layouts) or y.shape[:2] != (n, span) or sample_weight is not None or not x.size:
            return False
        self._x = [x.reshape(n * span, width)] * n
        self._y = [y.reshape(n * span, -1)] * n
        self._weights = [None] * n
        try:
            self.source(0)
        except (TypeError, ValueError):
            return False
        self._span = span
        return True

    def source(self, i: int) -> Source:
        """Return the checked rows that net i takes its own from."""
        layout, given = self._layouts[i], (self._x[i], self._y[i], self._weights[i])
        before = self._before
        if before is not None and layout is before[0] and all(map(operator.is_, given, before[1])):
            return before[2]
        check_output(layout.layers[-1].activation, self._objective)
        x, y, weight = given
        inputs: dict[int, Any] = self._memo.get((x, layout.dtype), dict)
        if layout.n_inputs not in inputs:
            inputs[layout.n_inputs] = checked(layout, x)
        made: dict[Any, Source] = self._memo.get((x, y, weight), dict)
        kind = (layout.n_inputs, layout.n_outputs, layout.dtype)
        if kind not in made:
            made[kind] = label(layout, inputs[layout.n_inputs], y, weight, self._objective)
        self._before = layout, given, made[kind]
        return made[kind]

    @property
    def bases(self) -> Array:
        """The row of `source` that is row 0 of each net."""
        return np.arange(len(self._layouts), dtype=np.int64) * self._span

    def rows(self, i: int, source: Source) -> Array | None:
        """Return the row numbers, counted from its base, that net i trains on; None: all of `source`."""
        given = self._rows[i]
        if given is None and self._span:
            given = ALL
        return self._numbers(source, given, "rows")

    def validation_rows(self, i: int, source: Source) -> Array | None:
        """Return the row numbers, counted from its base, that net i is validated on; None: it is not."""
        order = self._numbers(source, self._validation[i], "validation_rows")
        if order is not None and source.weights.size and not source.weights[order].any():
            raise ValueError("validation_rows: all of them have weight 0")
        return order

    def _numbers(self, source: Source, given: Any, name: str) -> Array | None:
        if given is None:
            return None
        n = self._span or len(source)
        numbers: Array = self._memo.get((given, source), lambda: rows_of(given, n, name))
        return numbers


def _per_net(value: Any, several: bool, n: int, name: str) -> Sequence[Any]:
    """Return what each of n nets gets of a value that is for all, or of `several`."""
    if not several:
        return [value] * n
    check_length(value, n, name)
    return list(value)


def several_rows(rows: Any) -> bool:
    """Whether these are row numbers for each net, and not the same for all."""
    if isinstance(rows, np.ndarray):
        return rows.ndim == 2
    return isinstance(rows, list | tuple) and any(
        item is None or isinstance(item, slice | range) or axes(item) > 0 for item in rows
    )
