"""Several passes in one call: the bits of as many calls."""

import numpy as np
import pytest
import scipy.sparse

from fastbp.engine import teams, workspace
from fastbp.engine.rows import Rows
from fastbp.engine.session import Session
from fastbp.engine.workspace import EMPTY_ORDER
from fastbp.kernels import plan
from fastbp.layers import Layer
from fastbp.objectives import Objective
from fastbp.optimizers import Rule
from tests.kernels.oracles import INTERPRETED, random_net

N, COUNT = (13, 2) if INTERPRETED else (23, 5)
LAYERS = [Layer(9, "relu"), Layer(12, "silu", l2=0.1), Layer(3)]
DROPPED = [Layer(9, "relu", dropout=0.3), Layer(12, "silu"), Layer(3)]
PLAIN = [Layer(9, "tanh"), Layer(3)]


def data(kind, dtype, rng):
    """Return rows with which something is different, and their objective."""
    x, y = rng.normal(size=(N, 6)).astype(dtype), rng.normal(size=(N, 3)).astype(dtype)
    objective, weights = Objective(), None
    if kind == "sparse":
        x = scipy.sparse.csr_matrix(np.where(rng.random(x.shape) < 0.5, x, 0))
    elif kind == "codes":
        y, objective = rng.integers(3, size=N), Objective("cross_entropy")
    elif kind == "weighted":
        weights = rng.uniform(0.1, 2, N)
    return lambda layout: Rows(layout, x, y, weights, objective), objective


def trained(make, objective, layers, dtype, orders, rates, at_once, **options):
    """Return the sums of all passes, parameters, state and counters, from one call or from one per pass."""
    rule = options.pop("rule", Rule("adam"))
    net = random_net(np.random.default_rng(3), 6, layers, dtype)
    session = Session(net.engine, objective, rule, seed=4, **options)
    rows = make(net.engine.layout)
    if at_once:
        sums = session.passes(rows, orders, rates, COUNT)
    else:
        sums = []
        for k in range(COUNT):
            order = orders[k] if len(orders) else np.arange(N)
            rate = rates if isinstance(rates, float) else np.split(rates, COUNT)[k]
            session.loss_sum = 0.0
            for _ in session.chunks(rows, order, rate):
                pass
            sums.append(session.loss_sum)
    return [sums, net.engine.theta, *session.slots.values(), session.step]


