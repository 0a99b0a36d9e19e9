"""Every entry against the same list of what is no data: refused in words, and nothing is changed by it.

scikit-learn's estimators take text that reads as numbers, and labels of any kind; everything else is refused by all.
"""

import datetime
import decimal
import fractions
import pickle
import warnings
from typing import NamedTuple

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score

import fastbp as fb

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

N, K = 6, 3
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, K))
Y = X[:, 0].copy()
CODES = np.array([0, 1, 0, 1, 1, 0])
SMALL = {"hidden_layer_sizes": (2,), "max_iter": 2, "random_state": 0}

# ----------------------------------------------------------------------------------------------------------- the inputs


def alike(value, shape):
    """Ones as nested lists, but for one value."""
    outer = np.ones(shape).tolist()
    inner = outer
    for _ in shape[1:]:
        inner = inner[0]
    inner[0] = value
    return outer


def objects(value, shape):
    """The same as an array of objects."""
    array = np.ones(shape).astype(object)
    array[(0,) * len(shape)] = value
    return array


def masked(shape, dtype=float):
    mask = np.zeros(shape, bool)
    mask[(1,) + (0,) * (len(shape) - 1)] = True
    return np.ma.masked_array(np.ones(shape, dtype), mask)


def rows_of(array):
    return [array[i] for i in range(len(array))]


INPUTS = {
    "masked": lambda shape: masked(shape),
    "masked integers": lambda shape: masked(shape, int),
    "list of masked rows": lambda shape: rows_of(masked(shape)),
    "masked object": lambda shape: objects(np.ma.masked, shape),
    "None": lambda shape: None,
    "None in a list": lambda shape: alike(None, shape),
    "None as object": lambda shape: objects(None, shape),
    "dates": lambda shape: np.ones(shape).astype("datetime64[s]"),
    "date in a list": lambda shape: alike(np.datetime64("2020-01-01"), shape),
    "date as object": lambda shape: objects(np.datetime64("2020-01-01"), shape),
    "no date as object": lambda shape: objects(np.datetime64("NaT", "s"), shape),
    "datetime as object": lambda shape: objects(datetime.datetime(2020, 1, 1), shape),
    "durations": lambda shape: np.ones(shape).astype("timedelta64[s]"),
    "duration in a list": lambda shape: alike(np.timedelta64(1, "s"), shape),
    "duration as object": lambda shape: objects(np.timedelta64(1, "s"), shape),
    "timedelta as object": lambda shape: objects(datetime.timedelta(1), shape),
    "complex": lambda shape: np.ones(shape, complex),
    "complex in a list": lambda shape: alike(1j, shape),
    "complex as object": lambda shape: objects(1 + 0j, shape),
    "complex scalar as object": lambda shape: objects(np.complex128(1), shape),
    "text": lambda shape: np.ones(shape).astype(str),
    "text as object": lambda shape: objects("1.0", shape),
    "text scalar as object": lambda shape: objects(np.str_("1"), shape),
    "bytes": lambda shape: np.ones(shape).astype("S"),
    "bytes as object": lambda shape: objects(b"1", shape),
    "words": lambda shape: np.full(shape, "a", object),
    "10**400": lambda shape: alike(10**400, shape),
    "-10**5000": lambda shape: alike(-(10**5000), shape),
    "a huge fraction": lambda shape: alike(fractions.Fraction(10**400, 3), shape),
    "a huge decimal": lambda shape: alike(decimal.Decimal("1e400"), shape),
    "NaN without axes": lambda shape: np.array(np.nan),
    "NaN alone": lambda shape: float("nan"),
    "NaN in a list": lambda shape: alike(np.nan, shape),
    "NaN as object": lambda shape: objects(np.nan, shape),
    "infinity": lambda shape: np.full(shape, np.inf),
    "an object": lambda shape: object(),
    "object in an array": lambda shape: objects(object(), shape),
    "list in an array": lambda shape: objects([1, 2], shape),
    "dict": lambda shape: {},
    "set": lambda shape: {1.0},
    "records": lambda shape: np.zeros(shape, [("a", "f8")]),
    "rows of different lengths": lambda shape: [[1.0], [1.0, 2.0]],
    "a word": lambda shape: "1",
    "booleans": lambda shape: np.ones(shape, bool),
}
MISSING = {"None"}
NONFINITE = {"NaN in a list", "NaN as object", "infinity", "a huge decimal"}
READABLE = {"text", "text as object", "text scalar as object", "bytes", "bytes as object"}
DATES = {"dates", "durations"}

