"""What may be typed after ``fastbp``: the arguments of every command, and what each of them must look like.

This module imports next to nothing, so that ``fastbp --help`` and a mistyped option answer at once. The names of
activations and optimizers come from `fastbp.spellings`, which needs neither NumPy nor Numba.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import Any

from fastbp.spellings import Names, activations, optimizers

__all__ = ["make_parser"]


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the whole command line.

    >>> make_parser().parse_args(["explain", "--sizes", "3,4,1"]).sizes
    [3, 4, 1]
    """
    from fastbp import __version__

    parser = argparse.ArgumentParser(
        prog="fastbp",
        description="Train multi-layer perceptrons on the CPU.",
        epilog="fastbp COMMAND --help says more. Exit codes: 0 done, 1 the input is at fault, 2 wrong usage.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"fastbp {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", title="commands")
    for name, (summary, add_arguments) in COMMANDS.items():
        add_arguments(commands.add_parser(name, help=summary, description=summary, allow_abbrev=False))
    return parser


# ------------------------------------------------------------------------------------------------ kinds of values


def _value(kind: Callable[[str], Any], good: Callable[[Any], bool], wanted: str) -> Callable[[str], Any]:
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


_count = _value(int, lambda n: n >= 1, "a whole number of 1 or more")
_threads = _value(int, lambda n: n >= 1 or n == -1, "a whole number of 1 or more, or -1 for all cores")
_units = _value(int, lambda n: 1 <= n <= 65536, "a whole number from 1 to 65536")
_seed = _value(int, lambda n: 0 <= n < 2**32, "a whole number from 0 to 4294967295")
_port = _value(int, lambda n: 0 <= n <= 65535, "a whole number from 0 to 65535")
_whole = _value(int, lambda n: n >= 0, "a whole number of 0 or more")
_finite = _value(float, math.isfinite, "a finite number")
_rate = _value(float, lambda v: 0 < v < math.inf, "a number above 0")
_share = _value(float, lambda v: 0 < v < 1, "a number between 0 and 1")
_dropout = _value(float, lambda v: 0 <= v < 1, "a number from 0 to below 1")


def _name(names: Names) -> Callable[[str], str]:
    """Make the type of a name: ours, or one that another library has for the same."""

    def convert(text: str) -> str:
        found = names.find(text)
        if found is None:
            known = ", ".join(sorted(names.rows))
            raise argparse.ArgumentTypeError(f"{text!r} is not one of {known}{names.advice(text)}")
        return found

    return convert


_activation = _name(activations.NAMES)


def _several(one: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    """Make the type of a list whose items are separated by commas."""
    return lambda text: [one(part) for part in text.split(",")]


def _hidden(text: str) -> list[int]:
    """``64,64``; ``none`` for a model without hidden layers."""
    return [] if text == "none" else _several(_units)(text)


def _batch_size(text: str) -> int | None:
    """A number of rows; ``all`` for gradient descent over all rows at once."""
    return None if text == "all" else int(_count(text))


# ------------------------------------------------------------------------------------------- arguments by command


def _train(parser: argparse.ArgumentParser) -> None:
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
        default=[64, 64],
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
    training.add_argument(
        "--optimizer",
        type=_name(optimizers.NAMES),
        default="adam",
        metavar="NAME",
        help=f"{', '.join(optimizers.OPTIMIZERS)} (default: adam)",
    )
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
        "--threads", type=_threads, metavar="N", help="default: all cores the process may use"
    )
    output = parser.add_argument_group("the output")
    output.add_argument("--out", metavar="FILE", help="model file (default: model.safetensors)")
    output.add_argument("--plot", metavar="FILE", help="picture of the loss per epoch: .png, .svg, .pdf")
    output.add_argument("--json", action="store_true", help="print one JSON object and nothing else")


def _predict(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a file that `fastbp train` saved")
    parser.add_argument("data", metavar="FILE", help="rows as for `fastbp train`; the target may be absent")
    parser.add_argument("--out", metavar="FILE", help="CSV file to write (default: standard output)")


def _explain(parser: argparse.ArgumentParser) -> None:
    network = parser.add_argument_group("the network")
    network.add_argument(
        "--sizes",
        type=_several(_count),
        metavar="N,N,...",
        help="units per layer, inputs first (default: 3,2,1)",
    )
    network.add_argument(
        "--activation",
        type=_several(_activation),
        metavar="NAME[,NAME]",
        help="of all layers, or one per layer: relu,sigmoid (default: sigmoid)",
    )
    network.add_argument("--bias", action="store_true", help="give every unit a bias, 0 at first")
    network.add_argument(
        "--seed",
        type=_whole,
        metavar="N",
        help="random weights, those of fastbp.Sequential(..., seed=N) (default: round numbers for 3,2,1, else seed 0)",
    )
    network.add_argument(
        "--weights",
        metavar="FILE",
        help="a saved model (.safetensors), or .json with weights, biases, activations as --json prints them",
    )
    sample = parser.add_argument_group("the sample")
    sample.add_argument(
        "--input",
        type=_several(_finite),
        metavar="X,X,...",
        help="one number per input (with = if the first is negative: --input=-1,2)",
    )
    sample.add_argument(
        "--target", type=_several(_finite), metavar="Y,...", help="one number per output (default: 1,0,...)"
    )
    step = parser.add_argument_group("the step")
    step.add_argument("--lr", type=_rate, default=0.5, metavar="RATE", help="learning rate (default: 0.5)")
    step.add_argument("--steps", type=_count, default=1, metavar="N", help="how many times (default: 1)")
    step.add_argument(
        "--sign",
        choices=["uphill", "downhill"],
        default="uphill",
        help="what delta is: how the loss changes (uphill, the default), or its negative, as in the tutorials",
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object with all digits of all numbers"
    )


def _playground(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--port",
        type=_port,
        default=5006,
        metavar="N",
        help="of 127.0.0.1 (default: 5006); 0: one that is free",
    )
    parser.add_argument(
        "--no-browser", dest="browser", action="store_false", help="only say where the page is"
    )


def _info(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _warmup(_: argparse.ArgumentParser) -> None:
    pass


COMMANDS: dict[str, tuple[str, Callable[[argparse.ArgumentParser], None]]] = {
    "train": ("Train a network on a table and save it with the scaling of its columns.", _train),
    "predict": ("Apply a model of `fastbp train` to the rows of a table.", _predict),
    "explain": ("Show one forward and one backward pass, every number with its formula.", _explain),
    "playground": ("Show descent and learning in the browser, to be played with.", _playground),
    "info": ("Show CPU, vector width, BLAS, threads, versions and the state of the kernel cache.", _info),
    "warmup": ("Compile all kernels now and keep them on disk (container images, CI).", _warmup),
}
"""The commands with their summaries; ``fastbp.cli.NAME.run`` is what each of them does."""
