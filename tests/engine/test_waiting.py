"""Rows of W that wait for a batch that names them: the bits of a training that updates all rows in every step."""

import signal
import threading

import numpy as np
import pytest
import scipy.sparse

from fastbp.engine import session as sessions
from fastbp.engine import teams as module
from fastbp.engine.rows import Rows
from fastbp.engine.session import Session
from fastbp.engine.workspace import Workspace
from fastbp.kernels import optimizers
from fastbp.kernels import plan as p
from fastbp.layers import Layer
from fastbp.objectives import Objective
from fastbp.optimizers import Rule
from tests.engine.test_threads import Interrupted, assert_same_bits
from tests.kernels.oracles import INTERPRETED, Specification, assert_near, assert_same_parameters, random_net

RULES = {
    "sgd": Rule(),
    "momentum": Rule("sgd", momentum=0.9, nesterov=True),
    "decay": Rule("sgd", weight_decay=0.01),
    "adagrad": Rule("adagrad"),
    "rmsprop": Rule("rmsprop", momentum=0.5),
    "adam": Rule("adam"),
    "adamw": Rule("adamw", weight_decay=0.01),
    "nadam": Rule("nadam"),
    "rprop": Rule("rprop"),
}
WORDS = 60 if INTERPRETED else 300
PASSES = 1 if INTERPRETED else 2
PENALTIES = {
    "none": ({}, 0.0),
    "l2": ({"l2": 1e-3}, 0.0),
    "l1": ({"l1": 1e-3, "l2": 1e-3}, 0.0),
    "alpha": ({}, 0.1),
}


@pytest.fixture
def waiting(monkeypatch):
    """Let rows of small networks wait, or of none."""

    def choose(waits):
        monkeypatch.setattr(sessions, "WAITING_BYTES", 0 if waits else 1 << 60)
        monkeypatch.setattr(sessions, "WAITING_ROW", 0)
        monkeypatch.setattr(sessions, "WAITING_ENTRIES", 1e9)

    choose(True)
    return choose


def text(rng, rows, words, dtype):
    """CSR rows with a few entries each, and some with none."""
    density = rng.uniform(0, min(1.0, 12 / words), (rows, 1))
    return scipy.sparse.csr_matrix(
        np.where(rng.random((rows, words)) < density, rng.normal(size=(rows, words)), 0), dtype=dtype
    )


