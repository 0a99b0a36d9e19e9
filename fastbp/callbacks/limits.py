"""Callbacks that end a training: when it has left the finite numbers, or when its time is up."""

from __future__ import annotations

import math
import time

from fastbp.arrays import all_finite
from fastbp.callbacks.hooks import Callback, DivergenceError, Logs, Run
from fastbp.validation import check_number


class TerminateOnNaN(Callback):
    """End a training whose loss or weights are no longer finite; `fit` always has one.

    Parameters
    ----------
    raise_error : bool
        True: `DivergenceError`, and `fit` gives the model the weights it had before. False: stop, and leave
        the model as it is.

    >>> TerminateOnNaN().on_epoch_end(2, {"loss": float("nan")})
    Traceback (most recent call last):
    ...
    fastbp.DivergenceError: the loss became nan in epoch 3; a smaller learning rate, scaled ...
    """

    __module__ = "fastbp"

    _late = True

    def __init__(self, *, raise_error: bool = True) -> None:
        self.raise_error = raise_error
        self._run: Run | None = None

    def on_fit_begin(self, run: Run | None = None) -> None:
        """Remember the run."""
        self._run = run

    def on_chunk_end(self, seconds: float, samples: int) -> bool | None:
        """Look at the loss so far."""
        if self._run is None or math.isfinite(self._run.loss_sum):
            return None
        return self._end(f"the loss became {self._run.loss_sum}", self._run.epoch)

    def on_epoch_end(self, epoch: int, logs: Logs) -> bool | None:
        """Look at loss and weights."""
        if not math.isfinite(logs["loss"]):
            return self._end(f"the loss became {logs['loss']}", epoch)
        if self._run is not None and not all_finite(self._run.theta):
            return self._end("the weights became infinite or NaN", epoch)
        return None

    def close(self) -> None:
        """Forget the run."""
        self._run = None

    def _end(self, what: str, epoch: int) -> bool:
        if self.raise_error:
            rate = self._run.learning_rate if self._run is not None else math.nan
            at = "" if math.isnan(rate) else f" (learning rate {rate:g})"
            raise DivergenceError(
                f"{what} in epoch {epoch + 1}{at}; a smaller learning rate, scaled inputs or max_grad_norm may help"
            )
        return True


class TimeLimit(Callback):
    """Stop after some seconds, also within an epoch; that epoch is then the last entry of the history.

    With a `Checkpoint` the next `fit(resume_from=...)` goes on at the very batch.

    Parameters
    ----------
    seconds : float
        Since the begin of `fit`; exceeded by one chunk (about 50 ms) at most.

    >>> TimeLimit(0.5).seconds
    0.5
    """

    __module__ = "fastbp"

    def __init__(self, seconds: float) -> None:
        self.seconds = check_number(seconds, "TimeLimit: seconds", 0.0)
        self._start = math.inf

    def on_fit_begin(self, run: Run | None = None) -> None:
        """Start the clock."""
        self._start = time.monotonic()

    def on_chunk_end(self, seconds: float, samples: int) -> bool | None:
        """Look at the clock."""
        return time.monotonic() - self._start >= self.seconds

    def on_epoch_end(self, epoch: int, logs: Logs) -> bool | None:
        """Look at the clock."""
        return time.monotonic() - self._start >= self.seconds
