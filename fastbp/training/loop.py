"""The loop over epochs.

`fit` reads top to bottom: check everything, then per epoch: order, learning rates, chunks, validation,
callbacks. Between two chunks (about 50 ms of compiled work) Python is back: there live the callbacks, the
progress bar, time limits and Ctrl-C.
"""

from __future__ import annotations

import itertools
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from fastbp import metrics as figures
from fastbp import objectives, optimizers
from fastbp.callbacks import ProgressBar, TerminateOnNaN
from fastbp.callbacks.hooks import CallbackList, DivergenceError, Run
from fastbp.engine.engine import Engine
from fastbp.engine.sources import Source, Stream, prepare
from fastbp.objectives import Objective
from fastbp.training import checkpoints
from fastbp.training.history import History
from fastbp.training.trainer import Trainer
from fastbp.validation import check_count, check_number

if TYPE_CHECKING:
    from fastbp.sequential import Sequential

__all__ = ["DivergenceError", "History", "Trainer", "evaluate", "fit"]

CHUNK_SECONDS = 0.05  # how often `on_chunk_end` is called when the batches come one by one


def evaluate(
    engine: Engine,
    data: Source,
    objective: Objective,
    metrics: Mapping[str, figures.Metric],
    n_threads: int | None,
    *,
    loss: bool = True,
) -> dict[str, float]:
    """Return ``loss`` (unless told not to) and the metrics of a model on checked data, by name."""
    total = mass = 0.0
    outputs = []
    for rows in data.blocks():
        if loss and rows.mass > 0:
            total += engine.loss_of(rows, objective, n_threads=n_threads) * rows.mass
            mass += rows.mass
        if metrics:
            outputs.append(engine.predict(rows, n_threads=n_threads))
    logs = {"loss": total / mass} if loss else {}
    if metrics:
        logs.update(figures.compute(metrics, engine, objective, data.targets, np.concatenate(outputs)))
    return logs


def fit(
    net: Sequential,
    x: Any,
    y: Any,
    *,
    loss: objectives.Loss,
    optimizer: str | optimizers.Optimizer,
    epochs: int,
    batch_size: int | None,
    validation_data: Sequence[Any] | None,
    validation_split: float,
    callbacks: Sequence[Any],
    sample_weight: ArrayLike | None,
    class_weight: Mapping[int, float] | str | None,
    metrics: figures.Metric | Iterable[figures.Metric],
    shuffle: bool,
    seed: int | np.random.Generator | None,
    n_threads: int | None,
    verbose: int,
    max_grad_norm: float | None,
    resume_from: str | os.PathLike[str] | None,
) -> History:
    """Train `net`; what `Sequential.fit` documents."""
    check_count(epochs, "epochs")
    if verbose not in (0, 1):
        raise ValueError(f"verbose must be 0 or 1, got {verbose!r}")
    objective, named = objectives.get(loss), figures.named(metrics)
    engine = net.engine
    data: Source | Stream
    if y is None and (callable(x) or not hasattr(x, "shape")):
        for name, value in (("sample_weight", sample_weight), ("class_weight", class_weight)):
            if value is not None:
                raise ValueError(
                    f"{name} must be None when X is an iterable of batches: yield (x, y, sample_weight)"
                )
        if validation_split:
            raise ValueError(
                "validation_split must be 0 when X is an iterable of batches: pass validation_data"
            )
        if not callable(x) and not isinstance(x, Iterable):
            raise TypeError(f"X without y must be an iterable of batches (x, y), got {type(x).__name__}")
        data = Stream(engine.layout, x, objective)
    else:
        data = prepare(engine.layout, x, y, sample_weight, objective)
    validation = _validation(engine, validation_data, objective)
    check_number(validation_split, "validation_split", 0.0, 1.0, open_high=True)
    if not isinstance(data, Stream):
        if validation_split:
            if validation is not None:
                raise ValueError("pass validation_data or validation_split, not both")
            data, validation = _split(data, validation_split)
        if class_weight is not None:
            own = data.weights.astype(engine.dtype) if data.weights.size else None
            data = data.weighted(
                objectives.apply_class_weight(class_weight, data.targets, own, objective, engine.dtype)
            )
    rng = np.random.default_rng(seed)
    trainer = Trainer(
        net,
        objective,
        optimizer,
        max_grad_norm=max_grad_norm,
        seed=int(rng.integers(2**31)),
        n_threads=n_threads,
    )
    loop = _Loop(trainer, data, validation, named, epochs, batch_size, bool(shuffle), rng)
    hooks = list(callbacks)
    if not any(isinstance(hook, TerminateOnNaN) for hook in hooks):
        hooks.insert(0, TerminateOnNaN())
    if verbose and sys.stderr.isatty() and not any(isinstance(hook, ProgressBar) for hook in hooks):
        hooks.append(ProgressBar())
    before = engine.theta.copy()
    try:
        return loop.run(hooks, resume_from)
    except KeyboardInterrupt:
        raise
    except BaseException:
        engine.theta[:] = before
        raise


