"""Predictions, losses and gradients of whole networks against the specification, finite differences and PyTorch."""

import math

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

from fastbp import reference
from fastbp.engine import Engine
from fastbp.layers import Layer
from fastbp.objectives import OBJECTIVE_NAMES, Objective
from tests.entries import other, targets
from tests.kernels.oracles import (
    INTERPRETED,
    MOST_ROWS,
    architectures,
    assert_near,
    assert_same_gradients,
    random_net,
    rows,
)

seeds = st.integers(0, 2**32 - 1)
kinds = st.sampled_from([np.dtype(np.float32), np.dtype(np.float64)])
PARAMETERS = {name: other(name) for name in OBJECTIVE_NAMES}


def outputs_of(net, x):
    """Return the outputs of every layer by the specification: a list over layers of (n, units)."""
    passes = [reference.forward(net.layers, row) for row in rows(x)]
    return [np.array([p[depth][1] for p in passes]) for depth in range(len(net.layers))]


@given(shape=architectures(), n=st.integers(1, MOST_ROWS), dtype=kinds, seed=seeds)
def test_predict_and_hidden(shape, n, dtype, seed):
    rng = np.random.default_rng(seed)
    net = random_net(rng, *shape, dtype)
    x = rng.normal(size=(n, shape[0])).astype(dtype)
    expected = outputs_of(net, x)
    got = net.engine.predict(x)
    assert got.dtype == dtype
    assert_near(got, expected[-1], dtype)
    for mine, want in zip(net.engine.hidden(x), expected, strict=True):
        assert_near(mine, want, dtype)
    out = np.full_like(got, 7.0)
    assert net.engine.predict(x, out=out) is out
    assert np.array_equal(out, got)


@given(
    shape=architectures(),
    n=st.integers(1, MOST_ROWS),
    name=st.sampled_from(OBJECTIVE_NAMES),
    dtype=kinds,
    weighted=st.booleans(),
    summed=st.booleans(),
    seed=seeds,
)
def test_value_and_gradients(shape, n, name, dtype, weighted, summed, seed):
    rng = np.random.default_rng(seed)
    net = random_net(rng, *shape, dtype)
    x = rng.normal(size=(n, shape[0])).astype(dtype)
    y = targets(name, rng, n, net.engine.n_outputs, dtype)
    weights = rng.uniform(0, 2, n) if weighted else None
    summed = summed or reference.LOSSES[name].summed
    objective = Objective(name, PARAMETERS[name], summed=summed)
    value, gradients = net.engine.value_and_grad(x, y, objective, sample_weight=weights, inputs=True)
    expected, slopes, felt = reference.value_and_grad(
        net.layers, rows(x), rows(y), name, PARAMETERS[name], weights, summed=summed
    )
    assert_near(value, expected, dtype)
    assert_same_gradients(gradients, slopes, dtype)
    assert_near(gradients.inputs, felt, dtype, 2.5)
    loss = net.engine.loss(x, y, objective, sample_weight=weights)
    assert_near(loss, expected, dtype)
    bare = net.engine.loss(x, y, objective, sample_weight=weights, penalty=False)
    assert_near(bare, expected - reference.penalty(net.layers), dtype)
    _, free = net.engine.value_and_grad(x, y, objective, sample_weight=weights, penalty=False)
    without = [layer._replace(l1=0.0, l2=0.0) for layer in net.layers]
    _, slopes, _ = reference.value_and_grad(
        without, rows(x), rows(y), name, PARAMETERS[name], weights, summed=summed
    )
    assert_same_gradients(free, slopes, dtype)


@given(shape=architectures(), n=st.integers(1, MOST_ROWS), dtype=kinds, seed=seeds, density=st.floats(0, 1))
def test_sparse_rows(shape, n, dtype, seed, density):
    """CSR goes straight into the first layer and its weight gradient: the numbers of the dense rows, to rounding."""
    rng = np.random.default_rng(seed)
    net = random_net(rng, *shape, dtype)
    x = np.where(rng.random((n, shape[0])) < density, rng.normal(size=(n, shape[0])), 0.0).astype(dtype)
    sparse = scipy.sparse.csr_matrix(x)
    y = targets("mse", rng, n, net.engine.n_outputs, dtype)
    weights = rng.uniform(0.1, 2, n)
    assert_near(net.engine.predict(sparse), net.engine.predict(x), dtype)
    for mine, want in zip(net.engine.hidden(sparse), net.engine.hidden(x), strict=True):
        assert_near(mine, want, dtype)
    for array in (sparse, scipy.sparse.csr_array(x)):
        value, gradients = net.engine.value_and_grad(array, y, Objective(), sample_weight=weights)
        expected, dense = net.engine.value_and_grad(x, y, Objective(), sample_weight=weights)
        assert_near(value, expected, dtype)
        assert_near(gradients.theta, dense.theta, dtype, 2.5)


