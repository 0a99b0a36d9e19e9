"""The door to the kernels: what is refused there, in which words, and what an engine keeps."""

import pickle

import numpy as np
import pytest
import scipy.sparse

import fastbp
from fastbp.engine import Engine
from fastbp.engine.session import Session
from fastbp.layers import ACTIVATION_NAMES, Layer
from fastbp.objectives import Objective
from fastbp.optimizers import Rule
from tests.kernels.oracles import random_net


@pytest.fixture
def net(rng):
    return random_net(rng, 3, [Layer(4, "tanh"), Layer(2, use_bias=False)], np.dtype(np.float64)).engine


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((3, [Layer(2)], "float16"), TypeError, "dtype must be float32 or float64, got float16"),
        ((3, [Layer(2)], "int64"), TypeError, "dtype must be float32 or float64, got int64"),
        ((0, [Layer(2)], "float32"), ValueError, "n_inputs must be at least 1, got 0"),
        ((3, [], "float32"), ValueError, "layers must hold at least one layer"),
        ((3, [Layer(2), Layer(0)], "float32"), ValueError, "layer 1 must have at least 1 unit, got 0"),
        ((3, [Layer(2, "sine")], "float32"), ValueError, "layer 0: unknown activation 'sine'; known are elu"),
        (
            (3, [Layer(2, dropout=1.0)], "float32"),
            ValueError,
            r"dropout of layer 0 must be in \[0, 1\), got 1.0",
        ),
        (
            (3, [Layer(2, dropout=-0.1)], "float32"),
            ValueError,
            r"dropout of layer 0 must be in \[0, 1\), got -0.1",
        ),
    ],
)
def test_networks_that_cannot_be(arguments, error, message):
    with pytest.raises(error, match=message):
        Engine(*arguments)


def test_a_rate_of_the_inputs():
    with pytest.raises(ValueError, match=r"input_dropout must be in \[0, 1\), got nan"):
        Engine(3, [Layer(2)], "float32", input_dropout=float("nan"))


@pytest.mark.parametrize(
    ("weights", "biases", "message"),
    [
        ([np.zeros((3, 4))], [np.zeros(4)], "expected 2 weights and biases, one per layer, got 1 and 1"),
        (
            [np.zeros((4, 3)), np.zeros((4, 2))],
            [np.zeros(4), None],
            r"weights of layer 0 must have shape \(3, 4\)",
        ),
        (
            [np.zeros((3, 4)), np.zeros((4, 2))],
            [np.zeros(3), None],
            r"biases of layer 0 must have shape \(4,\)",
        ),
        ([np.zeros((3, 4)), np.zeros((4, 2))], [None, None], "layer 0 has a bias, got None"),
        ([np.zeros((3, 4)), np.zeros((4, 2))], [np.zeros(4), np.zeros(2)], "layer 1 has no bias, got"),
    ],
)
def test_parameters_that_do_not_fit_change_nothing(weights, biases, message, net):
    before = net.theta.copy()
    with pytest.raises(ValueError, match=message):
        net.set_parameters(weights, biases)
    assert np.array_equal(net.theta, before)


def fortran(n, i):
    return np.asfortranarray(np.zeros((n, i)))


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        ([[0.0, 0.0, 0.0]], TypeError, "x must be a NumPy array or a SciPy CSR matrix, got list"),
        (np.zeros((2, 3), np.float32), TypeError, "x must be float64 as the network is, got float32"),
        (np.zeros((2, 4)), ValueError, r"x must have shape \(n, 3\), got \(2, 4\)"),
        (np.zeros(3), ValueError, r"x must have shape \(n, 3\), got \(3,\)"),
        (fortran(2, 3), ValueError, "x must be C-contiguous"),
        (np.zeros((4, 3))[::2], ValueError, "x must be C-contiguous"),
        (
            scipy.sparse.csc_matrix(np.eye(3)),
            TypeError,
            "x must be a NumPy array or a SciPy CSR matrix, got csc_matrix",
        ),
        (scipy.sparse.csr_matrix(np.eye(4)), ValueError, r"x must have shape \(n, 3\), got \(4, 4\)"),
        (
            scipy.sparse.csr_matrix(np.eye(3, dtype="f")),
            TypeError,
            "x must be float64 as the network is, got float32",
        ),
    ],
    ids=["list", "dtype", "columns", "vector", "Fortran", "strided", "CSC", "sparse columns", "sparse dtype"],
)
def test_rows_that_do_not_fit(x, error, message, net):
    session = Session(net, Objective(), Rule(), batch_size=2)
    for call in (
        lambda: net.predict(x),
        lambda: net.loss(x, np.zeros((2, 2)), Objective()),
        lambda: net.value_and_grad(x, np.zeros((2, 2)), Objective()),
        lambda: session.run(x, np.zeros((2, 2)), np.arange(2), 0.1),
        lambda: session.train_batch(x, np.zeros((2, 2)), 0.1),
    ):
        with pytest.raises(error, match=message):
            call()


