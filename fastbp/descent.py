"""Gradient descent on any function, by the book, with the way it took.

f(x + e) is about f(x) + e f'(x), so a small step against the derivative makes f smaller; in many variables,
x' = x - learning_rate grad f(x). The update rules are the plain ones of `fastbp.reference`, so that what is
seen here is what trains a network.
"""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastbp.arrays import to_matrix
from fastbp.reference import RULES, State
from fastbp.spellings.names import with_names
from fastbp.spellings.optimizers import NAMES
from fastbp.validation import check_count, check_number, shown

if TYPE_CHECKING:
    from fastbp.optimizers import Optimizer

__all__ = ["DescentResult", "gradient_descent", "numerical_gradient"]

Floats = NDArray[np.float64]
Schedule = Callable[[int], float]

# Farther from the start, or higher above it, than this many times its own size: nothing will bring it back.
FAR = 1e10


@dataclass(frozen=True, slots=True)
class DescentResult:
    """Where gradient descent went.

    Attributes
    ----------
    x : float, or array of shape (d,), float64
        The last point at which f is finite: the minimum, if `converged`.
    path : array of shape (n_iter + 1,) or (n_iter + 1, d), float64
        Every point, the start first.
    values : array of shape (n_iter + 1,), float64
        f at these points.
    converged : bool
        The largest component of the gradient at x is at most ``tol``.
    diverged : bool
        It left for infinity, or f stopped being a finite number.
    n_iter : int
        Steps done.
    message : str
        Why it stopped.
    learning_rate : float or callable
        As given.

    Examples
    --------
    >>> gradient_descent(lambda x: x**2, lambda x: 2 * x, 1.0).message
    'converged: gradient 9.3e-09 <= tol=1e-08 after 86 steps'
    """

    x: float | Floats
    path: Floats
    values: Floats
    converged: bool
    diverged: bool
    n_iter: int
    message: str
    learning_rate: float | Schedule


def gradient_descent(
    f: Callable[[Any], Any],
    grad: Callable[[Any], Any] | None,
    x0: Any,
    learning_rate: float | Schedule = 0.1,
    max_iter: int = 1000,
    tol: float = 1e-8,
    *,
    optimizer: str | Optimizer = "sgd",
) -> DescentResult:
    """Minimize f by steps against its gradient: x' = x - learning_rate grad f(x).

    Parameters
    ----------
    f : callable
        The function, of one variable (called with a float) or of many (with an array of shape (d,), float64).
    grad : callable or None
        Its derivative: one number, or an array of shape (d,). None: central differences, 2 d calls of f a step.
    x0 : float or array of shape (d,)
        The start. It decides which of several minima is found.
    learning_rate : float or callable, optional
        Length of a step, as a multiple of the gradient: a number, or a function of the number of steps done, such
        as ``fastbp.ExponentialDecay(0.1)``. An optimizer object brings its own.
    max_iter : int
        Steps at most.
    tol : float
        Stop when no component of the gradient is larger.
    optimizer : str or optimizer object
        The update rule: an object such as ``fastbp.SGD(0.1, momentum=0.9)``, or one of
        {optimizers}

    Returns
    -------
    DescentResult
        With ``x, path, values, converged, diverged, n_iter, message``.

    Warns
    -----
    RuntimeWarning
        If it diverges: f or its gradient is no longer finite, or the point is 1e10 times farther from the start, or f
        1e10 times higher, than the start is large. The path up to there is in the result, to be looked at. (A
        network's training raises `fastbp.DivergenceError` instead.)

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, f returns anything but one real number, grad another shape than x, or f
        or grad is not finite at x0.

    Examples
    --------
    >>> result = gradient_descent(lambda x: (x - 3) ** 2, lambda x: 2 * (x - 3), x0=0.0)
    >>> round(result.x, 6), result.converged
    (3.0, True)
    >>> bowl = gradient_descent(lambda x: x[0] ** 2 + 3 * x[1] ** 2, None, [2.0, 1.0])  # numerical gradient
    >>> bowl.x.round(6) + 0.0, bowl.path.shape
    (array([0., 0.]), (90, 2))
    """
    for name, function in (("f", f), ("grad", grad)):
        if not callable(function) and not (name == "grad" and function is None):
            raise TypeError(f"{name} must be callable, got {shown(function)} ({type(function).__name__})")
    check_count(max_iter, "max_iter", 0)
    check_number(tol, "tol", 0.0)
    x = _start(x0)
    shape = x.shape
    rule, hyper, rate = _rule(optimizer, learning_rate, max_iter)

    def value_at(x: Floats) -> float:
        return _number(f(_argument(x)))

    def slope_at(x: Floats) -> Floats:
        if grad is None:
            return numerical_gradient(value_at, x)
        return _vector(grad(_argument(x)), shape)

    with np.errstate(over="ignore", invalid="ignore"):  # overflow is divergence, and reported as that
        value, slope = value_at(x), slope_at(x)
        if not (math.isfinite(value) and np.isfinite(slope).all()):
            raise ValueError(
                f"f and its gradient must be finite at x0={shown(x0)}, got f={value}, gradient={shown(slope)}"
            )
        far, high = FAR * (1.0 + np.abs(x).max()), value + FAR * (1.0 + abs(value))
        start, path, values = x, [x], [value]
        state: dict[int, State] = {}
        trouble = ""
        while np.abs(slope).max() > tol and len(path) <= max_iter and not trouble:
            t = len(path)
            step = float(rate(t - 1)) if callable(rate) else rate
            theta = RULES[rule](x.ravel().tolist(), slope.ravel().tolist(), state, t, step, **hyper)
            x = np.array(theta).reshape(shape)
            value, slope = (value_at(x), slope_at(x)) if np.isfinite(x).all() else (math.nan, slope)
            path.append(x)
            values.append(value)
            if not (math.isfinite(value) and np.isfinite(slope).all()):
                trouble = f"f or its gradient is not finite at step {t}"
            elif value > high or np.abs(x - start).max() > far:
                trouble = f"f = {value:.3g} at step {t}, from {values[0]:.3g} at the start"

    largest, n_iter = float(np.abs(slope).max()), len(path) - 1
    if trouble:
        message = f"diverged: {trouble}; try a smaller learning rate"
        warnings.warn(f"gradient descent {message}", RuntimeWarning, stacklevel=2)
    elif largest <= tol:
        message = f"converged: gradient {largest:.2g} <= tol={tol:g} after {n_iter} steps"
    else:
        message = f"not converged: gradient {largest:.2g} > tol={tol:g} after max_iter={max_iter} steps"
    last = max(i for i, v in enumerate(values) if math.isfinite(v))
    return DescentResult(
        x=_argument(path[last]),
        path=np.array(path),
        values=np.array(values),
        converged=not trouble and largest <= tol,
        diverged=bool(trouble),
        n_iter=n_iter,
        message=message,
        learning_rate=rate,
    )


