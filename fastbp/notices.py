"""Warnings that name the reader's own line."""

from __future__ import annotations

import contextlib
import sys
import threading
import warnings
from collections.abc import Iterator

__all__ = ["kept", "warn"]

_INSIDE = ("fastbp", "sklearn")
_of_thread = threading.local()


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the nearest line outside fastbp and scikit-learn: there the work was asked for."""
    held: list[tuple[str, type[Warning]]] | None = getattr(_of_thread, "held", None)
    if held is not None:
        held.append((message, category))
        return
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _INSIDE:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


@contextlib.contextmanager
def kept() -> Iterator[list[tuple[str, type[Warning]]]]:
    """Keep what this thread warns of: whoever has started the thread passes it to `warn`, and has the reader's line.

    >>> with kept() as said:
    ...     warn("slow")
    >>> said
    [('slow', <class 'UserWarning'>)]
    """
    before = getattr(_of_thread, "held", None)
    said: list[tuple[str, type[Warning]]] = []
    _of_thread.held = said
    try:
        yield said
    finally:
        _of_thread.held = before
