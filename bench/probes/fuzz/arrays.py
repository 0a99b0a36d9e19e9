"""Arrays of every make, whole or poisoned, at the entries that take data: refused in words, or understood right."""

from __future__ import annotations

import datetime
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse

import fastbp as fb
from bench.probes.fuzz.case import CLASSES, check, estimator, network, refused, rows

POISON = [
    np.nan, np.inf, -np.inf, None, "text", 1j, 10**400, datetime.date(2020, 1, 1), np.datetime64("2020-01-01"),
    np.ma.masked, object(), [1.0], b"1", np.timedelta64(3, "s"),
]  # fmt: skip
FORMS = [
    "C", "F", "strided", "reversed", "read-only", "odd address", "big-endian", "float32", "float16", "integers",
    "list", "objects", "frame", "csr", "csc", "csr of broken arrays", "map", "one row", "wrong columns", "flat",
    "three axes", "empty", "huge numbers",
]  # fmt: skip
BROKEN = "data indices indptr".split()


def case(rng: np.random.Generator, folder: Path) -> None:
    """Give one entry one input."""
    form = str(rng.choice(FORMS))
    plain, _ = rows(rng, int(rng.choice([1, 2, 7, 40, 300])))
    poison = POISON[int(rng.integers(len(POISON)))] if rng.random() < 0.3 else 0
    x, understood = made(rng, plain, form, folder)
    bad = form in ("wrong columns", "flat", "three axes", "csr of broken arrays", "huge numbers")
    if poison != 0 or poison is None:
        spoiled = poisoned(rng, x, poison)
        x, bad = (x, bad) if spoiled is None else (spoiled, True)
    kept = contents(x)
    entry = ENTRIES[int(rng.integers(len(ENTRIES)))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        entry(rng, x, understood, bad, form)
    check(contents(x) == kept, f"{entry.__name__} has changed its input ({form})")


def made(rng: np.random.Generator, plain: np.ndarray, form: str, folder: Path) -> tuple[Any, np.ndarray]:
    """Return the rows in a form, and the numbers that they are then."""
    n = len(plain)
    if form == "F":
        return np.asfortranarray(plain), plain
    if form == "strided":
        wide = np.full((n, 8), np.nan)
        wide[:, ::2] = plain
        return wide[:, ::2], plain
    if form == "reversed":
        return plain[::-1], plain[::-1].copy()
    if form == "read-only":
        twin = plain.copy()
        twin.flags.writeable = False
        return twin, plain
    if form == "odd address":
        raw = np.zeros(plain.nbytes + 1, np.uint8)
        odd = raw[1:].view(np.float64).reshape(plain.shape)
        odd[...] = plain
        return odd, plain
    if form == "big-endian":
        return plain.astype(">f8"), plain
    if form in ("float32", "float16"):
        return plain.astype(form), plain.astype(form).astype(float)
    if form == "integers":
        whole = rng.integers(-3, 4, plain.shape).astype(rng.choice(["int8", "uint16", "int64", "bool"]))
        return whole, whole.astype(float)
    if form == "list":
        return plain.tolist(), plain
    if form == "objects":
        return plain.astype(object), plain
    if form == "frame":
        import pandas

        return pandas.DataFrame(plain), plain
    if form in ("csr", "csc", "csr of broken arrays"):
        sparse = np.where(rng.random(plain.shape) < 0.5, plain, 0.0)
        matrix = scipy.sparse.csr_matrix(sparse) if form != "csc" else scipy.sparse.csc_matrix(sparse)
        if form == "csr of broken arrays":
            break_(rng, matrix)
        return matrix, sparse
    if form == "map":
        mapped = np.memmap(folder / "map", rng.choice(["float64", "float32"]), "w+", shape=plain.shape)
        mapped[:] = plain
        return mapped, np.asarray(mapped, np.float64)
    if form == "huge numbers":
        return np.full((n, 4), 1e300), plain  # no float32
    shape: Any = {
        "one row": (1, 4),
        "wrong columns": (n, 5),
        "flat": (n,),
        "three axes": (n, 4, 1),
        "empty": (0, 4),
    }
    other = rng.normal(size=shape.get(form, plain.shape))
    return other, other


def break_(rng: np.random.Generator, matrix: Any) -> None:
    """Change one of the three arrays of a matrix so that it no longer fits the others."""
    which = str(rng.choice(BROKEN))
    array = getattr(matrix, which)
    if which == "data":
        matrix.data = array[: len(array) // 2] if len(array) > 1 else np.zeros(0)
        if len(matrix.data) >= int(matrix.indptr[-1]):
            matrix.indices[:] = 99
            matrix.indptr[-1] = 10**6
    elif which == "indices" and len(array):
        array[int(rng.integers(len(array)))] = rng.choice([-1, 4, 2**31 - 1, -(2**31)])
    else:
        matrix.indptr[-1] = rng.choice([10**6, 2**31 - 1])


def poisoned(rng: np.random.Generator, x: Any, value: Any) -> Any:
    """Return the rows with one value in one place, or None if this form cannot hold it."""
    place = None
    try:
        if isinstance(x, list):
            twin: Any = [list(row) for row in x]
            twin[int(rng.integers(len(twin)))][0] = value
            return twin
        if isinstance(x, np.ndarray) and type(x) is np.ndarray and x.size:
            place = tuple(int(rng.integers(size)) for size in x.shape)
            if value is np.ma.masked:
                mask = np.zeros(x.shape, bool)
                mask[place] = True
                return np.ma.masked_array(x, mask)
            fits = isinstance(value, float) and x.dtype.kind == "f"
            twin = x.copy() if fits else x.astype(object)
            twin[place] = value
            return twin
    except (TypeError, ValueError, OverflowError):
        pass
    return None


def contents(x: Any) -> object:
    """Return what an input holds, for comparison."""
    if scipy.sparse.issparse(x):
        return tuple(part.tobytes() for part in (x.data, x.indices, x.indptr))
    if isinstance(x, np.ndarray) and x.dtype.kind != "O":
        return x.tobytes()
    return repr(x)


def answer(weights: list[np.ndarray], biases: list[Any], x: np.ndarray, hidden: Any) -> np.ndarray:
    """Return the outputs of a network of two layers, in NumPy."""
    first, second = weights
    return hidden(x @ first.astype(float) + biases[0]) @ second.astype(float) + biases[1]


def sequential_predict(
    rng: np.random.Generator, x: Any, understood: np.ndarray, bad: bool, form: str
) -> None:
    """`Sequential.predict`, in every dtype: NaN goes through, everything else is refused."""
    net = network(rng, str(rng.choice(["float32", "float64"])))
    try:
        told = net.predict(x)
    except Exception as error:
        refused(error)
        check(bad, f"Sequential.predict refuses {form}: {error}")
        return
    check(told.shape == (len(understood) if form != "one row" else 1, 3), f"shape {told.shape} of {form}")
    if not bad:
        wanted = answer(net.weights, net.biases, understood, np.tanh)
        check(np.allclose(told, wanted, rtol=1e-3, atol=1e-4), f"Sequential.predict is wrong for {form}")


def sequential_fit(rng: np.random.Generator, x: Any, understood: np.ndarray, bad: bool, form: str) -> None:
    """`Sequential.fit`: after an error the model is as it was."""
    net = network(rng)
    before = net.engine.theta.copy()
    y = np.zeros((len(understood), 3))
    try:
        net.fit(x, y, epochs=1, verbose=0)
    except Exception as error:
        refused(error)
        check(bad or form == "empty", f"Sequential.fit refuses {form}: {error}")
        check(np.array_equal(net.engine.theta, before), f"a refused fit has changed the model ({form})")
        return
    check(not bad or form == "map", f"Sequential.fit takes {form} though it is no data")
    check(np.isfinite(net.engine.theta).all(), f"weights that are not finite, of {form}")


def step(rng: np.random.Generator, x: Any, understood: np.ndarray, bad: bool, form: str) -> None:
    """`Trainer.step`."""
    trainer = fb.Trainer(network(rng), n_threads=1)
    try:
        loss = trainer.step(x, np.zeros((len(understood), 3)))
    except Exception as error:
        refused(error)
        check(bad or form == "empty", f"Trainer.step refuses {form}: {error}")
        return
    # Arrays of the model's own dtype are used as they are, and not searched for NaN.
    check(
        not bad or form == "float32" or np.isfinite(loss), f"Trainer.step takes {form} though it is no data"
    )


def estimator_predict(rng: np.random.Generator, x: Any, understood: np.ndarray, bad: bool, form: str) -> None:
    """`predict` of both estimators."""
    classifier = bool(rng.integers(2))
    model = estimator(rng, classifier)
    try:
        told = model.predict_proba(x) if classifier else model.predict(x)
    except Exception as error:
        refused(error)
        check(bad or form == "empty", f"{type(model).__name__}.predict refuses {form}: {error}")
        return
    if form == "huge numbers":  # they are numbers in float64
        return
    check(not bad or reads(x), f"{type(model).__name__} predicts {form} though it is no data")
    if not bad:
        raw = answer(model.coefs_, model.intercepts_, understood, lambda z: np.maximum(z, 0))
        if classifier:
            raw = np.exp(raw - raw.max(axis=1, keepdims=True))
            raw /= raw.sum(axis=1, keepdims=True)
        check(
            np.allclose(told, raw, rtol=1e-3, atol=1e-4),
            f"{type(model).__name__}.predict is wrong for {form}",
        )


def estimator_fit(rng: np.random.Generator, x: Any, understood: np.ndarray, bad: bool, form: str) -> None:
    """`partial_fit` of the classifier: after an error it is as it was."""
    model = estimator(rng, True)
    before = [part.copy() for part in (*model.coefs_, *model.intercepts_)]
    try:
        model.partial_fit(x, np.resize(CLASSES, len(understood)))
    except Exception as error:
        refused(error)
        check(bad or form == "empty", f"partial_fit refuses {form}: {error}")
        same = zip((*model.coefs_, *model.intercepts_), before, strict=True)
        check(
            all(np.array_equal(a, b) for a, b in same),
            f"a refused partial_fit has changed the model ({form})",
        )
        return
    check(not bad or reads(x) or form == "huge numbers", f"partial_fit takes {form} though it is no data")


def reads(x: Any) -> bool:
    """Whether NumPy reads it as finite numbers: scikit-learn takes text that is a number."""
    try:
        return not np.ma.isMaskedArray(x) and bool(np.isfinite(np.asarray(x, np.float64)).all())
    except (TypeError, ValueError, OverflowError):
        return False


ENTRIES = [sequential_predict, sequential_fit, step, estimator_predict, estimator_fit]