def broken_csr(**parts):
    x = scipy.sparse.csr_matrix(np.eye(3))
    x.has_canonical_format = True  # or SciPy itself would look, and read outside
    for name, value in parts.items():
        setattr(x, name, np.array(value, np.int32))
    x.has_canonical_format = True
    return x


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"indices": [0, 1, 3]}, r"x holds column indices outside 0..2"),
        ({"indices": [0, 1, -1]}, r"x holds column indices outside 0..2"),
        ({"indptr": [0, 1, 2, 9]}, "x is not a valid CSR matrix: indptr does not fit indices"),
        ({"indptr": [0, 2, 1, 3]}, "x is not a valid CSR matrix: indptr does not fit indices"),
        ({"indptr": [-4, 1, 2, 3]}, "x is not a valid CSR matrix: indptr does not fit indices"),
    ],
    ids=["column", "negative column", "past the end", "not in order", "before the start"],
)
def test_a_broken_sparse_matrix_reaches_no_kernel(parts, message, net):
    """Kernels trust the index arrays: one that points outside would read there."""
    with pytest.raises(ValueError, match=message):
        net.predict(broken_csr(**parts))


@pytest.mark.parametrize(
    ("y", "name", "error", "message"),
    [
        (np.zeros((4, 3)), "mse", ValueError, r"y must have shape \(4, 2\), got \(4, 3\)"),
        (np.zeros(4), "mse", ValueError, r"y must have shape \(4, 2\), got \(4,\)"),
        (np.zeros((4, 2), "f"), "mse", TypeError, "y must be float64 as the network is, got float32"),
        (
            np.array([0, 1, 0]),
            "cross_entropy",
            ValueError,
            r"y must have one class code per row, 4, got shape \(3,\)",
        ),
        (
            np.array([0, 1, 0, 2]),
            "cross_entropy",
            ValueError,
            "y must hold class codes from 0 to 1, got 0 to 2",
        ),
        (
            np.array([0, -1, 0, 1]),
            "cross_entropy",
            ValueError,
            "y must hold class codes from 0 to 1, got -1 to 1",
        ),
    ],
)
def test_targets_that_do_not_fit(y, name, error, message, net):
    with pytest.raises(error, match=message):
        net.loss(np.zeros((4, 3)), y, Objective(name))


@pytest.mark.parametrize("n", [1, 2])
def test_outputs_are_the_same_with_out(n, dtype, rng):
    """One row has a way of its own, whose sums are in another order than those of many rows."""
    for seed in range(10):
        net = fastbp.Sequential([fastbp.Dense(5), fastbp.Dense(2)], n_inputs=1, dtype=dtype, seed=seed).engine
        x = rng.normal(size=(n, 1)).astype(dtype)
        out = np.empty((n, 2), dtype)
        assert net.predict(x, out=out) is out
        assert np.array_equal(out, net.predict(x))
        out.flags.writeable = False
        with pytest.raises(ValueError, match="to be written to"):
            net.predict(x, out=out)


