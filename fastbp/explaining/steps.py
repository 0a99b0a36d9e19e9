"""One forward and one backward pass as a list of quantities: name, formula, numbers, and how each came about."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from fastbp import reference as ref
from fastbp.explaining.problem import Problem

__all__ = ["SHOWN", "SIGN", "Entry", "Explanation", "explain", "formulas", "passes", "short"]

SHOWN = 6  # numbers of a layer, terms of a sum; --json has all of them

SIGN = (
    "delta is how the loss changes with v_in, so it points uphill and is subtracted. The tutorials' delta, "
    "E f', is its negative, points downhill and is added: the new weights are the same."
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the argument: a quantity, its formula, its numbers, and how each of them came about."""

    part: str  # forward, error, backward, update
    name: str
    formula: str
    value: Any  # row or matrix
    lines: list[tuple[str, str]]  # (left side, right side), one per number


@dataclass(frozen=True, slots=True)
class Explanation:
    """A problem and every number of its steps.

    Attributes
    ----------
    problem : Problem
    lr : float                            Learning rate.
    steps : list of list of Entry
    layers : list of `fastbp.reference.Layer`
        The network after the last step.
    """

    problem: Problem
    lr: float
    steps: list[list[Entry]]
    layers: list[ref.Layer]


def explain(problem: Problem, lr: float, steps: int = 1) -> Explanation:
    """Explain one or more steps of gradient descent on the sample.

    Raises
    ------
    OverflowError
        A number grows beyond what a float can hold.

    >>> explanation = explain(Problem(*ref.example()), lr=0.5, steps=2)
    >>> [len(entries) for entries in explanation.steps]
    [11, 11]
    """
    layers, taken = problem.layers, []
    for _ in range(steps):
        entries, layers = passes(layers, problem.x, problem.y, lr)
        taken.append(entries)
    return Explanation(problem, lr, taken, layers)


