"""`Stack`: many models of one architecture, a row of numbers each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbp import initializers
from fastbp.engine.layout import positions
from fastbp.layers import Dense
from fastbp.many.histories import Histories
from fastbp.many.outputs import outputs_of
from fastbp.sequential import Sequential
from fastbp.training import History
from fastbp.validation import check_count

__all__ = ["Stack"]

BLOCK_BYTES = 16 * 2**20  # of numbers drawn at once


class Stack(Sequence[Sequential]):
    """Many models of one architecture: what ``fit_many(net, x, y, n=...)`` returns, and takes to go on.

    Parameters
    ----------
    net : Sequential
        Whose layers and dtype all models have. It is not changed.
    n : int
        Number of models.
    seed : int or None
        Of their first weights. Model i starts alike whatever `n` is.

    Attributes
    ----------
    theta : ndarray (n, n_parameters)
        A row per model: W row by row, then b, of each layer. It may be written to.
    histories : list of History
        Of the last ``fit_many``; empty before.
    net : Sequential
        As given.

    Notes
    -----
    The weights of layer l come from the l-th child of ``numpy.random.SeedSequence(seed)``, model after model. Biases
    start at zero.

    Examples
    --------
    >>> import numpy as np
    >>> import fastbp as fb
    >>> net = fb.Sequential([fb.Dense(8, "tanh"), fb.Dense(1)], n_inputs=2)
    >>> stack = fb.Stack(net, n=100, seed=0)
    >>> stack.theta.shape, len(stack), stack[3].n_parameters
    ((100, 33), 100, 33)
    >>> bool((stack[3].weights[0].ravel() == stack.theta[3, :16]).all())
    True
    """

    __module__ = "fastbp"

    def __init__(self, net: Sequential, n: int, seed: int | None = 0) -> None:
        if not isinstance(net, Sequential):
            raise TypeError(f"net must be a Sequential, got {type(net).__name__}")
        check_count(n, "n")
        if seed is not None:
            check_count(seed, "seed", 0)
        self.net = net
        self._histories = Histories(0)
        self.theta: NDArray[Any] = np.zeros((n, net.n_parameters), net.dtype)
        dense = [layer for layer in net.layers if isinstance(layer, Dense)]
        place = 0
        for layer, W, child in zip(
            dense, net.weights, np.random.SeedSequence(seed).spawn(len(dense)), strict=True
        ):
            draw, rng = initializers.get(layer.initializer), np.random.default_rng(child)
            step = max(1, BLOCK_BYTES // (8 * W.size))
            for begin in range(0, n, step):
                block = self.theta[begin : begin + step, place : place + W.size]
                block[...] = draw.draw((len(block), *W.shape), rng).reshape(len(block), -1)
            place += W.size + (layer.units if layer.use_bias else 0)

    @property
    def histories(self) -> list[History]:
        """Of the last ``fit_many``, one per model; empty before."""
        return self._histories.made

    @property
    def n_outputs(self) -> int:
        """Columns of y."""
        return self.net.n_outputs

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of parameters and computations."""
        return self.net.dtype

    def __len__(self) -> int:
        """Return the number of models."""
        return len(self.theta)

    def __getitem__(self, index: Any) -> Any:
        """Return a model as a `Sequential` with its own copy of the numbers; of a slice, a list of them."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        net = self.net.copy()
        net.engine.theta[positions(net.engine.layout)] = self.theta[index]
        return net

    def __iter__(self) -> Iterator[Sequential]:
        """Yield the models one after the other."""
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        """Return the number of models, and what they are."""
        return f"<Stack of {len(self)}: {self.net!r}>"

    def predict(self, x: Any, *, combine: str | None = None, n_threads: int | None = None) -> NDArray[Any]:
        """Return what `fastbp.predict_many` returns: (n, rows, n_outputs), or the mean or vote of the models.

        Parameters
        ----------
        x, combine, n_threads
            As there.
        """
        return outputs_of(self, x, combine, n_threads, alike=True)
