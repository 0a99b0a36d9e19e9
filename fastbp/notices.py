"""Warnings that name the reader's own line."""

from __future__ import annotations

import sys
import warnings

__all__ = ["warn"]

_INSIDE = ("fastbp", "sklearn")


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the nearest line outside fastbp and scikit-learn: there the work was asked for."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _INSIDE:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
