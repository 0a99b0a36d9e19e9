"""The loop over epochs.

A chunk is one compiled call of about 50 ms, or of 16 batches if they take longer and rows of a text's weights wait
(`fastbp.kernels.waiting`). Between two chunks Python calls the callbacks, among them the progress bar and time limits,
and Ctrl-C takes effect. Several short epochs are one chunk if nobody looks at the model between them.
A subclass of `Loop` trains an epoch and measures what it has brought: `Sequential` has one
(`fastbp.training.model_loop`), the estimators have two (`fastbp.estimators.stochastic`, `fastbp.estimators.lbfgs`).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

from fastbp.callbacks.hooks import CallbackList, Logs, Run


class Loop:
    """Epochs, one after the other, until all are done or the training is stopped.

    Parameters
    ----------
    run : Run
        What the callbacks see.
    callbacks : iterable of objects with hooks

    Attributes
    ----------
    seconds : float
        Spent on the current epoch so far.
    ended : bool
        Whether the rules of the subclass have ended the training.
    until : int
        The epoch before which `epochs` returns, the last one if nobody says otherwise; a later call goes on there.
    """

    # Whether a training that is stopped within an epoch can go on there later. Then that epoch is not finished: its
    # logs are recorded, but `on_epoch_end` is not called.
    resumable: ClassVar[bool] = False
    # Least time between two calls of `on_chunk_end`.
    chunk_seconds: float = 0.0

    def __init__(self, run: Run, callbacks: Iterable[Any]) -> None:
        self.run = run
        self.hooks = CallbackList(callbacks, run)
        self.seconds = 0.0
        self.ended = False
        self.until = run.epochs
        self._unfinished: Logs | None = None

    @property
    def finished(self) -> bool:
        """Whether no epoch is left, or the training was ended or stopped."""
        run = self.run
        return run.epoch >= run.epochs or run.stopped or self.ended

    # What a subclass defines

    def chunks(self) -> Iterator[tuple[int, float]]:
        """Train what is left of the epoch; yield the rows of each compiled call, and the epoch's loss sum so far."""
        raise NotImplementedError(f"{type(self).__name__} must define chunks()")

    def measure(self) -> Logs:
        """Return the logs of the epoch but for its learning rate and its time."""
        raise NotImplementedError(f"{type(self).__name__} must define measure()")

    def begun(self) -> None:
        """Called after the callbacks' ``on_fit_begin``."""

    def epoch_over(self) -> None:
        """Called at the end of an epoch, before the callbacks' ``on_epoch_end``."""

    def ends(self) -> bool:
        """Whether the rules of the subclass end the training after this epoch, which no callback has done."""
        return False

    def interrupted(self) -> bool:
        """Answer Ctrl-C between two batches: True to end here and keep what was trained."""
        return False

    def ahead(self) -> int:
        """Return how many epochs `passes` may train, since nobody looks at the model between them; 0 if none."""
        return 0

    def passes(self, count: int) -> Iterable[tuple[float, float]] | None:
        """Train `count` epochs in one compiled call; return the loss sum and the last learning rate of each.

        None if loss or weights are not finite after more than one epoch. Then all is as it was before, and `ahead`
        returns 0 from now on: the epochs are trained one by one, and it is seen in which one that happened.
        """
        raise NotImplementedError(f"{type(self).__name__} must define passes(), since it defines ahead()")

    # The loop

    def train(self) -> None:
        """Train, and call the callbacks."""
        try:
            self.hooks.fit_begin()
            self.begun()
            try:
                self.epochs()
            except KeyboardInterrupt:
                if not self.interrupted():
                    raise
            self.hooks.fit_end()
        finally:
            self.hooks.close()
        if self._unfinished is not None:
            self.record(self._unfinished)

    def epochs(self) -> None:
        """Train all epochs up to `until`."""
        run = self.run
        while run.epoch < self.until and not (run.stopped or self.ended):
            count = self.ahead()
            if count and self.several(count):
                continue
            self.hooks.epoch_begin(run.epoch)
            complete = self.epoch()
            began = time.perf_counter()
            logs = self.measure()
            logs["learning_rate"] = run.learning_rate
            logs["epoch_seconds"] = self.seconds + time.perf_counter() - began
            if self.resumable and not complete:
                self._unfinished = logs
                return
            self.end_epoch(logs)
            self.ended = not run.stopped and self.ends()

    def several(self, count: int) -> bool:
        """Train `count` epochs at once, then record them one after the other; False if nothing was done."""
        run = self.run
        began = time.perf_counter()
        sums = self.passes(count)
        if sums is None:
            return False
        seconds = (time.perf_counter() - began) / count
        for total, rate in sums:
            self.hooks.epoch_begin(run.epoch)
            run.samples_done, run.loss_sum, run.learning_rate = run.samples, total, rate
            self.hooks.chunk_end(seconds, run.samples)
            logs = self.measure()
            logs["learning_rate"], logs["epoch_seconds"] = run.learning_rate, seconds
            self.end_epoch(logs)
            self.ended = not run.stopped and self.ends()
        return True

    def epoch(self) -> bool:
        """Train the current epoch, or what is left of it; False if a callback stopped it on the way."""
        run, hooks = self.run, self.hooks
        began = time.perf_counter() - self.seconds
        last, waiting = time.perf_counter(), 0
        for rows, total in self.chunks():
            run.samples_done += rows
            run.loss_sum = total
            waiting += rows
            now = time.perf_counter()
            self.seconds = now - began
            if now - last >= self.chunk_seconds:
                stop = hooks.chunk_end(now - last, waiting)
                last, waiting = time.perf_counter(), 0
                if stop and run.samples_done != run.samples:
                    return False
        if waiting:
            hooks.chunk_end(time.perf_counter() - last, waiting)
        return True

    def end_epoch(self, logs: Logs) -> None:
        """Record the epoch and tell the callbacks that it is over."""
        run = self.run
        self.record(logs)
        run.epoch += 1
        run.samples_done, run.loss_sum, self.seconds = 0, 0.0, 0.0
        self.epoch_over()
        self.hooks.epoch_end(run.epoch - 1, logs)

    def record(self, logs: Logs) -> None:
        """Add the numbers of an epoch to the history."""
        for name, value in logs.items():
            self.run.history.setdefault(name, []).append(value)