def test_a_sparse_row_reads_the_weights_of_its_entries_only(dtype, rng):
    """An infinite weight shows in no row that has no entry there; in a narrow layer without bias it did."""
    x = scipy.sparse.csr_matrix(np.array([[0.0, 2.0, 0.0], [0.0, 0.0, 0.0], [1.0, 0.0, 3.0]], dtype))
    for units in (1, 40):
        net = random_net(rng, 3, [Layer(units, use_bias=False)], dtype)
        net.engine.weights[0][0] = np.inf
        finite = np.isfinite(net.engine.predict(x)).all(axis=1)
        assert finite.tolist() == [True, True, False]


@given(
    n=st.integers(1, MOST_ROWS), classes=st.integers(2, 20 if not INTERPRETED else 4), dtype=kinds, seed=seeds
)
def test_class_codes_are_one_hot_rows(n, classes, dtype, seed):
    rng = np.random.default_rng(seed)
    net = random_net(rng, 3, [Layer(5, "tanh"), Layer(classes)], dtype)
    x, codes = rng.normal(size=(n, 3)).astype(dtype), rng.integers(classes, size=n)
    one_hot = np.eye(classes, dtype=dtype)[codes]
    objective = Objective("cross_entropy")
    value, gradients = net.engine.value_and_grad(x, one_hot, objective)
    for kind in (np.int64, np.int32, np.uint8):
        same_value, same = net.engine.value_and_grad(x, codes.astype(kind), objective)
        assert same_value == value
        assert np.array_equal(same.theta, gradients.theta)
        assert net.engine.loss(x, codes.astype(kind), objective) == net.engine.loss(x, one_hot, objective)


def test_many_rows_are_passes_of_a_few(dtype, rng):
    """More rows than one pass holds: predictions are those of the rows alone, sums go on from pass to pass."""
    n = 40 if INTERPRETED else 1000
    net = random_net(rng, 7, [Layer(12, "relu"), Layer(3)], dtype)
    x, y = rng.normal(size=(n, 7)).astype(dtype), rng.normal(size=(n, 3)).astype(dtype)
    whole = net.engine.predict(x)
    pieces = np.concatenate([net.engine.predict(np.ascontiguousarray(part)) for part in np.array_split(x, 7)])
    assert np.array_equal(whole, pieces)
    if not INTERPRETED:
        z = (
            np.maximum(x.astype(float) @ net.layers[0].W + net.layers[0].b, 0) @ net.layers[1].W
            + net.layers[1].b
        )
        value, gradients = net.engine.value_and_grad(x, y, Objective("mse"))
        assert value == pytest.approx(float(np.mean((z - y) ** 2)), rel=1e3 * float(np.finfo(dtype).eps))
        db = (2 * (z - y) / 3).mean(0)
        assert_near(gradients.biases[1], db, dtype, 2.5)


def test_one_row_is_a_row_of_many(dtype, rng):
    """The path of single rows gives the same numbers, to rounding, and never keeps one row for the next."""
    for shape in (
        (5, [Layer(9, "gelu"), Layer(2)]),
        (40, [Layer(1, "sigmoid")]),
        (1, [Layer(33, "mish", False)]),
    ):
        net = random_net(rng, *shape, dtype)
        x = rng.normal(size=(6, shape[0])).astype(dtype)
        together = net.engine.predict(x)
        alone = np.concatenate([net.engine.predict(x[k : k + 1].copy()) for k in range(6)])
        assert_near(alone, together, dtype)
        assert np.array_equal(net.engine.predict(x), together)
        net.engine.weights[0][...] *= 2.0
        doubled = net.engine.predict(x)
        assert_near(net.engine.predict(x[:1].copy()), doubled[:1], dtype)
        frozen = x.copy()
        frozen.flags.writeable = False
        assert np.array_equal(net.engine.predict(frozen), doubled)


