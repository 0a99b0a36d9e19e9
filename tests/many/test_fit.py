"""Many models in one call: each as its own `fit` would leave it, whatever they share and whoever fails."""

import itertools
import os
import signal
import threading
import time

import numpy as np
import pytest
import scipy.sparse

import fastbp as fb
from fastbp.many import training

KINDS = [("tanh", 6), ("relu", 3), ("silu", 70), ("relu", 5)]


def no_groups(alike):
    """What `grouped` would return if no model could be trained beside another one."""
    return [], list(itertools.chain.from_iterable(alike))


@pytest.fixture(autouse=True)
def one_by_one(monkeypatch):
    """Models per lane have their own tests: these are about the same bits."""
    monkeypatch.setattr(training, "grouped", no_groups)


@pytest.fixture
def data(rng):
    x = rng.normal(size=(50, 4)).astype(np.float32)
    return x, np.sin(x[:, :1]) * x[:, 1:2]


def make(dtype="float32", dropout=True, kinds=KINDS):
    extra = [fb.Dropout(0.2)] if dropout else []
    return [
        fb.Sequential([fb.Dense(units, name), *extra, fb.Dense(1)], n_inputs=4, dtype=dtype, seed=i)
        for i, (name, units) in enumerate(kinds)
    ]


def theta(nets):
    return [net.engine.theta.copy() for net in nets]


def assert_same(some, others):
    for one, other in zip(some, others, strict=True):
        assert np.array_equal(one, other)


def logs(history):
    return {name: list(values) for name, values in history.logs.items() if name != "epoch_seconds"}


def each_alone(nets, x, y, **given):
    """Train one net after the other by `fit`; `given` values that are lists have one item per net."""
    histories = []
    for i, net in enumerate(nets):
        own = {name: value[i] if isinstance(value, list) else value for name, value in given.items()}
        rows = own.pop("rows", None)
        held_out = own.pop("validation_rows", None)
        chosen = slice(None) if rows is None else rows
        xi, yi = (value[i] if isinstance(value, list) else value for value in (x, y))
        if held_out is not None:
            own["validation_data"] = (xi[held_out], yi[held_out])
        if "sample_weight" in own:
            own["sample_weight"] = own["sample_weight"][chosen]
        rate = own.pop("learning_rate", None)
        optimizer = fb.optimizers.get(own.pop("optimizer", "adam"))
        if rate is not None:
            optimizer = type(optimizer)(rate)
        histories.append(net.fit(xi[chosen], yi[chosen], optimizer=optimizer, verbose=0, **own))
    return histories


CASES = {
    "plain": {},
    "rates": {"learning_rate": [0.1, 0.01, 0.02, 0.3]},
    "epochs and batches": {"epochs": [3, 1, 7, 2], "batch_size": [1, 50, None, 7]},
    "seeds": {"seed": [3, 1, 4, 1]},
    "optimizers": {"optimizer": ["sgd", fb.SGD(0.1, momentum=0.9), fb.NAdam(fb.CosineDecay(0.05, warmup=2)), "rprop"]},
    "schedule": {"learning_rate": [fb.StepDecay(0.1, 2), 0.1, fb.OneCycle(0.1), 0.2], "epochs": 5},
    "rows": {"rows": [np.arange(20), np.arange(50), np.r_[0:20, 0:20, 3], np.arange(49, 9, -2)]},
    "rows of all": {"rows": np.arange(5, 40), "shuffle": False},
    "validation": {"validation_rows": [np.arange(9), None, np.arange(9), np.array([4, 4, 2])], "epochs": 3},
    "weights": {
        "sample_weight": np.r_[np.zeros(10), np.linspace(0.1, 2, 40)],
        "rows": [np.arange(i, 45) for i in range(4)],
    },
    "one batch in order": {"batch_size": None, "rows": [np.arange(50), np.zeros(50, int), np.arange(50), np.arange(7)]},
    "stopping": {
        "callbacks": [fb.EarlyStopping(1)],
        "validation_rows": np.arange(10),
        "epochs": 30,
        "learning_rate": 0.1,
    },
}  # fmt: skip


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("case", CASES)
def test_each_net_is_as_its_own_fit_leaves_it(case, threads, data, dtype):
    x, y = (value.astype(dtype) for value in data)
    given = {"epochs": 4, "batch_size": 10, "loss": "huber(0.5)", **CASES[case]}
    nets, others = make(dtype), make(dtype)
    histories = fb.fit_many(nets, x, y, n_threads=threads, **given)
    callbacks = given.pop("callbacks", ())
    alone = []
    for i, net in enumerate(others):
        own = {k: v[i] if isinstance(v, list) else v for k, v in given.items()}
        fresh = [fb.EarlyStopping(1)] if callbacks else ()
        alone += each_alone([net], x, y, callbacks=fresh, **{k: [v] for k, v in own.items()})
    assert_same(theta(nets), theta(others))
    assert [logs(one) for one in histories] == [logs(one) for one in alone]
    assert all(one.error is None for one in histories)


