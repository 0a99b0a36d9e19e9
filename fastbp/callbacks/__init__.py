"""Callbacks: stop early, save, report, change the learning rate. What a callback is: `fastbp.callbacks.Callback`."""

from __future__ import annotations

from fastbp.callbacks.builtin import (
    Checkpoint,
    CSVLogger,
    EarlyStopping,
    ProgressBar,
    ReduceLROnPlateau,
    TerminateOnNaN,
    TimeLimit,
)
from fastbp.callbacks.hooks import Callback, CallbackList, DivergenceError, Run

__all__ = [
    "CSVLogger",
    "Callback",
    "CallbackList",
    "Checkpoint",
    "DivergenceError",
    "EarlyStopping",
    "ProgressBar",
    "ReduceLROnPlateau",
    "Run",
    "TerminateOnNaN",
    "TimeLimit",
]