# ---------------------------------------------------------------------------------------------------------- the entries


class Entry(NamedTuple):
    """A call with one argument open: its name in messages, its shape, and which inputs it takes all the same."""

    argument: str
    shape: tuple
    call: object
    takes: set = {"booleans"}
    ours: bool = True  # the words are ours, not scikit-learn's


def net(outputs=1):
    return fb.Sequential([fb.Dense(outputs)], K, "float64")


def classifier(**more):
    return fb.MLPClassifier(**SMALL | more)


def regressor(**more):
    return fb.MLPRegressor(**SMALL | more)


NET, TWO = net(), net(2)
with warnings.catch_warnings():
    warnings.simplefilter("ignore", ConvergenceWarning)
    CLASSIFIER, REGRESSOR = classifier().fit(X, CODES), regressor().fit(X, Y)
    OF_TWO_FEATURES = classifier().fit(X[:, :2], CODES)

NOTHING = set()
OPTIONAL = {"booleans"} | MISSING
FITTED = {"booleans"} | READABLE  # what scikit-learn makes numbers of
PREDICTED = {"booleans", "text as object", "text scalar as object", "bytes as object"}
LABELS = {"booleans"} | DATES


def scored():
    """Return what `score` takes as labels: scikit-learn 1.7 lets text be unlike all numbers, a later one refuses it."""
    try:
        accuracy_score(["a"], [0])
    except ValueError:
        return {"booleans"}
    return {"booleans", "text"}


CE = {"loss": "cross_entropy"}

