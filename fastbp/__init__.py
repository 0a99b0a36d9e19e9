"""fastbp: train multi-layer perceptrons at hardware speed on the CPU you already have.

Every name is loaded when it is first used, so that `import fastbp` costs next to nothing.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING

__version__ = "0.1.0"

_KERNELS = os.path.join(os.path.dirname(__file__), "kernels")
# Git writes a file that holds the path if it may not make a symbolic link.
if os.path.isfile(_KERNELS):
    raise ImportError(
        f"{_KERNELS} is a file and should be a symbolic link to the folder kernels: this clone was made without "
        "symbolic links. Either start Python in another folder (pip install -e . finds the kernels), or, on Windows in "
        "developer mode: git config core.symlinks true, delete the file, git checkout -- fastbp/kernels"
    )

from fastbp import forks as _forks  # noqa: E402, F401

# Where each name is defined. Type checkers see it by the imports below.
_HOME = {
    "Callback": "callbacks",
    "Checkpoint": "callbacks",
    "CSVLogger": "callbacks",
    "DivergenceError": "callbacks",
    "EarlyStopping": "callbacks",
    "ProgressBar": "callbacks",
    "ReduceLROnPlateau": "callbacks",
    "TerminateOnNaN": "callbacks",
    "TimeLimit": "callbacks",
    "gradient_descent": "descent",
    "LossCurveDisplay": "estimators",
    "MLPClassifier": "estimators",
    "MLPRegressor": "estimators",
    "load": "formats",
    "Dense": "layers",
    "Dropout": "layers",
    "SGD": "optimizers",
    "Adagrad": "optimizers",
    "Adam": "optimizers",
    "AdamW": "optimizers",
    "NAdam": "optimizers",
    "RMSProp": "optimizers",
    "Rprop": "optimizers",
    "ConstantSchedule": "schedules",
    "CosineDecay": "schedules",
    "ExponentialDecay": "schedules",
    "InverseScaling": "schedules",
    "OneCycle": "schedules",
    "StepDecay": "schedules",
    "Sequential": "sequential",
    "History": "training",
    "Trainer": "training",
}
_SUBMODULES = frozenset(
    """
    callbacks engine estimators formats initializers kernels objectives optimizers plot reference schedules
    """.split()
)

__all__ = sorted([*_HOME, *_SUBMODULES, "__version__"])

if TYPE_CHECKING:
    from fastbp import callbacks as callbacks
    from fastbp import engine as engine
    from fastbp import estimators as estimators
    from fastbp import formats as formats
    from fastbp import initializers as initializers
    from fastbp import kernels as kernels
    from fastbp import objectives as objectives
    from fastbp import optimizers as optimizers
    from fastbp import plot as plot
    from fastbp import reference as reference
    from fastbp import schedules as schedules
    from fastbp.callbacks import Callback as Callback
    from fastbp.callbacks import Checkpoint as Checkpoint
    from fastbp.callbacks import CSVLogger as CSVLogger
    from fastbp.callbacks import DivergenceError as DivergenceError
    from fastbp.callbacks import EarlyStopping as EarlyStopping
    from fastbp.callbacks import ProgressBar as ProgressBar
    from fastbp.callbacks import ReduceLROnPlateau as ReduceLROnPlateau
    from fastbp.callbacks import TerminateOnNaN as TerminateOnNaN
    from fastbp.callbacks import TimeLimit as TimeLimit
    from fastbp.descent import gradient_descent as gradient_descent
    from fastbp.estimators import LossCurveDisplay as LossCurveDisplay
    from fastbp.estimators import MLPClassifier as MLPClassifier
    from fastbp.estimators import MLPRegressor as MLPRegressor
    from fastbp.formats import load as load
    from fastbp.layers import Dense as Dense
    from fastbp.layers import Dropout as Dropout
    from fastbp.optimizers import SGD as SGD
    from fastbp.optimizers import Adagrad as Adagrad
    from fastbp.optimizers import Adam as Adam
    from fastbp.optimizers import AdamW as AdamW
    from fastbp.optimizers import NAdam as NAdam
    from fastbp.optimizers import RMSProp as RMSProp
    from fastbp.optimizers import Rprop as Rprop
    from fastbp.schedules import ConstantSchedule as ConstantSchedule
    from fastbp.schedules import CosineDecay as CosineDecay
    from fastbp.schedules import ExponentialDecay as ExponentialDecay
    from fastbp.schedules import InverseScaling as InverseScaling
    from fastbp.schedules import OneCycle as OneCycle
    from fastbp.schedules import StepDecay as StepDecay
    from fastbp.sequential import Sequential as Sequential
    from fastbp.training import History as History
    from fastbp.training import Trainer as Trainer


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