@pytest.mark.parametrize("sizes", [(33, 1), (1, 33), (40, 2, 40, 1), (17, 16, 1, 17), (3, 3)])
def test_narrow_layers(sizes, dtype, rng):
    """A layer much narrower than a vector is kept as W'; what is seen of it does not change."""
    net = random_net(rng, sizes[0], [Layer(units, "tanh") for units in sizes[1:]], dtype)
    if sizes[0] > 30:
        assert net.engine.weights[0].strides[0] == dtype.itemsize, "this layer should be stored as W'"
    n = 5
    x, y = rng.normal(size=(n, sizes[0])).astype(dtype), rng.normal(size=(n, sizes[-1])).astype(dtype)
    assert_near(net.engine.predict(x), outputs_of(net, x)[-1], dtype)
    value, gradients = net.engine.value_and_grad(x, y, Objective(), inputs=True)
    expected, slopes, felt = reference.value_and_grad(net.layers, rows(x), rows(y), "mse")
    assert_near(value, expected, dtype)
    assert_same_gradients(gradients, slopes, dtype)
    assert_near(gradients.inputs, felt, dtype, 2.5)
    copy = net.engine.copy()
    assert np.array_equal(copy.predict(x), net.engine.predict(x))
    copy.weights[0][...] = 0.0
    assert np.any(net.engine.weights[0] != 0.0)


@pytest.mark.parametrize("activation", reference.ACTIVATIONS)
def test_gradients_by_finite_differences(activation, rng):
    """Central differences of `loss` along random directions, of parameters and of inputs."""
    net = random_net(rng, 4, [Layer(5, activation, l2=0.01), Layer(3, activation), Layer(2)], np.float64)
    engine, objective = net.engine, Objective("log_cosh")
    x, y = rng.normal(size=(6, 4)), rng.normal(size=(6, 2))
    weights = rng.uniform(0.1, 2, 6)
    _, gradients = engine.value_and_grad(x, y, objective, sample_weight=weights, inputs=True)
    start, step = engine.theta.copy(), 1e-6
    live = engine.theta != 0.0
    for _ in range(3):
        direction = np.where(live, rng.normal(size=start.shape), 0.0)
        values = []
        for sign in (1, -1):
            engine.theta[...] = start + sign * step * direction
            values.append(engine.loss(x, y, objective, sample_weight=weights))
        engine.theta[...] = start
        assert (values[0] - values[1]) / (2 * step) == pytest.approx(
            float(gradients.theta @ direction), rel=1e-6, abs=1e-8
        )
        moved = rng.normal(size=x.shape)
        values = [engine.loss(x + s * step * moved, y, objective, sample_weight=weights) for s in (1, -1)]
        assert (values[0] - values[1]) / (2 * step) == pytest.approx(
            float(np.sum(gradients.inputs * moved)), rel=1e-6, abs=1e-8
        )


@pytest.mark.parametrize("name", ["mse", "huber", "binary_cross_entropy", "cross_entropy", "poisson"])
def test_gradients_are_torchs(name, dtype, rng):
    torch = pytest.importorskip("torch")
    losses = {
        "mse": torch.nn.MSELoss(),
        "huber": torch.nn.HuberLoss(),
        "binary_cross_entropy": torch.nn.BCEWithLogitsLoss(),
        "cross_entropy": torch.nn.CrossEntropyLoss(),
        "poisson": torch.nn.PoissonNLLLoss(log_input=True),
    }
    sizes = (6, 5, 4, 3) if INTERPRETED else (50, 70, 33, 10)
    n = 5 if INTERPRETED else 100
    steps = [torch.nn.functional.gelu, torch.nn.functional.silu, lambda z: z]
    net = random_net(
        rng, sizes[0], [Layer(sizes[1], "gelu"), Layer(sizes[2], "silu"), Layer(sizes[3])], dtype
    )
    x, y = rng.normal(size=(n, sizes[0])).astype(dtype), targets(name, rng, n, sizes[3], dtype)
    a = leaf = torch.tensor(x, requires_grad=True)
    parameters = []
    for w, b, f in zip(net.engine.weights, net.engine.biases, steps, strict=True):
        pair = [torch.tensor(np.ascontiguousarray(v), requires_grad=True) for v in (w, b)]
        parameters.append(pair)
        a = f(a @ pair[0] + pair[1])
    expected = losses[name](a, torch.tensor(y))
    expected.backward()
    value, gradients = net.engine.value_and_grad(x, y, Objective(name), inputs=True)
    assert_near(value, expected.item(), dtype)
    assert_near(gradients.inputs, leaf.grad.numpy(), dtype)
    pairs = [(w.grad.numpy(), b.grad.numpy()) for w, b in parameters]
    assert_same_gradients(gradients, pairs, dtype)