def test_x_and_y_per_net(data, dtype):
    """Lists, or arrays with the nets along the first axis; another number of columns for each."""
    x, y = (value.astype(dtype) for value in data)
    several = [x * (i + 1) for i in range(4)]
    targets = [y + i for i in range(4)]
    nets = make(dtype)
    each_alone(nets, several, targets, epochs=2)
    for xs, ys in (
        (several, targets),
        (np.stack(several), np.stack(targets)),
        (np.stack(several), np.stack(targets)[:, :, 0]),
        (np.stack(several), targets),
    ):
        others = make(dtype)
        fb.fit_many(others, xs, ys, epochs=2)
        assert_same(theta(others), theta(nets))
    shared = make(dtype)
    fb.fit_many(shared, x, targets, epochs=2)
    expected = make(dtype)
    each_alone(expected, x, targets, epochs=2)
    assert_same(theta(shared), theta(expected))
    wide = [fb.Sequential([fb.Dense(1)], n_inputs=k) for k in (1, 3)]
    fb.fit_many(wide, [x[:, :1], x[:, 1:]], y)
    again = [fb.Sequential([fb.Dense(1)], n_inputs=k) for k in (1, 3)]
    each_alone(again, [x[:, :1], x[:, 1:]], y)
    assert_same(theta(wide), theta(again))


def test_rows_within_the_rows_of_each_net(data):
    """Of an array with the nets along the first axis."""
    x, y = data
    xs, ys = np.stack([x, 2 * x, -x, x + 1]), np.stack([y, y, -y, 3 * y])
    given = {"rows": [np.arange(30), np.arange(10, 50), np.arange(30), np.arange(5)], "epochs": 2}
    nets, others = make(), make()
    fb.fit_many(nets, xs, ys, validation_rows=np.arange(4), **given)
    each_alone(others, list(xs), list(ys), **given)
    assert_same(theta(nets), theta(others))


def test_class_codes_and_sparse_rows(rng):
    x = np.where(rng.random((40, 30)) < 0.2, rng.normal(size=(40, 30)), 0.0).astype(np.float32)
    codes = rng.integers(0, 3, 40)
    given = {"loss": "cross_entropy", "epochs": 2, "batch_size": 9}
    rows = [np.arange(40), np.array([3, 3, 1, 39])]
    for form in (np.asarray, scipy.sparse.csr_matrix, scipy.sparse.coo_array):
        nets, others = (
            [fb.Sequential([fb.Dense(5, "relu"), fb.Dense(3)], n_inputs=30, seed=i) for i in range(2)]
            for _ in "ab"
        )
        histories = fb.fit_many(
            nets, form(x), codes, rows=rows, validation_rows=[None, np.array([7, 5])], **given
        )
        for i, net in enumerate(others):
            matrix = x if form is np.asarray else scipy.sparse.csr_matrix(x)
            held_out = None if i == 0 else (matrix[[7, 5]], codes[[7, 5]])
            net.fit(matrix[rows[i]], codes[rows[i]], validation_data=held_out, verbose=0, **given)
        assert_same(theta(nets), theta(others))
        assert len(histories[1].val_loss) == 2


def test_data_are_checked_once(data, monkeypatch):
    """However many nets share them; and orders are drawn once."""
    x, y = data
    counts = {"x": 0, "y": 0, "orders": 0}

    def counted(module, name, what):
        original = getattr(module, name)

        def wrapped(*arguments, **options):
            counts[what] += 1
            return original(*arguments, **options)

        monkeypatch.setattr(module, name, wrapped)

    counted(fb.engine.sources, "to_inputs", "x")
    counted(fb.objectives, "to_targets", "y")
    counted(fb.training.orders.Orders, "__init__", "orders")
    nets = make(dropout=False)
    fb.fit_many(nets, x, y, epochs=3)
    assert counts == {"x": 1, "y": 1, "orders": 1}
    fb.fit_many(nets, x, [y, y, 2 * y, y], seed=[0, 0, 1, None])
    assert counts == {"x": 2, "y": 3, "orders": 3}


