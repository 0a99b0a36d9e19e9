"""Callbacks that watch one number of every epoch: stop when it no longer improves, or lower the learning rate."""

from __future__ import annotations

import math
from typing import Any

from numpy.typing import NDArray

import fastbp.formats._schema as schema
from fastbp.callbacks.hooks import Callback, Logs, Run
from fastbp.metrics import is_better_when_larger
from fastbp.validation import check_choice, check_count, check_number

_STOPPING = schema.record(
    {
        "best": schema.number(),
        "best_epoch": schema.integer(-1),
        "smallest": schema.number(),
        "wait": schema.integer(0),
        "theta": schema.optional(schema.array("f", 1)),
    }
)
_PLATEAU = schema.record({"best": schema.number(), "bad": schema.integer(0), "cool": schema.integer(0)})


class _Monitor(Callback):
    """What `EarlyStopping` and `ReduceLROnPlateau` share: the number to watch, and whether larger is better."""

    def __init__(self, monitor: str | None, mode: str) -> None:
        name = type(self).__name__
        if monitor is not None and not isinstance(monitor, str):
            raise TypeError(f"{name}: monitor must be a name such as 'val_loss' or None, got {monitor!r}")
        self.monitor = monitor
        self.mode = check_choice(mode, f"{name}: mode", ("auto", "min", "max"))
        self._larger = mode == "max"
        if mode == "auto" and monitor is not None:
            known = is_better_when_larger(monitor)
            if known is None:
                raise ValueError(
                    f"{name}: mode='auto' cannot tell whether a large {monitor} is good or bad; pass mode='min' or "
                    "mode='max' (known are our losses, scorers of scikit-learn, and its functions *_score, *_error, "
                    "*_loss and *_deviance)"
                )
            self._larger = known
        self.run: Run | None = None

    def on_fit_begin(self, run: Run | None = None) -> None:
        """Start anew."""
        self.run = run

    def close(self) -> None:
        """Forget the run, so that the callback can be pickled and does not keep the model alive."""
        self.run = None

    def value(self, logs: Logs) -> tuple[float, float]:
        """Return the monitored number, and the same so that smaller is better."""
        name = self.monitor or ("val_loss" if "val_loss" in logs else "loss")
        if name not in logs:
            raise ValueError(
                f"{type(self).__name__}: monitor={name!r} is not logged; there are {', '.join(logs)}"
            )
        return float(logs[name]), -float(logs[name]) if self._larger else float(logs[name])


