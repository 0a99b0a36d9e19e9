"""A corpus of files: models of every kind, checkpoints, models of `fastbp train`, and what each must predict.

``python -m bench.probes.witnesses --corpus DIR`` writes what the installed fastbp makes. The files in
bench/tests/probes/corpus are of commit b223982; every later version must load them, resume from them and predict the
same, on any machine (test_corpus.py beside them). The rows are computed, not stored.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse

import fastbp as fb
from bench.probes.draws import ACTIVATIONS
from bench.probes.feeding import Stop
from bench.probes.outcome import Array

EXPECTED = "expected.json"
COLUMNS = 4
MANY = 100_000  # rows of the checkpoint within an epoch: long enough to be cut into chunks


def rows(n: int, columns: int = COLUMNS, dtype: Any = "float64") -> Array:
    """Return numbers in [-1, 1) that are the same on every machine."""
    return ((np.arange(n * columns) * 7919 % 1009) / 504.5 - 1.0).reshape(n, columns).astype(dtype)


def answers(x: Array, kind: str) -> Any:
    """Return targets of a kind that depend on x."""
    values = np.column_stack([x[:, 0] * x[:, 1] + 0.3 * x[:, 2], x[:, 1] - x[:, 3], x[:, 2] * x[:, 2] - 0.3])
    codes = values.argmax(axis=1)
    if kind in ("one", "several"):
        return values[:, 0] if kind == "one" else values[:, :2]
    if kind == "counts":
        return np.floor(3.0 * np.abs(values[:, 1]))
    if kind == "strings":
        return np.array(["blue", "green", "red"])[codes]
    if kind == "numbers":
        return codes * 10
    if kind == "labels":
        return (values > 0).astype(int)
    if kind == "sparse labels":
        return scipy.sparse.csr_matrix(values > 0).astype(int)
    if kind == "two":
        return np.array(["no", "yes"])[(values[:, 1] > 0).astype(int)]
    return values[:, 1] > 0  # truth values


# ------------------------------------------------------------------------------------------------------- the models


def networks() -> Iterator[tuple[str, fb.Sequential]]:
    """Yield networks with every kind of layer, activation and dtype."""
    x = rows(60)
    for dtype in ("float32", "float64"):
        layers = [fb.Dense(3, name, initializer="normal(1.2)") for name in ACTIVATIONS]
        yield f"activations-{dtype}", fb.Sequential([*layers, fb.Dense(2)], COLUMNS, dtype, seed=1)
        stack: list[Any] = [
            fb.Dropout(0.1),
            fb.Dense(5, "relu", use_bias=False, l1=1e-4, l2=1e-3),
            fb.Dropout(0.25),
            fb.Dense(6, "gelu", initializer="normal(0.3)"),
            fb.Dense(3, l2=0.01),
        ]
        net = fb.Sequential(stack, COLUMNS, dtype, seed=2)
        net.metadata.update({"unit": "µm", "note": "of the first version"})
        codes = answers(x, "numbers") // 10
        net.fit(x, codes, loss="cross_entropy", optimizer=fb.Adam(0.01), epochs=3, verbose=0)
        yield f"layers-{dtype}", net
    yield "single", fb.Sequential([fb.Dense(1, "softplus", initializer="he_uniform")], 1, "float32", seed=3)


# Name, class, kind of target, course, parameters.
SMALL = {"hidden_layer_sizes": (5, 4), "max_iter": 4, "learning_rate_init": 0.02, "random_state": 0}
ESTIMATORS: tuple[tuple[str, type[Any], str, str, dict[str, Any]], ...] = (
    ("adam-strings", fb.MLPClassifier, "strings", "fit", {"activation": "tanh", "dtype": "float32"}),
    ("sgd-numbers", fb.MLPClassifier, "numbers", "partial_fit", {"solver": "sgd", "learning_rate": "adaptive"}),
    ("lbfgs-strings", fb.MLPClassifier, "strings", "fit", {"solver": "lbfgs", "activation": "logistic"}),
    ("adagrad-labels", fb.MLPClassifier, "labels", "fit",
     {"solver": "adagrad", "activation": ("mish", "elu"), "dropout": (0.1, 0.0)}),
    ("rmsprop-sparse-labels", fb.MLPClassifier, "sparse labels", "fit", {"solver": "rmsprop"}),
    ("adamw-frame", fb.MLPClassifier, "two", "frame", {"solver": "adamw", "class_weight": {"no": 1.0, "yes": 2.0}}),
    ("nadam-numbers", fb.MLPClassifier, "numbers", "partial_fit", {"solver": "nadam", "max_grad_norm": 1.0}),
    ("rprop-truth", fb.MLPClassifier, "truth", "fit", {"solver": "rprop", "batch_size": 60, "warm_start": True}),
    ("early-stopping", fb.MLPClassifier, "strings", "fit", {"early_stopping": True, "n_iter_no_change": np.inf}),
    ("unfitted", fb.MLPClassifier, "strings", "none", {"alpha": 0.5}),
    ("adam-one", fb.MLPRegressor, "one", "partial_fit", {"hidden_layer_sizes": ()}),
    ("sgd-several", fb.MLPRegressor, "several", "partial_fit",
     {"solver": "sgd", "learning_rate": "invscaling", "dtype": "float32"}),
    ("lbfgs-counts", fb.MLPRegressor, "counts", "fit", {"solver": "lbfgs", "loss": "poisson"}),
    ("adagrad-huber", fb.MLPRegressor, "one", "fit", {"solver": "adagrad", "loss": "huber", "delta": 0.5}),
    ("rmsprop-quantile", fb.MLPRegressor, "several", "fit", {"solver": "rmsprop", "loss": "quantile", "quantile": 0.8}),
    ("adamw-positive", fb.MLPRegressor, "counts", "fit", {"solver": "adamw", "out_activation": "softplus"}),
    ("nadam-early-stopping", fb.MLPRegressor, "one", "fit",
     {"solver": "nadam", "loss": "log_cosh", "early_stopping": True, "warm_start": True}),
    ("rprop-absolute", fb.MLPRegressor, "one", "fit", {"solver": "rprop", "loss": "absolute_error", "batch_size": 60}),
)  # fmt: skip
CLASSES = {"numbers": np.array([0, 10, 20])}


def frame(x: Array) -> Any:
    """Return the rows with names of columns."""
    import pandas

    return pandas.DataFrame(x, columns=["width", "height", "depth", "weight"])


def estimators() -> Iterator[tuple[str, Any, str, str]]:
    """Yield name, estimator, kind of target and course of each solver with each kind of target."""
    for name, kind, target, course, params in ESTIMATORS:
        model = kind(**(SMALL | params))
        x = rows(60)
        y = answers(x, target)
        if course == "partial_fit":
            first = {"classes": CLASSES[target]} if target in CLASSES else {}
            model.partial_fit(x, y, **first).partial_fit(x, y)
        elif course != "none":
            model.fit(frame(x) if course == "frame" else x, y)
        yield f"{kind.__name__.removeprefix('MLP').lower()}-{name}", model, target, course


def predictions(model: Any, course: str = "fit") -> dict[str, Any]:
    """Return what a model says to a few rows, by method; lists, ready for JSON."""
    if course == "none":
        return {}
    x: Any = rows(7, getattr(model, "n_inputs", COLUMNS))
    x = frame(x) if course == "frame" else x
    told = {"predict": model.predict(x)}
    if hasattr(model, "predict_proba"):
        told["predict_proba"] = model.predict_proba(x)
    return {name: plain(values) for name, values in told.items()}


def go_on(model: Any, target: str) -> dict[str, Any]:
    """Train an estimator for one more epoch, and return what it says then."""
    x = rows(60)
    return predictions(model.partial_fit(x, answers(x, target)))


def plain(values: Any) -> Any:
    """Return an array as lists; numbers with the nine digits that a float32 has."""
    array = values.toarray() if scipy.sparse.issparse(values) else np.asarray(values)
    if array.dtype.kind == "f":
        return [plain(row) for row in array] if array.ndim > 1 else [float(f"{v:.9g}") for v in array]
    return array.tolist()


# --------------------------------------------------------------------------------------------------- the checkpoints

# Name: the optimizer, the place at which the training stops, dtype, and further arguments of fit.
TRAININGS: dict[str, tuple[Any, str, str, dict[str, Any]]] = {
    "epoch-sgd": (
        fb.SGD(fb.OneCycle(0.1), momentum=0.9, nesterov=True),
        "epoch",
        "float32",
        {"batch_size": 16},
    ),
    "epoch-adagrad": (fb.Adagrad(0.02, initial_accumulator=0.1), "epoch", "float64", {"max_grad_norm": 0.5}),
    "epoch-rprop": (fb.Rprop(0.005), "epoch", "float32", {"batch_size": None, "shuffle": False}),
    "stream-adam": (fb.Adam(0.01), "stream", "float32", {}),
    "stream-rmsprop": (fb.RMSProp(fb.StepDecay(0.005, 2)), "stream", "float64", {}),
    "stream-nadam": (fb.NAdam(0.01), "stream", "float64", {"max_grad_norm": 0.5}),
    "rows-adamw": (fb.AdamW(1e-5), "rows", "float32", {"batch_size": 1}),
}


def train(name: str, *callbacks: Any, **more: Any) -> tuple[fb.Sequential, Any]:
    """Train the network of a checkpoint, or go on with it; return it and its history."""
    optimizer, place, dtype, options = TRAININGS[name]
    net = fb.Sequential([fb.Dense(6, "tanh"), fb.Dropout(0.1), fb.Dense(2)], COLUMNS, dtype, seed=4)
    x = rows(MANY if place == "rows" else 120, dtype=dtype)
    y = answers(x, "several").astype(dtype)

    def batches() -> Iterator[tuple[Array, Array]]:
        for start in range(0, 120, 20):
            if start == 60 and callbacks:
                time.sleep(0.1)  # longer than a chunk, after which the training may be stopped
            yield x[start : start + 20], y[start : start + 20]

    hooks = [*callbacks, fb.EarlyStopping(3, monitor="loss"), fb.ReduceLROnPlateau(0.5, 1, monitor="loss")]
    data = {"x": batches} if place == "stream" else {"x": x, "y": y}
    epochs = 2 if place == "rows" else 5
    history = net.fit(
        **data, optimizer=optimizer, epochs=epochs, callbacks=hooks, verbose=0, **options, **more
    )
    return net, history


class StopWithin(Stop):
    """Stops at the end of the first chunk that is not the end of an epoch; `rows` are those of the epoch before it."""

    rows = 0

    def on_fit_begin(self, run: Any) -> None:
        """Remember the run."""
        self.run = run

    def on_chunk_end(self, seconds: float, samples: int) -> bool:
        """Stop if this chunk ended within an epoch."""
        done = self.run.samples_done
        self.rows = done if 0 < done < (self.run.samples or 120) else 0
        return self.rows > 0


def resumed(name: str, path: Path) -> dict[str, Any]:
    """Go on from a checkpoint to the end; return the losses and what the network says."""
    net, history = train(name, resume_from=path)
    return {"loss": plain(history.loss), **predictions(net)}


# ---------------------------------------------------------------------------------------------------- the command line

TABLES = {"flowers": ["--target", "kind"], "sizes": ["--target", "weight", "--target", "height"]}


def table(path: Path) -> None:
    """Write a table with numbers, a text, a gap-less target of text, and two targets of numbers."""
    lines = ["width,height,color,weight,kind"]
    for (a, b, c, d), color, kind in zip(
        rows(60), answers(rows(60), "strings"), answers(rows(60), "two"), strict=True
    ):
        lines.append(
            f"{10 * a + 20:.3f},{b + a:.4f},{color},{100 * d + c:.2f},{'oak' if kind == 'no' else 'ash'}"
        )
    path.write_text("\n".join(lines) + "\n")


def command(folder: Path, *arguments: str) -> str:
    """Run ``fastbp`` in a folder and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "fastbp", *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout


