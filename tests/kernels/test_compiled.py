"""The functions for a user's own compiled code, one row at a time: against the engine and the specification."""

import threading

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastbp import kernels, reference
from fastbp.kernels.compiled import predict_row
from fastbp.kernels.machine import peak
from fastbp.layers import Layer
from fastbp.objectives import OBJECTIVE_NAMES, Objective
from tests.entries import targets
from tests.kernels.oracles import (
    INTERPRETED,
    MOST_ROWS,
    architectures,
    assert_near,
    assert_same_parameters,
    compiled,
    random_net,
    rows,
)

seeds = st.integers(0, 2**32 - 1)
kinds = st.sampled_from([np.dtype(np.float32), np.dtype(np.float64)])


@given(shape=architectures(), n=st.integers(1, MOST_ROWS), dtype=kinds, seed=seeds)
def test_predictions(shape, n, dtype, seed):
    rng = np.random.default_rng(seed)
    net = random_net(rng, *shape, dtype)
    x = rng.normal(size=(n, shape[0])).astype(dtype)
    state = net.engine.compiled()
    expected = np.array([reference.forward(net.layers, row)[-1][1] for row in rows(x)])
    out = np.zeros((n, net.engine.n_outputs), dtype)
    kernels.predict(state, x, out)
    assert_near(out, expected, dtype)
    one = np.zeros(net.engine.n_outputs, dtype)
    for k in range(n):
        kernels.predict_one(state, x[k], one)
        assert np.array_equal(one, out[k])
    row = np.zeros((1, net.engine.n_outputs), dtype)
    predict_row(state.plan, state.params, x[:1].copy(), row)
    assert np.array_equal(row[0], out[0])


@given(shape=architectures(l1=0.0, l2=0.0), name=st.sampled_from(OBJECTIVE_NAMES), dtype=kinds, seed=seeds)
def test_value_and_gradient(shape, name, dtype, seed):
    rng = np.random.default_rng(seed)
    net = random_net(rng, *shape, dtype)
    x = rng.normal(size=(1, shape[0])).astype(dtype)
    y = targets(name, rng, 1, net.engine.n_outputs, dtype)
    state = net.engine.compiled(Objective(name))
    grad = np.full_like(net.engine.theta, 7.0)
    value = kernels.value_and_grad_one(state, x[0], y[0], grad)
    expected, slopes, _ = reference.value_and_grad(net.layers, rows(x), rows(y), name)
    assert_near(value, expected, dtype)
    weights, biases = net.engine.views(grad)
    for w, b, (dW, db) in zip(weights, biases, slopes, strict=True):
        assert_near(w, dW, dtype, 2.5)
        if b is not None:
            assert_near(b, db, dtype, 2.5)
    for view in [*weights, *(b for b in biases if b is not None)]:
        view[...] = 0.0
    assert np.all((grad == 0.0) | (grad == 7.0)), "the padding of a gradient is 0, or was not touched"


@given(shape=architectures(l1=0.0, l2=0.0, depth=3), dtype=kinds, seed=seeds)
def test_training(shape, dtype, seed):
    """theta - lr gradient of the row, seen by the network, which shares its memory."""
    rng = np.random.default_rng(seed)
    net = random_net(rng, *shape, dtype)
    x = rng.normal(size=(3, shape[0])).astype(dtype)
    y = rng.normal(size=(3, net.engine.n_outputs)).astype(dtype)
    state = net.engine.compiled()
    for k in range(3):
        expected, slopes, _ = reference.value_and_grad(
            net.layers, rows(x[k : k + 1]), rows(y[k : k + 1]), "mse"
        )
        got = kernels.train_one(state, x[k], y[k], 0.01)
        assert_near(got, expected, dtype, 3)
        net.layers[:] = [
            reference.updated(layer, dW, db, 0.01) for layer, (dW, db) in zip(net.layers, slopes, strict=True)
        ]
    for w, b, layer in zip(net.engine.weights, net.engine.biases, net.layers, strict=True):
        assert_near(w, layer.W, dtype, 3)
        if b is not None:
            assert_near(b, layer.b, dtype, 3)


