"""solver="lbfgs" of the estimators: SciPy's L-BFGS-B on the engine's loss and gradient of all rows at once."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.optimize
from sklearn.utils.optimize import _check_optimize_result

from fastbp.callbacks.hooks import CallbackList, Run
from fastbp.engine.engine import PREDICT_ROWS, Engine
from fastbp.engine.rows import Rows
from fastbp.engine.teams import Pace, for_call, size_for
from fastbp.engine.workspace import Workspace
from fastbp.estimators.loop import TrainingData, check_finite
from fastbp.estimators.optimizer import Array, DType
from fastbp.kernels import plan as p
from fastbp.layers import Layer
from fastbp.objectives import Objective

if TYPE_CHECKING:
    from fastbp.estimators.base import BaseMLP

# What scipy.optimize.minimize calls a run ended by its callback.
STOPPED_BY_CALLBACK = 99


class Problem:
    """Loss and gradient of a network as a function of one packed vector: all weights, then all biases.

    Parameters
    ----------
    n_inputs : int
    layers : tuple of Layer
    dtype : dtype
        To compute in. SciPy hands back parameters in the dtype of the start, so float32 rows and weights are computed
        in float32, as by scikit-learn; L-BFGS-B itself and its answer are float64.
    data : TrainingData
        In `dtype`.
    objective : Objective
    alpha : float
        loss += alpha / 2 |W|^2 / S, where S is the number of rows, or the sum of their weights.
    n_threads : int or None

    Raises
    ------
    ZeroDivisionError
        The weights of the rows sum to zero.
    """

    def __init__(
        self,
        n_inputs: int,
        layers: tuple[Layer, ...],
        dtype: DType,
        data: TrainingData,
        objective: Objective,
        alpha: float,
        n_threads: int | None,
    ) -> None:
        self.engine = Engine(n_inputs, layers, dtype)
        self.n_rows = len(data)
        # All that does not change from one gradient to the next, which for a small network takes a few microseconds.
        self._data = Rows(self.engine.layout, data.x, data.y, data.sample_weight, objective)
        batch = min(PREDICT_ROWS, len(data))
        team = size_for(batch * self.engine.flops_per_row, n_threads)
        team = for_call(team, self.n_rows * self.engine.flops_per_row)
        self._pace = Pace(team)
        self._workspace = Workspace(self.engine.layout, batch, objective, gradient=True, threads=team)
        total = len(data) if data.sample_weight is None else float(np.sum(data.sample_weight))
        if total == 0.0:
            raise ZeroDivisionError("Weights sum to zero, can't be normalized")
        self.decay = alpha / total
        widths = [n_inputs, *(layer.units for layer in layers)]
        self.shapes = list(zip(widths, widths[1:], strict=False))
        self.n_weights = sum(fan_in * fan_out for fan_in, fan_out in self.shapes)
        # Where the packed parameters stand in the engine's flat ones: one copy, however many layers there are.
        weights, biases = self.engine.views(np.arange(self.engine.theta.size))
        self.places = np.concatenate([part.ravel() for part in (*weights, *biases) if part is not None])

    def __call__(self, packed: Array) -> tuple[float, Array]:
        """Return the loss and its gradient, packed, float64, of the packed parameters."""
        self.engine.theta[self.places] = packed
        team, _ = self._pace.choose()
        begun = time.perf_counter()
        loss = self._workspace.total(p.GRADIENT, self.engine.params, self._data, team)
        self._pace.note(team, time.perf_counter() - begun)
        gradient = self._workspace.grad[self.places].astype(np.float64, copy=False)
        w = packed[: self.n_weights].astype(np.float64, copy=False)
        gradient[: self.n_weights] += self.decay * w
        return loss + 0.5 * self.decay * float(w @ w), gradient

    def unpack(self, packed: Array) -> tuple[list[Array], list[Array]]:
        """Return weights and biases as views of a packed vector."""
        weights, biases = [], []
        start = 0
        for shape in self.shapes:
            stop = start + shape[0] * shape[1]
            weights.append(packed[start:stop].reshape(shape))
            start = stop
        for _, fan_out in self.shapes:
            biases.append(packed[start : start + fan_out])
            start += fan_out
        return weights, biases


def minimize(estimator: BaseMLP, problem: Problem, loss_dtype: type[np.floating[Any]]) -> None:
    """Bring the estimator's weights to a minimum, from where they are.

    Writes coefs_ and intercepts_ (views of one float64 vector), loss_, n_iter_.

    Raises
    ------
    ValueError
        The weights that come out are not finite.

    Warns
    -----
    ConvergenceWarning
        max_iter or max_fun was reached first.
    """
    start = np.concatenate([part.ravel() for part in (*estimator.coefs_, *estimator.intercepts_)])
    view = Run(estimator, start.astype(np.float64), estimator.max_iter, problem.n_rows)
    hooks = CallbackList(estimator.callbacks or (), view)
    try:
        hooks.fit_begin()
        result = _minimize(estimator, problem, start, view, hooks)
        view.theta[:] = result.x
        hooks.fit_end()
    finally:
        hooks.close()
    # EarlyStopping may have gone back to better parameters than the last.
    loss = result.fun if np.array_equal(view.theta, result.x) else problem(view.theta)[0]
    check_finite([view.theta])
    estimator.loss_ = loss_dtype(loss)
    estimator.coefs_, estimator.intercepts_ = problem.unpack(view.theta)


def _minimize(estimator: BaseMLP, problem: Problem, start: Array, view: Run, hooks: CallbackList) -> Any:
    """Run SciPy's minimizer, an iteration being an epoch to the callbacks; return its result."""
    begun = time.perf_counter()

    def report(intermediate_result: Any) -> None:
        nonlocal begun
        now = time.perf_counter()
        view.theta[:] = intermediate_result.x
        logs = {"loss": float(intermediate_result.fun), "epoch_seconds": now - begun}
        for name, value in logs.items():
            view.history.setdefault(name, []).append(value)
        begun = now
        hooks.epoch_end(view.epoch, logs)
        view.epoch += 1
        if view.stopped:
            raise StopIteration
        if view.epoch < estimator.max_iter:
            hooks.epoch_begin(view.epoch)

    hooks.epoch_begin(0)
    result = scipy.optimize.minimize(
        problem,
        start,
        method="L-BFGS-B",
        jac=True,
        options={"maxfun": estimator.max_fun, "maxiter": estimator.max_iter, "gtol": estimator.tol},
        callback=report if hooks.callbacks else None,
    )
    if result.status == STOPPED_BY_CALLBACK:
        estimator.n_iter_ = int(result.nit)
    else:
        estimator.n_iter_ = _check_optimize_result("lbfgs", result, estimator.max_iter)
    return result
