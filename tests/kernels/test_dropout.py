"""Dropout: the generator behind its masks, their statistics, who decides them, and the gradient under a mask."""

import math

import numpy as np
import pytest
import scipy.sparse

import fastbp as fb
from fastbp import reference
from fastbp.engine import Engine
from fastbp.engine import session as module
from fastbp.engine.session import Session
from fastbp.kernels import random
from fastbp.kernels.machine.simd import lanes, store
from fastbp.layers import Layer
from fastbp.objectives import Objective
from fastbp.optimizers import Rule
from tests.kernels.oracles import INTERPRETED, Guarded, assert_near, compiled, random_net, rows


@compiled
def uniform(out, start, key):
    for j in range(0, out.size, lanes(out)):
        store(out, j, random.uniform(out, start + j, key))


@compiled
def key_of(seed, step, layer):
    return random.key_of(seed, step, layer)


@compiled
def drop(A, a0, ld, row, m, rate, key):
    random.drop(A, a0, ld, row, m, rate, key)


def draw(n, dtype, key, start=0):
    out = np.zeros(n, dtype)
    uniform(out, start, key)
    return out


N = 4096 if INTERPRETED else 2**17


@pytest.mark.parametrize("key", [0, 1, 2**31 - 1, 123456789])
def test_uniform_numbers(key, dtype):
    """In [0, 1), mean 1/2, flat in 64 bins, neighbors and keys unrelated: each bound is four standard deviations."""
    u = draw(N, dtype, key).astype(np.float64)
    assert u.min() >= 0.0
    assert u.max() < 1.0
    assert abs(u.mean() - 0.5) < 4 / math.sqrt(12 * N)
    counts = np.histogram(u, 64, (0, 1))[0]
    chi2 = np.sum((counts - N / 64) ** 2) / (N / 64)
    assert chi2 < 63 + 4 * math.sqrt(2 * 63)
    for other in (
        draw(N, dtype, key + 1 if key < 2**31 - 1 else 5),
        draw(N, dtype, key, start=1),
        u[::-1],
        u**2,
    ):
        other = np.asarray(other, np.float64)
        correlation = np.corrcoef(u[16:], np.roll(other, 0)[: N - 16])[0, 1]
        assert abs(correlation) < 4 / math.sqrt(N)


def test_a_number_is_a_function_of_its_counter(dtype):
    """Where a draw starts does not matter: what a counter gives is the same in any block, beyond 2^32 as well."""
    whole = draw(256, dtype, 77)
    for start in (16, 96, 240):
        assert np.array_equal(draw(16, dtype, 77, start), whole[start : start + 16])
    far = draw(16, dtype, 77, 2**33)
    assert np.all((far >= 0) & (far < 1))
    assert len(np.unique(far)) == 16


def test_bits_of_the_mantissa_are_all_used(dtype):
    """24 or 53 random bits: differences of neighbors on the unit interval are as fine as the type allows."""
    u = draw(N, dtype, 3)
    fine = np.ldexp(u, 24 if dtype.itemsize == 4 else 53)
    assert np.array_equal(fine, np.round(fine))
    assert np.any(fine % 2 == 1)


def test_keys_differ():
    """Every seed, step and layer has masks of its own: no two keys of a few thousand are the same."""
    seeds, steps, layers = (
        (range(4), range(12), range(-1, 3)) if INTERPRETED else (range(20), range(50), range(-1, 4))
    )
    keys = [key_of(seed, step, layer) for seed in seeds for step in steps for layer in layers]
    assert all(0 <= key < 2**31 for key in keys)
    expected_pairs = len(keys) ** 2 / 2**32  # of a random function into 31 bits
    assert len(keys) - len(set(keys)) <= 3 + 3 * expected_pairs
    assert key_of(2**40 + 1, 0, 0) != key_of(1, 0, 0)
    assert key_of(0, 2**33 + 1, 0) != key_of(0, 1, 0)


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9])
def test_drop(rate, dtype):
    """Kept elements are divided by the keep rate, the others are 0; the share of each is the rate."""
    ld, m = 64, 8 if INTERPRETED else 256
    A = Guarded(np.full((m, ld), 3.0, dtype))
    drop(A.whole, A.start, ld, 0, m, rate, 99)
    assert A.intact()
    kept = A.content != 0.0
    assert np.allclose(A.content[kept], 3.0 / (1.0 - rate), rtol=4 * np.finfo(dtype).eps)
    n = m * ld
    assert abs(kept.mean() - (1.0 - rate)) <= 4 * math.sqrt(rate * (1 - rate) / n)
    if rate == 0.0:
        assert kept.all()
    # The rows of a block have the masks that they have in the whole batch.
    part = np.full((2, ld), 3.0, dtype)
    drop(part.reshape(-1), 0, ld, 3, 2, rate, 99)
    assert np.array_equal(part, A.content.reshape(m, ld)[3:5])


