"""What witnesses are made of: networks, rows, targets, optimizers, all drawn from seeded generators.

A generator is seeded by family and number, so that a witness stays what it is when others are added. The lists of names
are written out here on purpose: a new activation must not change an old draw.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse

import fastbp as fb
from bench.probes.outcome import Array

DTYPES = ("float32", "float64")
ACTIVATIONS = (
    "relu", "tanh", "sigmoid", "gelu", "silu", "elu", "selu", "softplus", "mish", "leaky_relu", "hard_tanh",
    "hard_sigmoid", "softsign", "identity", "exp",
)  # fmt: skip
LOSSES = (
    "mse", "cross_entropy", "binary_cross_entropy", "huber(0.7)", "mae", "log_cosh", "quantile(0.8)", "poisson",
    "half_squared_error",
)  # fmt: skip
OPTIMIZERS = ("sgd", "adagrad", "rmsprop", "adam", "adamw", "nadam", "rprop")
INITIALIZERS = ("glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_normal", "normal(0.1)")
LOGGED = ("loss", "val_loss", "learning_rate", "mae", "val_mae")


def generator(family: str, number: int) -> np.random.Generator:
    """Return the generator of one witness."""
    return np.random.default_rng([*family.encode(), number])


def pick(rng: np.random.Generator, options: Any) -> Any:
    """Return one of the options, as it is."""
    return options[int(rng.integers(len(options)))]


def optimizer(kind: str, rate: Any, rng: np.random.Generator) -> Any:
    """Return an optimizer with drawn settings."""
    decay = pick(rng, (0.0, 0.0, 1e-3))
    if kind == "sgd":
        momentum = pick(rng, (0.0, 0.9))
        nesterov = bool(momentum) and bool(rng.random() < 0.5)
        return fb.SGD(rate, momentum=momentum, nesterov=nesterov, weight_decay=decay)
    if kind == "adagrad":
        return fb.Adagrad(rate, initial_accumulator=pick(rng, (0.0, 0.1)), weight_decay=decay)
    if kind == "rmsprop":
        return fb.RMSProp(rate, alpha=pick(rng, (0.99, 0.9)), weight_decay=decay)
    if kind == "adam":
        return fb.Adam(rate, beta1=pick(rng, (0.9, 0.5)), weight_decay=decay)
    if kind == "adamw":
        return fb.AdamW(rate, eps=pick(rng, (1e-8, 1e-3)))
    if kind == "nadam":
        return fb.NAdam(rate, weight_decay=decay)
    return fb.Rprop(rate)


def schedule(number: int, rate: float) -> Any:
    """Return a learning rate, or one of the schedules that reach it."""
    return (
        rate,
        fb.ConstantSchedule(rate),
        fb.StepDecay(rate, 1, 0.5),
        fb.ExponentialDecay(rate, gamma=0.7),
        fb.CosineDecay(rate, warmup=0.2, minimum=rate / 10),
        fb.OneCycle(rate),
        fb.InverseScaling(rate, power=0.3, per="epoch"),
    )[number % 7]


def inputs(rng: np.random.Generator, n: int, columns: int, dtype: str) -> Array:
    """Return standardized rows."""
    return rng.standard_normal((n, columns)).astype(dtype)


def targets(rng: np.random.Generator, x: Array, loss: str, outputs: int) -> Any:
    """Return targets that depend on x, of the kind the loss takes."""
    raw = np.asarray(x, np.float64) @ rng.standard_normal((x.shape[1], outputs)) / np.sqrt(x.shape[1])
    if loss == "cross_entropy":
        if rng.random() < 0.3:  # as probabilities
            powers = np.exp(raw)
            return (powers / powers.sum(axis=1, keepdims=True)).astype(x.dtype)
        return raw.argmax(axis=1)
    if loss == "binary_cross_entropy":
        return (raw > 0).astype(x.dtype)
    if loss == "poisson":
        return np.floor(np.exp(np.minimum(raw, 2.0))).astype(x.dtype)
    return np.sin(raw).astype(x.dtype)


def logs(history: Any) -> list[Array]:
    """Return the series of a history that do not depend on the clock."""
    return [np.array(history[name]) for name in LOGGED if name in history and len(history[name])]


def gradients(net: fb.Sequential, *arguments: Any, **options: Any) -> list[Array]:
    """Return loss and gradient as arrays."""
    value, grads = net.value_and_grad(*arguments, **options)
    parts = [np.array(value)] + ([] if grads.inputs is None else [grads.inputs])
    for W, b in zip(grads.weights, grads.biases, strict=True):
        parts += [W] if b is None else [W, b]
    return parts


def network(
    columns: int, widths: tuple[int, ...], activation: str, dtype: str, seed: int, **options: Any
) -> fb.Sequential:
    """Return a plain stack; `dropout` and `input_dropout` put dropouts between and below."""
    rate = options.pop("dropout", 0.0)
    layers: list[Any] = [fb.Dropout(options.pop("input_dropout"))] if "input_dropout" in options else []
    for units in widths[:-1]:
        layers.append(fb.Dense(units, activation, **options))
        layers += [fb.Dropout(rate)] if rate else []
    return fb.Sequential([*layers, fb.Dense(widths[-1], **options)], columns, dtype, seed)


def csr(rng: np.random.Generator, n: int, columns: int, form: str, dtype: str) -> Any:
    """Return a CSR matrix: canonical, unsorted, with duplicates, with zeros and empty rows, or of another dtype."""
    counts = rng.integers(0, min(columns, 9), n)
    if form == "gaps":
        counts[::3] = 0
    rows = [
        rng.integers(0, columns, k) if form == "duplicates" else rng.permutation(columns)[:k] for k in counts
    ]
    if form in ("canonical", "array", "gaps"):
        rows = [np.sort(row) for row in rows]
    indices = np.concatenate(rows).astype(np.int32)
    data = rng.standard_normal(len(indices)).astype("int8" if form == "int8" else dtype)
    if form == "gaps":
        data[::5] = 0
    build = scipy.sparse.csr_array if form == "array" else scipy.sparse.csr_matrix
    return build((data, indices, np.concatenate([[0], np.cumsum(counts)])), shape=(n, columns))
