"""Nothing is allocated after the first batch, and what a call reads or writes is what it says."""

import gc
import tracemalloc
import weakref

import numpy as np
import pytest
import scipy.sparse

from fastbp.engine import Engine, teams
from fastbp.engine import session as runs
from fastbp.engine.memory import flat
from fastbp.engine.session import Session
from fastbp.kernels import network
from fastbp.layers import Layer
from fastbp.objectives import Objective
from fastbp.optimizers import Rule
from tests.kernels.oracles import INTERPRETED, random_net

compiled_only = pytest.mark.skipif(INTERPRETED, reason="the interpreter mode makes temporary arrays")


@pytest.fixture
def kernel_allocations():
    """Return a function that counts what compiled code allocates in a call.

    Each array that is passed from Python takes one small object, so a call has a price; the batches in it have none.
    """
    from numba.core.registry import cpu_target
    from numba.core.runtime import _nrt_python, rtsys

    rtsys.initialize(cpu_target.target_context)
    _nrt_python.memsys_enable_stats()

    def count(call):
        before = rtsys.get_allocation_stats().alloc
        call()
        return rtsys.get_allocation_stats().alloc - before

    yield count
    _nrt_python.memsys_disable_stats()


def session_of(rule, dtype, *, batch_size=16, dropout=0.0, max_grad_norm=None, n_threads=1):
    rng = np.random.default_rng(0)
    layers = [Layer(30, "gelu", dropout=dropout, l2=0.01), Layer(1, "tanh"), Layer(20, "relu"), Layer(3)]
    net = random_net(rng, 25, layers, dtype)
    x, y = rng.normal(size=(4000, 25)).astype(dtype), rng.normal(size=(4000, 3)).astype(dtype)
    session = Session(
        net.engine, Objective(), rule, batch_size=batch_size, max_grad_norm=max_grad_norm, n_threads=n_threads
    )
    return session, x, y


