"""Loss and metrics of a model on checked data, without training."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fastbp import metrics as figures
from fastbp.engine.engine import Engine
from fastbp.engine.sources import ValidationSource
from fastbp.objectives import Objective


def evaluate(
    engine: Engine,
    data: ValidationSource,
    objective: Objective,
    metrics: Mapping[str, figures.Metric],
    n_threads: int | None,
    *,
    loss: bool = True,
) -> dict[str, float]:
    """Return the metrics of a model by name, and its ``loss`` unless told not to."""
    figures.check_output(metrics, engine.layers[-1].activation)
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
