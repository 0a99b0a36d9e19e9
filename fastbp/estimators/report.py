"""What a fit of an estimator says to its verbose reader."""

from __future__ import annotations

import sys


def say(verbose: object, text: str) -> None:
    """Print, as scikit-learn does, to an estimator's verbose reader."""
    if verbose:
        sys.stdout.write(text + "\n")