# ------------------------------------------------------------------------------------------------------------ writing


def make(folder: Path) -> int:
    """Write all files, and what their models must predict."""
    folder.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")  # fits that are cut short say so
    expected: dict[str, Any] = {"models": {}, "checkpoints": {}, "tables": {}}
    for name, net in networks():
        net.save(folder / f"{name}.safetensors")
        expected["models"][name] = {"class": "Sequential", "course": "fit", "told": predictions(net)}
    for name, model, target, course in estimators():
        fb.formats.save(model, folder / f"{name}.safetensors")
        told = {"class": type(model).__name__, "course": course, "told": predictions(model, course)}
        if course == "partial_fit":
            told |= {"target": target, "later": go_on(model, target)}
        expected["models"][name] = told
    for name, (_, place, *_) in TRAININGS.items():
        path = folder / f"checkpoint-{name}.safetensors"
        stop = Stop(epochs=2) if place == "epoch" else StopWithin()
        train(name, fb.Checkpoint(path), stop)
        if isinstance(stop, StopWithin) and not stop.rows:
            raise RuntimeError(f"{path.name}: no chunk ended within an epoch; try again on a quieter machine")
        expected["checkpoints"][name] = resumed(name, path)
    table(folder / "table.csv")
    for name, options in TABLES.items():
        file = f"table-{name}.safetensors"
        command(folder, "train", "table.csv", *options, "--hidden", "6", "--epochs", "40", "--out", file)
        expected["tables"][name] = command(folder, "predict", file, "table.csv").splitlines()[:8]
    lines = [
        f"{json.dumps(part)}: {{\n"
        + ",\n".join(f"{json.dumps(name)}: {json.dumps(told)}" for name, told in items.items())
        + "\n}"
        for part, items in expected.items()
    ]
    (folder / EXPECTED).write_text("{\n" + ",\n".join(lines) + "\n}\n")
    sizes = [path.stat().st_size for path in folder.iterdir()]
    print(f"wrote {len(sizes)} files, {sum(sizes) / 1000:.0f} kB, to {folder}")
    return 0
