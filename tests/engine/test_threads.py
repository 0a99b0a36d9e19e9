"""Teams of threads: the same bits for any number of them, in company, after a fork, under joblib, and interrupted."""

import os
import signal
import subprocess
import sys
import threading
import time
import types

import numpy as np
import pytest
import scipy.sparse

from fastbp.engine import engine as engines
from fastbp.engine import session as runs
from fastbp.engine import teams as module
from fastbp.engine.session import Session
from fastbp.kernels import plan
from fastbp.kernels.matmul import PACKED_BYTES, PACKED_ROWS
from fastbp.layers import Layer
from fastbp.objectives import Objective
from fastbp.optimizers import Rule
from tests.kernels.oracles import INTERPRETED, random_net

pytestmark = pytest.mark.skipif(INTERPRETED, reason="the interpreter mode runs one thread at a time")

COUNTS = [1, 2, 3, 4, 7]


@pytest.fixture
def teams(monkeypatch):
    """Let small networks have teams, of more threads than this machine has cores, whether or not they are faster."""
    monkeypatch.setattr(module, "TEAM_FLOPS", 1e-9)
    monkeypatch.setattr(module, "CALL_FLOPS", 1e-9)
    monkeypatch.setattr(module, "default_threads", lambda: 8)
    monkeypatch.setattr(module.Pace, "choose", lambda self, costly=False: (self.team, False))


# name: (n_inputs, layers, options of the session, batch size)
RUNS = {
    "adam": (30, [Layer(64, "relu"), Layer(48, "tanh"), Layer(5)], {"rule": Rule("adam")}, 100),
    "blocks": (200, [Layer(90, "gelu"), Layer(3)], {"rule": Rule("sgd", momentum=0.9)}, 61),
    "clipped": (
        17,
        [Layer(33, "selu", l2=0.01), Layer(2)],
        {"rule": Rule("adam"), "max_grad_norm": 0.1},
        100,
    ),
    "penalized": (
        17,
        [Layer(70, "silu", l1=0.01), Layer(2, l2=0.1)],
        {"rule": Rule("nadam"), "alpha": 0.1},
        64,
    ),
    "dropout": (17, [Layer(70, "relu", dropout=0.3), Layer(9, dropout=0.5), Layer(2)], {"rule": Rule()}, 100),
    "narrow": (50, [Layer(1, "sigmoid"), Layer(50, "tanh"), Layer(2)], {"rule": Rule("rmsprop")}, 77),
    "one row": (17, [Layer(9, "tanh"), Layer(2)], {"rule": Rule()}, 1),
    "few rows": (40, [Layer(40, "tanh"), Layer(4)], {"rule": Rule("adagrad")}, 3),
}


