"""Losses by name: what is minimized, and what the targets must look like.

All are means over the rows of a batch, weighted by `sample_weight` when given: ``sum_i w_i l_i / sum_i w_i``
(PyTorch's ``weight``; Keras divides by the number of rows instead). z is the output of the last layer, y the
target.

The formulas are in `fastbp.reference.LOSSES`, the names in other libraries, which are taken too, in `fastbp.spellings`;
the documentation shows both in one table.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbp.arrays import check_rows, to_matrix, to_real
from fastbp.reference import LOSSES
from fastbp.spellings.losses import NAMES
from fastbp.validation import check_choice, check_count, check_number, parse_call, shown

__all__ = [
    "GIVEN",
    "OBJECTIVE_NAMES",
    "LossLike",
    "Objective",
    "apply_class_weight",
    "check_output",
    "get",
    "labels",
    "predictions",
    "probabilities",
    "to_targets",
]

OBJECTIVE_NAMES = tuple(sorted(LOSSES))

# What a loss applies to the outputs by itself, and the activations that would do it a second time.
CONTAINED = {
    "sigmoid": ("the sigmoid", ("sigmoid", "hard_sigmoid")),
    "softmax": ("the softmax", ("sigmoid", "hard_sigmoid")),
    "exp": ("exp", ("exp", "softplus")),
}


@dataclass(frozen=True, slots=True)
class Objective:
    """A loss as the engine takes it: its name, its parameter, and how values of outputs and rows are put together.

    Parameters
    ----------
    name : str
        One of `OBJECTIVE_NAMES`.
    parameter : float, optional
        delta of ``huber``, q of ``quantile``; None is the default.
    mean_outputs : bool
        Divide the value, and not the gradient, by the number of outputs, as scikit-learn does (its issue 8349).
    full : bool
        Add what makes the Poisson loss 0 at the target: y log y - y.
    clip : float
        Keep probabilities in the *value* of a cross entropy in [clip, 1 - clip], as scikit-learn does.
    summed : bool
        Add the values of a row's outputs instead of averaging them.
    """

    name: str = "mse"
    parameter: float | None = None
    mean_outputs: bool = False
    full: bool = False
    clip: float = 0.0
    summed: bool = False

    @property
    def adds_outputs(self) -> bool:
        """Whether the values of a row's outputs are added; else they are averaged."""
        return self.summed or LOSSES[self.name].summed

    @property
    def number(self) -> float:
        """The parameter, or its default; 0 if the loss has none."""
        if self.parameter is not None:
            return self.parameter
        parameter = LOSSES[self.name].parameter
        return parameter.default if parameter else 0.0

    @property
    def contains(self) -> str:
        """What the loss itself makes of the outputs: "identity", or a key of `CONTAINED`."""
        return LOSSES[self.name].activation

    @property
    def targets(self) -> tuple[float, float]:
        """The least and the greatest target."""
        return LOSSES[self.name].targets

    @property
    def bounded(self) -> bool:
        """Whether there are finite numbers that are no targets of this loss."""
        return self.targets[0] > -math.inf

    @property
    def any_columns(self) -> bool:
        """Whether a row may have more or fewer targets than the network has outputs."""
        return False

    @property
    def classifies(self) -> bool:
        """Whether outputs become probabilities of classes: by softmax over them, or by the sigmoid of each."""
        return self.contains in ("softmax", "sigmoid")

    def to_config(self) -> dict[str, Any]:
        """Return what a checkpoint keeps, to know the loss again."""
        return asdict(self)


# dC/d out itself, in the place of the targets: the caller knows what C is.
GIVEN = Objective("given")

LossLike = str | Objective


def get(loss: LossLike) -> Objective:
    """Return the objective of that name; ``"huber(2.0)"`` and ``"quantile(0.9)"`` carry their parameter.

    Names that other libraries have for the same loss are taken, in any case.

    >>> get("quantile(0.9)").parameter, get("MSELoss").name
    (0.9, 'mse')
    """
    if isinstance(loss, Objective):
        return loss
    if not isinstance(loss, str):
        raise TypeError(
            f"loss must be one of {', '.join(OBJECTIVE_NAMES)}, or a fastbp.Loss, got {shown(loss)} "
            f"({type(loss).__name__})"
        )
    return _parsed(loss)


@functools.lru_cache(maxsize=64)
def _parsed(loss: str) -> Objective:
    word, arguments = parse_call(loss, "loss")
    name = NAMES.check(word, "loss")
    if not arguments:
        return Objective(name)
    parameter = LOSSES[name].parameter
    if parameter is None or len(arguments) > 1:
        takers = [f"'{key}({entry.parameter.symbol})'" for key, entry in LOSSES.items() if entry.parameter]
        raise ValueError(
            f"loss {name!r} takes {'one argument' if parameter else 'no arguments'}, got {loss!r}; "
            f"{' and '.join(takers)} take one"
        )
    symbol, _, low, high = parameter
    value = check_number(arguments[0], f"loss: {symbol} of {name}", low, high, open_low=True, open_high=True)
    return Objective(name, value)


