"""MLPClassifier and MLPRegressor: scikit-learn's estimators, number for number, on the compiled engine.

`from fastbp import MLPClassifier, MLPRegressor` instead of `from sklearn.neural_network import ...`: the same
parameters, attributes, warnings and errors and, for the same random_state, the same numbers. The parameters after
`max_fun` are additions, and their defaults change nothing.

The rooms behind this door: parameters, base (the course of a fit), stochastic and lbfgs (the solvers), optimizer (what
lasts between calls), predict, convert (to and from scikit-learn's objects), report (lines), display (the
loss curve).
"""

from __future__ import annotations

from fastbp.estimators.classifier import MLPClassifier
from fastbp.estimators.display import LossCurveDisplay
from fastbp.estimators.optimizer import (
    StochasticOptimizer as StochasticOptimizer,  # pickles of estimators hold it
)
from fastbp.estimators.regressor import MLPRegressor

__all__ = ["LossCurveDisplay", "MLPClassifier", "MLPRegressor"]
