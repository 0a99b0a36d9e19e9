"""The stochastic solvers of the estimators: the loop over epochs.

Everything here follows scikit-learn's rules where it has one (what stops a fit, what a warm start goes on from,
when the learning rate changes), so that its numbers come out; the arithmetic is the engine's.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from fastbp.callbacks.hooks import CallbackList, Run
from fastbp.engine.rows import Rows
from fastbp.engine.session import Session
from fastbp.estimators.optimizer import Array, StochasticOptimizer, say

if TYPE_CHECKING:
    from fastbp.estimators.base import BaseMLP


# Frames between warnings.warn in `Training.run` and the user's call of fit, whose line the warning shall name.
CALLER = 7


@dataclass
class TrainingData:
    """Rows as the engine takes them: x (n, i), y (n, o) or codes (n,), weights (n,) or None."""

    x: Any
    y: Array
    sample_weight: Array | None

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self.x.shape[0])


@dataclass
class ValidationData(TrainingData):
    """Held-out rows; `target` is y as the user gave it, which the score is measured against."""

    target: Array
    from_user: bool


class Training:
    """One call of fit or partial_fit: epochs, records, and what stops them.

    Parameters
    ----------
    estimator : BaseMLP
        With coefs_, intercepts_, _optimizer and begun records; they are kept up to date, the weights written back
        at the end.
    session : Session
        Of `StochasticOptimizer.session`.
    data : TrainingData
        Rows to train on.
    validation : ValidationData or None
        Rows for early stopping, or of the user's validation set.
    loss_dtype : type
        Of the entries of loss_curve_.
    """

    def __init__(
        self,
        estimator: BaseMLP,
        session: Session,
        data: TrainingData,
        validation: ValidationData | None,
        loss_dtype: type[np.floating[Any]],
    ) -> None:
        self.estimator, self.session, self.data, self.validation = estimator, session, data, validation
        self.loss_dtype = loss_dtype
        self.rows = Rows(session.engine.layout, data.x, data.y, data.sample_weight, session.objective)
        self.order = np.arange(len(data), dtype=np.int64)
        self.best: Array | None = None  # the parameters of the best validation score of this call
        self.view = Run(estimator, session.engine.theta, estimator.max_iter, len(data))
        self.hooks = CallbackList(estimator.callbacks or (), self.view)

    def run(self, *, incremental: bool) -> None:
        """Train, for one epoch only if incremental.

        Raises
        ------
        ValueError
            The weights that come out are not finite.
        ZeroDivisionError
            The weights of a batch sum to zero.

        Warns
        -----
        ConvergenceWarning
            max_iter was reached.
        UserWarning
            Training was interrupted by the user.
        """
        try:
            self.hooks.fit_begin()
            try:
                self.epochs(incremental)
            except KeyboardInterrupt:
                warnings.warn("Training interrupted by user.", stacklevel=CALLER)
            self.hooks.fit_end()
        finally:
            self.hooks.close()
        self.write_back()
        self.estimator._optimizer.step = self.session.step

    def epochs(self, incremental: bool) -> None:
        """Train epoch by epoch until something says stop."""
        estimator = self.estimator
        optimizer: StochasticOptimizer = estimator._optimizer
        for epoch in range(estimator.max_iter):
            self.view.epoch = epoch
            self.hooks.epoch_begin(epoch)
            started = time.perf_counter()
            self.epoch()
            self.record()
            optimizer.end_of_epoch(estimator.t_)
            if self.ends(epoch, time.perf_counter() - started) or incremental:
                break
            if estimator.n_iter_ == estimator.max_iter:
                warnings.warn(
                    f"Stochastic Optimizer: Maximum iterations ({estimator.max_iter}) reached and the optimization "
                    "hasn't converged yet.",
                    ConvergenceWarning,
                    stacklevel=CALLER + 1,
                )

    def epoch(self) -> None:
        """Train once on every row, in pieces between which Ctrl-C and callbacks come to their right."""
        estimator, view, data = self.estimator, self.view, self.data
        if estimator.shuffle:
            # The permutations compose over the epochs of one call, as scikit-learn's do.
            permutation = np.arange(len(data))
            estimator._random_state.shuffle(permutation)
            self.order = self.order[permutation]
        view.samples_done, view.loss_sum = 0, 0.0
        view.learning_rate = estimator._optimizer.base_rate * view.learning_rate_scale
        self.session.loss_sum = 0.0  # added up there, the sum does not depend on the cuts into chunks
        begun = time.perf_counter()
        for rows, _ in self.session.chunks(self.rows, self.order, view.learning_rate):
            view.samples_done += rows
            view.loss_sum = self.session.loss_sum
            now = time.perf_counter()
            if self.hooks.chunk_end(now - begun, rows):
                break  # an epoch cut short is recorded like the others, by the rows it has seen
            begun = now

    def record(self) -> None:
        """Note what the epoch brought: losses, scores, and whether that was an improvement."""
        estimator = self.estimator
        estimator.n_iter_ += 1
        estimator.loss_ = self.loss_dtype(self.view.loss_sum / self.view.samples_done)
        estimator.t_ += self.view.samples_done
        estimator.loss_curve_.append(estimator.loss_)
        say(estimator.verbose, f"Iteration {estimator.n_iter_:d}, loss = {estimator.loss_:.8f}")
        if self.validation is not None and self.validation.from_user:
            estimator.validation_loss_curve_.append(self.validation_loss(self.validation))
        if estimator.early_stopping:
            assert self.validation is not None
            self.record_score(self.validation)
            return
        # Not `>=` of the contrary: a NaN loss is an improvement to scikit-learn.
        if estimator.loss_ > estimator.best_loss_ - estimator.tol:
            estimator._no_improvement_count += 1
        else:
            estimator._no_improvement_count = 0
        if estimator.loss_ < estimator.best_loss_:
            estimator.best_loss_ = estimator.loss_

    def record_score(self, validation: ValidationData) -> None:
        """Score the held-out rows; keep the parameters if they are the best so far."""
        estimator, engine = self.estimator, self.session.engine
        raw = engine.predict(validation.x, n_threads=estimator.n_threads)
        score = estimator._score_raw(raw, validation.target, validation.sample_weight)
        estimator.validation_scores_.append(score)
        say(estimator.verbose, f"Validation score: {score:f}")
        if score < estimator.best_validation_score_ + estimator.tol:
            estimator._no_improvement_count += 1
        else:
            estimator._no_improvement_count = 0
        if score > estimator.best_validation_score_:
            estimator.best_validation_score_ = score
            self.best = engine.theta.copy()

    def validation_loss(self, validation: ValidationData) -> float:
        """Return the loss, without penalty, of the user's validation rows."""
        return float(
            self.session.engine.loss(
                validation.x,
                validation.y,
                self.estimator._objective(self.session.engine.dtype),
                sample_weight=validation.sample_weight,
                penalty=False,
                n_threads=self.estimator.n_threads,
            )
        )

    def ends(self, epoch: int, seconds: float) -> bool:
        """Return whether callbacks, patience or parameters beyond all hope end the training after this epoch."""
        estimator, optimizer = self.estimator, self.estimator._optimizer
        if self.hooks.callbacks:
            logs = {
                "loss": float(estimator.loss_),
                "learning_rate": float(self.view.learning_rate),
                "epoch_seconds": seconds,
            }
            if self.validation is not None and self.validation.from_user:
                logs["val_loss"] = estimator.validation_loss_curve_[-1]
            if estimator.early_stopping:
                logs["val_score"] = estimator.validation_scores_[-1]
            for name, value in logs.items():
                self.view.history.setdefault(name, []).append(value)
            if self.hooks.epoch_end(epoch, logs):
                return True
        if not (
            np.isfinite(estimator.loss_) or estimator.early_stopping or np.isfinite(self.view.theta).all()
        ):
            return True  # what is not finite stays so, and is refused at the end: scikit-learn's epochs are spared
        if estimator._no_improvement_count <= estimator.n_iter_no_change:
            return False
        what = "Validation score" if estimator.early_stopping else "Training loss"
        message = (
            f"{what} did not improve more than tol={estimator.tol:f} for {estimator.n_iter_no_change} "
            "consecutive epochs."
        )
        if optimizer.out_of_patience(message, estimator.verbose):
            return True
        estimator._no_improvement_count = 0
        return False

    def write_back(self) -> None:
        """Bring the trained parameters to coefs_ and intercepts_, if they are finite.

        scikit-learn trains coefs_ in place, and early stopping ends by making the best copies *be* coefs_. A warm
        start after that trains the best copies themselves until a better score is seen; so do we, to arrive at its
        numbers.
        """
        estimator, engine = self.estimator, self.session.engine
        if estimator.early_stopping and self.best is not None:
            estimator.coefs_ = [np.empty_like(coef) for coef in estimator.coefs_]
            estimator.intercepts_ = [np.empty_like(intercept) for intercept in estimator.intercepts_]
            engine.theta[:] = self.best
        elif estimator.early_stopping and estimator._best_coefs is not estimator.coefs_:
            estimator.coefs_, estimator.intercepts_ = estimator._best_coefs, estimator._best_intercepts
            engine.set_parameters(estimator.coefs_, estimator.intercepts_)
        check_finite([engine.theta])
        _store(estimator.coefs_, engine.weights)
        _store(estimator.intercepts_, engine.biases)
        if estimator.early_stopping:
            estimator._best_coefs, estimator._best_intercepts = estimator.coefs_, estimator.intercepts_


def _store(old: list[Array], new: Sequence[Array | None]) -> None:
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
