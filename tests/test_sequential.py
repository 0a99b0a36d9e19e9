"""`Sequential`: construction, numbers in and out, copies, configuration, errors that name the layer."""

import copy
import io
import json
import pickle

import numpy as np
import pytest

from fastbp.initializers import INITIALIZER_NAMES
from fastbp.layers import ACTIVATION_NAMES, Dense, Dropout, layer_from_config
from fastbp.sequential import Sequential


def make(dtype="float32", seed=0):
    layers = [
        Dropout(0.1),
        Dense(5, "relu", l1=1e-3),
        Dropout(0.2),
        Dropout(0.5),
        Dense(4, "tanh", use_bias=False, l2=1e-3, initializer="he_normal"),
        Dense(2),
    ]
    return Sequential(layers, 3, dtype=dtype, seed=seed)


def assert_same(a, b):
    for mine, theirs in zip((*a.weights, *a.biases), (*b.weights, *b.biases), strict=True):
        assert (mine is None) == (theirs is None)
        if mine is not None:
            assert mine.dtype == theirs.dtype
            np.testing.assert_array_equal(mine, theirs)


def test_shapes_and_counts():
    net = make()
    assert [W.shape for W in net.weights] == [(3, 5), (5, 4), (4, 2)]
    assert [None if b is None else b.shape for b in net.biases] == [(5,), None, (2,)]
    assert net.n_parameters == 3 * 5 + 5 + 5 * 4 + 4 * 2 + 2
    assert (net.n_inputs, net.n_outputs, net.dtype) == (3, 2, np.dtype("float32"))
    assert all(not b.any() for b in net.biases if b is not None)


def test_dropouts_are_folded():
    engine = make().engine
    assert engine.input_dropout == 0.1
    assert [layer.dropout for layer in engine.layers] == [pytest.approx(1 - 0.8 * 0.5), 0.0, 0.0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ACTIVATION_NAMES)
def test_predict_by_hand(activation, dtype):
    net = Sequential([Dense(4, activation), Dense(2)], 3, dtype=dtype, seed=3)
    net.biases[0][...] = [0.1, -0.2, 0.3, -0.4]
    x = np.random.default_rng(0).normal(size=(9, 3)).astype(dtype)
    from fastbp.reference import ACTIVATIONS

    f = np.vectorize(ACTIVATIONS[activation][0])
    expected = f(x.astype("float64") @ net.weights[0] + net.biases[0]) @ net.weights[1] + net.biases[1]
    out = net.predict(x)
    assert out.dtype == dtype
    np.testing.assert_allclose(
        out, expected, rtol=1e-5 if dtype == "float32" else 1e-12, atol=1e-6 if dtype == "float32" else 1e-13
    )


@pytest.mark.parametrize("initializer", INITIALIZER_NAMES)
def test_every_initializer_in_a_model(initializer):
    net = Sequential([Dense(4, initializer=initializer)], 3)
    assert np.isfinite(net.weights[0]).all()


def test_predict_of_no_rows_and_of_many():
    net = make()
    assert net.predict(np.zeros((0, 3), "float32")).shape == (0, 2)
    assert net.predict(np.zeros((0, 3))).shape == (0, 2)
    x = np.random.default_rng(0).normal(size=(3000, 3)).astype("float32")
    whole = net.predict(x)
    np.testing.assert_allclose(
        whole, np.concatenate([net.predict(row.reshape(1, -1)) for row in x]), rtol=1e-4, atol=1e-6
    )
    np.testing.assert_array_equal(whole, net.predict(x, n_threads=2))


def test_weights_are_live():
    net = make()
    net.weights[2][...] = 0
    net.biases[2][...] = 7
    np.testing.assert_array_equal(net.predict([[1, 2, 3]]), [[7, 7]])


def test_set_weights():
    net, other = make(seed=0), make(seed=1)
    weights = [np.array(W) for W in other.weights]
    net.set_weights([W.tolist() for W in weights], [None if b is None else b + 1 for b in other.biases])
    np.testing.assert_array_equal(net.biases[0], np.ones(5))
    for mine, theirs in zip(net.weights, weights, strict=True):
        np.testing.assert_array_equal(mine, theirs)
        assert not np.shares_memory(mine, theirs)
    net.set_weights(weights)
    np.testing.assert_array_equal(net.biases[0], np.ones(5))


def test_set_weights_changes_all_or_nothing():
    net = make()
    before = net.copy()
    W, b = [np.array(w) for w in net.weights], [None if v is None else np.array(v) for v in net.biases]
    cases = [
        (W[:2], b, r"weights must be 3 arrays, one per Dense layer, got 2"),
        (W, b[:2], r"biases must be 3 arrays"),
        (
            [W[0] + 1, W[1].T, W[2]],
            b,
            r"layer 1 \(Dense\(4, 'tanh'\)\): weights must have shape \(5, 4\), got \(4, 5\)",
        ),
        (W, [b[0], np.zeros(4), b[2]], r"layer 1 .*: biases must be None \(use_bias=False\), got an array"),
        (W, [None, None, b[2]], r"layer 0 .*: biases must be an array of shape \(5,\), got None"),
        (
            W,
            [b[0], None, np.zeros(3)],
            r"layer 2 \(Dense\(2, 'identity'\)\): biases must have shape \(2,\), got \(3,\)",
        ),
        ([W[0] * np.nan, W[1], W[2]], b, r"layer 0 .*: weights holds nan in row 0, column 0"),
    ]
    for weights, biases, message in cases:
        with pytest.raises(ValueError, match=message):
            net.set_weights(weights, biases)
        assert_same(net, before)