def same(*results):
    for one, other in zip(*results, strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("kind", ["dense", "sparse", "codes", "weighted"])
@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("batch_size", [1, 5, 23])
@pytest.mark.parametrize("layers", [LAYERS, DROPPED], ids=["penalty", "dropout"])
def test_passes(kind, shuffled, batch_size, layers, dtype, rng):
    make, objective = data(kind, dtype, rng)
    orders = np.array([rng.permutation(N) for _ in range(COUNT)]) if shuffled else EMPTY_ORDER
    rates = rng.uniform(0.001, 0.02, COUNT * -(-N // batch_size))
    for rate in (0.01, rates):
        given = make, objective, layers, dtype, orders, rate
        same(*[trained(*given, at_once, batch_size=batch_size) for at_once in (False, True)])


@pytest.mark.parametrize("rule", [Rule(), Rule("rprop"), Rule("sgd", momentum=0.9)], ids=lambda r: r.kernel)
@pytest.mark.parametrize("kind", ["dense", "sparse", "codes", "weighted"])
@pytest.mark.parametrize("shuffled", [False, True])
def test_passes_row_by_row(rule, kind, shuffled, dtype, rng):
    """Plain descent has its own path for single rows."""
    make, objective = data(kind, dtype, rng)
    orders = np.array([rng.permutation(N) for _ in range(COUNT)]) if shuffled else EMPTY_ORDER
    given = make, objective, PLAIN, dtype, orders, 0.01
    same(*[trained(*given, at_once, batch_size=1, rule=rule) for at_once in (False, True)])


@pytest.mark.parametrize("clip", [None, 0.1])
def test_passes_in_parts(clip, dtype, rng, monkeypatch):
    monkeypatch.setattr(workspace, "PART_ROWS", 5)
    monkeypatch.setattr(workspace, "PART_BYTES", 1)
    make, objective = data("dense", dtype, rng)
    orders = np.array([rng.permutation(N) for _ in range(COUNT)])
    given = make, objective, LAYERS, dtype, orders, 0.01
    same(*[trained(*given, once, batch_size=12, max_grad_norm=clip, alpha=0.1) for once in (False, True)])


@pytest.mark.skipif(INTERPRETED, reason="the interpreter mode runs one thread at a time")
@pytest.mark.parametrize("batch_size", [5, 23])
def test_passes_of_a_team(batch_size, dtype, rng, monkeypatch):
    make, objective = data("dense", dtype, rng)
    orders = np.array([rng.permutation(N) for _ in range(COUNT)])
    given = make, objective, LAYERS, dtype, orders, 0.01
    alone = trained(*given, False, batch_size=batch_size)
    monkeypatch.setattr(teams, "TEAM_FLOPS", 1e-9)
    monkeypatch.setattr(teams, "CALL_FLOPS", 1e-9)
    monkeypatch.setattr(teams, "default_threads", lambda: 8)
    monkeypatch.setattr(teams.Pace, "choose", lambda self, costly=False: (self.team, False))
    for k in range(10):
        same(trained(*given, True, batch_size=batch_size, n_threads=2 + k % 4), alone)


def test_passes_of_some_rows(dtype, rng):
    """Rows without weight are left out of the order."""
    make, objective = data("dense", dtype, rng)
    orders = np.array([rng.permutation(N)[: N - 6] for _ in range(COUNT)])
    given = make, objective, LAYERS, dtype, orders, 0.01
    same(*[trained(*given, at_once, batch_size=5) for at_once in (False, True)])


def prepared(rng, dtype, **options):
    """Return a session that has trained before, and its rows."""
    make, objective = data("dense", dtype, rng)
    net = random_net(rng, 6, LAYERS, dtype)
    session = Session(net.engine, objective, Rule("nadam"), batch_size=5, **options)
    rows = make(net.engine.layout)
    assert session.passes(rows, EMPTY_ORDER, 0.01, 2) is not None
    return session, rows


def everything(session):
    numbers = session._workspace.numbers[plan.LOSS_SUM : plan.PRODUCT + 1]
    return [session.engine.theta.copy(), session._state.copy(), numbers.copy(), session.step]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_changes_nothing(bad, dtype, rng):
    session, rows = prepared(rng, dtype)
    before = everything(session)
    rows.values[7] = bad
    assert session.passes(rows, EMPTY_ORDER, 0.01, COUNT) is None
    same(everything(session), before)
    # A single pass has nobody to look at it before its end anyway.
    assert not np.isfinite(session.passes(rows, EMPTY_ORDER, 0.01, 1)).all()
    assert not np.isfinite(session.engine.theta).all()


def test_the_first_passes_can_be_taken_back(dtype, rng):
    """Rprop's steps begin with the first rate."""
    make, objective = data("dense", dtype, rng)
    net = random_net(rng, 6, LAYERS, dtype)
    session, rows = (
        Session(net.engine, objective, Rule("rprop"), batch_size=N),
        make(net.engine.layout),
    )
    before, rows.values[7] = everything(session), np.nan
    assert session.passes(rows, EMPTY_ORDER, 0.01, COUNT) is None
    same(everything(session), before)


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_an_exception_takes_passes_back(error, dtype, rng, monkeypatch):
    session, rows = prepared(rng, dtype)
    before, call = everything(session), session._workspace.call

    def interrupted(*args, **given):
        call(*args, **given)
        raise error

    monkeypatch.setattr(session._workspace, "call", interrupted)
    with pytest.raises(error):
        session.passes(rows, EMPTY_ORDER, 0.01, COUNT)
    same(everything(session), before)


def test_a_batch_without_weight(dtype, rng):
    session, rows = prepared(rng, dtype)
    before = everything(session)
    with pytest.raises(ZeroDivisionError, match="Weights sum to zero"):
        session.passes(rows.weighted(np.r_[np.ones(N - 3), np.zeros(3)]), EMPTY_ORDER, 0.01, COUNT)
    same(everything(session), before)


def test_how_many_passes(dtype, rng):
    session, _ = prepared(rng, dtype)
    session._seconds_per_row = 1e-9
    assert session.passes_in_a_call(10) == plan.MOST_PASSES
    session._seconds_per_row = 0.001
    assert session.passes_in_a_call(10) == 5
    assert session.passes_in_a_call(100) == 0
