"""What users bring themselves: a loss and an update rule, as functions of arrays.

`Loss` is an objective and `Rule` an optimizer, so they go where their likes go. The functions get arrays of their own,
which they may keep or change, and what they return is checked before anything is done with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbp import optimizers
from fastbp.arrays import all_finite, to_matrix
from fastbp.objectives import CONTAINED, Objective
from fastbp.optimizers import Optimizer
from fastbp.reference import LOSSES
from fastbp.schedules import Schedule
from fastbp.validation import check_choice, shown

__all__ = ["Loss", "Rule", "check_grad"]

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Loss(Objective):
    """A loss of your own: what a row costs, and how that changes with the outputs.

    Weights of rows, the mean over them, penalties, dropout, clipping and the update are the library's. It goes where
    the name of a loss goes: `Sequential.fit`, `evaluate`, `value_and_grad`, `Trainer`, `MLPRegressor`.

    Parameters
    ----------
    value : callable
        ``value(y, out)`` returns the loss of each row, an array (n,). `y` are the targets (n, k) as they were given,
        `out` the outputs (n, n_outputs); both are in the dtype of the model.
    grad : callable
        ``grad(y, out)`` returns d value[i] / d out[i, j], an array (n, n_outputs).
    name : str, optional
        What messages call it; the default is the name of `value`.
    activation : {"identity", "sigmoid", "softmax", "exp"}
        What `value` itself makes of the outputs. Metrics get the outputs after it: for "sigmoid" and "softmax"
        these are classes. The regressor predicts e^out for "exp".
    check : bool
        Compare `grad` with finite differences of `value` for some rows of the first batch of a training, as
        `check_grad` does.

    Raises
    ------
    TypeError
        `value` or `grad` cannot be called.
    ValueError
        The name is that of a built-in loss, or the activation is none of those.

    Notes
    -----
    The value of a row must depend on this row only. Functions compiled with Numba's ``njit`` are called inside the
    compiled loop, on all threads, with the same bits for any number of them, if they return arrays of floats, and `y`
    has as many columns as the network has outputs.

    What a function raises goes through, and the model is as it was before the step. It is an error that names the row
    if a function returns NaN or infinity, unless the outputs of the row are infinite, NaN, or so large that their
    squares are: then the training has diverged, and that is reported as ever.

    Targets may have more or fewer columns than the network has outputs: `y` can carry whatever the loss needs to know.

    See Also
    --------
    check_grad, Trainer.step_from

    Examples
    --------
    The error counts twice if the prediction is too low:

    >>> import numpy as np
    >>> import fastbp as fb
    >>> def value(y, out):
    ...     return (np.where(out < y, 2.0, 1.0) * (out - y) ** 2).sum(axis=1)
    >>> def grad(y, out):
    ...     return np.where(out < y, 2.0, 1.0) * 2.0 * (out - y)
    >>> loss = fb.Loss(value, grad, name="asymmetric")
    >>> x = np.linspace(-1.0, 1.0, 50, dtype=np.float32).reshape(-1, 1)
    >>> net = fb.Sequential([fb.Dense(8, "tanh"), fb.Dense(1)], n_inputs=1, seed=0)
    >>> history = net.fit(x, x**2, loss=loss, epochs=50, verbose=0)
    >>> history.loss[-1] < history.loss[0]
    True
    """

    __module__ = "fastbp"

    # By keyword, since the base's fields have defaults; they are set below.
    value: Callable[[Array, Array], Any] = field(kw_only=True)
    grad: Callable[[Array, Array], Any] = field(kw_only=True)
    activation: str = field(kw_only=True)
    check: bool = field(kw_only=True)

    def __init__(
        self,
        value: Callable[[Array, Array], Any],
        grad: Callable[[Array, Array], Any],
        name: str | None = None,
        activation: str = "identity",
        *,
        check: bool = True,
    ) -> None:
        for what, function in (("value", value), ("grad", grad)):
            if not callable(function):
                raise TypeError(f"Loss: {what} must be a function of (y, out), got {shown(function)}")
        name = getattr(value, "__name__", type(value).__name__) if name is None else str(name)
        if name in LOSSES:
            raise ValueError(f"Loss: name={name!r} is a built-in loss; call yours by another name")
        Objective.__init__(self, name)
        for attribute, content in (
            ("value", value),
            ("grad", grad),
            ("activation", check_choice(activation, "Loss: activation", ("identity", *CONTAINED))),
            ("check", bool(check)),
        ):
            object.__setattr__(self, attribute, content)

    def __repr__(self) -> str:
        """Return what tells it from other losses."""
        return f"Loss({self.name!r})"

    @property
    def contains(self) -> str:
        """What the loss itself makes of the outputs."""
        return self.activation

    @property
    def targets(self) -> tuple[float, float]:
        """Any finite numbers may be targets."""
        return -math.inf, math.inf

    @property
    def any_columns(self) -> bool:
        """Only the loss itself reads the targets."""
        return True

    def to_config(self) -> dict[str, Any]:
        """Return what a checkpoint keeps: functions stay in the user's program."""
        return {"own": self.name, "activation": self.activation}

    def values(self, y: Array, out: Array, index: Array | None = None) -> Array:
        """Return the loss of each row, float64; `index` are the numbers by which messages call the rows."""
        values = self._returned("value", self.value, y, out, out.shape[:1], "one number per row")
        self._refuse_nonfinite("value", values, y, out, index)
        return values.astype(np.float64, copy=False)

    def slopes(self, y: Array, out: Array, index: Array | None = None) -> Array:
        """Return d value[i] / d out[i, j]; `index` as in `values`."""
        slopes = self._returned("grad", self.grad, y, out, out.shape, "one number per output")
        self._refuse_nonfinite("grad", slopes, y, out, index)
        return slopes

    def _returned(
        self,
        what: str,
        function: Callable[[Array, Array], Any],
        y: Array,
        out: Array,
        shape: tuple[int, ...],
        words: str,
    ) -> Array:
        """Return what a function makes of copies of the arrays, if it has the shape and holds real numbers."""
        result = function(y.copy(), out.copy())
        array = np.asarray(result)
        if array.dtype.kind not in "fiu":
            got = f"dtype {array.dtype}" if isinstance(result, np.ndarray) else type(result).__name__
            raise TypeError(f"loss {self.name!r}: {what}(y, out) must return an array of floats, got {got}")
        if array.shape != shape:
            raise ValueError(
                f"loss {self.name!r}: {what}(y, out) must return an array of shape {shape}, {words}, got {array.shape}"
            )
        return array

    def _refuse_nonfinite(
        self, what: str, returned: Array, y: Array, out: Array, index: Array | None
    ) -> None:
        """Raise a ValueError for the first row whose outputs are sound, and what was returned for it is not finite."""
        if all_finite(returned):
            return
        finite = np.isfinite(returned).reshape(len(returned), -1).all(axis=1)
        # Outputs whose squares overflow have diverged as those that are not finite.
        sound = (np.abs(out) < math.sqrt(np.finfo(out.dtype).max)).all(axis=1)
        bad = np.flatnonzero(~finite & sound)
        if len(bad):
            row = int(bad[0])
            number = row if index is None else int(index[row])
            raise ValueError(
                f"loss {self.name!r}: {what}(y, out) is {shown(returned[row].tolist())} in row {number}, where out is "
                f"{shown(out[row].tolist())} and y {shown(y[row].tolist())}"
            )


