"""Descent on a function of one or two variables: the numbers behind the tab Descent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbp.descent import DescentResult, gradient_descent
from fastbp.playground.fields import OPTIMIZERS, RATES, Field
from fastbp.playground.formula import Formula, parse

__all__ = ["FIELDS", "GRID", "PRESETS", "Ground", "Preset", "descents", "ground", "outcome", "told"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Preset:
    """A function worth looking at.

    Parameters
    ----------
    formula : str
    span : str           The picture reaches from -span to span, in each variable.
    start : tuple        Of one or two numbers.
    rate : str           Of `RATES`.
    """

    formula: str
    span: str
    start: tuple[float, ...]
    rate: str


OWN = "your own"
PRESETS = {
    "parabola": Preset("x^2", "3", (-2.5,), "0.1"),
    "two minima": Preset("x^4 - 2*x^2 + 0.5*x", "2", (-1.7,), "0.043"),
    "waves": Preset("0.1*x^2 + sin(3*x)", "5", (-4.5,), "0.1"),
    "plateau": Preset("1 - exp(-x^2)", "3", (-2.2,), "0.3"),
    "bowl": Preset("x^2 + 3*y^2", "3", (-2.5, 2.0), "0.1"),
    "ravine": Preset("0.5*(x^2 + 20*y^2)", "5", (-4.0, 1.0), "0.091"),
    "two valleys": Preset("x^4 - 2*x^2 + 0.5*x + (y - 0.3*x)^2", "2", (-0.3, 1.8), "0.082"),
    "four minima": Preset("((x^2 + y - 11)^2 + (x + y^2 - 7)^2)/100", "5", (-0.5, -0.8), "0.3"),
    "banana": Preset("(1 - x)^2 + 100*(y - x^2)^2", "2", (-1.2, 1.0), "0.001"),
    "saddle": Preset("x^4/4 - x^2/2 + y^2", "2", (0.001, 1.5), "0.1"),
}

FIELDS = {
    "function": Field("Function", (*PRESETS, OWN), "two minima"),
    "rate": Field("Learning rate", RATES, PRESETS["two minima"].rate),
    "steps": Field("Steps at most", ("10", "20", "50", "100", "200"), "50"),
    "span": Field("Shown up to \N{PLUS-MINUS SIGN}", ("1", "2", "3", "5", "10"), PRESETS["two minima"].span),
}

GRID = 101  # points of a landscape, each way
LINE = 401  # points of a curve
BANDS = 12  # of heights


@dataclass(frozen=True, slots=True)
class Ground:
    """A function to descend on, and its shape.

    Attributes
    ----------
    formula : Formula
    variables : int               1 or 2.
    span : float
    heights : array               f, shape (LINE,) or (GRID, GRID), a row per y.
    """

    formula: Formula
    variables: int
    span: float
    heights: Floats

    @property
    def bands(self) -> Floats:
        """The heights as numbers from 0 to BANDS - 1, about as much area in each; NaN where f is not finite."""
        known = self.heights[np.isfinite(self.heights)]
        if not known.size:
            return self.heights
        edges = np.unique(np.quantile(known, np.linspace(0.0, 1.0, BANDS + 1)[1:-1]))
        return np.where(np.isfinite(self.heights), np.searchsorted(edges, self.heights), np.nan)


def ground(text: str, span: float) -> Ground:
    """Return the function of a formula in x, or in x and y.

    Raises
    ------
    ValueError         The formula cannot be read; the message says why.

    >>> ground("x**2 + y**2", 2.0).heights.shape
    (101, 101)
    """
    try:
        formula, variables = parse(text, ("x",)), 1
    except ValueError:
        formula, variables = parse(text, ("x", "y")), 2
    if variables == 1:
        arguments = [np.linspace(-span, span, LINE)]
    else:
        ticks = np.linspace(-span, span, GRID)
        arguments = list(np.meshgrid(ticks, ticks))
    with np.errstate(all="ignore"):
        heights = np.asarray(formula.value(*arguments), np.float64)
    return Ground(formula, variables, span, np.broadcast_to(heights, arguments[0].shape).copy())


def descents(
    on: Ground, start: Sequence[float], rate: float, steps: int, names: Sequence[str]
) -> dict[str, DescentResult]:
    """Return where each of the optimizers goes from a start, by `fastbp.gradient_descent`.

    Raises
    ------
    ValueError         f is not finite at the start.

    Warns
    -----
    RuntimeWarning     Of those that diverge.

    >>> paths = descents(ground("x**2", 3.0), (1.0,), 0.25, 2, ["SGD"])
    >>> paths["SGD"].path
    array([1.  , 0.5 , 0.25])
    """
    arguments = on.formula
    one = on.variables == 1

    def value(x: Any) -> float:
        return float(arguments.value(x) if one else arguments.value(*x))

    def gradient(x: Any) -> Any:
        slopes = arguments.gradient(x) if one else arguments.gradient(*x)
        return float(slopes[0]) if one else np.array([float(slope) for slope in slopes])

    x0 = float(start[0]) if one else np.array(start, np.float64)
    return {
        name: gradient_descent(value, gradient, x0, max_iter=steps, optimizer=OPTIMIZERS[name](rate))
        for name in names
    }


def outcome(result: DescentResult) -> str:
    """Return what became of it, in a word or two."""
    if result.diverged:
        return "diverged"
    if result.values[-1] > result.values[0]:  # running away, but not yet far enough to be called diverged
        return "above its start"
    return "converged" if result.converged else "still moving"


def told(on: Ground, name: str, result: DescentResult, rate: float, count: int) -> str:
    """Return step `count` of a path in words: for SGD with its formula, else where it leads.

    >>> on = ground("x^2", 3.0)
    >>> told(on, "SGD", descents(on, (-1.0,), 0.25, 9, ["SGD"])["SGD"], 0.25, 1)
    "step 1 of 9: x <- x - rate * f'(x) = -1 - 0.25 * (-2) = -0.5"
    """
    letters = "xy"[: on.variables]
    before, after = (np.atleast_1d(result.path[k]) for k in (max(count - 1, 0), count))
    start = f"step {count} of {result.n_iter}: "
    if not count or name != "SGD":
        places = ", ".join(f"{letter} = {value:.4g}" for letter, value in zip(letters, after, strict=True))
        return start + places
    slopes = on.formula.gradient(*before)
    steps = []
    for letter, old, slope, new in zip(letters, before, slopes, after, strict=True):
        derivative = "f'(x)" if on.variables == 1 else f"df/d{letter}"
        factor = f"({slope:.4g})" if slope < 0 else f"{slope:.4g}"
        steps.append(
            f"{letter} <- {letter} - rate * {derivative} = {old:.4g} - {rate:g} * {factor} = {new:.4g}"
        )
    return start + "; ".join(steps)
