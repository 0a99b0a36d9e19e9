"""The stochastic solvers of the estimators: the optimizer kept between calls, and the loop over epochs.

Everything here follows scikit-learn's rules where it has one (what stops a fit, what a warm start goes on from,
when the learning rate changes), so that its numbers come out; the arithmetic is the engine's.
"""

from __future__ import annotations

import math
import sys
import time
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from fastbp.engine import Engine, Layer, Objective, Rule, Session
from fastbp.hooks import CallbackList, Run

if TYPE_CHECKING:
    from fastbp.estimators_base import BaseMLP


# Frames between warnings.warn in `Training.run` and the user's call of fit, whose line the warning shall name.
CALLER = 7


@dataclass
class TrainingData:
    """Rows as the engine takes them: x (n, i), y (n, o) or codes (n,), weights (n,) or None."""

    x: Any
    y: np.ndarray
    sample_weight: np.ndarray | None

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self.x.shape[0])


@dataclass
class ValidationData(TrainingData):
    """Held-out rows; `target` is y as the user gave it, which the score is measured against."""

    target: np.ndarray
    from_user: bool


class StochasticOptimizer:
    """Optimizer of one estimator: its frozen settings, its step count, its moments.

    The settings are those of the moment it was made, as in scikit-learn: `fit` makes a new one, `partial_fit` goes
    on with the one it finds. While `partial_fit` follows `partial_fit` the moments live in an engine session; a
    copy or a pickle holds them as plain arrays, one per weight matrix and bias, whatever the engine's own layout.

    Parameters
    ----------
    estimator : BaseMLP
        Whose parameters are copied.
    seed : int
        Of the dropout masks.

    Examples
    --------
    >>> from fastbp.estimators import MLPRegressor
    >>> StochasticOptimizer(MLPRegressor(learning_rate_init=0.5), seed=0).learning_rate
    0.5
    """

    def __init__(self, estimator: BaseMLP, seed: int) -> None:
        self.kind: str = estimator.solver
        self.learning_rate_init = float(estimator.learning_rate_init)
        self.schedule: str = estimator.learning_rate if self.kind == "sgd" else "constant"
        self.power_t = float(estimator.power_t)
        self.momentum = float(estimator.momentum)
        self.nesterov = bool(estimator.nesterovs_momentum)
        self.beta_1 = float(estimator.beta_1)
        self.beta_2 = float(estimator.beta_2)
        self.epsilon = float(estimator.epsilon)
        self.base_rate = self.learning_rate_init
        self.seed = seed
        self.step = 0
        self.slots: dict[str, list[np.ndarray]] = {}
        self._session: Session | None = None
        self._key: object = None

    @property
    def learning_rate(self) -> float:
        """The present learning rate; for Adam the one corrected for bias, as scikit-learn shows it."""
        t = self.step if self._session is None else self._session.step
        if self.kind == "adam" and t:
            return self.base_rate * math.sqrt(1.0 - self.beta_2**t) / (1.0 - self.beta_1**t)
        return self.base_rate

    @property
    def moved(self) -> bool:
        """Whether a training has begun and not come to its end."""
        return self._session is not None and self._session.step != self.step

    def rule(self, alpha: float) -> Rule:
        """Return the engine's update rule.

        sgd and adam are scikit-learn's formulas. The others are PyTorch's. In adamw `alpha` is the decoupled
        weight decay (Loshchilov and Hutter, 2019), no penalty in the loss.
        """
        if self.kind == "sgd":
            nesterov = self.nesterov and self.momentum > 0.0
            return Rule("sgd", momentum=self.momentum, nesterov=nesterov, velocity=True)
        if self.kind in ("adagrad", "rmsprop"):
            return Rule(self.kind, eps=self.epsilon)
        if self.kind == "rprop":
            return Rule("rprop")
        return Rule(
            self.kind,
            beta1=self.beta_1,
            beta2=self.beta_2,
            eps=self.epsilon,
            eps_inside=self.kind != "adam",
            weight_decay=alpha if self.kind == "adamw" else 0.0,
        )

    def session(
        self,
        estimator: BaseMLP,
        layers: tuple[Layer, ...],
        dtype: np.dtype,
        objective: Objective,
        batch_size: int,
    ) -> Session:
        """Return the session to train with, its engine holding the estimator's present weights.

        What scikit-learn reads anew at each call (alpha, activation, batch size ...) may have changed since the
        last one; then the session is made again around the old moments.
        """
        alpha = float(estimator.alpha)
        key = (
            estimator.coefs_[0].shape[0], layers, dtype, objective, batch_size, alpha, estimator.max_grad_norm,
            estimator.n_threads,
        )  # fmt: skip
        if self._session is None or key != self._key:
            self.detach()
            session = Session(
                Engine(key[0], layers, dtype),
                objective,
                self.rule(alpha),
                batch_size=batch_size,
                max_grad_norm=estimator.max_grad_norm,
                alpha=0.0 if self.kind == "adamw" else alpha,
                seed=self.seed,
                n_threads=estimator.n_threads,
            )
            session.step = self.step
            for name, values in self.slots.items():
                half = len(values) // 2
                session.slots[name][:] = _flat(session.engine, values[:half], values[half:])
            self._session, self._key = session, key
        self._session.engine.set_parameters(estimator.coefs_, estimator.intercepts_)
        return self._session

    def detach(self) -> None:
        """Let go of the session: keep its moments as plain arrays."""
        if self._session is not None:
            self.slots = self._portable_slots()
            self._session, self._key = None, None

    def _portable_slots(self) -> dict[str, list[np.ndarray]]:
        if self._session is None:
            return self.slots
        return {name: _unflat(self._session.engine, flat) for name, flat in self._session.slots.items()}

    def __getstate__(self) -> dict[str, Any]:
        """Leave the session behind: its layout belongs to this machine."""
        return {**self.__dict__, "slots": self._portable_slots(), "_session": None, "_key": None}

    def end_of_epoch(self, t: int) -> None:
        """Lower the rate by the inverse scaling schedule, t samples having been seen."""
        if self.schedule == "invscaling":
            self.base_rate = self.learning_rate_init / (t + 1) ** self.power_t

    def out_of_patience(self, message: str, verbose: object) -> bool:
        """Answer a loss that no longer improves: True to stop, or lower the rate of the adaptive schedule."""
        if self.schedule != "adaptive":
            _say(verbose, message + " Stopping.")
            return True
        if self.base_rate <= 1e-6:
            _say(verbose, message + " Learning rate too small. Stopping.")
            return True
        self.base_rate /= 5.0
        _say(verbose, message + f" Setting learning rate to {self.base_rate:f}")
        return False


