"""fastbp's MLPRegressor and MLPClassifier against scikit-learn's: the same call with the same parameters."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

from sklearn.exceptions import ConvergenceWarning

from bench.peers.subject import Case, Task
from bench.peers.workloads import ADAM


class Estimator:
    """One `fit` of the module's class; the losses of its first epochs must be scikit-learn's."""

    module = ""
    options: dict[str, Any] = {}
    check_runs = 2

    def __init__(self, case: Case) -> None:
        task = Task.of(case)
        w = task.workload
        self.x, self.y = task.x, task.y
        self.work = float(w.n_rows)
        name = "MLPClassifier" if w.loss == "cross_entropy" else "MLPRegressor"
        self.model = getattr(importlib.import_module(self.module), name)(
            hidden_layer_sizes=w.sizes[1:-1],
            activation=w.activation,
            batch_size=w.batch_size,
            learning_rate_init=w.learning_rate,
            epsilon=ADAM["eps"],
            tol=0.0,
            n_iter_no_change=1_000_000_000,
            random_state=0,
            **self.options,
        )

    def reset(self) -> None:
        """Nothing: `fit` starts over by itself."""

    def run(self, times: int) -> None:
        """Fit for `times` epochs, or iterations of L-BFGS."""
        self.model.set_params(max_iter=times)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            self.model.fit(self.x, self.y)

    def check(self) -> list[float]:
        """The training losses of the first epochs."""
        self.run(self.check_runs)
        return [float(value) for value in self.model.loss_curve_]


class Ours(Estimator):
    """fastbp's class."""

    module = "fastbp"

    def __init__(self, case: Case) -> None:
        self.options = {"n_threads": case.threads}
        super().__init__(case)


class Theirs(Estimator):
    """scikit-learn's class."""

    module = "sklearn.neural_network"
