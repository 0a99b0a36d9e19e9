"""What the commands train, predict, info and warmup do; arguments.py parses their arguments and reports their faults.

The engine is imported where it is first needed: a fault of the input shows before Numba has been loaded.
"""

from __future__ import annotations

import csv
import json
import math
import os
import platform
import sys
import threading
import time
from argparse import Namespace
from collections.abc import Iterable
from importlib import metadata
from itertools import pairwise
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastbp.cli.report import OPTIMIZERS, complain
from fastbp.formats import atomic_write, load
from fastbp.tables import read as data
from fastbp.tables.preprocessing import Prepared, Preprocessor, prepare
from fastbp.tables.table import InputError, Table, listed

if TYPE_CHECKING:
    from fastbp.layers import Dense, Dropout
    from fastbp.sequential import Sequential
    from fastbp.training.history import History

MODEL = "model.safetensors"
RECORD = "preprocessing"  # key of the model's metadata
UPDATES = 6000  # steps that the default limit of epochs comes to; early stopping ends most searches before
PATIENCE = 20
COMPILE_SECONDS = 15
COPIES = 8  # of the parameters: they, the gradient, Adam's two moments, the best so far, and a second network
PATIENT_SECONDS = 3.0  # loading kernels from the disk takes a second or less


def say(line: str) -> None:
    """Write one line to standard output, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


# ---------------------------------------------------------------------------------------------------------- train


def train(arguments: Namespace) -> int:
    """Train a network on a table, tell how good it is on rows it never saw, and save it."""
    out = arguments.out or _default_out()
    table = data.read(arguments.data)
    for note in table.notes:
        complain(f"note: {table.source}: {note}")
    _check_output(out, arguments.data)
    if arguments.plot:
        _check_plot(arguments.plot, arguments.data)
    watched = arguments.patience is not None or arguments.epochs is None
    prepared = prepare(
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
    net = _network(prepared.preprocessor, arguments)
    options, epochs = _options(prepared, arguments)
    if not arguments.json:
        _introduce(table, prepared, net, arguments, epochs)
    compile_seconds = _compile(net, prepared, options)
    history, searched = _fit(net, prepared, options, epochs, arguments)
    seconds = sum(history.epoch_seconds) + sum(searched.epoch_seconds if searched else ())
    n_rows = len(prepared.train) + len(prepared.validation)
    trained = n_rows * len(history) + (len(prepared.train) * len(searched) if searched else 0)
    report: dict[str, Any] = {
        "data": arguments.data,
        "task": prepared.preprocessor.task,
        "target": list(prepared.preprocessor.target),
        "classes": list(prepared.preprocessor.classes),
        "rows": {part: len(getattr(prepared, part)) for part in ("train", "validation", "test")},
        "inputs": net.n_inputs,
        "parameters": net.n_parameters,
        "epochs": len(history),
        "epochs_searched": len(searched) if searched else 0,
        "loss": float(history.loss[-1]),
        **_score(prepared.preprocessor, net.predict(prepared.x[prepared.test]), prepared.y[prepared.test]),
        "seconds": round(seconds, 4),
        "samples_per_second": round(trained / max(seconds, 1e-9)),
        "compile_seconds": round(compile_seconds, 2),
        "model": out,
        "plot": arguments.plot,
    }
    net.metadata[RECORD] = prepared.preprocessor.to_json()
    net.metadata["training"] = json.dumps(report, ensure_ascii=False)
    net.save(out)
    if arguments.plot:
        _plot(searched or history, arguments.plot)
    if arguments.json:
        say(json.dumps(report, ensure_ascii=False))
    else:
        _conclude(report)
    return 0


def _default_out() -> str:
    """``model.safetensors``, unless that is somebody else's: other programs use the same name."""
    path = Path(MODEL)
    if path.is_file() and path.stat().st_size:
        with path.open("rb") as file:
            start = file.read(1 << 16)
        if b'"__metadata__":{"fastbp":' not in start:
            raise InputError(f"{MODEL}: exists and is no model of fastbp; choose another name with --out")
    return MODEL