ENTRIES = {
    "Sequential.fit x": Entry("X", (N, K), lambda x: net().fit(x, Y, verbose=0)),
    "Sequential.fit y": Entry("y", (N,), lambda y: net().fit(X, y, verbose=0)),
    "Sequential.fit codes": Entry("y", (N,), lambda y: net(2).fit(X, y, **CE, verbose=0), NOTHING),
    "Sequential.fit probabilities": Entry("y", (N, 2), lambda y: net(2).fit(X, y, **CE, verbose=0)),
    "Sequential.fit sample_weight": Entry(
        "sample_weight", (N,), lambda w: net().fit(X, Y, sample_weight=w, verbose=0), OPTIONAL
    ),
    "Sequential.fit validation x": Entry(
        "validation_data: X", (N, K), lambda x: net().fit(X, Y, validation_data=(x, Y), verbose=0)
    ),
    "Sequential.fit validation y": Entry(
        "validation_data: y", (N,), lambda y: net().fit(X, Y, validation_data=(X, y), verbose=0)
    ),
    "Sequential.fit validation codes": Entry(
        "validation_data: y",
        (N,),
        lambda y: net(2).fit(X, CODES, **CE, validation_data=(X, y), verbose=0),
        NOTHING,
    ),
    "Sequential.fit validation weight": Entry(
        "validation_data: sample_weight",
        (N,),
        lambda w: net().fit(X, Y, validation_data=(X, Y, w), verbose=0),
        OPTIONAL,
    ),
    "Sequential.fit batch x": Entry("batch 0: X", (N, K), lambda x: net().fit([(x, Y)], verbose=0)),
    "Sequential.fit batch codes": Entry(
        "batch 0: y", (N,), lambda y: net(2).fit([(X, y)], **CE, verbose=0), NOTHING
    ),
    "Sequential.fit batch weight": Entry(
        "batch 0: sample_weight", (N,), lambda w: net().fit([(X, Y, w)], verbose=0), OPTIONAL
    ),
    "Sequential.predict": Entry("X", (N, K), NET.predict, {"booleans"} | NONFINITE),
    "Sequential.evaluate x": Entry("X", (N, K), lambda x: NET.evaluate(x, Y)),
    "Sequential.evaluate y": Entry("y", (N,), lambda y: NET.evaluate(X, y)),
    "Sequential.evaluate codes": Entry("y", (N,), lambda y: TWO.evaluate(X, y, **CE), NOTHING),
    "Sequential.evaluate weight": Entry(
        "sample_weight", (N,), lambda w: NET.evaluate(X, Y, sample_weight=w), OPTIONAL
    ),
    "Sequential.value_and_grad x": Entry("X", (N, K), lambda x: NET.value_and_grad(x, Y)),
    "Sequential.value_and_grad codes": Entry("y", (N,), lambda y: TWO.value_and_grad(X, y, **CE), NOTHING),
    "Sequential.set_weights": Entry("weights", (K, 1), lambda w: net().set_weights([w])),
    "Sequential.set_weights biases": Entry("biases", (2,), lambda b: net(2).set_weights(TWO.weights, [b])),
    "Trainer.step x": Entry("X", (N, K), lambda x: fb.Trainer(net()).step(x, Y)),
    "Trainer.step y": Entry("y", (N,), lambda y: fb.Trainer(net()).step(X, y)),
    "Trainer.step codes": Entry("y", (N,), lambda y: fb.Trainer(net(2), **CE).step(X, y), NOTHING),
    "Trainer.step weight": Entry(
        "sample_weight", (N,), lambda w: fb.Trainer(net()).step(X, Y, w), OPTIONAL
    ),
    "gradient_descent x0": Entry(
        "x0", (K,), lambda x: fb.gradient_descent(lambda z: float(z @ z), None, x, max_iter=2)
    ),
    "gradient_descent f": Entry(
        "f", (2,), lambda v: fb.gradient_descent(lambda z: v, lambda z: 1.0, 1.0, max_iter=2), NOTHING
    ),
    "gradient_descent grad": Entry(
        "grad",
        (2,),
        lambda v: fb.gradient_descent(lambda z: 1.0, lambda z: v, np.ones(2), max_iter=2),
    ),
    "classifier.fit x": Entry("X", (N, K), lambda x: classifier().fit(x, CODES), FITTED, False),
    "classifier.fit y": Entry("y", (N,), lambda y: classifier().fit(X, y), LABELS | {"text", "words"}, False),
    "classifier.fit weight": Entry(
        "sample_weight", (N,), lambda w: classifier().fit(X, CODES, w), FITTED | MISSING, False
    ),
    "classifier.fit validation x": Entry(
        "X", (N, K), lambda x: classifier().fit(X, CODES, validation_set=(x, CODES)), PREDICTED, False
    ),
    "classifier.fit validation y": Entry(
        "y", (N,), lambda y: classifier().fit(X, CODES, validation_set=(X, y)), ours=False
    ),
    "classifier.fit validation weight": Entry(
        "sample_weight",
        (N,),
        lambda w: classifier().fit(X, CODES, validation_set=(X, CODES, w)),
        FITTED | MISSING,
        False,
    ),
    "classifier.partial_fit x": Entry(
        "X", (N, K), lambda x: classifier().partial_fit(x, CODES, classes=[0, 1]), FITTED, False
    ),
    "classifier.partial_fit y": Entry(
        "y", (N,), lambda y: classifier().partial_fit(X, y, classes=[0, 1]), ours=False
    ),
    "classifier.predict": Entry("X", (N, K), CLASSIFIER.predict, PREDICTED, False),
    "classifier.predict_proba": Entry("X", (N, K), CLASSIFIER.predict_proba, PREDICTED, False),
    "classifier.hidden_activations": Entry("X", (N, K), CLASSIFIER.hidden_activations, PREDICTED, False),
    "classifier.score x": Entry("X", (N, K), lambda x: CLASSIFIER.score(x, CODES), PREDICTED, False),
    "classifier.score y": Entry("y", (N,), lambda y: CLASSIFIER.score(X, y), scored(), False),
    "classifier.score weight": Entry(
        "sample_weight", (N,), lambda w: CLASSIFIER.score(X, CODES, w), FITTED | MISSING, False
    ),
    "regressor.fit x": Entry("X", (N, K), lambda x: regressor().fit(x, Y), FITTED, False),
    "regressor.fit y": Entry("y", (N,), lambda y: regressor().fit(X, y), FITTED, False),
    "regressor.fit weight": Entry(
        "sample_weight", (N,), lambda w: regressor().fit(X, Y, w), FITTED | MISSING, False
    ),
    "regressor.fit validation y": Entry(
        "y", (N,), lambda y: regressor().fit(X, Y, validation_set=(X, y)), PREDICTED, False
    ),
    "regressor.partial_fit y": Entry("y", (N,), lambda y: regressor().partial_fit(X, y), FITTED, False),
    "regressor.predict": Entry("X", (N, K), REGRESSOR.predict, PREDICTED, False),
    "regressor.score y": Entry("y", (N,), lambda y: REGRESSOR.score(X, y), FITTED, False),
}  # fmt: skip


