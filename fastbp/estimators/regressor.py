"""MLPRegressor: scikit-learn's, number for number, on the compiled engine."""

# scikit-learn has no types: its base classes and decorators are Any to mypy.
# mypy: allow-subclassing-any, allow-untyped-decorators

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
from sklearn import neural_network
from sklearn.base import RegressorMixin, _fit_context
from sklearn.utils import check_array, column_or_1d
from sklearn.utils._param_validation import Interval

from fastbp.estimators.base import BaseMLP
from fastbp.estimators.checks import checked_numbers, checked_weights
from fastbp.estimators.choices import ACTIVATION, LOSS, lists_names
from fastbp.estimators.convert import ConvertMixin
from fastbp.estimators.parameters import FTOL, Array, DType, engine_activation
from fastbp.estimators.predict import ROWS_AT_ONCE
from fastbp.estimators.solving import one_validation_set
from fastbp.objectives import Objective
from fastbp.own import Loss

SKLEARN_OBJECTIVES = {
    # The value is the mean over the outputs, the gradient that of the sum (scikit-learn's issue 8349).
    "squared_error": Objective("half_squared_error", mean_outputs=True),
    "poisson": Objective("poisson", full=True, summed=True),
}


def r2(target: Array, prediction: Array, sample_weight: Array | None) -> float:
    """Return the coefficient of determination, the mean over outputs, as `sklearn.metrics.r2_score`.

    That takes 300 us for its checks, longer than many an epoch that it is to judge.

    >>> r2(np.array([[1.0], [2.0], [3.0]]), np.array([[1.0], [2.0], [4.0]]), None)
    0.5
    """
    weight = np.ones(len(target)) if sample_weight is None else sample_weight
    target = target.astype(np.float64, copy=False)
    unexplained = weight @ (target - prediction) ** 2
    total = weight @ (target - np.average(target, axis=0, weights=weight)) ** 2
    # A constant target: 1 if it is hit exactly, else 0.
    scores = np.where(unexplained == 0.0, 1.0, 0.0)
    np.divide(unexplained, total, out=scores, where=total != 0.0)
    np.subtract(1.0, scores, out=scores, where=total != 0.0)
    return float(scores.mean())


