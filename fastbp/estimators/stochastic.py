"""The stochastic solvers of the estimators: scikit-learn's rules for epochs, on fastbp's loop.

What stops a fit, what a warm start continues, when the learning rate changes: all of this follows scikit-learn, so that
the numbers are the same. The engine does the arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from fastbp.callbacks.hooks import Callback, Logs, Run, as_list
from fastbp.engine.rows import Rows
from fastbp.engine.session import Session
from fastbp.engine.workspace import EMPTY_ORDER
from fastbp.estimators.optimizer import StochasticOptimizer
from fastbp.estimators.parameters import Array, Parameters
from fastbp.estimators.report import say
from fastbp.notices import warn
from fastbp.training.loop import Loop


class Validation(NamedTuple):
    """Held-out rows, and the score of the network's raw outputs for them; early stopping's own are not `from_user`."""

    rows: Rows
    score: Callable[[Array], float]
    from_user: bool


@dataclass(slots=True)
class Records:
    """What one call of fit or partial_fit records; the lists hold the entries of this call only.

    Attributes
    ----------
    t : int
        Rows seen, in earlier calls too.
    best_loss, best_score, no_improvement
        They decide when patience is used up; a warm start begins with those of the call before.
    n_iter : int
        Epochs of this call.
    loss : float
        Of the last epoch.
    best : ndarray or None
        The parameters of the best validation score of this call.
    """

    t: int
    best_loss: Any
    best_score: Any
    no_improvement: int
    n_iter: int = 0
    loss: Any = None
    losses: list[Any] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    validation_losses: list[float] = field(default_factory=list)
    best: Array | None = None


class StochasticLoop(Loop):
    """The epochs of one call of fit or partial_fit.

    Parameters
    ----------
    estimator : Parameters
        Its parameters are read in every epoch, as in scikit-learn; nothing is written to it.
    session : Session
        Of the optimizer.
    optimizer : StochasticOptimizer
    rng : numpy.random.RandomState
        Of the orders.
    rows : Rows
    index : ndarray of int64, optional
        Which of the rows to train on; None: all.
    validation : Validation or None
    records : Records
        As the call before has left them; the loop updates them.
    loss_dtype : type
        Of `records.losses`.
    incremental : bool
        One epoch only.
    watchers : sequence of Callback
        Called after the callbacks of the estimator.
    """

    def __init__(
        self,
        estimator: Parameters,
        session: Session,
        optimizer: StochasticOptimizer,
        rng: np.random.RandomState,
        rows: Rows,
        index: Array | None,
        validation: Validation | None,
        records: Records,
        loss_dtype: type[np.floating[Any]],
        *,
        incremental: bool,
        watchers: Sequence[Callback] = (),
    ) -> None:
        epochs = 1 if incremental else estimator.max_iter
        self.order = np.arange(rows.n, dtype=np.int64) if index is None else index.astype(np.int64)
        run = Run(estimator, session.engine.theta, epochs, len(self.order))
        super().__init__(run, [*as_list(estimator.callbacks), *watchers])
        self.estimator, self.session, self.optimizer, self.rng = estimator, session, optimizer, rng
        self.rows, self.validation, self.records = rows, validation, records
        self.loss_dtype, self.incremental, self._whole = loss_dtype, incremental, index is None
        # The rate of `invscaling` changes with every epoch.
        self._unseen = optimizer.schedule != "invscaling"

    def epochs(self) -> None:
        """Train all epochs, and warn if they were not enough.

        Warns
        -----
        ConvergenceWarning
            max_iter was reached.
        """
        super().epochs()
        if self.finished and not (self.incremental or self.ended or self.run.stopped):
            warn(
                f"Stochastic Optimizer: Maximum iterations ({self.estimator.max_iter}) reached and the optimization "
                "hasn't converged yet.",
                ConvergenceWarning,
            )

    def interrupted(self) -> bool:
        """Keep what was trained, with a warning."""
        warn("Training interrupted by user.")
        return True

    def ahead(self) -> int:
        """Return how many epochs may be trained at once: those that no rule can end before, 50 ms of them at most."""
        records, estimator, run = self.records, self.estimator, self.run
        if self.validation is not None or not (self._unseen and self.hooks.late):
            return 0
        # Each epoch without an improvement brings the end nearer by one.
        patience = estimator.n_iter_no_change - records.no_improvement + 1
        return int(min(self.until - run.epoch, max(patience, 1), self.session.passes_in_a_call(run.samples)))

    def passes(self, count: int) -> Iterable[tuple[float, float]] | None:
        """Train `count` epochs in one compiled call; see `Loop.passes`."""
        run, session, n = self.run, self.session, len(self.order)
        before = self.order, self.rng.get_state(legacy=False) if count > 1 else {}
        orders = EMPTY_ORDER
        if self.estimator.shuffle:
            orders = np.empty((count, n), np.int64)
            for k in range(count):
                self.order = orders[k] = self._next_order()
        elif not self._whole:
            orders = np.tile(self.order, (count, 1))
        rate = float(self.optimizer.base_rate * run.learning_rate_scale)
        sums = session.passes(self.rows, orders, rate, count)
        if sums is not None:
            return [(total, rate) for total in sums]
        self.order, generator = before
        self.rng.set_state(generator)
        self._unseen = False
        return None

    def _next_order(self) -> Array:
        """Return the order of the next epoch: the permutations compose over one call, as scikit-learn's do."""
        permutation = np.arange(len(self.order))
        self.rng.shuffle(permutation)
        return self.order[permutation]

    def chunks(self) -> Iterator[tuple[int, float]]:
        """Train once on every row."""
        run, session = self.run, self.session
        if self.estimator.shuffle:
            self.order = self._next_order()
        run.learning_rate = float(self.optimizer.base_rate * run.learning_rate_scale)
        session.loss_sum = 0.0  # the session adds up, so that the sum does not depend on the cuts into chunks
        for rows, _ in session.chunks(self.rows, self.order, run.learning_rate):
            yield rows, session.loss_sum

    def measure(self) -> Logs:
        """Note what the epoch brought: losses, scores, and whether that was an improvement.

        An epoch cut short by a callback is recorded like the others, by the rows it has seen.
        """
        records, estimator, validation, seen = (
            self.records,
            self.estimator,
            self.validation,
            self.run.samples_done,
        )
        records.n_iter += 1
        records.loss = np.float64(
            self.run.loss_sum / seen
        )  # decisions hang on it: not in scikit-learn's dtype
        records.t += seen
        records.losses.append(self.loss_dtype(records.loss))
        say(estimator.verbose, f"Iteration {records.n_iter:d}, loss = {records.loss:.8f}")
        logs = {"loss": float(records.loss)}
        if validation is not None and validation.from_user:
            logs["val_loss"] = self.session.engine.loss_of(
                validation.rows, self.session.objective, penalty=False, n_threads=estimator.n_threads
            )
            records.validation_losses.append(logs["val_loss"])
        if estimator.early_stopping:
            assert validation is not None
            logs["val_score"] = self._score(validation)
        else:
            # `>`, not the negation of `<=`: to scikit-learn a NaN loss is an improvement.
            worse = records.loss > records.best_loss - estimator.tol
            records.no_improvement = records.no_improvement + 1 if worse else 0
            if records.loss < records.best_loss:
                records.best_loss = records.loss
        self.optimizer.end_of_epoch(records.t)
        return logs

    def _score(self, validation: Validation) -> float:
        """Score the held-out rows; keep the parameters if they are the best so far."""
        records, estimator, engine = self.records, self.estimator, self.session.engine
        score = validation.score(engine.predict(validation.rows, n_threads=estimator.n_threads))
        records.scores.append(score)
        say(estimator.verbose, f"Validation score: {score:f}")
        worse = score < records.best_score + estimator.tol
        records.no_improvement = records.no_improvement + 1 if worse else 0
        if score > records.best_score:
            records.best_score = score
            records.best = engine.theta.copy()
        return score

    def ends(self) -> bool:
        """Whether the patience is used up, or the parameters are not finite, and the training ends."""
        records, estimator = self.records, self.estimator
        if not (np.isfinite(records.loss) or estimator.early_stopping or np.isfinite(self.run.theta).all()):
            return True  # they stay so and are refused at the end; scikit-learn trains on until then
        if records.no_improvement <= estimator.n_iter_no_change:
            return False
        what = "Validation score" if estimator.early_stopping else "Training loss"
        message = (
            f"{what} did not improve more than tol={estimator.tol:f} for {estimator.n_iter_no_change} "
            "consecutive epochs."
        )
        if self.optimizer.out_of_patience(message, estimator.verbose):
            return True
        records.no_improvement = 0
        return False


def store(old: list[Array], new: Sequence[Array | None]) -> None:
    """Copy into the arrays the user may hold; a read-only one (a memory map) gives way to a copy."""
    for i, values in enumerate(new):
        assert values is not None  # every layer of an estimator has a bias
        if not old[i].flags.writeable:
            old[i] = np.empty_like(old[i])
        old[i][...] = values


def check_finite(arrays: Iterable[Array]) -> None:
    """Refuse parameters that are not finite, in scikit-learn's words."""
    if not all(np.isfinite(array).all() for array in arrays):
        raise ValueError(
            "Solver produced non-finite parameter weights. The input data may contain large values and need to be"
            " preprocessed."
        )