class Run:
    """A training on a text, and what it has left."""

    def __init__(
        self,
        dtype,
        rule,
        *,
        words=WORDS,
        width=20,
        batch=7,
        rows=150,
        n_threads=1,
        penalty="alpha",
        **options,
    ):
        self.rng = rng = np.random.default_rng(4)
        first, alpha = PENALTIES[penalty]
        layers = [Layer(width, "relu", dropout=0.2, **first), Layer(3, "tanh", l2=0.01), Layer(2)]
        self.net = random_net(rng, words, layers, dtype)
        self.x, self.y = text(rng, rows, words, dtype), rng.normal(size=(rows, 2)).astype(dtype)
        self.weights = rng.uniform(0.1, 2, rows)
        self.session = Session(
            self.net.engine,
            Objective(),
            rule,
            batch_size=batch,
            alpha=alpha,
            seed=3,
            n_threads=n_threads,
            **options,
        )
        self.losses = []

    def train(self, passes=PASSES):
        """Train for some passes, each in its order and with its rates."""
        n, batch = self.x.shape[0], self.session.batch_size
        for _ in range(passes):
            order, rates = self.rng.permutation(n), self.rng.uniform(0.001, 0.01, -(-n // batch))
            self.losses.append(self.session.run(self.x, self.y, order, rates, sample_weight=self.weights))
        return self

    @property
    def left(self):
        """Parameters and state."""
        return [self.net.engine.theta, *self.session.slots.values()]


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("name", RULES)
def test_every_rule_leaves_the_bits_of_all_updates(name, penalty, dtype, waiting):
    waited = Run(dtype, RULES[name], penalty=penalty).train()
    assert waited.session._workspace.waits
    waiting(False)
    updated = Run(dtype, RULES[name], penalty=penalty).train()
    assert not updated.session._workspace.waits
    assert_same_bits(waited.left, updated.left)
    assert_near(np.array(waited.losses), np.array(updated.losses), dtype, 1)


@pytest.mark.parametrize(
    ("words", "width", "batch", "rows"),
    [(3, 16, 1, 40), (16, 8, 2, 33), (17, 33, 5, 6), (40, 9, 3, 48), (700, 9, 20, 21), (64, 100, 4, 65)],
)
def test_every_shape_leaves_the_bits_of_all_updates(words, width, batch, rows, dtype, waiting):
    shape = {"words": words, "width": width, "batch": batch, "rows": rows}
    waited = Run(dtype, RULES["adam"], **shape).train()
    assert waited.session._workspace.waits
    waiting(False)
    assert_same_bits(waited.left, Run(dtype, RULES["adam"], **shape).train().left)


@pytest.mark.parametrize(
    "rule", [Rule("adam", eps=1e-2), Rule("sgd", momentum=0.9), Rule()], ids=lambda rule: rule.kernel
)
def test_the_reference_agrees(rule, dtype, rng, waiting):
    net = random_net(rng, 60, [Layer(9, "relu", l2=0.01), Layer(2)], dtype)
    x, y = text(rng, 90, 60, dtype), rng.normal(size=(90, 2)).astype(dtype)
    session = Session(net.engine, Objective(), rule, batch_size=4, alpha=0.1)
    spec = Specification(net, Objective(), rule, alpha=0.1)
    order, rates = rng.permutation(90), [0.02] * 23
    got = session.run(x, y, order, 0.02)
    assert session._workspace.waits
    assert_near(got, spec.run(x.toarray(), y, order, 4, rates, None), dtype, 3)
    assert_same_parameters(net.engine, net.layers, dtype, 3)


@pytest.mark.skipif(INTERPRETED, reason="the interpreter mode runs one thread at a time")
@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_any_number_of_threads(name, dtype, waiting, monkeypatch):
    """Losses too: what each piece of W adds up does not depend on who does it."""
    alone = Run(dtype, RULES[name]).train(3)
    monkeypatch.setattr(module, "TEAM_FLOPS", 1e-9)
    monkeypatch.setattr(module, "CALL_FLOPS", 1e-9)
    monkeypatch.setattr(module, "default_threads", lambda: 8)
    monkeypatch.setattr(module.Pace, "choose", lambda self, costly=False: (self.team, False))
    for n_threads in (2, 3, 7) * 4:
        team = Run(dtype, RULES[name], n_threads=n_threads).train(3)
        assert team.session._workspace.threads == n_threads
        assert team.losses == alone.losses
        assert_same_bits(team.left, alone.left)


def test_pieces_of_a_pass_are_whole_windows(dtype, waiting, monkeypatch):
    """However the clock cuts a pass into calls: the same bits, of losses too."""
    whole = Run(dtype, RULES["adam"], batch=2).train()
    monkeypatch.setattr(sessions, "CHUNK_SECONDS", 1e-9)
    monkeypatch.setattr(sessions, "TRIAL_SECONDS", 1e-9)
    pieces = Run(dtype, RULES["adam"], batch=2)
    rows = Rows(pieces.net.engine.layout, pieces.x, pieces.y)
    done = [n for n, _ in pieces.session.chunks(rows, np.arange(150), 0.01)]
    assert done == [2 * p.WINDOW] * 4 + [150 - 8 * p.WINDOW]
    cut = Run(dtype, RULES["adam"], batch=2).train()
    assert cut.losses == whole.losses
    assert_same_bits(cut.left, whole.left)


def test_a_pass_that_is_resumed(dtype, waiting):
    """A checkpoint amid a pass is between two pieces: the rest has the same windows, a rest of one batch too."""
    batch, done = 2, 4 * p.WINDOW
    n = batch * (done + 1)
    whole, cut = (Run(dtype, RULES["adam"], batch=batch, rows=n) for _ in range(2))
    rows, order = Rows(whole.net.engine.layout, whole.x, whole.y), np.arange(n)[::-1].copy()
    for part in (order[: batch * done], order[batch * done :]):
        for _ in cut.session.chunks(rows, part, 0.01):
            pass
    assert cut.session.loss_sum == whole.session.train(rows, order, 0.01)
    assert_same_bits(cut.left, whole.left)


def test_several_passes_in_a_call(dtype, waiting):
    one, several = Run(dtype, RULES["adam"]), Run(dtype, RULES["adam"])
    order = np.stack([one.rng.permutation(150) for _ in range(4)])
    rows = Rows(one.net.engine.layout, one.x, one.y)
    sums = several.session.passes(rows, order, 0.01, 4)
    assert sums == [one.session.train(rows, part, 0.01) for part in order]
    assert_same_bits(several.left, one.left)


def test_a_batch_without_weight_leaves_nothing_waiting(dtype, waiting):
    """The batches before it are done, and the session goes on."""
    runs = []
    for waits in (True, False):
        waiting(waits)
        run = Run(dtype, RULES["adam"])
        run.weights[42:49] = 0.0
        with pytest.raises(ZeroDivisionError, match="Weights sum to zero"):
            run.session.run(run.x, run.y, np.arange(150), 0.01, sample_weight=run.weights)
        assert run.session.step == 6
        run.weights[42:49] = 1.0
        runs.append(run.train())
    assert_same_bits(runs[0].left, runs[1].left)


@pytest.mark.parametrize("first", [1, 5, p.WINDOW, p.WINDOW + 3])
def test_a_call_may_begin_within_a_window(first, dtype, waiting):
    """As one does that goes on behind a batch that was given up."""
    whole, cut = Run(dtype, RULES["adam"]), Run(dtype, RULES["adam"])
    rows, rate = Rows(whole.net.engine.layout, whole.x, whole.y), np.full(1, 0.01)
    for run, ends in ((whole, [150]), (cut, [7 * first, 150])):
        assert run.session._waits(rows)
        begin = 0
        for end in ends:
            run.session._workspace.call(
                p.TRAIN,
                run.net.engine.params,
                rows,
                begin=begin,
                end=end,
                rates=rate,
                seed=3,
                waits=True,
            )
            begin = end
    assert_same_bits(cut.left, whole.left)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timer signals here")
@pytest.mark.parametrize("n_threads", [1, 3])
def test_ctrl_c_leaves_nothing_waiting(n_threads, waiting, monkeypatch):
    if INTERPRETED or threading.current_thread() is not threading.main_thread():
        pytest.skip("signals are handled in the main thread, of compiled calls")
    monkeypatch.setattr(module, "TEAM_FLOPS", 1e-9)
    monkeypatch.setattr(module, "CALL_FLOPS", 1e-9)
    monkeypatch.setattr(module, "default_threads", lambda: 8)
    monkeypatch.setattr(sessions, "CHUNK_SECONDS", 1e-7)  # so every call may be given up
    single = np.dtype(np.float32)
    order = np.resize(np.arange(150), 7 * 400_000)
    run = Run(single, RULES["adam"], n_threads=n_threads)
    with pytest.raises(KeyboardInterrupt), Interrupted(0.13):
        run.session.run(run.x, run.y, order, 0.001)
    done = run.session.step
    assert 0 < done < 400_000
    waiting(False)
    again = Run(single, RULES["adam"])
    again.session.run(again.x, again.y, order[: 7 * done], 0.001)
    assert_same_bits(run.left, again.left)


@pytest.mark.parametrize("name", RULES)
def test_no_penalty_of_what_has_no_finite_square(name, dtype, waiting):
    """The square of a weight may be infinite, and is not asked for."""
    losses = []
    for waits in (True, False):
        waiting(waits)
        run = Run(dtype, RULES[name], penalty="none")
        run.net.engine.weights[0][3] = dtype.type(1e20) if dtype.itemsize == 4 else 1e160
        run.x = run.x.tolil()
        run.x[:, 3] = 0.0
        run.x = run.x.tocsr()
        losses.append(run.train().losses)
    assert np.all(np.isfinite(losses)) and losses[0] == losses[1]


def test_the_first_piece_can_be_given_up(dtype, monkeypatch):
    """Sixteen batches of a wide text may take a second: before one was timed, the length of a piece is guessed."""
    apart = []
    monkeypatch.setattr(
        Workspace,
        "call",
        lambda self, *_, begin, end, **options: apart.append(options["apart"]) or end - begin,
    )
    net = random_net(np.random.default_rng(0), 100_000, [Layer(32, "relu"), Layer(2)], dtype)
    session = Session(net.engine, Objective(), Rule("adam"), batch_size=10)
    x = scipy.sparse.csr_matrix((200, 100_000), dtype=dtype)
    session.run(x, np.zeros((200, 2), dtype), np.arange(200), 0.01)
    assert apart[0]


def test_what_does_not_wait(dtype, rng, waiting):
    def waits(x=None, *, layer=None, **options):
        run = Run(dtype, RULES["adam"], **options)
        x = run.x if x is None else x
        return run.session._waits(Rows(run.net.engine.layout, x, run.y))

    assert waits()
    assert not waits(rng.normal(size=(150, WORDS)).astype(dtype))  # dense rows
    assert not waits(batch=150)  # a batch is all rows
    assert not waits(batch=600, rows=700)  # a sum of more than SUM_ROWS rows
    assert not waits(max_grad_norm=1.0)
    assert not waits(width=1)  # W' is stored
    waiting(False)
    assert not waits()


def test_rows_wait_where_memory_is_the_limit(dtype):
    """W and its state do not stay in the caches, rows are not short, and a batch names few of them."""
    one = dtype.type(1)
    cases = [(50_000, 5, 32, True), (50_000, 5_000, 32, False), (1000, 5, 32, False), (200_000, 5, 8, False)]
    for words, entries, width, want in cases:
        net = random_net(np.random.default_rng(0), words, [Layer(width, "relu"), Layer(1)], dtype)
        session = Session(net.engine, Objective(), Rule("adam"), batch_size=10)
        columns = np.arange(entries) * (words // entries)
        x = scipy.sparse.csr_matrix(
            (np.full(20 * entries, one), np.tile(columns, 20), np.arange(21) * entries), (20, words)
        )
        rows = Rows(net.engine.layout, x, np.zeros((20, 1), dtype))
        assert session._waits(rows) == session._workspace.waits == want


def test_rules_that_move_nothing_without_a_gradient():
    assert {optimizers.CODES[name] for name in ("sgd", "adagrad")} == set(optimizers.STILL)