def check_output(activation: str, objective: Objective, name: str = "loss") -> None:
    """Refuse a last layer that does what the loss does by itself: then it would count twice.

    >>> check_output("sigmoid", Objective("binary_cross_entropy"))
    Traceback (most recent call last):
    ...
    ValueError: loss='binary_cross_entropy' contains the sigmoid, and the last layer is 'sigmoid': leave the last ...
    """
    what, doubles = CONTAINED.get(objective.contains, ("", ()))
    if activation in doubles:
        takes = "the logarithm of the rate" if objective.contains == "exp" else "logits"
        raise ValueError(
            f"{name}={objective.name!r} contains {what}, and the last layer is {activation!r}: leave the last layer "
            f"'identity', which gives {takes}, or use a loss that takes the outputs as they are, such as 'mse'"
        )


def to_targets(
    y: Any, objective: Objective, n: int, n_outputs: int, dtype: np.dtype[Any], *, name: str = "y"
) -> NDArray[Any]:
    """Make `y` what the engine takes for this loss, with the number of rows of X.

    Parameters
    ----------
    y : array-like
        ``cross_entropy``: class codes 0 ... n_outputs - 1, shape (n,) or (n, 1), of an integer type or of
        integral floats, not booleans; or rows of probabilities (one-hot), shape (n, n_outputs). A
        `fastbp.Loss`: numbers of any shape (n, k), or (n,). Every other loss: numbers of shape (n, n_outputs),
        or (n,) when there is one output.
    n, n_outputs : int
        Rows of X and outputs of the model.
    dtype : numpy.dtype
        Of the model.

    Returns
    -------
    array
        int64 codes of shape (n,), or values of `dtype`, shape (n, n_outputs).

    Raises
    ------
    TypeError, ValueError
        As `fastbp.validation.to_matrix`; a wrong shape, a code out of range, a probability outside [0, 1], a
        negative count.

    >>> to_targets([1, 0], Objective("mse"), 2, 1, np.dtype("float32")).shape
    (2, 1)
    """
    if y is None:
        raise ValueError(f"{name} is missing: loss={objective.name!r} needs targets")
    categorical = objective.name == "cross_entropy"
    if categorical and n_outputs < 2:
        raise ValueError(
            "loss='cross_entropy' needs one output per class, but the model has 1; use 'binary_cross_entropy'"
        )
    try:
        array = to_real(y, name)
    except TypeError as error:
        hint = (
            "; classes go in as codes 0, 1, 2, ... (MLPClassifier takes labels of any kind)"
            if categorical
            else ""
        )
        raise TypeError(f"{error}{hint}") from None
    check_rows(len(array) if array.ndim else 1, n, name)
    if categorical and (array.ndim == 1 or array.shape[1:] == (1,)):
        return _to_codes(array.reshape(-1), n_outputs, name)
    values = to_matrix(y if isinstance(y, np.memmap) else array, dtype, name)
    if values.ndim == 1 and (n_outputs == 1 or objective.any_columns):
        values = values.reshape(-1, 1)
    if values.ndim == 2 and objective.any_columns:
        return values
    if values.shape != (n, n_outputs):
        also = (
            f" or ({n},)" if n_outputs == 1 else f" or integer codes of shape ({n},)" if categorical else ""
        )
        raise ValueError(
            f"{name} must have shape ({n}, {n_outputs}){also} for loss={objective.name!r}, got {values.shape}"
            + ("; class codes need loss='cross_entropy'" if _may_be_codes(values, n_outputs) else "")
        )
    low, high = objective.targets
    if objective.bounded:
        bounds = f"in [{low:g}, {high:g}]" if np.isfinite(high) else f">= {low:g}"
        _check_range(values, low, high, name, f"loss={objective.name!r} takes targets {bounds}")
    return values


