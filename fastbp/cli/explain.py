"""``fastbp explain``: one forward and one backward pass, and the update, every number beside its formula.

The order is the tutorial's: v_in(1), v_out(1), ..., y_hat, E, delta of the last layer, ..., delta(0), the update. All
numbers are those of `fastbp.reference`; at the end the compiled kernels compute the same, and both are compared.
"""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

from fastbp import reference as ref
from fastbp.cli.report import say
from fastbp.explaining import document, text
from fastbp.explaining.problem import EXAMPLE, Problem, layers_of, made
from fastbp.explaining.steps import explain
from fastbp.tables.errors import InputError


def run(arguments: Namespace) -> int:
    """Print the explanation; returns the exit code, 0.

    Raises
    ------
    fastbp.tables.errors.InputError
        The numbers given do not fit together or grow too large, or a file cannot be used.
    RuntimeError
        The kernels compute something else than the reference.

    >>> from fastbp.cli.arguments import make_parser
    >>> typed = ["explain", "--sizes", "1,1", "--activation", "identity", "--json"]
    >>> run(make_parser().parse_args(typed))  # doctest: +ELLIPSIS
    {"sizes": [1, 1], "activations": ["identity"], ...}
    0
    """
    problem = problem_of(arguments)
    try:
        explanation = explain(problem, arguments.lr, arguments.steps, arguments.sign)
    except OverflowError as error:
        raise InputError(f"{error}; give smaller weights, inputs or --lr") from None
    page = text.Page.of_terminal()
    if not arguments.json:  # before the kernels, whose first use may take seconds to compile
        say("\n".join(text.layout(explanation, page)))
    from fastbp.explaining.agreement import SAME, agreement

    differences = agreement(explanation)
    wrong = [name for name, difference in differences.items() if not difference <= SAME]
    if not arguments.json:
        say("\n".join(text.verdict(problem, differences, not wrong, page)))
    if wrong:
        raise RuntimeError(f"the kernels differ from the reference in {', '.join(wrong)}: please report this")
    if arguments.json:
        say(json.dumps(document.write(explanation, differences), allow_nan=False))
    return 0


def problem_of(arguments: Namespace) -> Problem:
    """Make the network and the sample of what was typed.

    Raises
    ------
    InputError
        Options or the contents of a file that do not fit together.
    fastbp.formats.FormatError, OSError
        The file of a model cannot be read.
    """
    stored: dict[str, Any] = {}
    notes: list[str] = []
    if arguments.weights is None:
        layers, source = _layers_of_options(arguments)
    else:
        layers, notes, stored = _layers_of_file(arguments)
        source = f"Weights from {arguments.weights}"
    sizes = [len(layers[0].W), *(len(layer.W[0]) for layer in layers)]
    x = arguments.input if arguments.input is not None else stored.get("input")
    y = arguments.target if arguments.target is not None else stored.get("target")
    if x is None:
        x = [ref.example()[1][i % 3] for i in range(sizes[0])]
    if y is None:
        y = [float(k == 0) for k in range(sizes[-1])]
    for name, values, size, kind in (("input", x, sizes[0], "inputs"), ("target", y, sizes[-1], "outputs")):
        if not document.is_row(values) or len(values) != size:
            found = f"{len(values)} numbers" if document.is_row(values) else repr(values)[:40]
            raise InputError(f"{name}: the network has {size} {kind}, got {found}")
    return Problem(layers, [[float(v) for v in x]], [[float(v) for v in y]], source, notes)


def _layers_of_options(arguments: Namespace) -> tuple[list[ref.Layer], str]:
    """The network of --sizes, --activation, --bias and --seed, and where its weights come from."""
    sizes = arguments.sizes or EXAMPLE
    if len(sizes) < 2:
        raise InputError(f"--sizes needs the inputs and at least one layer, as in 3,2,1; got {sizes[0]}")
    try:
        names = document.per_layer(arguments.activation or ["sigmoid"], len(sizes) - 1)
    except ValueError as error:
        raise InputError(str(error)) from None
    return made(sizes, names, bias=arguments.bias, seed=arguments.seed)


def _layers_of_file(arguments: Namespace) -> tuple[list[ref.Layer], list[str], dict[str, Any]]:
    """The network of --weights, what is left out of it, and the JSON document if the file is one."""
    for option in ("sizes", "seed"):
        if getattr(arguments, option) is not None:
            raise InputError(f"--weights brings the network: leave out --{option}")
    if arguments.bias:
        raise InputError("--weights brings the biases: leave out --bias")
    path = Path(arguments.weights)
    if path.suffix == ".json":
        stored = _read_json(path)
        if arguments.activation is not None and ("activations" in stored or "activation" in stored):
            raise InputError(f"{path} names the activations: leave out --activation")
        try:
            return document.layers_in(stored, arguments.activation), [], stored
        except ValueError as error:
            raise InputError(f"{path}: {error}") from None
    if arguments.activation is not None:
        raise InputError("a saved model knows its activations: leave out --activation")
    from fastbp.formats.safetensors import read_model

    model = read_model(path)
    try:
        return *layers_of(model), {}
    except ValueError as error:  # an estimator that is not fitted
        raise InputError(f"{path}: {error}") from None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # bad UTF-8 included
        raise InputError(f"{path}: not JSON: {error}") from None
    if not isinstance(stored, dict):
        raise InputError(f"{path}: expected an object, got {type(stored).__name__}")
    return stored
