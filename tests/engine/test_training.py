"""Training runs against the specification, step by step: every rule, loss, penalty, weighting and cut into batches."""

import dataclasses
import math

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

from fastbp.engine.rows import Rows
from fastbp.engine.session import Session
from fastbp.layers import Layer
from fastbp.objectives import OBJECTIVE_NAMES, Objective
from fastbp.optimizers import RULE_NAMES, Rule
from tests.kernels.oracles import (
    INTERPRETED,
    Specification,
    architectures,
    assert_near,
    assert_same_parameters,
    compare,
    random_net,
    targets,
)

seeds = st.integers(0, 2**32 - 1)
kinds = st.sampled_from([np.dtype(np.float32), np.dtype(np.float64)])
MOST_ROWS = 6 if INTERPRETED else 20
# eps well above the rounding of a gradient: where g is 0 but for rounding, m / sqrt(v) is its sign, a coin toss
RULES = [
    Rule("sgd"),
    Rule("sgd", weight_decay=0.1),
    Rule("sgd", momentum=0.9),
    Rule("sgd", momentum=0.9, nesterov=True, weight_decay=0.05),
    Rule("sgd", momentum=0.9, velocity=True),
    Rule("sgd", momentum=0.7, velocity=True, nesterov=True),
    Rule("adagrad", eps=1e-2, initial_accumulator=0.1),
    Rule("rmsprop", eps=1e-2, alpha=0.9),
    Rule("adam", eps=1e-2),
    Rule("adam", eps=1e-2, weight_decay=0.05),
    Rule("adam", eps=1e-2, eps_inside=False),
    Rule("adamw", eps=1e-2, weight_decay=0.1),
    Rule("nadam", eps=1e-2, momentum_decay=0.01),
]


def short(value):
    """Name a rule by what differs from the default; other parameters as they are."""
    if not isinstance(value, Rule):
        return str(value)
    default = dataclasses.asdict(Rule())
    changed = {k: v for k, v in dataclasses.asdict(value).items() if v != default[k] and k != "kind"}
    return " ".join([value.kind, *(f"{k}={v}" for k, v in changed.items())])


@given(
    shape=architectures(most=8 if not INTERPRETED else 4, depth=3),
    rule=st.sampled_from(RULES),
    name=st.sampled_from([n for n in OBJECTIVE_NAMES if n not in ("mae", "quantile")]),
    n=st.integers(1, MOST_ROWS),
    batch_size=st.integers(1, MOST_ROWS),
    clip=st.sampled_from([None, 0.3, 100.0]),
    alpha=st.sampled_from([0.0, 0.1]),
    weighted=st.booleans(),
    dtype=kinds,
    seed=seeds,
)
def test_a_run_is_the_specifications(shape, rule, name, n, batch_size, clip, alpha, weighted, dtype, seed):
    rng = np.random.default_rng(seed)
    net = random_net(rng, *shape, dtype)
    x, y = rng.normal(size=(n, shape[0])).astype(dtype), targets(name, rng, n, net.engine.n_outputs, dtype)
    weights = rng.uniform(0.2, 2, n) if weighted else None
    objective = Objective(name)
    session = Session(net.engine, objective, rule, batch_size=batch_size, max_grad_norm=clip, alpha=alpha)
    spec = Specification(net, objective, rule, max_grad_norm=clip, alpha=alpha)
    # A kink (relu at 0 in one precision, not in the other) may part the two; errors grow from there.
    compare(net, session, spec, x, y, batch_size, rng, weights=weights, passes=1, digits_lost=3.5)


@pytest.mark.parametrize("rule", [*RULES, Rule("rprop")], ids=short)
@pytest.mark.parametrize("clip", [None, 0.5])
def test_every_rule(rule, clip, dtype, rng):
    """Two passes over 11 rows in batches of 4: the last one is short."""
    net = random_net(rng, 3, [Layer(4, "tanh", l2=0.01), Layer(2, l1=0.01)], dtype)
    n, batch_size = (11, 4) if rule.kind != "rprop" else (8, 8)
    x, y = rng.normal(size=(n, 3)).astype(dtype), rng.normal(size=(n, 2)).astype(dtype)
    session = Session(net.engine, Objective(), rule, batch_size=batch_size, max_grad_norm=clip)
    spec = Specification(net, Objective(), rule, max_grad_norm=clip)
    if rule.kind == "rprop":
        for _ in range(6):
            order = np.arange(8)
            assert_near(session.run(x, y, order, 0.05), spec.run(x, y, order, 8, [0.05]), dtype, 3)
        assert_same_parameters(net.engine, net.layers, dtype, 3)
    else:
        compare(net, session, spec, x, y, batch_size, rng)


