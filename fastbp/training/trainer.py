"""`Trainer`: one optimizer at work on one model, step by step."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastbp import objectives, optimizers
from fastbp.arrays import refuse_nonfinite, to_matrix
from fastbp.engine.engine import Engine
from fastbp.engine.memory import aligned_zeros
from fastbp.engine.outside import Outside
from fastbp.engine.own import new_session
from fastbp.engine.rows import Rows
from fastbp.engine.session import Session
from fastbp.engine.sources import prepare, with_gradient
from fastbp.engine.spare import keep
from fastbp.engine.teams import held
from fastbp.schedules import Schedule
from fastbp.validation import check_count, check_number, check_threads

__all__ = ["Model", "Trainer"]

INT64 = np.dtype(np.int64)


class Model(Protocol):
    """A model that can be trained, such as `fastbp.Sequential`."""

    engine: Engine

    def to_config(self) -> dict[str, Any]:
        """Return everything but the numbers as a dict of JSON types."""


class Trainer:
    """One optimizer at work on one model, for the user's own loop.

    Parameters
    ----------
    net : Sequential
        Trained in place.
    loss : str or Loss
        See `fastbp.objectives`.
    optimizer : Optimizer, Rule or str
        The trainer holds its state. A schedule per epoch reads `epoch`, which you increment.
    max_grad_norm : float, optional
        Clip the gradient of each batch to this global norm.
    seed : int or None
        Of the dropout.
    n_threads : int or None
        None or -1: all cores this process may use, if they make it faster.

    Attributes
    ----------
    epoch : int
        Finished epochs, for schedules per epoch.
    steps : int
        Batches done; it may be set, as may the arrays in `slots` (the optimizer's state).

    Examples
    --------
    >>> import numpy as np
    >>> import fastbp as fb
    >>> net = fb.Sequential([fb.Dense(1, initializer="zeros")], n_inputs=1)
    >>> trainer = fb.Trainer(net, loss="mse", optimizer=fb.SGD(0.1))
    >>> x, y = np.ones((4, 1), np.float32), np.full((4, 1), 2, np.float32)
    >>> [round(trainer.step(x, y), 4) for _ in range(3)]
    [4.0, 1.44, 0.5184]

    The same step in parts, if the loss is computed elsewhere:

    >>> out = trainer.forward(x)
    >>> trainer.step_from(x, 2 * (out - y) / 4)

    Or if the gradient is to be seen or changed:

    >>> loss, gradient = trainer.gradient(x, y)
    >>> trainer.apply(gradient)
    >>> round(loss, 4), round(trainer.step(x, y), 4)
    (0.0672, 0.0242)
    """

    __module__ = "fastbp"

    def __init__(
        self,
        net: Model,
        loss: objectives.LossLike = "mse",
        optimizer: str | optimizers.Optimizer = "adam",
        *,
        max_grad_norm: float | None = None,
        seed: int | None = 0,
        n_threads: int | None = None,
    ) -> None:
        self.net = net
        self.engine: Engine = net.engine
        self.objective = objectives.get(loss)
        objectives.check_output(self.engine.layers[-1].activation, self.objective)
        self.optimizer = optimizers.get(optimizer)
        self.schedule = self.optimizer.schedule
        self.max_grad_norm = (
            None
            if max_grad_norm is None
            else check_number(max_grad_norm, "max_grad_norm", 0.0, open_low=True)
        )
        self.seed = (
            int(np.random.default_rng().integers(2**31)) if seed is None else check_count(seed, "seed", 0)
        )
        self.n_threads = check_threads(n_threads)
        self.epoch = 0
        rate = self.optimizer.learning_rate
        self._rate = None if isinstance(rate, Schedule) else float(rate)
        self._dtype = self.engine.dtype
        self._codes = self.objective.name == "cross_entropy"
        self._session: Session | None = None  # made when the size of a batch is known
        self._outside: Outside | None = None
        self._turn = self.engine.training_lock.turn

    def step(self, x: Any, y: Any, sample_weight: ArrayLike | None = None) -> float:
        """Train on one batch: forward, backward, update. Returns its loss before the update.

        Parameters
        ----------
        x : array-like of shape (n, n_inputs)
        y : array-like
            As in `Sequential.fit`.
        sample_weight : array of shape (n,), optional

        Returns
        -------
        float
            The mean loss, penalties included. If it is NaN, it is returned and nothing is raised.

        Notes
        -----
        Fastest with C-contiguous arrays of the model's dtype and y of shape (n, n_outputs), or int64 class codes: they
        are used as they are and not searched for NaN. Everything else is checked and converted first.
        """
        if sample_weight is None:
            # The quick way of a `TrainingLock`.
            turn = self._turn
            try:
                del turn.free
            except AttributeError:
                pass
            else:
                try:
                    session = self._session
                    if session is not None and session.prepared is not None and not turn.closed:
                        rate = self._rate
                        loss = session.prepared(x, y, self._scheduled(session) if rate is None else rate)
                        if loss is not None:
                            return loss
                finally:
                    turn.free = True
            del turn
        return self._step(x, y, sample_weight)

    def _step(self, x: Any, y: Any, sample_weight: ArrayLike | None) -> float:
        """`step` for a batch that is not like the one before, or if somebody has trained the model since then."""
        lock = self.engine.training_lock
        within = held(lock)  # a callback of a training that goes on
        if sample_weight is None and self._session is not None:
            with lock:
                session: Session | None = self._session
                if session is not None and session.prepared is not None:
                    loss = session.prepared(x, y, self._next_rate(session))
                    if loss is not None:
                        if not within:
                            lock.open()
                        return loss
        plain = (
            type(x) is np.ndarray
            and type(y) is np.ndarray
            and sample_weight is None
            and x.dtype is self._dtype
            and (
                (y.dtype is self._dtype and y.ndim == 2) or (self._codes and y.dtype is INT64 and y.ndim == 1)
            )
            and x.flags.c_contiguous
        )
        if plain:
            rows = Rows(self.engine.layout, x, y, None, self.objective)
        else:
            rows = prepare(self.engine.layout, x, y, sample_weight, self.objective).whole()
        with lock:
            session = self._session
            if session is None or rows.n > session.batch_size:
                session = self.reserve(rows.n)
            loss = session.update(rows, self._next_rate(session))
            if plain:
                session.prepare(x, y, rows)
            if not within:
                lock.open()
        return loss

    def forward(self, x: Any) -> NDArray[Any]:
        """Return the outputs that the next step sees, its dropout included; nothing changes.

        Parameters
        ----------
        x : array-like of shape (n, n_inputs)

        Returns
        -------
        array of shape (n, n_outputs)
            Of the model's dtype; yours to keep. Without dropout these are the numbers of `Sequential.predict`.
        """
        rows = with_gradient(self.engine.layout, x)
        with self.engine.training_lock:
            return self._parts(rows.n).outputs(rows)

    def step_from(self, x: Any, grad: Any) -> None:
        """Train on one batch by dE/d out, for any E that you have computed from `forward`: backward and update.

        Parameters
        ----------
        x : array-like of shape (n, n_inputs)
        grad : array-like of shape (n, n_outputs)
            dE/d out, and not its mean: what a mean divides by is in it already.

        Raises
        ------
        TypeError, ValueError
            Arrays that do not fit, or NaN and infinity, with their row and column. Nothing has changed then.

        Notes
        -----
        The outputs are computed once more, from `x`, the present weights and the masks of this step. So it does not
        depend on `forward` having been called: `grad` is taken as the derivative at the outputs of the rows of `x`. The
        layers' penalties are added, and clipping, schedule and optimizer are those of `step`, whose loss is not used.
        """
        rows = with_gradient(self.engine.layout, x, grad)
        with self.engine.training_lock:
            parts = self._parts(rows.n)
            parts.step(rows, self._next_rate(parts.session))

    def gradient(
        self, x: Any, y: Any, out: NDArray[Any] | None = None, *, sample_weight: ArrayLike | None = None
    ) -> tuple[float, NDArray[Any]]:
        """Return the loss of one batch and the gradient that `step` would use; nothing changes.

        Parameters
        ----------
        x, y, sample_weight
            As in `step`.
        out : array, optional
            From an earlier call: overwritten and returned.

        Returns
        -------
        float
            The mean loss, penalties included.
        array
            The gradient of this loss, flat and laid out as ``net.engine.theta``, with the dropout of the next step, not
            yet clipped. ``net.engine.views(gradient)`` are its weights and biases.

        Raises
        ------
        TypeError, ValueError
            As `step`; or `out` does not fit.
        """
        rows = prepare(self.engine.layout, x, y, sample_weight, self.objective).whole()
        layout, theta = self.engine.layout, self.engine.theta
        if out is None:
            out = aligned_zeros(layout.size, layout.dtype)
        elif (
            type(out) is not np.ndarray
            or out.shape != theta.shape
            or out.dtype != theta.dtype
            or not out.flags.carray
            or any(np.may_share_memory(out, read) for read in (theta, rows.values, rows.y, rows.weights))
        ):
            raise ValueError(
                f"out must be a contiguous {theta.dtype} array of shape {theta.shape} that shares no memory with the "
                "model or the data, such as an earlier call has returned"
            )
        with self.engine.training_lock:
            return self._parts(rows.n).gradient_of(rows, out), out

    def apply(self, grad: Any) -> None:
        """Update the model by a gradient, as `step` does by its own: clipped, with the next learning rate.

        Parameters
        ----------
        grad : array
            Of the shape of ``net.engine.theta``, from `gradient`, or ``theta`` of what `Sequential.value_and_grad`
            returns. The layers' penalties must be in it, the optimizer's weight decay not.

        Raises
        ------
        TypeError, ValueError
            Another shape, no real numbers, or NaN and infinity. Nothing has changed then.

        Notes
        -----
        ``trainer.apply(trainer.gradient(x, y)[1])`` leaves the same bits as ``trainer.step(x, y)``. Only a trainer that
        has seen no batch of more than one row, with plain SGD and without penalties, clipping and dropout, rounds
        differently: it has a shorter way through the weights, which makes no gradient.
        """
        layout = self.engine.layout
        flat = to_matrix(grad, layout.dtype, "grad", finite=False)
        if flat.shape != (layout.size,):
            raise ValueError(
                f"grad must have the shape of net.engine.theta, {(layout.size,)}, got {flat.shape}"
            )
        for number, pair in enumerate(zip(*layout.views(flat), strict=True)):
            for name, part in zip(("weights", "biases"), pair, strict=True):
                if part is not None:
                    refuse_nonfinite(part, f"grad: {name} of layer {number}")
        with self.engine.training_lock:
            parts = self._parts(1)
            parts.apply(flat, self._next_rate(parts.session))

    def _parts(self, rows: int) -> Outside:
        """Return the parts of a step of so many rows."""
        session = self.reserve(rows)
        if self._outside is None:
            self._outside = Outside(session)
        return self._outside

    def _next_rate(self, session: Session) -> float:
        """Return the learning rate of the next step."""
        return self._scheduled(session) if self._rate is None else self._rate

    def _scheduled(self, session: Session) -> float:
        """Return the learning rate of the next step by the schedule."""
        return self.schedule(self.epoch if self.schedule.per == "epoch" else session.step)

    @property
    def session(self) -> Session:
        """The session, which holds the optimizer's state and trains batches."""
        return self._session or self.reserve(1)

    @property
    def steps(self) -> int:
        """Batches done so far."""
        return self.session.step

    @steps.setter
    def steps(self, value: int) -> None:
        self.session.step = check_count(value, "steps", 0, optimizers.MOST_STEPS)

    @property
    def slots(self) -> dict[str, NDArray[Any]]:
        """The optimizer's state: live flat arrays, laid out like ``net.engine.theta``; of a `Rule`, without padding."""
        return self.session.slots

    def reserve(self, rows: int) -> Session:
        """Make room for batches of `rows` rows, and return the session; the optimizer's state is kept."""
        session = self._session
        if session is None:
            session = self._session = new_session(
                self.engine,
                self.objective,
                self.optimizer.rule(),
                batch_size=rows,
                max_grad_norm=self.max_grad_norm,
                seed=self.seed,
                n_threads=self.n_threads,
                by_weight=True,
            )
        elif rows > session.batch_size:
            session.resize(rows)
        return session

    def release(self) -> None:
        """Leave the session to the trainings to come: this trainer is not used any more, and nobody else has it."""
        if self._session is not None:
            keep(self._session)
            self._session = None
