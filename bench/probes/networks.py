"""Witnesses made of networks: `Sequential.fit` with a bit of everything, teams of threads, one row at a time; and what
is computed without training, in Python and by the compiled functions.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse

import fastbp as fb
from bench.probes.draws import (
    ACTIVATIONS,
    DTYPES,
    INITIALIZERS,
    LOSSES,
    OPTIMIZERS,
    csr,
    generator,
    gradients,
    inputs,
    logs,
    network,
    optimizer,
    pick,
    schedule,
    targets,
)
from bench.probes.outcome import Outcome, Run, like_parameters, parameters


def fit_case(number: int) -> tuple[str, Run]:
    """Return `Sequential.fit` with a bit of everything.

    9 losses, 7 optimizers and 2 dtypes have no common factor: 63 numbers pair every loss with every optimizer.
    """
    rng = generator("fit", number)
    dtype, loss, kind = DTYPES[number % 2], LOSSES[number % 9], OPTIMIZERS[number % 7]
    n, columns = int(rng.integers(40, 300)), int(rng.integers(1, 40))
    n_outputs = int(rng.integers(2, 6)) if loss == "cross_entropy" else int(rng.integers(1, 5))
    batch = None if kind == "rprop" else pick(rng, (7, 16, 32, 64, None))
    extras = ["all" if batch is None else f"b{batch}"]

    def chance(share: float, name: str) -> bool:
        if rng.random() < share:
            extras.append(name)
            return True
        return False

    layers: list[Any] = [fb.Dropout(0.1)] if chance(0.15, "input-dropout") else []
    dropout = chance(0.3, "dropout")
    l1, l2 = 1e-3 * chance(0.2, "l1"), 1e-3 * chance(0.2, "l2")
    bias = not chance(0.15, "no-bias")
    for level in range(int(rng.integers(0, 4))):
        units = int(rng.integers(1, 70))
        name = ACTIVATIONS[(number + 4 * level) % 15]
        layers.append(fb.Dense(units, name, use_bias=bias, initializer=pick(rng, INITIALIZERS), l1=l1, l2=l2))
        layers += [fb.Dropout(0.25)] if dropout else []
    # What the last layer gives is a logit or a rate's logarithm for some losses; the others see every activation.
    last = "identity" if loss in ("cross_entropy", "poisson") else ACTIVATIONS[(number * 7 + 3) % 15]
    if loss == "binary_cross_entropy" and "sigmoid" in last:  # refused: the loss contains it
        last = "identity"
    layers.append(fb.Dense(n_outputs, last, l2=l2))
    used = [layer.activation for layer in layers if isinstance(layer, fb.Dense)]
    options: dict[str, Any] = {"max_grad_norm": 0.5} if chance(0.25, "clip") else {}
    options |= {"shuffle": False} if chance(0.1, "in-order") else {}
    weighted = chance(0.25, "weights")
    if (loss == "cross_entropy" or (loss == "binary_cross_entropy" and n_outputs == 1)) and chance(
        0.5, "class-weight"
    ):
        options["class_weight"] = pick(rng, ("balanced", {1: 2.5}))
    valid = pick(rng, ("", "", "split", "valid"))
    extras += [valid] if valid else []
    stop, plateau = valid and chance(0.5, "stop"), valid and chance(0.5, "plateau")
    if loss != "cross_entropy" and chance(0.3, "metrics"):
        options["metrics"] = "mae"
    form = pick(rng, ("same", "same", "other-dtype", "fortran", "list"))
    extras += [form] if form != "same" else []
    rate = {"sgd": 0.02, "rmsprop": 2e-3, "rprop": 1e-3}.get(kind, 5e-3)
    if "exp" in used:
        rate /= 10
    rule = optimizer(kind, schedule(number, rate), rng)
    epochs, threads = int(rng.integers(2, 6)), pick(rng, (1, 1, 2, None))

    def run() -> Outcome:
        rng = generator("fit-rows", number)
        x = inputs(rng, n, columns, dtype)
        y = targets(rng, x, loss, n_outputs)
        net = fb.Sequential(layers, columns, dtype, seed=number)
        more = dict(options)
        if weighted:
            more["sample_weight"] = np.round(rng.random(n) * 3) / 2  # some are 0
            more["sample_weight"][:8] = 1.0
        if valid == "split":
            more["validation_split"] = 0.25
        elif valid:
            z = inputs(rng, 33, columns, dtype)
            more["validation_data"] = (z, targets(rng, z, loss, n_outputs))
        callbacks: list[Any] = [fb.EarlyStopping(number % 2)] if stop else []
        callbacks += [fb.ReduceLROnPlateau(0.5, 0, threshold=0.05)] if plateau else []
        given: Any = x
        if form == "other-dtype":
            given = x.astype(DTYPES[1 - DTYPES.index(dtype)])
        elif form == "fortran":
            given = np.asfortranarray(x)
        elif form == "list":
            given = x.tolist()
        history = net.fit(
            given, y, loss=loss, optimizer=rule, epochs=epochs, batch_size=batch, callbacks=callbacks,
            seed=number, n_threads=threads, verbose=0, **more,
        )  # fmt: skip
        outputs = [net.predict(given), np.array(net.evaluate(given, y, loss))]
        if number % 3 == 0:
            outputs += gradients(net, x, y, loss, inputs=True)
        return Outcome(parameters(net), logs(history), outputs)

    name = "+".join(dict.fromkeys(used))
    return f"fit/{dtype}/{kind}/{loss.partition('(')[0]}/{name}/{'+'.join(extras)}/{number:02d}", run


# Networks and batches that are worth a team of threads: 2e6 operations a batch and 5e7 a call at least. Name, dtype,
# loss, optimizer, rows, batch, columns, widths, activation, and what is special about the network and about the fit.
TEAMS: tuple[tuple[Any, ...], ...] = (
    ("plain", "float32", "cross_entropy", fb.Adam(1e-3), 1500, 128, 64, (128, 10), "relu", {}, {}),
    ("nesterov", "float64", "mse", fb.SGD(0.01, 0.9, True), 1500, 128, 64, (128, 10), "tanh", {}, {}),
    ("dropout+clip", "float32", "cross_entropy", fb.Adam(1e-3), 1100, 100, 100, (150, 70, 3), "silu",
     {"dropout": 0.3, "input_dropout": 0.1}, {"max_grad_norm": 0.3}),
    ("clip", "float64", "mse", fb.RMSProp(1e-3), 1100, 100, 100, (150, 70, 3), "gelu", {}, {"max_grad_norm": 0.3}),
    ("all", "float64", "huber(0.5)", fb.AdamW(1e-3), 1536, None, 50, (120, 60, 2), "gelu", {}, {}),
    ("sparse", "float32", "mse", fb.Adam(1e-3), 1200, 200, 300, (128, 4), "relu", {}, {}),
    ("penalties", "float32", "mse", fb.RMSProp(1e-3), 1200, 150, 90, (130, 33, 5), "elu", {"l1": 1e-4, "l2": 1e-3}, {}),
    ("packed", "float32", "mse", fb.SGD(1e-3, 0.9), 256, 128, 2520, (2520, 1), "relu", {}, {}),
    ("packed", "float64", "mse", fb.SGD(1e-3), 256, 128, 1792, (1792, 1), "tanh", {}, {}),
    ("odd", "float32", "huber(1.0)", fb.NAdam(1e-3), 999, 333, 37, (257, 129, 1), "mish", {}, {}),
    ("weights", "float64", "mse", fb.Adagrad(1e-2), 1001, 300, 65, (140, 31), "softplus", {}, {}),
)  # fmt: skip


def team_case(case: tuple[Any, ...], threads: int) -> tuple[str, Run]:
    """Return a fit on a number of threads, which must not change its numbers."""
    special, dtype, loss, rule, n, batch, columns, widths, activation, shape, options = case

    def run() -> Outcome:
        rng = generator(f"threads/{special}/{dtype}", 0)
        x: Any = inputs(rng, n, columns, dtype)
        if special == "sparse":
            x = scipy.sparse.csr_matrix(np.where(np.abs(x) > 1.2, x, 0).astype(dtype))
        y = targets(rng, x.toarray() if special == "sparse" else x, loss, widths[-1])
        weight = rng.random(n) if special == "weights" else None
        net = network(columns, widths, activation, dtype, 1, **shape)
        history = net.fit(
            x, y, loss=loss, optimizer=rule, epochs=1 if special == "packed" else 2, batch_size=batch,
            sample_weight=weight, n_threads=threads, verbose=0, **options,
        )  # fmt: skip
        outputs = [net.predict(x, n_threads=threads)]
        outputs += gradients(net, x, y, loss, n_threads=threads) if special != "packed" else []
        return Outcome(parameters(net), logs(history), outputs)

    return f"threads/{dtype}/{special}/{threads}", run


def online_case(number: int) -> tuple[str, Run]:
    """Return training on one row at a time: the first six take the path for plain SGD, the others nearly do."""
    dtype, activation = DTYPES[number % 2], ACTIVATIONS[(2 * number) % 15]
    widths = (
        (12, 1),
        (33, 17, 3),
        (1, 1),
        (5,),
        (64, 2),
        (20, 20, 20, 4),
        (12, 1),
        (9, 3),
        (24, 2),
        (16, 5),
    )[number]
    columns = (6, 20, 3, 9, 70, 5, 6, 17, 8, 4)[number]
    special: Any = {
        2: ("no-bias", {"use_bias": False}, {}),
        6: ("momentum", {}, {"optimizer": fb.SGD(0.01, momentum=0.9)}),
        7: ("dropout", {"dropout": 0.2}, {}),
        8: ("clip+l2", {"l2": 1e-3}, {"max_grad_norm": 0.5}),
        9: ("adam+schedule", {}, {"optimizer": fb.Adam(fb.CosineDecay(5e-3))}),
    }.get(number, ("plain", {}, {}))
    loss = ("mse", "cross_entropy", "mae", "huber(1.0)", "binary_cross_entropy")[number % 5]
    if widths[-1] == 1 and loss == "cross_entropy":
        loss = "log_cosh"

    def run() -> Outcome:
        rng = generator("online", number)
        x = inputs(rng, 150, columns, dtype)
        y = targets(rng, x, loss, widths[-1])
        net = network(columns, widths, activation, dtype, number, **special[1])
        settings = {"optimizer": fb.SGD(0.003 if activation == "exp" else 0.02)} | special[2]
        history = net.fit(x, y, loss=loss, epochs=3, batch_size=1, n_threads=1, verbose=0, **settings)
        return Outcome(parameters(net), logs(history), [net.predict(x)])

    return f"online/{dtype}/{special[0]}/{loss.partition('(')[0]}/{activation}/{number}", run


def predict_case(number: int) -> tuple[str, Run]:
    """Return predictions, losses and gradients of an untrained network."""
    dtype = DTYPES[number % 2]
    special = ("many-rows", "one-row", "nan", "sparse", "memmap", "metrics", "wide")[number]

    def run() -> Outcome:
        rng = generator("predict", number)
        columns, widths = (300, (200, 10)) if special == "wide" else (64, (128, 33, 4))
        net = network(columns, widths, ACTIVATIONS[number], dtype, number, l1=1e-3, l2=1e-3)
        n = {"many-rows": 4000, "wide": 700}.get(special, 90)
        x = inputs(rng, n, columns, dtype)
        y = targets(rng, x, "mse", widths[-1])
        outputs = gradients(net, x, y, "huber(0.5)", sample_weight=rng.random(n), inputs=True)
        if special == "one-row":
            outputs += [net.predict(x[i : i + 1]) for i in range(20)]
        elif special == "nan":
            x[::7, 3] = np.nan
        elif special == "sparse":
            x = csr(rng, n, columns, "duplicates", dtype)
        elif special == "metrics":
            values = net.evaluate(x, y, metrics=["mae", "log_cosh"], n_threads=1)
            outputs += [np.array([values[name] for name in ("loss", "mae", "log_cosh")])]
        if special == "memmap":
            with tempfile.TemporaryDirectory() as folder:
                mapped = np.memmap(Path(folder) / "x", "float64", "w+", shape=x.shape)
                mapped[:] = x
                outputs += [net.predict(mapped)]
                del mapped
        outputs += [net.predict(x, n_threads=threads) for threads in (1, 2, None)]
        return Outcome(parameters(net), (), outputs)

    return f"predict/{dtype}/{special}/{ACTIVATIONS[number]}/{number}", run


def compiled_case(number: int) -> tuple[str, Run]:
    """Return the functions for users' own compiled code, called from Python."""
    dtype = DTYPES[number % 2]
    loss = (
        "half_squared_error",
        "cross_entropy",
        "huber(0.5)",
        "binary_cross_entropy",
        "poisson",
        "mae",
        "mse",
    )[number]
    names = [ACTIVATIONS[(2 * number + k) % 15] for k in range(2)]

    def run() -> Outcome:
        rng = generator("compiled", number)
        columns, n_outputs = int(rng.integers(1, 40)), int(rng.integers(2, 5))
        layers = [fb.Dense(int(rng.integers(1, 50)), name, use_bias=number != 3) for name in names]
        net = fb.Sequential([*layers, fb.Dense(n_outputs)], columns, dtype, seed=number)
        x = inputs(rng, 60, columns, dtype)
        y = targets(rng, x, loss, n_outputs)
        y = y.astype(dtype).reshape(len(y), -1)  # class codes come as one number of the network's dtype
        state = net.compiled(loss)
        values = [
            fb.kernels.train_one(state, a, b, 2e-3) for _ in range(2) for a, b in zip(x, y, strict=True)
        ]
        grad, out = np.zeros_like(net.engine.theta), np.zeros((60, n_outputs), dtype)
        outputs = []
        for a, b in zip(x[:5], y[:5], strict=True):
            values.append(fb.kernels.value_and_grad_one(state, a, b, grad))
            outputs += like_parameters(net, grad)
        fb.kernels.predict(state, x, out)
        outputs.append(out.copy())
        fb.kernels.predict_one(state, x[7], out[0])
        return Outcome(parameters(net), [np.array(values)], [*outputs, out[0]])

    return f"compiled/{dtype}/{loss.partition('(')[0]}/{'+'.join(names)}/{number}", run


def witnesses() -> Iterator[tuple[str, Run]]:
    """Yield name and program of every witness of this room."""
    yield from map(fit_case, range(63))
    for case in TEAMS:
        yield from map(partial(team_case, case), (1, 2))
    yield from map(online_case, range(10))
    yield from map(predict_case, range(7))
    yield from map(compiled_case, range(7))