def _check_output(out: str, source: str) -> None:
    """Find out before the work, not after it, that the result cannot be written."""
    path = Path(out)
    if path.is_dir():
        raise InputError(f"{out}: is a folder, where a file shall be written")
    folder = Path(os.path.realpath(path)).parent
    if not folder.is_dir():
        raise InputError(f"{out}: there is no folder {folder}")
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise InputError(f"{out}: no permission to write it")
    if path.exists() and Path(source).exists() and path.samefile(source):
        raise InputError(f"{out}: would overwrite the input")


def _check_plot(plot: str, source: str) -> None:
    _check_output(plot, source)
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise InputError('--plot needs matplotlib: pip install "fastbp[plot]"') from None
    kinds = sorted(Figure().canvas.get_supported_filetypes())
    if Path(plot).suffix[1:].lower() not in kinds:
        raise InputError(f"{plot}: the name of a picture must end in one of .{', .'.join(kinds)}")


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
    except (AttributeError, ValueError, OSError):  # not told by this system
        return
    if needed > there > 0:
        raise InputError(
            f"--hidden {','.join(map(str, arguments.hidden))}: to train {parameters:,} parameters takes about "
            f"{needed / 1e9:,.0f} GB of memory, and this machine has {there / 1e9:,.0f} GB"
        )


def _options(prepared: Prepared, arguments: Namespace) -> tuple[dict[str, Any], int]:
    """Arguments of `Sequential.fit` that do not depend on the rows, and the number of epochs."""
    from fastbp import optimizers

    kind = getattr(optimizers, OPTIMIZERS[arguments.optimizer])
    rate = arguments.lr or (0.1 if arguments.optimizer == "sgd" else None)
    batches = math.ceil(len(prepared.train) / (arguments.batch_size or len(prepared.train)))
    options = {
        "loss": "cross_entropy" if prepared.preprocessor.task == "classification" else "mse",
        "optimizer": kind() if rate is None else kind(rate),
        "batch_size": arguments.batch_size,
        "seed": arguments.seed,
        "n_threads": arguments.threads,
        "verbose": 0,
    }
    return options, arguments.epochs or max(10, min(500, math.ceil(UPDATES / batches)))


def _fit(
    net: Sequential, prepared: Prepared, options: dict[str, Any], epochs: int, arguments: Namespace
) -> tuple[History, History | None]:
    """Train the network; with validation rows, first find out on a twin for how many epochs.

    The validation rows are too many to be wasted: once they have said which epoch is the best, the network itself
    learns from them too, for that many epochs.
    """
    from fastbp.callbacks import EarlyStopping, ProgressBar

    bar = [ProgressBar()] if sys.stderr.isatty() else []
    rows = prepared.train
    searched = None
    if len(prepared.validation):
        stopping = EarlyStopping(patience=arguments.patience or PATIENCE)
        searched = (
            type(net)
            .from_config(net.to_config())
            .fit(
                prepared.x[rows],
                prepared.y[rows],
                epochs=epochs,
                callbacks=[stopping, *bar],
                validation_data=(prepared.x[prepared.validation], prepared.y[prepared.validation]),
                **options,
            )
        )
        epochs = stopping.best_epoch + 1
        rows = np.concatenate([rows, prepared.validation])
        if not arguments.json:
            say(f"best after {epochs:,} of {len(searched):,} epochs: that many on all {len(rows):,} rows ...")
    return net.fit(prepared.x[rows], prepared.y[rows], epochs=epochs, callbacks=bar, **options), searched


def _compile(net: Sequential, prepared: Prepared, options: dict[str, Any]) -> float:
    """Load or compile every kernel that the training needs, by a step of a twin; return the seconds it took."""
    from fastbp.kernels.machine import cache

    def announce(line: str) -> None:
        sys.stderr.write(line + "\n")
        sys.stderr.flush()

    if not cache.cache_is_warm():
        announce(f"compiling the kernels for this machine (once; about {COMPILE_SECONDS} s) ...")
    # The cache may lack this dtype only, which shows in the time alone.
    line = f"loading or compiling the kernels (the latter once; about {COMPILE_SECONDS} s) ..."
    late = threading.Timer(PATIENT_SECONDS, announce, [line])
    late.daemon = True
    if cache.cache_is_warm():
        late.start()
    start = time.perf_counter()
    try:
        twin = type(net).from_config(net.to_config())
        rows = prepared.train[:2]
        x, y = prepared.x[rows], prepared.y[rows]
        twin.fit(x, y, epochs=1, validation_data=(x, y), **options)
        twin.predict(x)
    finally:
        late.cancel()
    return time.perf_counter() - start