class EarlyStopping(_Monitor):
    """Stop when a number has not improved for `patience` epochs, and go back to the best weights.

    Parameters
    ----------
    patience : int
        Epochs without improvement that end the training.
    monitor : str, optional
        What to watch: None is ``val_loss`` with validation data, otherwise ``loss``.
    min_delta : float
        Less than this is no improvement.
    restore_best : bool
        At the end of `fit`, whether stopped or not, give the model the weights of its best epoch.
    mode : {"auto", "min", "max"}
        Whether small or large is good. "auto" knows it of our losses, of scikit-learn's scorers (large), and of its
        functions ``*_score`` (large), ``*_error``, ``*_loss`` and ``*_deviance`` (small).

    Attributes
    ----------
    best, best_epoch : float, int
        The best value and its epoch, from 0 as in the hooks: ``history.val_loss[best_epoch]`` is `best` (nan and -1
        before the first).

    Raises
    ------
    ValueError
        ``mode="auto"`` with another name, such as that of a function of your own.

    >>> EarlyStopping(patience=5).patience
    5
    """

    __module__ = "fastbp"

    def __init__(
        self,
        patience: int = 5,
        *,
        monitor: str | None = None,
        min_delta: float = 0.0,
        restore_best: bool = True,
        mode: str = "auto",
    ) -> None:
        super().__init__(monitor, mode)
        self.patience = check_count(patience, "EarlyStopping: patience", 0)
        self.min_delta = check_number(min_delta, "EarlyStopping: min_delta", 0.0)
        self.restore_best = restore_best
        self._reset()

    def _reset(self) -> None:
        self.best, self.best_epoch = math.nan, -1
        self._smallest, self._wait = math.inf, 0
        self._theta: NDArray[Any] | None = None

    def on_fit_begin(self, run: Run | None = None) -> None:
        """Start anew."""
        super().on_fit_begin(run)
        self._reset()

    def on_epoch_end(self, epoch: int, logs: Logs) -> bool | None:
        """Compare, remember, perhaps stop."""
        logged, value = self.value(logs)
        if value < self._smallest - self.min_delta:  # NaN is no improvement
            self._smallest, self._wait = value, 0
            self.best, self.best_epoch = logged, epoch
            if self.restore_best and self.run is not None:
                self._theta = self.run.theta.copy()
            return None
        self._wait += 1
        return self._wait >= self.patience  # with patience=0 the first epoch that is no better ends it

    def on_fit_end(self, run: Run | None = None) -> None:
        """Go back to the best weights."""
        if self.restore_best and self.run is not None and self._theta is not None:
            self.run.theta[:] = self._theta

    def get_state(self) -> dict[str, Any]:
        """Return the best value, its weights and the patience used up."""
        return {
            "best": self.best,
            "best_epoch": self.best_epoch,
            "smallest": self._smallest,
            "wait": self._wait,
            "theta": self._theta,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Take up what `get_state` returned.

        Raises
        ------
        ValueError
            It is not such a state.
        """
        _STOPPING(state, "the state of EarlyStopping")
        if self.run is not None and state["theta"] is not None:
            schema.like(self.run.theta)(state["theta"], "the best weights of EarlyStopping")
        self.best, self.best_epoch = state["best"], state["best_epoch"]
        self._smallest, self._wait, self._theta = state["smallest"], state["wait"], state["theta"]
        if self.run is not None and self._wait and self._wait >= self.patience:
            self.run.stopped = True  # the run had ended here


class ReduceLROnPlateau(_Monitor):
    """Lower the learning rate when a number has stopped improving; PyTorch's scheduler of this name.

    The rate of the optimizer, or of its schedule, is multiplied by it.

    Parameters
    ----------
    factor : float
        In (0, 1).
    patience : int
        Epochs without improvement to let pass.
    monitor, mode
        As in `EarlyStopping`.
    threshold : float
        An improvement is larger than this share of the best value (PyTorch's ``threshold_mode="rel"``).
    cooldown : int
        Epochs after a change in which nothing is counted.
    min_learning_rate : float
        The rate is not lowered below.

    >>> ReduceLROnPlateau(patience=3).factor
    0.1
    """

    __module__ = "fastbp"

    def __init__(
        self,
        factor: float = 0.1,
        patience: int = 10,
        *,
        monitor: str | None = None,
        mode: str = "auto",
        threshold: float = 1e-4,
        cooldown: int = 0,
        min_learning_rate: float = 0.0,
    ) -> None:
        super().__init__(monitor, mode)
        self.factor = check_number(
            factor, "ReduceLROnPlateau: factor", 0.0, 1.0, open_low=True, open_high=True
        )
        self.patience = check_count(patience, "ReduceLROnPlateau: patience", 0)
        self.threshold = check_number(threshold, "ReduceLROnPlateau: threshold", 0.0)
        self.cooldown = check_count(cooldown, "ReduceLROnPlateau: cooldown", 0)
        self.min_learning_rate = check_number(min_learning_rate, "ReduceLROnPlateau: min_learning_rate", 0.0)
        self._reset()

    def _reset(self) -> None:
        self._best, self._bad, self._cool = math.inf, 0, 0

    def on_fit_begin(self, run: Run | None = None) -> None:
        """Start anew."""
        super().on_fit_begin(run)
        self._reset()

    def on_epoch_end(self, epoch: int, logs: Logs) -> bool | None:
        """Compare, and lower the rate when the patience is used up."""
        _, value = self.value(logs)
        if math.isinf(self._best) or value < self._best - self.threshold * abs(self._best):
            self._best, self._bad = value, 0
        else:
            self._bad += 1
        if self._cool > 0:
            self._cool -= 1
            self._bad = 0
        if self._bad > self.patience:
            self._bad, self._cool = 0, self.cooldown
            if self.run is not None:
                rate = self.run.learning_rate
                lowered = max(rate * self.factor, self.min_learning_rate)
                if rate - lowered > 1e-8:  # PyTorch's eps: smaller changes are left out
                    self.run.learning_rate_scale *= lowered / rate
        return None

    def get_state(self) -> dict[str, Any]:
        """Return the counters and the best value (the rate itself is part of the run)."""
        return {"best": self._best, "bad": self._bad, "cool": self._cool}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take up what `get_state` returned.

        Raises
        ------
        ValueError
            It is not such a state.
        """
        _PLATEAU(state, "the state of ReduceLROnPlateau")
        self._best, self._bad, self._cool = state["best"], state["bad"], state["cool"]
