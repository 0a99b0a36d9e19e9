"""What the two estimators share: parameters and the course of a fit.

A fit goes: check sizes, check data, draw weights, train (loop.py or lbfgs.py), which check the result.
`coefs_` and `intercepts_` are plain arrays of the user's; each call copies them into the engine, so that what the
user wrote there counts.
"""

# scikit-learn has no types: its base classes and decorators are Any to mypy.
# mypy: allow-subclassing-any, allow-untyped-decorators

from __future__ import annotations

import operator
import warnings
from abc import ABCMeta, abstractmethod
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.validation import _check_sample_weight

from fastbp import reference
from fastbp.estimators.lbfgs import Problem, minimize
from fastbp.estimators.loop import CALLER, Training, TrainingData, ValidationData
from fastbp.estimators.optimizer import Array, DType, StochasticOptimizer
from fastbp.estimators.predict import PredictMixin, as_rows
from fastbp.layers import Layer
from fastbp.objectives import Objective

SKLEARN_ACTIVATIONS = ("identity", "logistic", "tanh", "relu")
# Ours have scikit-learn's names; exp is only the output of a Poisson regression.
ACTIVATIONS = (
    *SKLEARN_ACTIVATIONS,
    *(name for name in reference.ACTIVATIONS if name not in (*SKLEARN_ACTIVATIONS, "sigmoid", "exp")),
)
SKLEARN_SOLVERS = ("lbfgs", "sgd", "adam")
STOCHASTIC_SOLVERS = tuple(reference.RULES)

# Per-epoch records, and the bests among them: what a warm start goes on with and a new fit begins anew.
RECORDS = ("loss_curve_", "validation_scores_", "validation_loss_curve_")
BESTS = ("best_loss_", "best_validation_score_", "_best_coefs", "_best_intercepts", "_no_improvement_count")


def engine_activation(name: str) -> str:
    """Return the engine's name of an activation: only scikit-learn's logistic is called otherwise there."""
    return "sigmoid" if name == "logistic" else name


