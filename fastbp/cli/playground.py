"""``fastbp playground``: a page in the browser, on which descent and learning move."""

from __future__ import annotations

from argparse import Namespace

from fastbp.cli.report import say
from fastbp.tables.errors import InputError


def run(arguments: Namespace) -> int:
    """Serve the page on this machine until Ctrl-C; returns the exit code, 0.

    Raises
    ------
    InputError         Bokeh is missing, or the port is taken.
    """
    try:
        import bokeh  # noqa: F401
    except ImportError:
        raise InputError('the playground needs bokeh: pip install "fastbp[playground]"') from None
    from fastbp.playground.server import serve

    serve(arguments.port, browser=arguments.browser, say=say)
    return 0
