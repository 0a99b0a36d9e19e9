"""A model per lane: against the specification, and the products of vectors against NumPy's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastbp import reference
from fastbp.engine.lanes import Lanes, Plan, lanes_of, shape_of
from fastbp.engine.layout import layout_of
from fastbp.kernels import many
from fastbp.kernels.machine.patch import Grid
from fastbp.layers import Layer
from fastbp.objectives import OBJECTIVE_NAMES, Objective
from fastbp.optimizers import Rule
from tests.engine.test_training import RULES, short
from tests.entries import is_smooth, targets
from tests.kernels.oracles import INTERPRETED, Guarded, architectures, assert_near, compiled, hyper_of, rows

seeds = st.integers(0, 2**32 - 1)
kinds = st.sampled_from([np.dtype(np.float32), np.dtype(np.float64)])
MOST = 4 if INTERPRETED else 12


def multiply_by(product):
    """Return the product of flat arrays, each with its start and the distances of rows and columns."""

    @compiled
    def multiply(X, x0, xr, xk, W, w0, wk, wc, S, s0, sr, sc, C, c0, cr, cc, E, e0, er, ec, t, M, N, K):
        grids = Grid(X, x0, xr, xk), Grid(W, w0, wk, wc), Grid(S, s0, sr, sc), Grid(C, c0, cr, cc)
        product(grids[0], grids[1], grids[2], grids[3], Grid(E, e0, er, ec), t, M, N, K)

    return multiply


# What is done to the sums: a product, t, and the same of NumPy's arrays.
FINISHES = {
    "nothing": (multiply_by(many.slopes), 0.0, lambda z, e: z),
    "relu": (multiply_by(many.outputs), 0.0, lambda z, e: np.maximum(z, 0.0)),
    "no floor": (multiply_by(many.outputs), -np.inf, lambda z, e: z),
    "relu's slope": (multiply_by(many.deltas), 0.0, lambda z, e: np.where(e > 0.0, z, 0.0)),
    "no mask": (multiply_by(many.deltas), np.nan, lambda z, e: z),
}


@given(
    finish=st.sampled_from(sorted(FINISHES)),
    size=st.tuples(*[st.integers(1, 2 * MOST)] * 3),
    turned=st.tuples(*[st.booleans()] * 2),
    bias=st.booleans(),
    dtype=kinds,
    seed=seeds,
)
def test_products(finish, size, turned, bias, dtype, seed):
    """x W, x' delta and delta W' of any size, from a row of biases or from what is there, and relu on the way."""
    rng, side = np.random.default_rng(seed), lanes_of(dtype)
    M, N, K = size
    X, W, S, E = (rng.normal(size=(*shape, side)).astype(dtype) for shape in ((M, K), (K, N), (M, N), (M, N)))
    if bias:
        S[:] = S[:1]
    E[rng.random(E.shape) < 0.2] = 0.0  # as relu leaves them
    flat_x = np.ascontiguousarray(X.swapaxes(0, 1) if turned[0] else X).reshape(-1)
    flat_w = np.ascontiguousarray(W.swapaxes(0, 1) if turned[1] else W).reshape(-1)
    steps_x = (side, M * side) if turned[0] else (K * side, side)
    steps_w = (side, K * side) if turned[1] else (N * side, side)
    steps_s = (0, side) if bias else (N * side, side)
    C = Guarded(np.zeros((M, N, side), dtype))
    flat_s = np.ascontiguousarray(S).reshape(-1)
    multiply, t, expected_of = FINISHES[finish]
    multiply(
        *(flat_x, 0, *steps_x),
        *(flat_w, 0, *steps_w),
        *(flat_s, 0, *steps_s),
        *(C.whole, C.start, N * side, side),
        *(E.reshape(-1), 0, N * side, side),
        *(t, M, N, K),
    )
    sums = S + np.einsum("rkl,kcl->rcl", X.astype(float), W.astype(float))
    assert_near(C.content.reshape(M, N, side), expected_of(sums, E), dtype, 2.5)
    assert C.intact()


def test_what_is_not_a_number_shows():
    """A NaN passes relu; where it is the slope's argument, delta passes as it came."""
    dtype = np.dtype(np.float32)
    side = lanes_of(dtype)
    one, nan, none = (np.full(side, v, dtype) for v in (1.0, np.nan, 0.0))
    grid = (0, side, side)
    for finish, x, edge, expected in (
        ("relu", nan, one, nan),
        ("no floor", nan, one, nan),
        ("relu's slope", nan, one, nan),
        ("relu's slope", one, nan, one),
        ("no mask", nan, nan, nan),
        ("relu's slope", one, none, none),
    ):
        multiply, t, _ = FINISHES[finish]
        C = np.zeros(side, dtype)
        multiply(x, *grid, one, *grid, none, *grid, C, *grid, edge, *grid, t, 1, 1, 1)
        np.testing.assert_array_equal(C, expected, err_msg=finish)


