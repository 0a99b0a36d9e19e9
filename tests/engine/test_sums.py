"""Long sums in float32: their error grows with the number of partial sums, not with the number of rows."""

import numpy as np
import pytest
import scipy.sparse

from fastbp.engine.rows import Rows
from fastbp.engine.session import Session
from fastbp.engine.workspace import Workspace
from fastbp.kernels import plan
from fastbp.kernels.plan import SUM_ROWS
from fastbp.layers import Layer
from fastbp.objectives import Objective
from fastbp.optimizers import Rule
from tests.kernels.oracles import INTERPRETED, random_net

U = 2.0**-24  # half an ulp of 1 in float32
HALF = Objective("half_squared_error")


def bound(n, rows):
    """Relative bound of a sum of n numbers of one sign, `rows` of them at a time: docs/concepts/determinism.rst."""
    return 1.1 * (rows + n / rows) * U


def data(n, dtype=np.float32, width=1):
    rng = np.random.default_rng(0)
    x = rng.random((n, width), dtype=dtype)
    return x, np.full((n, 1), -0.3, dtype)


def exact(x):
    """Gradients of the mean of (x W - y)^2 / 2 with W = 1 and y = -0.3, in float64."""
    x = x.astype(np.float64)
    error = x.sum(axis=1, keepdims=True) + np.float64(np.float32(0.3))
    return (x * error).mean(axis=0), error.mean()


def ones(width, layer=None):
    net = random_net(np.random.default_rng(0), width, [layer or Layer(1)], np.dtype(np.float32)).engine
    net.weights[0][...], net.biases[0][...] = 1.0, 0.0
    return net


def assert_within(got, want, limit):
    assert np.all(np.abs(np.asarray(got, np.float64) / want - 1.0) <= limit)


@pytest.mark.skipif(INTERPRETED, reason="too many rows for the interpreter")
@pytest.mark.parametrize("sparse", [False, True])
def test_gradients_of_many_rows(sparse):
    """Two million rows: added one after the other they were off by more than the bound."""
    n = 2_000_000
    x, y = data(n)
    dW, db = exact(x)
    engine = ones(1)
    _, gradients = engine.value_and_grad(scipy.sparse.csr_matrix(x) if sparse else x, y, HALF)
    # The bound is of the worst case; rounding to nearest stays far below it.
    assert_within(gradients.biases[0], db, bound(n, 256) / 20)
    assert_within(gradients.weights[0][:, 0], dW, bound(n, 256) / 20)


@pytest.mark.skipif(INTERPRETED, reason="too many rows for the interpreter")
@pytest.mark.parametrize("clipped", [False, True], ids=["block by block", "clipped"])
def test_one_step_on_a_tall_part(clipped):
    """A narrow network takes tens of thousands of rows at once; they are summed by the SUM_ROWS too."""
    n = 40_000
    x, y = data(n)
    dW, db = exact(x)
    engine = ones(1)
    session = Session(engine, HALF, Rule(), batch_size=n, max_grad_norm=1e9 if clipped else None)
    assert session._workspace.part == n > 8 * SUM_ROWS
    session.train_batch(x, y, 1.0)
    assert_within(-engine.biases[0], db, 1e-6)
    assert_within(1.0 - engine.weights[0][0], dW, 1e-6)


