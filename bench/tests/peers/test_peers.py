"""The harness that measures peers: same work, agreement, what becomes of a peer that fails, the tables."""

import importlib.util
import json
from dataclasses import replace

import numpy as np
import pytest

from bench import fair, stolen
from bench.peers import __main__ as cli
from bench.peers import circumstances, conductor, startup, workloads
from bench.peers.registry import PEAK, SUITES, Peer
from bench.peers.subject import Case, Task
from bench.peers.workloads import WORKLOADS
from bench.report import tables
from bench.tests import measured

# Every repeat counts: what the host does meanwhile is nothing a test may depend on.
QUICK = conductor.Settings(repeats=2, seconds=0.01, timeout=300, stolen=1.0)
HEAVY = ("torch", "jax", "keras", "skorch")


@pytest.fixture(autouse=True)
def kernels_are_not_judged(monkeypatch):
    """Whether this machine's OpenBLAS knows its processor is not asked here; that is for test_fair.py."""
    monkeypatch.setattr(fair, "level", lambda: None)


def quiet(_):
    """Say nothing."""


@pytest.mark.parametrize(
    ("name", "flops"),
    [
        ("online-tiny", 4 * (160 + 16) + 2 * 16),
        ("tabular-small", 30_080),
        ("mnist-sk", 4 * 79_400 + 2 * 1_000),
    ],
)
def test_flops_of_a_sample(name, flops):
    """Forward and both gradients, without the delta of the inputs."""
    assert WORKLOADS[name].flops_per_sample == flops


def test_parameters_are_counted():
    assert WORKLOADS["mnist-sk"].n_parameters == 784 * 100 + 100 + 100 * 10 + 10


@pytest.mark.parametrize("name", WORKLOADS)
def test_batches_are_full(name):
    for w in (WORKLOADS[name], WORKLOADS[name].quick()):
        assert w.n_rows % w.batch_size == 0
        assert w.loss == "mse" or w.n_rows >= w.sizes[-1]


def test_data_is_seeded_and_of_the_dtype_asked_for():
    for dtype in ("float32", "float64"):
        x, y = workloads.make_data((5, 4, 3), "cross_entropy", 50, dtype)
        again, _ = workloads.make_data((5, 4, 3), "cross_entropy", 50, dtype)
        assert x.dtype == dtype
        assert np.array_equal(x, again)
        assert set(y) == {0, 1, 2}
        assert workloads.make_data((5, 4, 1), "mse", 50, dtype)[1].dtype == dtype


def test_orders_are_those_scikit_learn_draws():
    shuffle = pytest.importorskip("sklearn.utils").shuffle
    rng, index = np.random.RandomState(2), np.arange(50)
    for order in workloads.make_orders(50, 3):
        index = shuffle(index, random_state=rng)
        assert np.array_equal(order, index)


def test_loss_of_a_hand_made_network():
    """One unit, x = 1, W = 2, b = 1: z = 3, squared error of the target 1 is 4."""
    w = workloads.Workload("t", (1, 1), "relu", "mse", 1, "sgd", 0.1, 1)
    x, y = np.ones((1, 1)), np.ones(1)
    assert workloads.loss_of(w, x, y, [np.full((1, 1), 2.0)], [np.ones(1)]) == 4.0


def test_cross_entropy_of_equal_logits():
    w = workloads.Workload("t", (1, 4), "relu", "cross_entropy", 1, "sgd", 0.1, 1)
    loss = workloads.loss_of(w, np.ones((1, 1)), np.zeros(1, int), [np.zeros((1, 4))], [np.zeros(4)])
    assert loss == pytest.approx(np.log(4))