gradient_descent.__doc__ = with_names(gradient_descent.__doc__, {"optimizers": RULES})


def numerical_gradient(f: Callable[[Floats], float], x: Floats) -> Floats:
    """(f(x + h e_i) - f(x - h e_i)) / 2h for every variable i, by central differences.

    h is the cube root of the machine epsilon, times the size of x_i: there the errors of truncation, h^2, and of
    rounding, epsilon / h, balance (Nocedal and Wright, Numerical Optimization, 2006, section 8.1).

    Parameters
    ----------
    f : callable
        Takes an array shaped as x, returns a float.
    x : array of shape (d,) or (), float64

    Returns
    -------
    array shaped as x, float64

    Examples
    --------
    >>> numerical_gradient(lambda x: float(x @ x), np.array([1.0, 2.0])).round(6)
    array([2., 4.])
    """
    result = np.empty(x.size)
    for i in range(x.size):
        h = np.finfo(np.float64).eps ** (1 / 3) * max(1.0, abs(float(x.flat[i])))
        ahead, behind = x.copy(), x.copy()
        ahead.flat[i] += h
        behind.flat[i] -= h
        # divided by the distance of the two points as stored, which is not exactly 2h
        result[i] = (f(ahead) - f(behind)) / float(ahead.flat[i] - behind.flat[i])
    return result.reshape(x.shape)


def _start(x0: Any) -> Floats:
    try:
        x = _floats(x0, "x0")
    except TypeError as error:
        raise TypeError(f"x0 must be a number or a sequence of numbers; {error}") from None
    if x.ndim > 1 or x.size == 0:
        raise ValueError(f"x0 must be a number or an array of shape (d,), got shape {x.shape}")
    if not np.isfinite(x).all():
        raise ValueError(f"x0 must be finite, got {shown(x0)}")
    return x


def _floats(values: Any, name: str) -> Floats:
    """Real numbers of any kind, copied."""
    return np.array(to_matrix(values, np.dtype(np.float64), name, finite=False), np.float64)


def _argument(x: Floats) -> Any:
    """What f sees: a float in one variable; else a copy, so that f may scribble on it."""
    return float(x) if x.ndim == 0 else x.copy()


def _number(value: Any) -> float:
    array = _floats(value, "the value of f")
    if array.size != 1:
        raise ValueError(f"f must return one number, got shape {array.shape}")
    return float(array.reshape(()))


def _vector(value: Any, shape: tuple[int, ...]) -> Floats:
    array = _floats(value, "the value of grad")
    if array.size == 1 and shape in ((), (1,)):
        array = array.reshape(shape)
    if array.shape != shape:
        raise ValueError(f"grad must return shape {shape}, as x0, got {array.shape}")
    return array


def _rule(
    optimizer: str | Optimizer, learning_rate: float | Schedule, max_iter: int
) -> tuple[str, dict[str, Any], float | Schedule]:
    """Name of the update rule, its hyper-parameters as `fastbp.reference` calls them, and the learning rate."""
    hyper: dict[str, Any] = {}
    if isinstance(optimizer, str):
        name = NAMES.check(optimizer, "optimizer")
        rate: Any = learning_rate
    elif hasattr(optimizer, "rule") and not isinstance(optimizer, type):
        if learning_rate != 0.1 and learning_rate != optimizer.learning_rate:
            raise ValueError(
                f"the learning rate is given twice: learning_rate={learning_rate!r} and {optimizer!r}"
            )
        given = asdict(optimizer.rule())
        name = given.pop("kind")
        known = inspect.signature(RULES[name].rule).parameters
        hyper = {key: value for key, value in given.items() if key in known}
        rate = optimizer.learning_rate
    else:
        raise TypeError(
            f"optimizer must be a name or an object such as fastbp.Adam(0.1), got {shown(optimizer)}"
        )
    if callable(rate):
        bind = getattr(rate, "bind", None)  # a schedule of fastbp, which may not know its length yet
        return name, hyper, rate if bind is None else bind(1, max(1, max_iter))
    return name, hyper, check_number(rate, "learning_rate", 0.0, open_low=True)
