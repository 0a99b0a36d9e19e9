"""The loop over epochs of a model: order of the rows, learning rates, validation, and how it is saved and resumed."""

from __future__ import annotations

import functools
import itertools
import os
import weakref
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

import fastbp.formats._schema as schema
from fastbp.callbacks.hooks import Logs, Run
from fastbp.engine.memory import Array
from fastbp.engine.rows import Rows
from fastbp.engine.sources import Source, Stream, ValidationSource
from fastbp.engine.workspace import EMPTY_ORDER
from fastbp.formats._container import contents
from fastbp.optimizers import MOST_STEPS
from fastbp.schedules import ConstantSchedule, Times
from fastbp.training import checkpoints
from fastbp.training.evaluation import evaluate
from fastbp.training.history import History
from fastbp.training.loop import Loop
from fastbp.training.orders import Draws
from fastbp.training.settings import Fit
from fastbp.training.trainer import Trainer
from fastbp.validation import shown

STREAM_SECONDS = 0.05  # how often `on_chunk_end` is called when the batches come one by one
FEW_ROWS = 4096  # their numbers stay for the fits to come


def _plain(value: Any, name: str) -> None:
    """Check that a value is text, a number, None, or lists and dicts of them: what can be compared."""
    if isinstance(value, dict):
        schema.table(_plain)(value, name)
    elif isinstance(value, list | tuple):
        for i, content in enumerate(value):
            _plain(content, f"{name}[{i}]")
    elif not (value is None or isinstance(value, str | bool)):
        schema.number()(value, name)


_EVERY: weakref.WeakValueDictionary[int, Array] = weakref.WeakValueDictionary()


def every(n: int) -> Array:
    """Return the row numbers 0 ... n - 1, one array for all who have it now; not to be written to."""
    if n <= FEW_ROWS:
        return _few(n)
    rows = _EVERY.get(n)
    if rows is None:
        rows = _EVERY[n] = _numbers(n)
    return rows


def _numbers(n: int) -> Array:
    rows = np.arange(n)
    rows.flags.writeable = False
    return rows


_few = functools.lru_cache(maxsize=16)(_numbers)


TRAINING = schema.record(
    {
        "settings": schema.table(_plain),
        "epoch": schema.integer(0),
        "batches_done": schema.integer(0),
        "samples_done": schema.integer(0),
        "loss_sum": schema.number(),
        "seconds": schema.number(0.0, finite=True),
        "step": schema.integer(0, MOST_STEPS),
        "seed": schema.integer(0),
        "learning_rate": schema.number(),  # NaN before the first batch
        "learning_rate_scale": schema.number(),
        "generator": schema.table(lambda value, name: None),
        "history": schema.table(schema.items(schema.number())),
        "slots": schema.table(schema.array("f", 1)),
        "callbacks": schema.items(schema.items(schema.text, schema.table(lambda value, name: None))),
    },
    {"product": schema.number(), "mass_done": schema.number(0.0, finite=True)},  # not in older files
)


