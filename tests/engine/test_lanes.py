"""A model per lane beside sessions: the same numbers but for rounding, and only for networks that are small enough."""

import numpy as np
import pytest

from fastbp.engine import Engine
from fastbp.engine.lanes import MOST_BYTES, Lanes, Plan, lanes_of, shape_of
from fastbp.engine.layout import layout_of, positions
from fastbp.engine.session import Session
from fastbp.kernels.machine.target import VECTOR_BYTES
from fastbp.layers import Layer
from fastbp.objectives import Objective
from fastbp.optimizers import Rule
from tests.kernels.oracles import INTERPRETED, assert_near


def test_small_networks_have_a_shape(dtype):
    layers = [Layer(8, "relu", l2=0.1), Layer(1)]
    shape = shape_of(layout_of(4, layers, dtype))
    assert shape.size == 49
    assert shape == shape_of(layout_of(4, [Layer(8, "relu"), Layer(1, l1=0.2)], dtype))
    assert shape != shape_of(layout_of(4, [Layer(8, "relu", use_bias=False), Layer(1)], dtype))
    units = MOST_BYTES // VECTOR_BYTES
    assert shape_of(layout_of(1, [Layer(units), Layer(1)], dtype)) is None
    assert shape_of(layout_of(4, [Layer(3, dropout=0.1), Layer(1)], dtype)) is None
    assert shape_of(layout_of(4, [Layer(3), Layer(1)], dtype, 0.1)) is None


@pytest.mark.parametrize(
    "rule", [Rule("adam"), Rule("sgd", momentum=0.9), Rule("nadam"), Rule("adagrad", eps=1e-4)]
)
def test_numbers_are_those_of_sessions(rule, dtype, rng):
    """Thousands of steps apart, less so: after 30 steps to a part in a million (float64: to rounding)."""
    models, n, batch_size, passes = 2 * lanes_of(dtype) + 1, 24, 8, 2 if INTERPRETED else 10
    layers = [Layer(8, "tanh"), Layer(1)]
    engine = Engine(4, layers, dtype)
    where = positions(engine.layout)
    x = rng.normal(size=(models, n, 4)).astype(dtype)
    y = np.sin(x.sum(axis=2, keepdims=True))
    theta = (rng.normal(size=(models, len(where))) / 2).astype(dtype)
    orders = np.stack([rng.permutation(n) for _ in range(passes)])
    rates = rng.uniform(1e-3, 1e-2, models)
    lanes = Lanes(Plan(shape_of(engine.layout), Objective(), rule, batch_size), theta)
    lanes.begin(rates)
    sums = lanes.train(x.reshape(-1), y.reshape(-1), False, orders, n * np.arange(models), rates)
    for k in range(models):
        engine.theta[where] = theta[k]
        session = Session(engine, Objective(), rule, batch_size=batch_size)
        losses = [session.run(x[k], y[k], order, float(rates[k])) for order in orders]
        assert_near(sums[k], losses, dtype, 1.5)
        np.testing.assert_allclose(lanes.theta[k], engine.theta[where], rtol=0, atol=1e-6)


def test_a_model_does_not_depend_on_its_neighbors(dtype, rng):
    """The same bits in any lane, among any others, in a full group or not."""
    side, n = lanes_of(dtype), 10
    shape = shape_of(layout_of(3, [Layer(5, "gelu"), Layer(2)], dtype))
    x, y = rng.normal(size=(side, n, 3)).astype(dtype), rng.normal(size=(side, n, 2)).astype(dtype)
    theta = rng.normal(size=(side, shape.size)).astype(dtype)
    orders, rates = np.stack([rng.permutation(n)]), rng.uniform(0.01, 0.1, side)

    def trained(chosen):
        lanes = Lanes(Plan(shape, Objective(), Rule("adam"), 4), theta[chosen])
        sums = lanes.train(x.reshape(-1), y.reshape(-1), False, orders, n * np.array(chosen), rates[chosen])
        return dict(zip(chosen, zip(lanes.theta, sums, strict=True), strict=True))

    whole = trained(list(range(side)))
    for some in ([0], [side - 1, 0], list(range(side))[::-1]):
        for k, (own, total) in trained(some).items():
            assert np.array_equal(own, whole[k][0])
            assert np.array_equal(total, whole[k][1])


def test_rates_of_steps(dtype, rng):
    """One row of rates for all steps, or a row for each."""
    n, models = 6, 3
    shape = shape_of(layout_of(2, [Layer(1)], dtype))
    x, y = rng.normal(size=(n, 2)).astype(dtype), rng.normal(size=(n, 1)).astype(dtype)
    theta, rates = rng.normal(size=(models, shape.size)).astype(dtype), rng.uniform(0.01, 0.1, models)
    results = []
    for given in (rates, np.tile(rates, (6, 1))):
        lanes = Lanes(Plan(shape, Objective(), Rule(), 2), theta)
        lanes.train(
            x.reshape(-1), y.reshape(-1), False, np.stack([np.arange(n)] * 2), np.zeros(models, int), given
        )
        assert lanes.step == 6
        results.append(lanes.theta)
    assert np.array_equal(*results)
