"""The six training workloads: network, batch, optimizer, seeded data, the work they take, and their loss.

NumPy and nothing else, so that every peer (and the asv suite) can load this file without loading another peer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Workload:
    """One network and the way it is trained; the same for every peer.

    `target` holds what the engine aims for (bench/README.md): ratio to the best peer on one thread, share of the FMA
    peak on one thread, ratio to the best peer on two threads; NaN if there is no aim.
    """

    name: str
    sizes: tuple[int, ...]
    activation: str
    loss: str
    batch_size: int
    optimizer: str
    learning_rate: float
    n_rows: int
    target: tuple[float, float, float] = (np.nan, np.nan, np.nan)

    @property
    def n_batches(self) -> int:
        """Batches per epoch; `n_rows` is a multiple of the batch size, so all are full."""
        return self.n_rows // self.batch_size

    @property
    def n_parameters(self) -> int:
        """Weights and biases."""
        return sum((i + 1) * o for i, o in zip(self.sizes, self.sizes[1:], strict=False))

    @property
    def flops_per_sample(self) -> int:
        """FLOPs of one row's training step: the three products; activations and updates are not counted.

        2 per multiply-add: forward and weight gradient for every layer, the delta of the layer below for every
        layer but the first (no one asks for the gradient of the inputs).
        """
        products = [i * o for i, o in zip(self.sizes, self.sizes[1:], strict=False)]
        return 4 * sum(products) + 2 * sum(products[1:])

    def bytes_per_step(self, itemsize: int = 4) -> int:
        """Bytes that one batch must move at least: its rows, its activations, the parameters and their state.

        Rows are read once; each layer's output is written and read twice (forward, backward), its delta too;
        parameters are read twice, written once; gradients are written and read once; Adam reads and writes two
        moments, momentum one.
        """
        rows = self.batch_size * self.sizes[0]
        outputs = 6 * self.batch_size * sum(self.sizes[1:])
        state = {"sgd": 0, "momentum": 2, "adam": 4}[self.optimizer]
        return itemsize * (rows + outputs + (5 + state) * self.n_parameters)

    def quick(self) -> Workload:
        """The same workload on a handful of batches: for tests of agreement, not of speed."""
        return replace(self, n_rows=self.batch_size * max(2, min(self.n_batches, 256 // self.batch_size)))


WORKLOADS = {
    w.name: w
    for w in (
        # The best peer is the tuned JAX; three times the plain scan is aimed for too.
        Workload("online-tiny", (10, 16, 1), "tanh", "mse", 1, "sgd", 0.01, 10_000, (1.3, np.nan, np.nan)),
        Workload("tabular-small", (20, 64, 64, 1), "relu", "mse", 32, "adam", 1e-3, 20_000, (2.0, 0.50, 2.5)),
        Workload(
            "tabular-multi",
            (54, 128, 64, 7),
            "relu",
            "cross_entropy",
            256,
            "adam",
            1e-3,
            20_480,
            (1.7, 0.60, 2.5),
        ),
        Workload(
            "mnist-sk", (784, 100, 10), "relu", "cross_entropy", 200, "adam", 1e-3, 20_000, (1.5, 0.65, 1.7)
        ),
        Workload(
            "mnist-wide",
            (784, 512, 512, 10),
            "relu",
            "cross_entropy",
            128,
            "adam",
            1e-3,
            6_400,
            (1.35, 0.65, 1.3),
        ),
        Workload(
            "wide",
            (1024, 2048, 2048, 1000),
            "relu",
            "cross_entropy",
            512,
            "momentum",
            0.01,
            2_048,
            (1.1, 0.80, 1.1),
        ),
    )
}
ADAM = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8}
MOMENTUM = 0.9


def make_data(sizes: Sequence[int], loss: str, n_rows: int, dtype: str, seed: int = 0) -> tuple[Array, Array]:
    """Seeded rows with something to learn in them.

    Returns
    -------
    x : array, shape (n_rows, sizes[0]), dtype
        Standard normal.
    y : array, shape (n_rows,)
        For "cross_entropy" int64 codes below sizes[-1]; otherwise values of `dtype` from a smooth function.
    """
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n_rows, sizes[0]), dtype=np.float32).astype(dtype)
    if loss == "cross_entropy":
        teacher = rng.standard_normal((sizes[0], sizes[-1]), dtype=np.float32)
        scores = x @ teacher.astype(dtype) / np.sqrt(sizes[0]) + 0.5 * rng.standard_normal(
            (n_rows, sizes[-1])
        )
        y = scores.argmax(axis=1).astype(np.int64)
        y[: sizes[-1]] = np.arange(sizes[-1])  # no class is missing, however few the rows
        return x, y
    direction = rng.standard_normal(sizes[0]) / np.sqrt(sizes[0])
    y = np.sin(2.0 * (x @ direction)) + 0.1 * rng.standard_normal(n_rows)
    return x, np.ascontiguousarray(y, dtype=dtype)


def initial_parameters(sizes: Sequence[int], dtype: str, seed: int = 1) -> tuple[list[Array], list[Array]]:
    """Where every peer starts: Glorot-uniform W of shape (fan_in, fan_out), small uniform b of shape (fan_out,)."""
    rng = np.random.default_rng(seed)
    weights, biases = [], []
    for i, o in zip(sizes, sizes[1:], strict=False):
        bound = np.sqrt(6.0 / (i + o))
        weights.append(rng.uniform(-bound, bound, (i, o)).astype(dtype))
        biases.append(rng.uniform(-0.01, 0.01, o).astype(dtype))
    return weights, biases


def make_orders(n_rows: int, epochs: int, seed: int = 2) -> Array:
    """The shuffled order of the rows in each epoch, as scikit-learn draws it for random_state=seed.

    scikit-learn shuffles its own rows; drawing as it does gives all peers the same batches.

    Returns
    -------
    array of int64, shape (epochs, n_rows)
    """
    rng = np.random.RandomState(seed)
    order = np.arange(n_rows, dtype=np.int64)
    orders = np.empty((epochs, n_rows), dtype=np.int64)
    for e in range(epochs):
        shuffled = np.arange(n_rows)
        rng.shuffle(shuffled)
        order = order[shuffled]
        orders[e] = order
    return orders


def outputs(x: Array, weights: Sequence[Array], biases: Sequence[Array], activation: str) -> Array:
    """The network's outputs (logits for a classifier) in float64, shape (n, sizes[-1])."""
    a = np.asarray(x, dtype=np.float64)
    last = len(weights) - 1
    for level, (w, b) in enumerate(zip(weights, biases, strict=True)):
        a = a @ np.asarray(w, dtype=np.float64) + np.asarray(b, dtype=np.float64)
        if level < last:
            a = np.maximum(a, 0.0) if activation == "relu" else np.tanh(a)
    return a


def loss_of(
    workload: Workload, x: Array, y: Array, weights: Sequence[Array], biases: Sequence[Array]
) -> float:
    """Mean loss in float64 of the given parameters, at most 4096 rows: the number that peers must agree on."""
    x, y = x[:4096], y[:4096]
    z = outputs(x, weights, biases, workload.activation)
    if workload.loss == "mse":
        return float(np.mean((z[:, 0] - y) ** 2))
    top = z.max(axis=1)
    log_sum = top + np.log(np.exp(z - top[:, None]).sum(axis=1))
    return float(np.mean(log_sum - z[np.arange(len(y)), y]))
