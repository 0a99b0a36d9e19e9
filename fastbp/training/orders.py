"""The random numbers of one seed, drawn once for all fits that share it.

A fit draws the seed of its dropout, then an order of its rows for each epoch. Many fits with one seed and equally many
rows draw the same numbers, and to draw them takes a small network half as long as to train on them.
"""

from __future__ import annotations

import functools
import threading
from typing import Any

import numpy as np

from fastbp.engine.memory import Array

__all__ = ["Draws", "Orders", "Replay", "repeated"]

KEPT_BYTES = 2**16  # of the orders of one seed that are kept for the fits to come


class Orders:
    """What ``numpy.random.default_rng(seed)`` draws for fits of `n` rows; any number of threads may ask.

    Parameters
    ----------
    seed : int
    n : int

    Attributes
    ----------
    first : int
        The seed of the dropout.
    """

    def __init__(self, seed: int, n: int) -> None:
        self.n = n
        self._rng = np.random.default_rng(seed)
        self.first = int(self._rng.integers(2**31))
        self._drawn: list[Array] = []
        self._lock = threading.Lock()

    def order(self, epoch: int) -> Array:
        """Return the order of the epoch, counted from 0; not to be written to.

        >>> orders = Orders(0, 5)
        >>> orders.order(1) is orders.order(1)
        True
        """
        with self._lock:
            while len(self._drawn) <= epoch:
                order = self._rng.permutation(self.n)
                order.flags.writeable = False
                self._drawn.append(order)
        return self._drawn[epoch]


class Replay:
    """One fit's way through `Orders`: what a fit asks of a generator, with the same numbers.

    >>> rng, replay = np.random.default_rng(7), Replay(Orders(7, 4))
    >>> int(rng.integers(2**31)) == replay.integers(2**31)
    True
    >>> all((rng.permutation(4) == replay.permutation(4)).all() for _ in range(3))
    True
    """

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._next = 0

    @property
    def bit_generator(self) -> Replay:
        """Itself: it has a `state`."""
        return self

    @property
    def state(self) -> dict[str, Any]:
        """How far it is; may be set."""
        return {"next": self._next}

    @state.setter
    def state(self, value: dict[str, Any]) -> None:
        self._next = value["next"]

    def integers(self, high: int) -> int:
        """Return the seed of the dropout; a fit asks once, with 2**31."""
        return self._orders.first

    def permutation(self, n: int) -> Array:
        """Return the next order of the n rows."""
        self._next += 1
        return self._orders.order(self._next - 1)


Draws = np.random.Generator | Replay


@functools.lru_cache(maxsize=16)
def _kept(seed: int, n: int) -> Orders:
    return Orders(seed, n)


def repeated(seed: int | np.random.Generator | None, n: int, epochs: int) -> Draws:
    """Return a generator for a fit that nobody saves; what it draws for a short one is kept for the next.

    >>> repeated(0, 5, 1).permutation(5) is repeated(0, 5, 1).permutation(5)
    True
    """
    if type(seed) is int and 8 * n * epochs <= KEPT_BYTES:
        return Replay(_kept(seed, n))
    return np.random.default_rng(seed)