@pytest.mark.skipif(INTERPRETED, reason="too many rows for the interpreter")
def test_a_column_that_few_rows_have_is_added_where_it_belongs():
    """Wide CSR rows of few entries go straight to the gradient: the same numbers, without a pass over all of it."""
    rng = np.random.default_rng(1)
    n, width = 5000, 4000
    x = scipy.sparse.random(n, width, density=1e-3, random_state=rng, dtype=np.float32, format="csr")
    y = np.full((n, 1), -0.3, np.float32)
    engine = ones(width)
    _, sparse = engine.value_and_grad(x, y, HALF)
    _, dense = engine.value_and_grad(x.toarray(), y, HALF)
    np.testing.assert_allclose(sparse.theta, dense.theta, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("layers", [[Layer(5, "tanh"), Layer(2)], [Layer(40), Layer(1)]])
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("rows", [1, SUM_ROWS, SUM_ROWS + 1, 2 * SUM_ROWS + 7])
def test_partial_sums_are_the_gradient_of_all_rows(layers, sparse, rows, dtype):
    """Against float64 and one sum: odd sizes, no remainder, and weights stored either way."""
    rng = np.random.default_rng(2)
    if INTERPRETED:
        rows = min(rows, SUM_ROWS + 1)
    net = random_net(rng, 3, layers, dtype).engine
    x = rng.normal(size=(rows, 3)).astype(dtype)
    y = rng.normal(size=(rows, layers[-1].units)).astype(dtype)
    before = net.theta.copy()
    session = Session(net, HALF, Rule(), batch_size=rows)
    session.train_batch(scipy.sparse.csr_matrix(x) if sparse else x, y, 1.0)
    step = before - net.theta
    net.theta[:] = before
    _, whole = net.value_and_grad(x, y, HALF)
    np.testing.assert_allclose(step, whole.theta, rtol=1e-3, atol=1e-5 if dtype == np.float32 else 1e-12)


@pytest.mark.parametrize("penalized", [False, True])
@pytest.mark.parametrize("density", [0.002, 0.2], ids=["few entries", "many entries"])
def test_sparse_rows_and_many_blocks(density, penalized, dtype):
    """The blocks that CSR rows only add to are taken several at a time: the same bits on any number of threads.

    In a gradient, in a batch of more than a part, and in one that is clipped.
    """
    rng = np.random.default_rng(3)
    n, width = (20, 300) if INTERPRETED else (600, 2000)
    x = scipy.sparse.random(n, width, density=density, random_state=rng, dtype=dtype, format="csr")
    y = rng.normal(size=(n, 3)).astype(dtype)
    layers = [Layer(60, "tanh", l2=0.01 if penalized else 0.0), Layer(3)]
    net = random_net(rng, width, layers, dtype).engine
    assert net.layout.n_blocks > 20 or INTERPRETED
    before = net.theta.copy()
    results = []
    for threads in (1, 2, 3):
        workspace = Workspace(net.layout, 100, HALF, gradient=True, threads=threads)
        loss = workspace.total(plan.GRADIENT, net.params, Rows(net.layout, x, y, None, HALF), threads)
        results.append([loss, workspace.grad.copy()])
        for batch, norm in ((n, None), (n, 0.1), (64, 0.1)):
            session = Session(net, HALF, Rule(), batch_size=batch, n_threads=threads, max_grad_norm=norm)
            session.run(x, y, np.arange(n), 0.1)
            results[-1].append(net.theta.copy())
            net.theta[:] = before
    for others in results[1:]:
        for one, other in zip(results[0], others, strict=True):
            assert np.array_equal(one, other)
    if penalized:  # `value_and_grad` adds the penalty
        return
    _, dense = net.value_and_grad(x.toarray(), y, HALF)
    room = {"rtol": 1e-3, "atol": 1e-5} if dtype == np.float32 else {"rtol": 1e-9, "atol": 1e-12}
    np.testing.assert_allclose(results[0][1], dense.theta, **room)


def test_only_what_adds_up_has_a_place_for_it():
    """Batches of a single sum need no second gradient."""
    layout = ones(20, Layer(64)).layout
    small = Workspace(layout, 32, HALF, gradient=True, by_block=True)
    large = Workspace(layout, 32, HALF, gradient=True)
    assert large.work.size - small.work.size == layout.size


@pytest.mark.slow
@pytest.mark.skipif(INTERPRETED, reason="too many rows for the interpreter")
def test_ten_million_rows():
    """The bias gradient was off by 1.5 %, that of the weights by 1 %."""
    n = 10_000_000
    x, y = data(n)
    dW, db = exact(x)
    engine = ones(1)
    _, gradients = engine.value_and_grad(x, y, HALF)
    assert_within(gradients.biases[0], db, bound(n, 256))
    assert_within(gradients.weights[0][0], dW, bound(n, 256))
    session = Session(engine, HALF, Rule(), batch_size=n)
    loss = session.train_batch(x, y, 1.0)
    assert_within(-engine.biases[0], db, bound(n, SUM_ROWS))
    assert_within(1.0 - engine.weights[0][0], dW, bound(n, SUM_ROWS))
    error = x.astype(np.float64) + np.float64(np.float32(0.3))
    assert_within(2.0 * loss, (error**2).mean(), 1e-9)
    # Even a plain average is closer than the bound by far.
    assert_within(gradients.biases[0], db, 1e-5)


def test_a_row_on_the_stack_takes_no_place_for_sums():
    """A single row has no partial sums; its workspace lies on the caller's stack and must stay small."""
    engine = ones(200, Layer(300))
    assert engine.compiled().plan[plan.WORK_SIZE] < 4 * (200 + 300) + 200
