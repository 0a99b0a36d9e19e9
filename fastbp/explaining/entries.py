"""One forward and one backward pass as a list of quantities: name, formula, numbers, and how each came about.

A single sample is shown as the tutorial shows it: vectors are columns, ``W' x``. The rows of a batch stand below each
other, ``x W``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from fastbp import reference as ref
from fastbp.explaining.passage import Passage
from fastbp.explaining.problem import Problem
from fastbp.own import Loss

__all__ = ["DOWNHILL", "SHOWN", "SIGNS", "UPHILL", "Entry", "entries_of", "formulas", "numbers", "short"]

SHOWN = 6  # numbers of a layer, terms of a sum; --json has all of them

_MEANING = r", (?=\w = )"  # before the explanation of a letter in a formula of the specification

UPHILL, DOWNHILL = "uphill", "downhill"
SIGNS = {
    UPHILL: (
        "delta is how the loss changes with v_in, so it points uphill and is subtracted. The tutorials' delta, "
        "E f', is its negative, points downhill and is added: the new weights are the same."
    ),
    DOWNHILL: (
        "delta is the tutorials', E f': it points downhill and is added. How the loss changes with v_in, the usual "
        "delta, is its negative, points uphill and is subtracted: the new weights are the same."
    ),
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the argument: a quantity, its formula, its numbers, and how each of them came about."""

    part: str  # forward, error, backward, update
    name: str
    formula: str
    value: Any  # row or matrix
    lines: list[tuple[str, str]]  # (left side, right side), one per number


def entries_of(problem: Problem, passage: Passage, lr: float, sign: str) -> list[Entry]:
    """Return every quantity of a step, in the order of the tutorial.

    >>> from fastbp.explaining.passage import go
    >>> layers, x, y = ref.example()
    >>> problem = Problem(layers, [x], [y])
    >>> [entry.name for entry in entries_of(problem, go(problem, layers, 0.5), 0.5, UPHILL)][:5]
    ['v_in(1)', 'v_out(1)', 'v_in(2)', 'y_hat', 'E']
    """
    return list(_Writer(problem, passage, lr, sign).entries())


def formulas(activation: str) -> tuple[str, str]:
    """Return f and f' of an activation in the letters of the tutorial: v goes in, f comes out.

    >>> formulas("sigmoid")
    ('1 / (1 + e^-v)', 'f (1 - f)')
    """
    entry = ref.ACTIVATIONS[activation]
    f, f_prime = (_spelled(text, {"z": "v", "a": "f"}) for text in (entry.formula, entry.derivative))
    return f, f_prime


def short(v: float) -> str:
    """The number with five digits, as it is shown.

    >>> short(1 / 3), short(-0.0)
    ('0.33333', '0')
    """
    return f"{v + 0.0:.5g}"  # never -0


def numbers(value: Any) -> list[float]:
    """The numbers of a row or a matrix, row by row.

    >>> numbers([[1.0, 2.0], [3.0, 4.0]]), numbers([1.0])
    ([1.0, 2.0, 3.0, 4.0], [1.0])
    """
    return [v for row in value for v in row] if value and isinstance(value[0], list) else list(value)


