"""Typed formulas: their values, their exact derivatives, and what is refused."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastbp.descent import numerical_gradient
from fastbp.playground.formula import CONSTANTS, DEPTH, FUNCTIONS, LENGTH, FormulaError, parse

# Where every function has a smooth value.
INSIDE = {"asin": (-0.8, 0.8), "acos": (-0.8, 0.8), "tan": (-1.2, 1.2), "log": (0.2, 3.0), "sqrt": (0.2, 3.0)}


@pytest.mark.parametrize(
    ("text", "x", "value"),
    [
        ("x^4 - 2*x^2", 2.0, 8.0),
        ("x**2", -3.0, 9.0),
        ("-x^2", 3.0, -9.0),
        ("2^-x", 1.0, 0.5),
        ("2^3^x", 2.0, 512.0),
        ("(1 + x)/2", 0.5, 0.75),
        ("1 - 2 - x", 3.0, -4.0),
        ("+x", 3.0, 3.0),
        (".5 + 1.e1 + 2E-1", 0.0, 10.7),
        ("e^x", 1.0, math.e),
        ("sin(pi*x)", 0.5, 1.0),
        ("ln(x) - log(x)", 2.0, 0.0),
        ("arctan(1) - atan(1)", 2.0, 0.0),
        ("relu(x) + sigmoid(0)", -1.0, 0.5),
        ("  abs( x )  ", -1.5, 1.5),
        ("7", 1.0, 7.0),
    ],
)
def test_values(text, x, value):
    assert parse(text).value(x) == pytest.approx(value)


def test_arrays_of_any_shape():
    formula = parse("x*y + 1", ("x", "y"))
    x, y = np.arange(6.0).reshape(2, 3), np.array([1.0, 2.0, 3.0])
    assert formula.value(x, y).tolist() == (x * y + 1).tolist()
    by_x, by_y = formula.gradient(x, y)
    assert by_x.tolist() == np.broadcast_to(y, x.shape).tolist()
    assert by_y.tolist() == x.tolist()
    assert parse("3").value([1.0, 2.0]).tolist() == [3.0, 3.0]
    assert parse("3").gradient([1.0, 2.0])[0].tolist() == [0.0, 0.0]
    assert np.ndim(formula.value(1.0, 2.0)) == 0


def test_results_can_be_written_to():
    """They are no views of what was passed."""
    x = np.ones(3)
    value = parse("x").value(x)
    value[0] = 5.0
    parse("x").gradient(x)[0][0] = 7.0
    assert x.tolist() == [1.0, 1.0, 1.0]
    assert parse("x").gradient(x)[0].tolist() == [1.0, 1.0, 1.0]


def test_the_number_of_arguments():
    with pytest.raises(TypeError, match="variables x, y, got 1 arguments"):
        parse("x + y", ("x", "y")).value(1.0)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_derivative_of_every_function(name):
    low, high = INSIDE.get(name, (0.3, 2.0))
    formula = parse(f"{name}(x)")
    for x in np.linspace(low, high, 7):
        expected = numerical_gradient(lambda v: float(formula.value(v)), np.array(x))
        assert formula.gradient(x)[0] == pytest.approx(expected, rel=1e-7, abs=1e-9)


_SIDE = st.sampled_from(["x", "y", "1.5", "0.7", "pi", "e"])
_SMOOTH = st.sampled_from(["sin", "cos", "tanh", "exp", "atan", "sigmoid"])
_EXPRESSIONS = st.recursive(
    _SIDE,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*"), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        st.tuples(inner, inner).map(lambda t: f"({t[0]} / (1.1 + ({t[1]})^2))"),
        st.tuples(_SMOOTH, inner).map(lambda t: f"{t[0]}(tanh({t[1]}))"),
        st.tuples(inner, st.sampled_from(["2", "3", "1", "0"])).map(lambda t: f"({t[0]})^{t[1]}"),
        st.tuples(inner, inner).map(lambda t: f"(1.2 + tanh({t[0]}))^tanh({t[1]})"),
        inner.map(lambda text: f"-({text})"),
    ),
    max_leaves=6,
)


@given(_EXPRESSIONS.filter(lambda text: len(text) <= LENGTH), st.floats(-1.5, 1.5), st.floats(-1.5, 1.5))
def test_gradients_are_those_of_finite_differences(text, x, y):
    formula = parse(text, ("x", "y"))
    point = np.array([x, y])
    value = float(formula.value(x, y))
    expected = numerical_gradient(lambda p: float(formula.value(*p)), point)
    found = np.array(formula.gradient(x, y))
    # The error of a difference grows with the third derivative, which is large where powers are.
    scale = 1.0 + abs(value) + np.abs(found).max()
    assert np.isfinite(found).all()
    assert np.abs(found - expected).max() <= 1e-4 * scale**2


@given(_EXPRESSIONS.filter(lambda text: len(text) <= LENGTH), st.floats(-1.5, 1.5), st.floats(-1.5, 1.5))
def test_values_are_those_of_python(text, x, y):
    """The text of these examples is ours, so Python may run it."""
    words = {name: getattr(np, {"atan": "arctan"}.get(name, name), None) for name in FUNCTIONS}
    words["sigmoid"] = lambda v: 1 / (1 + np.exp(-v))
    expected = eval(text.replace("^", "**"), {"__builtins__": {}, **words, **CONSTANTS, "x": x, "y": y})
    assert parse(text, ("x", "y")).value(x, y) == pytest.approx(float(expected), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(
    ("text", "x", "slope"),
    [
        ("abs(x)", 0.0, 0.0),
        ("relu(x)", 0.0, 0.5),
        ("x^2", 0.0, 0.0),
        ("x^1", 0.0, 1.0),
        ("x^0", 0.0, 0.0),
        ("x*log(2)", 0.0, math.log(2.0)),
        ("0*log(0)*x", 0.0, math.nan),
        ("x + log(0)", 1.0, 1.0),
        ("sqrt(x)", 0.0, math.inf),
        ("x^3", -2.0, 12.0),
        ("(-8)^x", 2.0, math.nan),
    ],
)
def test_derivatives_at_special_places(text, x, slope):
    assert parse(text).gradient(x)[0] == pytest.approx(slope, nan_ok=True)


@pytest.mark.parametrize(("text", "x"), [("log(x)", -1.0), ("1/x", 0.0), ("exp(x)", 1e4), ("sqrt(x)", -1.0)])
def test_where_there_is_no_value(text, x):
    """In silence: the page shows it."""
    assert not math.isfinite(parse(text).value(x))


HOSTILE = {
    "attribute": ("x.real", r"an attribute \(\.real\) is not allowed"),
    "method": ("x.conj()", "a call of an attribute"),
    "dunder": ("().__class__.__bases__", "is not allowed"),
    "import": ("__import__", "is not known"),
    "import call": ("__import__(os)", "function '__import__' is not known"),
    "eval": ("eval(x)", "function 'eval' is not known"),
    "string": ("'x'", 'character "\'" is not allowed'),
    "bytes": ('b"x"', "character '\"' is not allowed"),
    "index": ("x[0]", r"character '\[' is not allowed"),
    "dict": ("{x}", r"character '\{' is not allowed"),
    "lambda": ("lambda: x", "character ':' is not allowed"),
    "comprehension": ("[x for x in x]", r"character '\[' is not allowed"),
    "generator": ("(x for x in x)", "generator exp is not allowed"),
    "sum of a generator": ("abs(x for x in x)", "generator exp is not allowed"),
    "walrus": ("(y := x)", "character ':' is not allowed"),
    "condition": ("1 if x else 2", "if exp is not allowed"),
    "condition of names": ("x if x else x", "if exp is not allowed"),
    "comparison": ("x < 1", "character '<' is not allowed"),
    "and": ("x and x", "bool op is not allowed"),
    "not": ("not x", "the operator not is not allowed"),
    "remainder": ("x % 2", "character '%' is not allowed"),
    "whole division": ("x // 2", "the operator // is not allowed"),
    "matrix product": ("x @ x", "character '@' is not allowed"),
    "bits": ("x | 1", r"character '\|' is not allowed"),
    "assignment": ("x = 1", "character '=' is not allowed"),
    "statement": ("import os", "cannot be read"),
    "two lines": ("x\nx", r"character '\\n' is not allowed"),
    "semicolon": ("x; x", "character ';' is not allowed"),
    "null": ("x\0", r"character '\\x00' is not allowed"),
    "letters of other scripts": ("ｘ", "character 'ｘ' is not allowed"),
    "star": ("abs(*x)", "abs takes one argument"),
    "two arguments": ("sin(x, x)", "sin takes one argument"),
    "no argument": ("sin()", "sin takes one argument"),
    "tuple": ("x, x", "a comma is not allowed"),
    "call of a call": ("sin(x)(x)", "a call of call is not allowed"),
    "call of a variable": ("x(2)", r"write x\*\(\.\.\.\)"),
    "call of a number": ("2(x)", r"write a product with a sign: 2\*\(x\)"),
    "call of a number, apart": ("2 (x)", r"write a product with a sign: 2\*\(x\)"),
    "product without a sign": ("2x", r"write a product with a sign: 2\*x"),
    "complex": ("2j", r"write a product with a sign: 2\*j"),
    "hexadecimal": ("0x10", "write a product with a sign"),
    "underscored": ("1_000", "write a product with a sign"),
    "two points": ("1.2.3", r"1\.2\.3 is no number"),
    "true": ("True", "True is no number"),
    "none": ("None", "None is no number"),
    "ellipsis": ("...", "Ellipsis is no number"),
    "leading zero": ("0777", "cannot be read"),
    "huge power": ("9**9**9", "exponent 3.8742e.08 is too large"),
    "huge power, typed otherwise": ("x^(99*99)", "exponent 9801 is too large"),
    "huge power of powers": ("x^9^9^9^9^9", "is too large"),
    "small power": ("x^-101", "exponent -101 is too large"),
    "power without a value": ("x^log(-1)", "exponent nan is too large"),
    "huge number": ("1e999", "a number is too large"),
    "many digits": ("9" * 180, None),
    "deep parentheses": ("(" * 99 + "x" + ")" * 99, None),
    "deep signs": ("-" * 150 + "x", "nested too deeply"),
    "deep calls": ("sin(" * 40 + "x" + ")" * 40, "nested too deeply|characters"),
    "long": ("x" + "+x" * 200, f"at most {LENGTH} are allowed"),
    "long name": ("x" * 150, "is not known"),
    "very long": ("x" * 10_000_000, f"at most {LENGTH} are allowed"),
    "unknown variable": ("z", "'z' is not known; allowed are numbers, the variables x"),
    "misspelled": ("sqr(x)", "did you mean 'sqrt'"),
    "function without argument": ("sin", r"sin is a function: write sin\(x\)"),
    "empty": ("  ", "the formula is empty"),
    "unclosed": ("(x", "cannot be read"),
    "no text": (None, "must be text, got NoneType"),
    "number": (3.0, "must be text, got float"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_refused(name):
    """In one line of bounded length; what is no harm may pass."""
    text, message = HOSTILE[name]
    if message is None:
        assert np.isfinite(parse(text).value(0.5))
        return
    with pytest.raises(FormulaError, match=message) as caught:
        parse(text)
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)


def test_the_longest_sum_is_read():
    assert parse("+".join(["x"] * (DEPTH - 1))).value(1.0) == DEPTH - 1


def test_a_tower_of_powers_is_infinite():
    """Floats overflow at once, where Python's integers would grow for ever."""
    assert parse("((((x^99)^99)^99)^99)^99").value(2.0) == math.inf
