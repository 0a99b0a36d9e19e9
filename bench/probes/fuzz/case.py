"""What the sorts of cases share: the finding, the small models, and what a message must be."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

import fastbp as fb

LONGEST = 1000  # characters of a message
CLASSES = ("no", "perhaps", "yes")


class Finding(AssertionError):
    """Something is wrong with fastbp."""


def check(right: object, what: str) -> None:
    """Raise a `Finding` unless it is right."""
    if not right:
        raise Finding(what)


def network(rng: np.random.Generator, dtype: str = "float32") -> fb.Sequential:
    """Return a small network of 4 inputs and 3 outputs, with a seed of its own."""
    layers = [fb.Dense(int(rng.integers(1, 20)), "tanh"), fb.Dropout(0.2), fb.Dense(3)]
    return fb.Sequential(layers, 4, dtype=dtype, seed=int(rng.integers(2**31)))


def rows(rng: np.random.Generator, n: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Return x (n, 4) and targets (n, 3) that depend on it."""
    x = rng.normal(size=(n, 4))
    return x, np.tanh(x[:, :3] - x[:, 1:])


def estimator(rng: np.random.Generator, classifier: bool) -> Any:
    """Return a small fitted estimator of 4 features: three classes, or three outputs."""
    x, y = rows(rng)
    options = {"hidden_layer_sizes": (5,), "max_iter": 2, "random_state": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # two epochs do not converge
        if classifier:
            labels = np.array(CLASSES)[y.argmax(axis=1)]
            return fb.MLPClassifier(**options).partial_fit(x, labels, classes=CLASSES)
        return fb.MLPRegressor(**options).fit(x, y)


def refused(error: Exception) -> None:
    """Check that an error is of a kind that users expect, and says something."""
    kinds = (
        TypeError,
        ValueError,
        OSError,
    )  # and no DivergenceError: data are checked before they are trained on
    raw = isinstance(error, UnicodeError)
    check(isinstance(error, kinds) and not raw, f"a raw {type(error).__name__}: {error}")
    check(str(error), "an error without a message")


def one_line(error: Exception) -> None:
    """Check that an error is one that users expect, in one line of bounded length."""
    refused(error)
    check(len(str(error)) < LONGEST, f"a message of {len(str(error))} characters")
    check("\n" not in str(error), f"a message of several lines: {error}")
