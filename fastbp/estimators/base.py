"""What the two estimators share: the course of a fit.

A fit works on a twin of the estimator: check sizes, check data, draw weights, train (solving.py), check the result. The
estimator takes over what the twin holds when all of this has succeeded, so an error leaves it as it was. `coefs_` and
`intercepts_` are plain arrays that the user may change; each call reads them anew.
"""

# scikit-learn has no types: its base classes and decorators are Any to mypy.
# mypy: allow-subclassing-any, allow-untyped-decorators

from __future__ import annotations

import functools
import os
from abc import abstractmethod
from typing import Any, Self
from weakref import WeakKeyDictionary

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import InvalidParameterError, make_constraint

from fastbp.arrays import check_sparse, is_sparse
from fastbp.estimators.checks import checked_weights
from fastbp.estimators.choices import ACTIVATION, SOLVER, Choice
from fastbp.estimators.optimizer import StochasticOptimizer
from fastbp.estimators.parameters import Array, DType, Parameters
from fastbp.estimators.part import Part
from fastbp.estimators.solving import SolverMixin
from fastbp.formats._suffixes import save

# Records per epoch, and the best of them. A warm start continues them, a new fit starts them again.
RECORDS = ("loss_curve_", "validation_scores_", "validation_loss_curve_")
BESTS = ("best_loss_", "best_validation_score_", "_best_coefs", "_best_intercepts", "_no_improvement_count")


# Held by who fits an estimator. Not in the estimators, so that they stay plain data to pickle, clone and compare.
_locks: WeakKeyDictionary[BaseMLP, Any] = WeakKeyDictionary()


@functools.lru_cache(maxsize=16)
def _constraints(kind: type[BaseMLP]) -> dict[str, list[Any]]:
    """Return scikit-learn's checks of the parameters of a class, which it makes anew for each fit, in 150 us."""
    return {
        name: [make_constraint(constraint) for constraint in constraints]
        for name, constraints in kind._parameter_constraints.items()
        if constraints != "no_validation"
    }


