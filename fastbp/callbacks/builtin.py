"""Callbacks: stop early, save, report, change the learning rate. What a callback is: `fastbp.callbacks.hooks`."""

from __future__ import annotations

import csv
import math
import os
import sys
import time
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from fastbp.callbacks.hooks import Callback, DivergenceError, Logs, Run
from fastbp.metrics import is_better_when_larger
from fastbp.validation import check_choice, check_count, check_number


class _Monitor(Callback):
    """What `EarlyStopping` and `ReduceLROnPlateau` share: which number to watch, and which way is up."""

    def __init__(self, monitor: str | None, mode: str) -> None:
        name = type(self).__name__
        if monitor is not None and not isinstance(monitor, str):
            raise TypeError(f"{name}: monitor must be a name such as 'val_loss' or None, got {monitor!r}")
        self.monitor = monitor
        self.mode = check_choice(mode, f"{name}: mode", ("auto", "min", "max"))
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
        larger = self.mode == "max" or (self.mode == "auto" and is_better_when_larger(name))
        return float(logs[name]), -float(logs[name]) if larger else float(logs[name])


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
        Whether small or large is good; auto: small for losses and errors.

    Attributes
    ----------
    best, best_epoch : float, int
        The best value and its epoch (nan and -1 before the first).

    >>> EarlyStopping(patience=5).patience
    5
    """

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
        """Take up what `get_state` returned."""
        self.best, self.best_epoch = state["best"], state["best_epoch"]
        self._smallest, self._wait, self._theta = state["smallest"], state["wait"], state["theta"]
        if self.run is not None and self._wait and self._wait >= self.patience:
            self.run.stopped = True  # the run had ended here


class ReduceLROnPlateau(_Monitor):
    """Lower the learning rate when a number has stopped improving; PyTorch's scheduler of this name.

    It multiplies whatever rate the optimizer or its schedule gives.

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
        """Compare, and lower the rate when patience is at its end."""
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
        """Take up what `get_state` returned."""
        self._best, self._bad, self._cool = state["best"], state["bad"], state["cool"]


class Checkpoint(Callback):
    """Write everything that `fit(resume_from=path)` needs to go on, bit by bit.

    It is written after epochs, and on time within them. It holds the model (``fastbp.load`` reads it), the
    optimizer's state, the generator of the orders, the place within the epoch, the history and the state of
    the other callbacks. It is replaced in one step: a reader, a crash or ``kill -9`` at any moment finds the
    previous or the new file, whole.

    Parameters
    ----------
    path : path
        By convention ``*.safetensors``.
    every : int
        Epochs between two files.
    every_seconds : float, optional
        Also within an epoch, when that much time has passed since the last file.

    >>> Checkpoint("run.safetensors", every_seconds=60).every
    1
    """

    saves = True

    def __init__(
        self, path: str | os.PathLike[str], every: int = 1, *, every_seconds: float | None = None
    ) -> None:
        self.path = os.fspath(path)
        self.every = check_count(every, "Checkpoint: every")
        self.every_seconds = (
            None if every_seconds is None else check_number(every_seconds, "Checkpoint: every_seconds", 0.0)
        )
        self._run: Run | None = None
        self._saved_at = 0.0

    def on_fit_begin(self, run: Run | None = None) -> None:
        """Start the clock."""
        if run is None or run.save is None:
            raise ValueError(
                "Checkpoint works in Sequential.fit only: this training does not know how to save its state"
            )
        folder = os.path.dirname(os.path.abspath(self.path))
        if not os.path.isdir(folder):
            raise FileNotFoundError(f"Checkpoint: there is no folder {folder}")
        self._run, self._saved_at = run, time.monotonic()

    def on_chunk_end(self, seconds: float, samples: int) -> bool | None:
        """Save when it is time."""
        if self.every_seconds is not None and time.monotonic() - self._saved_at >= self.every_seconds:
            self._save()
        return None

    def on_epoch_end(self, epoch: int, logs: Logs) -> bool | None:
        """Save every `every` epochs, and when the training stops."""
        if self._run is not None and (
            (epoch + 1) % self.every == 0 or self._run.stopped or epoch + 1 == self._run.epochs
        ):
            self._save()
        return None

    def on_fit_end(self, run: Run | None = None) -> None:
        """Save the place within the epoch if the training was stopped there, as by `TimeLimit`."""
        if self._run is not None and self._run.samples_done:
            self._save()

    def close(self) -> None:
        """Forget the run."""
        self._run = None

    def _save(self) -> None:
        if self._run is not None and self._run.save is not None:
            self._run.save(self.path)
            self._saved_at = time.monotonic()