def test_numpy_peer_against_differences():
    """One plain gradient step of the hand-written peer is the loss's numerical slope."""
    from bench.peers.numpy_peer import NumpyHand

    case = Case("training", "online-tiny", 1, "float64", quick=True)
    peer = NumpyHand(case)
    peer.reset()
    w, task = peer.task.workload, peer.task
    row = peer.orders[0][:1]
    peer.train([row])
    stepped = (task.weights[0] - peer.W[0]) / w.learning_rate
    eps, moved = 1e-6, [value.copy() for value in task.weights]
    for i, j in ((0, 0), (3, 7), (9, 15)):
        values = []
        for sign in (1, -1):
            moved[0][i, j] = task.weights[0][i, j] + sign * eps
            values.append(workloads.loss_of(w, task.x[row], task.y[row], moved, task.biases))
        moved[0][i, j] = task.weights[0][i, j]
        assert stepped[i, j] == pytest.approx((values[0] - values[1]) / (2 * eps), rel=1e-5, abs=1e-8)


def _run(suite, name, peers, dtype="float32", threads=1):
    case = Case(suite, name, threads, dtype, quick=True)
    return conductor.run_case(SUITES[suite], case, peers, QUICK, quiet)


def _light(suite):
    """Peers that need nothing heavy: these run everywhere."""
    return [peer for peer in SUITES[suite].peers if not set(peer.requires) & set(HEAVY)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suite", "name"), [(s.name, name) for s in SUITES.values() for name in s.cases if s.peers]
)
def test_light_peers_agree(suite, name):
    """fastbp, scikit-learn and NumPy do the same work, in every case of every suite."""
    dtype = SUITES[suite].dtypes_of(name)[0]
    case = _run(suite, name, _light(suite), dtype)
    states = {peer: (entry["status"], entry["note"]) for peer, entry in case["peers"].items()}
    assert {status for status, _ in states.values()} == {"ok"}, states
    assert all(entry["low"] <= entry["rate"] <= entry["high"] for entry in case["peers"].values())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suite", "name", "dtype"),
    [
        ("training", "tabular-small", "float64"),
        ("training", "mnist-sk", "float32"),
        ("latency", "one-row", "float32"),
    ],
)
def test_heavy_peers_agree(suite, name, dtype):
    """The libraries that are installed train to the same loss as NumPy."""
    wanted = [p for p in SUITES[suite].peers if set(p.requires) & set(HEAVY) and p.name != "torch-compile"]
    wanted = [p for p in wanted if p.missing() is None]
    if not wanted:
        pytest.skip("none of the heavy peers is installed")
    numpy_hand = next(p for p in SUITES[suite].peers if p.name == "numpy-hand")
    case = _run(suite, name, [numpy_hand, *wanted], dtype)
    states = {peer: (entry["status"], entry["note"]) for peer, entry in case["peers"].items()}
    assert {status for status, _ in states.values()} == {"ok"}, states


def test_every_factory_exists():
    """Names in the registry are importable (where their library is) and callable."""
    for suite in SUITES.values():
        for peer in suite.peers:
            module, _, name = peer.factory.partition(":")
            assert importlib.util.find_spec(f"bench.peers.{module}") is not None
            if not set(peer.requires) & set(HEAVY):
                assert callable(getattr(importlib.import_module(f"bench.peers.{module}"), name))


def test_a_peer_that_is_not_installed_is_skipped_with_a_line():
    said = []
    peer = Peer("nobody", "numpy_peer:NumpyHand", ("a_library_nobody_has",))
    case = Case("training", "tabular-small", 1, "float32", quick=True)
    result = conductor.run_case(SUITES["training"], case, [peer], QUICK, said.append)
    assert result["peers"]["nobody"]["status"] == "skipped"
    assert said == ["  nobody: skipped, a_library_nobody_has is not installed"]


@pytest.mark.parametrize(("asked", "length"), [(None, 0.05), (0.01, 0.01)])
def test_a_repeat_is_as_long_as_its_suite_says_unless_told_otherwise(asked, length, monkeypatch):
    suite = replace(SUITES["training"], seconds=0.05)
    case = Case("training", "tabular-small", 1, "float32", quick=True)
    ran, ready, run = [], conductor.Worker.answer, conductor.Worker.run
    monkeypatch.setattr(conductor.Worker, "answer", lambda self: ready(self) | {"once": 0.001})
    monkeypatch.setattr(conductor.Worker, "run", lambda self, times: ran.append(times) or run(self, 1))
    peer = Peer("numpy-hand", "numpy_peer:NumpyHand", ())
    conductor.run_case(suite, case, [peer], replace(QUICK, seconds=asked), quiet)
    assert set(ran) == {round(length / 0.001)}