@given(shape=architectures(), dtype=kinds, seed=seeds)
def test_padding_stays_zero(shape, dtype, seed):
    """theta and its gradient are padded to whole lines with zeros, which nothing disturbs."""
    rng = np.random.default_rng(seed)
    net = random_net(rng, *shape, dtype)
    x, y = (
        rng.normal(size=(4, shape[0])).astype(dtype),
        rng.normal(size=(4, net.engine.n_outputs)).astype(dtype),
    )
    _, gradients = net.engine.value_and_grad(x, y, Objective())
    for flat in (net.engine.theta, gradients.theta):
        copy = flat.copy()
        weights, biases = net.engine.views(copy)
        for view in [*weights, *(b for b in biases if b is not None)]:
            view[...] = 0.0
        assert np.all(copy == 0.0)
    assert net.engine.n_parameters == sum(np.size(w) for w in weights) + sum(
        np.size(b) for b in biases if b is not None
    )


@pytest.mark.parametrize("where", ["x", "W", "b"])
def test_nan_is_never_hidden(where, dtype, rng):
    """One NaN anywhere shows in the outputs it reaches, in the value and in the gradient."""
    net = random_net(rng, 5, [Layer(6, "relu"), Layer(4, "sigmoid"), Layer(2)], dtype)
    x, y = np.abs(rng.normal(size=(7, 5))).astype(dtype), rng.normal(size=(7, 2)).astype(dtype)
    if where == "x":
        x[3, 2] = np.nan
    elif where == "W":
        net.engine.weights[1][0, 0] = np.nan
    else:
        net.engine.biases[0][0] = np.nan
    out = net.engine.predict(x)
    assert np.array_equal(np.isnan(out).all(1), np.arange(7) == 3 if where == "x" else np.full(7, True))
    value, gradients = net.engine.value_and_grad(x, y, Objective())
    assert math.isnan(value)
    assert all(np.isnan(w).any() for w in gradients.weights)
    # The network is none the worse for it: the next rows are as before.
    clean = random_net(np.random.default_rng(0), 5, net.engine.layers, dtype)
    net.engine.theta[...] = clean.engine.theta
    good = rng.normal(size=(7, 5)).astype(dtype)
    assert np.array_equal(net.engine.predict(good), clean.engine.predict(good))


def test_no_rows(dtype):
    engine = Engine(3, [Layer(2)], dtype)
    assert engine.predict(np.zeros((0, 3), dtype)).shape == (0, 2)
    with pytest.raises(ZeroDivisionError, match="Weights sum to zero"):
        engine.loss(np.zeros((0, 3), dtype), np.zeros((0, 2), dtype), Objective())


def test_weights_of_zero_sum(dtype, rng):
    engine = Engine(3, [Layer(2)], dtype)
    x, y = rng.normal(size=(4, 3)).astype(dtype), rng.normal(size=(4, 2)).astype(dtype)
    for method in (engine.loss, engine.value_and_grad):
        with pytest.raises(ZeroDivisionError, match="Weights sum to zero, can't be normalized"):
            method(x, y, Objective(), sample_weight=np.zeros(4))


def test_flavors_of_scikit_learn(dtype, rng):
    """mean_outputs changes the value alone; full adds Poisson's constant to it."""
    net = random_net(rng, 3, [Layer(4)], dtype)
    x, y = rng.normal(size=(5, 3)).astype(dtype), rng.integers(0, 4, size=(5, 4)).astype(dtype)
    summed, gradients = net.engine.value_and_grad(x, y, Objective("half_squared_error"))
    mean, same = net.engine.value_and_grad(x, y, Objective("half_squared_error", mean_outputs=True))
    assert mean == pytest.approx(summed / 4, rel=1e-6)
    assert np.array_equal(gradients.theta, same.theta)
    bare, gradients = net.engine.value_and_grad(x, y, Objective("poisson", summed=True))
    full, same = net.engine.value_and_grad(x, y, Objective("poisson", summed=True, full=True))
    constant = sum(reference.poisson_constant(v) for v in y.reshape(-1).tolist()) / 5
    assert_near(full - bare, constant, dtype)
    assert np.array_equal(gradients.theta, same.theta)