def _flat(engine: Engine, weights: Sequence[np.ndarray], biases: Sequence[np.ndarray]) -> np.ndarray:
    """Return per-layer arrays in the flat layout of the engine."""
    other = engine.copy()
    other.theta[:] = 0.0
    other.set_parameters(weights, biases)
    return other.theta


def _unflat(engine: Engine, flat: np.ndarray) -> list[np.ndarray]:
    """Return a flat array of the engine's layout as plain arrays: all weights, then all biases."""
    other = engine.copy()
    other.theta[:] = flat
    return [np.array(part, order="C") for part in (*other.weights, *other.biases) if part is not None]


def _say(verbose: object, text: str) -> None:
    if verbose:
        sys.stdout.write(text + "\n")


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
        self.order = np.arange(len(data), dtype=np.int64)
        self.best: np.ndarray | None = None  # the parameters of the best validation score of this call
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
        estimator, optimizer = self.estimator, self.estimator._optimizer
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
        begun = time.perf_counter()
        for rows, loss in self.session.chunks(
            data.x, data.y, self.order, view.learning_rate, sample_weight=data.sample_weight
        ):
            view.samples_done += rows
            view.loss_sum += loss
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
        _say(estimator.verbose, f"Iteration {estimator.n_iter_:d}, loss = {estimator.loss_:.8f}")
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
        _say(estimator.verbose, f"Validation score: {score:f}")
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


def _store(old: list[np.ndarray], new: Sequence[np.ndarray | None]) -> None:
    """Copy into the arrays the user may hold; a read-only one (a memory map) gives way to a copy."""
    for i, values in enumerate(new):
        assert values is not None  # every layer of an estimator has a bias
        if not old[i].flags.writeable:
            old[i] = np.empty_like(old[i])
        old[i][...] = values


def check_finite(arrays: Iterable[np.ndarray]) -> None:
    """Refuse parameters that are not finite, in scikit-learn's words."""
    if not all(np.isfinite(array).all() for array in arrays):
        raise ValueError(
            "Solver produced non-finite parameter weights. The input data may contain large values and need to be"
            " preprocessed."
        )