def _split(data: Source, fraction: float) -> tuple[Source, Source]:
    """Cut off the last `fraction` of the rows (Keras' ``validation_split``)."""
    cut = int(len(data) * (1.0 - fraction))
    if not 0 < cut < len(data):
        raise ValueError(f"validation_split={fraction} of {len(data)} rows leaves one side empty")
    return data.split(cut)


def _validation(engine: Engine, given: Sequence[Any] | None, objective: Objective) -> Source | None:
    if given is None:
        return None
    if not isinstance(given, tuple | list) or len(given) not in (2, 3):
        raise TypeError(
            f"validation_data must be (x, y) or (x, y, sample_weight), got {type(given).__name__}"
        )
    weights = given[2] if len(given) == 3 else None
    return prepare(engine.layout, given[0], given[1], weights, objective, "validation_data: ")


class _Loop:
    """The state of one `fit`, and its loop over epochs."""

    def __init__(
        self,
        trainer: Trainer,
        data: Source | Stream,
        validation: Source | None,
        metrics: dict[str, figures.Metric],
        epochs: int,
        batch_size: int | None,
        shuffle: bool,
        rng: np.random.Generator,
    ) -> None:
        self.trainer, self.data, self.validation, self.metrics = trainer, data, validation, metrics
        self.shuffle, self.rng = shuffle, rng
        self.history = History()
        self.rng_state = rng.bit_generator.state  # as it was before the order of the current epoch was drawn
        self.batches_done = 0  # in the current epoch
        self.seconds = 0.0  # of the current epoch, before it was interrupted
        self.hooks: CallbackList
        self.rows, self.batch_size, steps = np.empty(0, np.int64), 0, None
        if not isinstance(data, Stream):
            # A row of weight 0 is no row: a batch of nothing but such rows would have no mean.
            weights = data.weights
            self.rows = np.arange(len(data)) if weights.all() else np.flatnonzero(weights)
            if len(self.rows) == 0:
                raise ValueError("every row of X has weight 0: there is nothing to learn from")
            wanted = len(self.rows) if batch_size is None else check_count(batch_size, "batch_size")
            self.batch_size = min(wanted, len(self.rows))
            steps = -(-len(self.rows) // self.batch_size)
            trainer.reserve(self.batch_size)
        else:
            steps = data.steps()
        if steps is not None:
            trainer.schedule = trainer.schedule.bind(steps, epochs)
        self.view = Run(
            trainer.net,
            trainer.engine.theta,
            epochs,
            len(self.rows),
            history=self.history.logs,
            save=self.save,
        )

    def run(self, callbacks: Sequence[Any], resume_from: str | os.PathLike[str] | None) -> History:
        """Train all epochs."""
        view, unfinished = self.view, None
        self.hooks = hooks = CallbackList(callbacks, view)
        states = [] if resume_from is None else self.resume(resume_from)
        try:
            hooks.fit_begin()
            for callback, state in self.matching(states):
                callback.set_state(state)
            while view.epoch < view.epochs and not view.stopped:
                hooks.epoch_begin(view.epoch)
                complete = self.train_epoch()
                logs = self.evaluate()
                if not complete:
                    unfinished = logs
                    break
                self.history.append(logs)
                view.epoch += 1
                view.samples_done, view.loss_sum, self.batches_done, self.seconds = 0, 0.0, 0, 0.0
                self.trainer.epoch = view.epoch
                self.rng_state = self.rng.bit_generator.state
                hooks.epoch_end(view.epoch - 1, logs)
            hooks.fit_end()
        finally:
            hooks.close()
        if unfinished is not None:
            self.history.append(unfinished)
        return self.history

    def train_epoch(self) -> bool:
        """Train the current epoch, or what is left of it; False if a callback stopped it on the way."""
        view = self.view
        began = time.perf_counter() - self.seconds
        last, waiting = time.perf_counter(), 0
        by_chunk = not isinstance(
            self.data, Stream
        )  # otherwise batch by batch: hooks are called now and then
        for rows, total in self.chunks():
            view.samples_done += rows
            view.loss_sum = total
            waiting += rows
            now = time.perf_counter()
            self.seconds = now - began
            if by_chunk or now - last >= CHUNK_SECONDS:
                stop = self.hooks.chunk_end(now - last, waiting)
                last, waiting = time.perf_counter(), 0
                if stop and not (by_chunk and view.samples_done == view.samples):
                    return False
        if waiting:
            self.hooks.chunk_end(time.perf_counter() - last, waiting)
        if view.samples_done == 0:
            raise ValueError(
                f"the iterable gave no batch in epoch {view.epoch}: an iterator serves one epoch only; pass a list, "
                "a data loader, or a function that returns a new iterator"
            )
        return True

    def chunks(self) -> Iterator[tuple[int, float]]:
        """Train what is left of the epoch; yield the rows of each compiled call and the epoch's loss sum so far."""
        trainer, view = self.trainer, self.view
        schedule, scale = trainer.schedule, view.learning_rate_scale
        if isinstance(self.data, Stream):
            for rows in itertools.islice(self.data.batches(), self.batches_done, None):
                session = trainer.reserve(rows.n)
                view.learning_rate = scale * schedule(view.epoch if schedule.per == "epoch" else session.step)
                total = session.train(rows, np.arange(rows.n), view.learning_rate)
                self.batches_done += 1
                yield rows.n, view.loss_sum + total
            return
        session, size, order = trainer.session, self.batch_size, self.rows
        if self.shuffle and size < len(order):  # in a full batch the order changes nothing but rounding
            order = order[self.rng.permutation(len(order))]
        first = self.batches_done
        # All rates of the epoch at once, also when resuming within it: a vectorized cosine may round by position.
        rates = scale * schedule.epoch_rates(view.epoch, session.step - first, -(-len(order) // size))
        left = order[first * size :]
        # Added up by the session the sum does not depend on the cuts into chunks.
        session.loss_sum = view.loss_sum
        for rows, part in self.data.pieces(left, size) if len(left) else ():
            done = 0
            steps = -(-len(part) // size)
            for finished, _ in session.chunks(rows, part, rates[first : first + steps]):
                done += finished
                self.batches_done = first + -(-done // size)
                view.learning_rate = float(rates[self.batches_done - 1])
                yield finished, session.loss_sum
            first = self.batches_done

    def evaluate(self) -> dict[str, float]:
        """Return the logs of the current epoch."""
        view, trainer = self.view, self.trainer
        began = time.perf_counter()
        logs = {"loss": view.loss_sum / view.samples_done}
        if self.metrics and not isinstance(self.data, Stream):
            logs.update(
                evaluate(
                    trainer.engine, self.data, trainer.objective, self.metrics, trainer.n_threads, loss=False
                )
            )
        if self.validation is not None:
            scores = evaluate(
                trainer.engine, self.validation, trainer.objective, self.metrics, trainer.n_threads
            )
            logs.update({f"val_{name}": value for name, value in scores.items()})
        logs["learning_rate"] = view.learning_rate
        logs["epoch_seconds"] = self.seconds + time.perf_counter() - began
        return logs

    def settings(self) -> dict[str, Any]:
        """Return what must not change between the parts of a resumed training."""
        trainer = self.trainer
        optimizer = trainer.optimizer.to_config()
        del optimizer["learning_rate"]
        return {
            "loss": asdict(trainer.objective),
            "optimizer": optimizer,
            "batch_size": self.batch_size,
            "rows": len(self.rows),
            "shuffle": self.shuffle,
            "max_grad_norm": trainer.max_grad_norm,
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the state of the training: `resume` goes on from it."""
        view, trainer = self.view, self.trainer
        states = [
            [type(callback).__name__, checkpoints.pack(callback.get_state(), trainer.engine)]
            for callback in self.hooks.callbacks
            if hasattr(callback, "get_state")
        ]
        state = {
            "settings": self.settings(),
            "epoch": view.epoch,
            "batches_done": self.batches_done,
            "samples_done": view.samples_done,
            "loss_sum": view.loss_sum,
            "seconds": self.seconds,
            "step": trainer.session.step,
            "seed": trainer.seed,
            "learning_rate": view.learning_rate,
            "learning_rate_scale": view.learning_rate_scale,
            "generator": self.rng_state,
            "history": {name: list(values) for name, values in self.history.logs.items()},
            "slots": checkpoints.pack(dict(trainer.slots), trainer.engine),
            "callbacks": states,
        }
        checkpoints.write(path, trainer.net, state)

    def resume(self, path: str | os.PathLike[str]) -> list[Any]:
        """Take up the state that `save` wrote; return the states of the callbacks."""
        view, trainer = self.view, self.trainer
        stored = checkpoints.read(path, trainer.net)
        state = stored["training"]
        for name, value in self.settings().items():
            if state["settings"][name] != value:
                raise ValueError(
                    f"resume_from: {os.fspath(path)} was written with {name}={state['settings'][name]!r}, "
                    f"this call has {value!r}"
                )
        trainer.engine.set_parameters(stored["weights"], stored["biases"])
        session = trainer.session
        trainer.seed = session.seed = state["seed"]
        session.step = state["step"]
        for name, values in checkpoints.unpack(state["slots"], trainer.engine).items():
            trainer.slots[name][...] = values
        trainer.epoch = view.epoch = state["epoch"]
        self.batches_done, self.seconds = state["batches_done"], state["seconds"]
        view.samples_done, view.loss_sum = state["samples_done"], state["loss_sum"]
        view.learning_rate, view.learning_rate_scale = state["learning_rate"], state["learning_rate_scale"]
        self.rng.bit_generator.state = self.rng_state = state["generator"]
        self.history.logs.update(state["history"])
        return list(state["callbacks"])

    def matching(self, states: list[Any]) -> Iterator[tuple[Any, dict[str, Any]]]:
        """Pair each stored state with the first free callback of its class."""
        free = [callback for callback in self.hooks.callbacks if hasattr(callback, "set_state")]
        for name, state in states:
            callback = next((item for item in free if type(item).__name__ == name), None)
            if callback is not None:
                free.remove(callback)
                yield callback, checkpoints.unpack(state, self.trainer.engine)