def passes(
    layers: Sequence[ref.Layer], x: ref.Row, y: ref.Row, lr: float
) -> tuple[list[Entry], list[ref.Layer]]:
    """One forward and one backward pass and the update, as a list of entries, and the layers after it.

    Parameters
    ----------
    layers : sequence of `fastbp.reference.Layer`
    x, y : list of float
        One sample.
    lr : float
        Learning rate.

    Raises
    ------
    OverflowError
        A number grows beyond what a float can hold.

    >>> entries, layers = passes(*ref.example(), lr=0.5)
    >>> [entry.name for entry in entries][:5]
    ['v_in(1)', 'v_out(1)', 'v_in(2)', 'y_hat', 'E']
    """
    outputs = ref.forward(layers, x)
    y_hat = outputs[-1][1]
    loss = ref.LOSSES["half_squared_error"]
    deltas, gradients, felt = ref.backward(layers, x, outputs, loss.delta(y_hat, y))
    new = [ref.updated(layer, dW, db, lr) for layer, (dW, db) in zip(layers, gradients, strict=True)]
    last = len(layers)
    inputs = [x, *(a for _, a in outputs)]  # inputs[l] enters W(l->l+1)
    entries: list[Entry] = []

    def add(part: str, name: str, formula: str, value: Any, terms: Iterable[str]) -> None:
        rows = zip(terms, _flat(value), strict=True)
        labels = [f"{name}{index}" for index in _indices(value)]
        lines = [(label, f"{term} = {short(v)}") for label, (term, v) in zip(labels, rows, strict=True)]
        entries.append(Entry(part, name, formula, value, lines))

    for depth, (layer, (z, a)) in enumerate(zip(layers, outputs, strict=True), start=1):
        before = inputs[depth - 1]
        W, (f, _) = f"W({depth - 1}->{depth})", formulas(layer.activation)
        source = "x" if depth == 1 else f"v_out({depth - 1})"
        bias = f" + b({depth})" if layer.b else ""
        terms = [
            _sum(
                [(row[j], v) for row, v in zip(layer.W, before, strict=True)], layer.b[j] if layer.b else None
            )
            for j in range(len(z))
        ]
        add("forward", f"v_in({depth})", f"{W}' {source}{bias}", z, terms)
        name = "y_hat" if depth == last else f"v_out({depth})"
        add(
            "forward",
            name,
            f"f(v_in({depth})), f = {layer.activation}: {f}",
            a,
            [f"f({short(v)})" for v in z],
        )

    error = [t - p for t, p in zip(y, y_hat, strict=True)]
    terms = [f"{short(t)} - {_factor(p)}" for t, p in zip(y, y_hat, strict=True)]
    add("error", "E", "y - y_hat", error, terms)
    squares = " + ".join(f"{_factor(e)}^2" for e in error[:SHOWN]) + (" + ..." if len(error) > SHOWN else "")
    sum_sign = "sum " if len(error) > 1 else ""
    add("error", "loss", f"1/2 {sum_sign}E^2", [loss.value(y_hat, y)], [f"1/2 ({squares})"])

    for depth in range(last, 0, -1):
        layer, (z, a), delta = layers[depth - 1], outputs[depth - 1], deltas[depth - 1]
        slopes = [ref.ACTIVATIONS[layer.activation].f_prime(z_j) for z_j in z]
        if depth == last:
            felt_here, cause = [-e for e in error], "-E"
            parts = [_factor(e) for e in felt_here]
        else:
            W_next, delta_next = layers[depth].W, deltas[depth]
            cause = f"(W({depth}->{depth + 1}) delta({depth + 1}))"
            parts = [f"({_sum(list(zip(row, delta_next, strict=True)))})" for row in W_next]
        terms = [f"{part} * {_factor(slope)}" for part, slope in zip(parts, slopes, strict=True)]
        prime = f"f' = {formulas(layer.activation)[1]}"
        add("backward", f"delta({depth})", f"{cause} f'(v_in({depth})), {prime}", delta, terms)
    terms = [_sum(list(zip(row, deltas[0], strict=True))) for row in layers[0].W]
    add("backward", "delta(0)", "W(0->1) delta(1), the error felt by the inputs", felt, terms)

    for depth in range(last, 0, -1):
        layer, delta, before = layers[depth - 1], deltas[depth - 1], inputs[depth - 1]
        source = "x" if depth == 1 else f"v_out({depth - 1})"
        name = f"W({depth - 1}->{depth})"
        terms = [
            f"{short(w)} - {short(lr)} * {_factor(v)} * {_factor(d)}"
            for row, v in zip(layer.W, before, strict=True)
            for w, d in zip(row, delta, strict=True)
        ]
        add("update", name, f"{name} - lr {source} delta({depth})'", new[depth - 1].W, terms)
        if layer.b:
            terms = [f"{short(p)} - {short(lr)} * {_factor(d)}" for p, d in zip(layer.b, delta, strict=True)]
            add("update", f"b({depth})", f"b({depth}) - lr delta({depth})", new[depth - 1].b, terms)
    if not all(math.isfinite(v) for entry in entries for v in _flat(entry.value)):
        raise OverflowError("the numbers grow beyond what a float can hold")
    return entries, new


def formulas(activation: str) -> tuple[str, str]:
    """Return f and f' of an activation in the letters of the tutorial: v goes in, f comes out.

    >>> formulas("sigmoid")
    ('1 / (1 + e^-v)', 'f (1 - f)')
    """
    entry = ref.ACTIVATIONS[activation]
    letters = {"z": "v", "a": "f"}
    f, f_prime = (
        re.sub(r"\b[za]\b", lambda letter: letters[letter[0]], text)
        for text in (entry.formula, entry.derivative)
    )
    return f, f_prime


def _sum(pairs: list[tuple[float, float]], constant: float | None = None) -> str:
    """The products of a weighted sum, the first few of many."""
    terms = [f"{_factor(p)}*{_factor(q)}" for p, q in pairs[:SHOWN]]
    terms += ["..."] * (len(pairs) > SHOWN)
    if constant is not None:
        terms.append(_factor(constant))
    return " + ".join(terms)


def short(v: float) -> str:
    """The number with five digits, as it is shown."""
    return f"{v:.5g}"


def _factor(v: float) -> str:
    return f"({short(v)})" if v < 0 else short(v)


def _flat(value: Any) -> list[float]:
    return [v for row in value for v in row] if value and isinstance(value[0], list) else list(value)


def _indices(value: Any) -> list[str]:
    if value and isinstance(value[0], list):
        return [f"[{i},{j}]" for i, row in enumerate(value, start=1) for j in range(1, len(row) + 1)]
    return [f"[{i}]" for i in range(1, len(value) + 1)] if len(value) > 1 else [""]
