"""What the commands say, and where: results on standard output, everything else on standard error."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from argparse import Namespace

    from fastbp.sequential import Sequential
    from fastbp.tables.prepare import Prepared

COMPILE_SECONDS = 15


def say(line: str) -> None:
    """Write one line to standard output, at once."""
    print(line, flush=True)


def tell(line: str) -> None:
    """Write one line to standard error, at once."""
    print(line, file=sys.stderr, flush=True)


def complain(message: str) -> None:
    """Write a message to standard error as one line, in the name of the command."""
    tell(f"fastbp: {' '.join(message.split())}")


def megabytes(size: int) -> str:
    """Put a number of bytes into words.

    >>> megabytes(2_450_000)
    '2.5 MB'
    """
    return f"{size / 1e6:.1f} MB"


def introduce(source: str, prepared: Prepared, net: Sequential, arguments: Namespace, epochs: int) -> None:
    """Say what is about to be trained, on which rows."""
    from fastbp.tables.errors import listed

    preprocessor = prepared.preprocessor
    goal = ", ".join(preprocessor.target)
    if preprocessor.task == "classification":
        goal += f" ({len(preprocessor.classes)} classes: {listed(preprocessor.classes, 5)})"
    n = prepared.n_rows
    parts = f"{n['train']:,} to learn from, "
    if n["validation"]:
        parts += f"{n['validation']:,} to find the number of epochs, "
    sizes = "-".join(str(n) for n in (net.n_inputs, *arguments.hidden, net.n_outputs))
    size = arguments.batch_size or n["train"]
    say(f"{source}: {preprocessor.task} of {goal}")
    say(f"{sum(n.values()):,} rows: {parts}{n['test']:,} held out")
    say(
        f"network {sizes}, {net.n_parameters:,} parameters, {arguments.dtype}; {arguments.optimizer}, "
        f"batches of {size:,}, {'up to ' if n['validation'] else ''}{epochs:,} epochs"
    )


def score_line(score: dict[str, Any], rows: int) -> str:
    """Put a score of `Preprocessor.score` into words."""
    if "accuracy" in score:
        return (
            f"accuracy {100 * score['accuracy']:.1f} % ({round(score['accuracy'] * rows):,} of {rows:,} rows)"
        )
    r2 = "not defined" if score["r2"] is None else f"{score['r2']:.3f}"
    return f"R2 {r2}, RMSE {score['rmse']:.4g} ({rows:,} rows)"


def conclude(report: dict[str, Any]) -> None:
    """Say how good the network is, how long it took and where it is."""
    say(f"held-out {score_line(report, report['rows']['test'])}")
    epochs = report["epochs"] + report["epochs_searched"]
    say(f"{epochs:,} epochs in {report['seconds']:.2f} s: {report['samples_per_second']:,} samples/s")
    say(f"saved {report['model']}" + (f" and {report['plot']}" if report["plot"] else ""))
