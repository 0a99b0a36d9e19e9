"""The compiled engine.

Notation: x, y a batch of inputs and targets; W, b weights (fan_in, fan_out) and biases of a layer; z = x W + b; a =
f(z); delta = dC/dz; theta and grad all parameters and their gradient, flat.
"""

if __name__ == "kernels":
    raise ImportError("import this folder as fastbp.kernels, from an installed fastbp")

from .machine.interrupts import held_back  # noqa: E402

with held_back():  # here Numba is imported, which no second attempt can make up for
    from .compiled import (
        State,
        predict,
        predict_one,
        pullback_one,
        train_one,
        train_one_from,
        value_and_grad_one,
    )
    from .warm import warmup

__all__ = [
    "State",
    "predict",
    "predict_one",
    "pullback_one",
    "train_one",
    "train_one_from",
    "value_and_grad_one",
    "warmup",
]
