"""The histories of many models: what they have logged together, until somebody asks for one."""

from __future__ import annotations

import functools

from fastbp.engine.memory import Array
from fastbp.training.history import History, Recorded


class Histories:
    """The histories of n models.

    Parameters
    ----------
    n : int

    >>> import numpy as np
    >>> histories = Histories(2)
    >>> histories.note(1, History({"loss": [3.0]}))
    >>> histories.note_together(np.array([0]), np.array([0]), Recorded(np.ones((1, 1)), np.ones((1, 1)), [0.5]))
    >>> [history.loss for history in histories.made], histories.wrong
    ([[1.0], [3.0]], [])
    """

    def __init__(self, n: int) -> None:
        self._n = n
        self._own: dict[int, History] = {}
        self._together: list[tuple[Array, Array, Recorded]] = []

    def note(self, number: int, history: History) -> None:
        """Note the history of one model."""
        self._own[number] = history

    def note_together(self, numbers: Array, places: Array, recorded: Recorded) -> None:
        """Note what the models of these numbers have logged, at these places of `recorded`."""
        self._together.append((numbers, places, recorded))

    @property
    def wrong(self) -> list[int]:
        """The numbers of the models that diverged."""
        return sorted(number for number, history in self._own.items() if history.error is not None)

    @functools.cached_property
    def made(self) -> list[History]:
        """The history of each model, once all have one."""
        found = dict(self._own)
        for numbers, places, recorded in self._together:
            for number, place in zip(numbers.tolist(), places.tolist(), strict=True):
                found[number] = History.of(recorded, place)
        return [found[number] for number in range(self._n)]
