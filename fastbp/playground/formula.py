"""Formulas that a reader types, as functions with their derivatives.

The text is read by Python's own parser and never run: of the tree that `ast` makes of it, numbers, variables, a few
operators and a few functions are taken, and everything else is refused. What is taken becomes small objects that
compute value and derivative together, by the rules of calculus (forward mode: Griewank and Walther, Evaluating
Derivatives, 2008, chapter 3), on NumPy arrays of any shape.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastbp.spellings import did_you_mean
from fastbp.validation import one_line, shown

__all__ = ["CONSTANTS", "FUNCTIONS", "Formula", "FormulaError", "parse"]

Floats = NDArray[np.float64]

LENGTH = 200  # characters
DEPTH = 60  # operations within operations
EXPONENT = 100.0  # of a power, at most

CONSTANTS = {"pi": math.pi, "e": math.e}


class Function(NamedTuple):
    """A function of one number, and its derivative, given the number and the function's value there."""

    f: Callable[[Any], Any]
    f_prime: Callable[[Any, Any], Any]


def _sigmoid(v: Any) -> Any:
    small = np.exp(-np.abs(v))
    return np.where(v >= 0, 1.0, small) / (1.0 + small)


# At a kink the derivative is the mean of those of both sides: 0 for abs.
FUNCTIONS: dict[str, Function] = {
    "sin": Function(np.sin, lambda v, f: np.cos(v)),
    "cos": Function(np.cos, lambda v, f: -np.sin(v)),
    "tan": Function(np.tan, lambda v, f: 1.0 + f * f),
    "asin": Function(np.arcsin, lambda v, f: 1.0 / np.sqrt(1.0 - v * v)),
    "acos": Function(np.arccos, lambda v, f: -1.0 / np.sqrt(1.0 - v * v)),
    "atan": Function(np.arctan, lambda v, f: 1.0 / (1.0 + v * v)),
    "sinh": Function(np.sinh, lambda v, f: np.cosh(v)),
    "cosh": Function(np.cosh, lambda v, f: np.sinh(v)),
    "tanh": Function(np.tanh, lambda v, f: 1.0 - f * f),
    "exp": Function(np.exp, lambda v, f: f),
    "log": Function(np.log, lambda v, f: 1.0 / v),
    "sqrt": Function(np.sqrt, lambda v, f: 0.5 / f),
    "abs": Function(np.abs, lambda v, f: np.sign(v)),
    "sigmoid": Function(_sigmoid, lambda v, f: f * (1.0 - f)),
    "relu": Function(lambda v: np.maximum(v, 0.0), lambda v, f: np.heaviside(v, 0.5)),
}
_OTHER_NAMES = {"ln": "log", "arcsin": "asin", "arccos": "acos", "arctan": "atan", "logistic": "sigmoid"}


class FormulaError(ValueError):
    """What is wrong with a formula, in words for the one who typed it."""


class Dual(NamedTuple):
    """A value, and its derivative by each variable; None is a derivative that is 0 everywhere."""

    value: Any
    slopes: tuple[Any, ...]


Node = Callable[[Sequence[Dual]], Dual]


@dataclass(frozen=True, slots=True)
class Formula:
    """A function of one or two variables that was typed; `parse` makes it.

    Attributes
    ----------
    text : str
        As it was typed.
    variables : tuple of str
    """

    text: str
    variables: tuple[str, ...]
    _node: Node

    def value(self, *point: ArrayLike) -> Any:
        """Return the function at points: one array, or number, per variable.

        The result has their shape, float64. It is NaN or infinite if the function has no value there.

        >>> float(parse("x^2 + 1").value(3.0))
        10.0
        """
        value, _ = self._at(point)
        return value[()]

    def gradient(self, *point: ArrayLike) -> tuple[Any, ...]:
        """Return the derivative by each variable at points, exact up to rounding; arguments as for `value`.

        At a kink it is the mean of the slopes on both sides.

        >>> [float(slope) for slope in parse("x^2 * y", ("x", "y")).gradient(3.0, 2.0)]
        [12.0, 9.0]
        """
        _, slopes = self._at(point)
        return tuple(slope[()] for slope in slopes)

    def _at(self, point: tuple[ArrayLike, ...]) -> tuple[Floats, list[Floats]]:
        if len(point) != len(self.variables):
            raise TypeError(
                f"the formula has the variables {', '.join(self.variables)}, got {len(point)} arguments"
            )
        values = np.broadcast_arrays(*(np.asarray(v, np.float64) for v in point))
        shape = values[0].shape
        variables = [
            Dual(v, tuple(1.0 if i == j else None for j in range(len(values)))) for i, v in enumerate(values)
        ]
        with np.errstate(all="ignore"):  # what overflows or has no value shows as infinity or NaN
            value, slopes = self._node(variables)
        full = [np.array(np.broadcast_to(0.0 if slope is None else slope, shape)) for slope in slopes]
        return np.array(np.broadcast_to(value, shape)), full


