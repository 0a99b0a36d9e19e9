"""`Sequential.fit`: from what the user passed to the trained model. Data, validation data, trainer, loop."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

import numpy as np

from fastbp import metrics as figures
from fastbp import objectives
from fastbp.callbacks import ProgressBar, TerminateOnNaN
from fastbp.callbacks.hooks import are_late, as_list
from fastbp.callbacks.reports import EpochLines, in_notebook
from fastbp.engine.layout import Layout
from fastbp.engine.loading import load_kernels
from fastbp.engine.memory import Array
from fastbp.engine.sources import Source, Stream, ValidationSource, prepare
from fastbp.training.history import History
from fastbp.training.model_loop import ModelLoop
from fastbp.training.orders import Draws, repeated
from fastbp.training.settings import Fit
from fastbp.training.trainer import Model, Trainer


def fit(net: Model, x: Any, y: Any, settings: Fit) -> History:
    """Train `net`; what `Sequential.fit` documents. Another thread that trains it too waits until this one is done."""
    with net.engine.training_lock:
        return _fit(net, x, y, settings)


def _fit(net: Model, x: Any, y: Any, settings: Fit) -> History:
    engine = net.engine
    figures.check_output(settings.metrics, engine.layers[-1].activation)
    data = _training_data(engine.layout, x, y, settings)
    validation = _validation_data(engine.layout, settings)
    if not isinstance(data, Stream):
        if settings.validation_split:
            data, validation = _split(data, settings.validation_split)
        data = _class_weighted(data, settings)
    return train(loop_of(net, data, validation, settings))


def loop_of(
    net: Model,
    data: Source | Stream,
    validation: ValidationSource | None,
    settings: Fit,
    rng: Draws | None = None,
    rows: Array | None = None,
) -> ModelLoop:
    """Return the loop of a fit on checked data, or on the `rows` of them; nothing is trained or allocated yet.

    Without `rng` it has the generator of the settings' seed.
    """
    callbacks = _callbacks(settings)
    if rng is None:
        rng = _generator(settings, callbacks, data)
    trainer = Trainer(
        net,
        settings.objective,
        settings.optimizer,
        max_grad_norm=settings.max_grad_norm,
        seed=int(rng.integers(2**31)),
        n_threads=settings.n_threads,
    )
    return ModelLoop(trainer, data, validation, settings, callbacks, rng, rows)


def train(loop: ModelLoop) -> History:
    """Train; after an exception other than KeyboardInterrupt the model is as it was before."""
    engine = loop.trainer.engine
    load_kernels(engine)
    before = engine.theta.copy()
    try:
        if loop.settings.resume_from is not None:
            loop.resume(loop.settings.resume_from)
        loop.train()
    except KeyboardInterrupt:
        raise
    except BaseException:
        engine.theta[:] = before
        raise
    if loop.hooks.late:  # a callback of the user's may have kept the run, which saves what the session holds
        loop.trainer.release()
        loop.run.save = (
            None  # else loop and run would keep each other, and the model, until they are collected
        )
    return loop.history


def _training_data(layout: Layout, x: Any, y: Any, settings: Fit) -> Source | Stream:
    if y is not None or (hasattr(x, "shape") and not callable(x)):
        return prepare(layout, x, y, settings.sample_weight, settings.objective)
    for name in ("sample_weight", "class_weight"):
        if getattr(settings, name) is not None:
            raise ValueError(
                f"{name} must be None when X is an iterable of batches: yield (x, y, sample_weight)"
            )
    if settings.validation_split:
        raise ValueError("validation_split must be 0 when X is an iterable of batches: pass validation_data")
    if not callable(x) and not isinstance(x, Iterable):
        raise TypeError(f"X without y must be an iterable of batches (x, y), got {type(x).__name__}")
    return Stream(layout, x, settings.objective)


def _validation_data(layout: Layout, settings: Fit) -> Source | None:
    given = settings.validation_data
    if given is None:
        return None
    if not isinstance(given, tuple | list) or len(given) not in (2, 3):
        raise TypeError(
            f"validation_data must be (x, y) or (x, y, sample_weight), got {type(given).__name__}"
        )
    weights = given[2] if len(given) == 3 else None
    return prepare(layout, given[0], given[1], weights, settings.objective, "validation_data: ")


def _split(data: Source, fraction: float) -> tuple[Source, Source]:
    """Cut off the last `fraction` of the rows (Keras' ``validation_split``)."""
    cut = int(len(data) * (1.0 - fraction))
    if not 0 < cut < len(data):
        raise ValueError(f"validation_split={fraction} of {len(data)} rows leaves one side empty")
    kept, held_out = data.split(cut)
    if held_out.weights.size and not held_out.weights.any():
        raise ValueError(
            f"validation_split={fraction} holds out the last {len(held_out)} rows, and all of them have weight 0: "
            "shuffle the data before, or pass validation_data"
        )
    return kept, held_out


def _class_weighted(data: Source, settings: Fit) -> Source:
    """Return the rows with the weights of their classes in their weights."""
    if settings.class_weight is None:
        return data
    dtype = data.layout.dtype
    weights = data.weights.astype(dtype) if data.weights.size else None
    weights = objectives.apply_class_weight(
        settings.class_weight, data.targets, weights, settings.objective, dtype, data.layout.n_outputs
    )
    return data.weighted(weights)


def _generator(settings: Fit, callbacks: list[Any], data: Source | Stream) -> Draws:
    """Return the generator of the orders; if nobody saves its state, one that repeats what an earlier fit drew."""
    if settings.resume_from is not None or isinstance(data, Stream) or not are_late(callbacks):
        return np.random.default_rng(settings.seed)
    weights = data.weights
    n = int(np.count_nonzero(weights)) if weights.size else len(data)
    return repeated(settings.seed, n, settings.epochs)


def _callbacks(settings: Fit) -> list[Any]:
    """Return the user's callbacks, with those that are always there."""
    callbacks = as_list(settings.callbacks)
    if not any(isinstance(callback, TerminateOnNaN) for callback in callbacks):
        callbacks.insert(0, TerminateOnNaN())
    if settings.verbose and not any(isinstance(callback, ProgressBar | EpochLines) for callback in callbacks):
        bar = settings.verbose == 1 and (sys.stderr.isatty() or in_notebook())
        callbacks.append(ProgressBar() if bar else EpochLines())
    return callbacks