def test_every_rule_is_tried():
    assert {rule.kind for rule in RULES} | {"rprop"} == set(RULE_NAMES)


@pytest.mark.parametrize("name", OBJECTIVE_NAMES)
@pytest.mark.parametrize("batch_size", [1, 5])
def test_every_loss(name, batch_size, dtype, rng):
    net = random_net(rng, 3, [Layer(4, "tanh"), Layer(3)], dtype)
    x, y = rng.normal(size=(12, 3)).astype(dtype), targets(name, rng, 12, 3, dtype)
    session = Session(net.engine, Objective(name), Rule(), batch_size=batch_size)
    compare(net, session, Specification(net, Objective(name), Rule()), x, y, batch_size, rng)


@pytest.mark.parametrize("shape", [(10, [16]), (4, [1]), (1, [20, 3]), (40, [2, 30])], ids=short)
@pytest.mark.parametrize("use_bias", [True, False])
def test_batches_of_one_row(shape, use_bias, dtype, rng):
    """Plain SGD on single rows has a path of its own."""
    n_inputs, widths = shape
    layers = [*(Layer(units, "silu", use_bias) for units in widths), Layer(2, use_bias=use_bias)]
    net = random_net(rng, n_inputs, layers, dtype)
    n = 4 if INTERPRETED else 15
    x, y = rng.normal(size=(n, n_inputs)).astype(dtype), rng.normal(size=(n, 2)).astype(dtype)
    weights = rng.uniform(0.5, 2, n)
    for sample_weight in (None, weights):
        session = Session(net.engine, Objective(), Rule(), batch_size=1)
        spec = Specification(net, Objective(), Rule())
        compare(net, session, spec, x, y, 1, rng, weights=sample_weight, passes=1)


def test_class_codes_and_one_hot_train_alike(dtype, rng):
    x, codes = rng.normal(size=(13, 4)).astype(dtype), rng.integers(3, size=13)
    results = []
    for y in (codes, np.eye(3, dtype=dtype)[codes]):
        net = random_net(np.random.default_rng(5), 4, [Layer(6, "relu"), Layer(3)], dtype)
        session = Session(net.engine, Objective("cross_entropy"), Rule("adam"), batch_size=4)
        loss = session.run(x, y, np.arange(13), 0.01)
        results.append((loss, net.engine.theta.copy()))
    assert results[0][0] == results[1][0]
    assert np.array_equal(results[0][1], results[1][1])


@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize("widths", [(6, 2), (1,), (40, 1)], ids=short)
def test_sparse_rows(batch_size, widths, dtype, rng):
    """Training on CSR is training on the same rows, to rounding; with duplicates summed, in any order of columns."""
    x = np.where(rng.random((11, 30)) < 0.2, rng.normal(size=(11, 30)), 0.0).astype(dtype)
    y = rng.normal(size=(11, widths[-1])).astype(dtype)
    twins = []
    for data in (x, scipy.sparse.csr_matrix(x), shuffled_csr(x)):
        layers = [Layer(units, "tanh") for units in widths]
        net = random_net(np.random.default_rng(1), 30, layers, dtype)
        session = Session(net.engine, Objective(), Rule("sgd", momentum=0.9), batch_size=batch_size)
        losses = [session.run(data, y, np.random.default_rng(k).permutation(11), 0.02) for k in range(2)]
        twins.append((losses, net.engine.theta.copy()))
    for losses, theta in twins[1:]:
        assert_near(losses, twins[0][0], dtype, 3)
        assert_near(theta, twins[0][1], dtype, 3)


def shuffled_csr(x):
    """Return CSR with unsorted columns and every entry in two halves."""
    n = len(x)
    data, indices, indptr = [], [], [0]
    for row in x:
        columns = np.flatnonzero(row)[::-1]
        indices += [*columns, *columns]
        data += [*(row[columns] / 2), *(row[columns] / 2)]
        indptr.append(len(indices))
    return scipy.sparse.csr_matrix((np.array(data, x.dtype), indices, indptr), shape=(n, x.shape[1]))


def test_rows_are_read_where_they_lie(dtype, rng):
    """Any order, with repetitions and omissions, is the data set rearranged; the data set itself is not touched."""
    x, y = rng.normal(size=(9, 4)).astype(dtype), rng.normal(size=(9, 2)).astype(dtype)
    x.flags.writeable = y.flags.writeable = False
    order = rng.integers(9, size=14)
    results = []
    for data, target, chosen in ((x, y, order), (x[order], y[order], np.arange(14))):
        net = random_net(np.random.default_rng(2), 4, [Layer(5, "gelu"), Layer(2)], dtype)
        session = Session(net.engine, Objective(), Rule("adam"), batch_size=4)
        results.append((session.run(data, target, chosen, 0.01), net.engine.theta.copy()))
    assert results[0][0] == results[1][0]
    assert np.array_equal(results[0][1], results[1][1])