def test_a_net_that_diverges_does_not_stop_the_others(data):
    nets, others = make(), make()
    start = theta(nets)[1]
    given = {"optimizer": "sgd", "learning_rate": [0.01, 1e30, 0.01, 0.02], "epochs": 5}
    with pytest.warns(UserWarning, match=r"1 of 4 nets diverged .*: 1; the first: the (loss|weights) became"):
        histories = fb.fit_many(nets, *data, **given)
    assert np.array_equal(theta(nets)[1], start)
    assert isinstance(histories[1].error, fb.DivergenceError)
    del nets[1], others[1], histories[1]
    each_alone(others, *data, **{**given, "learning_rate": [0.01, 0.01, 0.02]})
    assert_same(theta(nets), theta(others))


class Fails(fb.callbacks.Callback):
    def on_epoch_end(self, epoch, logs):
        if epoch == 2:
            raise RuntimeError("mine")


def test_an_error_in_a_callback_gives_all_weights_back(data):
    nets = make()
    before = theta(nets)
    with pytest.raises(RuntimeError, match="mine"):
        fb.fit_many(nets, *data, epochs=[1, 4, 1, 1], callbacks=[Fails()], n_threads=2)
    assert_same(theta(nets), before)


def test_ctrl_c_leaves_each_net_at_a_chunk(data):
    """Nets that are done stay so, those in hand stop, those after them are not begun."""
    nets, expected = make(), make()
    before = theta(nets)

    class Presses(fb.callbacks.Callback):
        def on_epoch_end(self, epoch, logs):
            if epoch == 1:
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(1)

    timer = threading.Timer(60, os._exit, [1])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        callbacks = [[], [Presses()], [], []]
        fb.fit_many(nets, *data, epochs=[100, 50, 1, 1], callbacks=callbacks, n_threads=1)
    timer.cancel()
    each_alone(expected[:2], *data, epochs=[100, 3])
    assert_same(theta(nets[:1]), theta(expected[:1]))
    stopped = theta(nets)[1]
    assert not np.array_equal(stopped, before[1])
    # At the end of its second or its third epoch: the signal is seen when the callback sleeps, or after it.
    each_alone(two := make()[1:2], *data, epochs=2)
    assert np.array_equal(stopped, theta(expected)[1]) or np.array_equal(stopped, theta(two)[0])
    assert_same(theta(nets)[2:], before[2:])


def test_ctrl_c_while_a_thread_starts(data, monkeypatch):
    """It has begun, but nobody was told: it is waited for all the same, and trains nothing afterwards."""
    start, nets, started = threading.Thread.start, make(), []

    def interrupted(thread):
        start(thread)
        started.append(thread)
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fb.fit_many(nets, *data, epochs=1_000_000, n_threads=2)
    assert len(started) == 1 and not started[0].is_alive()


def test_threads_do_the_work(data):
    class Where(fb.callbacks.Callback):
        seen, both = set(), threading.Event()

        def __deepcopy__(self, memo):
            return self

        def on_epoch_end(self, epoch, logs):
            Where.seen.add(threading.get_ident())
            if len(Where.seen) == 2:
                Where.both.set()
            Where.both.wait(60)

    fb.fit_many(make(), *data, callbacks=Where(), n_threads=2)
    assert len(Where.seen) == 2
    assert threading.get_ident() not in Where.seen


def test_callbacks_are_copied_per_net(data):
    class Counts(fb.callbacks.Callback):
        def __init__(self):
            self.epochs = 0

        def on_epoch_end(self, epoch, logs):
            self.epochs += 1

    one, own = Counts(), [[Counts()], [], [Counts()], []]
    fb.fit_many(make(), *data, epochs=3, callbacks=[one])
    assert one.epochs == 0
    fb.fit_many(make(), *data, epochs=3, callbacks=own)
    assert [item[0].epochs for item in own if item] == [3, 3]


def test_checkpoints_of_each_net(data, tmp_path):
    """With a list of callbacks per net; each file goes on to the same bits."""
    nets, others = make(), make()
    paths = [tmp_path / f"{i}.safetensors" for i in range(4)]
    fb.fit_many(nets, *data, epochs=2, callbacks=[[fb.Checkpoint(path)] for path in paths])
    for net, path in zip(nets, paths, strict=True):
        net.fit(*data, epochs=4, resume_from=path, verbose=0)
    each_alone(others, *data, epochs=4)
    assert_same(theta(nets), theta(others))


@pytest.mark.parametrize("verbose", [0, 1, 2])
def test_what_is_shown(verbose, data, capsys):
    fb.fit_many(make(), *data, verbose=verbose)
    text = capsys.readouterr()
    assert text.out == ""
    assert sum(line.startswith("net ") for line in text.err.splitlines()) == (4 if verbose == 2 else 0)


