"""`Course`: a fit that is trained piece by piece, and looked at in between."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np

from fastbp.callbacks import Callback
from fastbp.estimators.base import RECORDS, BaseMLP
from fastbp.estimators.part import Part


class Course:
    """A fit with a stochastic solver: begun, trained up to some epoch, looked at, trained on.

    After `to` the weights are those that `fit` with so many epochs would have left, bit by bit: the optimizer, the
    generator and the order of the rows go on where they were.

    Parameters
    ----------
    estimator : BaseMLP
        Not fitted, and left so: a copy of it is trained.
    part : Part
        What its `_validate_input` has made of the rows.
    checked : dict
        The attributes that this has left in the estimator.
    n_threads : int
        To train and to predict with, in place of the estimator's.
    watchers : sequence of Callback
        Called after the callbacks of the estimator.

    Raises
    ------
    ValueError
        What `fit` would say of parameters and rows.
    """

    def __init__(
        self,
        estimator: BaseMLP,
        part: Part,
        checked: dict[str, object],
        n_threads: int,
        watchers: Sequence[Callback] = (),
    ) -> None:
        draft = copy.deepcopy(estimator)  # a clone takes ten times as long
        self._draft = draft
        draft._validate_params()
        draft.__dict__.update(checked)
        draft.n_threads = n_threads
        part = draft._ready(part, draft._hidden_sizes(), first_pass=True, incremental=False)
        self._loop = draft._begin_stochastic(draft, part, False, None, watchers)
        self._begun = self._resting = False

    @property
    def samples(self) -> int:
        """Rows of an epoch."""
        return self._loop.run.samples

    @property
    def epoch(self) -> int:
        """How many epochs were trained."""
        return self._loop.run.epoch

    @property
    def over(self) -> bool:
        """Whether the fit has ended: by its last epoch, by its own rules, or by a callback."""
        return self._loop.finished

    def to(self, epochs: int) -> None:
        """Train until so many epochs are done, or the fit has ended.

        Warns
        -----
        ConvergenceWarning
            max_iter was reached.
        """
        loop = self._loop
        if self._begun and (loop.finished or epochs <= loop.run.epoch):
            return
        if self._resting:
            loop.session.resize(loop.session.batch_size)
            self._resting = False
        if not self._begun:
            loop.hooks.fit_begin()
            self._begun = True
        loop.until = min(epochs, loop.run.epochs)
        loop.epochs()
        if loop.finished:
            loop.hooks.fit_end()
            loop.hooks.close()

    def fitted(self) -> BaseMLP:
        """Return the estimator as `fit` would leave it if it ended now.

        Raises
        ------
        ValueError
            The weights are not finite.
        """
        draft, theta = self._draft, self._loop.session.engine.theta
        twin: BaseMLP = object.__new__(type(draft))
        twin.__dict__.update(draft.__dict__)
        for name in RECORDS:
            held = getattr(draft, name)
            setattr(twin, name, None if held is None else list(held))
        twin.coefs_ = [np.empty_like(coef) for coef in draft.coefs_]
        twin.intercepts_ = [np.empty_like(intercept) for intercept in draft.intercepts_]
        # Early stopping ends with the best weights, and goes on from the last ones.
        now = theta.copy() if draft.early_stopping else None
        twin._keep(self._loop.records)
        if now is not None:
            theta[:] = now
        del twin.__dict__["_optimizer"]
        return twin

    def rest(self) -> None:
        """Let go of the buffers, if there will be a pause."""
        if not (self._resting or self._loop.finished):
            self._loop.session.rest()
            self._resting = True
