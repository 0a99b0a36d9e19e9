"""Configurations on which our estimators must give scikit-learn's numbers: the data, the parameters, the calls.

Imports nothing of fastbp: tests and benchmarks pass the classes in. `CONFIGS` takes about a second with scikit-learn,
`LONG_CONFIGS` a minute.
"""

import functools
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse
from sklearn import datasets
from sklearn.preprocessing import StandardScaler


@dataclass(frozen=True)
class Config:
    """One comparison: `kind` is "classifier" or "regressor", `calls` the methods called in turn."""

    name: str
    kind: str
    data: str
    params: dict[str, Any]
    dtype: str = "float64"
    calls: tuple[str, ...] = ("fit",)
    weighted: bool = False
    sparse: bool = False
    later: dict[str, Any] = field(default_factory=dict)  # parameters set before the last call

    @property
    def solver(self) -> str:
        return self.params.get("solver", "adam")

    @property
    def size(self) -> str:
        """Width of the network, for grouping: small, medium or large."""
        widest = max(self.params.get("hidden_layer_sizes", (100,)), default=1)
        return "small" if widest < 50 else "medium" if widest < 200 else "large"

    def __str__(self) -> str:
        return self.name


@functools.cache
def load(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return X (float64, standardized; pixels in [0, 1]) and y of a bundled data set; a suffix names the kind of y."""
    source, _, variant = name.partition("-")
    X, y = getattr(datasets, f"load_{source}")(return_X_y=True)
    X = X / 16.0 if source == "digits" else StandardScaler().fit_transform(X)
    if source == "diabetes":
        y = (y - y.mean()) / y.std()
    if source == "linnerud":
        y = StandardScaler().fit_transform(y)
    if variant == "binary":
        y = y % 2
    elif variant == "text":
        y = np.array(["one", "three", "two"])[y]
    elif variant == "labels":  # the binary digits of the class: several labels per row
        y = (y[:, None] >> np.arange(3)) & 1
    elif variant == "counts":
        y = np.round(np.exp(y + 1.0))
    elif variant == "float32":
        y = y.astype(np.float32)
    return X, y


def make_data(config: Config, rows: int | None = 240) -> tuple[Any, np.ndarray, np.ndarray | None]:
    """Return X, y and sample weights (or None) of a configuration."""
    X, y = load(config.data)
    order = np.random.RandomState(0).permutation(len(X))[:rows]
    X, y = X[order].astype(config.dtype), y[order]
    weight = np.random.RandomState(1).uniform(0.1, 2.0, len(X)) if config.weighted else None
    if config.sparse:
        X = scipy.sparse.csr_matrix(np.where(np.abs(X) > 0.5, X, 0))
    return X, y, weight


def run(config: Config, classes: dict[str, type], data: tuple[Any, np.ndarray, np.ndarray | None]) -> Any:
    """Return an estimator of `classes[config.kind]` after the calls of the configuration."""
    X, y, weight = data
    estimator = classes[config.kind](**{"random_state": 0, **config.params})
    for i, call in enumerate(config.calls):
        if config.later and i == len(config.calls) - 1:
            estimator.set_params(**config.later)
        extra = {} if weight is None else {"sample_weight": weight}
        if call == "partial_fit" and config.kind == "classifier":
            extra["classes"] = np.arange(y.shape[1]) if y.ndim == 2 else np.unique(y)
        getattr(estimator, call)(X, y, **extra)
    return estimator


C, R = "classifier", "regressor"
ACTIVATIONS = ("identity", "logistic", "tanh", "relu")


def _grid() -> list[Config]:
    """Return every activation with every solver, dtype and kind."""
    configs = []
    for activation in ACTIVATIONS:
        for solver in ("sgd", "adam", "lbfgs"):
            for dtype in ("float64", "float32"):
                for kind, data in ((C, "wine"), (R, "diabetes")):
                    params = {
                        "activation": activation,
                        "solver": solver,
                        "hidden_layer_sizes": (12, 7),
                        "max_iter": 6 if solver == "lbfgs" else 12,
                        "batch_size": 50,
                        "learning_rate_init": 0.01,
                    }
                    configs.append(Config(f"{kind}-{activation}-{solver}-{dtype}", kind, data, params, dtype))
    return configs


def _special() -> list[Config]:
    """Return the rest: schedules, shapes, targets, weights, early stopping, several calls."""
    base = {"hidden_layer_sizes": (10,), "max_iter": 10, "learning_rate_init": 0.02}
    sgd = {**base, "solver": "sgd"}
    stop = {**base, "early_stopping": True, "max_iter": 30, "n_iter_no_change": 3, "tol": 1e-3}
    five = ("partial_fit",) * 5
    twice = ("fit", "fit")
    lbfgs = {**base, "solver": "lbfgs", "max_iter": 4}
    return [
        Config("constant", C, "iris", sgd),
        Config("invscaling", C, "iris", {**sgd, "learning_rate": "invscaling", "power_t": 0.3}),
        Config("adaptive", C, "iris", {**sgd, "learning_rate": "adaptive", "tol": 0.05, "max_iter": 60}),
        Config("adaptive-regressor", R, "diabetes", {**sgd, "learning_rate": "adaptive", "tol": 0.05, "max_iter": 60}),
        Config("momentum-0", C, "iris", {**sgd, "momentum": 0.0}),
        Config("momentum-1", R, "diabetes", {**sgd, "momentum": 1.0, "learning_rate_init": 0.001}),
        Config("momentum-plain", C, "iris", {**sgd, "nesterovs_momentum": False}),
        Config("momentum-plain-float32", R, "diabetes", {**sgd, "nesterovs_momentum": False}, "float32"),
        Config("adam-betas", C, "iris", {**base, "beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3}),
        Config("adam-beta-0", R, "diabetes", {**base, "beta_1": 0.0, "beta_2": 0.0, "epsilon": 1e-2}),
        Config("batch-1", C, "iris", {**base, "batch_size": 1, "max_iter": 3}),
        Config("batch-1-sgd", R, "diabetes", {**sgd, "batch_size": 1, "max_iter": 3, "learning_rate_init": 0.001}),
        Config("batch-7", C, "wine", {**base, "batch_size": 7}),
        Config("batch-auto", C, "digits", base),
        Config("batch-all", R, "diabetes", {**sgd, "batch_size": 240}),
        Config("no-shuffle", C, "iris", {**base, "shuffle": False, "batch_size": 32}),
        Config("alpha-0", C, "wine", {**base, "alpha": 0.0}),
        Config("alpha-10", C, "wine", {**sgd, "alpha": 10.0, "batch_size": 33}),
        Config("alpha-10-lbfgs", R, "diabetes", {**base, "alpha": 10.0, "solver": "lbfgs"}),
        Config("no-hidden-layer", C, "iris", {**base, "hidden_layer_sizes": ()}),
        Config("one-hidden-unit", R, "diabetes", {**base, "hidden_layer_sizes": (1,)}),
        Config("four-hidden-layers", C, "digits", {**base, "hidden_layer_sizes": (30, 20, 10, 5)}),
        Config("wide", C, "digits", {**base, "hidden_layer_sizes": (256,), "max_iter": 4}),
        Config("wide-float32", C, "digits", {**base, "hidden_layer_sizes": (256,), "max_iter": 4}, "float32"),
        Config("defaults", C, "digits", {"max_iter": 20}),
        Config("defaults-regressor", R, "diabetes", {"max_iter": 20}),
        Config("default-converged", C, "iris", {"max_iter": 300, "learning_rate_init": 0.05}),
        Config("binary", C, "breast_cancer", base),
        Config("binary-float32", C, "breast_cancer", {**base, "batch_size": 64}, "float32"),
        Config("binary-lbfgs", C, "breast_cancer", {**base, "solver": "lbfgs", "max_iter": 6}),
        Config("text-labels", C, "wine-text", base),
        Config("multilabel", C, "digits-labels", base),
        Config("multilabel-lbfgs", C, "digits-labels", {**base, "solver": "lbfgs", "max_iter": 6}),
        Config("multilabel-float32", C, "digits-labels", {**base, "activation": "tanh"}, "float32"),
        Config("multi-output", R, "linnerud", {**base, "solver": "sgd", "learning_rate_init": 0.005}),
        Config("multi-output-adam-float32", R, "linnerud", base, "float32"),
        Config("multi-output-lbfgs", R, "linnerud", {**base, "solver": "lbfgs", "max_iter": 6}),
        Config("target-float32", R, "diabetes-float32", base, "float32"),
        Config("target-float32-batch", R, "diabetes-float32", {**base, "batch_size": 32}, "float32"),
        Config("poisson", R, "diabetes-counts", {**base, "loss": "poisson", "learning_rate_init": 0.002}),
        Config("poisson-lbfgs", R, "diabetes-counts", {**base, "loss": "poisson", "solver": "lbfgs", "max_iter": 6}),
        Config("poisson-float32-weighted", R, "diabetes-counts", {**base, "loss": "poisson"}, "float32", weighted=True),
        Config("poisson-outputs-sgd", R, "linnerud-counts", {**sgd, "loss": "poisson", "learning_rate_init": 0.002}),
        Config("poisson-outputs-adam", R, "linnerud-counts", {**base, "loss": "poisson"}),
        Config("poisson-outputs-lbfgs", R, "linnerud-counts", {**lbfgs, "loss": "poisson"}),
        Config("weighted", C, "wine", {**base, "batch_size": 32}, weighted=True),
        Config("weighted-float32", C, "wine", {**sgd, "batch_size": 32}, "float32", weighted=True),
        Config("weighted-binary", C, "breast_cancer", {**sgd, "batch_size": 32}, weighted=True),
        Config("weighted-multilabel", C, "digits-labels", {**base, "batch_size": 32}, weighted=True),
        Config("weighted-regressor", R, "diabetes", {**base, "batch_size": 32}, weighted=True),
        Config("weighted-lbfgs", R, "diabetes", {**base, "solver": "lbfgs", "max_iter": 6}, weighted=True),
        Config("early-stopping-binary", C, "breast_cancer", stop),
        Config("early-stopping-multiclass", C, "digits", {**stop, "validation_fraction": 0.25}),
        Config("early-stopping-multilabel", C, "digits-labels", stop),
        Config("early-stopping-regressor", R, "diabetes", {**stop, "solver": "sgd"}),
        Config("early-stopping-weighted", C, "wine", {**stop, "solver": "sgd"}, weighted=True),
        Config("early-stopping-weighted-regressor", R, "diabetes", stop, weighted=True),
        Config("early-stopping-adaptive", R, "diabetes", {**stop, "solver": "sgd", "learning_rate": "adaptive"}),
        Config("early-stopping-float32", R, "diabetes", {**stop, "activation": "tanh"}, "float32"),
        Config("early-stopping-warm", C, "wine", {**stop, "warm_start": True, "max_iter": 4}, calls=twice),
        Config("early-stopping-warm-no-gain", R, "diabetes", {**stop, "warm_start": True}, calls=twice),
        Config("warm-start", C, "wine", {**base, "warm_start": True}, calls=twice),
        Config("warm-start-sgd", R, "diabetes", {**sgd, "warm_start": True, "power_t": 0.4}, calls=twice),
        Config("warm-start-rate", C, "wine", {**sgd, "warm_start": True, "learning_rate": "invscaling"}, calls=twice),
        Config("warm-start-lbfgs", R, "diabetes", {**lbfgs, "warm_start": True}, calls=twice),
        Config("warm-start-alpha", C, "wine", {**base, "warm_start": True}, calls=twice, later={"alpha": 1.0}),
        Config("refit", C, "wine", base, calls=twice),
        Config("partial-fit", C, "digits", base, calls=five),
        Config("partial-fit-sgd", C, "wine", {**sgd, "batch_size": 50}, calls=five),
        Config("partial-fit-invscaling", R, "diabetes", {**sgd, "learning_rate": "invscaling"}, calls=five),
        Config("partial-fit-binary", C, "breast_cancer", base, calls=five, weighted=True),
        Config("partial-fit-multilabel", C, "digits-labels", base, calls=five),
        Config("partial-fit-float32", R, "diabetes", {**base, "activation": "tanh"}, "float32", calls=five),
        Config("partial-fit-batch", R, "diabetes", base, calls=five, later={"batch_size": 30}),
        Config("partial-fit-after-fit", C, "wine", base, calls=("fit", "partial_fit", "partial_fit")),
        Config("partial-fit-lbfgs", R, "diabetes", lbfgs, calls=("partial_fit",) * 2),
        Config("fit-after-partial-fit", R, "diabetes", base, calls=("partial_fit", "fit")),
        Config("sparse", C, "digits", base, sparse=True),
        Config("sparse-float32-sgd", C, "wine", {**sgd, "batch_size": 20}, "float32", sparse=True),
        Config("sparse-lbfgs", R, "diabetes", {**base, "solver": "lbfgs", "max_iter": 6}, sparse=True),
        Config("sparse-early-stopping", C, "digits-binary", stop, sparse=True),
        Config("integers", C, "wine", {**base, "batch_size": 40}, "int64"),
        Config("large-rate", R, "diabetes", {**sgd, "learning_rate_init": 0.3, "activation": "tanh"}),
    ]  # fmt: skip


def _long() -> list[Config]:
    """Return whole fits on all rows, as users run them."""
    configs = []
    for dtype in ("float64", "float32"):
        # float32 with relu parts ways after about 200 epochs, scikit-learn's from itself too: tanh for the long ones.
        activation = "relu" if dtype == "float64" else "tanh"
        for solver in ("sgd", "adam"):
            params = {"solver": solver, "activation": activation, "max_iter": 100, "learning_rate_init": 0.01}
            for kind, data in ((C, "digits"), (C, "breast_cancer"), (C, "digits-labels"), (R, "diabetes")):
                for sizes in ((40,), (100,), (64, 64)):
                    name = f"{kind}-{data}-{solver}-{dtype}-{'x'.join(map(str, sizes))}"
                    configs.append(Config(name, kind, data, {**params, "hidden_layer_sizes": sizes}, dtype))
    return configs


CONFIGS = _grid() + _special()
LONG_CONFIGS = _long()
assert len({config.name for config in CONFIGS + LONG_CONFIGS}) == len(CONFIGS) + len(LONG_CONFIGS)