WRONG = {
    "epochs": ({"epochs": [1, 1, 0, 1]}, ValueError, r"nets\[2\]: epochs must be an integer >= 1, got 0"),
    "rates": ({"learning_rate": [0.1, -1.0, 0.1, 0.1]}, ValueError, r"nets\[1\]: Adam: learning_rate"),
    "too few": (
        {"learning_rate": [0.1, 0.1]},
        ValueError,
        "learning_rate must be one for all or a list with one for",
    ),
    "seed": ({"seed": np.random.default_rng(0)}, TypeError, "seed must be an integer"),
    "negative seed": ({"seed": [0, 0, 0, -1]}, ValueError, r"nets\[3\]: seed must be an integer >= 0"),
    "row": (
        {"rows": [[0], [1], [50], [3]]},
        ValueError,
        r"nets\[2\]: rows must be row numbers from 0 to 49, got 50",
    ),
    "no rows": ({"rows": [[0], [1], [], [3]]}, ValueError, r"nets\[2\]: rows is empty"),
    "fractions": ({"rows": [0.5, 1.0]}, TypeError, "rows must be row numbers of X, a mask of 50"),
    "optimizer": (
        {"optimizer": ["adam", "adam", "adan", "adam"]},
        ValueError,
        r"nets\[2\]: optimizer must be one of",
    ),
    "verbose": ({"verbose": 3}, ValueError, "verbose must be 0, 1 or 2"),
    "n": ({"n": 4}, ValueError, "n must be left out"),
    "threads": ({"n_threads": 0}, ValueError, "n_threads"),
    "file": (
        {"callbacks": [fb.CSVLogger("log.csv")]},
        ValueError,
        "CSVLogger of every net would write log.csv",
    ),
    "bar": ({"callbacks": fb.ProgressBar()}, ValueError, "verbose=1"),
    "hookless": ({"callbacks": [object()]}, TypeError, r"nets\[0\]: callbacks: .* has none of the hooks"),
    "loss": ({"loss": "cross_entropy"}, ValueError, "needs one output per class"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments_are_named_before_anything_is_trained(case, data, monkeypatch):
    given, kind, message = WRONG[case]
    monkeypatch.setattr(training, "work_off", None)  # nothing may come so far
    with pytest.raises(kind, match=message):
        fb.fit_many(make(), *data, **given)


def test_wrong_nets_and_data(data):
    x, y = data
    nets = make()
    with pytest.raises(ValueError, match=r"nets\[2\] is nets\[0\]"):
        fb.fit_many([nets[0], nets[1], nets[0]], x, y)
    with pytest.raises(TypeError, match=r"nets\[1\] must be a Sequential, got str"):
        fb.fit_many([nets[0], "net"], x, y)
    with pytest.raises(ValueError, match="at least one"):
        fb.fit_many([], x, y)
    with pytest.raises(ValueError, match="n is missing"):
        fb.fit_many(nets[0], x, y)
    with pytest.raises(
        ValueError, match="x must be one for all or a list with one for each of the 4 nets, got 3"
    ):
        fb.fit_many(nets, [x, x, x], y)
    with pytest.raises(ValueError, match=r"nets\[3\]: X holds nan in row 7, column 2"):
        bad = np.stack([x] * 4)
        bad[3, 7, 2] = np.nan
        fb.fit_many(nets, bad, np.stack([y] * 4))
    with pytest.raises(ValueError, match=r"nets\[1\]: X has 4 columns, but the first layer"):
        fb.fit_many([nets[0], fb.Sequential([fb.Dense(1)], n_inputs=3)], x, y)
    with pytest.raises(TypeError, match="cannot be copied for each net"):
        callback = fb.EarlyStopping()
        callback.lock = threading.Lock()
        fb.fit_many(nets, x, y, callbacks=callback)


def test_a_net_in_training_is_refused(data):
    net = make()[0]

    class Inside(fb.callbacks.Callback):
        def on_epoch_end(self, epoch, logs):
            fb.fit_many([net], *data)

    with pytest.raises(ValueError, match=r"nets\[0\] is being trained by the call"):
        net.fit(*data, callbacks=Inside(), verbose=0)


def test_no_thread_can_be_started(data, monkeypatch):
    """Then the caller's does the work."""

    def refused(self):
        raise RuntimeError("can't start new thread")

    nets, others = make(), make()
    monkeypatch.setattr(threading.Thread, "start", refused)
    fb.fit_many(nets, *data, n_threads=2)
    monkeypatch.undo()
    each_alone(others, *data)
    assert_same(theta(nets), theta(others))
