"""MLPClassifier: scikit-learn's, number for number, on the compiled engine."""

# scikit-learn has no types: its base classes and decorators are Any to mypy.
# mypy: allow-subclassing-any, allow-untyped-decorators

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import scipy.sparse
from scipy.special import expit
from sklearn import neural_network
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import column_or_1d
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.class_weight import compute_class_weight, compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import _check_partial_fit_first_call, type_of_target, unique_labels

from fastbp.estimators.base import BaseMLP
from fastbp.estimators.checks import checked_class_weight, checked_labels, checked_weights, labels_in
from fastbp.estimators.choices import SOLVER, lists_names
from fastbp.estimators.convert import ConvertMixin
from fastbp.estimators.parameters import FTOL, Array, DType
from fastbp.estimators.solving import one_validation_set
from fastbp.objectives import Objective
from fastbp.validation import check_number


@lists_names
class MLPClassifier(ConvertMixin, ClassifierMixin, BaseMLP):
    """Multi-layer perceptron classifier: scikit-learn's, number for number, compiled.

    Minimizes the log loss by gradient descent. Binary, multiclass and multilabel targets.

    Parameters
    ----------
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
    class_weight : dict, "balanced" or None, default=None
        Weight of each class, multiplied with the rows' weights; "balanced" is n / (n_classes * count). For
        multilabel targets "balanced" or a list of dicts. partial_fit takes a dict only.
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
    classes_ : ndarray of shape (n_classes,)
        Class labels.
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
    MLPRegressor : The same for numbers.
    sklearn.neural_network.MLPClassifier : Whose behavior this is.

    Notes
    -----
    The network and its training: Rumelhart, Hinton and Williams, "Learning representations by back-propagating
    errors", Nature 323 (1986). Initial weights: Glorot and Bengio (2010). Adam: Kingma and Ba (2014).

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastbp import MLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = MLPClassifier(hidden_layer_sizes=(16,), learning_rate_init=0.02, random_state=0).fit(X, y)
    >>> clf.predict(X[:3])
    array([0, 0, 0])
    >>> clf.predict_proba(X[:3]).shape
    (3, 3)
    >>> clf.score(X, y) > 0.95
    True
    """

    __module__ = "fastbp"

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **BaseMLP._parameter_constraints,
        "class_weight": [StrOptions({"balanced"}), dict, list, None],
    }
    _counterpart = neural_network.MLPClassifier
    classes_: Array
    _label_binarizer: Any
    loss = "log_loss"

    def __init__(
        self,
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
        class_weight: dict[Any, float] | list[dict[Any, float]] | str | None = None,
        dropout: float | Sequence[float] = 0.0,
        max_grad_norm: float | None = None,
        callbacks: Iterable[object] | None = None,
        n_threads: int | None = None,
        dtype: str | None = None,
    ) -> None:
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
        self.class_weight = class_weight
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
        y : array-like, shape (n,) or (n, n_labels)
            Class labels, or an indicator matrix (multilabel; may be sparse).
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
        self : MLPClassifier
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

    def _can_partial_fit(self) -> bool:
        if SOLVER.find(self.solver) in (None, "lbfgs"):
            raise AttributeError(
                f"partial_fit is only available for stochastic optimizers. {self.solver} is not stochastic."
            )
        return True

    @available_if(_can_partial_fit)
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Self:
        """Train one epoch on (X, y), going on from the present weights.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.
        classes : array-like of shape (n_classes,), default=None
            All labels that will ever come; needed at the first call.

        Returns
        -------
        self : MLPClassifier
            Trained.

        Raises
        ------
        ValueError
            Bad data, no `classes` at the first call, labels not among them, or early_stopping=True.
        AttributeError
            The solver is lbfgs.
        """
        return self._fit(X, y, sample_weight, incremental=True, classes=classes)

    def predict(self, X: Any) -> Array:
        """Return the most probable class of each row.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n, n_features)
            Rows; any number of them, in bounded memory.

        Returns
        -------
        ndarray, shape (n,) or (n, n_labels)
            Labels; for multilabel targets an indicator matrix, CSR if that of `fit` was sparse.
        """
        X = self._validate_predict(X)
        if self.out_activation_ == "softmax":
            codes = np.empty(X.shape[0], dtype=np.intp)
            for rows, raw in self._raw_blocks(X):
                raw.argmax(axis=1, out=codes[rows])
            return self.classes_[codes]
        positive = np.empty((X.shape[0], self.coefs_[-1].shape[1]), dtype=np.int64)
        for rows, raw in self._raw_blocks(X):
            positive[rows] = expit(raw) > 0.5
        if self._label_binarizer.y_type_.startswith("multilabel"):
            labels: Array = self._label_binarizer.inverse_transform(positive)
            return labels
        # A fit on one class has one entry in classes_, and answers it always.
        return self.classes_[np.minimum(positive[:, 0], len(self.classes_) - 1)]

    def predict_proba(self, X: Any) -> Array:
        """Return the probability of each class.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n, n_features)
            Rows.

        Returns
        -------
        ndarray, shape (n, n_classes)
            In the order of `classes_`; for multilabel targets each column on its own.
        """
        X = self._validate_predict(X)
        out: Array | None = None
        for rows, raw in self._raw_blocks(X):
            if out is None:
                out = np.empty(
                    (X.shape[0], max(2, raw.shape[1]) if self._is_binary() else raw.shape[1]), raw.dtype
                )
            if self.out_activation_ == "softmax":
                raw -= raw.max(axis=1, keepdims=True)
                np.exp(raw, out=raw)
                np.divide(raw, raw.sum(axis=1, keepdims=True), out=out[rows])
            elif self._is_binary():
                expit(raw[:, 0], out=out[rows, 1])
                np.subtract(1.0, out[rows, 1], out=out[rows, 0])
            else:
                expit(raw, out=out[rows])
        assert out is not None  # validation refuses an X without rows
        return out

    def predict_log_proba(self, X: Any) -> Array:
        """Return the logarithm of `predict_proba`.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n, n_features)
            Rows.

        Returns
        -------
        ndarray, shape (n, n_classes)
        """
        probabilities = self.predict_proba(X)
        return np.log(probabilities, out=probabilities)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the share of the rows whose class is predicted; of multilabel rows, whose labels all are.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n, n_features)
            Rows.
        y : array-like, shape (n,) or (n, n_labels)
            Their labels.
        sample_weight : array-like of shape (n,), default=None
            Weights of the rows.

        Returns
        -------
        float
        """
        y = checked_labels(y, known=self.classes_)
        if sample_weight is not None:
            sample_weight = checked_weights(sample_weight, X)
        elif self._is_column(y):
            predicted = self.predict(X)
            if len(predicted) == len(y):
                return float(np.mean(predicted == y))
        return float(super().score(X, y, sample_weight))

    def _is_column(self, y: Any) -> bool:
        """Whether y is a column of labels as those of fit, which `accuracy_score` needs a millisecond to see."""
        return (
            labels_in(y) is not None
            and y.dtype.kind == self.classes_.dtype.kind
            and len(y) >= 2 * len(self.classes_)  # with fewer rows scikit-learn may warn of so many classes
        )

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's tags: sparse X and multilabel y are welcome."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    def _is_binary(self) -> bool:
        return self.n_outputs_ == 1

    def _validate_input(
        self, X: Any, y: Any, *, incremental: bool, reset: bool, classes: Any
    ) -> tuple[Any, Array]:
        known = None if reset else getattr(self, "classes_", None)
        if classes is not None:
            known = np.asarray(checked_labels(classes, "classes", known))
        y = checked_labels(y, known=known)
        first_call = incremental and _check_partial_fit_first_call(self, classes)
        if first_call:
            multilabel = type_of_target(y).startswith("multilabel")
            self._label_binarizer = LabelBinarizer().fit(y if multilabel else classes)
        X, y = self._validate_fit(X, y, reset=reset)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        labels = labels_in(y)
        if not hasattr(self, "classes_") or not (self.warm_start or incremental):
            self._label_binarizer = LabelBinarizer().fit(y) if labels is None else _binarizer(labels)
            self.classes_ = self._label_binarizer.classes_
        else:
            self._check_labels(unique_labels(y) if labels is None else labels)
        return X, self._encode(y)

    def _check_labels(self, present: Array) -> None:
        if self.warm_start:
            if set(present) != set(self.classes_):
                raise ValueError(
                    "warm_start can only be used where `y` has the same classes as in the previous call to fit. "
                    f"Previously got {self.classes_}, `y` has {present}"
                )
        elif len(np.setdiff1d(present, self.classes_, assume_unique=True)):
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. 'y' has {present}."
            )

    def _encode(self, y: Any) -> Array:
        """Return class codes (n,) for more than two classes, else booleans (n, n_outputs)."""
        if self._label_binarizer.y_type_ == "multiclass" and y.ndim == 1:
            codes: Array = np.searchsorted(self.classes_, y)
            return codes
        if self._label_binarizer.y_type_ == "binary" and type(y) is np.ndarray and y.ndim == 1:
            # A fit on one class has one entry in classes_, and no row of another.
            second = y == self.classes_[1] if len(self.classes_) == 2 else np.zeros(len(y), bool)
            return second.reshape(-1, 1)
        indicator = self._label_binarizer.transform(y)
        dense: Array = indicator.toarray() if scipy.sparse.issparse(indicator) else indicator
        return dense.astype(bool)

    def _as_target(self, y: Array) -> Array:
        return np.argmax(y, axis=1) if self.out_activation_ == "softmax" else np.asarray(y)

    def _validation_target(self, y: Any) -> Array:
        y = checked_labels(y, "validation_set: y", self.classes_)
        if not hasattr(y, "shape"):
            y = np.asarray(y)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        labels = labels_in(y)
        labels = unique_labels(y) if labels is None else labels
        unknown = np.setdiff1d(labels, self.classes_, assume_unique=True)
        if len(unknown):
            raise ValueError(
                f"validation data: y has classes {unknown} that are not in classes_ {self.classes_}."
            )
        return self._encode(y)

    def _has_all(self, y: Array) -> bool:
        if self._label_binarizer.y_type_.startswith("multilabel"):
            return True
        if y.ndim == 1:
            return len(np.unique(y)) == len(self.classes_)
        return len(self.classes_) == 1 or 0 < int(np.count_nonzero(y)) < len(y)

    def _balance(self, y: Array, sample_weight: Array | None, incremental: bool) -> Array | None:
        if self.class_weight is None:
            return sample_weight
        class_weight = checked_class_weight(self.class_weight)
        if incremental and isinstance(self.class_weight, str):
            raise ValueError(
                "class_weight='balanced' needs all rows at once; give partial_fit a dict, such as "
                "sklearn.utils.class_weight.compute_class_weight makes."
            )
        tables = self.class_weight if isinstance(self.class_weight, list) else [self.class_weight]
        for table in tables:
            for label, value in table.items() if isinstance(table, dict) else ():
                check_number(value, f"class_weight[{label!r}]", 0.0)
        if self._label_binarizer.y_type_.startswith("multilabel"):
            weight: Array = compute_sample_weight(class_weight, y.astype(int))
        else:
            codes = y if y.ndim == 1 else y[:, 0].astype(np.intp)
            per_class = compute_class_weight(class_weight, classes=self.classes_, y=self.classes_[codes])
            weight = per_class[codes]
        return weight if sample_weight is None else weight * sample_weight

    def _count_outputs(self, y: Array) -> int:
        return len(self.classes_) if y.ndim == 1 else y.shape[1]

    def _choose_out_activation(self) -> str:
        return "softmax" if self._label_binarizer.y_type_ == "multiclass" else "logistic"

    def _objective(self, dtype: DType) -> Objective:
        # scikit-learn keeps the probabilities of the loss off 0 and 1 by the machine epsilon.
        clip = float(np.finfo(dtype).eps)
        if self.out_activation_ == "softmax":
            return Objective("cross_entropy", clip=clip)
        return Objective("binary_cross_entropy", clip=clip, summed=True)

    def _stratified(self) -> bool:
        return True

    def _score_raw(self, raw: Array, target: Array, sample_weight: Array | None) -> float:
        hits = (
            raw.argmax(axis=1) == target if target.ndim == 1 else ((expit(raw) > 0.5) == target).all(axis=1)
        )
        return float(np.average(hits, weights=sample_weight))


def _binarizer(labels: Array) -> LabelBinarizer:
    """Return what `LabelBinarizer().fit` makes of a column with these labels."""
    binarizer = LabelBinarizer()
    binarizer.y_type_ = "multiclass" if len(labels) > 2 else "binary"
    binarizer.sparse_input_ = False
    binarizer.classes_ = labels
    return binarizer