@pytest.mark.parametrize("name", ENTRIES)
def test_what_is_no_data_is_refused_in_words(name):
    entry = ENTRIES[name]
    wrong = []
    for kind, make in INPUTS.items():
        try:
            entry.call(make(entry.shape))
        except (TypeError, ValueError) as error:
            text = str(error)
            if kind in entry.takes:
                wrong.append(f"{kind}: refused, {error!r:.150}")
            elif type(error).__module__.startswith("numpy"):
                wrong.append(f"{kind}: numpy's own {type(error).__name__}, {text:.150}")
            elif len(text) > 800 or (
                entry.ours and (len(text) > 300 or "\n" in text or entry.argument not in text)
            ):
                wrong.append(f"{kind}: not in words, {text:.150}")
        except Exception as error:
            wrong.append(f"{kind}: {error!r:.150}")
        else:
            if kind not in entry.takes:
                wrong.append(f"{kind}: accepted")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("kind", sorted(set(INPUTS) - {"booleans"} - READABLE))
def test_a_refused_fit_leaves_everything_as_it_was(kind):
    bad = INPUTS[kind]((N, K))
    model, ours = net(), classifier()
    ours.partial_fit(X, CODES, classes=[0, 1])
    before = model.weights[0].copy(), pickle.dumps(ours)
    for call in (lambda: model.fit(bad, Y, verbose=0), lambda: ours.partial_fit(bad, CODES)):
        with pytest.raises((TypeError, ValueError)):
            call()
    np.testing.assert_array_equal(model.weights[0], before[0])
    assert pickle.dumps(ours) == before[1]


@pytest.mark.filterwarnings("ignore:X has feature names")
@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (datetime.datetime(2020, 1, 1), "X must hold real numbers, got .* in column 'b'"),
        (datetime.timedelta(1), "X must hold real numbers, got .* in column 'b'"),
        (None, "NaN|nan in row 0, column 'b'|column 'b' holds None"),
    ],
    ids=["date", "duration", "None"],
)
def test_columns_of_frames(library, value, message):
    frames = pytest.importorskip(library)
    frame = frames.DataFrame({"a": [1.0] * N, "b": [value] * N, "c": [2.0] * N})
    only = frames.DataFrame({"b": [value] * N, "c": [value] * N, "d": [value] * N})
    for call in (
        lambda x: net().fit(x, Y, verbose=0),
        NET.predict,
        lambda x: classifier().fit(x, CODES),
        CLASSIFIER.predict,
        REGRESSOR.predict,
    ):
        for x in (frame, only):
            if value is None and call == NET.predict:
                continue  # a column of nothing but None is one of NaN in pandas
            with pytest.raises((TypeError, ValueError), match=message):
                call(x)


@pytest.mark.parametrize("bad", [10**400, -(10**5000), np.timedelta64(3, "s"), "1", 1j, float("nan"), True, object(),
                                 np.ma.masked, np.array([1.0])], ids=lambda bad: f"{type(bad).__name__}")  # fmt: skip
