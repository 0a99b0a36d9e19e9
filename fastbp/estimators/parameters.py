"""What the two estimators are told: parameters, their bounds, and the layers that follow from them.

Nothing here loads the kernels: an estimator is made, cloned and checked without them.
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from sklearn.utils._param_validation import Interval, Options, StrOptions

from fastbp.estimators.choices import ACTIVATION, SOLVER
from fastbp.layers import Layer
from fastbp.validation import shown

Array = np.ndarray[Any, Any]
DType = np.dtype[Any]

FTOL = 2.220446049250313e-9  # SciPy's, and so scikit-learn's


def engine_activation(name: str) -> str:
    """Return the engine's name of an activation, of any spelling; exp, identity and softmax of outputs stay."""
    return ACTIVATION.ours(name)


class Parameters:
    """The parameters that the classifier and the regressor share, and the weights that a fit leaves.

    The docstrings of the two classes say what they mean.
    """

    hidden_layer_sizes: int | Sequence[int]
    activation: str | Sequence[str]
    solver: str
    alpha: float
    batch_size: int | str
    learning_rate: str
    learning_rate_init: float
    power_t: float
    max_iter: int
    shuffle: bool
    random_state: Any
    tol: float
    verbose: bool | int
    warm_start: bool
    momentum: float
    nesterovs_momentum: bool
    early_stopping: bool
    validation_fraction: float
    beta_1: float
    beta_2: float
    epsilon: float
    n_iter_no_change: float
    max_fun: int
    ftol: float
    maxcor: int
    dropout: float | Sequence[float]
    max_grad_norm: float | None
    callbacks: Any
    n_threads: int | None
    dtype: str | None

    coefs_: list[Array]
    intercepts_: list[Array]

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [ACTIVATION, list, tuple],
        "solver": [SOLVER],
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
        "ftol": [Interval(Real, 0, None, closed="left")],
        "maxcor": [Interval(Integral, 1, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left"), list, tuple],
        "max_grad_norm": [Interval(Real, 0, None, closed="neither"), None],
        "callbacks": "no_validation",  # the loop checks them
        "n_threads": [Interval(Integral, 1, None, closed="left"), Options(Integral, {-1}), None],
        "dtype": [StrOptions({"float32", "float64"}), None],
    }

    def _hidden_sizes(self) -> list[int]:
        given: Any = self.hidden_layer_sizes
        sizes = list(given) if hasattr(given, "__iter__") else [given]
        for size in sizes:
            if not isinstance(size, Integral) or isinstance(size, bool):
                raise TypeError(f"hidden_layer_sizes must hold integers > 0, got {shown(given)}.")
        if any(size <= 0 for size in sizes):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
        return [int(size) for size in sizes]

    def _per_hidden_layer(self, name: str, count: int) -> list[Any]:
        """Return the parameter `name`, one value per hidden layer; activations by the names of their options."""
        value = getattr(self, name)
        entries = list(value) if isinstance(value, list | tuple) else [value] * count
        if len(entries) != count:
            raise ValueError(
                f"{name} has {len(value)} entries, but there are {count} hidden layers: {name}={value!r}"
            )
        for k, entry in enumerate(entries):
            if name == "activation":
                entries[k] = ACTIVATION.find(entry)
                if entries[k] is None:
                    known = ", ".join(ACTIVATION.options)
                    raise ValueError(
                        f"activation={value!r}: {entry!r} is not one of {known}{ACTIVATION.advice(entry)}"
                    )
            if name == "dropout" and not (isinstance(entry, Real) and 0.0 <= float(entry) < 1.0):
                raise ValueError(f"dropout={value!r}: {entry!r} is not a rate in [0, 1)")
        return entries

    def _layers(self, widths: list[int]) -> tuple[Layer, ...]:
        """Return the engine's layers for hidden and output widths."""
        activations = self._per_hidden_layer("activation", len(widths) - 1)
        rates = self._per_hidden_layer("dropout", len(widths) - 1)
        hidden = [
            Layer(width, engine_activation(activation), dropout=float(rate))
            for width, activation, rate in zip(widths, activations, rates, strict=False)
        ]
        return (*hidden, Layer(widths[-1], self._raw_activation()))

    def _raw_activation(self) -> str:
        """Return the engine's activation of the last layer, whose outputs the loss is made for."""
        return "identity"

    def _input_dtypes(self) -> Any:
        """Return the dtypes that X may keep."""
        return (np.float64, np.float32) if self.dtype is None else np.dtype(self.dtype)
