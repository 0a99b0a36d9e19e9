"""Sessions whose loss or rule is the user's: each batch comes back to Python on its way."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from fastbp.engine import session as pieces
from fastbp.engine.engine import Engine
from fastbp.engine.judging import check_slopes, judged
from fastbp.engine.memory import Array
from fastbp.engine.outside import Outside
from fastbp.engine.rows import Rows
from fastbp.engine.session import Session
from fastbp.objectives import Objective
from fastbp.optimizers import Rule
from fastbp.own import Loss


class OwnSession(Session):
    """A training run with a loss of the user's, or a rule, or both; everything else is that of `Session`."""

    def __init__(self, engine: Engine, objective: Objective, rule: Rule, **settings: Any) -> None:
        super().__init__(engine, objective, rule, **settings)
        self._outside = Outside(self)
        self._looked = False
        if rule.own is not None:
            self.slots = {name: np.zeros(engine.n_parameters, engine.dtype) for name in rule.own.slots}

    def update(self, rows: Rows, learning_rate: float, index: Array | None = None) -> float:
        """Train on all rows as one batch; return its mean loss. `index` are the numbers by which messages call them."""
        value, loss = 0.0, self.objective
        if isinstance(loss, Loss):
            outputs = self._outside.outputs(rows)
            if not self._looked:
                check_slopes(loss, rows, outputs)
                self._looked = True
            value, rows = judged(loss, rows, outputs, index)
        if self.rule.own is None:
            return value + super().update(rows, learning_rate)
        gradient = np.zeros_like(self.engine.theta)
        value += self._outside.gradient(rows, gradient)
        self._outside.apply(gradient, learning_rate)
        return value

    def prepare(self, x: Any, y: Any, rows: Rows) -> None:
        """Do nothing: there is no call of the kernel that could be made again as it was."""

    def chunks(self, rows: Rows, order: Array, learning_rate: float | Array) -> Iterator[tuple[int, float]]:
        """Train on rows[order], batch by batch, as `Session.chunks` does."""
        self._workspace_for(rows)
        order, _, rates = self._checked(rows, order, learning_rate)
        finished, before, begun = 0, self.loss_sum, time.perf_counter()
        for number, start in enumerate(range(0, len(order), self.batch_size)):
            index = order[start : start + self.batch_size]
            batch = rows.take(index)
            loss = self.update(batch, float(rates[number if rates.size > 1 else 0]), index)
            self.loss_sum += loss * (batch.mass if self.by_weight else batch.n)
            finished += batch.n
            if time.perf_counter() - begun > pieces.CHUNK_SECONDS or start + batch.n == len(order):
                yield finished, self.loss_sum - before
                finished, before, begun = 0, self.loss_sum, time.perf_counter()

    def passes_in_a_call(self, span: int) -> int:
        """Return 0: no call of the kernel makes a pass."""
        return 0


def new_session(engine: Engine, objective: Objective, rule: Rule, **settings: Any) -> Session:
    """Return a session for these, whoever has made loss and rule; the settings are those of `Session`."""
    own = isinstance(objective, Loss) or rule.own is not None
    return (OwnSession if own else Session)(engine, objective, rule, **settings)
