"""One picture after the other, as fast as the page draws them and no faster."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from bokeh.core.properties import Int
from bokeh.document import Document
from bokeh.model import DataModel
from bokeh.models import CustomJS

__all__ = ["Frames", "Player"]

LEAST_SECONDS = 1 / 25  # between pictures: several pages share one core
REMEMBERED = 20  # pictures whose rate is shown


class Frames(DataModel):
    """How many pictures were sent to the page, and which of them it has drawn."""

    sent = Int(default=0)
    drawn = Int(default=0)


class Player:
    """Asks for the next picture when the page has drawn the last one: if it is closed or hidden, nothing is computed.

    Parameters
    ----------
    document : bokeh.document.Document
    advance : callable
        Computes the next picture and puts it into the page; returns whether there may be another one.

    Attributes
    ----------
    frames : Frames
        To be put among the ``tags`` of a model of the page, so that it is part of it.
    running : bool
    """

    def __init__(self, document: Document, advance: Callable[[], bool]) -> None:
        self.running = False
        self.frames = Frames()
        self._document, self._advance = document, advance
        self._times: deque[float] = deque(maxlen=REMEMBERED)
        self._waiting = self._closed = False
        # The page paints when the browser asks for its next frame; this one is asked for after that.
        code = "requestAnimationFrame(() => { frames.drawn = frames.sent })"
        self.frames.js_on_change("sent", CustomJS(args={"frames": self.frames}, code=code))
        self.frames.on_change("drawn", self._drawn)
        document.on_session_destroyed(self._close)

    @property
    def rate(self) -> float:
        """Pictures per second that the page has drawn of late."""
        if len(self._times) < 2:
            return 0.0
        return (len(self._times) - 1) / (self._times[-1] - self._times[0])

    def start(self) -> None:
        """Begin, or go on."""
        self.running = True
        self._times.clear()
        if not self._waiting:
            self._next()

    def pause(self) -> None:
        """Stop after the picture that is on its way."""
        self.running = False

    def _next(self) -> None:
        self._waiting = False
        if not self.running or self._closed:
            return
        self._begin = time.perf_counter()
        self.running = self._advance() and self.running
        self._waiting = True
        self.frames.sent += 1

    def _drawn(self, _attribute: str, _old: int, new: int) -> None:
        if not self._waiting or new != self.frames.sent:
            return
        now = time.perf_counter()
        self._times.append(now)
        wait = max(0.0, LEAST_SECONDS - (now - self._begin))
        self._document.add_timeout_callback(self._next, int(1000 * wait) + 1)

    def _close(self, _context: Any) -> None:
        self.running, self._closed = False, True