def check_grad(loss: Loss, y: Any, out: Any) -> float:
    """Compare the gradient of a loss with finite differences of its value.

    At a kink any slope between those of its two sides is right.

    Parameters
    ----------
    loss : Loss
    y : array-like of shape (n, k) or (n,)
        Targets.
    out : array-like of shape (n, n_outputs)
        Outputs.

    Returns
    -------
    float
        The largest distance between the gradient and the differences.

    Raises
    ------
    TypeError, ValueError
        The functions do not return what they should.
    ValueError
        The gradient is wrong: the message names the element.

    Examples
    --------
    >>> import numpy as np
    >>> import fastbp as fb
    >>> square = fb.Loss(lambda y, out: ((out - y) ** 2).sum(1), lambda y, out: out - y, name="square")
    >>> fb.check_grad(square, [[0.0], [0.0]], [[1.0], [3.0]])
    Traceback (most recent call last):
    ...
    ValueError: loss 'square': grad(y, out)[0, 0] is 1, but the value changes by 2 per unit of out; out is [1.0] ...
    """
    if not isinstance(loss, Loss):
        raise TypeError(f"loss must be a fastbp.Loss, got {shown(loss)} ({type(loss).__name__})")
    double = np.dtype(np.float64)
    y, out = to_matrix(y, double, "y"), to_matrix(out, double, "out")
    if out.ndim != 2 or y.ndim not in (1, 2) or len(y) != len(out):
        raise ValueError(f"out must have shape (n, n_outputs) and y (n, k), got {out.shape} and {y.shape}")
    y = y.reshape(len(y), -1)
    values, slopes = loss.values(y, out), loss.slopes(y, out)
    # What a value is rounded to is known from what the function returns: many compute in the dtype that they get.
    exact = np.asarray(loss.value(y.copy(), out.copy())).dtype
    eps = float(np.finfo(exact if exact.kind == "f" else double).eps)
    worst, middle, room = (np.zeros(out.shape) for _ in range(3))
    for j in range(out.shape[1]):
        step = eps ** (1 / 3) * np.maximum(1.0, np.abs(out[:, j]))
        sides = []
        for sign in (1.0, -1.0):
            moved = out.copy()
            moved[:, j] += sign * step
            there = loss._returned("value", loss.value, y, moved, out.shape[:1], "one number per row")
            sides.append((there.astype(np.float64) - values) / (moved[:, j] - out[:, j]))
        middle[:, j] = 0.5 * (sides[0] + sides[1])
        worst[:, j] = np.abs(slopes[:, j] - np.clip(slopes[:, j], np.minimum(*sides), np.maximum(*sides)))
        room[:, j] = 8.0 * eps * np.abs(values) / step
    # A value that is not finite nearby gives no difference.
    known = np.isfinite(worst)
    scale = np.abs(middle)
    room += 10.0 * eps ** (1 / 3) * (scale + float(scale[known].max(initial=0.0)))
    wrong = np.argwhere(known & (worst > room))
    if len(wrong):
        i, j = (int(place) for place in wrong[0])
        raise ValueError(
            f"loss {loss.name!r}: grad(y, out)[{i}, {j}] is {slopes[i, j]:.6g}, but the value changes by "
            f"{middle[i, j]:.6g} per unit of out; out is {shown(out[i].tolist())} and y {shown(y[i].tolist())}"
        )
    return float(worst[known].max(initial=0.0))


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Rule(Optimizer):
    """An update rule of your own, on flat arrays.

    It goes where an optimizer goes: `Sequential.fit` and `Trainer`. Schedules, clipping, penalties and dropout are the
    library's; a `Checkpoint` keeps the state, and a resumed training has the same bits.

    Parameters
    ----------
    update : callable
        ``update(theta, grad, state, step, rate)`` returns the new parameters. `theta` and `grad` are arrays
        (n_parameters,) of the model's dtype: the weights row by row, then the biases, of each layer. `grad` is that
        of the loss with its penalties, clipped to `max_grad_norm`. `state` is a dict of such arrays, which the
        function changes; `step` counts from 1; `rate` is the learning rate of the step.
    slots : sequence of str
        Names of the arrays in `state`. They are zeros before the first step.
    learning_rate : float or Schedule
    name : str, optional
        What messages and checkpoints call it; the default is the name of `update`.

    Raises
    ------
    TypeError, ValueError
        `update` cannot be called, `slots` are no different identifiers, or the learning rate is not positive.

    Notes
    -----
    The function works on copies: if it raises, or returns an array of another shape, model and state are as they were
    before the step. `Trainer.slots` shows the state.

    Examples
    --------
    >>> import numpy as np
    >>> import fastbp as fb
    >>> def lion(theta, grad, state, step, rate):
    ...     '''Steps by the sign of a running mean of the gradients; Chen et al. (2023).'''
    ...     way = 0.9 * state["m"] + 0.1 * grad
    ...     state["m"] = 0.99 * state["m"] + 0.01 * grad
    ...     return theta - rate * np.sign(way)
    >>> net = fb.Sequential([fb.Dense(1, initializer="zeros")], n_inputs=1)
    >>> trainer = fb.Trainer(net, optimizer=fb.Rule(lion, slots=["m"], learning_rate=0.5))
    >>> trainer.step(np.ones((4, 1), np.float32), np.ones((4, 1), np.float32))
    1.0
    >>> net.weights[0], trainer.slots["m"]
    (array([[0.5]], dtype=float32), array([-0.02, -0.02], dtype=float32))
    """

    __module__ = "fastbp"

    update: Callable[[Array, Array, dict[str, Array], int, float], Any] = field(kw_only=True)
    slots: tuple[str, ...] = field(kw_only=True)
    name: str = field(kw_only=True)

    def __init__(
        self,
        update: Callable[[Array, Array, dict[str, Array], int, float], Any],
        slots: Sequence[str] = (),
        learning_rate: float | Schedule = 1e-3,
        *,
        name: str | None = None,
    ) -> None:
        if not callable(update):
            raise TypeError(
                f"Rule: update must be a function of (theta, grad, state, step, rate), got {shown(update)}"
            )
        if isinstance(slots, str) or not all(isinstance(slot, str) for slot in slots):
            raise TypeError(f"Rule: slots must be a sequence of names, got {shown(slots)}")
        if len(set(slots)) != len(slots) or not all(slot.isidentifier() for slot in slots):
            raise ValueError(f"Rule: slots must be different identifiers, got {shown(slots)}")
        for attribute, content in (
            ("learning_rate", learning_rate),
            ("update", update),
            ("slots", tuple(slots)),
            ("name", getattr(update, "__name__", type(update).__name__) if name is None else str(name)),
        ):
            object.__setattr__(self, attribute, content)
        Optimizer.__post_init__(self)

    def __repr__(self) -> str:
        """Return what tells it from other rules."""
        return f"Rule({self.name!r}, slots={self.slots!r}, learning_rate={self.learning_rate!r})"

    def rule(self) -> optimizers.Rule:
        """Return the update rule for the engine, which calls `stepped`."""
        return optimizers.Rule(own=self)

    def to_config(self) -> dict[str, Any]:
        """Return what a checkpoint keeps: the function stays in the user's program."""
        rate = self.learning_rate
        return {
            "class": "Rule",
            "name": self.name,
            "slots": list(self.slots),
            "learning_rate": rate.to_config() if isinstance(rate, Schedule) else float(rate),
        }

    def stepped(
        self, theta: Array, grad: Array, state: dict[str, Array], step: int, rate: float
    ) -> tuple[Array, dict[str, Array]]:
        """Return parameters and state after a step; what was passed stays as it is."""
        fresh = {name: array.copy() for name, array in state.items()}
        result = self._numbers("update", self.update(theta.copy(), grad.copy(), fresh, step, rate), theta)
        if fresh.keys() != state.keys():
            raise ValueError(
                f"rule {self.name!r}: state must hold {shown(sorted(state))}, as slots says, got {shown(sorted(fresh))}"
            )
        return result, {name: self._numbers(f"state[{name!r}]", fresh[name], theta) for name in state}

    def _numbers(self, what: str, value: Any, like: Array) -> Array:
        """Return an array of the model's dtype that nobody else has, if there is a real number for each parameter."""
        array = np.asarray(value)
        if array.dtype.kind not in "fiu":
            got = f"dtype {array.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
            raise TypeError(f"rule {self.name!r}: {what} must be an array of floats, got {got}")
        if array.shape != like.shape:
            raise ValueError(f"rule {self.name!r}: {what} must have shape {like.shape}, got {array.shape}")
        with np.errstate(over="ignore"):
            return array.astype(like.dtype)
