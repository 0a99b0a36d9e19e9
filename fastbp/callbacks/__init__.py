"""Callbacks: stop early, save, report, change the learning rate. What a callback is: `fastbp.callbacks.Callback`."""

from __future__ import annotations

from fastbp.callbacks.checkpoint import Checkpoint
from fastbp.callbacks.hooks import Callback, CallbackList, DivergenceError, Run
from fastbp.callbacks.limits import TerminateOnNaN, TimeLimit
from fastbp.callbacks.monitors import EarlyStopping, ReduceLROnPlateau
from fastbp.callbacks.reports import CSVLogger, ProgressBar

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