def apply_class_weight(
    class_weight: Mapping[int, float] | str | None,
    targets: NDArray[Any],
    weights: NDArray[Any] | None,
    objective: Objective,
    dtype: np.dtype[Any],
    n_outputs: int,
) -> NDArray[Any] | None:
    """Multiply the weight of each row by that of its class.

    Parameters
    ----------
    class_weight : dict, "balanced" or None
        Weight by class code, an integer from 0 on; classes not named have 1, and one that y lacks is fine.
        ``"balanced"``: n / (number of classes x rows of the
        class), as scikit-learn.
    targets : array
        As `to_targets` returned them.
    weights : array of shape (n,) or None
        The rows' own weights.
    n_outputs : int
        Of the model: with ``cross_entropy`` the number of classes; one output has two.

    Raises
    ------
    TypeError, ValueError
        A key that is no class code, a weight that is negative or not finite, a loss without classes.

    >>> apply_class_weight({1: 3.0}, np.array([0, 1]), None, Objective("cross_entropy"), np.dtype("float32"), 2)
    array([1., 3.], dtype=float32)
    """
    if class_weight is None:
        return weights
    binary = objective.name == "binary_cross_entropy" and targets.shape[1:] == (1,)
    if objective.name != "cross_entropy" and not binary:
        raise ValueError(
            "class_weight needs classes: loss='cross_entropy', or 'binary_cross_entropy' with one output; "
            f"got loss={objective.name!r}"
        )
    codes = labels(targets, objective).reshape(-1)
    present, counts = np.unique(codes, return_counts=True)
    if isinstance(class_weight, str):
        check_choice(class_weight, "class_weight", ("balanced",))
        table = dict(zip(present.tolist(), (len(codes) / (len(present) * counts)).tolist(), strict=True))
    elif isinstance(class_weight, Mapping):
        table = _class_table(class_weight, max(2, n_outputs))
    else:
        raise TypeError(
            f"class_weight must be None, 'balanced' or a dict of class code to weight, got {shown(class_weight)}"
        )
    factors = np.array([table.get(int(code), 1.0) for code in present], dtype)[
        np.searchsorted(present, codes)
    ]
    return factors if weights is None else weights * factors


def _class_table(class_weight: Mapping[Any, Any], n_classes: int) -> dict[int, float]:
    return {
        check_count(code, "class_weight: a class code", 0, n_classes - 1): check_number(
            weight, f"class_weight[{shown(code)}]", 0.0
        )
        for code, weight in class_weight.items()
    }


def predictions(outputs: NDArray[Any], objective: Objective) -> NDArray[Any]:
    """Turn outputs into what they say to the loss: logits into probabilities, logarithms of rates into rates.

    >>> predictions(np.array([[0.0, 0.0]]), Objective("poisson"))
    array([[1., 1.]])
    """
    if objective.classifies:
        return probabilities(outputs, objective)
    if LOSSES[objective.name].activation == "identity":
        return outputs
    with np.errstate(over="ignore"):  # a rate that is too large for the dtype is infinite
        return np.asarray(np.exp(outputs))


def probabilities(outputs: NDArray[Any], objective: Objective) -> NDArray[Any]:
    """Turn logits into probabilities: by softmax (``cross_entropy``) or sigmoid (``binary_cross_entropy``).

    >>> probabilities(np.array([[0.0, 0.0]]), Objective("cross_entropy"))
    array([[0.5, 0.5]])
    """
    if objective.contains == "softmax":
        powers = np.exp(outputs - outputs.max(axis=1, keepdims=True))  # shifted: exp cannot overflow
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))
    small = np.exp(-np.abs(outputs))
    return np.asarray(np.where(outputs >= 0, 1.0, small) / (1.0 + small))


def labels(values: NDArray[Any], objective: Objective) -> NDArray[np.int64]:
    """Turn *targets* (not logits) into class codes: the largest of a row, or ``>= 1/2`` for each binary output.

    >>> labels(np.array([[0.1, 0.9]]), Objective("cross_entropy"))
    array([1])
    """
    if objective.contains == "softmax":
        codes = values.ndim == 1 or values.shape[1] == 1
        return (values.reshape(-1) if codes else values.argmax(axis=1)).astype(np.int64)
    return (values >= 0.5).astype(np.int64)


def _to_codes(array: NDArray[Any], n_classes: int, name: str) -> NDArray[np.int64]:
    if array.dtype.kind == "b":
        raise TypeError(
            f"{name} holds booleans; loss='cross_entropy' takes class codes 0 ... {n_classes - 1}, such as "
            f"{name}.astype(int)"
        )
    if array.dtype.kind == "f":
        fractional = ~(array == np.floor(array))  # NaN is neither, and inf fails the range below
        if fractional.any():
            row = int(np.flatnonzero(fractional)[0])
            raise ValueError(
                f"{name} holds {array[row]} in row {row}; loss='cross_entropy' takes class codes 0 ... {n_classes - 1}"
            )
    outside = (array < 0) | (array >= n_classes)
    if outside.any():
        row = int(np.flatnonzero(outside)[0])
        raise ValueError(
            f"{name} holds class {array[row]} in row {row}, but the model has {n_classes} outputs: "
            f"codes are 0 ... {n_classes - 1}"
        )
    return np.ascontiguousarray(array, dtype=np.int64)


def _may_be_codes(values: NDArray[Any], n_classes: int) -> bool:
    flat = values.reshape(-1)
    return len(flat) == len(values) and bool(
        np.all((flat == np.floor(flat)) & (flat >= 0) & (flat < n_classes))
    )


def _check_range(values: NDArray[Any], low: float, high: float, name: str, rule: str) -> None:
    outside = (values < low) | (values > high)
    if outside.any():
        row, column = np.argwhere(outside)[0]
        raise ValueError(f"{name} holds {values[row, column]} in row {row}, column {column}; {rule}")
