"""The loop over epochs, the trainer of the user's own loops, and what they leave behind."""

from __future__ import annotations

from fastbp.training.history import History
from fastbp.training.loop import DivergenceError, evaluate, fit
from fastbp.training.trainer import Trainer

__all__ = ["DivergenceError", "History", "Trainer", "evaluate", "fit"]
