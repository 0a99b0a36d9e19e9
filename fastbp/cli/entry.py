"""The command ``fastbp``: run what was typed, and say in one line what is wrong with it.

This module imports next to nothing, so that ``fastbp --help`` and a mistyped option answer at once.

Exit codes: 0 done; 1 the input is at fault (one line on standard error says what and where, nothing is written);
2 wrong usage; 130 interrupted; 141 the reader of the output is gone.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module

from fastbp.cli.arguments import make_parser
from fastbp.cli.report import complain


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Parameters
    ----------
    argv : sequence of str or None     The arguments; None: those of the process.

    Raises
    ------
    SystemExit                         From argparse: 0 after ``--help``, 2 on wrong usage.

    >>> main(["train", "nothing.csv"])
    1
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a name that the terminal cannot show must not end the program
            stream.reconfigure(errors="backslashreplace")
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: complain(f"warning: {message}")
        try:
            return _flushed(lambda: _run(sys.argv[1:] if argv is None else argv))
        except BrokenPipeError:
            # Python flushes standard output once more at its end, and would complain there.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 141
        except KeyboardInterrupt:
            complain("interrupted, nothing was written")
            return 130
        except Exception as error:
            message = _fault(error)
            if message is None:
                raise
            complain(f"error: {message}")
            return 1


def _flushed(run: Callable[[], int]) -> int:
    try:
        return run()
    finally:
        sys.stdout.flush()


def _run(argv: Sequence[str]) -> int:
    arguments = make_parser().parse_args(argv)
    command = import_module(f"fastbp.cli.{arguments.command}")
    return int(command.run(arguments))


def _fault(error: Exception) -> str | None:
    """What the user did wrong; None if the fault is the program's, so that a traceback helps."""
    if isinstance(error, MemoryError):
        return f"not enough memory ({error})" if str(error) else "not enough memory"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename is not None else error.strerror
    if isinstance(error, RuntimeError):
        from fastbp.kernels.machine.announcing import CompilationForbidden

        if isinstance(error, CompilationForbidden):
            return str(error)
    from fastbp.callbacks import DivergenceError
    from fastbp.formats import FormatError
    from fastbp.tables.errors import InputError

    return str(error) if isinstance(error, InputError | FormatError | DivergenceError) else None
