"""How the estimators train: rows and records for the loops of the solvers, and what is taken from them at the end."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.model_selection import train_test_split
from sklearn.utils.validation import validate_data

from fastbp.arrays import all_finite
from fastbp.estimators.checks import checked_numbers, checked_weights
from fastbp.estimators.optimizer import StochasticOptimizer
from fastbp.estimators.parameters import Array, DType, Parameters
from fastbp.estimators.part import Part
from fastbp.estimators.predict import SMALL, PredictMixin
from fastbp.notices import warn
from fastbp.objectives import Objective
from fastbp.validation import shown

if TYPE_CHECKING:  # what trains loads the kernels
    from fastbp.callbacks import Callback
    from fastbp.engine.layout import Layout
    from fastbp.estimators.lbfgs import Problem
    from fastbp.estimators.stochastic import Records, StochasticLoop, Validation


# Beyond this float32 swallows a difference of 1 between target and output. The first steps of L-BFGS have that size: it
# would see neither loss nor gradient change, and stop.
LARGE_TARGET = 2.0**24


class SolverMixin(PredictMixin, metaclass=ABCMeta):
    """Adds the solvers to a class that knows its loss and its score."""

    # What a fit leaves; see the docstrings of the two estimators for the public ones.
    loss_: Any
    loss_curve_: list[Any]
    best_loss_: Any
    validation_scores_: Any
    best_validation_score_: Any
    validation_loss_curve_: Any
    n_iter_: int
    n_outputs_: int
    t_: int
    _no_improvement_count: int
    _optimizer: StochasticOptimizer
    _random_state: np.random.RandomState
    _best_coefs: list[Array]
    _best_intercepts: list[Array]

    # -- what the two estimators do differently --------------------------------------------------------------------

    @abstractmethod
    def _validation_target(self, y: Any) -> Array:
        """Return y of the user's validation set in the form `_validate_input` gives."""

    @abstractmethod
    def _objective(self, dtype: DType) -> Objective:
        """Return the loss; it, not the network, applies softmax, the logistic function and exp to the output."""

    @abstractmethod
    def _score_raw(self, raw: Array, target: Array, sample_weight: Array | None) -> float:
        """Return the validation score of the network's raw outputs."""

    def _stratified(self) -> bool:
        return False

    def _loss_dtype(self, X: Any, y: Array, sample_weight: Array | None) -> type[np.floating[Any]]:
        """Return the type of loss_ and of the entries of loss_curve_ that NumPy's promotion gives scikit-learn."""
        return np.float64

    def _as_target(self, y: Array) -> Array:
        """Return binarized y in the form `_validate_input` gives."""
        return y

    def _validate_fit(self, X: Any, y: Any, *, reset: bool, **checks: Any) -> tuple[Any, Any]:
        """Return X and y checked as scikit-learn's `validate_data` does, which takes 200 us for small arrays."""
        dtypes = self._input_dtypes()
        if (
            is_plain_target(y)
            and self._is_plain(X)
            and X.shape[0] == len(y)
            and (X.dtype in dtypes if isinstance(dtypes, tuple) else X.dtype == dtypes)
            and (reset or X.shape[1] == self.n_features_in_)
        ):
            if reset:
                self.n_features_in_ = X.shape[1]
            return X, y
        X, y = validate_data(
            self,
            checked_numbers(X, "X"),
            y,
            accept_sparse=["csr", "csc"],
            multi_output=True,
            dtype=dtypes,
            reset=reset,
            **checks,
        )
        return X, y

    # -- stochastic solvers ----------------------------------------------------------------------------------------

    def _fit_stochastic(self, owner: Parameters, part: Part, incremental: bool, validation_set: Any) -> None:
        loop = self._begin_stochastic(owner, part, incremental, validation_set)
        loop.train()
        self._keep(loop.records)
        self._optimizer.step = loop.session.step
        if not incremental:
            self._optimizer.detach()

    def _begin_stochastic(
        self,
        owner: Parameters,
        part: Part,
        incremental: bool,
        validation_set: Any,
        watchers: Sequence[Callback] = (),
    ) -> StochasticLoop:
        """Return the loop that trains the present weights; the watchers are called after the callbacks of `owner`."""
        from fastbp.engine.loading import load_kernels
        from fastbp.estimators.stochastic import StochasticLoop

        self._start_records(validation_set is not None)
        loss_dtype = self._loss_dtype(part.X, part.y, part.sample_weight)
        if self.batch_size != "auto":
            # times a number of rows that scikit-learn has as an int64 of NumPy's then
            loss_dtype = np.float64
        dtype = np.result_type(part.X.dtype, self.coefs_[0].dtype)
        layout, objective = self._layout(dtype), self._objective(dtype)
        validation = None
        if validation_set is not None:
            validation = self._user_validation(validation_set, layout, objective)
        if self.early_stopping:
            if incremental:
                raise ValueError("partial_fit does not support early_stopping=True")
            if validation is None:
                part, validation = self._split(part, layout, objective)
        if not (incremental and hasattr(self, "_optimizer")):
            # A seed is drawn for dropout only. Without dropout the generator stays in step with scikit-learn's.
            masks = any(layer.dropout for layer in layout.layers)
            self._optimizer = StochasticOptimizer(
                self, int(self._random_state.randint(2**31 - 1)) if masks else 0
            )
        session = self._optimizer.session(self, layout, objective, self._batch_rows(len(part)))
        load_kernels(session.engine)
        return StochasticLoop(
            owner,
            session,
            self._optimizer,
            self._random_state,
            part.rows(layout, objective),
            part.index,
            validation,
            self._records(),
            loss_dtype,
            incremental=incremental,
            watchers=watchers,
        )

    def _start_records(self, user_validation: bool) -> None:
        """Start the records that do not exist yet; a warm start continues the others."""
        state = self.__dict__
        if state.get("loss_curve_") is None:
            self.loss_curve_, self._no_improvement_count = [], 0
        if self.early_stopping:
            if state.get("validation_scores_") is None:
                self.validation_scores_, self.best_validation_score_, self.best_loss_ = [], -np.inf, None
            if "_best_coefs" not in state:
                self._best_coefs = [coef.copy() for coef in self.coefs_]
                self._best_intercepts = [intercept.copy() for intercept in self.intercepts_]
        else:
            if state.get("best_loss_") is None:
                self.best_loss_ = np.inf
            self.validation_scores_ = self.best_validation_score_ = None
        if state.get("validation_loss_curve_") is None:
            self.validation_loss_curve_ = [] if user_validation else None

    def _records(self) -> Records:
        from fastbp.estimators.stochastic import Records

        return Records(self.t_, self.best_loss_, self.best_validation_score_, self._no_improvement_count)

    def _keep(self, records: Records) -> None:
        """Take over the trained weights and the records of the loop, if the weights are finite.

        scikit-learn trains coefs_ in place. After early stopping its coefs_ *are* the best copies, and a warm start
        trains these copies until it sees a better score. We do the same, for the same numbers.
        """
        from fastbp.estimators.stochastic import check_finite, store

        session = self._optimizer._session
        assert session is not None
        engine = session.engine
        if self.early_stopping and records.best is not None:
            self.coefs_ = [np.empty_like(coef) for coef in self.coefs_]
            self.intercepts_ = [np.empty_like(intercept) for intercept in self.intercepts_]
            engine.theta[:] = records.best
        elif self.early_stopping and self._best_coefs is not self.coefs_:
            self.coefs_, self.intercepts_ = self._best_coefs, self._best_intercepts
            engine.set_parameters(self.coefs_, self.intercepts_)
        check_finite([engine.theta])
        store(self.coefs_, engine.weights)
        store(self.intercepts_, engine.biases)
        if self.early_stopping:
            self._best_coefs, self._best_intercepts = self.coefs_, self.intercepts_
            self.validation_scores_ += records.scores
            self.best_validation_score_ = records.best_score
        self.n_iter_, self.t_ = records.n_iter, records.t
        if records.losses:
            self.loss_ = records.losses[-1]
        self.loss_curve_ += records.losses
        best = records.best_loss
        self.best_loss_ = best if best is None or not records.losses else type(records.losses[-1])(best)
        self._no_improvement_count = records.no_improvement
        if records.validation_losses:
            self.validation_loss_curve_ += records.validation_losses

    def _batch_rows(self, n: int) -> int:
        if self.batch_size == "auto":
            return min(200, n)
        if int(self.batch_size) > n:
            warn("Got `batch_size` less than 1 or larger than sample size. It is going to be clipped")
        return int(min(self.batch_size, n))

    def _split(self, part: Part, layout: Layout, objective: Objective) -> tuple[Part, Validation]:
        """Hold out rows for the validation score, by scikit-learn's own function and generator."""
        y = part.labels
        stratify = y if self._stratified() and self.n_outputs_ == 1 else None
        if stratify is not None and 1 not in (np.count_nonzero(y), np.count_nonzero(~y)):
            stratify = y[:, 0]  # of a matrix scikit-learn makes a text per row; its message shows it
        trained, held_out = train_test_split(
            np.arange(len(part)),
            random_state=self._random_state,
            test_size=self.validation_fraction,
            stratify=stratify,
        )
        if len(held_out) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        return part.some(trained), self._validation(part.some(held_out), layout, objective, from_user=False)

    def _user_validation(self, validation_set: Any, layout: Layout, objective: Objective) -> Validation:
        if not isinstance(validation_set, tuple | list) or len(validation_set) not in (2, 3):
            raise ValueError(
                f"validation_set must be (X, y) or (X, y, sample_weight), got {shown(validation_set)}"
            )
        X, y, *rest = validation_set
        X = self._validate_predict(X)
        target = self._validation_target(y)
        if X.shape[0] != target.shape[0]:
            raise ValueError(f"validation data: X has {X.shape[0]} rows, but y has {target.shape[0]}.")
        name = "sample_weight of the validation data"
        weight = checked_weights(rest[0], X, name) if rest and rest[0] is not None else None
        return self._validation(Part(X, target, weight), layout, objective, from_user=True)

    def _validation(self, part: Part, layout: Layout, objective: Objective, *, from_user: bool) -> Validation:
        from fastbp.estimators.stochastic import Validation

        target, weight = part.labels, part.sample_weight
        rows = part.own_rows(layout, objective)
        return Validation(rows, lambda raw: self._score_raw(raw, target, weight), from_user)

    # -- lbfgs -----------------------------------------------------------------------------------------------------

    def _fit_lbfgs(self, owner: Parameters, part: Part) -> None:
        from fastbp.engine.loading import load_kernels
        from fastbp.estimators.lbfgs import LBFGSLoop
        from fastbp.estimators.stochastic import check_finite

        problem = self._lbfgs_problem(part)
        load_kernels(problem.engine)
        start = np.concatenate([part.ravel() for part in (*self.coefs_, *self.intercepts_)])
        start = start.astype(problem.engine.dtype, copy=False)
        loop = LBFGSLoop(owner, problem, start)
        loop.train()
        loss = loop.loss()
        check_finite([loop.run.theta])
        self.loss_ = self._loss_dtype(part.X, part.y, part.sample_weight)(loss)
        self.n_iter_ = loop.n_iter
        self.coefs_, self.intercepts_ = problem.unpack(loop.run.theta)

    def _lbfgs_problem(self, part: Part) -> Problem:
        from fastbp.estimators.lbfgs import Problem

        dtype, y = np.result_type(part.X.dtype, self.coefs_[0].dtype), part.labels
        if y.ndim == 2 and y.size and max(float(y.max()), -float(y.min())) > LARGE_TARGET:
            dtype = np.dtype(np.float64)
        layout, objective = self._layout(dtype), self._objective(dtype)
        for name, used in (
            ("dropout", any(layer.dropout for layer in layout.layers)),
            ("max_grad_norm", self.max_grad_norm is not None),
        ):
            if used:
                raise ValueError(
                    f"{name}={getattr(self, name)!r} needs a stochastic solver, but solver='lbfgs'."
                )
        return Problem(part.own_rows(layout, objective), objective, float(self.alpha), self.n_threads)

    def _loss_grad_lbfgs(
        self, packed: Array, X: Any, y: Array, sample_weight: Any, *workspace: object
    ) -> tuple[float, Array]:
        """Return loss and gradient at packed parameters; the workspace that scikit-learn's takes is not used."""
        return self._lbfgs_problem(Part(X, self._as_target(y), sample_weight))(packed)


def is_plain_target(y: Any) -> bool:
    """Whether y is an array that scikit-learn's checks would return as it is: numbers, finite, or text."""
    return (
        type(y) is np.ndarray
        and y.ndim in (1, 2)
        and 0 < y.size <= SMALL
        and (y.dtype.kind in "biuU" or (y.dtype.char in "fd" and all_finite(y)))
    )


def one_validation_set(validation_set: Any, X_val: Any, y_val: Any, sample_weight_val: Any) -> Any:
    """Return the validation rows as one tuple, however fit was given them; None if it was not."""
    if X_val is None and y_val is None and sample_weight_val is None:
        return validation_set
    if validation_set is not None:
        raise ValueError("Pass validation_set or X_val and y_val, not both.")
    if X_val is None or y_val is None:
        missing = "X_val" if X_val is None else "y_val"
        raise ValueError(f"X_val and y_val belong together, but {missing} was not provided.")
    return X_val, y_val, sample_weight_val
