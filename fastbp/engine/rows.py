"""`Rows`: inputs, targets and weights as the kernels take them, checked once and kept.

Kernels trust their callers, and nothing checks a row again after this. Class codes and the index arrays of a sparse
matrix are addresses to a kernel, so they are copied first, and the copies are checked. Any other number is harmless to
a kernel: dense inputs, targets and the entries of a sparse matrix are not copied and may be the caller's memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from fastbp.arrays import check_sparse
from fastbp.engine.layout import Layout
from fastbp.engine.memory import Array, flat
from fastbp.objectives import Objective

NO_INDEX = np.zeros(0, np.int32)
NO_WEIGHTS = np.zeros(0)


class Rows:
    """Rows that a network can be trained on, evaluated on, or, without targets, can predict.

    Parameters
    ----------
    layout : Layout
        Of the network; only its numbers of inputs and outputs and its dtype count.
    x : ndarray (n, n_inputs), C-contiguous, or CSR matrix; of the layout's dtype
        A CSR matrix in another than the canonical form (rows sorted, no duplicates) is copied and brought into it.
    y : ndarray (n, n_outputs) of the layout's dtype, or (n,) integer class codes, optional
        Class codes are for the objective ``cross_entropy``. A `fastbp.Loss` takes any number of columns.
    sample_weight : array-like (n,), optional
        Copied.
    objective : Objective, optional
        Tells what `y` means.

    Attributes
    ----------
    n : int
    sparse : bool
    values, indices, indptr : ndarray, flat
        Inputs; the index arrays, int32, are empty for dense rows.
    y : ndarray, flat, of the layout's dtype
        Targets, or class codes as numbers.
    codes : bool
        Whether `y` holds class codes.
    columns : int
        Numbers of a row of `y`.
    weights : ndarray (n,), float64, or empty
    mass : float
        Sum of the weights, or the number of rows.

    Raises
    ------
    TypeError, ValueError
        Says what came and what was expected. Nothing is converted here: `fastbp.engine.sources` does that.
    """

    __slots__ = (
        "codes",
        "columns",
        "indices",
        "indptr",
        "layout",
        "mass",
        "n",
        "sparse",
        "values",
        "weights",
        "y",
    )

    def __init__(
        self,
        layout: Layout,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        objective: Objective | None = None,
    ) -> None:
        self.layout, dtype = layout, layout.dtype
        self.sparse = not isinstance(x, np.ndarray)
        if self.sparse and getattr(x, "format", None) != "csr":
            raise TypeError(f"x must be a NumPy array or a SciPy CSR matrix, got {type(x).__name__}")
        shape = x.shape
        if len(shape) != 2 or shape[1] != layout.n_inputs:
            raise ValueError(f"x must have shape (n, {layout.n_inputs}), got {shape}")
        if x.dtype != dtype:
            raise TypeError(f"x must be {dtype} as the network is, got {x.dtype}")
        self.n = n = int(shape[0])
        self.mass = float(n)
        self.codes = False
        self.columns = layout.n_outputs
        self.weights = NO_WEIGHTS
        if self.sparse:
            self.values, self.indices, self.indptr = _canonical(x)
        else:
            if not x.flags.c_contiguous:
                raise ValueError("x must be C-contiguous; use numpy.ascontiguousarray")
            self.values = flat(x)
            self.indices = self.indptr = NO_INDEX
        if y is None:
            self.y = self.values[:0]
            return
        if type(y) is np.ndarray and y.dtype is dtype and y.shape == (n, layout.n_outputs):
            self.y = flat(y if y.flags.c_contiguous else y.copy())
        else:
            self._label(np.asarray(y), objective)
        if sample_weight is not None:
            self._weigh(sample_weight)

    def _weigh(self, sample_weight: Any) -> None:
        weights = np.array(sample_weight, np.float64)
        if weights.shape != (self.n,):
            raise ValueError(f"sample_weight must have shape {(self.n,)}, got {weights.shape}")
        self.weights, self.mass = weights, float(weights.sum())

    def _label(self, y: Array, objective: Objective | None) -> None:
        n, outputs, dtype = self.n, self.layout.n_outputs, self.layout.dtype
        if (
            objective is not None
            and objective.name == "cross_entropy"
            and y.ndim == 1
            and y.dtype.kind in "iu"
        ):
            if y.shape != (n,):
                raise ValueError(f"y must have one class code per row, {n}, got shape {y.shape}")
            self.y, self.codes, self.columns = to_codes(y, outputs, dtype), True, 1
            return
        if objective is not None and objective.any_columns and y.ndim == 2:
            outputs = self.columns = int(y.shape[1])
        if y.shape != (n, outputs):
            raise ValueError(f"y must have shape {(n, outputs)}, got {y.shape}")
        if y.dtype != dtype:
            raise TypeError(f"y must be {dtype} as the network is, got {y.dtype}")
        self.y = flat(np.ascontiguousarray(y))

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.n

    @property
    def targets(self) -> Array:
        """Targets (n, n_outputs), or class codes (n,)."""
        return self.y if self.codes else self.y.reshape(self.n, self.columns)

    def check(self, layout: Layout, *, labeled: bool = True) -> None:
        """Refuse rows that were made for another network, or without targets unless `labeled` is False."""
        own = self.layout
        if own is not layout and (own.n_inputs, own.n_outputs, own.dtype) != (
            layout.n_inputs,
            layout.n_outputs,
            layout.dtype,
        ):
            raise ValueError(
                f"rows for {own.n_inputs} inputs and {own.n_outputs} outputs in {own.dtype} do not fit a network "
                f"with {layout.n_inputs} inputs and {layout.n_outputs} outputs in {layout.dtype}"
            )
        if labeled and self.n and not self.y.size:
            raise ValueError("rows without targets can only be predicted")

    # What `MappedRows` has too: the forms in which data reach a training.

    def whole(self) -> Rows:
        """Return all rows at once."""
        return self

    def blocks(self) -> Iterator[Rows]:
        """Yield the rows in their order."""
        yield self

    def pieces(self, order: Array, batch_size: int) -> Iterator[tuple[Rows, Array]]:
        """Yield rows and the order in which to train on them, in whole batches."""
        yield self, order

    def chosen(self, order: Array) -> Iterator[Rows]:
        """Yield a copy of the rows of `order`."""
        twin = self._like()
        twin.n = len(order)
        if self.sparse:
            counts = self.indptr[order + 1] - self.indptr[order]
            twin.indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
            begins = np.repeat(self.indptr[order] - twin.indptr[:-1], counts)
            entries = begins + np.arange(len(begins))
            twin.values, twin.indices = self.values[entries], self.indices[entries]
        else:
            twin.values = flat(self.values.reshape(self.n, -1)[order])
        twin.y = flat(self.targets[order])
        twin.weights = self.weights[order] if self.weights.size else NO_WEIGHTS
        twin.mass = float(twin.weights.sum()) if twin.weights.size else float(twin.n)
        yield twin

    def weighted(self, sample_weight: Array | None) -> Rows:
        """Return the same rows with other weights; nothing is copied."""
        twin = self._like()
        twin.weights, twin.mass = NO_WEIGHTS, float(self.n)
        if sample_weight is not None:
            twin._weigh(sample_weight)
        return twin

    def split(self, cut: int) -> tuple[Rows, Rows]:
        """Return the first `cut` rows and the others; nothing is copied but row pointers."""
        return self._part(0, cut), self._part(cut, self.n)

    def take(self, index: Array) -> Rows:
        """Return copies of some rows, in the order of their numbers, which are not checked."""
        twin = self._like()
        twin.n = len(index)
        if self.sparse:
            begins, lengths = self.indptr[index], self.indptr[index + 1] - self.indptr[index]
            twin.indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
            places = np.arange(int(twin.indptr[-1])) + np.repeat(begins - twin.indptr[:-1], lengths)
            twin.values, twin.indices = self.values[places], self.indices[places]
        else:
            twin.values = self.values.reshape(self.n, -1)[index].reshape(-1)
        twin.y = self.y.reshape(self.n, -1)[index].reshape(-1)
        twin.weights = self.weights[index] if self.weights.size else NO_WEIGHTS
        twin.mass = float(twin.weights.sum()) if twin.weights.size else float(twin.n)
        return twin

    def relabeled(self, y: Array) -> Rows:
        """Return the same rows with other targets, (n, n_outputs) of the layout's dtype, C-contiguous."""
        twin = self._like()
        twin.y, twin.codes, twin.columns = y.reshape(-1), False, self.layout.n_outputs
        return twin

    def _like(self) -> Rows:
        twin = object.__new__(Rows)
        for name in Rows.__slots__:
            setattr(twin, name, getattr(self, name))
        return twin

    def _part(self, begin: int, end: int) -> Rows:
        twin = self._like()
        twin.n = end - begin
        if self.sparse:
            first, last = int(self.indptr[begin]), int(self.indptr[end])
            twin.values, twin.indices = self.values[first:last], self.indices[first:last]
            twin.indptr = self.indptr[begin : end + 1] - np.int32(first)
        else:
            width = self.layout.n_inputs
            twin.values = self.values[begin * width : end * width]
        twin.y = self.y[begin * self.columns : end * self.columns]
        twin.weights = self.weights[begin:end]
        twin.mass = float(twin.weights.sum()) if twin.weights.size else float(twin.n)
        return twin