class _Writer:
    """Writes the numbers of a step as entries, in the order of the tutorial."""

    def __init__(self, problem: Problem, passage: Passage, lr: float, sign: str) -> None:
        self.problem, self.passage, self.lr = problem, passage, lr
        self.sample, self.n = problem.is_sample, len(problem.x)
        self.last = len(passage.layers)
        self.downhill = sign == DOWNHILL
        self.inputs = [problem.x, *passage.v_out]  # inputs[l] enters W(l->l+1)
        self.deltas = [self._turned(delta) for delta in passage.delta]

    def entries(self) -> Iterable[Entry]:
        """Every quantity of the step."""
        for depth in range(1, self.last + 1):
            yield from self._forward(depth)
        squared = self.problem.objective.name == "half_squared_error"
        yield from self._squared_error() if squared else self._loss()
        for depth in range(self.last, 0, -1):
            yield self._delta(depth, squared)
        yield self._felt()
        for depth in range(self.last, 0, -1):
            yield from self._update(depth)

    def _forward(self, depth: int) -> Iterable[Entry]:
        layer, before = self.passage.layers[depth - 1], self.inputs[depth - 1]
        v_in, v_out = self.passage.v_in[depth - 1], self.passage.v_out[depth - 1]
        W, source, (f, _) = f"W({depth - 1}->{depth})", _source(depth), formulas(layer.activation)
        product = f"{W}' {source}" if self.sample else f"{source} {W}"
        terms = [
            _sum([(w[j], v) for w, v in zip(layer.W, row, strict=True)], layer.b[j] if layer.b else None)
            for row in before
            for j in range(len(layer.W[0]))
        ]
        yield self._entry(
            "forward", f"v_in({depth})", product + (f" + b({depth})" if layer.b else ""), v_in, terms
        )
        name = "y_hat" if depth == self.last else f"v_out({depth})"
        terms = [f"f({short(v)})" for v in numbers(v_in)]
        yield self._entry("forward", name, f"f(v_in({depth})), f = {layer.activation}: {f}", v_out, terms)

    def _squared_error(self) -> Iterable[Entry]:
        """E and the loss of the tutorial."""
        pairs = list(zip(numbers(self.problem.y), numbers(self.passage.y_hat), strict=True))
        terms = [f"{short(t)} - {_factor(p)}" for t, p in pairs]
        yield self._entry("error", "E", "y - y_hat", self._errors(), terms)
        errors = numbers(self._errors())
        half = "1/2" if self.sample else f"1/(2*{self.n})"
        formula = f"{half} {'sum ' if len(errors) > 1 else ''}E^2"
        squares = _listed([f"{_factor(e)}^2" for e in errors])
        yield from self._total(formula, f"{half} ({squares})")

    def _loss(self) -> Iterable[Entry]:
        """The loss of every output (or row), their mean, and g, how it changes with y_hat."""
        objective, passage, y = self.problem.objective, self.passage, numbers(self.problem.y)
        entry = None if isinstance(objective, Loss) else ref.LOSSES[objective.name]
        known = {"z": "y_hat"}
        if entry is not None and entry.parameter is not None:
            known[entry.parameter.symbol] = short(objective.number)
        if objective.contains != "identity":
            yield self._predicted()
        y_hat = numbers(passage.y_hat)
        if isinstance(entry, ref.Loss):
            pairs = list(zip(y_hat, y, strict=True))
            single = [entry.element(p, t, objective.number) for p, t in pairs]
            named = [f"({short(p)}, {short(t)})" for p, t in pairs]
        else:
            single = passage.values
            named = [f" of row {r}" if self.n > 1 else "(y_hat, y)" for r in range(1, self.n + 1)]
        formula = f"{objective.name}(y, y_hat)" if entry is None else _spelled(entry.formula, known)
        over = f" / {len(single)}" if len(single) > 1 else ""
        if over:
            lines = [(f"l{n}", short(v)) for n, v in zip(named, single, strict=True)]
            yield Entry("error", "l", formula, single, lines)
            yield from self._total(f"sum l{over}", f"({_listed([_factor(v) for v in single])}){over}")
        else:
            yield from self._total("l(y_hat, y)", f"l{named[0]}", f", l = {formula}")
        slope, *meaning = (
            ["grad(y, y_hat)"] if entry is None else re.split(_MEANING, _spelled(entry.derivative, known))
        )
        if isinstance(entry, ref.Loss):
            terms = [f"l'{n}{over}" for n in named]
        elif entry is None:
            terms = [f"grad(y, y_hat){over}"] * len(y_hat)
        else:
            sums = [sum(row) for row in self.problem.y]
            if set(sums) == {1.0}:
                slope = slope.replace("p sum(y)", "p")
            shares = [
                p * total for row, total in zip(passage.y_hat, sums, strict=True) for p in ref.softmax(row)
            ]
            terms = [f"{short(p)} - {_factor(t)}" for p, t in zip(shares, y, strict=True)]
            terms = [f"({term}){over}" for term in terms] if over else terms
        formula = f"({slope}){over}" if over and " " in slope else f"{slope}{over}"
        formula = ", ".join([formula, *meaning])
        yield self._entry("error", "g", f"{formula}: how the loss changes with y_hat", passage.slopes, terms)

    def _predicted(self) -> Entry:
        """What the loss itself makes of the outputs."""
        word = self.problem.objective.contains
        rows, terms = [], []
        for row in self.passage.y_hat:
            if word == "softmax":
                rows.append(ref.softmax(row))
                terms += [f"softmax(y_hat)[{k}]" for k in range(1, len(row) + 1)]
            else:
                rows.append([ref.ACTIVATIONS[word].f(v) for v in row])
                terms += [f"{word}({short(v)})" for v in row]
        return self._entry("error", "p", f"{word}(y_hat)", rows, terms)

    def _total(self, formula: str, term: str, meaning: str = "") -> Iterable[Entry]:
        """The loss, with the penalty if there is one."""
        penalty = ref.penalty(self.passage.layers)
        if penalty:
            yield Entry(
                "error",
                "penalty",
                "sum l1 |W| + sum l2 W^2",
                [penalty],
                [("penalty", short(penalty))],
            )
            formula, term = f"{formula} + penalty", f"{term} + {short(penalty)}"
        loss = self.passage.loss
        yield Entry("error", "loss", formula + meaning, [loss], [("loss", f"{term} = {short(loss)}")])

    def _delta(self, depth: int, squared: bool) -> Entry:
        layer, v_in = self.passage.layers[depth - 1], self.passage.v_in[depth - 1]
        f_prime = ref.ACTIVATIONS[layer.activation].f_prime
        over = "" if self.sample else f" / {self.n}"
        minus = "" if self.downhill else "-"
        if depth < self.last:
            W_next, delta_next = self.passage.layers[depth].W, self.deltas[depth]
            W, delta = f"W({depth}->{depth + 1})", f"delta({depth + 1})"
            cause = f"({W} {delta})" if self.sample else f"({delta} {W}')"
            parts = [f"({_sum(list(zip(w, row, strict=True)))})" for row in delta_next for w in W_next]
        elif squared:
            cause = f"{minus}E" if self.sample else f"({minus}E{over})"
            parts = [_factor(e if self.downhill else -e) + over for e in numbers(self._errors())]
        else:
            cause = "-g" if self.downhill else "g"
            parts = [_factor(g) for g in numbers(self._turned(self.passage.slopes))]
        terms = [f"{part} * {_factor(f_prime(v))}" for part, v in zip(parts, numbers(v_in), strict=True)]
        formula = f"{cause} f'(v_in({depth})), f' = {formulas(layer.activation)[1]}"
        return self._entry("backward", f"delta({depth})", formula, self.deltas[depth - 1], terms)

    def _felt(self) -> Entry:
        terms = [
            _sum(list(zip(w, row, strict=True))) for row in self.deltas[0] for w in self.passage.layers[0].W
        ]
        formula = "W(0->1) delta(1)" if self.sample else "delta(1) W(0->1)'"
        felt = self._turned(self.passage.felt)
        return self._entry("backward", "delta(0)", f"{formula}, the error felt by the inputs", felt, terms)

    def _update(self, depth: int) -> Iterable[Entry]:
        layer, new = self.passage.layers[depth - 1], self.passage.updated[depth - 1]
        before, delta = self.inputs[depth - 1], self.deltas[depth - 1]
        name, source, sign = f"W({depth - 1}->{depth})", _source(depth), "+" if self.downhill else "-"
        penalty = ref.penalized(layer, [[0.0] * len(layer.W[0]) for _ in layer.W])
        terms = []
        for i, row in enumerate(layer.W):
            for j, w in enumerate(row):
                pairs = [(x[i], d[j]) for x, d in zip(before, delta, strict=True)]
                slope = -penalty[i][j] if self.downhill else penalty[i][j]
                if self.sample and not slope:
                    change = f"{_factor(pairs[0][0])} * {_factor(pairs[0][1])}"
                else:
                    change = f"({_sum(pairs, slope or None)})"
                terms.append(f"{short(w)} {sign} {short(self.lr)} * {change}")
        change = f"{source} delta({depth})'" if self.sample else f"{source}' delta({depth})"
        if layer.l1 or layer.l2:
            change = f"({change} {'-' if self.downhill else '+'} slope of the penalty)"
        yield self._matrix("update", name, f"{name} {sign} lr {change}", new.W, terms)
        if layer.b:
            columns = list(zip(*delta, strict=True))
            shown = [
                _factor(c[0]) if self.sample else f"({_listed([_factor(d) for d in c])})" for c in columns
            ]
            terms = [f"{short(p)} {sign} {short(self.lr)} * {d}" for p, d in zip(layer.b, shown, strict=True)]
            of = f"delta({depth})" if self.sample else f"(sum of the rows of delta({depth}))"
            formula = f"b({depth}) {sign} lr {of}"
            yield self._matrix("update", f"b({depth})", formula, new.b, terms)

    def _errors(self) -> ref.Matrix:
        """y - y_hat of every output of every row."""
        rows = zip(self.problem.y, self.passage.y_hat, strict=True)
        return [[t - p for t, p in zip(y, y_hat, strict=True)] for y, y_hat in rows]

    def _turned(self, rows: ref.Matrix) -> ref.Matrix:
        """Slopes with the sign that is shown."""
        return [[0.0 - v for v in row] for row in rows] if self.downhill else rows

    def _entry(self, part: str, name: str, formula: str, rows: ref.Matrix, terms: Iterable[str]) -> Entry:
        """A quantity that every row has."""
        return self._matrix(part, name, formula, rows[0] if self.sample else rows, terms)

    @staticmethod
    def _matrix(part: str, name: str, formula: str, value: Any, terms: Iterable[str]) -> Entry:
        labels = [f"{name}{index}" for index in _indices(value)]
        lines = [
            (label, f"{term} = {short(v)}")
            for label, term, v in zip(labels, terms, numbers(value), strict=True)
        ]
        return Entry(part, name, formula, value, lines)


