"""Batches of every size: one row, more than a workspace holds, one at a time; rules that change on the way."""

import dataclasses

import numpy as np
import pytest
import scipy.sparse

from fastbp.engine import teams, workspace
from fastbp.engine.rows import Rows
from fastbp.engine.session import Session
from fastbp.layers import Layer
from fastbp.objectives import Objective
from fastbp.optimizers import Rule
from tests.kernels.oracles import INTERPRETED, Specification, assert_near, assert_same_parameters, random_net

SMALL = INTERPRETED


@pytest.fixture
def small_parts(monkeypatch):
    """Let batches of a few rows come in parts, as batches of many do."""
    monkeypatch.setattr(workspace, "PART_ROWS", 5)
    monkeypatch.setattr(workspace, "PART_BYTES", 1)


LAYERS = [Layer(9, "relu", l2=0.01), Layer(1, "tanh"), Layer(12, "silu", l1=0.01), Layer(2)]
RULES = [Rule(), Rule("sgd", momentum=0.9), Rule("adam", eps=1e-2), Rule("nadam", eps=1e-2)]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.kernel)
@pytest.mark.parametrize("clip", [None, 0.2])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("batch_size", [5, 13, 20, 40])  # parts: 1, 3, 4, 7
def test_parts_of_a_batch_add_up(rule, clip, weighted, batch_size, dtype, rng, small_parts):
    net = random_net(rng, 6, LAYERS, dtype)
    x, y = rng.normal(size=(31, 6)).astype(dtype), rng.normal(size=(31, 2)).astype(dtype)
    weights = rng.uniform(0.1, 2, 31) if weighted else None
    session = Session(net.engine, Objective(), rule, batch_size=batch_size, max_grad_norm=clip, alpha=0.1)
    assert session._workspace.part == 5
    spec = Specification(net, Objective(), rule, max_grad_norm=clip, alpha=0.1)
    rates = [0.02] * -(-31 // batch_size)
    for order in (rng.permutation(31), np.arange(31)):
        got = session.run(x, y, order, 0.02, sample_weight=weights)
        assert_near(got, spec.run(x, y, order, batch_size, rates, weights), dtype, 3)
        assert_same_parameters(net.engine, net.layers, dtype, 3)


def trained(dtype, *, sparse=False, batch_size=40, n_threads=1, clip=None):
    """Return the losses and parameters of a run with dropout."""
    rng = np.random.default_rng(9)
    layers = [Layer(9, "relu", dropout=0.3), Layer(12, "silu", dropout=0.5, l2=0.1), Layer(2)]
    net = random_net(rng, 6, layers, dtype, input_dropout=0.0 if sparse else 0.2)
    x, y = rng.normal(size=(93, 6)).astype(dtype), rng.normal(size=(93, 2)).astype(dtype)
    x = scipy.sparse.csr_matrix(np.where(rng.random(x.shape) < 0.5, x, 0)) if sparse else x
    session = Session(
        net.engine,
        Objective(),
        Rule("adam", eps=1e-2),
        batch_size=batch_size,
        seed=3,
        max_grad_norm=clip,
        n_threads=n_threads,
    )
    losses = [session.run(x, y, order, 0.01) for order in (rng.permutation(93), np.arange(93))]
    return np.array(losses), net.engine.theta


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("clip", [None, 0.1])
def test_parts_change_no_mask(sparse, clip, dtype, monkeypatch):
    """Masks are by the row's place in its batch: in parts or whole, the same units are dropped."""
    whole = trained(dtype, sparse=sparse, clip=clip)
    monkeypatch.setattr(workspace, "PART_ROWS", 7)
    monkeypatch.setattr(workspace, "PART_BYTES", 1)
    in_parts = trained(dtype, sparse=sparse, clip=clip)
    for a, b in zip(in_parts, whole, strict=True):
        assert_near(a, b, dtype, 3)


@pytest.mark.skipif(INTERPRETED, reason="the interpreter mode runs one thread at a time")
@pytest.mark.parametrize("clip", [None, 0.1])
def test_parts_and_threads(clip, dtype, monkeypatch, small_parts):
    alone = trained(dtype, clip=clip)
    monkeypatch.setattr(teams, "TEAM_FLOPS", 1e-9)
    monkeypatch.setattr(teams, "CALL_FLOPS", 1e-9)
    monkeypatch.setattr(teams, "default_threads", lambda: 8)
    monkeypatch.setattr(teams.Pace, "choose", lambda self, costly=False: (self.team, False))
    for k in range(20):
        for a, b in zip(trained(dtype, clip=clip, n_threads=2 + k % 4), alone, strict=True):
            assert np.array_equal(a, b)


@pytest.mark.skipif(INTERPRETED, reason="thousands of rows")
def test_a_batch_of_thousands(dtype, rng):
    """Descent on a whole data set, in the parts that the workspace chooses, against NumPy."""
    net = random_net(rng, 20, [Layer(30, "tanh"), Layer(3)], dtype)
    n, lr = 5000, 0.05
    x, y = rng.normal(size=(n, 20)).astype(dtype), rng.normal(size=(n, 3)).astype(dtype)
    (W, V), (b, c) = ([a.astype(float) for a in group] for group in (net.engine.weights, net.engine.biases))
    session = Session(net.engine, Objective(), Rule(), batch_size=n)
    assert session._workspace.part < n
    for order in (np.arange(n), rng.permutation(n)):
        got = session.run(x, y, order, lr)
        a = np.tanh(x @ W + b)
        residual = a @ V + c - y
        assert got / n == pytest.approx(float(np.mean(residual**2)), rel=1e3 * float(np.finfo(dtype).eps))
        delta = 2 * residual / residual.size
        below = delta @ V.T * (1 - a * a)
        W, V = W - lr * x.T @ below, V - lr * a.T @ delta
        b, c = b - lr * below.sum(0), c - lr * delta.sum(0)
    for mine, want in zip([*net.engine.weights, *net.engine.biases], [W, V, b, c], strict=True):
        assert_near(mine, want, dtype, 2.5)


@pytest.mark.parametrize("rule", [*RULES, Rule("rprop")], ids=lambda rule: rule.kernel)
@pytest.mark.parametrize("batch_size", [1, 7])
def test_a_batch_at_a_time(rule, batch_size, dtype, rng):
    """train_batch for loops that users write: the parameters and losses of run, to the bit."""
    x, y = rng.normal(size=(20, 6)).astype(dtype), rng.normal(size=(20, 2)).astype(dtype)
    weights = rng.uniform(0.1, 2, 20)
    layers = [Layer(9, "relu", dropout=0.2 * (batch_size > 1)), Layer(2)]
    for sample_weight in (None, weights):
        engines = [random_net(np.random.default_rng(4), 6, layers, dtype).engine for _ in range(2)]
        sessions = [Session(engine, Objective(), rule, batch_size=batch_size) for engine in engines]
        total = sessions[0].run(x, y, np.arange(20), 0.01, sample_weight=sample_weight)
        sums = 0.0
        for first in range(0, 20, batch_size):
            part = slice(first, first + batch_size)
            share = None if sample_weight is None else sample_weight[part]
            mean = sessions[1].train_batch(x[part], y[part], 0.01, share)
            sums += mean * len(x[part])
        assert np.array_equal(engines[0].theta, engines[1].theta)
        assert sessions[0].step == sessions[1].step
        assert sums == pytest.approx(total, rel=1e-12)


def test_a_batch_at_a_time_leaves_the_sum_alone(dtype, rng):
    net = random_net(rng, 3, [Layer(2)], dtype)
    x, y = rng.normal(size=(4, 3)).astype(dtype), rng.normal(size=(4, 2)).astype(dtype)
    session = Session(net.engine, Objective(), Rule(), batch_size=4)
    session.loss_sum = 5.0
    session.train_batch(x, y, 0.1)
    assert session.loss_sum == 5.0
    session.run(x, y, np.arange(4), 0.1)
    assert session.loss_sum == 5.0
    for _ in session.chunks(Rows(net.engine.layout, x, y), np.arange(4), 0.1):
        pass
    assert session.loss_sum > 5.0
    with pytest.raises(ZeroDivisionError, match="Weights sum to zero"):
        session.train_batch(x, y, 0.1, np.zeros(4))
    for rows in (0, 5):
        with pytest.raises(
            ValueError, match=f"x must have 1 to 4 rows, the batch size of the session, got {rows}"
        ):
            session.train_batch(np.zeros((rows, 3), dtype), np.zeros((rows, 2), dtype), 0.1)


CHANGES = [
    (Rule(), {"weight_decay": 0.5}),
    (Rule("sgd", momentum=0.9), {"momentum": 0.5, "nesterov": True}),
    (Rule("adam", eps=1e-2), {"beta1": 0.5, "weight_decay": 0.1}),
    (Rule("adamw", eps=1e-2), {"weight_decay": 0.3}),
    (Rule("rmsprop", eps=1e-2), {"alpha": 0.5}),
    (Rule("adagrad", eps=1e-2), {"eps": 0.5}),
]


@pytest.mark.parametrize(("rule", "change"), CHANGES, ids=[rule.kernel for rule, _ in CHANGES])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_a_rule_may_change_between_calls(rule, change, batch_size, dtype, rng):
    net = random_net(rng, 3, [Layer(4, "tanh"), Layer(2)], dtype)
    x, y = rng.normal(size=(8, 3)).astype(dtype), rng.normal(size=(8, 2)).astype(dtype)
    session = Session(net.engine, Objective(), rule, batch_size=batch_size)
    spec = Specification(net, Objective(), rule)
    rates = [0.02] * (8 // batch_size)
    for _ in range(2):
        assert_near(
            session.run(x, y, np.arange(8), 0.02), spec.run(x, y, np.arange(8), batch_size, rates), dtype, 3
        )
        session.rule = spec.rule = dataclasses.replace(rule, **change)
    assert_same_parameters(net.engine, net.layers, dtype, 3)
    assert session.rule == dataclasses.replace(rule, **change)


def test_a_session_keeps_its_kind_of_rule(dtype):
    net = random_net(np.random.default_rng(0), 3, [Layer(2)], dtype)
    session = Session(net.engine, Objective(), Rule("adam"), batch_size=4)
    for other in (Rule("sgd"), Rule("adamw"), Rule("nadam")):
        with pytest.raises(ValueError, match="the rule of a session cannot change from adam"):
            session.rule = other
    with pytest.raises(ValueError, match="unknown update rule 'lion'; known are adagrad"):
        session.rule = Rule("lion")
    assert session.rule == Rule("adam")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"max_grad_norm": 0.0}, "max_grad_norm must be positive, got 0.0"),
        ({"max_grad_norm": float("nan")}, "max_grad_norm must be positive, got nan"),
    ],
)
def test_sessions_say_what_is_wrong(options, message, dtype):
    net = random_net(np.random.default_rng(0), 3, [Layer(2)], dtype)
    with pytest.raises(ValueError, match=message):
        Session(net.engine, Objective(), Rule(), **{"batch_size": 4, **options})
