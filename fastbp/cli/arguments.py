"""The command ``fastbp``: its arguments and its exit codes. What each command does is in commands.py.

This module imports next to nothing, so that ``fastbp --help`` and a mistyped option answer at once.

Exit codes: 0 done; 1 the input is at fault (one line on standard error says what and where, nothing is written);
2 wrong usage; 130 interrupted; 141 the reader of the output is gone.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from fastbp.cli.report import OPTIMIZERS, complain


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
    arguments = _parser(argv).parse_args(argv)
    if arguments.command == "explain":
        from fastbp.cli import explain

        return int(explain.run(arguments))
    from fastbp.cli import commands

    run: Callable[[argparse.Namespace], int] = getattr(commands, arguments.command)
    return run(arguments)


def _fault(error: Exception) -> str | None:
    """What the user did wrong, or None where the fault is the program's and a traceback helps."""
    if isinstance(error, MemoryError):
        return f"not enough memory ({error})" if str(error) else "not enough memory"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename is not None else error.strerror
    from fastbp.formats import FormatError
    from fastbp.tables.table import InputError

    if isinstance(error, InputError | FormatError):
        return str(error)
    if isinstance(
        error, ArithmeticError
    ):  # DivergenceError is one; its module loads Numba, so not for every fault
        from fastbp.callbacks import DivergenceError

        return str(error) if isinstance(error, DivergenceError) else None
    return None


def _number(kind: Callable[[str], Any], good: Callable[[Any], bool], wanted: str) -> Callable[[str], Any]:
    """Make a type for argparse: convert, check, and say what was wanted."""

    def convert(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not good(value):
            raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}")
        return value

    return convert


_count = _number(int, lambda n: n >= 1, "a whole number of 1 or more")
_units = _number(int, lambda n: 1 <= n <= 65536, "a whole number from 1 to 65536")
_seed = _number(int, lambda n: 0 <= n < 2**32, "a whole number from 0 to 4294967295")
_rate = _number(float, lambda v: 0 < v < math.inf, "a number above 0")
_share = _number(float, lambda v: 0 < v < 1, "a number between 0 and 1")
_dropout = _number(float, lambda v: 0 <= v < 1, "a number from 0 to below 1")


def _hidden(text: str) -> tuple[int, ...]:
    """``64,64``; ``none`` for a model without hidden layers."""
    return () if text == "none" else tuple(_units(part) for part in text.split(","))


def _batch_size(text: str) -> int | None:
    """A number of rows; ``all`` for gradient descent over all rows at once."""
    return None if text == "all" else int(_count(text))


def _activation(text: str) -> str:
    from fastbp.layers import ACTIVATION_NAMES

    if text not in ACTIVATION_NAMES:
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(ACTIVATION_NAMES)}")
    return text


def _parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    from fastbp import __version__

    parser = argparse.ArgumentParser(
        prog="fastbp",
        description="Train multi-layer perceptrons on the CPU.",
        epilog="fastbp COMMAND --help says more. Exit codes: 0 done, 1 the input is at fault, 2 wrong usage.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"fastbp {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", title="commands")

    def command(name: str, summary: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=summary, description=summary, allow_abbrev=False)

    _add_train(command("train", "Train a network on a table and save it with the scaling of its columns."))
    predict = command("predict", "Apply a model of `fastbp train` to the rows of a table.")
    predict.add_argument("model", metavar="MODEL", help="a file that `fastbp train` saved")
    predict.add_argument("data", metavar="FILE", help="rows as for `fastbp train`; the target may be absent")
    predict.add_argument("--out", metavar="FILE", help="CSV file to write (default: standard output)")
    explain = command("explain", "Show one forward and one backward pass, every number with its formula.")
    if "explain" in argv[:1]:
        from fastbp.cli.explain import add_arguments

        add_arguments(explain)
    info = command(
        "info", "Show CPU, vector width, BLAS, threads, versions and the state of the kernel cache."
    )
    info.add_argument("--json", action="store_true", help="print one JSON object")
    command("warmup", "Compile all kernels now and keep them on disk (container images, CI).")
    return parser


def _add_train(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "data",
        nargs="?",
        default="digits",
        metavar="DATA",
        help="digits (default), iris, wine, breast_cancer, diabetes, or a .csv, .tsv, .npz or .parquet file",
    )
    table = parser.add_argument_group("the table")
    table.add_argument(
        "--target",
        action="append",
        default=[],
        metavar="COL",
        help='column to predict (default: the one named "target", else the last); repeat it for several numbers',
    )
    table.add_argument(
        "--drop", action="append", default=[], metavar="COL", help="column to leave out; repeatable"
    )
    table.add_argument(
        "--text",
        action="append",
        default=[],
        metavar="COL",
        help="column of numbers that are categories; repeatable",
    )
    table.add_argument(
        "--task",
        choices=("classification", "regression"),
        help="default: text and whole numbers of few different values are classes",
    )
    table.add_argument(
        "--test-size",
        type=_share,
        default=0.2,
        metavar="SHARE",
        help="rows held out for the score (default: 0.2)",
    )
    network = parser.add_argument_group("the network")
    network.add_argument(
        "--hidden",
        type=_hidden,
        default=(64, 64),
        metavar="N,N",
        help="hidden layers (default: 64,64), or none",
    )
    network.add_argument(
        "--activation",
        type=_activation,
        metavar="NAME",
        help="of the hidden layers: relu (default), tanh, ...",
    )
    network.add_argument(
        "--dropout", type=_dropout, default=0.0, metavar="RATE", help="of the hidden layers (default: 0)"
    )
    network.add_argument(
        "--dtype", choices=("float32", "float64"), default="float32", help="default: float32"
    )
    training = parser.add_argument_group("the training")
    training.add_argument(
        "--epochs", type=_count, metavar="N", help="passes over the rows (default: as many as turn out best)"
    )
    training.add_argument(
        "--patience",
        type=_count,
        metavar="N",
        help="look for the best number of epochs with an eighth of the rows, until N epochs bring no lower loss "
        "on them; then train on all (default: 20, but with --epochs no search)",
    )
    training.add_argument("--optimizer", choices=OPTIMIZERS, default="adam", help="default: adam")
    training.add_argument(
        "--lr", type=_rate, metavar="RATE", help="learning rate (default: that of the optimizer; 0.1 for sgd)"
    )
    training.add_argument(
        "--batch-size", type=_batch_size, default=32, metavar="N", help="rows per step (default: 32), or all"
    )
    training.add_argument(
        "--seed", type=_seed, default=0, metavar="N", help="of split, weights and order (default: 0)"
    )
    training.add_argument(
        "--threads", type=_count, metavar="N", help="default: all cores the process may use"
    )
    output = parser.add_argument_group("the output")
    output.add_argument("--out", metavar="FILE", help="model file (default: model.safetensors)")
    output.add_argument("--plot", metavar="FILE", help="picture of the loss per epoch: .png, .svg, .pdf")
    output.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
