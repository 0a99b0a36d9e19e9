"""What the tests ask of an activation, a loss, an optimizer by its name alone: of a new one as of an old one.

Everything comes from the specification and from the row of spellings, so that no test lists the entries again.
"""

import math
import re

import numpy as np
import pytest

from fastbp import reference
from fastbp.spellings.activations import ACTIVATIONS
from fastbp.spellings.losses import LOSSES
from fastbp.spellings.optimizers import OPTIMIZERS


# Formulas ----------------------------------------------------------------------------------------------------
def read(text, known):
    """Return the values of a formula as people write it: products side by side, ^, |x|, "f, s = ..." explains s.

    >>> read("2 s |z|, s = z^2", {"z": -3.0})
    54.0
    """
    formula, *letters = re.split(r", (?=\w = )", text)
    for letter, meaning in (item.split(" = ", 1) for item in reversed(letters)):
        known[letter] = read(meaning, known)
    code = re.sub(r"\|([^|]+)\|", r"abs(\1)", formula).replace("^", "**")
    # A space between two factors: not beside an operator, "if", "else", or a comma.
    code = re.sub(r"(?<=[\w)])(?<!\bif)(?<!\belse) (?!if\b|else\b)(?=[\w(])", " * ", code)
    return eval(code, {"__builtins__": {"abs": abs, "max": max, "min": min}, "e": math.e, **known})


WORDS = {
    "tanh": math.tanh,
    "cosh": math.cosh,
    "log": math.log,
    "sigmoid": reference.sigmoid,
    "sign": reference.sign,
    "Phi": reference.normal_cdf,
    "phi": reference.normal_pdf,
}


# Losses ------------------------------------------------------------------------------------------------------
def with_parameters():
    """Return every loss by name, and those that take a number once more with another one than the default."""
    return [*reference.LOSSES, *(f"{name}({other(name):g})" for name in reference.LOSSES if other(name))]


def other(name):
    """Return a parameter that is not the default of a loss, None if it takes none."""
    parameter = reference.LOSSES[name].parameter
    return None if parameter is None else round(0.6 * parameter.default, 3)


def targets(loss, rng, n, k, dtype=np.float64, *, codes=False):
    """Return targets (n, k) that suit a loss: one-hot rows (or class codes), labels, counts, or any numbers."""
    entry = reference.LOSSES[loss.partition("(")[0]]
    if entry.activation == "softmax":
        classes = rng.integers(k, size=n)
        return classes if codes else np.eye(k, dtype=dtype)[classes]
    if entry.targets == (0.0, 1.0):
        return rng.integers(2, size=(n, k)).astype(dtype)
    if entry.targets == (0.0, math.inf):
        return rng.integers(0, 5, size=(n, k)).astype(dtype)
    return rng.normal(size=(n, k)).astype(dtype)


def is_smooth(name):
    """Whether the slope of a loss has no jump at the target."""
    entry = reference.LOSSES[name]
    return abs(entry.delta([1e-9], [0.0])[0] - entry.delta([-1e-9], [0.0])[0]) < 1e-6


# The same in torch -------------------------------------------------------------------------------------------
def _elementwise(torch, text, letters, parameter=()):
    """Return a formula as a function of tensors, element by element."""
    words = {name: getattr(torch, name) for name in ("tanh", "cosh", "log", "sigmoid")} | dict(parameter)

    def function(*tensors):
        columns = zip(*(tensor.reshape(-1) for tensor in tensors), strict=True)
        values = [read(text, {**words, **dict(zip(letters, column, strict=True))}) for column in columns]
        return torch.stack(values).reshape(tensors[0].shape)

    return function


def torch_activation(name):
    """Return an activation as torch has it, or as the specification's formula says where torch has none."""
    torch = pytest.importorskip("torch")
    call = ACTIVATIONS[name].torch
    if call:
        return getattr(torch.nn, call.name)(**call.arguments)
    return _elementwise(torch, reference.ACTIVATIONS[name].formula, "z")


def torch_loss(loss):
    """Return a loss, such as "huber(0.3)", as torch has it, or as the specification's formula says: of (z, y)."""
    torch = pytest.importorskip("torch")
    name, _, number = loss.rstrip(")").partition("(")
    entry, call = reference.LOSSES[name], LOSSES[name].torch
    symbols = {entry.parameter.symbol: float(number or entry.parameter.default)} if entry.parameter else {}
    if call:
        return getattr(torch.nn, call.name)(**call.arguments, **symbols)
    element = _elementwise(torch, entry.formula, "zy", symbols)

    def function(z, y):
        values = element(z, y)
        return (values.sum(1) if entry.summed else values.mean(1)).mean()

    return function


# Torch's arguments of one field, or of two.
_ARGUMENTS = {
    "learning_rate": "lr",
    "initial_accumulator": "initial_accumulator_value",
    "beta1 beta2": "betas",
    "eta_minus eta_plus": "etas",
    "step_min step_max": "step_sizes",
}


def torch_optimizer(name, parameters, **hyper):
    """Return torch's optimizer of an entry, with those of its arguments that are given by our names."""
    torch = pytest.importorskip("torch")
    arguments = {}
    for fields, argument in _ARGUMENTS.items():
        given = [hyper.pop(field) for field in fields.split() if field in hyper]
        if given:
            arguments[argument] = given[0] if " " not in fields else tuple(given)
    call = OPTIMIZERS[name].torch
    if call is None:
        pytest.skip(f"torch has no {name}")
    # foreach and fused variants round differently: the single-tensor code is the formula.
    return getattr(torch.optim, call.name)(parameters, foreach=False, **call.arguments, **arguments, **hyper)
