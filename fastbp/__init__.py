"""fastbp: train multi-layer perceptrons at hardware speed on the CPU you already have.

Every name is loaded when it is first used, so that `import fastbp` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

_ROOMS = {
    "callbacks": (
        "Callback",
        "Checkpoint",
        "CSVLogger",
        "EarlyStopping",
        "ProgressBar",
        "ReduceLROnPlateau",
        "TerminateOnNaN",
        "TimeLimit",
    ),
    "descent": ("gradient_descent",),
    "estimators_display": ("LossCurveDisplay",),
    "estimators": ("MLPClassifier", "MLPRegressor"),
    "formats": ("load",),
    "layers": ("Dense", "Dropout"),
    "optimizers": ("SGD", "Adagrad", "Adam", "AdamW", "NAdam", "RMSProp", "Rprop"),
    "schedules": (
        "ConstantSchedule",
        "CosineDecay",
        "ExponentialDecay",
        "InverseScaling",
        "OneCycle",
        "StepDecay",
    ),
    "sequential": ("Sequential",),
    "training": ("DivergenceError", "History", "Trainer"),
}
_HOME = {name: room for room, names in _ROOMS.items() for name in names}
_SUBMODULES = frozenset(
    {"callbacks", "engine", "estimators", "formats", "initializers", "kernels", "plot", "reference", "schedules"}
)

__all__ = ["__version__", *sorted(_HOME), "formats", "kernels", "plot", "reference"]

if TYPE_CHECKING:
    from fastbp import formats, kernels, plot, reference
    from fastbp.callbacks import (
        Callback,
        Checkpoint,
        CSVLogger,
        EarlyStopping,
        ProgressBar,
        ReduceLROnPlateau,
        TerminateOnNaN,
        TimeLimit,
    )
    from fastbp.descent import gradient_descent
    from fastbp.estimators import MLPClassifier, MLPRegressor
    from fastbp.estimators_display import LossCurveDisplay
    from fastbp.formats import load
    from fastbp.layers import Dense, Dropout
    from fastbp.optimizers import SGD, Adagrad, Adam, AdamW, NAdam, RMSProp, Rprop
    from fastbp.schedules import (
        ConstantSchedule,
        CosineDecay,
        ExponentialDecay,
        InverseScaling,
        OneCycle,
        StepDecay,
    )
    from fastbp.sequential import Sequential
    from fastbp.training import DivergenceError, History, Trainer


def __getattr__(name: str) -> object:
    if name in _SUBMODULES:
        return importlib.import_module(f"fastbp.{name}")
    if name in _HOME:
        value = getattr(importlib.import_module(f"fastbp.{_HOME[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'fastbp' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