def test_copies_are_independent():
    net = make()
    net.metadata["unit"] = "mm"
    for twin in (copy.copy(net), copy.deepcopy(net), net.copy(), pickle.loads(pickle.dumps(net))):
        assert_same(net, twin)
        assert twin.metadata == {"unit": "mm"}
        assert twin.layers == net.layers
        x = np.ones((2, 3), "float32")
        np.testing.assert_array_equal(twin.predict(x), net.predict(x))
        twin.weights[0][...] = 0
        twin.metadata["unit"] = "m"
        assert net.weights[0].any()
        assert net.metadata == {"unit": "mm"}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_config_round_trip(dtype):
    net = make(dtype, seed=5)
    net.metadata["a"] = "b"
    config = json.loads(json.dumps(net.to_config()))
    twin = Sequential.from_config(config)
    assert twin.to_config() == net.to_config()
    assert_same(net, twin)  # same seed, same start
    assert repr(twin) == repr(net)
    assert Sequential([Dense(1)], 1, seed=np.random.default_rng(0)).to_config()["seed"] is None
    with pytest.raises(ValueError, match="config is not a Sequential's"):
        Sequential.from_config({"class": "Tree"})
    with pytest.raises(ValueError, match="layer class must be"):
        layer_from_config({"class": "Conv"})


def test_save_and_load(tmp_path):
    from fastbp.formats import load

    net = make()
    net.metadata["a"] = "b"
    net.save(tmp_path / "m.safetensors")
    twin = load(tmp_path / "m.safetensors")
    assert_same(net, twin)
    assert twin.metadata == net.metadata


def test_summary(capsys):
    net = make()
    net.summary()
    printed = capsys.readouterr().out
    assert "Dropout 0.2" in printed
    assert "Dense tanh            4          20" in printed
    assert printed.endswith("float32: 50 parameters, 200 bytes\n")
    file = io.StringIO()
    net.summary(file)
    assert file.getvalue() == printed == f"{net}\n"


@pytest.mark.parametrize(
    ("make_it", "error", "message"),
    [
        (lambda: Dense(0), ValueError, "Dense: units must be an integer >= 1, got 0"),
        (lambda: Dense(2.0), TypeError, "Dense: units"),
        (lambda: Dense(2, "rleu"), ValueError, "Dense: activation must be one of .*did you mean 'relu'"),
        (lambda: Dense(2, "softmax"), ValueError, "loss='cross_entropy'"),
        (lambda: Dense(2, use_bias=1), TypeError, "use_bias"),
        (lambda: Dense(2, l2=-1.0), ValueError, "Dense: l2"),
        (lambda: Dense(2, l1="a"), TypeError, "Dense: l1"),
        (lambda: Dropout(1.0), ValueError, r"Dropout: rate must be a finite number in \[0, 1\)"),
        (lambda: Sequential([], 2), ValueError, "at least one Dense"),
        (lambda: Sequential([Dropout(0.5)], 2), ValueError, "at least one Dense"),
        (lambda: Sequential([Dense(2), Dropout(0.5)], 2), ValueError, r"layer 1 \(Dropout\) comes last"),
        (
            lambda: Sequential([Dense(2), "relu"], 2),
            TypeError,
            "layer 1 must be a Dense or a Dropout, got 'relu'",
        ),
        (lambda: Sequential(Dense(2), 2), TypeError, "layers must be a list"),
        (lambda: Sequential([Dense(2)], 0), ValueError, "n_inputs must be an integer >= 1"),
        (
            lambda: Sequential([Dense(2)], 2, dtype="float16"),
            TypeError,
            "dtype must be 'float32' or 'float64'",
        ),
        (lambda: Sequential([Dense(2)], 2, seed=-1), ValueError, "seed"),
    ],
)
def test_construction_errors(make_it, error, message):
    with pytest.raises(error, match=message):
        make_it()


def test_linear_is_identity():
    assert Dense(2, "linear") == Dense(2)


def test_layers_may_be_shared():
    layer = Dense(3, "tanh")
    net = Sequential([layer, layer], 3)
    assert not np.array_equal(net.weights[0], net.weights[1])


def test_subclasses_survive_copies():
    class Named(Sequential):
        name = "x"

    net = Named([Dense(1)], 1)
    net.name = "y"
    assert copy.deepcopy(net).name == net.copy().name == "y"
    assert isinstance(copy.copy(net), Named)
    assert isinstance(Named.from_config(net.to_config()), Named)


def test_evaluate_with_metrics():
    pytest.importorskip("sklearn")
    net = Sequential([Dense(3)], 3, seed=1)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(50, 3)), rng.integers(0, 3, 50)
    result = net.evaluate(x, y, loss="cross_entropy", metrics=["accuracy", "neg_log_loss"])
    assert result["accuracy"] == np.mean(net.predict(x).argmax(1) == y)
    assert result["neg_log_loss"] == pytest.approx(-result["loss"], rel=1e-5)
    assert net.evaluate(x, y, loss="cross_entropy") == result["loss"]


def test_compiled_shares_the_parameters():
    net = Sequential([Dense(4, "tanh"), Dense(2)], 3, seed=1)
    kernels = pytest.importorskip("fastbp.kernels")
    state = net.compiled()
    out = np.empty(2, "float32")
    x = np.array([1, 2, 3], "float32")
    kernels.predict_one(state, x, out)
    np.testing.assert_allclose(out, net.predict(x.reshape(1, -1))[0], rtol=1e-5)
    net.weights[1][...] = 0
    kernels.predict_one(state, x, out)
    np.testing.assert_array_equal(out, [0, 0])