def test_drop_lets_nan_through(dtype):
    A = np.full(64, np.nan, dtype)
    drop(A, 0, 64, 0, 1, 0.5, 1)
    kept = np.isnan(A)
    assert kept.any()
    assert np.all(A[~kept] == 0.0)


def masks_by_effect(rate, n, dtype, *, seed=0, steps=1, where="inputs"):
    """Return which of n units each of `steps` batches of one row kept, told from the weights that its step moved."""
    if where == "inputs":
        engine = Engine(n, [Layer(1, use_bias=False)], dtype, input_dropout=rate)
        seen, x = 0, np.ones((1, n), dtype)
    else:
        engine = Engine(1, [Layer(n, use_bias=False, dropout=rate), Layer(1, use_bias=False)], dtype)
        engine.weights[0][...] = 1.0
        seen, x = 1, np.ones((1, 1), dtype)
    session = Session(engine, Objective("mae"), Rule(), batch_size=1, seed=seed)
    kept = []
    for _ in range(steps):
        engine.weights[seen][...] = 0.0
        session.run(x, np.full((1, 1), 100.0, dtype), np.zeros(1, np.int64), 0.01)
        moved = engine.weights[seen][:, 0].copy()
        kept.append(moved != 0.0)
        # Inverted: what is kept grows by 1 / (1 - rate), so that predictions need no mask.
        assert np.allclose(moved[moved != 0], 0.01 / (1 - rate), rtol=1e-5)
        if where == "hidden":
            engine.weights[0][...] = 1.0
    return np.array(kept)


def test_a_tiny_rate_scales_the_inputs():
    """Rows in their own order are read where they are, but not if any rate, however small, is to change them."""
    moved = []
    for rate in (0.0, 5e-10):
        layers = [fb.Dropout(rate), fb.Dense(64, use_bias=False)]  # so many that W is not stored as W'
        net = fb.Sequential(layers, n_inputs=8, dtype="float64")
        net.set_weights([np.zeros((8, 64))])
        trainer = fb.Trainer(net, loss="mae", optimizer=fb.SGD(0.01), seed=0)
        trainer.step(np.ones((4, 8)), np.full((4, 64), 100.0))
        moved.append(net.weights[0].copy())
    assert moved[1] == pytest.approx(moved[0] / (1.0 - 5e-10), rel=1e-12, abs=0.0)


@pytest.mark.parametrize("where", ["inputs", "hidden"])
@pytest.mark.parametrize("rate", [0.2, 0.5])
def test_share_of_a_training_run(where, rate, dtype):
    n, steps = (8, 10) if INTERPRETED else (200, 50)
    kept = masks_by_effect(rate, n, dtype, steps=steps, where=where)
    room = 4 * math.sqrt(rate * (1 - rate))
    assert abs(kept.mean() - (1 - rate)) < room / math.sqrt(kept.size)
    assert np.all(np.abs(kept.mean(0) - (1 - rate)) < 1.3 * room / math.sqrt(steps))
    assert np.all(np.abs(kept.mean(1) - (1 - rate)) < 1.3 * room / math.sqrt(n))
    assert len({row.tobytes() for row in kept}) > 1


def test_seeds_and_layers_have_masks_of_their_own(dtype):
    n = 64
    by_seed = [masks_by_effect(0.5, n, dtype, seed=seed)[0] for seed in (0, 1, 2**40, 2**62)]
    by_place = masks_by_effect(0.5, n, dtype, seed=0, where="hidden")[0]
    for k, mask in enumerate([*by_seed[1:], by_place]):
        assert np.any(mask != by_seed[0]), k
    assert np.array_equal(masks_by_effect(0.5, n, dtype, seed=0)[0], by_seed[0])


def net_with_dropout(dtype, rng=None):
    rng = rng or np.random.default_rng(8)
    layers = [
        Layer(7, "relu", dropout=0.3),
        Layer(6, "gelu", dropout=0.5),
        Layer(5, "sigmoid", dropout=0.2),
        Layer(2),
    ]
    return random_net(rng, 4, layers, dtype, input_dropout=0.1)


