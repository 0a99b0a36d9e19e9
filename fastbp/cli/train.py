"""``fastbp train``: a network for a table, tested on rows that it never saw, and saved.

The engine is imported when it is first needed: a fault of the input shows before Numba has been loaded.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from argparse import Namespace
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastbp.cli import output, report
from fastbp.cli.report import complain, say
from fastbp.formats import atomic_write
from fastbp.tables.errors import InputError
from fastbp.tables.prepare import Prepared, prepare
from fastbp.tables.preprocessor import RECORD, Preprocessor
from fastbp.tables.read import read

if TYPE_CHECKING:
    from fastbp.layers import Dense, Dropout
    from fastbp.sequential import Sequential
    from fastbp.training.history import History

UPDATES = 6000  # steps that the default limit of epochs comes to; early stopping ends most searches before
PATIENCE = 20
COPIES = 8  # of the parameters: they, the gradient, Adam's two moments, the best so far, and a second network


def run(arguments: Namespace) -> int:
    """Train a network on a table, tell how good it is on rows it never saw, and save it; returns the exit code.

    Raises
    ------
    InputError
        The table, an option or the place of a file is at fault.
    """
    out = arguments.out or output.default_model()
    prepared = _rows(arguments, out)
    preprocessor = prepared.preprocessor
    net = _network(preprocessor, arguments)
    options, epochs = _options(prepared, arguments)
    if not arguments.json:
        report.introduce(arguments.data, prepared, net, arguments, epochs)
    compile_seconds = _compile(net, prepared, options)
    history, searched = _fit(net, prepared, options, epochs, arguments)
    outputs = net.predict(prepared.x[prepared.test])
    facts: dict[str, Any] = {
        "data": arguments.data,
        "task": preprocessor.task,
        "target": list(preprocessor.target),
        "classes": list(preprocessor.classes),
        "rows": prepared.n_rows,
        "inputs": net.n_inputs,
        "parameters": net.n_parameters,
        "epochs": len(history),
        "epochs_searched": len(searched) if searched else 0,
        "loss": float(history.loss[-1]),
        **preprocessor.score(outputs, prepared.y[prepared.test]),
        **_speed(prepared, history, searched),
        "compile_seconds": round(compile_seconds, 2),
        "model": out,
        "plot": arguments.plot,
    }
    net.metadata[RECORD] = preprocessor.to_json()
    net.metadata["training"] = json.dumps(facts, ensure_ascii=False)
    net.save(out)
    if arguments.plot:
        _plot(searched or history, arguments.plot)
    if arguments.json:
        say(json.dumps(facts, ensure_ascii=False))
    else:
        report.conclude(facts)
    return 0


def _rows(arguments: Namespace, out: str) -> Prepared:
    """Read the table, and encode it once it is sure that the results can be written."""
    table = read(arguments.data)
    for note in table.notes:
        complain(f"note: {table.source}: {note}")
    output.check_output(out, arguments.data, (".safetensors",))
    if arguments.plot:
        output.check_plot(arguments.plot, arguments.data)
    watched = arguments.patience is not None or arguments.epochs is None
    return prepare(
        table,
        target=arguments.target,
        drop=arguments.drop,
        text=arguments.text,
        task=arguments.task,
        test_size=arguments.test_size,
        validation_size=0.125 if watched else 0.0,
        seed=arguments.seed,
        dtype=arguments.dtype,
    )


def _network(preprocessor: Preprocessor, arguments: Namespace) -> Sequential:
    from fastbp.layers import Dense, Dropout
    from fastbp.sequential import Sequential

    _check_memory([preprocessor.n_inputs, *arguments.hidden, preprocessor.n_outputs], arguments)
    layers: list[Dense | Dropout] = []
    for units in arguments.hidden:
        layers.append(Dense(units, arguments.activation or "relu"))
        if arguments.dropout:
            layers.append(Dropout(arguments.dropout))
    layers.append(Dense(preprocessor.n_outputs))
    return Sequential(layers, n_inputs=preprocessor.n_inputs, dtype=arguments.dtype, seed=arguments.seed)


def _check_memory(sizes: list[int], arguments: Namespace) -> None:
    """Refuse a network that cannot be trained here, before the machine is brought to a standstill by trying."""
    parameters = sum((fan_in + 1) * fan_out for fan_in, fan_out in pairwise(sizes))
    needed = COPIES * parameters * np.dtype(arguments.dtype).itemsize
    try:
        there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # this system does not tell
        return
    if needed > there > 0:
        raise InputError(
            f"--hidden {','.join(map(str, arguments.hidden))}: to train {parameters:,} parameters takes about "
            f"{needed / 1e9:,.0f} GB of memory, and this machine has {there / 1e9:,.0f} GB"
        )


def _options(prepared: Prepared, arguments: Namespace) -> tuple[dict[str, Any], int]:
    """Arguments of `Sequential.fit` that do not depend on the rows, and the number of epochs."""
    from fastbp import optimizers

    optimizer = optimizers.get(arguments.optimizer)
    rate = arguments.lr or (0.1 if arguments.optimizer == "sgd" else optimizer.learning_rate)
    n_train = prepared.n_rows["train"]
    batches = math.ceil(n_train / (arguments.batch_size or n_train))
    options = {
        "loss": "cross_entropy" if prepared.preprocessor.task == "classification" else "mse",
        "optimizer": replace(optimizer, learning_rate=rate),
        "batch_size": arguments.batch_size,
        "seed": arguments.seed,
        "n_threads": arguments.threads,
        "verbose": 0,
    }
    return options, arguments.epochs or max(10, min(500, math.ceil(UPDATES / batches)))


def _compile(net: Sequential, prepared: Prepared, options: dict[str, Any]) -> float:
    """Load or compile every kernel that the training needs, by a step of a twin; return the seconds it took."""
    start = time.perf_counter()
    twin = type(net).from_config(net.to_config())
    x, y = prepared.x[:2], prepared.y[:2]
    twin.fit(x, y, epochs=1, validation_data=(x, y), **options)
    twin.predict(x)
    return time.perf_counter() - start


def _fit(
    net: Sequential, prepared: Prepared, options: dict[str, Any], epochs: int, arguments: Namespace
) -> tuple[History, History | None]:
    """Train the network; with validation rows, first find out on a twin for how many epochs.

    The validation rows are too many to be wasted: once they have said which epoch is the best, the network itself
    learns from them too, for that many epochs.
    """
    from fastbp.callbacks import EarlyStopping, ProgressBar

    x, y = prepared.x, prepared.y
    bar = [ProgressBar()] if sys.stderr.isatty() else []
    searched = None
    if prepared.n_rows["validation"]:
        stopping = EarlyStopping(patience=arguments.patience or PATIENCE)
        twin = type(net).from_config(net.to_config())
        searched = twin.fit(
            x[prepared.train],
            y[prepared.train],
            epochs=epochs,
            callbacks=[stopping, *bar],
            validation_data=(x[prepared.validation], y[prepared.validation]),
            **options,
        )
        epochs = stopping.best_epoch + 1
        if not arguments.json:
            n = prepared.learned.stop
            say(f"best after {epochs:,} of {len(searched):,} epochs: that many on all {n:,} rows ...")
    history = net.fit(x[prepared.learned], y[prepared.learned], epochs=epochs, callbacks=bar, **options)
    return history, searched


def _speed(prepared: Prepared, history: History, searched: History | None) -> dict[str, float]:
    seconds = sum(history.epoch_seconds)
    trained = prepared.learned.stop * len(history)
    if searched:
        seconds += sum(searched.epoch_seconds)
        trained += prepared.n_rows["train"] * len(searched)
    return {"seconds": round(seconds, 4), "samples_per_second": round(trained / max(seconds, 1e-9))}


def _plot(history: History, path: str) -> None:
    from matplotlib.figure import Figure

    from fastbp.plot import loss_curve

    figure = Figure(layout="constrained")
    loss_curve(history, ax=figure.subplots())
    with atomic_write(path) as file:
        figure.savefig(file, format=Path(path).suffix[1:].lower(), dpi=150)
