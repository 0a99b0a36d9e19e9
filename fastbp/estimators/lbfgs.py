"""solver="lbfgs" of the estimators: SciPy's L-BFGS-B on the engine's loss and gradient of all rows at once."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import scipy.optimize
from sklearn.utils.optimize import _check_optimize_result

from fastbp.arrays import BLAS_ALONE
from fastbp.callbacks.hooks import Run
from fastbp.engine.engine import PREDICT_ROWS, Engine
from fastbp.engine.judging import check_slopes, judged
from fastbp.engine.rows import Rows
from fastbp.engine.teams import Pace, for_call, size_for
from fastbp.engine.workspace import Workspace
from fastbp.estimators.parameters import Array, Parameters
from fastbp.kernels import plan as p
from fastbp.objectives import Objective
from fastbp.own import Loss
from fastbp.training.loop import Loop

# What scipy.optimize.minimize calls a run ended by its callback.
STOPPED_BY_CALLBACK = 99


class Problem:
    """Loss and gradient of a network as a function of one packed vector: all weights, then all biases.

    Parameters
    ----------
    rows : Rows
        In the dtype to compute in. SciPy calls with parameters in the dtype of the start, so float32 rows and weights
        are computed in float32, as in scikit-learn; L-BFGS-B itself computes and answers in float64.
    objective : Objective
    alpha : float
        loss += alpha / 2 |W|^2 / S, where S is the number of rows, or the sum of their weights.
    n_threads : int or None

    Raises
    ------
    ZeroDivisionError
        The weights of the rows sum to zero.
    """

    def __init__(self, rows: Rows, objective: Objective, alpha: float, n_threads: int | None) -> None:
        if rows.mass == 0.0:
            raise ZeroDivisionError("Weights sum to zero, can't be normalized")
        layout = rows.layout
        self.engine = Engine(layout.n_inputs, layout.layers, layout.dtype)
        self.rows = rows
        self._own = objective if isinstance(objective, Loss) else None
        self._checked = False
        self._n_threads = n_threads
        # Made once: a gradient of a small network takes only a few microseconds.
        batch = min(PREDICT_ROWS, rows.n)
        team = for_call(size_for(batch * layout.flops_per_row, n_threads), rows.n * layout.flops_per_row)
        self._pace = Pace(team)
        self._workspace = Workspace(layout, batch, objective, gradient=True, threads=team)
        self.decay = alpha / rows.mass
        self.shapes = [(place.fan_in, place.fan_out) for place in layout.places]
        self.n_weights = sum(fan_in * fan_out for fan_in, fan_out in self.shapes)
        self._parameters, self._gradients = (
            [part for parts in layout.views(flat) for part in parts if part is not None]
            for flat in (self.engine.theta, self._workspace.grad)
        )

    def __call__(self, packed: Array) -> tuple[float, Array]:
        """Return the loss and its gradient, packed, float64, of the packed parameters."""
        for own, part in zip(self._parameters, self._parts(packed), strict=True):
            own[...] = part
        loss, rows = 0.0, self.rows
        if self._own is not None:
            outputs = self.engine.predict(rows, n_threads=self._n_threads)
            if not self._checked:
                check_slopes(self._own, rows, outputs)
                self._checked = True
            loss, rows = judged(self._own, rows, outputs)
        team, _ = self._pace.choose()
        begun = time.perf_counter()
        loss += self._workspace.total(p.GRADIENT, self.engine.params, rows, team)
        self._pace.note(team, time.perf_counter() - begun)
        gradient = np.empty(packed.size)
        for part, own in zip(self._parts(gradient), self._gradients, strict=True):
            part[...] = own
        square = 0.0  # piece by piece: what that takes stays in the caches
        for start in range(0, self.n_weights, BLAS_ALONE):
            some = slice(start, min(start + BLAS_ALONE, self.n_weights))
            w = packed[some].astype(np.float64, copy=False)
            gradient[some] += self.decay * w
            square += float(w @ w)
        return loss + 0.5 * self.decay * square, gradient

    def _parts(self, packed: Array) -> list[Array]:
        """Return weights, then biases, as views of a packed vector."""
        parts, start = [], 0
        for shape in (*self.shapes, *((fan_out,) for _, fan_out in self.shapes)):
            stop = start + math.prod(shape)
            parts.append(packed[start:stop].reshape(shape))
            start = stop
        return parts

    def unpack(self, packed: Array) -> tuple[list[Array], list[Array]]:
        """Return weights and biases as views of a packed vector."""
        parts, n = self._parts(packed), len(self.shapes)
        return parts[:n], parts[n:]


class LBFGSLoop(Loop):
    """The iterations of L-BFGS-B: SciPy has the loop, and each iteration is recorded as an epoch without chunks.

    Parameters
    ----------
    estimator : Parameters
        Only read.
    problem : Problem
    start : ndarray
        Packed parameters.

    Attributes
    ----------
    n_iter : int
        Iterations done, as scikit-learn counts them.
    """

    def __init__(self, estimator: Parameters, problem: Problem, start: Array) -> None:
        # A float64 vector of its own: the callbacks see in it what the last iteration has reached.
        run = Run(estimator, np.array(start, np.float64), estimator.max_iter, problem.rows.n)
        super().__init__(run, estimator.callbacks)
        self.estimator, self.problem, self.start = estimator, problem, start
        self.n_iter = 0
        self._result: Any = None
        self._begun = 0.0

    def epochs(self) -> None:
        """Minimize.

        Warns
        -----
        ConvergenceWarning
            max_iter or max_fun was reached first.
        """
        estimator = self.estimator
        self._begun = time.perf_counter()
        self.hooks.epoch_begin(0)
        result = scipy.optimize.minimize(
            self.problem,
            self.start,
            method="L-BFGS-B",
            jac=True,
            options={
                "maxfun": estimator.max_fun,
                "maxiter": estimator.max_iter,
                "gtol": estimator.tol,
                "ftol": estimator.ftol,
                "maxcor": estimator.maxcor,
            },
            callback=self._iteration if self.hooks.callbacks else None,
        )
        if result.status == STOPPED_BY_CALLBACK:
            self.n_iter = int(result.nit)
        else:
            self.n_iter = _check_optimize_result("lbfgs", result, estimator.max_iter)
        self.run.theta[:] = result.x
        self._result = result

    def _iteration(self, intermediate_result: Any) -> None:
        run, now = self.run, time.perf_counter()
        run.theta[:] = intermediate_result.x
        self.end_epoch({"loss": float(intermediate_result.fun), "epoch_seconds": now - self._begun})
        self._begun = now
        if run.stopped:
            raise StopIteration
        if run.epoch < run.epochs:
            self.hooks.epoch_begin(run.epoch)

    def loss(self) -> float:
        """Return the loss of the parameters at the end: `EarlyStopping` may have gone back to better ones."""
        if np.array_equal(self.run.theta, self._result.x):
            return float(self._result.fun)
        return self.problem(self.run.theta)[0]