@given(shape=architectures(l1=0.0, l2=0.0), dtype=kinds, seed=seeds)
def test_pullback(shape, dtype, seed):
    """From any dE/d out: every gradient, that of the inputs too, or only one of the two."""
    rng = np.random.default_rng(seed)
    net = random_net(rng, *shape, dtype)
    x = rng.normal(size=(1, shape[0])).astype(dtype)
    error = rng.normal(size=(1, net.engine.n_outputs)).astype(dtype)
    state = net.engine.compiled()
    slopes, felt = reference.pullback(net.layers, rows(x), rows(error))
    grad, x_grad = np.full_like(net.engine.theta, 7.0), np.full(shape[0], 7.0, dtype)
    kernels.pullback_one(state, x[0], error[0], grad, x_grad)
    weights, biases = net.engine.views(grad)
    for w, b, (dW, db) in zip(weights, biases, slopes, strict=True):
        assert_near(w, dW, dtype, 2.5)
        if b is not None:
            assert_near(b, db, dtype, 2.5)
    assert_near(x_grad, felt[0], dtype, 2.5)
    one, other, none = np.full_like(grad, 7.0), np.full_like(x_grad, 7.0), np.zeros(0, dtype)
    kernels.pullback_one(state, x[0], error[0], one, none)
    kernels.pullback_one(state, x[0], error[0], none, other)
    assert np.array_equal(one, grad)
    assert np.array_equal(other, x_grad)
    kernels.train_one_from(state, x[0], error[0], 0.25)
    net.layers[:] = [
        reference.updated(layer, dW, db, 0.25) for layer, (dW, db) in zip(net.layers, slopes, strict=True)
    ]
    assert_same_parameters(net.engine, net.layers, dtype, 3)


def test_a_given_error_is_that_of_a_loss(dtype, rng):
    """With y - out for dE/d out, gradient and step are those of half_squared_error, to the last bit."""
    layers = [Layer(20, "gelu"), Layer(2, "tanh")]
    nets = [random_net(np.random.default_rng(1), 6, layers, dtype).engine for _ in range(2)]
    x, y = rng.normal(size=6).astype(dtype), rng.normal(size=2).astype(dtype)
    states = [net.compiled(Objective("half_squared_error")) for net in nets]
    out, grads = np.zeros(2, dtype), [np.zeros_like(net.theta) for net in nets]
    kernels.predict_one(states[0], x, out)
    kernels.value_and_grad_one(states[0], x, y, grads[0])
    kernels.pullback_one(states[1], x, out - y, grads[1], np.zeros(0, dtype))
    assert np.array_equal(*grads)
    kernels.train_one(states[0], x, y, 0.1)
    kernels.train_one_from(states[1], x, out - y, 0.1)
    assert np.array_equal(nets[0].theta, nets[1].theta)


@pytest.mark.parametrize("sizes", [(3, 20, 1), (20, 1, 20, 2), (1, 1, 1)], ids=str)
def test_narrow_layers(sizes, dtype, rng):
    """Layers that are stored as W' go through sums of their own."""
    net = random_net(rng, sizes[0], [Layer(units, "tanh") for units in sizes[1:]], dtype)
    x, y = rng.normal(size=(1, sizes[0])).astype(dtype), rng.normal(size=(1, sizes[-1])).astype(dtype)
    state, grad = net.engine.compiled(), np.zeros_like(net.engine.theta)
    value = kernels.value_and_grad_one(state, x[0], y[0], grad)
    expected, slopes, _ = reference.value_and_grad(net.layers, rows(x), rows(y), "mse")
    assert_near(value, expected, dtype)
    weights, biases = net.engine.views(grad)
    assert kernels.train_one(state, x[0], y[0], 0.5) == value
    for k, (dW, db) in enumerate(slopes):
        assert_near(weights[k], dW, dtype)
        assert_near(biases[k], db, dtype)
        assert_near(net.engine.weights[k], np.array(net.layers[k].W) - 0.5 * np.array(dW), dtype)
        assert_near(net.engine.biases[k], np.array(net.layers[k].b) - 0.5 * np.array(db), dtype)