def specification(shape, theta):
    """Return a model of (n_inputs, layers) with the numbers of `theta` for the specification."""
    (fan_in, layers), empty = shape, []
    for layer in layers:
        bias = [0.0] * layer.units if layer.use_bias else None
        W = [[0.0] * layer.units for _ in range(fan_in)]
        empty.append(reference.Layer(W, bias, layer.activation, layer.l1, layer.l2))
        fan_in = layer.units
    return reference.unflatten(theta.astype(float).tolist(), empty)


def compare(
    shape, objective, rule, models, n, batch_size, passes, dtype, rng, *, own=False, alike=False, digits=3.5
):
    """Train as a model per lane and by the specification; compare losses and parameters."""
    layout = layout_of(shape[0], shape[1], dtype)
    plan = Plan(shape_of(layout), objective, rule, batch_size)
    theta = (rng.normal(size=(models, layout.n_parameters)) / 2).astype(dtype)
    lanes = Lanes(plan, theta, [tuple(shape[1])] * models)
    total = n if alike else n * models
    x = rng.normal(size=(total, shape[0])).astype(dtype)
    y = targets(objective.name, rng, total, layout.n_outputs, dtype)
    codes = y.ndim == 1
    base = np.zeros(models, np.int64) if alike else n * np.arange(models)
    order = np.stack([rng.permutation(n) for _ in range(passes)])
    if own:
        order = np.stack([rng.integers(0, n, (passes, n)) for _ in range(models)], axis=-1)
    rates = rng.uniform(0.01, 0.05, models)
    lanes.begin(rates)
    sums = []
    for begin in range(passes):  # in several calls: state and steps go on
        sums.append(
            lanes.train(
                x.reshape(-1), y.reshape(-1).astype(dtype), codes, order[begin : begin + 1], base, rates
            )
        )
    chosen = [order[:, :, k] if own else order for k in range(models)]
    wanted = reference.fit_many(
        [specification(shape, own_theta) for own_theta in theta],
        rows(x),
        y.tolist(),
        [(base[k] + chosen[k]).tolist() for k in range(models)],
        batch_size,
        rates.tolist(),
        objective.name,
        rule.kind,
        **hyper_of(rule),
    )
    assert_near(np.concatenate(sums, axis=1) / n, [losses for _, losses in wanted], dtype, digits)
    assert_near(lanes.theta, [reference.flatten(layers) for layers, _ in wanted], dtype, digits)


@given(
    shape=architectures(most=4 if INTERPRETED else 7, depth=3),
    rule=st.sampled_from(RULES),
    name=st.sampled_from([n for n in OBJECTIVE_NAMES if n == "cross_entropy" or is_smooth(n)]),
    models=st.integers(1, 3 if INTERPRETED else 20),
    n=st.integers(1, MOST),
    batch_size=st.integers(1, MOST),
    own=st.booleans(),
    alike=st.booleans(),
    dtype=kinds,
    seed=seeds,
)
def test_models_are_the_specifications(shape, rule, name, models, n, batch_size, own, alike, dtype, seed):
    rng = np.random.default_rng(seed)
    compare(shape, Objective(name), rule, models, n, batch_size, 1, dtype, rng, own=own, alike=alike)


@pytest.mark.parametrize("rule", [*RULES, Rule("rprop")], ids=short)
def test_every_rule(rule, dtype, rng):
    n, batch_size = (8, 8) if rule.kind == "rprop" else (7, 3)
    shape = 3, [Layer(4, "tanh", l2=0.01), Layer(2, l1=0.01)]
    compare(shape, Objective(), rule, 5, n, batch_size, 3, dtype, rng, digits=3.0)


@pytest.mark.parametrize("name", OBJECTIVE_NAMES)
@pytest.mark.parametrize("alike", [True, False])
def test_every_loss(name, alike, dtype, rng):
    shape = 3, [Layer(4, "tanh"), Layer(3)]
    compare(shape, Objective(name), Rule(), 4, 6, 5, 2, dtype, rng, alike=alike, digits=3.0)


@pytest.mark.parametrize("activation", [name for name in reference.ACTIVATIONS if name != "exp"])
def test_every_activation(activation, dtype, rng):
    shape = 2, [Layer(3, activation), Layer(5, activation, use_bias=False), Layer(1)]
    compare(shape, Objective(), Rule("adam", eps=1e-2), 3, 5, 2, 2, dtype, rng, digits=3.0)


@pytest.mark.parametrize("width", [1, 16, 17])
def test_batches_in_parts(width, dtype, rng):
    """More rows than the workspace has room for; inputs of one, of whole vectors, and of one more."""
    n = 20 if INTERPRETED else 150
    compare((width, [Layer(3, "silu"), Layer(1)]), Objective(), Rule(), 2, n, n, 2, dtype, rng, digits=3.0)
