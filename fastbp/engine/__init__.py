"""The door to the kernels: parameters in one flat buffer, rows as kernels take them, sessions that train."""

from __future__ import annotations

from fastbp.engine.engine import Engine
from fastbp.engine.gradients import Gradients
from fastbp.engine.session import Session

__all__ = ["Engine", "Gradients", "Session"]
