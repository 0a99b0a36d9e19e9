"""Witnesses made of the estimators: every solver, kind of target and way of calling them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse

import fastbp as fb
from bench.probes.draws import ACTIVATIONS, DTYPES, csr, generator, inputs, pick
from bench.probes.outcome import Array, Outcome, Run

SOLVERS = ("adam", "sgd", "lbfgs", "adagrad", "rmsprop", "adamw", "nadam", "rprop")
COURSES = ("fit", "early-stopping", "warm-start", "partial-fit", "validation-set")
RECORDS = ("loss_curve_", "validation_scores_", "validation_loss_curve_")
LOSSES = ("squared_error", "poisson", "absolute_error", "huber", "quantile", "log_cosh")


def outcome(estimator: Any, outputs: list[Array]) -> Outcome:
    """Return what a fit left behind."""
    records = [getattr(estimator, name, None) for name in RECORDS]
    history = [np.array(values) for values in records if values is not None]
    history += [np.array([estimator.loss_], np.float64), np.array([estimator.n_iter_, estimator.t_])]
    return Outcome([*estimator.coefs_, *estimator.intercepts_], history, outputs)


def settings(
    rng: np.random.Generator, solver: str, number: int, course: str, large: bool
) -> tuple[dict[str, Any], list[str]]:
    """Return drawn parameters, and what is worth naming about them; a large network is worth a team of threads."""
    sizes = (
        (200, 30) if large else tuple(int(units) for units in rng.integers(3, 50, int(rng.integers(0, 4))))
    )
    name = ACTIVATIONS[number % 14].replace("sigmoid", "logistic").replace("hard_logistic", "hard_sigmoid")
    mixed = len(sizes) > 1 and rng.random() < 0.2
    params: dict[str, Any] = {
        "hidden_layer_sizes": sizes,
        "activation": [name, *["tanh"] * (len(sizes) - 1)] if mixed else name,
        "solver": solver,
        "alpha": pick(rng, (1e-4, 0.0, 0.1)),
        "max_iter": 8 if solver == "lbfgs" else 12 if course == "early-stopping" else 6,
        "learning_rate_init": {"sgd": 0.05, "rprop": 1e-3}.get(solver, 0.01),
        "random_state": number,
        "n_threads": 2 if large else pick(rng, (1, 2, None)),
        "tol": pick(rng, (1e-4, 1e-2)),
    }
    extras = [name if len(sizes) else "linear"] + ["team"] * large
    if course in ("fit", "warm-start") and rng.random() < 0.4:
        params["callbacks"] = [fb.EarlyStopping(0, min_delta=0.02)]
        extras.append("callbacks")
    if solver == "lbfgs":
        return params, extras
    params["batch_size"] = 200 if solver == "rprop" or large else pick(rng, ("auto", 32, 25, 1))
    if solver == "sgd":
        params["learning_rate"] = pick(rng, ("constant", "invscaling", "adaptive"))
        params["momentum"], params["nesterovs_momentum"] = pick(rng, (0.9, 0.0)), bool(rng.random() < 0.5)
        extras.append(params["learning_rate"])
    if params["batch_size"] == 1:
        params["learning_rate_init"] /= 10
        extras.append("b1")
    if rng.random() < 0.2 and sizes:
        params["dropout"] = 0.2
        extras.append("dropout")
    if rng.random() < 0.2:
        params["max_grad_norm"] = 0.5
        extras.append("clip")
    if course == "early-stopping":
        params |= {"early_stopping": True, "n_iter_no_change": 2, "validation_fraction": 0.2}
    return params, extras


def train(estimator: Any, course: str, x: Any, y: Array, weight: Array | None, classes: Array | None) -> None:
    """Call the estimator as the course wants it."""
    options = {} if weight is None else {"sample_weight": weight}
    if course == "partial-fit":
        first = {} if classes is None else {"classes": classes}
        third = len(y) // 3
        for turn, start in enumerate((0, third, 2 * third, 0)):
            rows = slice(start, start + third)
            part = {} if weight is None else {"sample_weight": weight[rows]}
            estimator.partial_fit(x[rows], y[rows], **part, **first)
            if turn == 1:
                estimator.set_params(alpha=0.01)
    elif course == "warm-start":
        estimator.set_params(warm_start=True).fit(x, y, **options)
        estimator.set_params(max_iter=estimator.max_iter // 2).fit(x, y, **options)
    elif course == "validation-set":
        estimator.fit(x, y, **options, validation_set=(x[:50], y[:50]))
    else:
        estimator.fit(x, y, **options)


def shape(number: int, solver: str, names: int) -> tuple[str, str, Any]:
    """Return dtype, course and kind of target of a number; lbfgs has no epochs to stop, hold out or go on with."""
    course = COURSES[number % 5]
    if solver == "lbfgs":
        course = "warm-start" if course in ("warm-start", "partial-fit") else "fit"
    return DTYPES[(number + number // 8) % 2], course, number % names


def classifier_case(number: int) -> tuple[str, Run]:
    """Return a classifier: 8 solvers, 5 courses and 3 kinds of target have no common factor."""
    rng, large = generator("classifier", number), number in (2, 5, 9)
    solver, kind = SOLVERS[number % 8], ("multiclass", "binary", "multilabel")[number % 3]
    dtype, course, _ = shape(number, solver, 3)
    params, extras = settings(rng, solver, number, course, large)
    weighted = bool(rng.random() < 0.25)
    sparse = bool(rng.random() < 0.2)
    if rng.random() < 0.6 and kind != "multilabel":
        params["class_weight"] = {"a": 2.0, "b": 0.5} if course == "partial-fit" else "balanced"
        extras.append("class-weight")
    extras += ["weights"] * weighted + ["csr"] * sparse
    if sparse and rng.random() < 0.5:
        params["dtype"] = DTYPES[1 - DTYPES.index(dtype)]
        extras.append("to-other-dtype")

    def run() -> Outcome:
        n, columns = (1500, 64) if large else (200, 14)
        draw = generator("classifier-rows", number)
        x: Any = csr(draw, n, columns, "duplicates", dtype) if sparse else inputs(draw, n, columns, dtype)
        dense = x.toarray() if sparse else x
        raw = np.asarray(dense, np.float64) @ draw.standard_normal((columns, 3))
        labels = np.array(["a", "b", "c"])
        if kind == "multiclass":
            y: Any = labels[raw.argmax(axis=1)]
            classes = labels
        elif kind == "binary":
            y, classes = labels[(raw[:, 0] > 0).astype(int)], labels[:2]
        else:
            y, classes = (raw > 0).astype(int), np.arange(3)
            if number % 2 and course == "fit":
                y = scipy.sparse.csr_matrix(y)
        weight = draw.random(n) + 0.1 if weighted else None
        estimator = fb.MLPClassifier(**params)
        train(estimator, course, x, y, weight, classes)
        chances = estimator.predict_proba(x)
        return outcome(estimator, [chances, estimator.predict_log_proba(x[:3])])

    return f"classifier/{dtype}/{solver}/{kind}/{course}/{'+'.join(extras)}/{number:02d}", run


def regressor_case(number: int) -> tuple[str, Run]:
    """Return a regressor: 8 solvers, 6 losses, 5 courses, one or three outputs."""
    rng, large = generator("regressor", number), number in (3, 5)
    solver, loss = SOLVERS[(3 * number + 1) % 8], LOSSES[(number + number // 6) % 6]
    dtype, course, several = shape(number, solver, 2)
    params, extras = settings(rng, solver, number + 5, course, large)
    params |= {"loss": loss, "quantile": 0.7, "delta": 0.8}
    weighted, sparse = bool(rng.random() < 0.3), bool(rng.random() < 0.2)
    if loss == "squared_error" and rng.random() < 0.5:
        params["out_activation"] = "softplus"
        extras.append("positive")
    extras += ["weights"] * weighted + ["csr"] * sparse

    def run() -> Outcome:
        draw = generator("regressor-rows", number)
        n, columns = (1500, 64) if large else (210, 9)
        x: Any = csr(draw, n, columns, "unsorted", dtype) if sparse else inputs(draw, n, columns, dtype)
        raw = (
            np.asarray(x.toarray() if sparse else x, np.float64)
            @ draw.standard_normal((columns, 3))
            / np.sqrt(columns)
        )
        y = np.floor(np.exp(np.minimum(raw, 2.0))) if loss == "poisson" else np.sin(raw)
        y = y if several else y[:, 0]
        weight = draw.random(n) + 0.1 if weighted else None
        estimator = fb.MLPRegressor(**params)
        train(estimator, course, x, y, weight, None)
        return outcome(estimator, [estimator.predict(x), np.array(estimator.score(x, y))])

    outputs = "several" if several else "one"
    return f"regressor/{dtype}/{solver}/{loss}/{outputs}/{course}/{'+'.join(extras)}/{number:02d}", run


def witnesses() -> Iterator[tuple[str, Run]]:
    """Yield name and program of every witness of this room."""
    yield from map(classifier_case, range(25))
    yield from map(regressor_case, range(18))
