"""The loop over epochs of a model: order of the rows, learning rates, validation, and how it is saved and resumed."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

import numpy as np

from fastbp.callbacks.hooks import Logs, Run
from fastbp.engine.sources import Source, Stream
from fastbp.training import checkpoints
from fastbp.training.evaluation import evaluate
from fastbp.training.history import History
from fastbp.training.loop import Loop
from fastbp.training.settings import Fit
from fastbp.training.trainer import Trainer

STREAM_SECONDS = 0.05  # how often `on_chunk_end` is called when the batches come one by one


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
    rng : numpy.random.Generator
        Of the orders.
    """

    resumable = True

    def __init__(
        self,
        trainer: Trainer,
        data: Source | Stream,
        validation: Source | None,
        settings: Fit,
        callbacks: Iterable[Any],
        rng: np.random.Generator,
    ) -> None:
        self.trainer, self.data, self.validation, self.settings = trainer, data, validation, settings
        self.rng = rng
        self.rng_state = rng.bit_generator.state  # as it was before the order of the current epoch was drawn
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
            self.rows = np.arange(len(data)) if data.weights.all() else np.flatnonzero(data.weights)
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
        self._states: list[Any] = []  # of the callbacks, from the file that the training resumes from

    def begun(self) -> None:
        """Give each callback its state from the file."""
        free = [callback for callback in self.hooks.callbacks if hasattr(callback, "set_state")]
        for name, state in self._states:
            callback = next((item for item in free if type(item).__name__ == name), None)
            if callback is not None:
                free.remove(callback)
                callback.set_state(checkpoints.unpack(state, self.trainer.engine))

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
        self.rng_state = self.rng.bit_generator.state

    # How it is saved and resumed

    def unchanging(self) -> dict[str, Any]:
        """Return what must be the same in all parts of a resumed training."""
        trainer = self.trainer
        optimizer = trainer.optimizer.to_config()
        del optimizer["learning_rate"]
        return {
            "loss": asdict(trainer.objective),
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
        """Go on from the state that `save` wrote."""
        run, trainer = self.run, self.trainer
        stored = checkpoints.read(path, trainer.net)
        state = stored["training"]
        for name, value in self.unchanging().items():
            if state["settings"][name] != value:
                raise ValueError(
                    f"resume_from: {os.fspath(path)} was written with {name}={state['settings'][name]!r}, "
                    f"this call has {value!r}"
                )
        trainer.engine.set_parameters(stored["weights"], stored["biases"])
        trainer.seed = state["seed"]
        session = trainer.reserve(max(1, self.batch_size))
        session.step = state["step"]
        for name, values in checkpoints.unpack(state["slots"], trainer.engine).items():
            session.slots[name][...] = values
        trainer.epoch = run.epoch = state["epoch"]
        self.batches_done, self.seconds = state["batches_done"], state["seconds"]
        run.samples_done, run.loss_sum = state["samples_done"], state["loss_sum"]
        self.mass_done = state.get("mass_done", float(state["samples_done"]))  # older files do not have it
        run.learning_rate, run.learning_rate_scale = state["learning_rate"], state["learning_rate_scale"]
        self.rng.bit_generator.state = self.rng_state = state["generator"]
        run.history.update(state["history"])
        self._states = list(state["callbacks"])