def test_the_gradient_belongs_to_the_masked_loss(rng):
    """Central differences of the training loss under one batch's masks: forward and backward use the same ones."""
    net = net_with_dropout(np.float64)
    x, y = rng.normal(size=(9, 4)), rng.normal(size=(9, 2))
    start = net.engine.theta.copy()
    order = np.arange(9)

    def loss_at(theta, rate=0.0):
        net.engine.theta[...] = theta
        session = Session(net.engine, Objective(), Rule(), batch_size=9, seed=11)
        return session.run(x, y, order, rate) / 9

    lr = 1e-3
    loss_at(start, lr)
    grad = (start - net.engine.theta) / lr
    assert np.any(grad != 0.0)
    for _ in range(3):
        direction = np.where(start != 0.0, rng.normal(size=start.shape), 0.0)
        slope = (loss_at(start + 1e-6 * direction) - loss_at(start - 1e-6 * direction)) / 2e-6
        assert slope == pytest.approx(float(grad @ direction), rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("activation", reference.ACTIVATIONS)
def test_a_step_under_a_mask_is_the_specifications(activation, dtype, rng):
    """The mask, told from the weights that moved, given to the specification: the same step."""
    net = random_net(rng, 1, [Layer(12, activation, dropout=0.4), Layer(1)], dtype)
    net.engine.weights[0][...] = rng.uniform(0.2, 0.9, net.engine.weights[0].shape)  # f and f' are not 0
    net.engine.biases[0][...] = 0.0
    net.refresh()
    before = net.engine.weights[1].copy()
    x, y = np.ones((1, 1), dtype), np.full((1, 1), 5.0, dtype)
    session = Session(net.engine, Objective(), Rule("sgd", momentum=0.5), batch_size=1, seed=3)
    got = session.run(x, y, np.zeros(1, np.int64), 0.01)
    kept = (net.engine.weights[1] != before)[:, 0]
    assert 0 < kept.sum() < 12
    mask = reference.dropout_mask(kept.astype(float).tolist(), 0.4)
    value, gradients, _ = reference.value_and_grad(net.layers, rows(x), rows(y), "mse", masks=[[mask, None]])
    assert_near(got, value, dtype)
    for layer, w, b, (dW, db) in zip(
        net.layers, net.engine.weights, net.engine.biases, gradients, strict=True
    ):
        assert_near(w, np.array(layer.W) - 0.01 * np.array(dW), dtype)
        assert_near(b, np.array(layer.b) - 0.01 * np.array(db), dtype)


@pytest.mark.parametrize("batch_size", [1, 4])
def test_masks_do_not_depend_on_how_a_run_is_cut(batch_size, dtype, rng, monkeypatch):
    """The same bits in one call or many, in long or short chunks, and after going on in a new session at its step."""
    x, y = rng.normal(size=(26, 4)).astype(dtype), rng.normal(size=(26, 2)).astype(dtype)

    def train(cuts):
        engine = net_with_dropout(dtype).engine
        step = 0
        for begin, end in zip([0, *cuts], [*cuts, 26], strict=True):
            session = Session(
                engine, Objective(), Rule("sgd", weight_decay=0.01), batch_size=batch_size, seed=4
            )
            session.step = step
            session.run(x, y, np.arange(begin, end), 0.02)
            step = session.step
        return engine.theta

    whole = train([])
    assert np.array_equal(train([8, 20]), whole)
    monkeypatch.setattr(module, "CHUNK_SECONDS", 1e-12)
    assert np.array_equal(train([]), whole)


def test_predictions_and_losses_are_without_masks(dtype, rng):
    net = net_with_dropout(dtype)
    plain = Engine(4, [Layer(layer.units, layer.activation) for layer in net.engine.layers], dtype)
    plain.set_parameters(net.engine.weights, net.engine.biases)
    x, y = rng.normal(size=(5, 4)).astype(dtype), rng.normal(size=(5, 2)).astype(dtype)
    assert np.array_equal(net.engine.predict(x), plain.predict(x))
    value, gradients = net.engine.value_and_grad(x, y, Objective(), inputs=True)
    same, others = plain.value_and_grad(x, y, Objective(), inputs=True)
    assert value == same
    assert np.array_equal(gradients.theta, others.theta)
    assert np.array_equal(gradients.inputs, others.inputs)


def test_dropped_inputs_of_sparse_rows(dtype):
    """Input dropout is refused for CSR or done: it is never left out in silence."""
    engine = Engine(50, [Layer(1, use_bias=False)], dtype, input_dropout=0.5)
    session = Session(engine, Objective("mae"), Rule(), batch_size=1)
    x = scipy.sparse.csr_matrix(np.ones((1, 50), dtype))
    try:
        session.run(x, np.full((1, 1), 9.0, dtype), np.zeros(1, np.int64), 0.1)
    except ValueError:
        return
    assert 5 < np.sum(engine.weights[0] != 0.0) < 45