class BaseMLP(PredictMixin, BaseEstimator, metaclass=ABCMeta):
    """Base class of MLPClassifier and MLPRegressor; not for direct use."""

    # What a fit leaves; see the docstrings of the two for the public ones.
    coefs_: list[Array]
    intercepts_: list[Array]
    loss_: Any
    loss_curve_: list[Any]
    best_loss_: Any
    validation_scores_: Any
    best_validation_score_: Any
    validation_loss_curve_: Any
    _no_improvement_count: int
    _optimizer: StochasticOptimizer
    _best_coefs: list[Array]
    _best_intercepts: list[Array]

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(ACTIVATIONS)), list, tuple],
        "solver": [StrOptions({"lbfgs", *STOCHASTIC_SOLVERS})],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), Options(Real, {np.inf})],
        "max_fun": [Interval(Integral, 1, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left"), list, tuple],
        "max_grad_norm": [Interval(Real, 0, None, closed="neither"), None],
        "callbacks": [list, tuple, None],
        "n_threads": [Interval(Integral, 1, None, closed="left"), None],
        "dtype": [StrOptions({"float32", "float64"}), None],
    }

    # -- what the two estimators do differently --------------------------------------------------------------------

    @abstractmethod
    def _validate_input(
        self, X: Any, y: Any, *, incremental: bool, reset: bool, classes: Any
    ) -> tuple[Any, Array]:
        """Return X, and y as the loss, the split and the score take it: (n, k), or class codes (n,)."""

    @abstractmethod
    def _validation_target(self, y: Any) -> Array:
        """Return y of the user's validation set in the form `_validate_input` gives."""

    @abstractmethod
    def _count_outputs(self, y: Array) -> int:
        """Return the number of outputs that y asks for."""

    @abstractmethod
    def _choose_out_activation(self) -> str:
        """Return out_activation_ of a new network."""

    @abstractmethod
    def _objective(self, dtype: DType) -> Objective:
        """Return the loss; it, not the network, applies softmax, the logistic function and exp to the output."""

    @abstractmethod
    def _score_raw(self, raw: Array, target: Array, sample_weight: Array | None) -> float:
        """Return the validation score of the network's raw outputs."""

    def _raw_activation(self) -> str:
        """Return the engine's activation of the last layer, whose outputs `_objective` is made for."""
        return "identity"

    def _balance(self, y: Array, sample_weight: Array | None, incremental: bool) -> Array | None:
        """Return the sample weights with the class weights in them."""
        return sample_weight

    # -- parameters ------------------------------------------------------------------------------------------------

    def _hidden_sizes(self) -> list[int]:
        sizes = self.hidden_layer_sizes
        sizes = list(sizes) if hasattr(sizes, "__iter__") else [sizes]
        if any(size <= 0 for size in sizes):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
        return [operator.index(size) for size in sizes]

    def _per_hidden_layer(self, name: str, count: int) -> list[Any]:
        """Return the parameter `name`, one value per hidden layer."""
        value = getattr(self, name)
        if not isinstance(value, list | tuple):
            return [value] * count
        if len(value) != count:
            raise ValueError(
                f"{name} has {len(value)} entries, but there are {count} hidden layers: {name}={value!r}"
            )
        for entry in value:
            if name == "activation" and entry not in ACTIVATIONS:
                raise ValueError(f"activation={value!r}: {entry!r} is not one of {', '.join(ACTIVATIONS)}")
            if name == "dropout" and not (isinstance(entry, Real) and 0.0 <= float(entry) < 1.0):
                raise ValueError(f"dropout={value!r}: {entry!r} is not a rate in [0, 1)")
        return list(value)

    def _layers(self, widths: list[int]) -> tuple[Layer, ...]:
        """Return the engine's layers for hidden and output widths."""
        activations = self._per_hidden_layer("activation", len(widths) - 1)
        rates = self._per_hidden_layer("dropout", len(widths) - 1)
        hidden = [
            Layer(width, engine_activation(activation), dropout=float(rate))
            for width, activation, rate in zip(widths, activations, rates, strict=False)
        ]
        return (*hidden, Layer(widths[-1], self._raw_activation()))

    def _input_dtypes(self) -> Any:
        """Return the dtypes that X may keep."""
        return (np.float64, np.float32) if self.dtype is None else np.dtype(self.dtype)

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's tags: sparse X is welcome."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    # -- fit -------------------------------------------------------------------------------------------------------

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        *,
        incremental: bool = False,
        classes: Any = None,
        validation_set: Any = None,
    ) -> Self:
        before = dict(self.__dict__)
        lists = [before[name] for name in RECORDS if isinstance(before.get(name), list)]
        lengths = [len(records) for records in lists]
        try:
            self._fit_unguarded(X, y, sample_weight, incremental, classes, validation_set)
        except BaseException:
            # A fit that fails leaves the estimator as it was, but for moments that have moved on.
            optimizer = before.get("_optimizer")
            if incremental and optimizer is not None and optimizer.moved:
                del before["_optimizer"]
            self.__dict__.clear()
            self.__dict__.update(before)
            for records, length in zip(lists, lengths, strict=True):
                del records[length:]
            raise
        return self

    def _fit_unguarded(
        self, X: Any, y: Any, sample_weight: Any, incremental: bool, classes: Any, validation_set: Any
    ) -> None:
        hidden = self._hidden_sizes()
        first_pass = not hasattr(self, "coefs_") or (not self.warm_start and not incremental)
        X, y = self._validate_input(X, y, incremental=incremental, reset=first_pass, classes=classes)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X)
        sample_weight = self._balance(y, sample_weight, incremental)
        n_outputs = self._count_outputs(y)
        self._random_state = check_random_state(self.random_state)
        widths = [*hidden, n_outputs]
        if first_pass:
            self.n_outputs_ = n_outputs
            self._initialize(X.shape[1], widths, X.dtype)
        else:
            self._check_widths(widths)
        self.n_iter_ = 0
        if self.solver == "lbfgs":
            if validation_set is not None:
                raise ValueError("validation_set is for the stochastic solvers, but solver='lbfgs'.")
            problem = self._lbfgs_problem(X, y, sample_weight)
            minimize(self, problem, self._loss_dtype(X, y, sample_weight))
        else:
            self._fit_stochastic(X, y, sample_weight, widths, incremental, validation_set)

    def _initialize(self, n_inputs: int, widths: list[int], dtype: DType) -> None:
        """Draw the weights: uniform in +-sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio, 2010).

        2 in place of 6 for a logistic layer. Drawn layer by layer, weights before biases, biases from the same
        bounds, in float64: as scikit-learn does. The output layer goes by the last hidden layer's activation.
        """
        activations = self._per_hidden_layer("activation", len(widths) - 1)
        single = self.activation if isinstance(self.activation, str) else "identity"
        activations.append(activations[-1] if activations else single)
        self.coefs_, self.intercepts_ = [], []
        for fan_in, fan_out, activation in zip([n_inputs, *widths], widths, activations, strict=False):
            bound = np.sqrt((2.0 if activation == "logistic" else 6.0) / (fan_in + fan_out))
            uniform = self._random_state.uniform
            self.coefs_.append(uniform(-bound, bound, (fan_in, fan_out)).astype(dtype, copy=False))
            self.intercepts_.append(uniform(-bound, bound, fan_out).astype(dtype, copy=False))
        self.n_layers_ = len(widths) + 1
        self.out_activation_ = self._choose_out_activation()
        self.t_ = 0
        for name in ("_optimizer", *RECORDS, *BESTS):
            self.__dict__.pop(name, None)

    def _check_widths(self, widths: list[int]) -> None:
        """Refuse to go on with a network of another shape."""
        fitted = [coef.shape[1] for coef in self.coefs_]
        if fitted[:-1] != widths[:-1]:
            raise ValueError(
                f"hidden_layer_sizes={self.hidden_layer_sizes!r}, but the network to go on with was fitted with "
                f"{tuple(fitted[:-1])}. Call fit with warm_start=False to begin anew."
            )
        if fitted[-1] != widths[-1]:
            raise ValueError(f"y asks for {widths[-1]} outputs, but the fitted network has {fitted[-1]}.")

    # -- stochastic solvers ----------------------------------------------------------------------------------------

    def _fit_stochastic(
        self,
        X: Any,
        y: Array,
        sample_weight: Array | None,
        widths: list[int],
        incremental: bool,
        validation_set: Any,
    ) -> None:
        self._start_records(validation_set is not None)
        loss_dtype = self._loss_dtype(X, y, sample_weight)
        dtype = np.result_type(X.dtype, self.coefs_[0].dtype)
        validation = None
        if validation_set is not None:
            validation = self._user_validation(validation_set, dtype)
        if self.early_stopping:
            if incremental:
                raise ValueError("partial_fit does not support early_stopping=True")
            if validation is None:
                X, y, sample_weight, validation = self._split(X, y, sample_weight, dtype)
        layers = self._layers(widths)
        if not (incremental and hasattr(self, "_optimizer")):
            # Masks are drawn only for dropout: without it the generator is where scikit-learn's would be.
            masks = any(layer.dropout for layer in layers)
            self._optimizer = StochasticOptimizer(
                self, int(self._random_state.randint(2**31 - 1)) if masks else 0
            )
        data = TrainingData(*_to_engine(X, y, sample_weight, dtype))
        batch_size = self._batch_rows(len(data))
        session = self._optimizer.session(self, layers, dtype, self._objective(dtype), batch_size)
        Training(self, session, data, validation, loss_dtype).run(incremental=incremental)
        if not incremental:
            self._optimizer.detach()

    def _start_records(self, user_validation: bool) -> None:
        """Begin the records that are not there; a warm start goes on with those that are."""
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

    def _batch_rows(self, n: int) -> int:
        if self.batch_size == "auto":
            return min(200, n)
        if self.batch_size > n:
            warnings.warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped",
                UserWarning,
                stacklevel=CALLER,
            )
        return int(min(self.batch_size, n))

    def _split(
        self, X: Any, y: Array, sample_weight: Array | None, dtype: DType
    ) -> tuple[Any, Array, Array | None, ValidationData]:
        """Hold out rows for the validation score, by scikit-learn's own function and generator."""
        stratify = y if self._stratified() and self.n_outputs_ == 1 else None
        arrays = [X, y] if sample_weight is None else [X, y, sample_weight]
        parts = train_test_split(
            *arrays, random_state=self._random_state, test_size=self.validation_fraction, stratify=stratify
        )
        held_out = parts[1::2]
        if held_out[0].shape[0] < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        x, target = held_out[0], held_out[1]
        weight = None if sample_weight is None else held_out[2]
        validation = ValidationData(*_to_engine(x, target, weight, dtype), target=target, from_user=False)
        return parts[0], parts[2], None if sample_weight is None else parts[4], validation

    def _stratified(self) -> bool:
        return False

    def _user_validation(self, validation_set: Any, dtype: DType) -> ValidationData:
        if not isinstance(validation_set, tuple | list) or len(validation_set) not in (2, 3):
            raise ValueError(
                f"validation_set must be (X, y) or (X, y, sample_weight), got {validation_set!r:.80}"
            )
        X, y, *rest = validation_set
        X = self._validate_predict(X)
        target = self._validation_target(y)
        if X.shape[0] != target.shape[0]:
            raise ValueError(f"validation_set: X has {X.shape[0]} rows, but y has {target.shape[0]}.")
        weight = _check_sample_weight(rest[0], X) if rest and rest[0] is not None else None
        return ValidationData(*_to_engine(X, target, weight, dtype), target=target, from_user=True)

    def _loss_dtype(self, X: Any, y: Array, sample_weight: Array | None) -> type[np.floating[Any]]:
        """Return the type of loss_ and of the entries of loss_curve_ that NumPy's promotion gives scikit-learn."""
        return np.float64

    # -- lbfgs -----------------------------------------------------------------------------------------------------

    def _lbfgs_problem(self, X: Any, y: Array, sample_weight: Array | None) -> Problem:
        layers = self._layers([coef.shape[1] for coef in self.coefs_])
        for name, used in (
            ("dropout", any(layer.dropout for layer in layers)),
            ("max_grad_norm", self.max_grad_norm is not None),
        ):
            if used:
                raise ValueError(
                    f"{name}={getattr(self, name)!r} needs a stochastic solver, but solver='lbfgs'."
                )
        dtype = np.result_type(X.dtype, self.coefs_[0].dtype)
        data = TrainingData(*_to_engine(X, y, sample_weight, dtype))
        return Problem(
            self.coefs_[0].shape[0],
            layers,
            dtype,
            data,
            self._objective(dtype),
            float(self.alpha),
            self.n_threads,
        )

    def _loss_grad_lbfgs(
        self, packed: Array, X: Any, y: Array, sample_weight: Any, *workspace: object
    ) -> tuple[float, Array]:
        """Return loss and gradient at packed parameters; the workspace that scikit-learn's takes is not used."""
        return self._lbfgs_problem(X, self._as_target(y), sample_weight)(packed)

    def _as_target(self, y: Array) -> Array:
        """Return binarized y in the form `_validate_input` gives."""
        return y


def _to_engine(
    X: Any, y: Array, sample_weight: Array | None, dtype: DType
) -> tuple[Any, Array, Array | None]:
    """Return rows, targets (class codes stay int64) and weights as the engine takes them."""
    targets = np.ascontiguousarray(y, dtype=np.int64 if y.ndim == 1 else dtype)
    weights = None if sample_weight is None else np.ascontiguousarray(sample_weight, dtype=np.float64)
    return as_rows(X, dtype), targets, weights