def test_a_peer_that_breaks_is_reported_and_the_others_go_on():
    broken = Peer("broken", "numpy_peer:NoSuchPeer", ())
    numpy_hand = Peer("numpy-hand", "numpy_peer:NumpyHand", ())
    peers = _run("training", "tabular-small", [broken, numpy_hand])["peers"]
    assert peers["broken"]["status"] == "failed"
    assert "NoSuchPeer" in peers["broken"]["note"]
    assert peers["numpy-hand"]["status"] == "ok"


def test_a_peer_that_hangs_is_ended(monkeypatch):
    case = Case("training", "tabular-small", 1, "float32", quick=True)
    worker = conductor.Worker(case, Peer("slow", "numpy_peer:NumpyHand", ()), timeout=0.001)
    with pytest.raises(conductor.PeerError, match="no answer within"):
        worker.answer()
    worker.close()


def test_disagreement_is_found():
    entries = {name: {"status": "ok", "note": "", "check": [1.0]} for name in "abc"}
    entries["c"]["check"] = [1.1]
    conductor.judge(entries, 0.01)
    assert [entries[name]["status"] for name in "abc"] == ["ok", "ok", "disagrees"]
    assert "0.1" in entries["c"]["note"]


def test_startup_counts_processes():
    case = Case("startup", "tabular-small", 1, "float32", quick=True)
    result = startup.run_startup(case, ["numpy-hand"], replace(QUICK, repeats=1), quiet)
    assert list(result["peers"]) == ["numpy-hand"]
    measured = result["peers"]["numpy-hand"]
    assert measured["status"] == "ok"
    assert len(measured["rates"]) == len(measured["stolen"]) == 1
    assert measured["kernels"] == peer_kernels()


def slow_down(monkeypatch, module):
    """Every process that `module` starts from now on has a variable that holds OpenBLAS down."""
    clean = module.environment
    monkeypatch.setattr(module, "environment", lambda *a: clean(*a) | {"OPENBLAS_CORETYPE": "Nehalem"})


def peer_kernels():
    """The kernels of a process of NumPy's peer on one thread."""
    case = Case("training", "tabular-small", 1, "float32", quick=True)
    worker = conductor.Worker(case, Peer("numpy-hand", "numpy_peer:NumpyHand", ()), timeout=300)
    try:
        return worker.answer()["process"]["kernels"]
    finally:
        worker.close()


def test_variables_that_slow_a_peer_do_not_reach_it(monkeypatch):
    clean = peer_kernels()
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Nehalem")
    assert peer_kernels() == clean


def test_a_start_that_was_slowed_is_refused(monkeypatch):
    slow_down(monkeypatch, startup)
    case = Case("startup", "tabular-small", 1, "float32", quick=True)
    peers = startup.run_startup(case, ["numpy-hand"], QUICK, quiet)["peers"]
    assert peers["numpy-hand"]["status"] == "slowed"
    assert "rate" not in peers["numpy-hand"]


def test_a_slowed_peer_makes_the_run_fail(monkeypatch, tmp_path, capsys):
    """It gets no figure, the comparison is refused, nothing can be published, and the next run measures again."""
    slow_down(monkeypatch, conductor)
    path = tmp_path / "results.json"
    arguments = ["--quick", "--suite", "latency", "--peer", "numpy-hand", "--json", str(path)]
    assert cli.main(arguments) == 1
    said = capsys.readouterr().out
    assert "  numpy-hand: slowed, OPENBLAS_CORETYPE=Nehalem was set" in said
    assert "no comparison: latency one-row, 1 thread, float32: numpy-hand was slowed" in said
    assert "slowed, so that the run does not count: numpy-hand in latency/one-row/1/float32" in said
    with pytest.raises(ValueError, match="a peer was slowed: numpy-hand in latency/one-row/1/float32"):
        tables.publishable(path)
    monkeypatch.undo()
    assert cli.main(arguments) == 0
    assert (
        json.loads(path.read_text())["cases"]["latency/one-row/1/float32"]["peers"]["numpy-hand"]["rate"] > 0
    )


