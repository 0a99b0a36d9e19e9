"""Where the weights start: each initializer draws a matrix of shape (fan_in, fan_out); biases start at zero.

The draws are made in float64 from a seeded NumPy generator and then rounded to the model's dtype, so that a
float32 and a float64 model with one seed start from the same numbers. Normal distributions are not truncated:
PyTorch's ``kaiming_normal_`` and ``xavier_normal_``; Keras cuts them at two standard deviations.

| name | distribution | source |
|---|---|---|
| glorot_uniform | U(-l, l), l = sqrt(6 / (fan_in + fan_out)) | Glorot and Bengio, 2010 |
| glorot_normal | N(0, s), s = sqrt(2 / (fan_in + fan_out)) | Glorot and Bengio, 2010 |
| he_uniform | U(-l, l), l = sqrt(6 / fan_in) | He et al., 2015 |
| he_normal | N(0, s), s = sqrt(2 / fan_in) | He et al., 2015 |
| lecun_normal | N(0, s), s = sqrt(1 / fan_in) | LeCun et al., 1998 |
| zeros | 0 | |
| normal(std=0.05) | N(0, std) | |
| uniform(a=-0.05, b=0.05) | U(a, b) | |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastbp.spellings import Call, Names, Spelling
from fastbp.validation import check_number, parse_call

__all__ = [
    "INITIALIZER_NAMES",
    "Initializer",
    "get",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "lecun_normal",
    "normal",
    "uniform",
    "zeros",
]

Draw = Callable[[int, int, np.random.Generator], NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Initializer:
    """A named way to draw the weights of one layer.

    Call it as ``initializer(fan_in, fan_out, rng)``: a float64 array of shape (fan_in, fan_out).

    >>> Initializer("normal", (0.1,))(2, 3, np.random.default_rng(0)).shape
    (2, 3)
    >>> str(Initializer("normal", (0.1,)))
    'normal(0.1)'
    """

    name: str
    arguments: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Check name and arguments."""
        object.__setattr__(self, "name", NAMES.check(self.name, "initializer"))
        allowed = {"normal": 1, "uniform": 2}.get(self.name, 0)
        if self.arguments and len(self.arguments) != allowed:
            raise ValueError(f"initializer {self.name} takes {allowed} arguments, got {self.arguments}")
        for value in self.arguments:
            check_number(value, f"initializer {self.name}: argument")
        if self.name == "normal" and self.arguments and self.arguments[0] < 0:
            raise ValueError(f"initializer normal: std must be >= 0, got {self.arguments[0]}")
        if self.name == "uniform" and self.arguments and self.arguments[0] > self.arguments[1]:
            raise ValueError(
                f"initializer uniform: a must be <= b, got a={self.arguments[0]}, b={self.arguments[1]}"
            )

    def __str__(self) -> str:
        """Return the text that `get` reads back."""
        return self.name + (f"({', '.join(map(repr, self.arguments))})" if self.arguments else "")

    def __call__(self, fan_in: int, fan_out: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Draw W of shape (fan_in, fan_out), float64."""
        return self.draw((fan_in, fan_out), rng)

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
        """Draw W of many models, float64, of shape (..., fan_in, fan_out): one after the other.

        >>> get("normal").draw((5, 2, 3), np.random.default_rng(0)).shape
        (5, 2, 3)
        """
        fan_in, fan_out = shape[-2:]
        if self.name == "zeros":
            return np.zeros(shape)
        if self.name == "normal":
            return rng.normal(0.0, self.arguments[0] if self.arguments else 0.05, shape)
        if self.name == "uniform":
            low, high = self.arguments or (-0.05, 0.05)
            return rng.uniform(low, high, shape)
        family, kind = self.name.split("_")
        variance = {"glorot": 2.0 / (fan_in + fan_out), "he": 2.0 / fan_in, "lecun": 1.0 / fan_in}[family]
        if kind == "normal":
            return rng.normal(0.0, np.sqrt(variance), shape)
        limit = np.sqrt(3.0 * variance)  # the variance of U(-l, l) is l^2 / 3
        return rng.uniform(-limit, limit, shape)


# Keras cuts its glorot_normal, he_normal and lecun_normal; they are not the same for that, and yet meant.
NAMES = Names(
    {
        "glorot_normal": Spelling(torch=Call("xavier_normal_")),
        "glorot_uniform": Spelling(torch=Call("xavier_uniform_"), keras=Call("glorot_uniform")),
        "he_normal": Spelling(torch=Call("kaiming_normal_")),
        "he_uniform": Spelling(torch=Call("kaiming_uniform_"), keras=Call("he_uniform")),
        "lecun_normal": Spelling(),
        "normal": Spelling(keras=Call("random_normal", {"stddev": 0.05})),
        "uniform": Spelling(keras=Call("random_uniform", {"minval": -0.05, "maxval": 0.05})),
        "zeros": Spelling(torch=Call("zeros_"), keras=Call("zeros")),
    },
    {"truncated_normal": "", "lecun_uniform": ""},
)
INITIALIZER_NAMES = tuple(NAMES.rows)

glorot_uniform = Initializer("glorot_uniform")
glorot_normal = Initializer("glorot_normal")
he_uniform = Initializer("he_uniform")
he_normal = Initializer("he_normal")
lecun_normal = Initializer("lecun_normal")
zeros = Initializer("zeros")


def normal(std: float = 0.05) -> Initializer:
    """Normal distribution with mean 0 and standard deviation `std`, for layers of any size.

    >>> str(normal(0.02))
    'normal(0.02)'
    """
    return Initializer("normal", (check_number(std, "std", 0.0),))


def uniform(a: float = -0.05, b: float = 0.05) -> Initializer:
    """Uniform distribution on [a, b), for layers of any size.

    >>> str(uniform(-0.1, 0.1))
    'uniform(-0.1, 0.1)'
    """
    return Initializer("uniform", (check_number(a, "a"), check_number(b, "b")))


def get(initializer: str | Initializer) -> Initializer:
    """Return the initializer of that name; with arguments as in ``"normal(0.02)"``.

    >>> get("he_normal")
    Initializer(name='he_normal', arguments=())
    """
    if isinstance(initializer, Initializer):
        return initializer
    if not isinstance(initializer, str):
        raise TypeError(
            f"initializer must be a name such as 'glorot_uniform' or an Initializer, got {initializer!r}; "
            "numbers of your own go in with set_weights"
        )
    return Initializer(*parse_call(initializer, "initializer"))
