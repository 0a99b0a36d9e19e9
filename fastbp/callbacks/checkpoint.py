"""`Checkpoint`: the state of a training in a file, from which `fit` goes on."""

from __future__ import annotations

import os
import time

from fastbp.callbacks.hooks import Callback, Logs, Run
from fastbp.formats._suffixes import check_suffix
from fastbp.validation import check_count, check_number


class Checkpoint(Callback):
    """Write everything that `fit(resume_from=path)` needs to go on, bit by bit.

    It is written after epochs, and on time within them. It holds the model (``fastbp.load`` reads it), the
    optimizer's state, the generator of the orders, the place within the epoch, the history and the state of
    the other callbacks. It is replaced in one step: a reader, a crash or ``kill -9`` at any moment finds the
    previous or the new file, whole.

    Parameters
    ----------
    path : path
        ``*.safetensors``, or a name without suffix; another one is refused.
    every : int
        Epochs between two files.
    every_seconds : float, optional
        Also within an epoch, when that much time has passed since the last file.

    >>> Checkpoint("run.safetensors", every_seconds=60).every
    1
    """

    __module__ = "fastbp"

    saves = True

    def __init__(
        self, path: str | os.PathLike[str], every: int = 1, *, every_seconds: float | None = None
    ) -> None:
        self.path = os.fspath(path)
        check_suffix(self.path, ".safetensors")
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
