"""The same numbers from the compiled kernels, and how far the two are apart."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbp.engine.engine import Engine
from fastbp.engine.own import new_session
from fastbp.explaining.entries import DOWNHILL
from fastbp.explaining.problem import Problem
from fastbp.explaining.steps import Explanation
from fastbp.layers import Layer
from fastbp.optimizers import Rule

__all__ = ["SAME", "agreement"]

SAME = 1e-9  # the kernels' exp and tanh may differ from the C library's in the last digit


def agreement(explanation: Explanation) -> dict[str, float]:
    """Let the engine do the same in float64; return by how much each quantity of the last step differs.

    Returns
    -------
    dict of str to float
        Per quantity the largest difference of its numbers, relative to the largest of them (or to 1). Up to `SAME`
        the two agree.

    >>> from fastbp import reference as ref
    >>> from fastbp.explaining.steps import explain
    >>> layers, x, y = ref.example()
    >>> max(agreement(explain(Problem(layers, [x], [y]), lr=0.5)).values()) < SAME
    True
    """
    problem = explanation.problem
    objective, n = problem.objective, len(problem.x)
    x, y = np.array(problem.x), np.array(problem.y)
    trained = _engine(problem, use_bias=False)
    session = new_session(trained, objective, Rule("sgd"), batch_size=n)
    order = np.arange(n)
    for _ in explanation.steps[1:]:
        session.run(x, y, order, explanation.lr)
    # The gradient of a bias is the delta of its unit, for one row. A twin that has biases everywhere, 0 if the network
    # has none, therefore shows every delta.
    twin = _engine(problem, use_bias=True)
    pairs = zip(trained.weights, trained.biases, strict=True)
    weights, biases = zip(*((W, np.zeros(W.shape[1]) if b is None else b) for W, b in pairs), strict=True)
    twin.set_parameters(list(weights), list(biases))
    outputs = twin.hidden(x)
    loss = twin.loss(x, y, objective)
    sign = -1.0 if explanation.sign == DOWNHILL else 1.0
    rows = []
    for r in range(n):
        _, gradients = twin.value_and_grad(x[r : r + 1], y[r : r + 1], objective, inputs=True)
        rows.append(
            [np.ravel(np.asarray(part)) * (sign / n) for part in (gradients.inputs, *gradients.biases)]
        )
    session.run(x, y, order, explanation.lr)

    last = len(problem.layers)
    found: dict[str, Any] = {f"v_out({depth})": a for depth, a in enumerate(outputs, start=1)}
    found["y_hat"] = found.pop(f"v_out({last})")
    if y.shape == found["y_hat"].shape:
        found["E"] = y - found["y_hat"]
    found["loss"] = [loss]
    found |= {f"delta({depth})": np.array(delta) for depth, delta in enumerate(zip(*rows, strict=True))}
    found |= {f"W({depth}->{depth + 1})": W for depth, W in enumerate(trained.weights)}
    found |= {f"b({depth})": b for depth, b in enumerate(trained.biases, start=1) if b is not None}
    differences = {}
    for entry in explanation.steps[-1]:
        if entry.name in found:
            expected = np.array(entry.value)
            got = np.reshape(found[entry.name], expected.shape)
            scale = max(1.0, float(np.abs(expected).max()))
            differences[entry.name] = float(np.abs(got - expected).max()) / scale
    return differences


def _engine(problem: Problem, use_bias: bool) -> Engine:
    """The network of the problem; with `use_bias` its layers without biases get some that are 0."""
    biases = [
        np.array(layer.b or [0.0] * len(layer.W[0])) if use_bias or layer.b is not None else None
        for layer in problem.layers
    ]
    layers = [
        Layer(len(layer.W[0]), layer.activation, use_bias=b is not None, l1=layer.l1, l2=layer.l2)
        for layer, b in zip(problem.layers, biases, strict=True)
    ]
    engine = Engine(len(problem.x[0]), layers, np.dtype(np.float64))
    engine.set_parameters([np.array(layer.W) for layer in problem.layers], biases)
    return engine