def _source(depth: int) -> str:
    """What enters the weights of a layer."""
    return "x" if depth == 1 else f"v_out({depth - 1})"


def _spelled(formula: str, letters: dict[str, str]) -> str:
    """A formula of the specification in other letters."""
    pattern = rf"\b({'|'.join(letters)})\b"
    return re.sub(pattern, lambda letter: letters[letter[0]], formula)


def _sum(pairs: list[tuple[float, float]], constant: float | None = None) -> str:
    """The products of a weighted sum, the first few of many."""
    terms = _listed([f"{_factor(p)}*{_factor(q)}" for p, q in pairs[: SHOWN + 1]])
    return terms if constant is None else f"{terms} + {_factor(constant)}"


def _listed(terms: list[str]) -> str:
    """The first few of many terms, with a plus between them."""
    return " + ".join([*terms[:SHOWN], *["..."] * (len(terms) > SHOWN)])


def _factor(v: float) -> str:
    return f"({short(v)})" if v < 0 else short(v)


def _indices(value: Any) -> list[str]:
    if value and isinstance(value[0], list):
        return [f"[{i},{j}]" for i, row in enumerate(value, start=1) for j in range(1, len(row) + 1)]
    return [f"[{i}]" for i in range(1, len(value) + 1)] if len(value) > 1 else [""]