class ModelLoop(Loop):
    """The loop over epochs of one `fit` of a model.

    Parameters
    ----------
    trainer : Trainer
    data : Rows, MappedRows or Stream
        To train on.
    validation : Rows, MappedRows or None
    settings : Fit
    callbacks : iterable
        Those of the settings, and those that are always there.
    rng : numpy.random.Generator or Replay
        Of the orders.
    rows : ndarray of int64, optional
        The rows of `data` to train on, one by one; left out: all.
    """

    resumable = True

    def __init__(
        self,
        trainer: Trainer,
        data: Source | Stream,
        validation: ValidationSource | None,
        settings: Fit,
        callbacks: Iterable[Any],
        rng: Draws,
        rows: Array | None = None,
    ) -> None:
        self.trainer, self.data, self.validation, self.settings = trainer, data, validation, settings
        self.rng = rng
        self.history = History()
        self.batches_done = 0  # in the current epoch
        self.mass_done = 0.0  # weight of the batches of the current epoch that came one by one
        self.rows, self.batch_size = np.empty(0, np.int64), 0
        self.order = self.rows  # of the current epoch
        steps: int | None
        if isinstance(data, Stream):
            self.chunk_seconds = STREAM_SECONDS
            steps = data.steps()
        else:
            # A row of weight 0 is no row: a batch of nothing but such rows would have no mean.
            weights = data.weights
            self.rows = every(len(data)) if rows is None else rows
            if weights.size and not weights[self.rows].all():
                self.rows = self.rows[weights[self.rows] != 0.0]
            if len(self.rows) == 0:
                raise ValueError("every row of X has weight 0: there is nothing to learn from")
            self.batch_size = min(settings.batch_size or len(self.rows), len(self.rows))
            steps = -(-len(self.rows) // self.batch_size)
        if steps is not None:
            trainer.schedule = trainer.schedule.bind(steps, settings.epochs)
        run = Run(
            trainer.net,
            trainer.engine.theta,
            settings.epochs,
            len(self.rows),
            history=self.history.logs,
            save=self.save,
        )
        super().__init__(run, callbacks)
        # Whether nobody looks at the model between two epochs, or at the generator, or weighs the loss of an epoch.
        self._unseen = (
            isinstance(data, Rows)
            and data.weights.size == 0
            and validation is None
            and not settings.metrics
            and self.hooks.late
        )
        # As it was before the order of the current epoch was drawn; for callbacks that save.
        self.rng_state = None if self._unseen else rng.bit_generator.state
        self._states: list[tuple[str, dict[str, Any]]] = []  # of the callbacks, from the file

    def begun(self) -> None:
        """Give each callback its state from the file."""
        free = [callback for callback in self.hooks.callbacks if hasattr(callback, "set_state")]
        for name, state in self._states:
            callback = next((item for item in free if type(item).__name__ == name), None)
            if callback is not None:
                free.remove(callback)
                with contents(self.settings.resume_from or ""):
                    callback.set_state(state)

    def epoch(self) -> bool:
        """Train the current epoch, or what is left of it; False if a callback stopped it on the way."""
        complete = super().epoch()
        if self.run.samples_done == 0:
            raise ValueError(
                f"the iterable gave no batch in epoch {self.run.epoch + 1}: an iterator serves one epoch only; pass a "
                "list, a data loader, or a function that returns a new iterator"
            )
        return complete

    def chunks(self) -> Iterator[tuple[int, float]]:
        """Train what is left of the epoch; yield the rows of each compiled call, and the epoch's loss sum so far."""
        return self._batches(self.data) if isinstance(self.data, Stream) else self._chunks(self.data)

    def ahead(self) -> int:
        """Return how many epochs may be trained at once: as many as take about 50 ms, if nobody looks in between."""
        run = self.run
        if not self._unseen or self.batches_done:
            return 0
        session = self.trainer.reserve(self.batch_size)
        return min(run.epochs - run.epoch, session.passes_in_a_call(run.samples))

    def passes(self, count: int) -> Iterable[tuple[float, float]] | None:
        """Train `count` epochs in one compiled call; see `Loop.passes`."""
        trainer, run, size, order = self.trainer, self.run, self.batch_size, self.rows
        assert isinstance(self.data, Rows)
        session, n = trainer.session, len(order)
        everyone = len(order) == self.data.n and order is every(self.data.n)
        before = self.rng.bit_generator.state if count > 1 else {}
        if self.settings.shuffle and size < n:
            orders = np.empty((count, n), np.int64)
            for k in range(count):
                drawn = self.rng.permutation(n)
                orders[k] = drawn if everyone else order[drawn]
        else:
            orders = EMPTY_ORDER if everyone else np.tile(order, (count, 1))
        steps = -(-n // size)
        schedule, scale = trainer.schedule, run.learning_rate_scale
        rates: float | Times
        if isinstance(schedule, ConstantSchedule):
            rates = float(scale * schedule.learning_rate)
            last = [rates] * count
        else:
            epochs = [
                scale * schedule.epoch_rates(run.epoch + k, session.step + k * steps, steps)
                for k in range(count)
            ]
            rates, last = np.concatenate(epochs), [float(epoch[-1]) for epoch in epochs]
        sums = session.passes(self.data, orders, rates, count)
        if sums is not None:
            return zip(sums, last, strict=True)
        self.rng.bit_generator.state = self.rng_state = before
        self._unseen = False
        return None

    def _batches(self, stream: Stream) -> Iterator[tuple[int, float]]:
        trainer, run = self.trainer, self.run
        schedule, scale = trainer.schedule, run.learning_rate_scale
        for rows in itertools.islice(stream.batches(), self.batches_done, None):
            session = trainer.reserve(rows.n)
            run.learning_rate = scale * schedule(run.epoch if schedule.per == "epoch" else session.step)
            total = session.train(rows, np.arange(rows.n), run.learning_rate)
            self.batches_done += 1
            self.mass_done += rows.mass
            yield rows.n, run.loss_sum + total

    def _chunks(self, data: Source) -> Iterator[tuple[int, float]]:
        trainer, run, size, order = self.trainer, self.run, self.batch_size, self.rows
        session = trainer.reserve(size)
        if self.settings.shuffle and size < len(
            order
        ):  # in a full batch the order changes nothing but rounding
            order = order[self.rng.permutation(len(order))]
        self.order = order
        first = self.batches_done
        # All rates of the epoch at once, also when resuming within it: a vectorized cosine may round by position.
        rates = run.learning_rate_scale * trainer.schedule.epoch_rates(
            run.epoch, session.step - first, -(-len(order) // size)
        )
        left = order[first * size :]
        # The session adds up the losses, so that the sum does not depend on the cuts into chunks.
        session.loss_sum = run.loss_sum
        for rows, part in data.pieces(left, size) if len(left) else ():
            done = 0
            steps = -(-len(part) // size)
            for finished, _ in session.chunks(rows, part, rates[first : first + steps]):
                done += finished
                self.batches_done = first + -(-done // size)
                run.learning_rate = float(rates[self.batches_done - 1])
                yield finished, session.loss_sum
            first = self.batches_done

    def measure(self) -> Logs:
        """Return loss, metrics, and those of the validation data."""
        run, settings, engine = self.run, self.settings, self.trainer.engine
        objective, metrics, n_threads = settings.objective, settings.metrics, self.trainer.n_threads
        logs = {"loss": run.loss_sum / self._mass()}
        if metrics and not isinstance(self.data, Stream):
            logs.update(evaluate(engine, self.data, objective, metrics, n_threads, loss=False))
        if self.validation is not None:
            scores = evaluate(engine, self.validation, objective, metrics, n_threads)
            logs.update({f"val_{name}": value for name, value in scores.items()})
        return logs

    def _mass(self) -> float:
        """Return the weight of the rows trained in this epoch: the same bits however the epoch was cut."""
        if isinstance(self.data, Stream):
            return self.mass_done
        weights, done = self.data.weights, self.run.samples_done
        return float(weights[self.order[:done]].sum()) if weights.size else float(done)

    def epoch_over(self) -> None:
        """Begin the next epoch at its first batch."""
        self.batches_done, self.mass_done = 0, 0.0
        self.trainer.epoch = self.run.epoch
        if not self._unseen:
            self.rng_state = self.rng.bit_generator.state

    # How it is saved and resumed

    def unchanging(self) -> dict[str, Any]:
        """Return what must be the same in all parts of a resumed training."""
        trainer = self.trainer
        optimizer = trainer.optimizer.to_config()
        del optimizer["learning_rate"]
        return {
            "loss": trainer.objective.to_config(),
            "optimizer": optimizer,
            "batch_size": self.batch_size,
            "rows": len(self.rows),
            "shuffle": bool(self.settings.shuffle),
            "max_grad_norm": trainer.max_grad_norm,
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the state of the training: `resume` goes on from it."""
        run, trainer = self.run, self.trainer
        states = [
            [type(callback).__name__, checkpoints.pack(callback.get_state(), trainer.engine)]
            for callback in self.hooks.callbacks
            if hasattr(callback, "get_state")
        ]
        state = {
            "settings": self.unchanging(),
            "epoch": run.epoch,
            "batches_done": self.batches_done,
            "samples_done": run.samples_done,
            "loss_sum": run.loss_sum,
            "mass_done": self.mass_done,
            "seconds": self.seconds,
            "step": trainer.session.step,
            "product": trainer.session.product,
            "seed": trainer.seed,
            "learning_rate": run.learning_rate,
            "learning_rate_scale": run.learning_rate_scale,
            "generator": self.rng_state,
            "history": {name: list(values) for name, values in run.history.items()},
            "slots": checkpoints.pack(dict(trainer.slots), trainer.engine),
            "callbacks": states,
        }
        checkpoints.write(path, trainer.net, state)

    def resume(self, path: str | os.PathLike[str]) -> None:
        """Go on from the state that `save` wrote.

        Raises
        ------
        FormatError
            Its contents do not fit together.
        ValueError
            The checkpoint of another model or another training.
        """
        run, trainer = self.run, self.trainer
        stored = checkpoints.read(path, trainer.net)
        state = stored["training"]
        with contents(path):
            TRAINING(state, "training")
        for name, value in self.unchanging().items():
            written = state["settings"].get(name)
            if written != value:
                raise ValueError(
                    f"resume_from: {os.fspath(path)} was written with {name}={shown(written, checkpoints.SHOWN)}, "
                    f"this call has {shown(value, checkpoints.SHOWN)}"
                )
        session = trainer.reserve(max(1, self.batch_size))
        with contents(path):
            self._check_place(state["batches_done"], state["samples_done"])
            slots = checkpoints.unpack(state["slots"], trainer.engine)
            schema.like(session.slots)(slots, "training.slots")
            schema.like(self.rng.bit_generator.state)(state["generator"], "training.generator")
            self.rng.bit_generator.state = self.rng_state = state["generator"]
            self._states = [
                (name, checkpoints.unpack(content, trainer.engine)) for name, content in state["callbacks"]
            ]
        trainer.engine.set_parameters(stored["weights"], stored["biases"])
        trainer.seed = state["seed"]
        session.step = state["step"]
        session.product = state.get("product", session.product)
        for name, values in slots.items():
            session.slots[name][...] = values
        trainer.epoch = run.epoch = state["epoch"]
        self.batches_done, self.seconds = state["batches_done"], state["seconds"]
        run.samples_done, run.loss_sum = state["samples_done"], state["loss_sum"]
        self.mass_done = state.get("mass_done", float(state["samples_done"]))
        run.learning_rate, run.learning_rate_scale = state["learning_rate"], state["learning_rate_scale"]
        run.history.update(state["history"])

    def _check_place(self, batches: int, samples: int) -> None:
        """Raise a ValueError unless so many batches have so many rows."""
        if isinstance(self.data, Stream):
            fits = batches <= samples and (batches > 0) == (samples > 0)
        else:
            fits = samples == min(batches * self.batch_size, len(self.rows)) and (
                batches <= -(-len(self.rows) // self.batch_size)
            )
        if not fits:
            raise ValueError(f"training.batches_done is {batches}, but samples_done {samples}")