def to_codes(y: Array, n_classes: int, dtype: np.dtype[Any]) -> Array:
    """Return integer class codes as numbers of `dtype`: a copy, so nobody else can change what is checked here."""
    codes = y.astype(dtype)
    if codes.size and not 0 <= codes.min() <= codes.max() < n_classes:
        raise ValueError(
            f"y must hold class codes from 0 to {n_classes - 1}, got {int(codes.min())} to {int(codes.max())}"
        )
    return codes


def _canonical(x: Any) -> tuple[Array, Array, Array]:
    """Return values and int32 index arrays of a CSR matrix: indices of our own, in order, without duplicates."""
    if x.data.size >= 2**31 or x.indices.size >= 2**31:
        raise ValueError(f"x has {x.indices.size} entries; a sparse matrix may have 2^31 - 1")
    checked = check_sparse(x, "x")
    values, used = np.ascontiguousarray(checked.data), checked.data.size
    indices, indptr = (
        checked.indices.astype(np.int32, copy=False),
        checked.indptr.astype(np.int32, copy=False),
    )
    rising = indices[1:] > indices[:-1]
    # A row may begin with a smaller column than the row before it ends with.
    begins = indptr[1:-1]
    rising[begins[(0 < begins) & (begins < used)] - 1] = True
    if not rising.all():
        own = type(x)((values.copy(), indices, indptr), shape=x.shape)
        own.sum_duplicates()
        values, indices, indptr = own.data, own.indices, own.indptr
    return flat(values), flat(indices.astype(np.int32, copy=False)), flat(indptr.astype(np.int32, copy=False))