class TerminateOnNaN(Callback):
    """End a training that has left the finite numbers; `fit` always has one.

    Parameters
    ----------
    raise_error : bool
        True: `DivergenceError`, and `fit` gives the model the weights it had before. False: stop, and leave
        the model as it is.

    >>> TerminateOnNaN().on_epoch_end(2, {"loss": float("nan")})
    Traceback (most recent call last):
    ...
    fastbp.callbacks.hooks.DivergenceError: the loss became nan in epoch 2; a smaller learning rate, scaled ...
    """

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
        if self._run is not None and not np.isfinite(self._run.theta).all():
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
                f"{what} in epoch {epoch}{at}; a smaller learning rate, scaled inputs or max_grad_norm may help"
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


class CSVLogger(Callback):
    """Append a line per epoch to a CSV file: epoch, then the logs. It is there before the next epoch begins.

    A new `fit` starts a new file; a resumed one keeps the lines of the epochs it does not repeat.

    Parameters
    ----------
    path : path

    >>> CSVLogger("log.csv").path
    'log.csv'
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self._columns: list[str] = []

    def on_fit_begin(self, run: Run | None = None) -> None:
        """Start the file, or cut it to the epochs that are done."""
        lines: list[list[str]] = []
        if run is not None and run.epoch and os.path.exists(self.path):
            with open(self.path, newline="", encoding="utf-8") as file:
                lines = [line for line in csv.reader(file) if line]
            lines = lines[:1] + [line for line in lines[1:] if line[0].isdigit() and int(line[0]) < run.epoch]
        self._columns = lines[0] if lines else []
        with open(self.path, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(lines)

    def on_epoch_end(self, epoch: int, logs: Logs) -> bool | None:
        """Write the line."""
        values = {"epoch": epoch, **logs}
        with open(self.path, "a", newline="", encoding="utf-8") as file:
            if not self._columns:
                self._columns = list(values)
                csv.writer(file).writerow(self._columns)
            csv.writer(file).writerow([values.get(column, "") for column in self._columns])
        return None


class ProgressBar(Callback):
    """A bar (tqdm) with loss and samples per second, on a terminal only.

    Parameters
    ----------
    file : text file, optional
        None: standard error.

    >>> ProgressBar().file is None
    True
    """

    def __init__(self, file: TextIO | None = None) -> None:
        self.file = file
        self._bar: Any = None
        self._run: Run | None = None

    def on_fit_begin(self, run: Run | None = None) -> None:
        """Draw the bar."""
        from tqdm import tqdm

        self._run = run
        samples = run.samples if run is not None else 0
        self._bar = tqdm(
            total=samples * run.epochs or None if run is not None else None,
            initial=samples * run.epoch + run.samples_done if run is not None else 0,
            unit=" samples",
            unit_scale=True,
            **_width(self.file or sys.stderr),
            file=self.file,
            disable=None,  # None: no bar unless the file is a terminal
        )

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Name the epoch."""
        if self._bar is not None:
            epochs = self._run.epochs if self._run is not None else 0
            self._bar.set_description(f"epoch {epoch + 1}" + (f"/{epochs}" if epochs else ""), refresh=False)

    def on_chunk_end(self, seconds: float, samples: int) -> bool | None:
        """Move the bar."""
        if self._bar is not None:
            self._bar.update(samples)
        return None

    def on_epoch_end(self, epoch: int, logs: Logs) -> bool | None:
        """Show the numbers of the epoch."""
        if self._bar is not None:
            shown = {
                name: value for name, value in logs.items() if name not in ("epoch_seconds", "learning_rate")
            }
            self._bar.set_postfix({name: f"{value:.4g}" for name, value in shown.items()}, refresh=False)
        return None

    def on_fit_end(self, run: Run | None = None) -> None:
        """Leave the finished bar on the screen."""
        self.close()

    def close(self) -> None:
        """Close the bar, also after an exception."""
        if self._bar is not None:
            self._bar.close()
            self._bar = self._run = None


def _width(file: TextIO) -> dict[str, Any]:
    """Return tqdm's arguments for a bar as wide as the terminal, or 80 columns where it does not know its width."""
    try:
        columns = os.get_terminal_size(file.fileno()).columns
    except (OSError, ValueError, AttributeError):  # no terminal of the operating system
        return {"dynamic_ncols": True}
    return {"dynamic_ncols": True} if columns else {"ncols": 80}
