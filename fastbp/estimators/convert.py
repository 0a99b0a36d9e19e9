"""From our estimators to plain scikit-learn ones and back: for pickles and converters that want those exact types."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self

from fastbp.estimators.choices import ACTIVATION, LOSS, SKLEARN, SOLVER
from fastbp.estimators.parameters import FTOL
from fastbp.validation import check_plain

# What a fitted scikit-learn MLP consists of, but for its optimizer, which starts again.
FITTED = (
    "n_features_in_", "feature_names_in_", "classes_", "_label_binarizer", "coefs_", "intercepts_", "n_layers_",
    "n_outputs_", "out_activation_", "n_iter_", "t_", "loss_", "loss_curve_", "best_loss_", "validation_scores_",
    "best_validation_score_", "_no_improvement_count", "_best_coefs", "_best_intercepts", "_random_state",
)  # fmt: skip

# What an export promises to answer as the estimator does.
PREDICTIONS = ("predict", "predict_proba")

SKLEARN_OUTPUTS = (*SKLEARN["activation"], "exp", "softmax")

# Additions that shape the training and not the fitted function, with the value that leaves them out.
TRAINING_ONLY = {"class_weight": None, "dropout": 0.0, "max_grad_norm": None, "ftol": FTOL, "maxcor": 10}


class ConvertMixin:
    """Adds `to_sklearn` and `from_sklearn`."""

    _counterpart: ClassVar[type[Any]]
    activation: str | Sequence[str]
    get_params: Callable[..., dict[str, Any]]

    def to_sklearn(self) -> Any:
        """Return the plain scikit-learn estimator that predicts the same.

        For pickles that are read without fastbp, and for converters that look for scikit-learn's own types, such as
        skl2onnx. The copy shares no memory with this one. If this one is fitted, so is the copy, but it does not have
        the optimizer's moments: its `partial_fit` starts with new ones.

        Returns
        -------
        sklearn.neural_network.MLPClassifier or MLPRegressor

        Raises
        ------
        TypeError
            The class has a `predict` of its own.
        ValueError
            An activation is none of scikit-learn's, or the hidden layers have different ones.

        Warns
        -----
        UserWarning
            The copy predicts the same, but fitted again it would train differently: it cannot have this solver, loss,
            class_weight, dropout, max_grad_norm, ftol or maxcor.

        Examples
        --------
        >>> from fastbp import MLPClassifier
        >>> clf = MLPClassifier((4,), solver="lbfgs", random_state=0).fit([[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1])
        >>> clf.to_sklearn().predict([[0.5], [2.5]])
        array([0, 1])
        >>> type(clf.to_sklearn()).__module__.split(".")[0]
        'sklearn'
        """
        check_plain(self, next(cls for cls in type(self).__mro__ if cls.__module__ == "fastbp"), PREDICTIONS)
        own = self.get_params(deep=False)
        params = {name: value for name, value in own.items() if name in self._counterpart().get_params()}
        params["activation"] = self._one_activation()
        lost = [name for name, default in TRAINING_ONLY.items() if own.get(name, default) != default]
        for name, choice, other in (("solver", SOLVER, "adam"), ("loss", LOSS, "squared_error")):
            if name in params:
                params[name] = choice.find(params[name])
                if params[name] not in SKLEARN[name]:
                    params[name] = other
                    lost.append(name)
        out = getattr(self, "out_activation_", ACTIVATION.find(own.get("out_activation", "identity")))
        if out not in SKLEARN_OUTPUTS:
            raise ValueError(f"out_activation={out!r} has no counterpart in scikit-learn: {SKLEARN_OUTPUTS}")
        if out != "identity" and ACTIVATION.find(own.get("out_activation", "identity")) != "identity":
            lost.append("out_activation")
        if lost:
            settings = ", ".join(f"{name}={own[name]!r}" for name in sorted(lost))
            warnings.warn(
                f"to_sklearn: predictions are the same, but scikit-learn cannot train with {settings}.",
                stacklevel=2,
            )
        other = self._counterpart(**copy.deepcopy(params))
        _copy_fitted(self, other)
        return other

    @classmethod
    def from_sklearn(cls, estimator: Any) -> Self:
        """Return an estimator with the parameters, and the fitted state, of scikit-learn's.

        Parameters
        ----------
        estimator : sklearn.neural_network.MLPClassifier or MLPRegressor
            Fitted or not; shares no memory with the result.

        Returns
        -------
        MLPClassifier or MLPRegressor
            That predicts the same. Its `partial_fit` starts with new moments.

        Raises
        ------
        TypeError
            `estimator` is not scikit-learn's class of the same name itself (a subclass may predict otherwise).

        Examples
        --------
        >>> import sklearn.neural_network
        >>> from fastbp import MLPRegressor
        >>> plain = sklearn.neural_network.MLPRegressor(alpha=0.01)
        >>> MLPRegressor.from_sklearn(plain)
        MLPRegressor(alpha=0.01)
        """
        if type(estimator) is not cls._counterpart:
            raise TypeError(
                f"{cls.__name__}.from_sklearn takes a sklearn.neural_network.{cls._counterpart.__name__}, "
                f"got {type(estimator).__module__}.{type(estimator).__qualname__}."
            )
        ours = cls(**copy.deepcopy(estimator.get_params(deep=False)))
        _copy_fitted(estimator, ours)
        return ours

    def _one_activation(self) -> str:
        """Return the activation that all hidden layers have."""
        value: Any = self.activation
        given = [value] if isinstance(value, str) else value or ["identity"]
        names = {ACTIVATION.find(name) for name in given}
        if len(names) > 1 or not names <= set(SKLEARN["activation"]):
            raise ValueError(
                f"activation={value!r} has no counterpart in scikit-learn, whose hidden layers all have one of "
                f"{SKLEARN['activation']}."
            )
        return str(names.pop())


def _copy_fitted(source: Any, target: Any) -> None:
    # One deepcopy of all, for after early stopping coefs_ and _best_coefs are the same object and must stay so.
    state = copy.deepcopy({name: vars(source)[name] for name in FITTED if name in vars(source)})
    for name, value in state.items():
        setattr(target, name, value)