@pytest.mark.parametrize(
    "rule", [Rule("sgd"), Rule("sgd", momentum=0.9), Rule("adam"), Rule("nadam")], ids=str
)
@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_run_in_pieces(rule, batch_size, dtype, rng):
    """Any cut at batch boundaries gives the bits of the uncut run, and so does going on in a new session."""
    x, y = rng.normal(size=(20, 4)).astype(dtype), rng.normal(size=(20, 2)).astype(dtype)
    order = rng.permutation(20)
    rates = rng.uniform(0.001, 0.02, -(-20 // batch_size))

    def fresh():
        return random_net(np.random.default_rng(3), 4, [Layer(5, "tanh"), Layer(2)], dtype).engine

    whole = fresh()
    session = Session(whole, Objective(), rule, batch_size=batch_size)
    total = session.run(x, y, order, rates)
    for cut in (3, 9, 18):
        cut = cut // batch_size * batch_size
        first, second = fresh(), fresh()
        before = Session(first, Objective(), rule, batch_size=batch_size)
        head = before.run(x, y, order[:cut], rates[: cut // batch_size])
        second.theta[...] = first.theta
        after = Session(second, Objective(), rule, batch_size=batch_size)
        after.step = before.step
        for name, slot in before.slots.items():
            after.slots[name][...] = slot
        tail = after.run(x, y, order[cut:], rates[cut // batch_size :])
        assert np.array_equal(second.theta, whole.theta)
        assert all(np.array_equal(after.slots[name], session.slots[name]) for name in session.slots)
        assert after.step == session.step == -(-20 // batch_size)
        assert head + tail == pytest.approx(total, rel=1e-12)


def test_chunks_are_the_run(dtype, rng, monkeypatch):
    """Pieces of a few batches: each reports its rows and losses, and their sum is the run."""
    from fastbp.engine import session as module

    x, y = rng.normal(size=(50, 4)).astype(dtype), rng.normal(size=(50, 2)).astype(dtype)
    results = []
    for seconds in (10.0, 1e-12):
        monkeypatch.setattr(module, "CHUNK_SECONDS", seconds)
        engine = random_net(np.random.default_rng(4), 4, [Layer(5, "tanh"), Layer(2)], dtype).engine
        session = Session(engine, Objective(), Rule("adam"), batch_size=4)
        pieces = list(session.chunks(Rows(engine.layout, x, y), np.arange(50), 0.01))
        assert sum(done for done, _ in pieces) == 50
        results.append((len(pieces), sum(loss for _, loss in pieces), engine.theta.copy()))
    assert results[0][0] == 1
    assert results[1][0] == 13
    assert results[0][1] == pytest.approx(results[1][1], rel=1e-12)
    assert np.array_equal(results[0][2], results[1][2])


def test_loss_of_a_run_is_that_of_the_model_before_each_batch(dtype, rng):
    """With a learning rate of 0 the sum is rows times the mean loss, penalties included."""
    net = random_net(rng, 4, [Layer(5, "tanh", l1=0.01, l2=0.1), Layer(2)], dtype)
    x, y = rng.normal(size=(12, 4)).astype(dtype), rng.normal(size=(12, 2)).astype(dtype)
    for rule in (Rule(), Rule("adam")):
        before = net.engine.theta.copy()
        session = Session(net.engine, Objective(), rule, batch_size=4)
        total = session.run(x, y, np.arange(12), 0.0)
        assert np.array_equal(net.engine.theta, before)
        assert_near(total / 12, net.engine.loss(x, y, Objective()), dtype)


@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize("rule", [Rule(), Rule("adam")], ids=["sgd", "adam"])
def test_a_batch_without_weight_stops_before_its_step(batch_size, rule, dtype, rng):
    """The batches before it are done and counted; what came after is not begun."""
    x, y = rng.normal(size=(12, 3)).astype(dtype), rng.normal(size=(12, 2)).astype(dtype)
    weights = np.ones(12)
    weights[4:8] = 0.0
    results = []
    for stop in (4, 12):
        engine = random_net(np.random.default_rng(6), 3, [Layer(2)], dtype).engine
        session = Session(engine, Objective(), rule, batch_size=batch_size)
        if stop == 4:
            session.run(x, y, np.arange(4), 0.05, sample_weight=weights)
        else:
            with pytest.raises(ZeroDivisionError, match="Weights sum to zero, can't be normalized"):
                session.run(x, y, np.arange(12), 0.05, sample_weight=weights)
        results.append((engine.theta.copy(), session.step))
    assert np.array_equal(results[0][0], results[1][0])
    assert results[0][1] == results[1][1] == 4 // batch_size


@pytest.mark.parametrize("rule", RULES, ids=short)
@pytest.mark.parametrize("clip", [None, 1.0])
def test_padding_stays_zero(rule, clip, dtype, rng):
    """After many steps with every penalty, what lies between the parameters is still 0."""
    layers = [Layer(5, "sigmoid", l1=0.1, l2=0.1, dropout=0.2), Layer(3, "exp"), Layer(1, l2=0.1)]
    engine = random_net(rng, 7, layers, dtype).engine
    x, y = rng.normal(size=(10, 7)).astype(dtype), rng.normal(size=(10, 1)).astype(dtype)
    session = Session(engine, Objective(), rule, batch_size=4, max_grad_norm=clip, alpha=0.1)
    for _ in range(3):
        session.run(x, y, np.arange(10), 0.01)
    for flat in (engine.theta, *session.slots.values()):
        if rule.kind == "adagrad" and flat is not engine.theta:
            continue  # its accumulator starts above 0 everywhere
        copy = flat.copy()
        weights, biases = engine.views(copy)
        for view in [*weights, *(b for b in biases if b is not None)]:
            view[...] = 0.0
        assert np.all(copy == 0.0)


@pytest.mark.parametrize(
    "rule", [Rule("adam", eps=0.0), Rule("rmsprop", eps=0.0), Rule("adagrad", eps=0.0)], ids=short
)
def test_without_eps(rule, dtype, rng):
    """eps = 0 is 0 / 0 only where a gradient has always been 0: not in the padding's place."""
    net = random_net(rng, 3, [Layer(4, "tanh", l2=0.1), Layer(2, l2=0.1)], dtype)
    x, y = rng.normal(size=(8, 3)).astype(dtype), rng.normal(size=(8, 2)).astype(dtype)
    session = Session(net.engine, Objective(), rule, batch_size=4, max_grad_norm=1.0)
    losses = [session.run(x, y, np.arange(8), 0.001) for _ in range(2)]
    assert np.all(np.isfinite(losses))
    assert all(np.all(np.isfinite(w)) for w in net.engine.weights)


def test_divergence_shows(dtype, rng):
    """Numbers that leave the range of the type end as inf or NaN in the loss, never as something that looks sound."""
    for activation in ("relu", "identity", "softplus"):
        net = random_net(rng, 3, [Layer(8, activation), Layer(8, activation), Layer(1)], dtype)
        x, y = 10 * rng.normal(size=(16, 3)).astype(dtype), rng.normal(size=(16, 1)).astype(dtype)
        session = Session(net.engine, Objective(), Rule(), batch_size=4)
        with np.errstate(all="ignore"):
            losses = [session.run(x, y, np.arange(16), 1e6) for _ in range(12)]
        assert not math.isfinite(losses[-1])
        assert not np.all(np.isfinite(net.engine.theta))


def test_a_nan_gradient_is_not_clipped_away(dtype, rng):
    net = random_net(rng, 3, [Layer(4, "tanh"), Layer(1)], dtype)
    x, y = rng.normal(size=(4, 3)).astype(dtype), rng.normal(size=(4, 1)).astype(dtype)
    x[1, 1] = np.nan
    session = Session(net.engine, Objective(), Rule(), batch_size=4, max_grad_norm=1.0)
    assert math.isnan(session.run(x, y, np.arange(4), 0.1))
    assert np.isnan(net.engine.theta).any()


def test_rates_are_one_or_one_per_batch(dtype, rng):
    net = random_net(rng, 3, [Layer(1)], dtype)
    x, y = np.zeros((7, 3), dtype), np.zeros((7, 1), dtype)
    session = Session(net.engine, Objective(), Rule(), batch_size=3)
    for rates in (0.1, np.full(3, 0.1)):
        session.run(x, y, np.arange(7), rates)
    with pytest.raises(ValueError, match=r"one per batch \(3\), got 2"):
        session.run(x, y, np.arange(7), np.zeros(2))


def test_an_empty_order_is_no_step(dtype):
    net = random_net(np.random.default_rng(0), 3, [Layer(1)], dtype)
    session = Session(net.engine, Objective(), Rule("adam"), batch_size=3)
    before = net.engine.theta.copy()
    assert session.run(np.zeros((7, 3), dtype), np.zeros((7, 1), dtype), np.zeros(0, np.int64), 0.1) == 0.0
    assert session.step == 0
    assert np.array_equal(net.engine.theta, before)
