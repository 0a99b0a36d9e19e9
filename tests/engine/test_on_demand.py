"""Entries that only some calls need: the rest of a step goes on without them, and a refusal leaves all as it was."""

import numpy as np
import pytest
import scipy.sparse

from fastbp.engine import Session
from fastbp.engine import session as sessions
from fastbp.kernels import network
from fastbp.layers import Layer
from fastbp.objectives import Objective
from fastbp.optimizers import Rule
from tests.engine.test_threads import assert_same_bits
from tests.kernels.oracles import INTERPRETED, random_net

# What a session is made with, and whether its rows are sparse.
NEEDS = {
    "sparse": ({"rule": Rule("rprop"), "batch_size": 7}, True),
    "online": ({"rule": Rule("sgd"), "batch_size": 1}, False),
    "waits": ({"rule": Rule("rprop"), "batch_size": 7}, True),
    "clipped": ({"rule": Rule("rprop"), "batch_size": 7, "max_grad_norm": 0.1}, False),
}


def rows(dtype, sparse, n=30):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(n, 60)).astype(dtype)
    y = rng.normal(size=(n, 1)).astype(dtype)
    return (
        scipy.sparse.csr_matrix(np.where(rng.random(x.shape) < 0.05, x, 0).astype(dtype)) if sparse else x
    ), y


def session_for(dtype, options):
    net = random_net(np.random.default_rng(0), 60, [Layer(20, "relu"), Layer(1)], dtype)
    return Session(net.engine, Objective(), **options)


@pytest.fixture
def demanded(monkeypatch):
    """Return the fields whose entries have been asked for, in order."""
    asked, find = [], network.address_for

    def note(field, dtype):
        asked.append(field)
        return find(field, dtype)

    monkeypatch.setattr(network, "address_for", note)
    return asked


@pytest.mark.parametrize("field", NEEDS)
def test_a_call_asks_for_what_it_needs(field, dtype, demanded, monkeypatch):
    if field == "waits":
        monkeypatch.setattr(sessions, "WAITING_BYTES", 0)
    options, sparse = NEEDS[field]
    session = session_for(dtype, options)
    x, y = rows(dtype, sparse)
    session.run(x, y, np.arange(30), 1e-3)
    assert set(demanded) == ({"sparse", "waits"} if field == "waits" else {field})


def test_dense_rows_in_batches_need_nothing_else(dtype, demanded):
    session = session_for(dtype, {"rule": Rule("adam"), "batch_size": 7})
    x, y = rows(dtype, False)
    session.run(x, y, np.arange(30), 1e-3)
    session.engine.predict(x)
    session.engine.value_and_grad(x, y, Objective())
    assert demanded == []


def test_sparse_rows_are_asked_for_in_predictions_too(dtype, demanded):
    session = session_for(dtype, {"rule": Rule("adam"), "batch_size": 7})
    x, y = rows(dtype, True)
    dense = session.engine.predict(x.toarray())
    assert demanded == []
    np.testing.assert_allclose(session.engine.predict(x), dense, rtol=0, atol=1e-5)
    assert set(demanded) == {"sparse"}


def refuse(*arguments):
    raise RuntimeError("FASTBP_COMPILE is never")


@pytest.mark.parametrize(
    ("field", "whole"),
    # Rows wait for another batch: not in a single one.
    [*((field, whole) for field in ("run", "sparse", "online") for whole in (True, False)), ("waits", True)],
)
def test_a_refusal_changes_nothing(field, whole, dtype, monkeypatch):
    """The session goes on as if it had not been asked: Rprop takes its first steps from the rate of the next call."""
    if field == "waits":
        monkeypatch.setattr(sessions, "WAITING_BYTES", 0)
    options, sparse = NEEDS["sparse" if field == "run" else field]
    n = 30 if whole else options["batch_size"]
    x, y = rows(dtype, sparse, n)
    left = []
    for refused in (True, False):
        session = session_for(dtype, options)
        before = session.engine.theta.copy()
        session.loss_sum = 2.5

        def train(rate, session=session):
            if whole:
                session.run(x, y, np.arange(n), rate)
            else:
                session.train_batch(x, y, rate)

        if refused:
            with monkeypatch.context() as patch:
                patch.setattr(network, "run" if field == "run" else "address_for", refuse)
                with pytest.raises(RuntimeError, match="never"):
                    train(0.5)
            np.testing.assert_array_equal(session.engine.theta, before)
        train(1e-3)
        assert session.loss_sum == 2.5
        left.append([session.engine.theta.copy(), *[slot.copy() for slot in session.slots.values()]])
    assert_same_bits(*left)


def test_no_session_that_clips_without_its_phase(dtype, monkeypatch):
    monkeypatch.setattr(network, "address_for", refuse)
    with pytest.raises(RuntimeError, match="never"):
        session_for(dtype, NEEDS["clipped"][0])


@pytest.mark.parametrize("field", network.ON_DEMAND)
def test_each_has_an_address_in_each_dtype(field):
    addresses = {network.address_for(field, np.dtype(kind)) for kind in (np.float32, np.float64)}
    assert 0 not in addresses and len(addresses) == (1 if INTERPRETED else 2)