def peak_of(call):
    """Return the most memory that Python and NumPy held at once during a call, beyond what they held before."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        call()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


@compiled_only
@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize(
    "options",
    [
        {"rule": Rule("adam")},
        {"rule": Rule("sgd"), "batch_size": 1},
        {"rule": Rule("sgd", momentum=0.9), "dropout": 0.3, "max_grad_norm": 0.5},
    ],
    ids=["adam", "online", "clipped dropout"],
)
def test_training_allocates_nothing_per_batch(options, n_threads, dtype, kernel_allocations, monkeypatch):
    """Neither compiled code nor Python: a pass in many batches needs what the same pass in two does."""
    monkeypatch.setattr(teams, "TEAM_FLOPS", 1e-9)
    monkeypatch.setattr(teams, "CALL_FLOPS", 1e-9)
    monkeypatch.setattr(teams, "default_threads", lambda: 2)
    monkeypatch.setattr(teams.Pace, "choose", lambda self, costly=False: (self.team, False))
    monkeypatch.setattr(runs, "CHUNK_SECONDS", 1e9)
    order, weights = np.random.default_rng(1).permutation(4000), np.ones(4000)
    needs = []
    for batch_size in (2000, options.get("batch_size", 16)):
        session, x, y = session_of(dtype=dtype, n_threads=n_threads, **{**options, "batch_size": batch_size})

        def run(session=session, x=x, y=y):
            session.run(x, y, order, 0.001, sample_weight=weights)

        run()
        needs.append((peak_of(run), kernel_allocations(run)))
    assert needs[1][0] <= needs[0][0] + 4096
    assert needs[1][0] < 100_000, "the data set seems to have been copied"
    assert needs[1][1] == needs[0][1]


@compiled_only
def test_training_on_sparse_rows_allocates_nothing_per_batch(dtype, kernel_allocations, monkeypatch):
    monkeypatch.setattr(runs, "CHUNK_SECONDS", 1e9)
    session, x, y = session_of(Rule("adam"), dtype)
    data = scipy.sparse.csr_matrix(np.where(x > 1, x, 0))
    data.sum_duplicates()
    runs_of = [lambda n=n: session.run(data, y, np.arange(n), 0.001) for n in (32, 4000)]
    runs_of[0]()
    assert kernel_allocations(runs_of[1]) == kernel_allocations(runs_of[0])


@compiled_only
def test_predictions_take_bounded_memory(dtype, kernel_allocations):
    """With an array to write to, the rows of any data set go through one workspace, kept for the next call."""
    session, x, _ = session_of(Rule(), dtype)
    engine = session.engine
    out = np.empty((4000, 3), dtype)
    engine.predict(x, out=out)
    assert peak_of(lambda: engine.predict(x, out=out)) < 20_000
    few, little = x[:5].copy(), out[:5].copy()
    price = kernel_allocations(lambda: engine.predict(few, out=little))
    assert kernel_allocations(lambda: engine.predict(x, out=out)) == price
    row = x[:1].copy()
    engine.predict(row)
    assert peak_of(lambda: engine.predict(row)) < 4096


def test_inputs_are_only_read(dtype, rng):
    """Data, targets, weights, order and rates come back as they were, read-only or not."""
    net = random_net(rng, 5, [Layer(6, "relu", dropout=0.2), Layer(2)], dtype)
    given = {
        "x": rng.normal(size=(9, 5)).astype(dtype),
        "y": rng.normal(size=(9, 2)).astype(dtype),
        "order": rng.permutation(9),
        "rates": np.full(3, 0.01),
        "weights": rng.uniform(0.1, 1, 9),
    }
    kept = {name: array.copy() for name, array in given.items()}
    for array in given.values():
        array.flags.writeable = False
    x, y, order, rates, weights = given.values()
    session = Session(net.engine, Objective(), Rule("adam"), batch_size=3)
    session.run(x, y, order, rates, sample_weight=weights)
    net.engine.predict(x)
    net.engine.value_and_grad(x, y, Objective(), sample_weight=weights, inputs=True)
    sparse = scipy.sparse.csr_matrix(x)
    for part in (sparse.data, sparse.indices, sparse.indptr):
        part.flags.writeable = False
    session.run(sparse, y, order, rates, sample_weight=weights)
    for name, array in given.items():
        assert np.array_equal(array, kept[name]), name


@compiled_only
def test_one_compilation_serves_everything(dtype, rng):
    """Networks, losses, rules, sparse and read-only data, views: no call waits for a compiler but the first."""
    x, y = rng.normal(size=(9, 5)).astype(dtype), rng.normal(size=(9, 2)).astype(dtype)
    order, rates, weights = rng.permutation(9), np.full(3, 0.01), rng.uniform(0.1, 1, 9)
    net = random_net(rng, 5, [Layer(2)], dtype)
    Session(net.engine, Objective(), Rule(), batch_size=3).run(x, y, order, rates)

    frozen = [array.copy() for array in (x, y, order, rates, weights)]
    for array in frozen:
        array.flags.writeable = False
    strided = [np.repeat(array, 2, axis=0)[::2] for array in (y, order, rates, weights)]
    for layers, rule in (([Layer(2)], Rule("adam")), ([Layer(7, "mish", False), Layer(2)], Rule("rprop"))):
        net = random_net(rng, 5, layers, dtype)
        session = Session(net.engine, Objective("huber"), rule, batch_size=3, max_grad_norm=1.0)
        for arrays in (
            frozen,
            [x, *strided],
            [scipy.sparse.csr_matrix(x), y, order.astype(np.int32), 0.1, weights],
        ):
            data, targets, rows, learning_rates, shares = arrays
            session.run(data, targets, rows, learning_rates, sample_weight=shares)
            net.engine.predict(data)
            net.engine.loss(data, targets, Objective("mae"), sample_weight=shares)
            net.engine.value_and_grad(data, targets, Objective("mae"), sample_weight=shares)
        session.train_batch(frozen[0][:3], frozen[1][:3], 0.1, frozen[4][:3])
        session.train_batch(x[:3], y[:3], np.float32(0.1), weights[:3].tolist())
    mine = [signature for signature in network.run.signatures if str(dtype) in str(signature[1])]
    assert len(mine) == 1


def test_gradients_are_the_callers_own(dtype, rng):
    """What value_and_grad returned does not change under the next call, nor do predictions."""
    net = random_net(rng, 5, [Layer(6, "relu"), Layer(2)], dtype)
    x, y = rng.normal(size=(9, 5)).astype(dtype), rng.normal(size=(9, 2)).astype(dtype)
    _, first = net.engine.value_and_grad(x, y, Objective(), inputs=True)
    out = net.engine.predict(x)
    kept = first.theta.copy(), first.inputs.copy(), out.copy()
    net.engine.value_and_grad(2 * x, y, Objective(), inputs=True)
    net.engine.predict(2 * x)
    assert np.array_equal(first.theta, kept[0])
    assert np.array_equal(first.inputs, kept[1])
    assert np.array_equal(out, kept[2])


def test_parameters_are_live(dtype, rng):
    """weights and biases are views: what is written to them, or to theta, is what the next call uses."""
    engine = Engine(2, [Layer(1)], dtype)
    x = np.array([[1.0, 2.0], [3.0, 4.0]], dtype)
    assert np.array_equal(engine.predict(x), [[0], [0]])
    engine.weights[0][...] = [[1.0], [10.0]]
    engine.biases[0][...] = 0.5
    assert np.array_equal(engine.predict(x), [[21.5], [43.5]])
    saved = engine.theta.copy()
    session = Session(engine, Objective(), Rule(), batch_size=2)
    session.run(x, np.zeros((2, 1), dtype), np.arange(2), 0.001)
    assert not np.array_equal(engine.predict(x), [[21.5], [43.5]])
    engine.theta[...] = saved
    assert np.array_equal(engine.predict(x), [[21.5], [43.5]])
    assert np.array_equal(engine.weights[0], [[1.0], [10.0]])


def test_buffers_start_cache_lines(dtype):
    engine = Engine(3, [Layer(5, "gelu"), Layer(2)], dtype)
    session = Session(engine, Objective(), Rule("adam"), batch_size=4)
    for array in (engine.theta, *session.slots.values()):
        assert array.ctypes.data % 64 == 0
    assert all(max(w.strides) % 64 == 0 for w in engine.weights)


@pytest.mark.slow
@compiled_only
def test_one_row_of_very_many_inputs(dtype):
    """Single rows use the stack for their workspace: not without bounds."""
    import subprocess
    import sys

    code = f"""
import numpy as np
from fastbp.engine import Engine
from fastbp.layers import Layer
engine = Engine(3_000_000, [Layer(2)], "{dtype}")
engine.weights[0][...] = 1.0
assert engine.predict(np.ones((1, 3_000_000), "{dtype}"))[0, 0] == 3_000_000
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"exit {done.returncode} {done.stderr[-1000:]}"


def test_a_read_only_array_lives_as_long_as_its_rows():
    array = np.full(1000, 3.0)
    array.flags.writeable = False
    alive = weakref.ref(array)
    rows = flat(array)
    del array
    gc.collect()
    assert alive() is not None
    assert (rows == 3.0).all()
    del rows
    gc.collect()
    assert alive() is None
