"""MLPClassifier and MLPRegressor: scikit-learn's estimators, number for number, on the compiled engine.

`from fastbp import MLPClassifier, MLPRegressor` instead of `from sklearn.neural_network import ...`: the same
parameters, attributes, warnings and errors and, for the same random_state, the same numbers. The parameters after
`max_fun` are additions, and their defaults change nothing.

The rooms behind this door: estimators_base (the course of a fit), estimators_loop (epochs), estimators_optimizer (what
lasts between calls), estimators_lbfgs, estimators_predict, estimators_convert (to and from scikit-learn's objects),
estimators_display (the loss curve).
"""

from __future__ import annotations

from fastbp.estimators_classifier import MLPClassifier
from fastbp.estimators_display import LossCurveDisplay
from fastbp.estimators_regressor import MLPRegressor

__all__ = ["LossCurveDisplay", "MLPClassifier", "MLPRegressor"]
