"""What goes out of the steps of a session, and comes into them: outputs, dE/d out, gradients.

A step is outputs, loss, gradient, update. A session takes it in one call of the kernel; here it is cut at two places,
for losses that are computed elsewhere and for gradients that somebody wants to see or change. The parts have the same
bits as the whole, dropout included: the masks follow from the seed and the number of the step.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from fastbp.engine.judging import judged
from fastbp.engine.memory import Array, aligned_zeros
from fastbp.engine.rows import Rows
from fastbp.engine.session import Session
from fastbp.engine.workspace import Workspace
from fastbp.kernels import losses, outside
from fastbp.kernels import plan as p
from fastbp.own import Loss


class Outside:
    """The parts of a session's steps.

    Parameters
    ----------
    session : Session
        Its optimizer, its counter of steps and its masks are used and updated.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self._whole: Workspace | None = None
        self._beside: Workspace | None = None
        self._buffer: Array | None = None

    def outputs(self, rows: Rows) -> Array:
        """Return the outputs (n, n_outputs) that the next step sees for these rows, in an array of their own."""
        session, engine = self.session, self.session.engine
        workspace = session._workspace_for(rows, one_batch=True, labeled=False)
        out = np.empty((rows.n, engine.n_outputs), engine.dtype)
        workspace.call(
            p.PREDICT,
            engine.params,
            rows,
            begin=0,
            end=rows.n,
            out=out.reshape(-1),
            seed=session._seed,
            team=self._team(rows),
        )
        return out

    def step(self, rows: Rows, learning_rate: float) -> None:
        """Take a step from dE/d out, which the rows hold in the place of targets."""
        session = self.session
        with self.given():
            if session.rule.own is None:
                Session.update(session, rows, learning_rate)
            else:
                out = np.zeros_like(session.engine.theta)
                self.gradient(rows, out)
                self.apply(out, learning_rate)

    def gradient_of(self, rows: Rows, out: Array) -> float:
        """Do what `gradient` does, with the session's loss if that is the user's, too."""
        loss = self.session.objective
        if not isinstance(loss, Loss):
            return self.gradient(rows, out)
        value, rows = judged(loss, rows, self.outputs(rows))
        with self.given():
            return value + self.gradient(rows, out)

    def gradient(self, rows: Rows, out: Array) -> float:
        """Write the gradient of the next step, penalties included, to `out`, laid out as theta; return the loss.

        Raises
        ------
        ZeroDivisionError
            The weights of the rows sum to zero.
        """
        session, engine = self.session, self.session.engine
        own = session._workspace_for(rows, one_batch=True)
        if rows.weights.size:
            # Summed one after the other, as a step does it, and not in pairs, as NumPy does.
            rows = rows.weighted(rows.weights)
            rows.mass = float(np.cumsum(rows.weights)[-1])
        if rows.mass == 0.0:
            raise ZeroDivisionError("Weights sum to zero, can't be normalized")
        whole = self._whole_workspace(own)
        whole.plan[p.LOSS] = own.plan[p.LOSS]
        whole.numbers[p.STEPS] = own.numbers[p.STEPS]
        whole.losses[p.LOSS_SUM] = 0.0
        whole.grad = out
        out.fill(0.0)
        whole.call(
            p.GRADIENT,
            engine.params,
            rows,
            begin=0,
            end=rows.n,
            seed=session._seed,
            team=self._team(rows),
        )
        value = whole.losses[p.LOSS_SUM]
        if session.alpha or any(layer.l1 or layer.l2 for layer in engine.layers):
            value += outside.penalize(own.job, engine.params, out, rows.mass)
        return value

    def apply(self, gradient: Array, learning_rate: float) -> None:
        """Take a step with a gradient, laid out as theta; its padding is not looked at."""
        session, engine = self.session, self.session.engine
        if session.rule.own is not None:
            self._apply_own(gradient, learning_rate)
            return
        if self._buffer is None:
            self._buffer = aligned_zeros(engine.layout.size, engine.dtype)
        for place, values in zip(
            _parts(*engine.views(self._buffer)), _parts(*engine.views(gradient)), strict=True
        ):
            place[...] = values
        session._begin(learning_rate)
        outside.apply(
            session._workspace.job, engine.params, self._buffer, session._state, float(learning_rate)
        )

    def _apply_own(self, gradient: Array, learning_rate: float) -> None:
        """Take a step of the user's rule; nothing has changed if it raises."""
        session, engine = self.session, self.session.engine
        flat = _packed(*engine.views(gradient))
        largest = session.max_grad_norm
        if largest is not None:
            norm = math.sqrt(float(np.square(flat, dtype=np.float64).sum()))
            # NaN compares false and leaves the gradient as it is: divergence must show.
            if largest / (norm + 1e-6) < 1.0:
                flat *= flat.dtype.type(largest / (norm + 1e-6))
        theta, state = session.rule.own.stepped(
            _packed(engine.weights, engine.biases),
            flat,
            session.slots,
            session.step + 1,
            float(learning_rate),
        )
        start = 0
        for place in _parts(engine.weights, engine.biases):
            place[...] = theta[start : start + place.size].reshape(place.shape)
            start += place.size
        for name, values in state.items():
            session.slots[name][...] = values
        session._workspace.numbers[p.STEPS] += 1

    def _team(self, rows: Rows) -> int:
        return self.session._team_for(self.session._pace.team, rows.n, rows)

    def _whole_workspace(self, own: Workspace) -> Workspace:
        """Return a workspace like the session's whose gradient is written whole."""
        if self._whole is None or self._beside is not own:
            session = self.session
            self._whole = Workspace(own.layout, session.batch_size, session.objective, threads=own.threads)
            self._beside = own
        return self._whole

    @contextmanager
    def given(self) -> Iterator[None]:
        """Within it, the session's loss is `GIVEN`."""
        plan = self.session._workspace.plan
        loss = plan[p.LOSS]
        plan[p.LOSS] = losses.GIVEN
        try:
            yield
        finally:
            plan[p.LOSS] = loss


def _parts(weights: Sequence[Array], biases: Sequence[Array | None]) -> Iterator[Array]:
    """Yield the arrays of a network in the order W, b of each layer."""
    for pair in zip(weights, biases, strict=True):
        yield from (part for part in pair if part is not None)


def _packed(weights: Sequence[Array], biases: Sequence[Array | None]) -> Array:
    """Return one array of all numbers without padding."""
    return np.concatenate([part.reshape(-1) for part in _parts(weights, biases)])
