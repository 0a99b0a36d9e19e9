"""What one net of many is trained on, and how; nets for which that is the same; and the random numbers they share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fastbp.callbacks import CallbackList, Run
from fastbp.engine.layout import Layout
from fastbp.engine.memory import Array
from fastbp.engine.sources import Source
from fastbp.training import Fit
from fastbp.training.orders import Draws, Orders, Replay

SHARED_BYTES = 2**26  # orders of the rows that are kept for the nets to come


@dataclass(slots=True)
class Task:
    """What one net is trained on, and how."""

    number: int
    layout: Layout
    source: Source
    base: int
    chosen: Array | None
    validation: Array | None
    settings: Fit
    callbacks: list[Any]

    def is_like(self, other: Task) -> bool:
        """Whether nothing differs but the models, and where their rows begin."""
        return (
            self.settings is other.settings
            and self.source is other.source
            and self.layout is other.layout
            and self.chosen is other.chosen
            and self.validation is other.validation
            and self.callbacks is other.callbacks
        )

    @property
    def rows(self) -> Array | None:
        """The row numbers of `source` to train on; None: all."""
        return self.chosen + self.base if self.chosen is not None and self.base else self.chosen

    @property
    def n(self) -> int:
        """Rows to train in an epoch, those of weight 0 included."""
        return len(self.source) if self.chosen is None else len(self.chosen)

    @property
    def learned(self) -> int:
        """Rows to train in an epoch, without those of weight 0."""
        weights, rows = self.source.weights, self.rows
        return int(np.count_nonzero(weights if rows is None else weights[rows])) if weights.size else self.n

    @property
    def samples(self) -> int:
        """Rows to train in all epochs."""
        return self.n * self.settings.epochs

    @property
    def work(self) -> float:
        """How long it takes, about."""
        return self.samples * (self.layout.flops_per_row + 1000.0)

    def check_steps(self) -> None:
        """Raise what is wrong with the number of steps."""
        n, settings = self.learned, self.settings
        if n == 0:
            raise ValueError("every row has weight 0: there is nothing to learn from")
        settings.optimizer.schedule.bind(-(-n // min(settings.batch_size or n, n)), settings.epochs)

    def check_callbacks(self) -> None:
        """Raise what is wrong with the callbacks."""
        CallbackList(self.callbacks, Run(None, np.zeros(0)))


@dataclass(slots=True)
class Alike:
    """Tasks that are alike (`Task.is_like`), as the first of them, and the number and the base of each.

    What is left of a hundred thousand models are two arrays.
    """

    first: Task
    numbers: Array
    bases: Array

    def __len__(self) -> int:
        """Return how many tasks."""
        return len(self.numbers)

    def __getitem__(self, part: slice) -> Alike:
        """Return some of them."""
        return Alike(self.first, self.numbers[part], self.bases[part])

    def __iter__(self) -> Iterator[Task]:
        """Yield the tasks."""
        for number, base in zip(self.numbers.tolist(), self.bases.tolist(), strict=True):
            yield replace(self.first, number=number, base=base)


def joined(tasks: Sequence[Task]) -> list[Alike]:
    """Return the tasks in their order; those that are like the one before them are together.

    >>> joined([])
    []
    """
    begins = [k for k, task in enumerate(tasks) if k == 0 or not task.is_like(tasks[k - 1])]
    numbers, bases = (
        np.array([getattr(task, name) for task in tasks], np.int64) for name in ("number", "base")
    )
    ends = [*begins[1:], len(tasks)]
    return (
        [Alike(tasks[b], numbers[b:e], bases[b:e]) for b, e in zip(begins, ends, strict=True)]
        if tasks
        else []
    )


def cut(alike: Sequence[Alike], count: int) -> list[list[Alike]]:
    """Return the tasks in their order, in pieces of `count`; the last one has what is left.

    >>> ten = Alike(None, np.arange(10), np.zeros(10, np.int64))
    >>> [[part.numbers.tolist() for part in piece] for piece in cut([ten[:3], ten[3:]], 4)]
    [[[0, 1, 2], [3]], [[4, 5, 6, 7]], [[8, 9]]]
    """
    pieces: list[list[Alike]] = []
    room = 0
    for each in alike:
        begin = 0
        while begin < len(each):
            if room == 0:
                pieces.append([])
                room = count
            part = each[begin : begin + room]
            pieces[-1].append(part)
            begin, room = begin + len(part), room - len(part)
    return pieces


class Generators:
    """The generator of each net; those with one seed and equally many rows share what it draws."""

    def __init__(self) -> None:
        self._shared: dict[tuple[int, int], Orders] = {}

    def of(self, task: Task, n: int) -> Draws:
        """Return the generator of a net that is trained on n rows."""
        seed = task.settings.seed
        if (
            not isinstance(seed, int)
            or 8 * n * task.settings.epochs > SHARED_BYTES
            or any(getattr(callback, "saves", False) for callback in task.callbacks)
        ):
            return np.random.default_rng(seed)
        orders = self._shared.get((seed, n))
        if orders is None:
            orders = self._shared[seed, n] = Orders(seed, n)
        return Replay(orders)
