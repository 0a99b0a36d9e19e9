"""Callbacks that report: a line per epoch in a CSV file, a progress bar on the terminal."""

from __future__ import annotations

import csv
import os
import sys
from typing import Any, TextIO

from fastbp.callbacks.hooks import Callback, Logs, Run
from fastbp.formats._atomic import atomic_write


def _bars_are_free() -> None:
    """In a child of a fork: a thread that was drawing a bar is not here, and holds tqdm's lock for ever."""
    lock = getattr(getattr(sys.modules.get("tqdm.std"), "TqdmDefaultWriteLock", None), "th_lock", None)
    if lock is not None and not lock._is_owned():
        lock._at_fork_reinit()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_bars_are_free)


class CSVLogger(Callback):
    """Append a line per epoch to a CSV file: epoch (from 1), then the logs; written before the next epoch begins.

    A new `fit` starts a new file; a resumed one keeps the lines of the epochs it does not repeat.

    Parameters
    ----------
    path : path

    >>> CSVLogger("log.csv").path
    'log.csv'
    """

    __module__ = "fastbp"

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self._columns: list[str] = []

    def on_fit_begin(self, run: Run | None = None) -> None:
        """Start the file, or cut it to the epochs that are done."""
        lines: list[list[str]] = []
        if run is not None and run.epoch and os.path.exists(self.path):
            with open(self.path, newline="", encoding="utf-8") as file:
                lines = [line for line in csv.reader(file) if line]
            lines = lines[:1] + [
                line for line in lines[1:] if line[0].isdigit() and int(line[0]) <= run.epoch
            ]
        self._columns = lines[0] if lines else []
        with atomic_write(self.path, "w") as file:  # who is killed here loses no line
            csv.writer(file).writerows(lines)

    def on_epoch_end(self, epoch: int, logs: Logs) -> bool | None:
        """Write the line."""
        values = {"epoch": epoch + 1, **logs}
        with open(self.path, "a", newline="", encoding="utf-8") as file:
            if not self._columns:
                self._columns = list(values)
                csv.writer(file).writerow(self._columns)
            csv.writer(file).writerow([values.get(column, "") for column in self._columns])
        return None


class EpochLines(Callback):
    """A line per epoch, with its number (from 1), loss, metrics and seconds: ``verbose=2``, and a log's progress.

    Parameters
    ----------
    file : text file, optional
        None: standard error.

    >>> import sys
    >>> EpochLines(sys.stdout).on_epoch_end(0, {"loss": 0.25, "learning_rate": 0.1, "epoch_seconds": 1.5})
    epoch 1  loss=0.25  learning_rate=0.1  1.50 s
    """

    def __init__(self, file: TextIO | None = None) -> None:
        self.file = file
        self._epochs = 0

    def on_fit_begin(self, run: Run | None = None) -> None:
        """Learn how many epochs there will be."""
        self._epochs = run.epochs if run is not None else 0

    def on_epoch_end(self, epoch: int, logs: Logs) -> bool | None:
        """Write the line."""
        number = f"epoch {epoch + 1}" + (f"/{self._epochs}" if self._epochs else "")
        shown = [f"{name}={value:.4g}" for name, value in logs.items() if name != "epoch_seconds"]
        seconds = [f"{logs['epoch_seconds']:.2f} s"] if "epoch_seconds" in logs else []
        file = self.file or sys.stderr
        file.write("  ".join([number, *shown, *seconds]) + "\n")
        file.flush()
        return None


class ProgressBar(Callback):
    """A bar (tqdm) with loss and samples per second, on a terminal or in a notebook only.

    Parameters
    ----------
    file : text file, optional
        None: standard error, or the notebook's own bar.

    >>> ProgressBar().file is None
    True
    """

    __module__ = "fastbp"

    _late = True

    def __init__(self, file: TextIO | None = None) -> None:
        self.file = file
        self._bar: Any = None
        self._run: Run | None = None

    def on_fit_begin(self, run: Run | None = None) -> None:
        """Draw the bar."""
        self._run = run
        samples = run.samples if run is not None else 0
        total = samples * run.epochs if run is not None else 0
        done = samples * run.epoch + run.samples_done if run is not None else 0
        self._bar = bar_of(total, done, self.file)

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


def bar_of(samples: int, done: int = 0, file: TextIO | None = None) -> Any:
    """Return a bar over so many samples (0: nobody knows), shown on a terminal or in a notebook only."""
    from tqdm.auto import tqdm

    return tqdm(
        total=samples or None,
        initial=done,
        unit=" samples",
        unit_scale=True,
        **_width(file or sys.stderr),
        file=file,
        # None: no bar unless the file is a terminal.
        disable=False if file is None and in_notebook() else None,
    )


def in_notebook() -> bool:
    """Whether this is the kernel of a notebook, where tqdm draws a bar of the page."""
    try:
        return "IPKernelApp" in sys.modules["IPython"].get_ipython().config
    except (KeyError, AttributeError):  # no IPython, or no shell of it
        return False


def _width(file: TextIO) -> dict[str, Any]:
    """Return tqdm's arguments for a bar as wide as the terminal, or of 80 columns if it does not tell its width."""
    try:
        columns = os.get_terminal_size(file.fileno()).columns
    except (OSError, ValueError, AttributeError):  # no terminal of the operating system
        return {"dynamic_ncols": True}
    return {"dynamic_ncols": True} if columns else {"ncols": 80}