def parse(text: str, variables: Sequence[str] = ("x",)) -> Formula:
    """Read a formula.

    Parameters
    ----------
    text : str
        Such as ``x^4 - 2*x^2`` or ``sin(x) * exp(-y^2)``. Numbers, ``+ - * / ^`` (or ``**``), parentheses, pi, e, and
        the functions {functions}.
    variables : sequence of str
        What may vary.

    Raises
    ------
    FormulaError
        The text is no such formula; the message says what came and what is allowed.

    Examples
    --------
    >>> formula = parse("sin(x)^2 + cos(x)^2")
    >>> formula.value([0.0, 1.0, 2.0]).round(12), formula.gradient(0.5)[0].round(12) + 0.0
    (array([1., 1., 1.]), np.float64(0.0))
    >>> parse("x.real")
    Traceback (most recent call last):
    ...
    fastbp.playground.formula.FormulaError: an attribute (.real) is not allowed; allowed are numbers, ...
    """
    if not isinstance(text, str):
        raise FormulaError(f"the formula must be text, got {type(text).__name__}")
    variables = tuple(variables)
    text = text.strip()
    if not text:
        raise FormulaError(f"the formula is empty; try {' + '.join(f'{v}^2' for v in variables)}")
    if len(text) > LENGTH:
        raise FormulaError(f"the formula has {len(text)} characters, at most {LENGTH} are allowed")
    _check_characters(text)
    try:
        tree = ast.parse(text.replace("^", "**"), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else "it is nested too deeply"
        raise FormulaError(
            f"the formula cannot be read: {one_line(str(reason), 60)}; got {shown(text, 60)}"
        ) from None
    return Formula(text, variables, _Reader(variables).node(tree.body))


parse.__doc__ = (parse.__doc__ or "").replace("{functions}", ", ".join(FUNCTIONS))

_NUMBER = re.compile(r"(?<![\w.])(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")


def _check_characters(text: str) -> None:
    """Refuse characters that no formula has, and products without a sign, before Python's parser sees them."""
    bad = re.search(r"[^A-Za-z0-9_.+\-*/^(), ]", text)
    if bad:
        raise FormulaError(f"the character {bad[0]!r} is not allowed; {_allowed()}")
    for number in _NUMBER.finditer(text):
        rest = text[number.end() :]
        if re.match(r"[A-Za-z_]|\s*\(", rest):
            raise FormulaError(f"write a product with a sign: {number[0]}*{one_line(rest.lstrip(), 20)}")
        if re.match(r"[\d.]", rest):
            raise FormulaError(f"{number[0]}{one_line(rest, 10)} is no number")


def _allowed(variables: Sequence[str] = ()) -> str:
    words = f"the variables {', '.join(variables)}, " if variables else ""
    return (
        f"allowed are numbers, {words}+ - * / ^, parentheses, {', '.join(CONSTANTS)}, and the functions "
        f"{', '.join(FUNCTIONS)}"
    )


class _Reader:
    """Turns the tree of a formula into functions of duals."""

    def __init__(self, variables: tuple[str, ...]) -> None:
        self.variables = variables
        self.depth = 0

    def node(self, tree: ast.expr) -> Node:
        """Return what computes a tree; refuse what is not on the list."""
        self.depth += 1
        if self.depth > DEPTH:
            raise FormulaError(
                f"the formula is nested too deeply: at most {DEPTH} operations within each other"
            )
        if isinstance(tree, ast.Constant):
            result = self._constant(tree.value)
        elif isinstance(tree, ast.Name):
            result = self._name(tree.id)
        elif isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.UAdd | ast.USub):
            result = self._sign(tree)
        elif isinstance(tree, ast.BinOp) and type(tree.op) in _OPERATORS:
            result = self._operator(tree)
        elif isinstance(tree, ast.Call):
            result = self._call(tree)
        else:
            raise FormulaError(f"{_called(tree)} is not allowed; {_allowed(self.variables)}")
        self.depth -= 1
        return result

    def _constant(self, value: object) -> Node:
        if type(value) not in (int, float):
            raise FormulaError(f"{shown(value, 40)} is no number; {_allowed(self.variables)}")
        try:
            number = float(value)  # type: ignore[arg-type]
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise FormulaError("a number is too large")
        return self._fixed(number)

    def _fixed(self, number: float) -> Node:
        dual = Dual(np.float64(number), (None,) * len(self.variables))
        return lambda variables: dual

    def _name(self, name: str) -> Node:
        if name in self.variables:
            place = self.variables.index(name)
            return lambda variables: variables[place]
        if name in CONSTANTS:
            return self._fixed(CONSTANTS[name])
        if name in FUNCTIONS or name in _OTHER_NAMES:
            raise FormulaError(f"{name} is a function: write {name}({self.variables[0]})")
        known = [*self.variables, *CONSTANTS, *FUNCTIONS]
        guess = did_you_mean(name, known)
        raise FormulaError(f"{shown(name, 40)} is not known{guess}; {_allowed(self.variables)}")

    def _sign(self, tree: ast.UnaryOp) -> Node:
        inner = self.node(tree.operand)
        if isinstance(tree.op, ast.UAdd):
            return inner

        def negative(variables: Sequence[Dual]) -> Dual:
            value, slopes = inner(variables)
            return Dual(-value, tuple(None if s is None else -s for s in slopes))

        return negative

    def _operator(self, tree: ast.BinOp) -> Node:
        left, right = self.node(tree.left), self.node(tree.right)
        rule = _OPERATORS[type(tree.op)]
        if rule is _power:
            self._check_exponent(right)
        return lambda variables: rule(left(variables), right(variables))

    def _check_exponent(self, exponent: Node) -> None:
        """Refuse a constant exponent that is too large; one that varies may be anything."""
        probe = Dual(np.float64(math.nan), tuple(1.0 for _ in self.variables))
        with np.errstate(all="ignore"):
            value, slopes = exponent([probe] * len(self.variables))
        if all(slope is None for slope in slopes) and not abs(value) <= EXPONENT:
            raise FormulaError(f"the exponent {value:g} is too large: at most {EXPONENT:g} is allowed")

    def _call(self, tree: ast.Call) -> Node:
        if not isinstance(tree.func, ast.Name):
            raise FormulaError(f"a call of {_called(tree.func)} is not allowed; {_allowed(self.variables)}")
        name = _OTHER_NAMES.get(tree.func.id, tree.func.id)
        if name not in FUNCTIONS:
            hint = f": write {name}*(...)" if name in self.variables or name in CONSTANTS else ""
            guess = hint or did_you_mean(name, FUNCTIONS)
            raise FormulaError(
                f"the function {shown(name, 40)} is not known{guess}; known are {', '.join(FUNCTIONS)}"
            )
        if len(tree.args) != 1 or tree.keywords or isinstance(tree.args[0], ast.Starred):
            raise FormulaError(f"{name} takes one argument, as in {name}({self.variables[0]})")
        inner, (f, f_prime) = self.node(tree.args[0]), FUNCTIONS[name]

        def composed(variables: Sequence[Dual]) -> Dual:
            value, slopes = inner(variables)
            result = f(value)
            if all(slope is None for slope in slopes):
                return Dual(result, slopes)
            outer = f_prime(value, result)
            return Dual(result, tuple(None if slope is None else outer * slope for slope in slopes))

        return composed