@lists_names
class MLPRegressor(ConvertMixin, RegressorMixin, BaseMLP):
    """Multi-layer perceptron regressor: scikit-learn's, number for number, compiled.

    Minimizes a loss of the targets, one or several, by gradient descent.

    Parameters
    ----------
    loss : str or Loss, default="squared_error"
        "squared_error" or "poisson" (output exp); beyond scikit-learn, each the mean over rows and outputs,
        {loss}
        Or a `fastbp.Loss` of your own, whose value of a row is averaged over the rows. Its activation must be
        "identity" or "exp"; with "exp" the estimator predicts e^output.
    hidden_layer_sizes : int or sequence of int, default=(100,)
        Units of each hidden layer; `()` for none.
    activation : str or sequence of str, default="relu"
        Of the hidden layers, or one for each: "identity", "logistic", "tanh", "relu"; and beyond scikit-learn
        {activation}
        Names that Keras and PyTorch have for them are taken, too.
    solver : str, default="adam"
        "sgd" and "adam" are scikit-learn's formulas, "lbfgs" is SciPy's. The others are PyTorch's formulas with
        `learning_rate_init`, `beta_1`, `beta_2` and `epsilon`; rprop is meant for `batch_size` = all rows:
        {solver}
    alpha : float, default=0.0001
        Strength of the L2 penalty, `alpha / 2 |W|^2` over the rows of the batch. With solver="adamw" it is the
        decoupled weight decay instead, and no part of the loss.
    batch_size : int or "auto", default="auto"
        Rows per update; "auto" is min(200, n). lbfgs takes all rows.
    learning_rate : {"constant", "invscaling", "adaptive"}, default="constant"
        Schedule of sgd: `learning_rate_init / t**power_t`, or a fifth whenever progress stops.
    learning_rate_init : float, default=0.001
        Step size of all solvers but lbfgs.
    power_t : float, default=0.5
        Exponent of "invscaling".
    max_iter : int, default=200
        Most epochs, or iterations of lbfgs.
    shuffle : bool, default=True
        Whether to shuffle the rows before each epoch.
    random_state : int, RandomState or None, default=None
        Of weights, validation split, shuffling, and dropout.
    tol : float, default=1e-4
        An epoch that does not improve the loss (the validation score) by this much is one without improvement.
        Also the gradient tolerance of lbfgs; see `ftol`.
    verbose : bool or int, default=False
        Print the loss of each epoch.
    warm_start : bool, default=False
        Whether fit goes on from the weights of the last fit.
    momentum : float, default=0.9
        Of sgd.
    nesterovs_momentum : bool, default=True
        Of sgd.
    early_stopping : bool, default=False
        Watch the score of held-out rows instead of the training loss, and keep the weights of the best score.
    validation_fraction : float, default=0.1
        Share of the rows held out by early stopping, unless fit is given validation rows.
    beta_1, beta_2 : float, default=0.9, 0.999
        Decay rates of the moments, of the solvers that keep them.
    epsilon : float, default=1e-8
        Added to the root of the second moment.
    n_iter_no_change : int or inf, default=10
        Epochs without improvement that end the fit.
    max_fun : int, default=15000
        Most evaluations of the loss by lbfgs.
    ftol : float, default=2.220446049250313e-9
        lbfgs ends when an iteration lowers the loss by less than this share of it. With the default it is nearly always
        this that ends a fit, and `tol`, the gradient's, changes nothing. With 1e-13 and `maxcor` = 20 the error of
        smooth regressions fell 2.5 to 12 times, for 6 to 30 times the work; raise `max_iter` and `max_fun` too.
    maxcor : int, default=10
        Pairs of steps and gradients from which lbfgs models the curvature.
    quantile : float, default=0.5
        Level of loss="quantile": the share of targets that shall lie below the prediction.
    delta : float, default=1.0
        Where loss="huber" passes from squares to absolute values.
    out_activation : str, default="identity"
        Activation of the output layer, any of those of `activation`: bounded or positive outputs. Must be
        "identity" for loss="poisson".
    dropout : float or sequence of float, default=0.0
        Rate at which outputs of the hidden layers are dropped while training; one, or one for each layer. The
        others are scaled up by 1 / (1 - rate). Stochastic solvers only.
    max_grad_norm : float or None, default=None
        Gradients with a larger global norm are scaled down to it. Stochastic solvers only.
    callbacks : list, object or None, default=None
        Objects with any of `on_fit_begin(run)`, `on_epoch_begin(epoch)`, `on_chunk_end(seconds, samples)`,
        `on_epoch_end(epoch, logs)`, `on_fit_end(run)`, such as `fastbp.TimeLimit`; True from the end of a chunk or
        epoch ends the fit. An iteration of lbfgs is an epoch without chunks.
    n_threads : int or None, default=None
        None and -1 are all cores this process may use. Results do not depend on it.
    dtype : {"float32", "float64"} or None, default=None
        Precision to compute in; None follows X, as scikit-learn does.

    Attributes
    ----------
    coefs_, intercepts_ : list of ndarray
        Weights (fan_in, fan_out) and biases (fan_out,) of each layer. Yours to change: predict and partial_fit use
        what they find there.
    loss_, best_loss_ : float
        Loss of the last epoch; least loss (None with early stopping; not for lbfgs).
    loss_curve_ : list of float
        Loss of each epoch, the mean over the batches as they were trained (not for lbfgs).
    validation_scores_, best_validation_score_ : list of float, float
        With early stopping, else None.
    validation_loss_curve_ : list of float
        Loss, without penalty, of the validation rows that fit was given, after each epoch; else None.
    n_iter_, t_ : int
        Epochs of the last call; rows seen in all.
    n_layers_, n_outputs_, n_features_in_ : int
        Layers with input and output layer, outputs, inputs.
    feature_names_in_ : ndarray of str
        If X had column names.
    out_activation_ : str
        Activation of the output layer.

    See Also
    --------
    MLPClassifier : The same for classes.
    sklearn.neural_network.MLPRegressor : Whose behavior this is.

    Notes
    -----
    With several outputs, loss="squared_error" reports the mean over the outputs, but its gradient is that of the
    sum: scikit-learn's (its issue 8349), kept so that its numbers come out.

    Examples
    --------
    >>> from sklearn.datasets import make_regression
    >>> from fastbp import MLPRegressor
    >>> X, y = make_regression(n_samples=200, n_features=4, random_state=0)
    >>> net = MLPRegressor(hidden_layer_sizes=(16,), solver="lbfgs", random_state=0, max_iter=1000).fit(X, y)
    >>> net.predict(X[:3]).shape
    (3,)
    >>> net.score(X, y) > 0.99
    True
    """

    __module__ = "fastbp"

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **BaseMLP._parameter_constraints,
        "loss": [LOSS, Loss],
        "quantile": [Interval(Real, 0, 1, closed="neither")],
        "delta": [Interval(Real, 0, None, closed="neither")],
        "out_activation": [ACTIVATION],
    }
    _counterpart = neural_network.MLPRegressor

    def __init__(
        self,
        loss: str | Loss = "squared_error",
        hidden_layer_sizes: int | Sequence[int] = (100,),
        activation: str | Sequence[str] = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        ftol: float = FTOL,
        maxcor: int = 10,
        quantile: float = 0.5,
        delta: float = 1.0,
        out_activation: str = "identity",
        dropout: float | Sequence[float] = 0.0,
        max_grad_norm: float | None = None,
        callbacks: Iterable[object] | None = None,
        n_threads: int | None = None,
        dtype: str | None = None,
    ) -> None:
        self.loss = loss
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.ftol = ftol
        self.maxcor = maxcor
        self.quantile = quantile
        self.delta = delta
        self.out_activation = out_activation
        self.dropout = dropout
        self.max_grad_norm = max_grad_norm
        self.callbacks = callbacks
        self.n_threads = n_threads
        self.dtype = dtype

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        validation_set: Any = None,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Self:
        """Train on (X, y), anew unless `warm_start`.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n, n_features)
            Rows. float32 stays float32; other numbers become float64.
        y : array-like, shape (n,) or (n, n_outputs)
            Targets.
        sample_weight : array-like of shape (n,), float or None, default=None
            Weights of the rows.
        validation_set : tuple (X, y) or (X, y, sample_weight), default=None
            Your own validation rows, for early stopping and `validation_loss_curve_`. In a Pipeline they reach the
            network as they are, not transformed: use `X_val` there.
        X_val, y_val, sample_weight_val : array-like, default=None
            The same, one by one, as scikit-learn's HistGradientBoosting takes them. With metadata routing a Pipeline
            transforms `X_val` as `X`: ``Pipeline(..., transform_input=["X_val"])``, and
            ``set_fit_request(X_val=True, y_val=True)``.

        Returns
        -------
        self : MLPRegressor
            Trained.

        Raises
        ------
        ValueError
            Bad parameters or data, or weights that are not finite at the end. The estimator is left as it was.

        Warns
        -----
        ConvergenceWarning
            `max_iter` was reached first.
        """
        validation_set = one_validation_set(validation_set, X_val, y_val, sample_weight_val)
        return self._fit(X, y, sample_weight, validation_set=validation_set)

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train one epoch on (X, y), going on from the present weights.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.

        Returns
        -------
        self : MLPRegressor
            Trained. With solver="lbfgs" this is a whole fit from the present weights, as in scikit-learn.

        Raises
        ------
        ValueError
            Bad data, or early_stopping=True.
        """
        return self._fit(X, y, sample_weight, incremental=True)

    def predict(self, X: Any) -> Array:
        """Return the targets that the network expects.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n, n_features)
            Rows; any number of them, in bounded memory.

        Returns
        -------
        ndarray, shape (n,) or (n, n_outputs)
        """
        X = self._validate_predict(X)
        if X.shape[0] <= ROWS_AT_ONCE:
            ((_, out),) = self._raw_blocks(X)
            self._finish(out)
        else:
            out = np.empty((X.shape[0], self.coefs_[-1].shape[1]), self._predict_dtype(X))
            for rows, raw in self._raw_blocks(X):
                out[rows] = self._finish(raw)
        return out[:, 0] if out.shape[1] == 1 else out

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the coefficient of determination R2 of the predictions, the mean over the outputs.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n, n_features)
            Rows.
        y : array-like, shape (n,) or (n, n_outputs)
            Their targets.
        sample_weight : array-like of shape (n,), default=None
            Weights of the rows.

        Returns
        -------
        float
        """
        if sample_weight is not None:
            sample_weight = checked_weights(sample_weight, X)
        return float(super().score(X, checked_numbers(y, "y"), sample_weight))

    def _finish(self, raw: Array) -> Array:
        if self.out_activation_ == "exp":
            np.exp(raw, out=raw)
        return raw

    def _validate_input(
        self, X: Any, y: Any, *, incremental: bool, reset: bool, classes: Any
    ) -> tuple[Any, Array]:
        X, y = self._validate_fit(X, checked_numbers(y, "y"), reset=reset, y_numeric=True)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        return X, y.reshape(-1, 1) if y.ndim == 1 else y

    def _validation_target(self, y: Any) -> Array:
        name = "y of the validation data"
        target: Array = check_array(
            checked_numbers(y, name), ensure_2d=False, dtype="numeric", input_name=name
        )
        target = target.reshape(-1, 1) if target.ndim == 1 else target
        if target.shape[1] != self.n_outputs_:
            raise ValueError(
                f"validation data: y has {target.shape[1]} outputs, but the network {self.n_outputs_}."
            )
        return target

    def _count_outputs(self, y: Array) -> int:
        return int(y.shape[1])

    def _choose_out_activation(self) -> str:
        chosen = ACTIVATION.find(self.out_activation) or self.out_activation
        contained = self.loss.activation if isinstance(self.loss, Loss) else ""
        if contained in ("sigmoid", "softmax"):
            raise ValueError(
                f"loss={self.loss!r} makes classes by {contained}, which a regressor cannot predict."
            )
        if LOSS.find(self.loss) != "poisson" and contained != "exp":
            return chosen
        if chosen != "identity":
            raise ValueError(
                f"out_activation={self.out_activation!r} with loss={self.loss!r}, whose output is exp: leave it "
                "'identity'."
            )
        return "exp"

    def _raw_activation(self) -> str:
        # Such a loss takes the logarithm of the output, which is what the network then puts out.
        return "identity" if self.out_activation_ == "exp" else engine_activation(self.out_activation_)

    def _objective(self, dtype: DType) -> Objective:
        if isinstance(self.loss, Loss):
            return self.loss
        name = LOSS.ours(self.loss)
        if name in SKLEARN_OBJECTIVES:
            return SKLEARN_OBJECTIVES[name]
        parameter = {"huber": self.delta, "quantile": self.quantile}.get(name)
        return Objective(name, None if parameter is None else float(parameter))

    def _score_raw(self, raw: Array, target: Array, sample_weight: Array | None) -> float:
        prediction = self._finish(raw)
        if not np.isfinite(prediction).all():
            return float("nan")
        return r2(target, prediction, sample_weight)

    def _loss_dtype(self, X: Any, y: Array, sample_weight: Array | None) -> type[np.floating[Any]]:
        arrays = [X, y] if sample_weight is None else [X, y, sample_weight]
        return np.float32 if all(array.dtype == np.float32 for array in arrays) else np.float64
