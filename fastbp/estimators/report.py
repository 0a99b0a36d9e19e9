"""What a fit of an estimator says: lines for its verbose reader, and warnings that name the reader's own line."""

from __future__ import annotations

import sys
import warnings

_INSIDE = ("fastbp", "sklearn")


def say(verbose: object, text: str) -> None:
    """Print, as scikit-learn does, to an estimator's verbose reader."""
    if verbose:
        sys.stdout.write(text + "\n")


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the nearest line outside fastbp and scikit-learn: there the fit was called."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _INSIDE:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
