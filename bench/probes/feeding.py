"""Witnesses made of the ways to hand over rows: sparse, in a loop of one's own, by batches, from files, in parts."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import fastbp as fb
from bench.probes.draws import (
    ACTIVATIONS,
    DTYPES,
    LOSSES,
    OPTIMIZERS,
    csr,
    generator,
    gradients,
    inputs,
    logs,
    network,
    optimizer,
    targets,
)
from bench.probes.outcome import Outcome, Run, like_parameters, parameters


def sparse_case(number: int) -> tuple[str, Run]:
    """Return sparse rows in each form they may come in."""
    form = ("canonical", "unsorted", "duplicates", "gaps", "array", "int8")[number % 6]
    dtype, kind = DTYPES[number // 6], OPTIMIZERS[number % 6]
    batch, activation = (16, 50, None, 1, 7, 33)[number % 6], ACTIVATIONS[number]
    call = "trainer" if number in (1, 8) else "fit"

    def run() -> Outcome:
        rng = generator("sparse", number)
        x = csr(rng, 220, 60, form, dtype)
        y = targets(rng, x.toarray(), "mse", 2).astype(dtype)
        net = network(60, (23, 2), activation, dtype, number)
        rule = optimizer(kind, 5e-3, rng)
        if call == "trainer":
            trainer = fb.Trainer(net, "mse", rule, n_threads=1)
            steps = [trainer.step(x[i : i + 40], y[i : i + 40]) for i in range(0, 220, 40) for _ in range(2)]
            history = [np.array(steps)]
        else:
            history = logs(
                net.fit(
                    x,
                    y,
                    optimizer=rule,
                    epochs=3,
                    batch_size=batch,
                    validation_split=0.2,
                    n_threads=1,
                    verbose=0,
                )
            )
        outputs = [net.predict(x), np.array(net.evaluate(x, y)), *gradients(net, x, y)]
        return Outcome(parameters(net), history, outputs)

    return f"sparse/{dtype}/{form}/{call}/{kind}/{activation}/{number:02d}", run


def trainer_case(number: int) -> tuple[str, Run]:
    """Return a loop of the user's own, with batches of growing and shrinking size."""
    dtype, kind, loss = DTYPES[number % 2], OPTIMIZERS[number % 7], LOSSES[(2 * number) % 9]
    activation = ACTIVATIONS[(number + 1) % 14]
    special = ("plain", "weights", "clip", "dropout", "schedule", "other-dtype", "go-on")[number // 2]

    def run() -> Outcome:
        rng = generator("trainer", number)
        columns, n_outputs = int(rng.integers(2, 50)), int(rng.integers(2, 6))
        x = inputs(rng, 500, columns, dtype)
        y = targets(rng, x, loss, n_outputs)
        net = network(
            columns,
            (int(rng.integers(3, 60)), int(rng.integers(3, 40)), n_outputs),
            activation,
            dtype,
            number,
            dropout=0.2 if special == "dropout" else 0.0,
        )
        rate = 2e-3 if kind == "rprop" else 1e-2
        rule = optimizer(kind, fb.StepDecay(rate, 1, 0.5) if special == "schedule" else rate, rng)
        clip = 0.5 if special == "clip" else None
        trainer = fb.Trainer(net, loss, rule, max_grad_norm=clip, seed=number, n_threads=1)
        steps = []
        for epoch in range(3):
            for size in (5, 64, 1, 33, 200):
                rows = rng.permutation(500)[:size]
                weight = rng.random(size) if special == "weights" else None
                given = x[rows].astype("float64") if special == "other-dtype" else x[rows]
                steps.append(trainer.step(given, y[rows], weight))
            trainer.epoch += 1
            if special == "go-on" and epoch == 1:
                trainer.steps = 40
                for values in trainer.slots.values():
                    values *= 0.5
        state = [part for name in sorted(trainer.slots) for part in like_parameters(net, trainer.slots[name])]
        return Outcome(parameters(net), [np.array(steps)], [net.predict(x), *state])

    return f"trainer/{dtype}/{kind}/{loss.partition('(')[0]}/{activation}/{special}/{number:02d}", run


def stream_case(number: int) -> tuple[str, Run]:
    """Return batches that come from a list, a function or an object with a length."""
    dtype, form = DTYPES[number % 2], ("list", "function", "loader")[number // 2]

    def run() -> Outcome:
        rng = generator("stream", number)
        x = inputs(rng, 180, 11, dtype)
        y = targets(rng, x, "mse", 2)
        weight = rng.random(180).astype(dtype)
        cuts = [0, 20, 21, 64, 100, 180]
        batches: list[Any] = [
            (x[a:b], y[a:b], weight[a:b]) if number % 3 else (x[a:b].tolist(), y[a:b])
            for a, b in zip(cuts, cuts[1:], strict=False)
        ]

        class Loader:
            def __len__(self) -> int:
                return len(batches)

            def __iter__(self) -> Iterator[Any]:
                return iter(batches)

        source = {"list": batches, "function": lambda: iter(batches), "loader": Loader()}[form]
        net = network(11, (19, 2), ACTIVATIONS[number], dtype, number, dropout=0.1 if number > 2 else 0.0)
        rate = 5e-3 if form == "function" else fb.CosineDecay(5e-3)  # the length of a function is not known
        history = net.fit(
            source, optimizer=fb.Adam(rate), epochs=4, validation_data=(x, y), callbacks=[fb.EarlyStopping(2)],
            n_threads=1, verbose=0,
        )  # fmt: skip
        return Outcome(parameters(net), logs(history))

    return f"stream/{dtype}/{form}/{number}", run


def memmap_case(number: int) -> tuple[str, Run]:
    """Return rows in a file: of the model's dtype, of another one, and of another one in several blocks."""
    stored = ("float32", "float64", "int16", ">f4", "uint8", "float32")[number]
    dtype = DTYPES[number % 2]
    n, columns = (17500, 500) if stored == "uint8" else (300, 12)

    def run() -> Outcome:
        rng = generator("memmap", number)
        values = (
            rng.integers(0, 9, (n, columns))
            if np.dtype(stored).kind in "iu"
            else inputs(rng, n, columns, dtype)
        )
        with tempfile.TemporaryDirectory() as folder:
            x = np.memmap(
                Path(folder) / "x", stored, "w+", shape=(n, columns), order="F" if number == 5 else "C"
            )
            x[:] = values
            y = targets(rng, np.asarray(values, dtype), "mse", 1)
            net = network(columns, (8, 1), "tanh", dtype, number, input_dropout=0.1 if number == 3 else 0.0)
            history = net.fit(
                x,
                y,
                optimizer=fb.Adam(1e-3),
                epochs=2,
                batch_size=500 if n > 300 else 32,
                n_threads=1,
                verbose=0,
            )
            outputs = [net.predict(x), np.array(net.evaluate(x, y))]
            del x
        return Outcome(parameters(net), logs(history), outputs)

    return f"memmap/{dtype}/{stored.replace('>f4', 'big-endian')}/{number}", run


class Stop:
    """Stops after a number of chunks, perhaps within an epoch, or after a number of epochs."""

    def __init__(self, chunks: int = 0, epochs: int = 0) -> None:
        self.chunks, self.epochs = chunks, epochs

    def on_chunk_end(self, seconds: float, samples: int) -> bool:
        """Count."""
        self.chunks -= 1
        return self.chunks == 0

    def on_epoch_end(self, epoch: int, logs: Any) -> bool:
        """Count."""
        self.epochs -= 1
        return self.epochs == 0


def resume_case(number: int) -> tuple[str, Run]:
    """Return a training in two parts. The rows that pass between two chunks are the clock's choice; the end is not."""
    dtype, kind = DTYPES[number % 2], ("adam", "sgd", "rmsprop", "nadam", "adagrad")[number % 5]
    place = ("epoch", "within", "stream")[0 if number < 3 else 1 if number < 7 else 2]
    large = place == "within"

    def run() -> Outcome:
        rng = generator("resume", number)
        n, columns, widths = (4500, 64, (256, 256, 10)) if large else (260, 9, (21, 14, 2))
        x = inputs(rng, n, columns, dtype)
        y = targets(rng, x, "mse", widths[-1])
        rule = optimizer(kind, fb.OneCycle(5e-3) if number % 2 else 5e-3, rng)
        options: dict[str, Any] = {"max_grad_norm": 1.0} if number in (2, 4) else {}
        data: dict[str, Any] = {"x": x, "y": y}
        if place == "stream":

            def batches() -> Iterator[Any]:
                for start in range(0, n, 20):
                    if start == 100:
                        time.sleep(0.06)  # longer than a chunk: the training is asked to stop here
                    yield x[start : start + 20], y[start : start + 20]

            data = {"x": batches}
            rule = optimizer(kind, 5e-3, rng)
        else:
            options |= {"batch_size": 64 if large else 20, "validation_split": 0.1}

        def part(*hooks: Any, **more: Any) -> tuple[fb.Sequential, Any]:
            net = network(columns, widths, "relu", dtype, number, dropout=0.1)
            # The rate falls after each epoch, and number 2 goes back to its first: both must be in the file.
            mode = "max" if number == 2 else "min"
            callbacks = [
                *hooks,
                fb.EarlyStopping(9, monitor="loss", mode=mode),
                fb.ReduceLROnPlateau(0.5, 0, monitor="loss", threshold=0.9),
            ]
            threads = 2 if number == 5 else 1
            arguments = {"optimizer": rule, "callbacks": callbacks, "n_threads": threads, "verbose": 0}
            return net, net.fit(**data, epochs=2 if large else 5, **arguments, **options, **more)

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "run.safetensors"
            stop = Stop(epochs=2) if place == "epoch" else Stop(chunks=1)
            part(fb.Checkpoint(path, every_seconds=0.0), stop)
            net, history = part(resume_from=path)
        return Outcome(parameters(net), logs(history))

    return f"resume/{dtype}/{kind}/{place}/{number}", run


def witnesses() -> Iterator[tuple[str, Run]]:
    """Yield name and program of every witness of this room."""
    yield from map(sparse_case, range(12))
    yield from map(trainer_case, range(14))
    yield from map(stream_case, range(6))
    yield from map(memmap_case, range(6))
    yield from map(resume_case, range(10))
