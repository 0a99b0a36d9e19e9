"""What users pass as data, made into `Rows`: arrays and matrices, memory maps of another dtype, iterables of batches.

A source of rows has a length, `targets`, `weights`, and hands out `Rows`: `pieces` for training, `blocks` for
evaluation, or `whole`. `Rows` are such a source themselves. Data that do not fit into memory get a class here.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import Any

import numpy as np

from fastbp import objectives
from fastbp.arrays import to_inputs, to_matrix, to_weights
from fastbp.engine.layout import Layout
from fastbp.engine.memory import Array
from fastbp.engine.rows import Rows
from fastbp.objectives import GIVEN, Objective

# A map of another dtype is converted in blocks of this size: large enough to read disks well.
CONVERTED_BYTES = 32 * 2**20


class MappedRows:
    """Rows whose inputs are a memory map of another dtype, or in another order: converted block by block.

    Parameters
    ----------
    layout : Layout
    x : memmap (n, n_inputs)
    targets, weights
        As `fastbp.objectives.to_targets` and `fastbp.validation.to_weights` return them.
    objective : Objective
    """

    def __init__(
        self, layout: Layout, x: Array, targets: Array, weights: Array | None, objective: Objective
    ) -> None:
        self.layout, self.objective = layout, objective
        self.x, self.targets = x, targets
        self.weights = np.zeros(0) if weights is None else np.array(weights, np.float64)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.x)

    def whole(self) -> Rows:
        """Return all rows at once, in memory."""
        return self._rows(slice(None))

    def blocks(self) -> Iterator[Rows]:
        """Yield the rows in their order, block by block."""
        for block in _blocks(self.layout, len(self)):
            yield self._rows(block)

    def pieces(self, order: Array, batch_size: int) -> Iterator[tuple[Rows, Array]]:
        """Yield the rows of `order`, in blocks of whole batches, and the order within each block."""
        for block in _blocks(self.layout, len(order), batch_size):
            rows = self._rows(order[block])
            yield rows, np.arange(len(rows))

    def chosen(self, order: Array) -> Iterator[Rows]:
        """Yield copies of the rows of `order`, block by block."""
        return (rows for rows, _ in self.pieces(order, 1))

    def weighted(self, sample_weight: Array | None) -> MappedRows:
        """Return the same rows with other weights."""
        return MappedRows(self.layout, self.x, self.targets, sample_weight, self.objective)

    def split(self, cut: int) -> tuple[MappedRows, MappedRows]:
        """Return the first `cut` rows and the others."""
        return self._part(slice(None, cut)), self._part(slice(cut, None))

    def _part(self, part: slice) -> MappedRows:
        weights = self.weights[part] if self.weights.size else None
        return MappedRows(self.layout, self.x[part], self.targets[part], weights, self.objective)

    def _rows(self, index: Any) -> Rows:
        x = to_matrix(self.x[index], self.layout.dtype, "X", finite=False)
        weights = self.weights[index] if self.weights.size else None
        return Rows(self.layout, x, self.targets[index], weights, self.objective)


Source = Rows | MappedRows


class Selection:
    """Some rows of a source, to be evaluated on; they are copied when they are needed, and not kept.

    Parameters
    ----------
    data : Rows or MappedRows
    order : ndarray of int64
    """

    def __init__(self, data: Source, order: Array) -> None:
        self.data, self.order = data, order
        self.weights = data.weights[order] if data.weights.size else data.weights

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.order)

    @property
    def targets(self) -> Array:
        """Targets or class codes of the rows."""
        return self.data.targets[self.order]

    def blocks(self) -> Iterator[Rows]:
        """Yield the rows in their order."""
        return self.data.chosen(self.order)


ValidationSource = Source | Selection


class Stream:
    """An iterable of batches ``(x, y)`` or ``(x, y, sample_weight)``, iterated anew in every epoch.

    Parameters
    ----------
    layout : Layout
    source : iterable, or function that returns an iterator
    objective : Objective
    """

    def __init__(
        self, layout: Layout, source: Iterable[Any] | Callable[[], Iterable[Any]], objective: Objective
    ) -> None:
        self.layout, self.source, self.objective = layout, source, objective

    def steps(self) -> int | None:
        """Return the number of batches per epoch, if the source tells it."""
        return len(self.source) if isinstance(self.source, Sized) else None

    def batches(self) -> Iterator[Rows]:
        """Check and convert the batches of one epoch, one after the other."""
        source = self.source() if callable(self.source) else self.source
        for number, batch in enumerate(source):
            if not isinstance(batch, tuple | list) or len(batch) not in (2, 3):
                raise TypeError(
                    f"batch {number} must be (x, y) or (x, y, sample_weight), got {type(batch).__name__}"
                    + (f" of length {len(batch)}" if isinstance(batch, tuple | list) else "")
                )
            weights = batch[2] if len(batch) == 3 else None
            yield prepare(
                self.layout, batch[0], batch[1], weights, self.objective, f"batch {number}: "
            ).whole()


def prepare(
    layout: Layout, x: Any, y: Any, sample_weight: Any, objective: Objective, prefix: str = ""
) -> Source:
    """Convert inputs, targets and weights, and check them against the network and each other.

    Parameters
    ----------
    layout : Layout
    x, y, sample_weight
        As in `fastbp.Sequential.fit`.
    objective : Objective
        Tells what `y` means.
    prefix : str
        Begins the names of the arguments in messages.

    Raises
    ------
    TypeError, ValueError
        Says what came and what was expected, in which argument.
    """
    objectives.check_output(layout.layers[-1].activation, objective)
    return label(layout, checked(layout, x, prefix), y, sample_weight, objective, prefix)


def checked(layout: Layout, x: Any, prefix: str = "") -> Any:
    """Convert inputs and check them against the network, as `prepare` does."""
    inputs = to_inputs(x, layout.n_inputs, layout.dtype, name=f"{prefix}X", layer=first_layer(layout))
    if inputs.shape[0] == 0:
        raise ValueError(f"{prefix}X has 0 rows")
    return inputs


def label(
    layout: Layout, inputs: Any, y: Any, sample_weight: Any, objective: Objective, prefix: str = ""
) -> Source:
    """Convert and check targets and weights of inputs that are `checked`."""
    dtype, n = layout.dtype, int(inputs.shape[0])
    targets = objectives.to_targets(y, objective, n, layout.n_outputs, dtype, name=f"{prefix}y")
    weights = to_weights(sample_weight, n, dtype, f"{prefix}sample_weight")
    if _is_foreign(inputs, layout):
        return MappedRows(layout, inputs, targets, weights, objective)
    return Rows(layout, inputs, targets, weights, objective)


def with_gradient(layout: Layout, x: Any, grad: Any = None) -> Rows:
    """Convert and check inputs, and dE/d out, (n, n_outputs), in the place of targets if it is given.

    Raises
    ------
    TypeError, ValueError
        Says what came and what was expected, in which argument; NaN and infinity with their row and column.
    """
    inputs = to_inputs(x, layout.n_inputs, layout.dtype, layer=first_layer(layout))
    if _is_foreign(inputs, layout):
        inputs = to_matrix(inputs, layout.dtype, "X", finite=False)
    shape = (int(inputs.shape[0]), layout.n_outputs)
    if shape[0] == 0:
        raise ValueError("X has 0 rows")
    if grad is None:
        return Rows(layout, inputs)
    slopes = to_matrix(grad, layout.dtype, "grad")
    if slopes.shape != shape:
        raise ValueError(
            f"grad must have shape {shape}, a number for each output of a row, got {slopes.shape}"
        )
    return Rows(layout, inputs, slopes, None, GIVEN)


def inputs_in_blocks(layout: Layout, x: Any) -> Iterator[Rows]:
    """Convert and check inputs to predict; yield them as they are, or block by block from a map of another dtype."""
    inputs = to_inputs(x, layout.n_inputs, layout.dtype, layer=first_layer(layout), finite=False)
    if not _is_foreign(inputs, layout):
        yield Rows(layout, inputs)
        return
    for block in _blocks(layout, len(inputs)):
        yield Rows(layout, to_matrix(inputs[block], layout.dtype, "X", finite=False))


@functools.lru_cache(maxsize=256)
def first_layer(layout: Layout) -> str:
    """Return how messages call the layer that takes the inputs."""
    layer = layout.layers[0]
    return f"the first layer (Dense({layer.units}, {layer.activation!r}))"


def _is_foreign(inputs: Any, layout: Layout) -> bool:
    """Whether inputs still need a conversion: `to_inputs` leaves only maps of another dtype or order as they are."""
    return isinstance(inputs, np.ndarray) and (inputs.dtype != layout.dtype or not inputs.flags.c_contiguous)


def _blocks(layout: Layout, n: int, batch_size: int = 1) -> Iterator[slice]:
    """Yield slices of n rows, in whole batches, whose inputs take about `CONVERTED_BYTES` each."""
    row_bytes = layout.n_inputs * layout.dtype.itemsize
    rows = batch_size * max(1, CONVERTED_BYTES // (batch_size * row_bytes))
    for start in range(0, n, rows):
        yield slice(start, start + rows)