def _called(tree: ast.expr) -> str:
    """What a part of a formula is, in words."""
    if isinstance(tree, ast.Attribute):
        return f"an attribute (.{one_line(tree.attr, 20)})"
    if isinstance(tree, ast.BinOp | ast.UnaryOp):
        return f"the operator {_SIGNS.get(type(tree.op), type(tree.op).__name__)}"
    if isinstance(tree, ast.Tuple):
        return "a comma"
    return re.sub(r"(?<!^)(?=[A-Z])", " ", type(tree).__name__).lower()


_SIGNS: Mapping[type[ast.AST], str] = {ast.FloorDiv: "//", ast.Mod: "%", ast.MatMult: "@", ast.Not: "not"}


def _add(a: Dual, b: Dual) -> Dual:
    return Dual(a.value + b.value, tuple(_plus(p, q) for p, q in zip(a.slopes, b.slopes, strict=True)))


def _subtract(a: Dual, b: Dual) -> Dual:
    pairs = zip(a.slopes, b.slopes, strict=True)
    return Dual(a.value - b.value, tuple(_plus(p, _times(-1.0, q)) for p, q in pairs))


def _multiply(a: Dual, b: Dual) -> Dual:
    """(a b)' = a' b + a b'."""
    pairs = zip(a.slopes, b.slopes, strict=True)
    slopes = tuple(_plus(_times(b.value, p), _times(a.value, q)) for p, q in pairs)
    return Dual(a.value * b.value, slopes)


def _divide(a: Dual, b: Dual) -> Dual:
    """(a / b)' = (a' - (a / b) b') / b."""
    value = a.value / b.value
    pairs = zip(a.slopes, b.slopes, strict=True)
    return Dual(value, tuple(_plus(_times(1.0 / b.value, p), _times(-value / b.value, q)) for p, q in pairs))


def _power(a: Dual, b: Dual) -> Dual:
    """(a^b)' = b a^(b - 1) a' + a^b log(a) b'."""
    value = a.value**b.value
    by_base = np.where(b.value == 0.0, 0.0, b.value * a.value ** (b.value - 1.0))
    by_exponent = np.where((a.value == 0.0) & (b.value > 0.0), 0.0, value * np.log(a.value))
    pairs = zip(a.slopes, b.slopes, strict=True)
    return Dual(value, tuple(_plus(_times(by_base, p), _times(by_exponent, q)) for p, q in pairs))


def _plus(p: Any, q: Any) -> Any:
    """The sum of two derivatives."""
    return q if p is None else p if q is None else p + q


def _times(factor: Any, slope: Any) -> Any:
    """A derivative times a value: 0 stays 0, whatever the value is."""
    return None if slope is None else factor * slope


_OPERATORS: dict[type[ast.operator], Callable[[Dual, Dual], Dual]] = {
    ast.Add: _add,
    ast.Sub: _subtract,
    ast.Mult: _multiply,
    ast.Div: _divide,
    ast.Pow: _power,
}
