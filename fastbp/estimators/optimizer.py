"""The optimizer of an estimator: settings, step count and moments, kept from one call to the next."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastbp.estimators.choices import SOLVER
from fastbp.estimators.parameters import Array, Parameters
from fastbp.estimators.report import say
from fastbp.objectives import Objective
from fastbp.optimizers import Rule

if TYPE_CHECKING:  # naming a solver loads no kernels
    from fastbp.engine.engine import Engine
    from fastbp.engine.layout import Layout
    from fastbp.engine.session import Session


class StochasticOptimizer:
    """Optimizer of one estimator: its frozen settings, its step count, its moments.

    The settings are those of the estimator when the optimizer was made, as in scikit-learn: `fit` makes a new one,
    `partial_fit` continues with the one it finds. Between two calls of `partial_fit` an engine session holds the
    moments. A copy or a pickle holds them as plain arrays, one per weight matrix and bias, in no layout of the engine.

    Parameters
    ----------
    estimator : Parameters
        Whose parameters are copied.
    seed : int
        Of the dropout masks.

    Examples
    --------
    >>> from fastbp.estimators import MLPRegressor
    >>> StochasticOptimizer(MLPRegressor(learning_rate_init=0.5), seed=0).learning_rate
    0.5
    """

    __module__ = "fastbp.estimators"  # pickles of estimators hold it: it may move, and they still load

    def __init__(self, estimator: Parameters, seed: int) -> None:
        self.kind: str = SOLVER.ours(estimator.solver)
        self.learning_rate_init = float(estimator.learning_rate_init)
        self.schedule: str = estimator.learning_rate if self.kind == "sgd" else "constant"
        self.power_t = float(estimator.power_t)
        self.momentum = float(estimator.momentum)
        self.nesterov = bool(estimator.nesterovs_momentum)
        self.beta_1 = float(estimator.beta_1)
        self.beta_2 = float(estimator.beta_2)
        self.epsilon = float(estimator.epsilon)
        self.base_rate = self.learning_rate_init
        self.seed = seed
        self.step = 0
        self.slots: dict[str, list[Array]] = {}
        self._session: Session | None = None
        self._key: object = None

    @property
    def learning_rate(self) -> float:
        """The present learning rate; for Adam the one corrected for bias, as scikit-learn shows it."""
        t = self.step if self._session is None else self._session.step
        if self.kind == "adam" and t:
            return self.base_rate * math.sqrt(1.0 - self.beta_2**t) / (1.0 - self.beta_1**t)
        return self.base_rate

    @property
    def moved(self) -> bool:
        """Whether a training has begun that did not end."""
        return self._session is not None and self._session.step != self.step

    def rule(self, alpha: float) -> Rule:
        """Return the engine's update rule.

        sgd and adam are scikit-learn's formulas. The others are PyTorch's. In adamw `alpha` is the decoupled
        weight decay (Loshchilov and Hutter, 2019), no penalty in the loss.
        """
        if self.kind == "sgd":
            nesterov = self.nesterov and self.momentum > 0.0
            return Rule("sgd", momentum=self.momentum, nesterov=nesterov, velocity=True)
        return Rule(
            self.kind,
            beta1=self.beta_1,
            beta2=self.beta_2,
            eps=self.epsilon,
            eps_inside=self.kind != "adam",
            weight_decay=alpha if self.kind == "adamw" else 0.0,
        )

    def session(
        self, estimator: Parameters, layout: Layout, objective: Objective, batch_size: int
    ) -> Session:
        """Return the session to train with; its engine holds the estimator's present weights.

        Parameters that scikit-learn reads at each call (alpha, activation ...) may have changed since the last one.
        Then a new session is made with the old moments.
        """
        from fastbp.engine.engine import Engine
        from fastbp.engine.own import new_session

        alpha = float(estimator.alpha)
        key = (layout, objective, alpha, estimator.max_grad_norm, estimator.n_threads)
        if self._session is None or key != self._key:
            self.detach()
            session = new_session(
                Engine(layout.n_inputs, layout.layers, layout.dtype),
                objective,
                self.rule(alpha),
                batch_size=batch_size,
                max_grad_norm=estimator.max_grad_norm,
                alpha=0.0 if self.kind == "adamw" else alpha,
                seed=self.seed,
                n_threads=estimator.n_threads,
            )
            session.step = self.step
            for name, values in self.slots.items():
                half = len(values) // 2
                session.slots[name][:] = _flat(session.engine, values[:half], values[half:])
            self._session, self._key = session, key
        elif self._session.batch_size != batch_size:
            self._session.resize(batch_size)
        self._session.engine.set_parameters(estimator.coefs_, estimator.intercepts_)
        return self._session

    def detach(self) -> None:
        """Let go of the session: keep its moments as plain arrays."""
        if self._session is not None:
            self.slots = self._portable_slots()
            self._session, self._key = None, None

    def _portable_slots(self) -> dict[str, list[Array]]:
        if self._session is None:
            return self.slots
        return {name: _unflat(self._session.engine, flat) for name, flat in self._session.slots.items()}

    def __getstate__(self) -> dict[str, Any]:
        """Leave the session behind: its layout belongs to this machine."""
        return {**self.__dict__, "slots": self._portable_slots(), "_session": None, "_key": None}

    def end_of_epoch(self, t: int) -> None:
        """Lower the rate by the inverse scaling schedule, t samples having been seen."""
        if self.schedule == "invscaling":
            self.base_rate = self.learning_rate_init / (t + 1) ** self.power_t

    def out_of_patience(self, message: str, verbose: object) -> bool:
        """Answer a loss that no longer improves: True to stop, or lower the rate of the adaptive schedule."""
        if self.schedule != "adaptive":
            say(verbose, message + " Stopping.")
            return True
        if self.base_rate <= 1e-6:
            say(verbose, message + " Learning rate too small. Stopping.")
            return True
        self.base_rate /= 5.0
        say(verbose, message + f" Setting learning rate to {self.base_rate:f}")
        return False


def _flat(engine: Engine, weights: Sequence[Array], biases: Sequence[Array]) -> Array:
    """Return per-layer arrays in the flat layout of the engine."""
    flat = np.zeros_like(engine.theta)
    own_weights, own_biases = engine.views(flat)
    for place, value in zip((*own_weights, *own_biases), (*weights, *biases), strict=True):
        assert place is not None  # every layer of an estimator has a bias
        place[...] = value
    return flat


def _unflat(engine: Engine, flat: Array) -> list[Array]:
    """Return a flat array of the engine's layout as plain arrays: all weights, then all biases."""
    weights, biases = engine.views(flat)
    return [np.array(part, order="C") for part in (*weights, *biases) if part is not None]