def test_other_arguments_that_do_not_fit(net):
    x, y = np.zeros((4, 3)), np.zeros((4, 2))
    with pytest.raises(ValueError, match="unknown loss 'l7'; known are binary_cross_entropy"):
        net.loss(x, y, Objective("l7"))
    with pytest.raises(ValueError, match=r"sample_weight must have shape \(4,\), got \(3,\)"):
        net.loss(x, y, Objective(), sample_weight=np.ones(3))
    for out in (np.zeros((4, 3)), np.zeros((4, 2), "f"), np.zeros((4, 4))[:, ::2]):
        with pytest.raises(ValueError, match=r"out must be a C-contiguous float64 array of shape \(4, 2\)"):
            net.predict(x, out=out)
    with pytest.raises(ValueError, match="inputs=True needs a dense x"):
        net.value_and_grad(scipy.sparse.csr_matrix(x), y, Objective(), inputs=True)
    session = Session(net, Objective(), Rule(), batch_size=2)
    for order in (np.array([0, 4]), np.array([-1, 0]), np.zeros((2, 2), int)):
        with pytest.raises(
            ValueError, match="order must be one-dimensional and hold row numbers from 0 to 3"
        ):
            session.run(x, y, order, 0.1)


def test_copies_and_pickles(net, rng):
    """A copy has memory of its own; what is pickled is the parameters, not the workspaces."""
    x = rng.normal(size=(5, 3))
    want = net.predict(x)
    for twin in (net.copy(), pickle.loads(pickle.dumps(net))):
        assert np.array_equal(twin.predict(x), want)
        assert [layer.activation for layer in twin.layers] == ["tanh", "identity"]
        assert twin.biases[1] is None
        twin.theta[...] = 0.0
        assert np.array_equal(net.predict(x), want)
    assert len(pickle.dumps(net)) < 3000


def test_what_an_engine_says_of_itself(net):
    assert (net.n_inputs, net.n_outputs, net.n_parameters) == (3, 2, 3 * 4 + 4 + 4 * 2)
    assert net.theta.ndim == 1
    assert net.theta.size >= net.n_parameters
    assert [w.shape for w in net.weights] == [(3, 4), (4, 2)]
    assert net.flops_per_row > 0
    assert list(ACTIVATION_NAMES) == sorted(ACTIVATION_NAMES)


@pytest.mark.parametrize("kind", [np.matrix, np.memmap])
def test_kinds_of_arrays(kind, net, rng, tmp_path):
    """Subclasses of ndarray are read as the memory they are."""
    x = rng.normal(size=(5, 3))
    if kind is np.memmap:
        np.save(tmp_path / "x.npy", x)
        other = np.load(tmp_path / "x.npy", mmap_mode="r")
    else:
        other = x.view(np.matrix)
    assert np.array_equal(net.predict(other), net.predict(x))


def test_rows_at_odd_addresses(dtype, rng):
    """No alignment is asked of the caller beyond what NumPy's flag says."""
    net = random_net(rng, 3, [Layer(4, "tanh"), Layer(2)], dtype)
    x = rng.normal(size=(6, 3)).astype(dtype)
    raw = np.zeros(x.nbytes + 64, np.uint8)
    for shift in (dtype.itemsize, 3 * dtype.itemsize):
        moved = raw[shift : shift + x.nbytes].view(dtype).reshape(x.shape)
        moved[...] = x
        assert np.array_equal(net.engine.predict(moved), net.engine.predict(x))
    crooked = raw[1 : 1 + x.nbytes].view(dtype).reshape(x.shape)
    crooked[...] = x
    try:
        assert np.array_equal(net.engine.predict(crooked), net.engine.predict(x))
    except (TypeError, ValueError) as error:
        assert "align" in str(error)


def test_an_overflow_stays_in_its_units(dtype):
    """Sums that overflow to -inf are 0 after relu: what infinities make of the rows' padding reaches no output."""
    engine = Engine(2, [Layer(50, "relu"), Layer(50, "relu"), Layer(1)], dtype)
    shapes = [w.shape for w in engine.weights]
    engine.set_parameters(
        [-np.ones(shapes[0]), -np.ones(shapes[1]), np.ones(shapes[2])], [np.zeros(50), np.zeros(50), [0.5]]
    )
    x = np.full((9, 2), -0.9 * np.finfo(dtype).max, dtype)
    assert np.array_equal(engine.predict(x), np.full((9, 1), 0.5, dtype))
    assert np.array_equal(engine.predict(x[:1]), np.full((1, 1), 0.5, dtype))
