"""`fastbp explain`: one forward and one backward pass, and the update, every number beside its formula.

The order is the tutorial's: v_in(1), v_out(1), ..., y_hat, E, delta of the last layer, ..., delta(0), the update. All
numbers are those of `fastbp.reference`; at the end the compiled kernels compute the same, and both are compared. What
is explained is in explaining/problem.py, the numbers in explaining/steps.py, their layout in explaining/text.py.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from fastbp import reference as ref
from fastbp.explaining import problem as problems
from fastbp.explaining import text
from fastbp.explaining.problem import Problem, add_arguments
from fastbp.explaining.steps import SIGN, Entry, passes

__all__ = ["add_arguments", "passes", "run"]

SAME = 1e-9  # the kernels' exp and tanh may differ from the C library's in the last digit


def run(arguments: argparse.Namespace) -> int:
    """Print the explanation; returns the exit code, 0.

    Raises
    ------
    fastbp.tables.table.InputError
        The numbers given do not fit together, or a file cannot be used.
    RuntimeError
        The kernels compute something else than the reference.

    >>> parser = argparse.ArgumentParser()
    >>> add_arguments(parser)
    >>> run(parser.parse_args(["--sizes", "1,1", "--activation", "identity", "--json"]))  # doctest: +ELLIPSIS
    {"sizes": [1, 1], "activations": ["identity"], ...}
    0
    """
    problem = problems.read(arguments)
    layers, steps = problem.layers, []
    for _ in range(arguments.steps):
        entries, layers = passes(layers, problem.x, problem.y, arguments.lr)
        steps.append(entries)
    if not arguments.json:  # before the kernels, whose first use may take seconds to compile
        print("\n".join(text.layout(problem, layers, steps, arguments.lr)), flush=True)
    agreement = _kernels(problem, steps[-1], arguments.lr, len(steps))
    wrong = [name for name, difference in agreement.items() if not difference <= SAME]
    if not arguments.json:
        print("\n".join(text.verdict(problem, agreement, not wrong)))
    if wrong:
        raise RuntimeError(f"the kernels differ from the reference in {', '.join(wrong)}: please report this")
    if arguments.json:
        print(json.dumps(_document(problem, layers, steps, agreement, arguments.lr), allow_nan=False))
    return 0


def _kernels(problem: Problem, entries: list[Entry], lr: float, steps: int) -> dict[str, float]:
    """Let the engine do the same in float64; the largest difference of each quantity, relative to its size."""
    import numpy as np

    from fastbp.engine.engine import Engine
    from fastbp.engine.session import Session
    from fastbp.layers import Layer
    from fastbp.objectives import Objective
    from fastbp.optimizers import Rule

    objective = Objective("half_squared_error")
    x, y = np.array([problem.x]), np.array([problem.y])

    def engine(use_bias: bool) -> Any:
        plan = [
            Layer(len(layer.W[0]), layer.activation, use_bias=use_bias or layer.b is not None)
            for layer in problem.layers
        ]
        made = Engine(len(problem.x), plan, np.dtype(np.float64))
        biases = [
            np.array(layer.b or [0.0] * len(layer.W[0])) if use_bias or layer.b is not None else None
            for layer in problem.layers
        ]
        made.set_parameters([np.array(layer.W) for layer in problem.layers], biases)
        return made

    trained = engine(use_bias=False)
    session = Session(trained, objective, Rule("sgd"), batch_size=1)
    order = np.zeros(1, np.int64)
    for _ in range(steps - 1):
        session.run(x, y, order, lr)
    # The gradient of a bias is the delta of its unit: a twin with biases, all 0 where there are none, shows the deltas.
    twin = engine(use_bias=True)
    pairs = zip(trained.weights, trained.biases, strict=True)
    weights, biases = zip(*((W, np.zeros(W.shape[1]) if b is None else b) for W, b in pairs), strict=True)
    twin.set_parameters(list(weights), list(biases))
    outputs = twin.hidden(x)
    loss, gradients = twin.value_and_grad(x, y, objective, inputs=True)
    session.run(x, y, order, lr)

    last = len(problem.layers)
    found: dict[str, Any] = {f"v_out({depth})": a[0] for depth, a in enumerate(outputs, start=1)}
    found["y_hat"] = found.pop(f"v_out({last})")
    found |= {"E": y[0] - found["y_hat"], "loss": [loss], "delta(0)": gradients.inputs[0]}
    found |= {f"delta({depth})": db for depth, db in enumerate(gradients.biases, start=1)}
    found |= {f"W({depth}->{depth + 1})": W for depth, W in enumerate(trained.weights)}
    found |= {f"b({depth})": b for depth, b in enumerate(trained.biases, start=1) if b is not None}
    agreement = {}
    for entry in entries:
        if entry.name in found:
            expected, got = np.array(entry.value), np.asarray(found[entry.name])
            scale = max(1.0, float(np.abs(expected).max()))
            agreement[entry.name] = float(np.abs(got - expected).max()) / scale
    return agreement


def _document(
    problem: Problem,
    layers: list[ref.Layer],
    steps: list[list[Entry]],
    agreement: dict[str, float],
    lr: float,
) -> dict[str, Any]:
    return {
        "sizes": problem.sizes,
        "activations": [layer.activation for layer in problem.layers],
        "weights": [layer.W for layer in problem.layers],
        "biases": [layer.b for layer in problem.layers],
        "input": problem.x,
        "target": problem.y,
        "learning_rate": lr,
        "source": problem.source,
        "notes": [*problem.notes, SIGN],
        "steps": [
            [{"part": e.part, "name": e.name, "formula": e.formula, "value": e.value} for e in entries]
            for entries in steps
        ],
        "loss_after": problem.loss(layers),
        "kernels": {"dtype": "float64", "largest_difference": agreement},
    }
