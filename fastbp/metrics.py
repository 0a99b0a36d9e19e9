"""Figures of merit beside the loss: scikit-learn's or a loss by name, or any function of (y_true, y_pred)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastbp import objectives
from fastbp.objectives import OBJECTIVE_NAMES, Objective
from fastbp.reference import LOSSES
from fastbp.spellings.losses import NAMES

if TYPE_CHECKING:  # naming a metric loads no engine
    from fastbp.engine.engine import Engine

__all__ = ["Metric", "MetricError", "check_output", "compute", "is_better_when_larger", "named"]


class MetricError(ValueError):
    """A metric could not be computed; the message names it, the cause is the error that it raised."""


Metric = str | Callable[[Any, Any], Any]


def named(metrics: Metric | Iterable[Metric]) -> dict[str, Metric]:
    """Return the metrics by name: a loss by ours, a function by its ``__name__``.

    Names are checked here, so that a typing error shows before the training and not after the first epoch.

    >>> list(named(["accuracy", max]))
    ['accuracy', 'max']
    """
    items = [metrics] if isinstance(metrics, str) or callable(metrics) else list(metrics)
    result: dict[str, Metric] = {}
    for item in items:
        if isinstance(item, str):
            name = NAMES.find(item)
            if name is None:
                _scorer(item)
            result[name or item] = name or item
        elif callable(item):
            result[getattr(item, "__name__", type(item).__name__)] = item
        else:
            raise TypeError(
                f"metrics must be names or functions of (y_true, y_pred), got {item!r} ({type(item).__name__})"
            )
    if len(result) != len(items):
        raise ValueError(f"metrics must have different names, got {items!r}")
    return result


def check_output(metrics: Iterable[str], activation: str) -> None:
    """Refuse a metric that is a loss which does by itself what the last layer does; see `objectives.check_output`."""
    for name in metrics:
        if name in OBJECTIVE_NAMES:
            objectives.check_output(activation, Objective(name), "metric")


def compute(
    metrics: Mapping[str, Metric],
    engine: Engine,
    objective: Objective,
    y: NDArray[Any],
    outputs: NDArray[Any],
) -> dict[str, float]:
    """Evaluate every metric on the outputs of the model.

    Parameters
    ----------
    metrics : mapping
        From `named`. A name of scikit-learn (``sklearn.metrics.get_scorer_names()``) is its scorer: larger is
        better. A function gets class codes (not logits) as ``y_pred`` when the loss is ``cross_entropy`` or
        ``binary_cross_entropy``, rates (not their logarithms) when it is ``poisson``, otherwise the outputs; with one
        output both of its arguments have shape (n,). A metric that is a loss of plain predictions, such as ``mse``,
        gets probabilities or rates too.
    engine : Engine
        Of the model (for metrics that are losses).
    objective : Objective
        The loss, which tells what the outputs mean.
    y : array
        Targets as `fastbp.objectives.to_targets` returns them.
    outputs : array of shape (n, n_outputs)
        What the model predicts.
    """
    if not metrics:
        return {}
    classes = objective.classifies
    told = objectives.predictions(outputs, objective)
    truth = _flat(objectives.labels(y, objective) if classes else y)
    answer = _flat(objectives.labels(told, objective) if classes else told)
    result = {}
    for name, metric in metrics.items():
        try:
            if not isinstance(metric, str):
                value = metric(truth, answer)
            elif metric in OBJECTIVE_NAMES:
                target = objectives.to_targets(
                    y, Objective(metric), len(outputs), engine.n_outputs, engine.dtype
                )
                given = told if LOSSES[metric].activation == "identity" else outputs
                value = engine.loss_of_outputs(np.ascontiguousarray(given), target, Objective(metric))
            else:
                value = _scorer(metric)(
                    _answers(answer, told, classes, engine.n_outputs), np.empty((len(truth), 1)), truth
                )
        except Exception as error:
            raise MetricError(f"metric {name!r}: {type(error).__name__}: {error}") from error
        try:
            result[name] = float(value)
        except (TypeError, ValueError):
            raise MetricError(f"metric {name!r} must return one number, got {value!r:.80}") from None
    return result


def is_better_when_larger(name: str) -> bool | None:
    """Whether a larger value of a logged name is better; None if that cannot be known.

    No for our losses and for scikit-learn's functions ``*_error``, ``*_loss`` and ``*_deviance``. Yes for its scorers
    and its functions ``*_score``. Of every other name, such as that of a function of the user's own, nothing is known.

    >>> is_better_when_larger("val_loss"), is_better_when_larger("val_neg_mean_squared_error")
    (False, True)
    >>> is_better_when_larger("val_rmse") is None
    True
    """
    plain = name.removeprefix("val_")
    if plain == "loss" or plain in OBJECTIVE_NAMES:
        return False
    if plain == "score":  # what the estimators log when they stop early
        return True
    import sklearn.metrics  # here, since it takes a second to import and few runs need it

    if plain in sklearn.metrics.get_scorer_names():
        return True
    if not callable(getattr(sklearn.metrics, plain, None)):
        return None
    if plain.endswith("_score"):
        return True
    return False if plain.endswith(("_error", "_loss", "_deviance")) else None


def _flat(values: NDArray[Any]) -> NDArray[Any]:
    return values.reshape(-1) if values.ndim == 2 and values.shape[1] == 1 else values


def _scorer(name: str) -> Any:
    from sklearn.metrics import get_scorer  # here, since it takes a second to import and few runs need it

    try:
        return get_scorer(name)
    except ValueError:
        raise ValueError(
            f"metrics: {name!r} is neither a scorer of scikit-learn (sklearn.metrics.get_scorer_names()) nor a loss "
            f"({', '.join(OBJECTIVE_NAMES)}){NAMES.advice(name)}"
        ) from None


def _answers(answer: NDArray[Any], chances: NDArray[Any], classes: bool, n_outputs: int) -> Any:
    """An estimator for scikit-learn's scorers that only repeats what the model said."""
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

    if not classes:

        class Regressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]
            def predict(self, X: Any) -> Any:
                return answer

        return Regressor()

    one = n_outputs == 1
    table = np.column_stack([1.0 - chances, chances]) if one else chances

    class Classifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
        classes_ = np.arange(table.shape[1])

        def predict(self, X: Any) -> Any:
            return answer

        def predict_proba(self, X: Any) -> Any:
            return table

    return Classifier()