def test_class_codes(dtype, rng):
    """cross_entropy takes a row of probabilities or one class code."""
    net = random_net(rng, 4, [Layer(5, "tanh"), Layer(3)], dtype)
    state = net.engine.compiled(Objective("cross_entropy"))
    x = rng.normal(size=4).astype(dtype)
    grads = np.zeros((2, net.engine.theta.size), dtype)
    code, one_hot = np.array([2], dtype), np.array([0, 0, 1], dtype)
    values = [kernels.value_and_grad_one(state, x, y, g) for y, g in zip((code, one_hot), grads, strict=True)]
    assert values[0] == values[1]
    assert np.array_equal(grads[0], grads[1])
    assert kernels.train_one(state, x, code, 0.0) == values[0]


def test_inside_compiled_code(dtype, rng):
    """A State goes through any njit function; there is one compilation for every network of a dtype."""

    @compiled
    def best_of(state, x, out):
        best, at = -np.inf, -1
        for k in range(x.shape[0]):
            kernels.predict_one(state, x[k], out)
            if out[0] > best:
                best, at = out[0], k
        return at

    for layers in ([Layer(1)], [Layer(5, "tanh"), Layer(7, "relu"), Layer(1)]):
        net = random_net(rng, 3, layers, dtype)
        x = rng.normal(size=(20, 3)).astype(dtype)
        got = best_of(net.engine.compiled(), x, np.zeros(1, dtype))
        assert got == int(np.argmax(net.engine.predict(x)[:, 0]))
    if not INTERPRETED:
        assert len(best_of.signatures) == 1


@pytest.mark.slow
@pytest.mark.skipif(INTERPRETED, reason="the interpreter mode has no prange")
def test_in_parallel_loops(dtype, rng):
    """Calls have their memory on their own stack: those of a prange do not meet."""

    @numba.njit(parallel=True)
    def every(state, x, out):
        for k in numba.prange(x.shape[0]):
            kernels.predict_one(state, x[k], out[k])

    net = random_net(rng, 6, [Layer(20, "tanh"), Layer(3)], dtype)
    x, out = rng.normal(size=(500, 6)).astype(dtype), np.zeros((500, 3), dtype)
    every(net.engine.compiled(), x, out)
    want = np.zeros_like(out)
    kernels.predict(net.engine.compiled(), x, want)
    assert np.array_equal(out, want)


def test_in_several_threads(dtype, rng):
    net = random_net(rng, 6, [Layer(20, "tanh"), Layer(3)], dtype)
    state = net.engine.compiled()
    x = rng.normal(size=(8, 40 if INTERPRETED else 400, 6)).astype(dtype)
    out = np.zeros((*x.shape[:2], 3), dtype)
    members = [threading.Thread(target=kernels.predict, args=(state, x[k], out[k])) for k in range(8)]
    for member in members:
        member.start()
    for member in members:
        member.join()
    want = np.zeros_like(out)
    for k in range(8):
        kernels.predict(state, x[k], want[k])
    assert np.array_equal(out, want)


def test_nan_is_never_hidden(dtype, rng):
    net = random_net(rng, 3, [Layer(4, "relu"), Layer(2, "sigmoid")], dtype)
    state = net.engine.compiled()
    x, out = rng.normal(size=3).astype(dtype), np.zeros(2, dtype)
    kernels.predict_one(state, x, out)
    clean = out.copy()
    spoiled = x.copy()
    spoiled[1] = np.nan
    kernels.predict_one(state, spoiled, out)
    assert np.all(np.isnan(out))
    assert np.isnan(kernels.value_and_grad_one(state, spoiled, out, np.zeros_like(net.engine.theta)))
    kernels.predict_one(state, x, out)
    assert np.array_equal(out, clean)


def test_warmup_says_what_it_does():
    said = []
    kernels.warmup(progress=said.append)
    assert len(said) >= 2
    assert {"float32", "float64"} == {line.split()[-1] for line in said}
    kernels.warmup(["float32"])


def test_peak(dtype):
    """What every kernel is measured against is a number of operations per second, of the order of any machine's."""
    assert 1e3 < peak.fma_peak(dtype.name, seconds=0.01) < 1e13
