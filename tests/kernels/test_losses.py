"""Every loss, value and delta, against its twin in reference.py, by enumeration of the kernels' table."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastbp import reference
from fastbp.kernels import losses, plan
from fastbp.kernels.losses import CODES, TABLE
from fastbp.kernels.plan import network_at
from tests.entries import other, targets
from tests.kernels.oracles import BOUNDSCHECK, INTERPRETED, Guarded, compiled

PARAMETERS = {name: other(name) for name in TABLE if other(name)}


@compiled
def evaluate(plan, work, p0, y0, ld, m, weights, scale, values, alone):
    record = network_at(plan, 0)
    if alone:
        losses.evaluate_each(record, work, p0, y0, ld, m, weights, scale, values)
    else:
        losses.evaluate(record, work, p0, y0, ld, m, weights, scale, values)


def plan_of(name, outputs):
    """Return a plan for a loss, as integers and as numbers: the same memory."""
    words = np.zeros(plan.HEADER, np.int64)
    words[plan.LOSS], words[plan.N_OUT] = CODES[name], outputs
    return words, words.view(np.float64)


def run(name, p, y, *, weights=None, scale=1.0, summed=True, full=0.0, clip=0.0, parameter=None, alone=False):
    """Return the rows' weighted values and deltas of predictions p (m, o) for targets y."""
    m, o = p.shape
    per_line = 64 // p.dtype.itemsize
    ld = -(-o // per_line) * per_line
    # What lies in the padding of a prediction must not count.
    work = Guarded(np.full((m, ld), np.nan, p.dtype), np.zeros((m, ld), p.dtype))
    P, Y = (part.reshape(m, ld) for part in work.parts)
    P[:, :o], Y[:, :o] = p, y
    words, numbers = plan_of(name, o)
    numbers[plan.PARAMETER] = PARAMETERS.get(name, 0.0) if parameter is None else parameter
    numbers[plan.VALUE_SCALE] = numbers[plan.SLOPE_SCALE] = 1.0 if summed else 1.0 / o
    numbers[plan.LOW], numbers[plan.HIGH] = (
        (-math.log1p(-clip), -math.log(clip)) if clip else (-math.inf, math.inf)
    )
    numbers[plan.FULL] = full
    weights = np.ones(m) if weights is None else np.asarray(weights, np.float64)
    values = Guarded(np.zeros(m))
    with np.errstate(all="ignore"):
        evaluate(words, work.whole, *work.starts, ld, m, weights, scale, values.content, alone)
    assert work.intact() and values.intact()
    assert np.array_equal(P[:, :o], p, equal_nan=True)
    if np.all(np.isfinite(p)):
        assert np.all(Y[:, o:] == 0.0), "delta's padding must be zero"
    return values.content.copy(), Y[:, :o].copy()


def expected(name, p, y, summed, parameter=None):
    twin = reference.LOSSES[name]
    parameter = PARAMETERS.get(name) if parameter is None else parameter
    rows = list(zip(p.astype(float).tolist(), y.astype(float).tolist(), strict=True))
    values = np.array([twin.value(a, b, parameter, summed) for a, b in rows])
    return values, np.array([twin.delta(a, b, parameter, summed) for a, b in rows])


def test_every_loss_has_a_twin():
    assert list(CODES) == list(TABLE)
    assert set(TABLE) == set(reference.LOSSES)


@pytest.mark.parametrize("name", TABLE)
@settings(max_examples=4 if INTERPRETED else 25)
@given(
    m=st.one_of(st.integers(1, 5), st.integers(1, 4 if INTERPRETED else 35)),
    o=st.one_of(st.integers(1, 35), st.integers(1, 70)),
    summed=st.booleans(),
    alone=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_value_and_delta(name, m, o, summed, alone, seed):
    summed = summed or name == "cross_entropy"
    for dtype in (np.float32, np.float64):
        rng = np.random.default_rng(seed)
        p, y = rng.normal(size=(m, o)).astype(dtype), targets(name, rng, m, o).astype(dtype)
        weights, scale = rng.uniform(0, 3, m), rng.uniform(0.1, 1)
        values, deltas = run(name, p, y, weights=weights, scale=scale, summed=summed, alone=alone)
        want, slope = expected(name, p, y, summed)
        eps = np.finfo(dtype).eps
        assert np.allclose(values, weights * want, rtol=20 * eps, atol=20 * eps * (o if summed else 1))
        assert np.allclose(deltas, (weights * scale)[:, None] * slope, rtol=20 * eps, atol=10 * eps)


@pytest.mark.parametrize("name", TABLE)
def test_delta_is_the_slope_of_the_value(name, rng):
    p, y = rng.normal(size=(3, 5)), targets(name, rng, 3, 5)
    _, deltas = run(name, p, y)
    for k in range(5):
        step = np.zeros_like(p)
        step[:, k] = 1e-6
        up, _ = run(name, p + step, y)
        down, _ = run(name, p - step, y)
        assert np.allclose(deltas[:, k], (up - down) / 2e-6, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", TABLE)
def test_on_the_target(name, dtype):
    """Residuals of exactly 0: value 0, slope 0, no division by them."""
    if reference.LOSSES[name].activation != "identity":
        pytest.skip("the optimum is not at p = y")
    p = np.array([[0.0, 1.5, -2.0]], dtype)
    values, deltas = run(name, p, p)
    tiny = np.finfo(dtype).eps if name == "log_cosh" else 0.0  # log 2 - log 2, rounded
    assert np.all(np.abs(values) <= 4 * tiny)
    assert np.all(deltas == 0.0)


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("name", TABLE)
def test_far_from_the_target(name, alone, dtype):
    """Predictions that saturate every function: the reference's numbers, finite where those are."""
    p = np.array([[-1e4, 1e4, 0.0], [500.0, -500.0, 80.0], [30.0, -30.0, 1.0]], dtype)
    y = np.zeros_like(p)
    y[:, 1] = 1.0
    values, deltas = run(name, p, y, alone=alone)
    want, slope = expected(name, p, y, True)
    with np.errstate(over="ignore"):
        want, slope = want.astype(dtype), slope.astype(dtype)
    assert np.allclose(values, want, rtol=40 * np.finfo(dtype).eps, atol=0)
    assert np.allclose(deltas, slope, rtol=40 * np.finfo(dtype).eps, atol=1e-30)


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("name", TABLE)
def test_nan_shows_in_its_row_alone(name, alone, dtype, rng):
    for spoil in ("p", "y"):
        p, y = rng.normal(size=(4, 3)).astype(dtype), targets(name, rng, 4, 3).astype(dtype)
        clean, deltas_before = run(name, p, y, alone=alone)
        (p if spoil == "p" else y)[2, 1] = np.nan
        values, deltas = run(name, p, y, alone=alone)
        assert np.isnan(values[2]), spoil
        assert np.isnan(deltas[2, 1]), spoil
        assert np.array_equal(values[[0, 1, 3]], clean[[0, 1, 3]])
        assert np.array_equal(deltas[[0, 1, 3]], deltas_before[[0, 1, 3]])


@pytest.mark.parametrize("name", TABLE)
def test_no_weight_no_loss(name, dtype, rng):
    p, y = rng.normal(size=(2, 3)).astype(dtype), targets(name, rng, 2, 3).astype(dtype)
    values, deltas = run(name, p, y, weights=[0.0, 1.0])
    assert values[0] == 0.0 and np.all(deltas[0] == 0.0)
    assert values[1] != 0.0 and np.any(deltas[1] != 0.0)


@pytest.mark.parametrize("parameter", [0.05, 0.5, 1.0, 3.0])
def test_huber_widths(parameter, dtype, rng):
    p, y = rng.normal(size=(2, 20)).astype(dtype), np.zeros((2, 20), dtype)
    p[0, :4] = [parameter, -parameter, 2 * parameter, 0]
    values, deltas = run("huber", p, y, parameter=parameter)
    want, slope = expected("huber", p, y, True, float(dtype.type(parameter)))
    assert np.allclose(values, want, rtol=20 * np.finfo(dtype).eps)
    assert np.allclose(deltas, slope, rtol=20 * np.finfo(dtype).eps)


@pytest.mark.parametrize("parameter", [0.01, 0.5, 0.95])
def test_quantile_levels(parameter, dtype, rng):
    p, y = rng.normal(size=(2, 20)).astype(dtype), np.zeros((2, 20), dtype)
    values, deltas = run("quantile", p, y, parameter=parameter)
    want, slope = expected("quantile", p, y, True, float(dtype.type(parameter)))
    assert np.allclose(values, want, rtol=20 * np.finfo(dtype).eps)
    assert np.allclose(deltas, slope, rtol=20 * np.finfo(dtype).eps)


def test_poisson_with_its_constant(dtype, rng):
    """The deviance's y log y - y changes the value, not the gradient."""
    p, y = rng.normal(size=(3, 6)).astype(dtype), rng.integers(0, 4, size=(3, 6)).astype(dtype)
    y[0, 0] = 0.0
    bare, deltas = run("poisson", p, y)
    values, same = run("poisson", p, y, full=1.0)
    constant = [sum(reference.poisson_constant(v) for v in row) for row in y.tolist()]
    assert np.allclose(values - bare, constant, rtol=0, atol=100 * np.finfo(dtype).eps)
    assert np.array_equal(deltas, same)


@pytest.mark.parametrize("name", ["cross_entropy", "binary_cross_entropy"])
@pytest.mark.parametrize("alone", [False, True])
def test_clipped_probabilities(name, alone, dtype):
    """scikit-learn's clip bounds the value at both ends and leaves the gradient."""
    clip = float(np.finfo(dtype).eps)
    p = np.array([[60.0, -60.0], [-60.0, 60.0], [0.5, -0.25]], dtype)
    y = np.array([[1.0, 0.0]] * 3, dtype)
    values, deltas = run(name, p, y, clip=clip, alone=alone)
    _, free = run(name, p, y, alone=alone)
    want = []
    for logits, target in zip(p.tolist(), y.tolist(), strict=True):
        if name == "cross_entropy":
            chances = reference.softmax(logits)
            want.append(
                -sum(t * reference.clipped_log(c, clip) for c, t in zip(chances, target, strict=True))
            )
        else:
            sure = [reference.sigmoid(z if t else -z) for z, t in zip(logits, target, strict=True)]
            want.append(-sum(reference.clipped_log(c, clip) for c in sure))
    assert np.allclose(values, want, rtol=100 * np.finfo(dtype).eps)
    assert np.array_equal(deltas, free)


def test_cross_entropy_of_distributions(dtype, rng):
    """Targets may be any weights of the classes, summing to 1 or not."""
    p = rng.normal(size=(6, 9)).astype(dtype)
    y = rng.uniform(0, 1, size=(6, 9)).astype(dtype)
    y[1] = 0.0
    y[2] /= y[2].sum()
    values, deltas = run("cross_entropy", p, y)
    want, slope = expected("cross_entropy", p, y, True)
    assert np.allclose(values, want, rtol=30 * np.finfo(dtype).eps)
    assert np.allclose(deltas, slope, rtol=0, atol=60 * np.finfo(dtype).eps)


@pytest.mark.parametrize("o", [1, 7, 16, 17, 64])
def test_rows_do_not_depend_on_their_neighbors(o, dtype, rng):
    """A row's loss is the same bits in a block of any height: batches may be cut anywhere."""
    m = 3 if INTERPRETED else 37
    p, y = rng.normal(size=(m, o)).astype(dtype), rng.uniform(0, 1, size=(m, o)).astype(dtype)
    values, deltas = run("cross_entropy", p, y)
    for begin, end in ((0, 1), (1, 2), (2, m), (m - 1, m)):
        part, slope = run("cross_entropy", p[begin:end], y[begin:end])
        assert np.array_equal(part, values[begin:end])
        assert np.array_equal(slope, deltas[begin:end])


def test_binary_cross_entropy_of_probabilities(dtype, rng):
    p, y = rng.normal(size=(4, 7)).astype(dtype), rng.uniform(0, 1, size=(4, 7)).astype(dtype)
    values, deltas = run("binary_cross_entropy", p, y)
    want, slope = expected("binary_cross_entropy", p, y, True)
    assert np.allclose(values, want, rtol=60 * np.finfo(dtype).eps)
    assert np.allclose(deltas, slope, rtol=0, atol=20 * np.finfo(dtype).eps)


def test_losses_keep_small_numbers(dtype):
    """A sure and right classifier has a loss near 0, not 0: digits are kept where log(1 - p) would lose them."""
    for name in ("cross_entropy", "binary_cross_entropy"):
        p = np.array([[12.0, -12.0]], dtype) if name == "cross_entropy" else np.array([[12.0]], dtype)
        y = np.array([[1.0, 0.0]], dtype) if name == "cross_entropy" else np.array([[1.0]], dtype)
        values, _ = run(name, p, y)
        exact = math.log1p(math.exp(-24.0 if name == "cross_entropy" else -12.0))
        # cross_entropy takes log(sum) + max - p: right to the last place of the logits
        room = np.finfo(dtype).eps * (12.0 if name == "cross_entropy" else exact * 10)
        assert abs(values[0] - exact) <= room


@pytest.mark.skipif(
    not (BOUNDSCHECK or INTERPRETED), reason="reach is checked under NUMBA_BOUNDSCHECK=1 only"
)
@pytest.mark.parametrize("name", ["mse", "cross_entropy"])
def test_reaching_outside_raises(name, dtype):
    words, _ = plan_of(name, 16)
    values, weights = np.zeros(2), np.ones(2)
    for p0, y0 in ((1, 0), (0, 1), (-1, 0)):
        with pytest.raises(IndexError, match="a kernel reached outside its array"):
            evaluate(words, np.zeros(32, dtype), p0, y0, 16, 2, weights, 1.0, values, True)