class BaseMLP(SolverMixin, BaseEstimator):
    """Base class of MLPClassifier and MLPRegressor; not for direct use."""

    n_layers_: int

    # -- what the two estimators do differently --------------------------------------------------------------------

    @abstractmethod
    def _validate_input(
        self, X: Any, y: Any, *, incremental: bool, reset: bool, classes: Any
    ) -> tuple[Any, Array]:
        """Return X, and y as the loss, the split and the score take it: (n, k), or class codes (n,)."""

    @abstractmethod
    def _count_outputs(self, y: Array) -> int:
        """Return the number of outputs that y asks for."""

    @abstractmethod
    def _choose_out_activation(self) -> str:
        """Return out_activation_ of a new network."""

    def _has_all(self, y: Array) -> bool:
        """Whether some rows of y, as `_validate_input` returned it, would have been encoded alike by themselves."""
        return True

    def _balance(self, y: Array, sample_weight: Array | None, incremental: bool) -> Array | None:
        """Return the sample weights with the class weights in them."""
        return sample_weight

    def _validate_params(self) -> None:
        """Check the parameters as scikit-learn does; an error also says what may have been meant."""
        held = self.__dict__
        if all(
            name in held and any(constraint.is_satisfied_by(held[name]) for constraint in constraints)
            for name, constraints in _constraints(type(self)).items()
        ):
            return
        try:
            super()._validate_params()
        except InvalidParameterError as error:
            advice = ""
            for name, constraints in self._parameter_constraints.items():
                if isinstance(constraints[0], Choice) and f"'{name}' parameter" in str(error):
                    advice = constraints[0].advice(getattr(self, name))
            raise InvalidParameterError(
                f"{str(error).removesuffix('.')}{advice}" if advice else str(error)
            ) from None

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's tags: sparse X is welcome."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the estimator to a file, in the format that its name ends with.

        Parameters
        ----------
        path : str or path-like
            ``*.safetensors``, which `fastbp.load` reads, ``*.onnx`` or ``*.c``; see `fastbp.formats.save`.

        Raises
        ------
        ValueError
            Another suffix; or the estimator does not fit the format.

        Examples
        --------
        >>> import os, tempfile
        >>> import fastbp as fb
        >>> path = os.path.join(tempfile.mkdtemp(), "m.safetensors")
        >>> fb.MLPRegressor(alpha=0.1).save(path)
        >>> fb.load(path)
        MLPRegressor(alpha=0.1)
        """
        save(self, path)

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
        # Imported here, before the work begins: Ctrl-C during an import would leave a module half made.
        from fastbp.engine import teams
        from fastbp.estimators import lbfgs, stochastic  # noqa: F401

        # Two threads that fit one estimator do so one after the other.
        with _locks.setdefault(self, teams.training_lock()):
            return self._fit_alone(X, y, sample_weight, incremental, classes, validation_set)

    def _fit_alone(
        self, X: Any, y: Any, sample_weight: Any, incremental: bool, classes: Any, validation_set: Any
    ) -> Self:
        before = dict(self.__dict__)
        draft = object.__new__(type(self))
        draft.__dict__.update(before)
        optimizer: StochasticOptimizer | None = before.get("_optimizer")
        try:
            draft._draft(self, X, y, sample_weight, incremental, classes, validation_set)
        except BaseException:
            # The moments have changed and the weights have not. The next call starts with new moments.
            if incremental and optimizer is not None and optimizer.moved:
                self.__dict__.pop("_optimizer", None)
            raise
        # Attributes that a callback has set on the estimator during the fit stay.
        own, made = self.__dict__, draft.__dict__
        for name in before.keys() - made.keys():
            own.pop(name, None)
        own.update({name: value for name, value in made.items() if before.get(name, own) is not value})
        return self

    def _draft(
        self,
        owner: Parameters,
        X: Any,
        y: Any,
        sample_weight: Any,
        incremental: bool,
        classes: Any,
        validation_set: Any,
    ) -> None:
        """Fit this twin of the estimator `owner`; the callbacks see `owner`.

        Arrays and lists that both of them hold are changed at the very end, when nothing can fail any more.
        """
        hidden = self._hidden_sizes()
        first_pass = not hasattr(self, "coefs_") or (not self.warm_start and not incremental)
        X, y = self._check_data(X, y, incremental=incremental, reset=first_pass, classes=classes)
        if sample_weight is not None:
            sample_weight = checked_weights(sample_weight, X)
        part = self._ready(Part(X, y, sample_weight), hidden, first_pass, incremental)
        if SOLVER.find(self.solver) == "lbfgs":
            if validation_set is not None:
                raise ValueError(
                    "validation_set (X_val, y_val) is for the stochastic solvers, but solver='lbfgs'."
                )
            self._fit_lbfgs(owner, part)
        else:
            self._fit_stochastic(owner, part, incremental, validation_set)

    def _check_data(
        self, X: Any, y: Any, *, incremental: bool, reset: bool, classes: Any
    ) -> tuple[Any, Array]:
        """Return what `_validate_input` makes of X and y, sparse matrices looked at before anything converts them."""
        X, y = (check_sparse(data, name) if is_sparse(data) else data for data, name in ((X, "X"), (y, "y")))
        return self._validate_input(X, y, incremental=incremental, reset=reset, classes=classes)

    def _ready(self, part: Part, hidden: list[int], first_pass: bool, incremental: bool) -> Part:
        """Return checked rows with their class weights; the network, if need be a new one, is ready for them."""
        weight = self._balance(part.labels, part.sample_weight, incremental)
        if weight is not part.sample_weight:
            part = part.weighted(weight)
        part = self._without_zero_classes(part)
        n_outputs = self._count_outputs(part.y)
        self._random_state = check_random_state(self.random_state)
        widths = [*hidden, n_outputs]
        if first_pass:
            self.n_outputs_ = n_outputs
            self._initialize(part.X.shape[1], widths, part.X.dtype)
        else:
            self._check_widths(widths)
        return part

    def _without_zero_classes(self, part: Part) -> Part:
        """Leave out rows of weight 0 if there are class weights: a batch of such rows has no mean."""
        weight = part.sample_weight
        if getattr(self, "class_weight", None) is None or weight is None or weight.all():
            return part
        kept = np.flatnonzero(weight)
        if not len(kept):
            raise ValueError("class_weight and sample_weight leave no row with a weight above 0.")
        return part.some(kept)

    def _initialize(self, n_inputs: int, widths: list[int], dtype: DType) -> None:
        """Draw the weights: uniform in +-sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio, 2010).

        2 in place of 6 for a logistic layer. Drawn layer by layer, weights before biases, biases from the same
        bounds, in float64, as in scikit-learn. The bound of the output layer is that of the last hidden layer's
        activation.
        """
        activations = self._per_hidden_layer("activation", len(widths) - 1)
        activations.append(activations[-1] if activations else ACTIVATION.find(self.activation) or "identity")
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
