"""The numbers of a witness, and the short record of them that is kept."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Record = dict[str, Any]

PARTS = ("theta", "history", "outputs")
DIGITS = 16  # of a hash: 64 bits, far more than a few thousand records need
SAMPLES = 8
FIGURES = 9  # of a number: all that a float32 has


@dataclass(frozen=True)
class Outcome:
    """The numbers of one configuration.

    Parameters
    ----------
    theta : sequence of arrays
        Weights and biases as users see them, without the padding of the engine.
    history : sequence of arrays
        First the losses, then everything else that was logged per epoch or step.
    outputs : sequence of arrays
        Predictions, gradients, the optimizer's state.
    """

    theta: Sequence[Array]
    history: Sequence[Array] = field(default=())
    outputs: Sequence[Array] = field(default=())

    def record(self) -> Record:
        """Return a hash of each part, and a few numbers that tell how far apart two outcomes are."""
        # Of the history the losses alone: rows that were counted would drown them.
        numbers = [norm(self.theta), norm(self.history[:1]), norm(self.outputs), *sample(self.theta)]
        return {
            "hashes": [digest(getattr(self, part)) for part in PARTS],
            "numbers": [float(f"{number:.{FIGURES}g}") for number in numbers],
        }


def digest(arrays: Iterable[Array]) -> str:
    """Return the first digits of a SHA-256 of dtypes, shapes and values (in C order) of the arrays."""
    hashed = hashlib.sha256()
    for array in arrays:
        values = np.ascontiguousarray(array)
        hashed.update(f"{values.dtype.str}{values.shape}".encode())
        hashed.update(values.tobytes())
    return hashed.hexdigest()[:DIGITS]


def norm(arrays: Sequence[Array]) -> float:
    """Return the Euclidean norm of all the arrays together, NaN left out."""
    squares = [np.nansum(np.square(np.asarray(array, np.float64))) for array in arrays]
    return float(np.sqrt(sum(squares)))


def sample(arrays: Sequence[Array]) -> list[float]:
    """Return `SAMPLES` values spread evenly over the arrays, so that every layer has a say."""
    values = np.concatenate([np.ravel(array) for array in arrays])
    return [float(values[place]) for place in np.linspace(0, len(values) - 1, SAMPLES).astype(int)]


def difference(one: Record, other: Record) -> float:
    """Return the largest relative difference between the numbers of two records.

    Norms are compared each with its partner, sampled values relative to the largest of them.
    """
    a, b = np.array(one["numbers"]), np.array(other["numbers"])
    scale = np.maximum(np.abs(a), np.abs(b))
    scale[len(PARTS) :] = scale[len(PARTS) :].max()
    return float(np.max(np.abs(a - b) / np.where(scale > 0, scale, 1.0)))


def parameters(net: Any) -> list[Array]:
    """Return copies of weights and biases of a network, layer by layer."""
    pairs = zip(net.weights, net.biases, strict=True)
    return [np.array(part) for pair in pairs for part in pair if part is not None]


def like_parameters(net: Any, flat: Array) -> list[Array]:
    """Return the parts of an array laid out as ``net.engine.theta``, without its padding, as `parameters` does."""
    theta = net.engine.theta
    start = theta.__array_interface__["data"][0]
    parts = []
    for part in (part for pair in zip(net.weights, net.biases, strict=True) for part in pair):
        if part is not None:
            offset = (part.__array_interface__["data"][0] - start) // theta.itemsize
            view = np.lib.stride_tricks.as_strided(flat[offset:], part.shape, part.strides, writeable=False)
            parts.append(view.copy())
    return parts


Run = Callable[[], Outcome]
