"""save and load of a Sequential: every number and note comes back."""

import pickle

import numpy as np
import pytest

import fastbp as fb
from tests.formats.forging import network


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sequential_comes_back(tmp_path, rng, dtype):
    net = network(dtype)
    for b in net.biases:
        if b is not None:
            b[...] = rng.normal(size=b.shape)
    path = tmp_path / "m.safetensors"
    net.save(path)
    twin = fb.load(path)
    assert type(twin) is fb.Sequential
    assert twin.to_config() == net.to_config()
    assert twin.metadata == {"unit": "mm ü"}
    assert twin.dtype == np.dtype(dtype)
    for a, b in zip([*net.weights, *net.biases], [*twin.weights, *twin.biases], strict=True):
        assert (a is None and b is None) or (np.array_equal(a, b) and a.dtype == b.dtype)
    x = rng.normal(size=(9, 4)).astype(dtype)
    assert np.array_equal(net.predict(x), twin.predict(x))
    assert repr(twin.layers) == repr(net.layers)  # initializers too
    twin.weights[0][...] = 0.0  # the arrays are the model's own


def test_same_model_same_bytes(tmp_path):
    for name in ("a", "b"):
        network().save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    network(seed=1).save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() != (tmp_path / "b").read_bytes()


def test_a_diverged_model_comes_back(tmp_path):
    net = network()
    net.weights[0][0, 0] = np.nan
    net.weights[0][0, 1] = np.inf
    net.save(tmp_path / "m")
    assert np.array_equal(fb.load(tmp_path / "m").weights[0], net.weights[0], equal_nan=True)


def test_failed_save_keeps_the_old_file(tmp_path):
    net = network()
    net.save(tmp_path / "m")
    old = (tmp_path / "m").read_bytes()
    net.metadata["bad"] = 3
    with pytest.raises(TypeError, match="metadata must map strings to strings, got 'bad': 3"):
        net.save(tmp_path / "m")
    assert (tmp_path / "m").read_bytes() == old


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda net: net.layers.__setitem__(1, fb.Dense(5, "tanh", l2=0.1)), "describes another network"),
        (lambda net: net.layers.__setitem__(0, fb.Dropout(0.5)), "describes another network"),
        (lambda net: net.layers.__setitem__(1, fb.Dense(6)), r"weights of layer 0 must be float32 \(4, 6\)"),
        (lambda net: net.layers.append(fb.Dropout(0.5)), "comes last"),
        (lambda net: net.layers.clear(), "at least one Dense layer"),
        (lambda net: net.layers.append("relu"), "the model does not describe itself"),
        (lambda net: net.weights.__setitem__(0, np.zeros((4, 5))), "weights of layer 0 must be float32"),
        (lambda net: net.weights.__setitem__(0, np.zeros((4, 5), np.float32)), r"weights\[0\] was replaced"),
        (lambda net: net.biases.__setitem__(0, np.zeros(5, np.float32)), r"biases\[0\] was replaced"),
        (lambda net: net.biases.__setitem__(0, None), "does not agree with its use_bias"),
        (lambda net: net.weights.pop(), "3 layers, but 2 weights and 3 biases"),
        (lambda net: setattr(net, "n_inputs", 3), r"must be float32 \(3, 5\)"),
        (lambda net: setattr(net, "dtype", np.dtype("float64")), "must be float64"),
        (lambda net: setattr(net, "dtype", np.dtype("float16")), "config.dtype must be"),
        (lambda net: setattr(net, "_seed", "x"), "seed must be an integer"),
        (lambda net: setattr(net, "metadata", None), "does not describe itself"),
    ],
)
def test_what_load_would_refuse_is_not_saved(tmp_path, change, message):
    net = network()
    net.save(tmp_path / "m")
    old = (tmp_path / "m").read_bytes()
    change(net)
    with pytest.raises((TypeError, ValueError), match=message):
        net.save(tmp_path / "m")
    assert (tmp_path / "m").read_bytes() == old


def test_only_own_classes_are_saved(tmp_path):
    class Mine(fb.Sequential):
        """A subclass, which load could not make again."""

    for model in (Mine([fb.Dense(1)], n_inputs=1), object(), None):
        with pytest.raises(
            TypeError, match="model must be a fastbp Sequential, MLPClassifier or MLPRegressor"
        ):
            fb.formats.save(model, tmp_path / "m")


def test_loading_needs_no_pickle(tmp_path, monkeypatch):
    network().save(tmp_path / "m")
    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, None)
    assert fb.load(tmp_path / "m").n_outputs == 2


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_library_of_the_format_reads_the_same_numbers(tmp_path, dtype):
    from safetensors.numpy import load_file

    net = network(dtype)
    net.save(tmp_path / "m.safetensors")
    arrays = load_file(tmp_path / "m.safetensors")
    expected = {f"weights.{i}": W for i, W in enumerate(net.weights)}
    expected |= {f"biases.{i}": b for i, b in enumerate(net.biases) if b is not None}
    assert arrays.keys() == expected.keys()
    for name, array in expected.items():
        assert arrays[name].dtype == array.dtype
        assert np.array_equal(arrays[name], array)
