"""Initializers: the distribution of every one, its bounds and moments."""

import numpy as np
import pytest

from fastbp import initializers
from fastbp.layers import Dense
from fastbp.sequential import Sequential

FAN_IN, FAN_OUT = 300, 200
EXPECTED = {  # standard deviation, largest absolute value (None: unbounded)
    "glorot_uniform": (np.sqrt(2 / (FAN_IN + FAN_OUT)), np.sqrt(6 / (FAN_IN + FAN_OUT))),
    "glorot_normal": (np.sqrt(2 / (FAN_IN + FAN_OUT)), None),
    "he_uniform": (np.sqrt(2 / FAN_IN), np.sqrt(6 / FAN_IN)),
    "he_normal": (np.sqrt(2 / FAN_IN), None),
    "lecun_normal": (np.sqrt(1 / FAN_IN), None),
    "zeros": (0.0, 0.0),
    "normal": (0.05, None),
    "uniform": (0.05 / np.sqrt(3), 0.05),
}


def test_every_initializer_is_tested():
    assert set(EXPECTED) == set(initializers.INITIALIZER_NAMES)


@pytest.mark.parametrize("name", EXPECTED)
def test_moments(name):
    deviation, bound = EXPECTED[name]
    W = initializers.get(name)(FAN_IN, FAN_OUT, np.random.default_rng(0))
    assert W.shape == (FAN_IN, FAN_OUT)
    assert W.dtype == np.float64
    assert abs(W.mean()) <= 5 * deviation / np.sqrt(W.size)
    assert W.std() == pytest.approx(deviation, rel=0.02)
    if bound is not None:
        assert np.abs(W).max() <= bound
        assert np.abs(W).max() >= 0.99 * bound


@pytest.mark.parametrize("name", ["he_uniform", "he_normal", "glorot_uniform", "glorot_normal"])
def test_moments_are_torchs(name):
    torch = pytest.importorskip("torch")
    init = torch.nn.init
    fill = {
        "he_uniform": lambda w: init.kaiming_uniform_(w, nonlinearity="relu"),
        "he_normal": lambda w: init.kaiming_normal_(w, nonlinearity="relu"),
        "glorot_uniform": init.xavier_uniform_,
        "glorot_normal": init.xavier_normal_,
    }[name]
    torch.manual_seed(0)
    W = initializers.get(name)(FAN_IN, FAN_OUT, np.random.default_rng(0))
    assert W.std() == pytest.approx(fill(torch.empty(FAN_OUT, FAN_IN)).std().item(), rel=0.02)


def test_arguments():
    assert initializers.get("normal(0.5)") == initializers.normal(0.5)
    assert initializers.normal(0.5)(FAN_IN, FAN_OUT, np.random.default_rng(0)).std() == pytest.approx(
        0.5, rel=0.02
    )
    W = initializers.uniform(2.0, 3.0)(FAN_IN, FAN_OUT, np.random.default_rng(0))
    assert 2 <= W.min() < W.max() < 3
    assert Dense(3, initializer=initializers.uniform(-1, 1)).initializer == "uniform(-1.0, 1.0)"


def test_seeds_and_dtypes():
    def weights(seed, dtype="float32"):
        return Sequential([Dense(4), Dense(3)], 5, dtype=dtype, seed=seed).weights

    for a, b, c in zip(weights(1), weights(1), weights(2), strict=True):
        np.testing.assert_array_equal(a, b)
        assert not np.array_equal(a, c)
    for a, b in zip(weights(1), weights(1, "float64"), strict=True):
        np.testing.assert_array_equal(a, b.astype("float32"))
    assert not np.array_equal(weights(None)[0], weights(None)[0])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("glorot", "did you mean 'glorot_"),
        ("normal(1, 2)", "normal takes 1 arguments"),
        ("zeros(1)", "zeros takes 0 arguments"),
        ("normal(-1)", "std must be >= 0"),
        ("uniform(2, 1)", "a must be <= b"),
        ("normal(x)", "must be numbers"),
        ("normal(", "must read like"),
    ],
)
def test_errors(value, message):
    with pytest.raises(ValueError, match=message):
        Dense(1, initializer=value)


def test_an_array_is_no_initializer():
    with pytest.raises(TypeError, match="set_weights"):
        Dense(1, initializer=np.zeros((2, 1)))
