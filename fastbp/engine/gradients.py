"""`Gradients`: what `value_and_grad` returns, in memory laid out as the parameters are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple, NoReturn

import numpy as np

from fastbp.engine.layout import Layout
from fastbp.engine.memory import Array, aligned_zeros


class _Made(NamedTuple):
    """What `new_gradients` made: the layout of the memory, and its views of it; `unit` is the first unit's gradient."""

    layout: Layout
    weights: tuple[Array, ...]
    biases: tuple[Array | None, ...]
    unit: Array


@dataclass(frozen=True)
class Gradients:
    """Gradients of a mean loss: `weights`, `biases` as the model's, `theta` flat and padded, `inputs` (n, n_inputs).

    `weights` and `biases` are views of `theta`. A copy is no longer known as made by ``value_and_grad``: it cannot be
    its `out`.
    """

    __module__ = "fastbp.engine"

    weights: list[Array]
    biases: list[Array | None]
    theta: Array
    inputs: Array | None = None
    _made: _Made | None = field(default=None, init=False, repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        # The views of a copy are arrays of their own.
        return {name: value for name, value in self.__dict__.items() if name != "_made"}


def new_gradients(layout: Layout, rows: int | None = None) -> Gradients:
    """Return zeros for the gradients of a network; those of its inputs too, if a number of rows is given."""
    theta = aligned_zeros(layout.size, layout.dtype)
    weights, biases = layout.views(theta)
    inputs = None if rows is None else np.empty((rows, layout.n_inputs), layout.dtype)
    gradients = Gradients(weights, biases, theta, inputs)
    object.__setattr__(gradients, "_made", _Made(layout, tuple(weights), tuple(biases), weights[0][:, 0]))
    return gradients


def reuse(out: Any, layout: Layout, read: tuple[Any, ...], rows: int | None = None) -> Gradients:
    """Return `out` to be written to: it must be what `new_gradients` makes of `layout` and `rows`.

    Parameters
    ----------
    read : tuple of ndarray
        What the gradient is computed from.

    Raises
    ------
    TypeError, ValueError
        It is something else, was made for another network or another number of rows, or shares memory with `read`.
    """
    if type(out) is not Gradients:
        raise TypeError(f"out must be Gradients from an earlier call, got {type(out).__name__}")
    made, theta, inputs = out._made, out.theta, out.inputs
    if made is None:
        raise ValueError("out must be Gradients that an earlier call returned, got a copy of some or others")
    own = made.layout
    if own is not layout and (own.dtype, own.places) != (layout.dtype, layout.places):
        raise ValueError("out must be Gradients of a network with the same layers and dtype")
    if inputs is not None or rows is not None:
        _check_inputs(inputs, None if rows is None else (rows, layout.n_inputs), own.dtype)
    if theta.shape != (layout.size,) or theta.dtype is not own.dtype or not theta.flags.carray:
        _refuse("theta must be as an earlier call returned it, but was changed since")
    for other in read:
        # What owns its memory is no view of ours.
        if other.base is not None:
            for name, array in (("theta", theta), ("inputs", inputs)):
                if array is not None and np.may_share_memory(array, other):
                    _refuse(f"{name} must not share memory with X, y or sample_weight")
    # Whoever had it may have written to the padding, or put other arrays in the place of the views.
    theta.fill(0.0)
    out.weights[:], out.biases[:] = made.weights, made.biases
    return out


def _check_inputs(inputs: Array | None, expected: tuple[int, int] | None, dtype: np.dtype[Any]) -> None:
    shape = None if inputs is None else inputs.shape
    if shape != expected:
        wanted = f"an array of shape {expected}" if expected else "None, since inputs=False"
        _refuse(f"inputs must be {wanted}, got {'one of shape ' if shape else ''}{shape}")
    if inputs is not None and (inputs.dtype != dtype or not inputs.flags.carray):
        _refuse("inputs must be as an earlier call returned it, but was changed since")


def _refuse(words: str) -> NoReturn:
    raise ValueError(f"out.{words}")
