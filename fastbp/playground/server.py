"""The server: on 127.0.0.1 only, for its own pages only.

Another computer cannot reach it. A page of another site, in a browser on this one, can send it requests; these are
refused by their Host, Origin and Sec-Fetch headers, which no script can change. (A name that such a site lets point to
127.0.0.1 does not help it either: the Host is that name.)
"""

from __future__ import annotations

import asyncio
import errno
import logging
import signal
import socket
import threading
import warnings
import webbrowser
from collections.abc import Callable
from typing import Any

from bokeh.application import Application
from bokeh.application.handlers.function import FunctionHandler
from bokeh.resources import Resources
from bokeh.server.server import BaseServer
from bokeh.server.tornado import BokehTornado
from bokeh.server.views.static_handler import StaticHandler
from tornado import web
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerRequest
from tornado.ioloop import IOLoop
from tornado.routing import AnyMatches, Matcher, Rule, RuleRouter

from fastbp.playground import learner, lesson, page, starts
from fastbp.tables.errors import InputError

__all__ = ["HOST", "make_server", "serve"]

HOST = "127.0.0.1"
MESSAGE_BYTES = 4 * 2**20  # more than the largest table takes as base64


class _OwnPages(Matcher):
    """Matches what the address bar or a page of this server has asked for."""

    def __init__(self, port: int) -> None:
        self.hosts = {f"{HOST}:{port}", f"localhost:{port}"}

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        """Return {} for a request that is answered, None for one that is not."""
        headers = request.headers
        host, origin = headers.get("Host", ""), headers.get("Origin")
        site, mode = headers.get("Sec-Fetch-Site"), headers.get("Sec-Fetch-Mode")
        framed = headers.get("Sec-Fetch-Dest") in ("embed", "fencedframe", "frame", "iframe", "object")
        # The address bar says "none"; a link on another page leads here, but that page sees nothing of it.
        foreign = site not in (None, "none", "same-origin") and mode != "navigate"
        if host not in self.hosts or origin not in (None, f"http://{host}") or foreign or framed:
            return None
        return {}


class _Refusal(web.RequestHandler):
    """Answers 403 to everything else."""

    def prepare(self) -> None:
        """Refuse, whatever the method is."""
        raise web.HTTPError(403)


class _Pages(BokehTornado):
    """Bokeh's application, whose pages take every script from this server, whatever the environment says."""

    def resources(self, absolute_url: str | bool | None = None) -> Resources:
        """Return where scripts come from: here."""
        return Resources(
            mode="server",
            components=["bokeh", "bokeh-widgets"],
            root_url="/",
            path_versioner=StaticHandler.append_version,
        )


def make_server(port: int) -> BaseServer:
    """Return a server that is bound to a port of 127.0.0.1, not yet started.

    Parameters
    ----------
    port : int             0: one that is free.

    Raises
    ------
    InputError             The port is taken, or not allowed.
    """
    try:
        listening = socket.create_server((HOST, port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            reason = "another program listens there"
        elif error.errno == errno.EACCES:
            reason = "the system does not allow it"
        else:
            raise
        raise InputError(f"port {port}: {reason}; choose another one with --port, or 0 for any") from None
    listening.setblocking(False)
    port = listening.getsockname()[1]
    own = _OwnPages(port)
    pages = _Pages(
        {"/": Application(FunctionHandler(page.build))},
        extra_websocket_origins=sorted(own.hosts),
        websocket_max_message_size_bytes=MESSAGE_BYTES,
        include_headers=[],
        include_cookies=[],
        # The end of a connection on this machine is always seen. A ping that sees it first makes Bokeh forget whose
        # the messages are that are still to be read.
        keep_alive_milliseconds=0,
    )
    nobody = web.Application([(".*", _Refusal)])
    http = HTTPServer(RuleRouter([Rule(own, pages), Rule(AnyMatches(), nobody)]), max_body_size=2**16)
    http.add_socket(listening)
    return BaseServer(IOLoop.current(), pages, http)


def serve(port: int, *, browser: bool, say: Callable[[str], None]) -> None:
    """Show the playground until Ctrl-C.

    Parameters
    ----------
    port : int             0: one that is free.
    browser : bool         Open the page in the user's browser.
    say : callable         Takes a line for the terminal.

    Raises
    ------
    InputError             As `make_server`.
    """
    # A page that is closed while a picture is on its way to it, or while it trains, is no fault.
    logging.getLogger("bokeh.server").setLevel(logging.ERROR)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        server = make_server(port)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # divergence is said on the page that shows it
            _load_kernels()
            server.start()
            address = f"http://{HOST}:{server.port}/"
            say(f"the playground is at {address} until you press Ctrl-C")
            if browser:
                threading.Thread(target=webbrowser.open, args=[address], daemon=True).start()
            try:
                # A signal between two callbacks, and none in the middle of one.
                for number in (signal.SIGINT, signal.SIGTERM):
                    loop.add_signal_handler(number, loop.stop)
            except (NotImplementedError, RuntimeError):  # Windows, and other threads than the main one
                pass
            try:
                loop.run_forever()
            except KeyboardInterrupt:
                pass
            server.stop(wait=False)
            loop.run_until_complete(_end(server))
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def _load_kernels() -> None:
    """Train once of everything: on a new machine compiling takes a while, and the pages would stand still."""
    learner.Learner().run(1, 1.0)
    lesson.Lesson({name: field.default for name, field in lesson.FIELDS.items()}).difference()
    starts.run({"runs": "10", "epochs": "1"})


async def _end(server: BaseServer) -> None:
    """Close what is open, and end what waits for it."""
    server.unlisten()
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
