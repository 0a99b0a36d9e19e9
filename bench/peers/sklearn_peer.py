"""scikit-learn's own MLPRegressor and MLPClassifier, through `fit`."""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor

from bench.peers.subject import Training
from bench.peers.workloads import ADAM, MOMENTUM, Array


class ScikitLearn(Training):
    """One `fit` of as many epochs as are asked for, from the common initial parameters (warm start)."""

    def build(self) -> None:
        """Make the estimator and let it allocate its coefficients."""
        w = self.task.workload
        classifier = w.loss == "cross_entropy"
        # Its squared loss carries a factor 1/2: plain gradient descent needs twice the rate to take the same steps.
        rate = w.learning_rate * (2.0 if w.optimizer == "sgd" and not classifier else 1.0)
        self.model = (MLPClassifier if classifier else MLPRegressor)(
            hidden_layer_sizes=w.sizes[1:-1],
            activation=w.activation,
            solver="adam" if w.optimizer == "adam" else "sgd",
            momentum=MOMENTUM if w.optimizer == "momentum" else 0.0,
            nesterovs_momentum=False,
            alpha=0.0,
            batch_size=w.batch_size,
            learning_rate_init=rate,
            beta_1=ADAM["beta1"],
            beta_2=ADAM["beta2"],
            epsilon=ADAM["eps"],
            max_iter=1,
            tol=0.0,
            n_iter_no_change=1_000_000_000,
            random_state=2,  # draws the orders of workloads.make_orders
            warm_start=True,
        )
        # A fit on one row of each class allocates the coefficients and costs next to nothing.
        _, first = np.unique(self.task.y, return_index=True) if classifier else (None, np.arange(2))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.model.fit(self.task.x[first], self.task.y[first])

    def _fit(self, epochs: int) -> None:
        self.model.max_iter = epochs
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            self.model.fit(self.task.x, self.task.y)

    def reset(self) -> None:
        """Initial parameters; `fit` starts a fresh optimizer by itself."""
        for own, given in zip(self.model.coefs_, self.task.weights, strict=True):
            own[:] = given
        for own, given in zip(self.model.intercepts_, self.task.biases, strict=True):
            own[:] = given

    def train(self, orders: list[Array]) -> None:
        """One `fit`: scikit-learn shuffles by itself, in the orders that the other peers are given."""
        self._fit(len(orders))

    def parameters(self) -> tuple[list[Array], list[Array]]:
        """coefs_ and intercepts_."""
        return self.model.coefs_, self.model.intercepts_
