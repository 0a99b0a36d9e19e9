"""`n_threads` has one check, and every entry that takes it asks there."""

import warnings

import numpy as np
import pytest

import fastbp as fb
from fastbp.validation import check_threads

REFUSED = [-2, 0, 2.5, "a", True, np.bool_(True), float("nan"), [2]]
# More rows than one thread is given, in a network large enough for two of them.
N = 5000


def parts():
    rng = np.random.default_rng(0)
    net = fb.Sequential([fb.Dense(64, "relu"), fb.Dense(3)], n_inputs=200)
    x = rng.normal(size=(N, 200)).astype(np.float32)
    return net, x, rng.normal(size=(N, 3)).astype(np.float32)


def fitted(solver="adam", n_threads=None):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _, x, _ = parts()
        return fb.MLPClassifier(
            (64,), solver=solver, max_iter=2, random_state=0, n_threads=n_threads, batch_size=100
        ).fit(x[:150], x[:150, 0] > 0)


def changed(estimator, n_threads):
    return estimator.set_params(n_threads=n_threads)


def loaded(estimator, n_threads, tmp_path):
    estimator.n_threads = n_threads
    fb.formats.save(estimator, tmp_path / "model")
    return fb.load(tmp_path / "model")


ENTRIES = {
    "predict": lambda net, x, y, v: net.predict(x, n_threads=v),
    "predict one row": lambda net, x, y, v: net.predict(x[:1], n_threads=v),
    "predict a list": lambda net, x, y, v: net.predict(x[:3].tolist(), n_threads=v),
    "evaluate": lambda net, x, y, v: net.evaluate(x, y, n_threads=v),
    "evaluate with metrics": lambda net, x, y, v: net.evaluate(x, y, metrics="mae", n_threads=v),
    "value_and_grad": lambda net, x, y, v: net.value_and_grad(x[:3], y[:3], n_threads=v),
    "fit": lambda net, x, y, v: net.fit(x[:64], y[:64], n_threads=v, verbose=0),
    "Trainer": lambda net, x, y, v: fb.Trainer(net, n_threads=v).step(x, y),
    "engine.predict": lambda net, x, y, v: net.engine.predict(x, n_threads=v),
    "engine.predict one row": lambda net, x, y, v: net.engine.predict(x[:1], n_threads=v),
    "fit of an estimator": lambda net, x, y, v: fitted(n_threads=v),
    "lbfgs": lambda net, x, y, v: fitted("lbfgs", v),
    "set_params, then predict": lambda net, x, y, v: changed(fitted(), v).predict(x),
    "set_params, then predict few rows": lambda net, x, y, v: changed(fitted(), v).predict(x[:2]),
}


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("value", REFUSED, ids=repr)
def test_what_is_no_number_of_threads_is_refused_in_words(entry, value):
    net, x, y = parts()
    before = net.engine.theta.copy()
    # scikit-learn's own words begin otherwise.
    with pytest.raises((TypeError, ValueError), match="n_threads"):
        ENTRIES[entry](net, x, y, value)
    assert np.array_equal(net.engine.theta, before)


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("value", [-1, np.int64(-1), np.int32(2), 10**9], ids=repr)
def test_minus_one_is_all_cores_and_numpy_integers_are_integers(entry, value, monkeypatch):
    monkeypatch.setattr("fastbp.engine.teams.default_threads", lambda: 2)
    net, x, y = parts()
    got = ENTRIES[entry](net, x, y, value)
    net, x, y = parts()
    want = ENTRIES[entry](net, x, y, 1)
    if isinstance(want, np.ndarray):
        assert np.array_equal(got, want)
    elif isinstance(want, float):
        assert got == want


def test_a_loaded_estimator_is_checked_like_a_made_one(tmp_path):
    _, x, _ = parts()
    want = fitted().predict(x)
    assert np.array_equal(loaded(fitted(), -1, tmp_path).predict(x), want)
    for value in (-2, 0, 2.5):
        with pytest.raises((TypeError, ValueError), match="n_threads"):
            loaded(fitted(), value, tmp_path).predict(x)


@pytest.mark.parametrize("value", REFUSED, ids=repr)
def test_the_message_says_what_came(value):
    with pytest.raises((TypeError, ValueError)) as caught:
        check_threads(value, "threads")
    assert str(caught.value).startswith("threads must be an integer >= 1, or None or -1 for all cores, got ")
    assert repr(value) in str(caught.value)
