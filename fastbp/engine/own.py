"""Sessions whose loss or rule is the user's.

A loss of two functions compiled by Numba is called by the kernel, block by block of rows, and such a session trains as
any other. Otherwise each batch comes back to Python on its way. It does so, too, if the compiled functions fail on a
batch: called from Python, they raise what they raise, or show the row that they have made NaN of.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np

from fastbp.engine import session as pieces
from fastbp.engine import spare
from fastbp.engine.engine import Engine
from fastbp.engine.judging import check_slopes, judged
from fastbp.engine.memory import Array
from fastbp.engine.outside import Outside
from fastbp.engine.rows import Rows
from fastbp.engine.session import Session
from fastbp.kernels.machine import foreign
from fastbp.objectives import Objective
from fastbp.optimizers import Rule
from fastbp.own import Loss


class OwnSession(Session):
    """A training run with a loss of the user's, or a rule, or both; everything else is that of `Session`."""

    def __init__(self, engine: Engine, objective: Objective, rule: Rule, **settings: Any) -> None:
        self._address: int | None = None
        if isinstance(objective, Loss) and rule.own is None:
            self._address = foreign.address_of(objective.value, objective.grad, engine.dtype)
        super().__init__(engine, objective, rule, **settings)
        self._outside = Outside(self)
        self._looked = False
        if rule.own is not None:
            self.slots = {name: np.zeros(engine.n_parameters, engine.dtype) for name in rule.own.slots}

    def _begin_workspace(self, waits: bool) -> None:
        """Make a workspace, which goes on with the numbers of the one before it, and with the loss."""
        super()._begin_workspace(waits)
        self._plain = self._online = False
        if self._address is not None:
            self._workspace.judge_by(self._address)

    def update(self, rows: Rows, learning_rate: float) -> float:
        """Train on all rows as one batch; return its mean loss."""
        if self._in_kernel(rows):
            self._look(rows)
            try:
                return super().update(rows, learning_rate)
            except ZeroDivisionError:
                self._workspace.begin_anew()
        return self._update(rows, learning_rate)

    def _update(self, rows: Rows, learning_rate: float, index: Array | None = None) -> float:
        """Train on a batch by way of Python; `index` are the numbers by which messages call its rows."""
        value, loss = 0.0, self.objective
        if isinstance(loss, Loss):
            outputs = self._outside.outputs(rows)
            self._look(rows, outputs)
            value, rows = judged(loss, rows, outputs, index)
        if self.rule.own is None:
            with self._outside.given():
                return value + super().update(rows, learning_rate)
        gradient = np.zeros_like(self.engine.theta)
        with self._outside.given() if isinstance(loss, Loss) else nullcontext():
            value += self._outside.gradient(rows, gradient)
        self._outside.apply(gradient, learning_rate)
        return value

    def _in_kernel(self, rows: Rows) -> bool:
        """Whether the kernel calls the loss for such rows: it keeps their targets where the outputs' delta will be."""
        return self._address is not None and rows.columns == self.engine.n_outputs

    def _look(self, rows: Rows, outputs: Array | None = None) -> None:
        """Compare slopes with finite differences, at the first batch."""
        if not self._looked and isinstance(self.objective, Loss):
            check_slopes(self.objective, rows, self._outside.outputs(rows) if outputs is None else outputs)
            self._looked = True

    def prepare(self, x: Any, y: Any, rows: Rows) -> None:
        """Make `prepared`, if the kernel calls the loss; a call that fails is made the long way, too, and answered."""
        if self._in_kernel(rows):
            super().prepare(x, y, rows)

    def chunks(self, rows: Rows, order: Array, learning_rate: float | Array) -> Iterator[tuple[int, float]]:
        """Train on rows[order] in pieces, as `Session.chunks` does."""
        self._workspace_for(rows)
        if self._in_kernel(rows):
            if not self._looked and len(order):
                self._look(rows.take(self._checked(rows, order, learning_rate)[0][: self.batch_size]))
            yield from super().chunks(rows, order, learning_rate)
            return
        order, _, rates = self._checked(rows, order, learning_rate)
        finished, before, begun = 0, self.loss_sum, time.perf_counter()
        for place in range(0, len(order), self.batch_size):
            finished += self._batch(rows, order, place, rates)
            if time.perf_counter() - begun > pieces.CHUNK_SECONDS or place + self.batch_size >= len(order):
                yield finished, self.loss_sum - before
                finished, before, begun = 0, self.loss_sum, time.perf_counter()

    def _batch(self, rows: Rows, order: Array, place: int, rates: Array) -> int:
        """Train on the batch at a place of the order by way of Python; return the number of its rows."""
        index = order[place : place + self.batch_size]
        batch, rate = rows.take(index), rates[place // self.batch_size if rates.size > 1 else 0]
        loss = self._update(batch, float(rate), index)
        self.loss_sum += loss * (batch.mass if self.by_weight else batch.n)
        return batch.n

    def _fell_short(self, rows: Rows, order: Array, place: int, rates: Array, size: int) -> int:
        """Train on the batch that the kernel has given up, by way of Python."""
        self._workspace.begin_anew()
        return self._batch(rows, order if order.size else np.arange(size), place, rates)

    def passes_in_a_call(self, span: int) -> int:
        """Return how many passes one call of the kernel takes about 50 ms for; 0 if it cannot call the loss."""
        return 0 if self._address is None else super().passes_in_a_call(span)

    def passes(
        self, rows: Rows, order: Array, learning_rate: float | Array, count: int
    ) -> list[float] | None:
        """Train several times on the same rows, as `Session.passes` does; None too if the loss has failed."""
        first = order[0] if order.size else np.arange(rows.n)
        if count == 1:
            return [self.train(rows, first, learning_rate)]
        if not self._in_kernel(rows):
            return None
        self._look(rows.take(first[: self.batch_size]))
        try:
            return super().passes(rows, order, learning_rate, count)
        except ZeroDivisionError:
            self._workspace.begin_anew()
            return None


def new_session(engine: Engine, objective: Objective, rule: Rule, **settings: Any) -> Session:
    """Return a session for these, whoever has made loss and rule; the settings are those of `Session`."""
    if is_own(objective, rule):
        return OwnSession(engine, objective, rule, **settings)
    return spare.take(engine, objective, rule, **settings) or Session(engine, objective, rule, **settings)


def is_own(objective: Objective, rule: Rule) -> bool:
    """Whether the loss or the rule is of the user's making."""
    return isinstance(objective, Loss) or rule.own is not None
