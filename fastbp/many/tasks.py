"""What one net of many is trained on, and how; and the random numbers that nets share."""

from __future__ import annotations

from dataclasses import dataclass
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
        """Whether both share layout, source, settings and row numbers; models and where rows begin may differ."""
        return (
            self.settings is other.settings
            and self.source is other.source
            and self.layout is other.layout
            and self.chosen is other.chosen
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
