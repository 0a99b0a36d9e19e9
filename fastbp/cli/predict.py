"""``fastbp predict``: what a model of ``fastbp train`` says of the rows of a table."""

from __future__ import annotations

import csv
import sys
from argparse import Namespace
from collections.abc import Iterable
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastbp.cli.output import check_output
from fastbp.cli.report import complain, score_line
from fastbp.formats import atomic_write
from fastbp.formats.safetensors import read_model
from fastbp.tables.errors import InputError
from fastbp.tables.preprocessor import RECORD, Preprocessor
from fastbp.tables.read import read

if TYPE_CHECKING:
    from fastbp.sequential import Sequential


def run(arguments: Namespace) -> int:
    """Write one line per row: the class and the probability of each, or the value; returns the exit code.

    Raises
    ------
    InputError
        The table or the model is at fault.
    """
    if arguments.out:
        for source in (arguments.model, arguments.data):
            check_output(arguments.out, source, (".csv", ".txt"))
    table = read(arguments.data)
    net, preprocessor = _model(arguments.model)
    x = preprocessor.encode(table, net.dtype, note=lambda line: complain(f"note: {line}"))
    outputs = net.predict(x)
    bad = np.flatnonzero(~np.isfinite(outputs).all(axis=1))
    if bad.size:
        raise table.fault("the model's answer is not a finite number", row=int(bad[0]))
    if arguments.out:
        with atomic_write(arguments.out, "w") as file:
            _write(file, preprocessor, outputs)
    else:
        _write(sys.stdout, preprocessor, outputs)
    try:
        y = preprocessor.encode_target(table, net.dtype)
    except InputError:  # no targets, or not of every row: nothing to compare with
        return 0
    line = score_line(preprocessor.score(outputs, y), table.n_rows)
    complain(f"{table.source} holds the target: {line}")
    return 0


def _model(path: str) -> tuple[Sequential, Preprocessor]:
    """The network in the file, and how rows are prepared for it."""
    net: Any = read_model(path)
    from fastbp.sequential import Sequential

    if not isinstance(net, Sequential) or RECORD not in net.metadata:
        raise InputError(
            f"{path}: a {type(net).__name__} that `fastbp train` did not make; use fastbp.load in Python"
        )
    try:
        preprocessor = Preprocessor.from_json(net.metadata[RECORD])
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    if (preprocessor.n_inputs, preprocessor.n_outputs) != (net.n_inputs, net.n_outputs):
        raise InputError(f"{path}: the record of how its columns were prepared fits another network")
    return net, preprocessor


def _write(file: IO[str], preprocessor: Preprocessor, outputs: NDArray[Any]) -> None:
    writer = csv.writer(file, lineterminator="\n")
    digits = 9 if outputs.dtype == np.float32 else 17  # enough to tell any two numbers of the dtype apart
    values = preprocessor.decode(outputs)
    rows: Iterable[list[str]] = ([f"{value:.{digits}g}" for value in row] for row in values.tolist())
    if preprocessor.task == "classification":
        writer.writerow(["prediction", *(f"probability_{name}" for name in preprocessor.classes)])
        best = np.argmax(outputs, axis=1)
        writer.writerows([preprocessor.classes[k], *row] for k, row in zip(best.tolist(), rows, strict=True))
    else:
        several = len(preprocessor.target) > 1
        writer.writerow([f"prediction_{name}" if several else "prediction" for name in preprocessor.target])
        writer.writerows(rows)
