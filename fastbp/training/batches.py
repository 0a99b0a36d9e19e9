"""How rows reach the engine: whole arrays, maps of a foreign dtype block by block, iterables batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastbp import objectives
from fastbp.engine.engine import Engine
from fastbp.objectives import Objective
from fastbp.validation import to_inputs, to_matrix, to_weights

__all__ = ["Piece", "Rows", "Stream", "prepare", "rows_of"]

# A foreign memmap is converted in pieces of this size: large enough to read disks well.
BLOCK_BYTES = 32 * 2**20


class Piece(NamedTuple):
    """Data the engine takes as they are, and the order in which to train on their rows."""

    x: Any
    y: NDArray[Any]
    order: NDArray[np.int64]
    weights: NDArray[Any] | None


@dataclass(slots=True)
class Rows:
    """Checked inputs, targets and weights of one data set.

    `x` is what `fastbp.validation.to_inputs` returned: an array or CSR matrix of the model's dtype, or a
    memmap of another one.
    """

    x: Any
    y: NDArray[Any]
    weights: NDArray[Any] | None
    dtype: np.dtype[Any]

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self.x.shape[0])

    @property
    def foreign(self) -> bool:
        """Whether the inputs still need a conversion, block by block."""
        return isinstance(self.x, np.ndarray) and (
            self.x.dtype != self.dtype or not self.x.flags.c_contiguous
        )

    def pieces(self, order: NDArray[np.int64], batch_size: int) -> Iterator[Piece]:
        """Cut the rows `order` into pieces of whole batches: one, unless inputs are converted on the way."""
        if not self.foreign:
            yield Piece(self.x, self.y, order, self.weights)
            return
        rows = batch_size * max(1, BLOCK_BYTES // (batch_size * self.x.shape[1] * self.dtype.itemsize))
        for start in range(0, len(order), rows):
            index = order[start : start + rows]
            x = to_matrix(self.x[index], self.dtype, "X", finite=False)
            weights = None if self.weights is None else self.weights[index]
            yield Piece(x, self.y[index], np.arange(len(index)), weights)

    def split(self, fraction: float) -> tuple[Rows, Rows]:
        """Cut off the last `fraction` of the rows (Keras' ``validation_split``)."""
        cut = int(len(self) * (1.0 - fraction))
        if not 0 < cut < len(self):
            raise ValueError(f"validation_split={fraction} of {len(self)} rows leaves one side empty")
        first, last = (
            Rows(self.x[part], self.y[part], None if self.weights is None else self.weights[part], self.dtype)
            for part in (slice(None, cut), slice(cut, None))
        )
        return first, last


@dataclass(slots=True)
class Stream:
    """An iterable of batches ``(x, y)`` or ``(x, y, sample_weight)``, iterated anew in every epoch."""

    source: Iterable[Any] | Callable[[], Iterable[Any]]
    engine: Engine
    objective: Objective

    def steps(self) -> int | None:
        """Return the number of batches per epoch, if the source tells it."""
        return len(self.source) if isinstance(self.source, Sized) else None

    def pieces(self) -> Iterator[Piece]:
        """Check and convert the batches of one epoch, one after the other."""
        source = self.source() if callable(self.source) else self.source
        for number, batch in enumerate(source):
            if not isinstance(batch, tuple | list) or len(batch) not in (2, 3):
                raise TypeError(
                    f"batch {number} must be (x, y) or (x, y, sample_weight), got {type(batch).__name__}"
                    + (f" of length {len(batch)}" if isinstance(batch, tuple | list) else "")
                )
            weights = batch[2] if len(batch) == 3 else None
            data = prepare(self.engine, batch[0], batch[1], weights, self.objective, f"batch {number}: ")
            yield from data.pieces(np.arange(len(data)), len(data))


def prepare(engine: Engine, x: Any, y: Any, weights: Any, objective: Objective, prefix: str = "") -> Rows:
    """Check inputs, targets and weights against the model and each other."""
    dtype = engine.dtype
    inputs = to_inputs(x, engine.n_inputs, dtype, name=f"{prefix}X", layer=first_layer(engine))
    n = int(inputs.shape[0])
    if n == 0:
        raise ValueError(f"{prefix}X has 0 rows")
    targets = objectives.to_targets(y, objective, n, engine.n_outputs, dtype, name=f"{prefix}y")
    return Rows(inputs, targets, to_weights(weights, n, dtype, f"{prefix}sample_weight"), dtype)


def rows_of(engine: Engine, x: Any) -> Iterator[Any]:
    """Yield checked inputs in pieces of the model's dtype: one piece, or blocks of a foreign memmap."""
    data = Rows(x, np.empty(0), None, engine.dtype)
    if not data.foreign:
        yield x
        return
    rows = max(1, BLOCK_BYTES // (x.shape[1] * engine.dtype.itemsize))
    for start in range(0, len(x), rows):
        yield to_matrix(x[start : start + rows], engine.dtype, "X", finite=False)


def first_layer(engine: Engine) -> str:
    """Return how messages call the layer that takes the inputs."""
    layer = engine.layers[0]
    return f"the first layer (Dense({layer.units}, {layer.activation!r}))"
