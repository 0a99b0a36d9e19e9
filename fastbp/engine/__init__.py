"""The door to the kernels: parameters in one flat buffer, rows as kernels take them, sessions that train."""

from __future__ import annotations

from fastbp.engine import example
from fastbp.engine.engine import Engine
from fastbp.engine.gradients import Gradients
from fastbp.engine.session import Session
from fastbp.kernels.machine import precompiled

__all__ = ["Engine", "Gradients", "Session"]

precompiled.check_with(example.fault)