def test_what_is_no_number_is_refused_as_a_parameter(bad):
    trainer = fb.Trainer(net())

    def set_steps():
        trainer.steps = bad

    calls = {
        "epochs": lambda: net().fit(X, Y, epochs=bad, verbose=0),
        "batch_size": lambda: net().fit(X, Y, batch_size=bad, verbose=0),
        "validation_split": lambda: net().fit(X, Y, validation_split=bad, verbose=0),
        "max_grad_norm": lambda: net().fit(X, Y, max_grad_norm=bad, verbose=0),
        "units": lambda: fb.Dense(bad),
        "l1": lambda: fb.Dense(1, l1=bad),
        "rate": lambda: fb.Dropout(bad),
        "n_inputs": lambda: fb.Sequential([fb.Dense(1)], bad),
        "learning_rate": lambda: fb.Adam(bad),
        "beta1": lambda: fb.Adam(beta1=bad),
        "step_size": lambda: fb.StepDecay(0.1, bad),
        "total": lambda: fb.CosineDecay(0.1, bad),
        "patience": lambda: fb.EarlyStopping(bad),
        "min_delta": lambda: fb.EarlyStopping(min_delta=bad),
        "seconds": lambda: fb.TimeLimit(bad),
        "every": lambda: fb.Checkpoint("a", bad),
        "steps": set_steps,
        "max_iter": lambda: fb.gradient_descent(lambda z: z, None, 1.0, max_iter=bad),
        "tol": lambda: fb.gradient_descent(lambda z: z, None, 1.0, tol=bad),
        "class_weight": lambda: net(2).fit(X, CODES, **CE, class_weight={0: bad}, verbose=0),
        "class_weight[0]": lambda: classifier(class_weight={0: bad}).fit(X, CODES),
        "class_weight: a class code": lambda: net(2).fit(X, CODES, **CE, class_weight={Key(bad): 1.0}, verbose=0),
    }  # fmt: skip
    for name, call in calls.items():
        with pytest.raises((TypeError, ValueError)) as caught:
            call()
        text = str(caught.value)
        assert name in text and len(text) < 300 and "\n" not in text, (name, text)


class Key:
    """Something that can be a key of a dict, and is no class code."""

    def __init__(self, value):
        self.value = value


@pytest.mark.parametrize(
    "code", [1.5, "1", None, np.datetime64("2020-01-01"), np.timedelta64(1, "s"), 10**400, True]
)
def test_keys_of_class_weight_are_class_codes(code):
    with pytest.raises((TypeError, ValueError), match="class_weight"):
        net(2).fit(X, CODES, **CE, class_weight={code: 2.0}, verbose=0)


def test_steps_are_counted_exactly():
    trainer = fb.Trainer(net())
    trainer.steps = 2**53
    assert trainer.steps == 2**53
    with pytest.raises(ValueError, match=r"steps must be an integer <= 9007199254740992, got 10000"):
        trainer.steps = 10**30
    assert trainer.steps == 2**53


@pytest.mark.parametrize("kind", ["complex", "dates", "masked", "None as object", "text"])
def test_weights_that_a_user_put_into_an_estimator(kind):
    model = classifier().fit(X, CODES)
    model.coefs_[1] = INPUTS[kind]((2, 1))
    with pytest.raises((TypeError, ValueError), match="weights of layer 1"):
        model.predict(X)


PLOTS = {
    "decision_boundary": lambda plot, bad: plot.decision_boundary(OF_TWO_FEATURES, bad((N, 2)), CODES, resolution=3),
    "decision_boundary y": lambda plot, bad: plot.decision_boundary(OF_TWO_FEATURES, X[:, :2], bad((N,)), resolution=3),
    "loss_curve": lambda plot, bad: plot.loss_curve(bad((N,))),
    "descent_path": lambda plot, bad: plot.descent_path(lambda z: z**2, bad((N,))),
    "xlim": lambda plot, bad: plot.descent_path(lambda z: z**2, np.ones(3), xlim=bad((2,))),
    "network": lambda plot, bad: plot.network(NET, x=bad((K,)), show="activations"),
    "loss_surface": lambda plot, bad: plot.loss_surface(NET, bad((N, K)), Y, resolution=2),
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (name, kind)
        for name in PLOTS
        for kind in ("masked", "dates", "durations", "complex", "None as object", "date as object", "10**400")
        if kind == "masked" or not name.endswith(" y")  # classes may be of any kind
    ],
)
def test_plots_refuse_it_too(name, kind):
    pytest.importorskip("matplotlib")
    with pytest.raises((TypeError, ValueError)):
        PLOTS[name](fb.plot, INPUTS[kind])