def train(name, dtype, n_threads, *, sparse=False, weighted=False, passes=2):
    """Return everything that a run leaves: losses, parameters and state."""
    n_inputs, layers, options, batch_size = RUNS[name]
    rng = np.random.default_rng(12)
    net = random_net(rng, n_inputs, layers, dtype)
    n = 230
    x, y = rng.normal(size=(n, n_inputs)).astype(dtype), rng.normal(size=(n, layers[-1].units)).astype(dtype)
    weights = rng.uniform(0.1, 2, n) if weighted else None
    if sparse:
        x = scipy.sparse.csr_matrix(np.where(rng.random(x.shape) < 0.2, x, 0))
    session = Session(net.engine, Objective(), batch_size=batch_size, n_threads=n_threads, seed=5, **options)
    losses = [
        session.run(
            x, y, rng.permutation(n), rng.uniform(0.001, 0.01, -(-n // batch_size)), sample_weight=weights
        )
        for _ in range(passes)
    ]
    return [np.array(losses), net.engine.theta, *session.slots.values()]


def assert_same_bits(got, want):
    for a, b in zip(got, want, strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize("name", RUNS)
def test_training_is_the_same_for_any_number_of_threads(name, dtype, teams):
    alone = train(name, dtype, 1)
    for n_threads in COUNTS[1:]:
        assert_same_bits(train(name, dtype, n_threads), alone)


@pytest.mark.parametrize("name", ["penalized", "clipped", "dropout"])
def test_again_and_again(name, dtype, teams):
    """A race shows in one of many runs: in losses (which are summed by one member) as in parameters."""
    alone = train(name, dtype, 1)
    for k in range(60):
        assert_same_bits(train(name, dtype, (2, 7, 3)[k % 3]), alone)


@pytest.mark.parametrize(("sparse", "weighted"), [(True, False), (False, True), (True, True)])
def test_sparse_and_weighted_too(sparse, weighted, dtype, teams):
    for name in ("adam", "narrow", "blocks", "clipped"):
        alone = train(name, dtype, 1, sparse=sparse, weighted=weighted)
        for n_threads in (2, 3, 7):
            assert_same_bits(train(name, dtype, n_threads, sparse=sparse, weighted=weighted), alone)


def test_gradients_and_predictions_too(dtype, teams, rng):
    net = random_net(rng, 30, [Layer(64, "relu"), Layer(1, "tanh"), Layer(5)], dtype)
    x, y = rng.normal(size=(1100, 30)).astype(dtype), rng.normal(size=(1100, 5)).astype(dtype)
    weights = rng.uniform(0.1, 2, 1100)
    for data in (x, scipy.sparse.csr_matrix(x)):
        value, gradients = net.engine.value_and_grad(data, y, Objective(), sample_weight=weights)
        out = net.engine.predict(data)
        loss = net.engine.loss(data, y, Objective())
        for n_threads in COUNTS[1:]:
            other, same = net.engine.value_and_grad(
                data, y, Objective(), sample_weight=weights, n_threads=n_threads
            )
            assert other == value
            assert np.array_equal(same.theta, gradients.theta)
            assert np.array_equal(net.engine.predict(data, n_threads=n_threads), out)
            assert net.engine.loss(data, y, Objective(), n_threads=n_threads) == loss
    _, felt = net.engine.value_and_grad(x, y, Objective(), inputs=True)
    _, other = net.engine.value_and_grad(x, y, Objective(), inputs=True, n_threads=3)
    assert np.array_equal(felt.inputs, other.inputs)


def test_weights_too_large_for_the_caches(dtype, teams, rng):
    """Blocks of many rows read them from copies of their panels, one per thread, blocks of few in place: same bits."""
    n, n_inputs, units = 300, 4096, PACKED_BYTES // 4096 // dtype.itemsize
    layers = [Layer(units, "tanh"), Layer(n_inputs, "tanh"), Layer(2)]
    x, y = rng.normal(size=(n, n_inputs)).astype(dtype), rng.normal(size=(n, 2)).astype(dtype)
    start = random_net(rng, n_inputs, layers, dtype)
    results = []
    for n_threads in (1, 2, 3):
        engine = start.engine.copy()
        session = Session(engine, Objective(), Rule(), batch_size=n, n_threads=n_threads)
        loss = session.run(x, y, np.arange(n), 0.01)
        results.append([np.array(loss), engine.theta, engine.predict(x, n_threads=n_threads)])
        used = session._workspace
        assert used.plan[plan.PANEL] > 0
        assert (used.job[plan.ROW_BLOCK] >= PACKED_ROWS) == (n_threads < 3)
    for result in results[1:]:
        assert_same_bits(result, results[0])
    out = x
    for number, (W, b) in enumerate(zip(start.engine.weights, start.engine.biases, strict=True)):
        out = out @ W + b
        if number < 2:
            out = np.tanh(out)
    assert np.isclose(results[0][0] / n, np.mean((out - y) ** 2), rtol=1e-4)


def test_a_batch_without_weight_ends_every_thread(dtype, teams, rng):
    """All members of a team leave together, and the session can go on."""
    net = random_net(rng, 30, [Layer(64, "relu"), Layer(5)], dtype)
    x, y = rng.normal(size=(120, 30)).astype(dtype), rng.normal(size=(120, 5)).astype(dtype)
    weights = np.ones(120)
    weights[40:80] = 0.0
    session = Session(net.engine, Objective(), Rule("adam"), batch_size=40, n_threads=4)
    with pytest.raises(ZeroDivisionError, match="Weights sum to zero"):
        session.run(x, y, np.arange(120), 0.01, sample_weight=weights)
    assert session.step == 1
    assert np.isfinite(session.run(x, y, np.arange(120), 0.01))


@pytest.fixture
def started(monkeypatch):
    """Count the threads that are started."""
    real, functions = module._thread.start_new_thread, []
    parts = types.SimpleNamespace(start_new_thread=lambda f, a: (functions.append(f), real(f, a))[1])
    monkeypatch.setattr(module, "_thread", parts)
    return functions


def test_small_work_stays_on_one_thread(dtype, monkeypatch, rng, started):
    """No thread is started for it, whatever is asked for: neither for small batches nor for a few of them."""
    monkeypatch.setattr(module, "default_threads", lambda: 8)
    net = random_net(rng, 10, [Layer(8, "relu"), Layer(1)], dtype)
    x, y = rng.normal(size=(64, 10)).astype(dtype), rng.normal(size=(64, 1)).astype(dtype)

    def run():
        Session(net.engine, Objective(), Rule(), batch_size=8, n_threads=3).run(x, y, np.arange(64), 0.01)
        net.engine.value_and_grad(x, y, Objective(), n_threads=3)
        net.engine.predict(x, n_threads=8)

    run()
    monkeypatch.setattr(module, "TEAM_FLOPS", 1e-9)
    run()
    assert not started
    monkeypatch.setattr(module, "CALL_FLOPS", 1e-9)
    run()
    assert len(started) == 4  # two helpers for each of two calls


def test_one_row_at_a_time_stays_on_one_thread(dtype, teams, rng, started):
    """Stochastic descent by the book has a loop of its own, which nobody can help."""
    net = random_net(rng, 10, [Layer(8, "tanh"), Layer(1)], dtype)
    x, y = rng.normal(size=(64, 10)).astype(dtype), rng.normal(size=(64, 1)).astype(dtype)
    Session(net.engine, Objective(), Rule(), batch_size=1, n_threads=3).run(x, y, np.arange(64), 0.01)
    assert not started


def test_a_team_works_where_it_is_faster(dtype, monkeypatch):
    """A team begins; both are tried, the faster one stays, the other is tried again; the numbers are the same."""
    monkeypatch.setattr(module, "TEAM_FLOPS", 1e-9)
    monkeypatch.setattr(module, "CALL_FLOPS", 1e-9)
    monkeypatch.setattr(module, "default_threads", lambda: 2)
    for slow in (1, 2):
        pace = module.Pace(2)
        chosen = []
        for _ in range(4 * module.LONGEST_PAUSE):
            size, trial = pace.choose()
            chosen.append((size, trial))
            pace.note(size, 2.0 if size == slow else 1.0)
        assert chosen[:3] == [(2, False), (2, False), (1, True)]
        trials = [k for k, (size, trial) in enumerate(chosen) if k > 2 and trial]
        assert all(chosen[k][0] == slow for k in trials)
        pauses = [2, 4, 8, 16, 32, 32] if slow == 2 else [4, 8, 16, 32, 32]
        assert list(np.diff([2, *trials]) - 1) == pauses
        assert chosen[3:].count((3 - slow, False)) == len(chosen) - 3 - len(trials)
    assert module.Pace(1).choose() == (1, False)
    mixed = train("adam", dtype, 2, passes=4)
    assert_same_bits(mixed, train("adam", dtype, 1, passes=4))


def test_a_team_that_slows_down_gives_way():
    """Neighbors come: what a team takes now is more than one thread took before."""
    pace = module.Pace(2)
    for _ in range(4):
        size, _ = pace.choose()
        pace.note(size, {1: 2.0, 2: 1.0}[size])
    sizes = []
    for _ in range(6):
        size, _ = pace.choose()
        pace.note(size, {1: 2.0, 2: 4.0}[size])
        sizes.append(size)
    assert sizes == [2, 1, 1, 2, 1, 1]


def test_a_whole_large_batch_is_not_tried_slowly_at_once():
    pace = module.Pace(2)
    tried = []
    for _ in range(12):
        size, _ = pace.choose(costly=True)
        pace.note(size, 1.0 / size)
        tried.append(size)
    assert tried == [2] * 8 + [1] + [2] * 3


def test_numbers_of_threads(dtype, rng):
    net = random_net(rng, 3, [Layer(1)], dtype)
    for n_threads in (None, 1, 64):
        Session(net.engine, Objective(), Rule(), batch_size=8, n_threads=n_threads)
    with pytest.raises(
        ValueError, match="n_threads must be an integer >= 1, or None or -1 for all cores, got 0"
    ):
        Session(net.engine, Objective(), Rule(), batch_size=8, n_threads=0)
    assert module.default_threads() >= 1


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity here")
def test_the_cores_are_counted_anew_when_they_change(monkeypatch):
    """The count is kept, because it takes a millisecond, but not beyond what it depends on."""
    for name in ("FASTBP_NUM_THREADS", "OMP_NUM_THREADS", "LOKY_MAX_CPU_COUNT"):
        monkeypatch.delenv(name, raising=False)
    allowed = os.sched_getaffinity(0)
    module.default_threads()
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert module.default_threads() == 1
    finally:
        os.sched_setaffinity(0, allowed)
    here = module.default_threads()
    assert 1 <= here <= len(allowed)
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")
    assert module.default_threads() == 1
    monkeypatch.delenv("LOKY_MAX_CPU_COUNT")
    monkeypatch.setenv("FASTBP_NUM_THREADS", "64")
    assert module.default_threads() == here
    monkeypatch.setenv("FASTBP_NUM_THREADS", "1")
    assert module.default_threads() == 1


def test_where_no_thread_can_be_started(dtype, teams, monkeypatch):
    """A process at its limit trains with the threads it has."""
    alone = train("adam", dtype, 1)
    real, count = module._thread.start_new_thread, [0]

    def start(function, arguments):
        count[0] += 1
        if count[0] % 3 == 0:
            raise RuntimeError("can't start new thread")
        return real(function, arguments)

    monkeypatch.setattr(module, "_thread", types.SimpleNamespace(start_new_thread=start))
    assert_same_bits(train("adam", dtype, 7), alone)
    assert count[0] >= 6
    count[0] = 2
    assert module.together(lambda: 5, 1, lambda: None, apart=True) == 5


def large_net(rng, dtype):
    """A network and rows whose prediction is worth several threads."""
    net = random_net(rng, 30, [Layer(64, "relu"), Layer(5)], dtype)
    return net.engine, rng.normal(size=(3000, 30)).astype(dtype)


def test_a_prediction_where_no_thread_can_be_started(dtype, teams, monkeypatch, rng):
    engine, x = large_net(rng, dtype)
    want = engine.predict(x)

    def start(*_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(module, "_thread", types.SimpleNamespace(start_new_thread=start))
    starts = [name for name in ("_start_new_thread", "_start_joinable_thread") if hasattr(threading, name)]
    assert starts
    for name in starts:  # of Python 3.11 and 3.12, and of later ones
        monkeypatch.setattr(threading, name, start)
    assert np.array_equal(engine.predict(x, n_threads=4), want)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_prediction_whose_helper_has_no_memory(dtype, teams, monkeypatch, rng):
    """An error of a helper is raised where predict was called; no row is left as the memory was found."""
    engine, x = large_net(rng, dtype)
    want, caller = engine.predict(x), threading.get_ident()
    make, failed = engines.Workspace, threading.Event()

    def workspace(*arguments, **options):
        if threading.get_ident() != caller:
            failed.set()
            raise MemoryError("no room")
        failed.wait(30)  # the others come first
        return make(*arguments, **options)

    engine._predictors.clear()
    monkeypatch.setattr(engines, "Workspace", workspace)
    with pytest.raises(MemoryError, match="no room"):
        engine.predict(x, n_threads=4)
    monkeypatch.undo()
    assert np.array_equal(engine.predict(x, n_threads=4), want)


def test_helpers_that_never_begin_are_not_waited_for(monkeypatch):
    """A thread that finds no memory to begin with dies before its first line; the caller does the work itself."""
    monkeypatch.setattr(module, "default_threads", lambda: 2)
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    monkeypatch.setattr(module, "_thread", types.SimpleNamespace(start_new_thread=lambda *_: None))
    assert module.together(lambda: 5, 2, lambda: None, apart=True) == 5


def test_who_comes_late_is_not_waited_for(dtype, teams, monkeypatch):
    """A call that is over does not wait for helpers that never got a core, and they do nothing when they get one."""
    late = []
    parts = types.SimpleNamespace(start_new_thread=lambda function, arguments: late.append(function))
    monkeypatch.setattr(module, "_thread", parts)
    alone = train("clipped", dtype, 1)
    got = train("clipped", dtype, 4)
    assert len(late) >= 6
    for help_out in late:
        help_out()
    assert_same_bits(got, alone)


def in_threads(functions):
    """Call every function in a Python thread of its own; return their results."""
    results = [None] * len(functions)

    def call(k):
        results[k] = functions[k]()

    threads = [threading.Thread(target=call, args=(k,)) for k in range(len(functions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_several_python_threads_train_at_once(dtype, teams):
    """Each with a team of its own: nothing is shared between sessions."""
    names = ["adam", "clipped", "dropout", "blocks"]
    alone = [train(name, dtype, 1) for name in names]
    together = in_threads([lambda name=name: train(name, dtype, 3) for name in names])
    for got, want in zip(together, alone, strict=True):
        assert_same_bits(got, want)


def test_several_python_threads_predict_with_one_engine(dtype, teams, rng):
    net = random_net(rng, 30, [Layer(64, "relu"), Layer(1, "tanh"), Layer(40, "gelu"), Layer(5)], dtype)
    parts = [rng.normal(size=(n, 30)).astype(dtype) for n in (1, 7, 300, 999)]
    expected = [net.engine.predict(part) for part in parts]
    for _ in range(3):
        got = in_threads([lambda part=part: net.engine.predict(part, n_threads=2) for part in parts * 2])
        assert_same_bits(got, expected * 2)


@pytest.mark.slow
def test_neighbors_that_load_every_core(teams):
    """Threads that lose their core in the middle of anything change no bit."""
    busy = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2 * (os.cpu_count() or 1))
    ]
    try:
        for name in RUNS:
            alone = train(name, np.dtype(np.float32), 1)
            for n_threads in COUNTS[1:]:
                for _ in range(3):
                    assert_same_bits(train(name, np.dtype(np.float32), n_threads), alone)
    finally:
        for process in busy:
            process.kill()
            process.wait()


SCRIPT = """
import os, sys, threading
import numpy as np
from fastbp.engine import teams as module
from fastbp.engine import Engine
from fastbp.engine.session import Session
from fastbp.layers import Layer
from fastbp.objectives import Objective
from fastbp.optimizers import Rule
module.TEAM_FLOPS = module.CALL_FLOPS = 1e-9
module.default_threads = lambda: 8
module.Pace.choose = lambda self, costly=False: (self.team, False)

def train(n_threads):
    rng = np.random.default_rng(1)
    engine = Engine(20, [Layer(40, "relu", dropout=0.2), Layer(3)], "float32")
    engine.set_parameters([rng.normal(size=w.shape) for w in engine.weights], [b * 0 for b in engine.biases])
    x, y = rng.normal(size=(300, 20)).astype("f"), rng.normal(size=(300, 3)).astype("f")
    session = Session(engine, Objective(), Rule("adam"), batch_size=64, n_threads=n_threads)
    session.run(x, y, np.arange(300), 0.01)
    return engine.theta.tobytes()
"""


def run_script(body, timeout=300, **env):
    """Run SCRIPT and a body in a fresh interpreter; its assertions are the test's."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", SCRIPT + body],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_after_a_fork():
    """A child of a process that has trained in teams trains in teams, and gets the same bits."""
    run_script(
        """
want = train(3)
for _ in range(3):
    child = os.fork()
    if child == 0:
        os._exit(0 if train(3) == want and train(1) == want else 1)
    assert train(2) == want
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""
    )


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["loky", "threading", "multiprocessing"])
def test_under_joblib(backend):
    run_script(
        f"""
import joblib
if __name__ == "__main__":
    want = train(1)
    with joblib.parallel_config("{backend}", n_jobs=3):
        for n_threads in (1, 2):
            got = joblib.Parallel()(joblib.delayed(train)(n_threads) for _ in range(6))
            assert got == [want] * 6
"""
    )


class Interrupted:
    """Raise KeyboardInterrupt in the main thread after some seconds, as Ctrl-C would, wherever it is then."""

    def __init__(self, seconds):
        self.seconds = seconds

    def __enter__(self):
        self.before = signal.signal(signal.SIGALRM, signal.default_int_handler)
        signal.setitimer(signal.ITIMER_REAL, self.seconds)

    def __exit__(self, *_):
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self.before)


def long_run(n_threads):
    rng = np.random.default_rng(2)
    net = random_net(
        rng, 40, [Layer(64, "relu", dropout=0.1), Layer(64, "tanh"), Layer(3)], np.dtype(np.float32)
    )
    x, y = rng.normal(size=(500, 40)).astype("f"), rng.normal(size=(500, 3)).astype("f")
    session = Session(net.engine, Objective(), Rule("adam"), batch_size=32, n_threads=n_threads)
    return net.engine, session, x, y


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timer signals here")
@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("chunk", [0.05, 1e-7], ids=["chunks", "slow batches"])
def test_ctrl_c_leaves_the_last_finished_batch(n_threads, chunk, teams, monkeypatch):
    """The model is in the state of a run that was that long, whether a chunk ended or a long batch was given up."""
    monkeypatch.setattr(runs, "CHUNK_SECONDS", chunk)
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("signals are handled in the main thread")
    order = np.resize(np.arange(500), 32 * 400_000)  # minutes of work
    for seconds in (0.01, 0.13):
        engine, session, x, y = long_run(n_threads)
        session.run(x, y, order[:32], 0.001)  # what is loaded is loaded
        with pytest.raises(KeyboardInterrupt), Interrupted(seconds):
            session.run(x, y, order, 0.001)
        done = session.step - 1
        assert 0 <= done < 400_000
        other, again, _, _ = long_run(1)
        again.run(x, y, order[:32], 0.001)
        again.run(x, y, order[: 32 * done], 0.001)
        assert again.step == session.step
        assert_same_bits([engine.theta, *session.slots.values()], [other.theta, *again.slots.values()])
        # and it can go on
        session.run(x, y, order[:64], 0.001)
        again.run(x, y, order[:64], 0.001)
        assert np.array_equal(engine.theta, other.theta)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timer signals here")
@pytest.mark.parametrize("apart", [False, True])
def test_ctrl_c_between_the_start_of_a_team_and_its_work(apart):
    """The main thread is interrupted when helpers are inside the kernel: they end, and nothing hangs."""
    run_script(
        f"""
module.Pace.choose = lambda self, costly=False: (self.team, False)
if {apart}:
    import fastbp.engine.session
    fastbp.engine.session.CHUNK_SECONDS = 1e-9
class Thread:
    interrupt = True
    def start_new_thread(self, function, arguments):
        started = real.start_new_thread(function, arguments)
        if Thread.interrupt:
            Thread.interrupt = False
            raise KeyboardInterrupt  # a signal that is handled when the first helper has just begun
        return started
want = train(1)
real = module._thread
module._thread = Thread()
try:
    train(3)
except KeyboardInterrupt:
    assert train(3) == want
else:
    assert False, "the interrupt was lost"
""",
        timeout=60,
    )


def test_an_error_of_a_helper_is_raised(monkeypatch):
    """Nothing that goes wrong in a thread is lost, and a helper that has entered is waited for."""
    monkeypatch.setattr(module, "default_threads", lambda: 2)
    entered, left = threading.Event(), []

    def call():
        if threading.current_thread() is threading.main_thread():
            entered.wait(60)
            return 1
        entered.set()
        time.sleep(0.05)
        left.append(True)
        raise MemoryError("no room")

    if threading.current_thread() is not threading.main_thread():
        pytest.skip("tells the threads apart by which is the main one")
    with pytest.raises(MemoryError, match="no room"):
        module.together(call, 2, lambda: None)
    assert left == [True]


def test_two_threads_that_train_one_object():
    """They take turns: nothing crashes, every step counts, and the object works afterwards."""
    run_script(
        """
import threading
import fastbp as fb
rng = np.random.default_rng(0)
net = fb.Sequential([fb.Dense(32, "relu"), fb.Dense(1)], n_inputs=20)
trainer = fb.Trainer(net, optimizer=fb.Adam(1e-4))
clf = fb.MLPClassifier((16,), random_state=0)
parts = [(rng.normal(size=(n, 20)).astype("f"), rng.integers(0, 2, n)) for n in (1, 5000, 7, 900)]
failed = []
def work(x, y):
    try:
        for _ in range(40):
            trainer.step(x, y[:, None].astype("f"))
            clf.partial_fit(x, y, classes=[0, 1])
        net.fit(x, y[:, None].astype("f"), verbose=0)
        clf.predict(x)
    except BaseException as error:
        failed.append(error)
threads = [threading.Thread(target=work, args=part) for part in parts]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert not failed, failed
assert trainer.steps == 160, trainer.steps
assert clf.t_ == 40 * sum(len(y) for _, y in parts)
assert np.isfinite(net.engine.theta).all()
x, y = parts[2]
assert np.isfinite(trainer.step(x, y[:, None].astype("f")))
""",
        timeout=120,
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_forked_amid_a_training():
    """It inherits neither the count of active teams, which would keep half its threads from it, nor a held lock."""
    run_script(
        """
import threading
import fastbp as fb
net = fb.Sequential([fb.Dense(8), fb.Dense(1)], n_inputs=4)
x = np.zeros((64, 4), "f")
net.fit(x, x[:, :1], verbose=0)
inside, go_on = threading.Event(), threading.Event()
class Wait(fb.Callback):
    def on_epoch_end(self, epoch, logs):
        inside.set()
        go_on.wait(60)
thread = threading.Thread(target=lambda: net.fit(x, x[:, :1], verbose=0, callbacks=[Wait()]))
thread.start()
inside.wait(60)
module._active = 3
with module._active_lock:
    child = os.fork()
if child == 0:
    import signal
    signal.alarm(20)
    net.fit(x, x[:, :1], verbose=0)
    fb.Trainer(net).step(x, x[:, :1])
    os._exit(module._active)
module._active = 0
go_on.set()
thread.join()
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
""",
        timeout=60,
    )


def test_a_row_on_a_small_stack(dtype):
    """A thread with 128 kB predicts with, and trains, every network that is computed on the stack."""
    run_script(
        f"""
import threading
import fastbp as fb
from fastbp.engine.layout import STACK_BYTES
dtype = np.dtype({dtype.name!r})
units = STACK_BYTES // dtype.itemsize // 4 - 20
net = fb.Sequential([fb.Dense(units, "tanh"), fb.Dense(1)], n_inputs=4, dtype=dtype)
wide = fb.Sequential([fb.Dense(4 * units, "tanh"), fb.Dense(1)], n_inputs=4, dtype=dtype)
state = net.compiled()
x, y = np.ones((1, 4), dtype), np.ones(1, dtype)
def work():
    net.predict(x)
    wide.predict(x)
    fb.kernels.train_one(state, x[0], y, 1e-3)
    done.append(True)
done = []
work()  # what is loaded is loaded
threading.stack_size(128 * 1024)
thread = threading.Thread(target=work)
thread.start()
thread.join()
assert done == [True, True]
"""
    )
