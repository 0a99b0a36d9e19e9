"""Kernels are compiled, or read from the disk, before a training measures its time."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbp.engine.engine import Engine

_LOADED: set[np.dtype[Any]] = set()


def load_kernels(engine: Engine) -> None:
    """Load or compile the kernels of an engine's dtype, once in a process: what follows runs at its full speed."""
    if engine.dtype not in _LOADED:
        engine.predict(np.zeros((2, engine.n_inputs), engine.dtype), n_threads=1)
        _LOADED.add(engine.dtype)