def _introduce(table: Table, prepared: Prepared, net: Sequential, arguments: Namespace, epochs: int) -> None:
    preprocessor = prepared.preprocessor
    goal = ", ".join(preprocessor.target)
    if preprocessor.task == "classification":
        goal += f" ({len(preprocessor.classes)} classes: {listed(preprocessor.classes, 5)})"
    parts = f"{len(prepared.train):,} to learn from, "
    if len(prepared.validation):
        parts += f"{len(prepared.validation):,} to find the number of epochs, "
    sizes = "-".join(str(n) for n in (net.n_inputs, *arguments.hidden, net.n_outputs))
    size = arguments.batch_size or len(prepared.train)
    say(f"{table.source}: {preprocessor.task} of {goal}")
    say(f"{table.n_rows:,} rows: {parts}{len(prepared.test):,} held out")
    say(
        f"network {sizes}, {net.n_parameters:,} parameters, {arguments.dtype}; {arguments.optimizer}, "
        f"batches of {size:,}, {'up to ' if len(prepared.validation) else ''}{epochs:,} epochs"
    )


def _score(preprocessor: Preprocessor, outputs: NDArray[Any], y: NDArray[Any]) -> dict[str, float | None]:
    """Accuracy; or R2 (mean over targets, None where a target does not vary) and RMSE in the units of the target."""
    if preprocessor.task == "classification":
        return {"accuracy": float(np.mean(np.argmax(outputs, axis=1) == y))}
    truth = preprocessor.decode(y.reshape(len(y), -1))
    squares = np.square(preprocessor.decode(outputs) - truth).mean(axis=0)
    variances = truth.var(axis=0)
    r2 = float(np.mean(1 - squares / variances)) if np.all(variances > 0) else None
    return {"r2": r2, "rmse": float(np.sqrt(squares.mean()))}


def _score_line(score: dict[str, Any], rows: int) -> str:
    if "accuracy" in score:
        return (
            f"accuracy {100 * score['accuracy']:.1f} % ({round(score['accuracy'] * rows):,} of {rows:,} rows)"
        )
    r2 = "not defined" if score["r2"] is None else f"{score['r2']:.3f}"
    return f"R2 {r2}, RMSE {score['rmse']:.4g} ({rows:,} rows)"


def _conclude(report: dict[str, Any]) -> None:
    say(f"held-out {_score_line(report, report['rows']['test'])}")
    epochs = report["epochs"] + report["epochs_searched"]
    say(f"{epochs:,} epochs in {report['seconds']:.2f} s: {report['samples_per_second']:,} samples/s")
    say(f"saved {report['model']}" + (f" and {report['plot']}" if report["plot"] else ""))


def _plot(history: Any, path: str) -> None:
    from matplotlib.figure import Figure

    from fastbp.plot import loss_curve

    figure = Figure(layout="constrained")
    loss_curve(history, ax=figure.subplots())
    with atomic_write(path) as file:
        figure.savefig(file, format=Path(path).suffix[1:].lower(), dpi=150)


# -------------------------------------------------------------------------------------------------------- predict


def predict(arguments: Namespace) -> int:
    """Write one line per row of the table: the class and the probability of each, or the value."""
    if arguments.out:
        for source in (arguments.model, arguments.data):
            _check_output(arguments.out, source)
    table = data.read(arguments.data)
    net: Any = load(arguments.model)
    from fastbp.sequential import Sequential

    if not isinstance(net, Sequential) or RECORD not in net.metadata:
        raise InputError(
            f"{arguments.model}: a {type(net).__name__} that `fastbp train` did not make; use fastbp.load in Python"
        )
    try:
        preprocessor = Preprocessor.from_json(net.metadata[RECORD])
    except InputError as error:
        raise InputError(f"{arguments.model}: {error}") from None
    if (preprocessor.n_inputs, preprocessor.n_outputs) != (net.n_inputs, net.n_outputs):
        raise InputError(
            f"{arguments.model}: the record of how its columns were prepared fits another network"
        )
    x = preprocessor.encode(table, net.dtype, note=lambda line: complain(f"note: {line}"))
    outputs = net.predict(x)
    bad = np.flatnonzero(~np.isfinite(outputs).all(axis=1))
    if bad.size:
        raise table.fault("the model's answer is not a finite number", row=int(bad[0]))
    if arguments.out:
        with atomic_write(arguments.out, "w") as file:
            _write_predictions(file, preprocessor, outputs)
    else:
        _write_predictions(sys.stdout, preprocessor, outputs)
    try:
        y = preprocessor.encode_target(table, net.dtype)
    except InputError:  # no targets, or not of every row: nothing to compare with
        return 0
    complain(
        f"{table.source} holds the target: {_score_line(_score(preprocessor, outputs, y), table.n_rows)}"
    )
    return 0