class Answers:
    """A worker that answers with these shares of stolen time, the last of them for ever."""

    def __init__(self, *shares):
        self.shares = list(shares)

    def run(self, times):
        return {
            "rate": float(times),
            "stolen": self.shares.pop(0) if len(self.shares) > 1 else self.shares[0],
        }


def repeated(*shares):
    """The entry of a peer that wants three repeats, and in how many turns it got them."""
    turns = conductor.Turns(Answers(*shares), 5, stolen.Tally(3))
    count = 0
    while turns.more:
        assert turns.take() == ""
        count += 1
    filled = {"status": "ok", "note": "", "kernels": []}
    conductor.summarize(filled, turns.tally)
    return filled, count


def test_disturbed_repeats_are_repeated():
    measured, count = repeated(0.0, 0.5, 0.1, 0.02)
    assert count == 5
    assert measured["rates"] == [5.0, 5.0, 5.0]
    assert measured["lost"] == [(5.0, 0.5), (5.0, 0.1)]
    assert "3 runs, 2 more not counted" in conductor.describe(measured, "samples/s")


def test_without_a_clean_repeat_there_is_no_figure():
    measured, count = repeated(0.5)
    assert count == 3 * stolen.TRIES
    assert measured["status"] == "stolen"
    assert "rate" not in measured
    assert conductor.describe(measured, "samples/s").startswith("stolen, no clean run: 50.0% to 50.0%")


def test_a_peer_that_breaks_on_its_turn_is_out():
    class Broken:
        def run(self, times):
            raise conductor.PeerError("it broke")

    turns = conductor.Turns(Broken(), 1, stolen.Tally(3))
    assert turns.take() == "it broke"
    assert not turns.more


def test_command_line_resumes(tmp_path, capsys, monkeypatch):
    """A case in the results file is not measured again; another one is added."""
    monkeypatch.setattr(cli, "Settings", lambda timeout: replace(QUICK, timeout=timeout))
    path = tmp_path / "results.json"
    common = [
        "--peer",
        "numpy-hand",
        "--threads",
        "1",
        "--repeats",
        "1",
        "--seconds",
        "0.01",
        "--json",
        str(path),
    ]
    assert cli.main(["--workload", "tabular-small", *common]) == 0
    first = json.loads(path.read_text())
    assert list(first["cases"]) == ["training/tabular-small/1/float32"]
    capsys.readouterr()
    assert cli.main(["--workload", "tabular-small", "--budget", "0", *common]) == 0
    assert "already measured" in capsys.readouterr().out
    assert json.loads(path.read_text())["cases"] == first["cases"]
    assert cli.main(["--workload", "mnist-sk", "--budget", "0", *common]) == 0
    assert "left for the next call: training/mnist-sk/1/float32" in capsys.readouterr().out
    assert {"numpy-hand", PEAK.name} == set(first["cases"]["training/tabular-small/1/float32"]["peers"])


def test_list_says_what_would_be_measured(capsys):
    assert cli.main(["--list", "--suite", "training", "--threads", "1", "--dtype", "float32,float64"]) == 0
    lines = capsys.readouterr().out.split()
    assert len(lines) == 2 * len(WORKLOADS)
    assert lines[0] == "training/online-tiny/1/float32"


def test_figures_of_unknown_kernels_are_measured_again():
    case = measured.results()["cases"]["a"]
    assert not circumstances.counts(case)
    for entry in case["peers"].values():
        entry["kernels"] = []
    assert circumstances.counts(case)
    assert not circumstances.counts(case | {"quick": True})
    assert not circumstances.counts(None)


def test_task_is_the_same_for_every_peer():
    case = Case("training", "mnist-sk", 1, "float32", quick=True)
    a, b = Task.of(case), Task.of(case)
    assert np.array_equal(a.x, b.x)
    assert all(np.array_equal(v, w) for v, w in zip(a.weights, b.weights, strict=True))
