"""Layers on weights without padding: against the specification, and bit for bit as the engine computes them."""

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

from fastbp import reference
from fastbp.engine import Engine, plain
from fastbp.engine.rows import Rows
from fastbp.layers import Layer
from tests.kernels.oracles import INTERPRETED, MOST_ROWS, Net, architectures, assert_near, random_net, rows

seeds = st.integers(0, 2**32 - 1)
kinds = st.sampled_from([np.dtype(np.float32), np.dtype(np.float64)])


def arrays_of(engine):
    """Return the parameters of an engine as a user keeps them: plain arrays of the layers' sizes."""
    return [np.ascontiguousarray(w) for w in engine.weights], [b.copy() for b in engine.biases]


def draw_rows(rng, n, columns, dtype, sparse):
    x = rng.normal(size=(n, columns)).astype(dtype)
    if not sparse:
        return x
    x[rng.random(x.shape) < 0.6] = 0.0
    return scipy.sparse.csr_matrix(x)


def check(engine: Engine, net: Net, x, dtype):
    layout = engine.layout
    weights, biases = arrays_of(engine)
    assert plain.fits(layout, weights, biases)
    out = plain.predict(layout, weights, biases, Rows(layout, x))
    assert out.flags.c_contiguous
    if INTERPRETED and scipy.sparse.issparse(x):  # NumPy sums narrow layers in the dtype, Numba in float64
        assert_near(out, engine.predict(x), dtype)
    else:
        assert np.array_equal(out, engine.predict(x))
    dense = x.toarray() if scipy.sparse.issparse(x) else x
    expected = np.array([reference.forward(net.layers, row)[-1][1] for row in rows(dense)])
    assert_near(out, expected, dtype)


@given(
    shape=architectures(use_bias=True),
    n=st.integers(2, max(2, MOST_ROWS)),
    sparse=st.booleans(),
    dtype=kinds,
    seed=seeds,
)
def test_predictions(shape, n, sparse, dtype, seed):
    rng = np.random.default_rng(seed)
    net = random_net(rng, *shape, dtype)
    check(net.engine, net, draw_rows(rng, n, shape[0], dtype, sparse), dtype)


WIDE = [
    (7, [Layer(19, "relu"), Layer(1)]),
    (33, [Layer(1, "tanh"), Layer(1, "sigmoid")]),
    (4, [Layer(16, "softplus"), Layer(17, "elu"), Layer(2)]),
    (1, [Layer(1)]),
    (5, [Layer(64, "mish"), Layer(1, "exp")]),
]


@pytest.mark.parametrize(("n_inputs", "layers"), WIDE)
@pytest.mark.parametrize("sparse", [False, True])
def test_edges(n_inputs, layers, sparse, dtype, rng):
    """One output, one input, whole vectors and one more; a single row alone and among others."""
    net = random_net(rng, n_inputs, layers, dtype)
    x = draw_rows(rng, 3, n_inputs, dtype, sparse)
    check(net.engine, net, x, dtype)
    layout, (weights, biases) = net.engine.layout, arrays_of(net.engine)
    together = plain.predict(layout, weights, biases, Rows(layout, x))
    for k in range(3):
        alone = plain.predict(layout, weights, biases, Rows(layout, x[k : k + 1]))
        assert np.array_equal(alone[0], together[k])


def test_nothing_is_written_or_copied(dtype, rng):
    """Memory that may not be written is read as it is, and what is not a number shows."""
    net = random_net(rng, 6, [Layer(5, "relu"), Layer(3)], dtype)
    weights, biases = arrays_of(net.engine)
    for array in (*weights, *biases):
        array.flags.writeable = False
    x = rng.normal(size=(2, 6)).astype(dtype)
    x[1, 2] = np.nan
    out = plain.predict(net.engine.layout, weights, biases, Rows(net.engine.layout, x))
    assert np.isfinite(out[0]).all()
    assert np.isnan(out[1]).all()


@pytest.mark.parametrize("what", ["shape", "dtype", "order", "bias", "number", "distance"])
def test_other_arrays_do_not_fit(what, rng):
    net = random_net(rng, 6, [Layer(5, "relu"), Layer(3)], np.dtype(np.float64))
    weights, biases = arrays_of(net.engine)
    layout = net.engine.layout
    if what == "shape":
        weights[0] = weights[0].T.copy()
    elif what == "dtype":
        weights[1] = weights[1].astype(np.float32)
    elif what == "order":
        weights[0] = np.asfortranarray(weights[0])
    elif what == "bias":
        biases[0] = biases[0][:-1]
    elif what == "number":
        weights, biases = weights[:1], biases[:1]
    else:
        biases[1] = np.repeat(biases[1], 2)[::2]
    assert not plain.fits(layout, weights, biases)


def test_what_pays(dtype, rng):
    """A few rows, or many with few entries; not many rows."""
    layout = random_net(rng, 400, [Layer(30, "relu"), Layer(3)], dtype).engine.layout
    x = rng.normal(size=(50, 400)).astype(dtype)
    assert plain.pays(layout, Rows(layout, x[:1]))
    assert not plain.pays(layout, Rows(layout, x))
    few = scipy.sparse.csr_matrix(np.where(np.arange(400) < 2, x, 0))
    assert plain.pays(layout, Rows(layout, few))
    assert not plain.pays(layout, Rows(layout, scipy.sparse.csr_matrix(x)))


@pytest.mark.skipif(INTERPRETED, reason="a large network takes minutes")
def test_a_large_network(dtype, rng):
    net = random_net(rng, 300, [Layer(257, "tanh"), Layer(128, "relu"), Layer(10)], dtype)
    x = rng.normal(size=(2, 300)).astype(dtype)
    layout, (weights, biases) = net.engine.layout, arrays_of(net.engine)
    out = plain.predict(layout, weights, biases, Rows(layout, x))
    assert np.array_equal(out, net.engine.predict(x))