def _write_predictions(file: IO[str], preprocessor: Preprocessor, outputs: NDArray[Any]) -> None:
    writer = csv.writer(file, lineterminator="\n")
    digits = 9 if outputs.dtype == np.float32 else 17  # enough to tell any two numbers of the dtype apart
    values = preprocessor.decode(outputs)
    rows: Iterable[list[str]] = ([f"{value:.{digits}g}" for value in row] for row in values.tolist())
    if preprocessor.task == "classification":
        writer.writerow(["prediction", *(f"probability_{name}" for name in preprocessor.classes)])
        best = np.argmax(outputs, axis=1)
        writer.writerows([preprocessor.classes[k], *row] for k, row in zip(best.tolist(), rows, strict=True))
    else:
        several = len(preprocessor.target) > 1
        writer.writerow([f"prediction_{name}" if several else "prediction" for name in preprocessor.target])
        writer.writerows(rows)


# ----------------------------------------------------------------------------------------------- info and warmup


def info(arguments: Namespace) -> int:
    """Show what the kernels find on this machine."""
    from fastbp import __version__
    from fastbp.engine import teams
    from fastbp.kernels.machine import cache, target
    from fastbp.layers import ACTIVATION_NAMES
    from fastbp.objectives import OBJECTIVE_NAMES

    vector = target.describe()
    folder = cache.cache_dir()
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    versions = {
        name: metadata.version(name) for name in ("numpy", "scipy", "scikit-learn", "numba", "llvmlite")
    }
    facts: dict[str, Any] = {
        "fastbp": __version__,
        "python": f"{platform.python_version()} ({platform.python_implementation()}, {platform.platform()})",
        "cpu": _cpu_name(),
        "vector": vector,
        "threads": teams.default_threads(),
        "blas": f"{blas.get('name', 'unknown')} {blas.get('version', '')}".strip(),
        **versions,
        "cache": None if folder is None else str(folder),
        "warm": cache.cache_is_warm(),
        "activations": list(ACTIVATION_NAMES),
        "losses": list(OBJECTIVE_NAMES),
        "optimizers": list(OPTIMIZERS),
    }
    if arguments.json:
        say(json.dumps(facts, default=str))
        return 0
    lanes = " or ".join(f"{count} {dtype}" for dtype, count in vector["lanes"].items())
    facts["vector"] = f"{8 * vector['vector_bytes']} bits ({lanes}), compiled for {vector['cpu']}"
    state = "warm" if facts.pop("warm") else f"cold: the next training compiles for about {COMPILE_SECONDS} s"
    facts["cache"] = "none: every process compiles anew" if folder is None else f"{folder} ({state})"
    for name, value in facts.items():
        say(f"{name:<13} {', '.join(value) if isinstance(value, list) else value}")
    return 0


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:  # not Linux
        pass
    return platform.processor() or platform.machine()


def warmup(_: Namespace) -> int:
    """Compile everything and keep it on disk."""
    from fastbp.kernels import warmup as compile_all
    from fastbp.kernels.machine import cache

    if reason := cache.obstacle():
        raise InputError(reason)
    say("compiling the kernels for this machine (up to a minute; quick where it is done already) ...")
    start = time.perf_counter()
    compile_all(dtypes=("float32", "float64"), progress=lambda step: say(f"  {step}"))
    say(f"{time.perf_counter() - start:.1f} s; kept in {cache.cache_dir()}")
    return 0
