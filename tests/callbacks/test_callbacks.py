"""Callbacks: which hooks are called when and with what, and the decisions of the built-in ones."""

import csv
import io
import math
import os
import pickle
import subprocess
import sys
import types

import numpy as np
import pytest

from fastbp.callbacks import (
    Callback,
    Checkpoint,
    CSVLogger,
    DivergenceError,
    EarlyStopping,
    ProgressBar,
    ReduceLROnPlateau,
    TerminateOnNaN,
    TimeLimit,
)
from fastbp.callbacks.hooks import CallbackList, Run
from fastbp.estimators import MLPRegressor
from fastbp.layers import Dense
from fastbp.optimizers import SGD, Adam
from fastbp.schedules import StepDecay
from fastbp.sequential import Sequential


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(90, 4)).astype("float32")
    return x, np.sin(x[:, :1])


def make(seed=0):
    return Sequential([Dense(8, "tanh"), Dense(1)], 4, seed=seed)


def feed(callback, values, name="val_loss", run=None):
    """Give the callback one value per epoch; return the epochs after which it wanted to stop."""
    run = run or Run(None, np.zeros(3))
    callback.on_fit_begin(run)
    return [
        epoch
        for epoch, value in enumerate(values)
        if callback.on_epoch_end(epoch, {"loss": 9.0, name: value}) is True
    ]


def test_order_and_arguments_of_the_hooks(data):
    seen = []

    class All:
        def on_fit_begin(self, run):
            seen.append(("fit_begin", run.epochs, run.samples, run.epoch))

        def on_epoch_begin(self, epoch, logs):
            seen.append(("epoch_begin", epoch, logs))

        def on_chunk_end(self, seconds, samples):
            assert seconds > 0
            seen.append(("chunk_end", samples))

        def on_epoch_end(self, epoch, logs):
            seen.append(("epoch_end", epoch, sorted(logs)))

        def on_fit_end(self, run):
            seen.append(("fit_end", run.epoch))

    class Without:
        def on_fit_begin(self):
            seen.append("without")

        def on_epoch_begin(self, epoch):
            seen.append(epoch)

    class Any:
        def on_epoch_begin(self, *arguments):
            seen.append(arguments)

    x, y = data
    make().fit(x, y, epochs=2, callbacks=[All(), Without(), Any()], validation_split=0.1, verbose=0)
    logs = ["epoch_seconds", "learning_rate", "loss", "val_loss"]
    chunks = [item for item in seen if isinstance(item, tuple) and item[0] == "chunk_end"]
    assert sum(rows for _, rows in chunks) == 2 * 81
    rest = [item for item in seen if item not in chunks]
    epochs = [[("epoch_begin", e, {}), e, (e, {}), ("epoch_end", e, logs)] for e in (0, 1)]
    assert rest == [("fit_begin", 2, 81, 0), "without", *epochs[0], *epochs[1], ("fit_end", 2)]


@pytest.mark.parametrize("hook", ["on_epoch_end", "on_chunk_end"])
@pytest.mark.parametrize(
    ("answer", "epochs"),
    [(True, 1), (np.True_, 1), (1, 1), ("enough", 1), (None, 5), (False, 5), (np.False_, 5), (0, 5)],
)
def test_truth_stops(data, hook, answer, epochs):
    stopper = type("Stopper", (), {hook: lambda self, *arguments: answer})()
    assert len(make().fit(*data, epochs=5, batch_size=10, callbacks=[stopper], verbose=0)) == epochs


@pytest.mark.parametrize("hook", ["on_fit_begin", "on_epoch_begin", "on_fit_end"])
def test_only_the_ends_of_chunks_and_epochs_stop(data, hook):
    callback = type("Chatty", (), {hook: lambda self, *arguments: "started"})()
    assert len(make().fit(*data, epochs=3, callbacks=[callback], verbose=0)) == 3


def test_a_single_callback_needs_no_list(data):
    x, y = data
    assert len(make().fit(x, y, epochs=50, optimizer="sgd", callbacks=TimeLimit(0), verbose=0)) == 1
    assert len(make().fit(x, y, epochs=2, callbacks=None, verbose=0)) == 2
    for solver in ("adam", "lbfgs"):
        net = MLPRegressor(hidden_layer_sizes=(3,), solver=solver, callbacks=TimeLimit(0))
        assert net.fit(x, y.ravel()).n_iter_ == 1
    with pytest.raises(TypeError, match="got the class EarlyStopping; write EarlyStopping"):
        make().fit(x, y, callbacks=EarlyStopping)
    for fit in (make().fit, MLPRegressor(callbacks=3).fit):
        with pytest.raises(TypeError, match="callbacks must be a list of objects with hooks, got 3"):
            fit(x, y.ravel(), **({"callbacks": 3} if fit.__self__.__class__ is Sequential else {}))


def test_misnamed_hooks_are_reported_once(data):
    class Keras:
        def on_train_end(self):
            raise AssertionError

        def on_batch_end(self):
            raise AssertionError

        def on_epoch_ends(self):
            raise AssertionError

        def on_epoch_end(self, epoch):
            pass

    with pytest.warns(UserWarning) as caught:
        make().fit(*data, epochs=3, callbacks=[Keras(), Keras()], verbose=0)
    (warning,) = caught
    assert warning.filename == __file__
    text = str(warning.message)
    assert text.count("Keras.on_train_end (did you mean on_fit_end?)") == 1
    assert "Keras.on_batch_end (did you mean on_chunk_end?)" in text
    assert "Keras.on_epoch_ends (did you mean on_epoch_end?)" in text
    estimator = MLPRegressor(hidden_layer_sizes=(2,), callbacks=[Keras()], solver="lbfgs", tol=1e3)
    with pytest.warns(UserWarning, match="never called: Keras.on_batch_end"):
        estimator.fit(data[0], data[1].ravel())


def test_a_stop_within_an_epoch_is_recorded(data, monkeypatch):
    from fastbp.engine import session

    monkeypatch.setattr(session, "CHUNK_SECONDS", 0.0)  # a chunk per batch
    x, y = data

    class Third(Callback):
        count = 0

        def on_chunk_end(self, seconds, samples):
            self.count += 1
            return self.count == 12

        def on_epoch_end(self, epoch, logs):
            self.last = epoch

    hook = Third()
    history = make().fit(x, y, epochs=5, batch_size=10, callbacks=[hook], validation_data=(x, y), verbose=0)
    assert len(history) == len(history.val_loss) == 2
    assert hook.last == 0


def test_a_stop_in_the_last_chunk_completes_the_epoch(data):
    ends = []

    class Stop:
        def on_chunk_end(self, seconds, samples):
            return True

        def on_epoch_end(self, epoch, logs):
            ends.append(epoch)

    assert len(make().fit(*data, epochs=5, callbacks=[Stop()], verbose=0)) == 1
    assert ends == [0]


BARS = """
import io, os, signal, threading, warnings
import fastbp as fb
from tqdm.auto import tqdm

held, over = threading.Event(), threading.Event()
bar = fb.ProgressBar(io.StringIO())

def draw():
    with tqdm.get_lock():
        held.set()
        over.wait(60)

thread = threading.Thread(target=draw)
thread.start()
held.wait(60)
warnings.simplefilter("ignore")  # Python 3.12 warns of what is tried here
child = os.fork()
if child == 0:
    signal.alarm(20)  # which ends a child that hangs
    bar.on_fit_begin()
    bar.close()
    os._exit(0)
threading.Timer(1, over.set).start()  # the lock between processes is given back
print(os.waitpid(child, 0)[1])
thread.join()
"""


def test_a_child_forked_while_a_bar_is_drawn_draws_its_own():
    pytest.importorskip("fcntl")  # forks
    done = subprocess.run(
        [sys.executable, "-c", BARS], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.stdout.split() == ["0"], done.stderr


def test_csv_logger_loses_no_line_if_it_cannot_cut_the_file(tmp_path, monkeypatch):
    logger = CSVLogger(tmp_path / "log.csv")
    logger.on_fit_begin()
    for epoch in range(3):
        logger.on_epoch_end(epoch, {"loss": 1.0})
    before = (tmp_path / "log.csv").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        logger.on_fit_begin(Run(None, np.zeros(1), epoch=2))
    assert (tmp_path / "log.csv").read_bytes() == before


def test_early_stopping_before_a_fit():
    stopping = EarlyStopping()
    assert math.isnan(stopping.best)
    assert stopping.best_epoch == -1


def test_early_stopping_counts():
    assert feed(EarlyStopping(2), [5, 4, 4, 4, 4])[0] == 3
    assert feed(EarlyStopping(2), [5, 4, 4, 3, 4, 4])[0] == 5
    assert feed(EarlyStopping(0), [5, 4, 4])[0] == 2
    assert feed(EarlyStopping(1, min_delta=0.5), [5, 4.8, 4.0])[0] == 1
    assert feed(EarlyStopping(2), [math.nan, math.nan])[0] == 1
    assert feed(EarlyStopping(1, monitor="accuracy"), [0.5, 0.6, 0.6], "accuracy")[0] == 2
    assert feed(EarlyStopping(1, monitor="mse"), [5, 4, 3], "mse") == []
    assert feed(EarlyStopping(1, monitor="odd", mode="max"), [5, 4], "odd") == [1]
    assert feed(EarlyStopping(1), [1, 1], "other") == [1]  # watches loss where there is no val_loss


def test_early_stopping_best():
    stopping = EarlyStopping(10, monitor="accuracy")
    feed(stopping, [0.5, 0.7, 0.6], "accuracy")
    assert (stopping.best, stopping.best_epoch) == (0.7, 1)
    feed(stopping, [], "accuracy")
    assert math.isnan(stopping.best)


@pytest.mark.parametrize("restore", [True, False])
def test_early_stopping_restores(data, restore):
    x, y = data
    seen = []

    class Record(Callback):
        def on_fit_begin(self, run):
            self.run = run

        def on_epoch_end(self, epoch, logs):
            seen.append((logs["val_loss"], self.run.theta.copy()))

    net = make()
    stopping = EarlyStopping(3, restore_best=restore)
    history = net.fit(
        x,
        y,
        epochs=40,
        optimizer=SGD(0.4),
        batch_size=5,
        validation_split=0.3,
        callbacks=[stopping, Record()],
        verbose=0,
    )
    best = min(range(len(seen)), key=lambda i: seen[i][0])
    assert stopping.best_epoch == best
    assert stopping.best == seen[best][0] == history.val_loss[best]
    np.testing.assert_array_equal(net.engine.theta, seen[best if restore else -1][1])


def test_early_stopping_restores_also_when_not_stopped(data):
    x, y = data
    net = make()
    stopping = EarlyStopping(100)
    net.fit(
        x,
        y,
        epochs=8,
        optimizer=SGD(0.3),
        batch_size=5,
        validation_data=(x, y),
        callbacks=[stopping],
        verbose=0,
    )
    assert net.evaluate(x, y) == stopping.best


@pytest.mark.parametrize("watch", [EarlyStopping, ReduceLROnPlateau])
@pytest.mark.parametrize("name", ["rmse", "val_rmse", "mape", "brier", "odd", "auc", "epoch_seconds"])
def test_a_direction_that_nobody_knows_is_not_guessed(watch, name):
    with pytest.raises(ValueError, match=f"{watch.__name__}: mode='auto' .* {name} .*mode='min'"):
        watch(monitor=name)
    assert watch(monitor=name, mode="min").value({name: 2.0}) == (2.0, 2.0)
    assert watch(monitor=name, mode="max").value({name: 2.0}) == (2.0, -2.0)


def test_known_directions():
    smaller = ["loss", "mse", "binary_cross_entropy", "max_error", "brier_score_loss", "hinge_loss"]
    smaller += ["root_mean_squared_error", "mean_poisson_deviance"]
    larger = ["accuracy", "r2", "neg_log_loss", "roc_auc", "f1_score", "accuracy_score", "score"]
    for sign, names in ((1, smaller), (-1, larger)):
        for name in [*names, *(f"val_{name}" for name in names)]:
            assert EarlyStopping(monitor=name).value({name: 2.0}) == (2.0, 2.0 * sign)


def test_best_weights_by_a_metric_of_the_users_own(data):
    def rmse(truth, answer):
        return float(np.sqrt(np.mean((truth - answer) ** 2)))

    x, y = data
    net = make()
    stopping = EarlyStopping(3, monitor="val_rmse", mode="min")
    history = net.fit(
        x, y, epochs=20, validation_split=0.3, metrics=rmse, callbacks=[stopping], verbose=0, optimizer="sgd"
    )
    assert stopping.best == min(history.val_rmse)
    assert len(history) == 20


def test_keras_would_stop_here():
    """The counting of keras.callbacks.EarlyStopping 3: wait += 1, back to 0 after an improvement, stop at patience."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        values, patience, delta = (
            rng.normal(size=30).tolist(),
            int(rng.integers(1, 5)),
            float(rng.choice([0, 0.1])),
        )
        best, wait, expected = math.inf, 0, None
        for epoch, value in enumerate(values):
            wait += 1
            if value < best - delta:
                best, wait = value, 0
                continue
            if wait >= patience and epoch > 0:
                expected = epoch
                break
        assert next(iter(feed(EarlyStopping(patience, min_delta=delta), values)), None) == expected


def test_plateau_is_torchs():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    for _ in range(30):
        arguments = {"factor": 0.5, "patience": int(rng.integers(0, 4)), "cooldown": int(rng.integers(0, 3))}
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
        theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, min_lr=0.004, **arguments)
        run = Run(None, np.zeros(1))
        ours = ReduceLROnPlateau(min_learning_rate=0.004, **arguments)
        ours.on_fit_begin(run)
        for epoch, value in enumerate(
            np.abs(rng.normal(size=40)).cumsum()[::-1] ** 0.2 + rng.normal(size=40) * 0.1
        ):
            run.learning_rate = 0.1 * run.learning_rate_scale
            theirs.step(value)
            ours.on_epoch_end(epoch, {"loss": value})
            assert 0.1 * run.learning_rate_scale == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
        assert run.learning_rate_scale < 1


def test_plateau_in_fit(data):
    x, y = data
    plateau = ReduceLROnPlateau(0.5, 0, monitor="loss", threshold=1.0)  # never satisfied
    history = make().fit(
        x, y, optimizer=SGD(StepDecay(0.1, 2, 0.1)), epochs=4, callbacks=[plateau], verbose=0
    )
    np.testing.assert_allclose(history.learning_rate, [0.1, 0.1, 0.005, 0.0025])


def test_terminate_on_nan(data):
    x, y = data
    net = Sequential([Dense(4), Dense(1)], 4)
    history = net.fit(
        x, y, optimizer=SGD(1e9), epochs=50, callbacks=[TerminateOnNaN(raise_error=False)], verbose=0
    )
    assert len(history) < 50
    run = Run(None, np.array([1.0, np.inf]))
    hook = TerminateOnNaN()
    hook.on_fit_begin(run)
    with pytest.raises(DivergenceError, match="weights became infinite or NaN in epoch 4"):
        hook.on_epoch_end(3, {"loss": 1.0})
    run.loss_sum, run.learning_rate = math.inf, 0.5
    with pytest.raises(DivergenceError, match=r"the loss became inf in epoch 1 \(learning rate 0.5\)"):
        hook.on_chunk_end(0.1, 10)


def test_time_limit(data, monkeypatch):
    clock = iter([1000.0, 1001.0, 1002.0, 1011.0, 1012.0, 1013.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    history = make().fit(*data, epochs=100, callbacks=[TimeLimit(10)], verbose=0)
    assert len(history) == 2


def test_csv_logger(data, tmp_path):
    path = tmp_path / "log.csv"
    history = make().fit(
        *data, epochs=3, callbacks=[CSVLogger(path)], validation_split=0.2, metrics="mae", verbose=0
    )
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    for name in ("loss", "val_loss", "mae", "val_mae", "learning_rate", "epoch_seconds"):
        assert [float(row[name]) for row in rows] == history[name]
    logger = CSVLogger(path)
    logger.on_fit_begin(Run(None, np.zeros(1), epoch=2))
    logger.on_epoch_end(2, {"loss": 7.0, "new": 1.0})
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert (rows[2]["loss"], rows[2]["val_loss"]) == ("7.0", "")
    make().fit(*data, callbacks=[CSVLogger(path)], verbose=0)
    assert len(path.read_text().splitlines()) == 2


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_bar(data):
    for file, drawn in ((Terminal(), True), (io.StringIO(), False)):
        make().fit(*data, epochs=2, callbacks=[ProgressBar(file)], verbose=0)
        text = file.getvalue()
        assert ("epoch 2/2" in text and "loss=" in text and "samples/s" in text) == drawn
        assert bool(text) == drawn


def test_progress_bar_knows_how_much_there_is(data):
    totals = []

    class Look(Callback):
        def on_epoch_end(self, epoch, logs):
            totals.append((bar._bar.total, bar._bar.n))

    bar = ProgressBar(Terminal())
    make().fit(*data, epochs=3, callbacks=[bar, Look()], verbose=0)
    n = len(data[0])
    assert totals == [(3 * n, n), (3 * n, 2 * n), (3 * n, 3 * n)]


@pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals")
@pytest.mark.parametrize("columns", [0, 60, 200])
def test_progress_bar_fits_the_terminal(columns, data):
    """A terminal nobody gave a size, as in containers and CI, says 0 columns: there the bar has 80."""
    import termios

    master, slave = os.openpty()
    termios.tcsetwinsize(slave, (24 if columns else 0, columns))
    drawn = b""
    with open(master, "rb", buffering=0) as screen, open(slave, "w") as file:
        make().fit(*data, epochs=1, callbacks=[ProgressBar(file)], verbose=0)
        file.write("end")
        file.flush()
        # What was written reaches the other side in pieces, and some time after.
        while not drawn.endswith(b"end"):
            drawn += screen.read(1 << 16)
    lines = drawn.removesuffix(b"end").decode().replace("\r", "\n").split("\n")
    assert any("epoch 1/1" in line for line in lines)
    assert max(map(len, lines)) <= (columns or 80)


def test_verbose_draws_on_a_terminal(data, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    make().fit(*data, verbose=0)
    assert terminal.getvalue() == ""
    make().fit(*data, verbose=1)
    assert "epoch 1/1" in terminal.getvalue()
    batches = [(data[0][i : i + 9], data[1][i : i + 9]) for i in range(0, 90, 9)]
    make().fit(batches, epochs=2, verbose=1)
    assert "epoch 2/2" in terminal.getvalue()


@pytest.mark.parametrize(("terminal", "verbose"), [(False, 1), (False, 2), (True, 2)])
def test_a_line_per_epoch(data, monkeypatch, terminal, verbose):
    file = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr("sys.stderr", file)
    history = make().fit(*data, epochs=3, validation_split=0.2, metrics="mae", verbose=verbose)
    lines = file.getvalue().splitlines()
    assert [line.split("  ")[0] for line in lines] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    assert f"loss={history.loss[1]:.4g}  " in lines[1] and f"val_mae={history.val_mae[1]:.4g}  " in lines[1]


def test_a_notebook_has_its_own_bar(data, monkeypatch):
    shell = types.SimpleNamespace(config={"IPKernelApp": {}})
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    file = io.StringIO()
    monkeypatch.setattr("sys.stderr", file)
    make().fit(*data, epochs=2, verbose=1)
    assert "epoch 2/2" in file.getvalue() and "samples/s" in file.getvalue()


def test_bar_is_closed_after_an_error(data):
    bar = ProgressBar(Terminal())

    class Fail:
        def on_epoch_end(self, epoch, logs):
            raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        make().fit(*data, callbacks=[bar, Fail()], verbose=0)
    assert bar._bar is None


def test_checkpoint_comes_last(tmp_path):
    order = []

    class Saver(Callback):
        saves = True

        def on_epoch_end(self, epoch, logs):
            order.append("saver")

        def on_fit_end(self, run):
            order.append("saver")

    class Other(Callback):
        def on_epoch_end(self, epoch, logs):
            order.append("other")

        def on_fit_end(self, run):
            order.append("other")

    hooks = CallbackList([Saver(), Other()], Run(None, np.zeros(1)))
    hooks.epoch_end(0, {})
    hooks.fit_end()
    assert order == ["other", "saver", "saver", "other"]


def test_callbacks_can_be_reused_and_pickled(data, tmp_path):
    items = [
        EarlyStopping(1),
        ReduceLROnPlateau(patience=0),
        TimeLimit(100),
        CSVLogger(tmp_path / "a.csv"),
        Checkpoint(tmp_path / "a.safetensors"),
        TerminateOnNaN(),
        ProgressBar(),
    ]
    first = make().fit(*data, epochs=4, optimizer=Adam(0.01), callbacks=items, verbose=0)
    second = make().fit(
        *data, epochs=4, optimizer=Adam(0.01), callbacks=pickle.loads(pickle.dumps(items)), verbose=0
    )
    third = make().fit(*data, epochs=4, optimizer=Adam(0.01), callbacks=items, verbose=0)
    assert first.loss == second.loss == third.loss


@pytest.mark.parametrize(
    ("make_it", "error", "message"),
    [
        (lambda: EarlyStopping(-1), ValueError, "EarlyStopping: patience"),
        (lambda: EarlyStopping(monitor=3), TypeError, "EarlyStopping: monitor"),
        (lambda: EarlyStopping(mode="best"), ValueError, "EarlyStopping: mode"),
        (lambda: ReduceLROnPlateau(1.0), ValueError, "ReduceLROnPlateau: factor"),
        (lambda: TimeLimit("1"), TypeError, "TimeLimit: seconds"),
        (lambda: Checkpoint("a", 0), ValueError, "Checkpoint: every"),
        (
            lambda: feed(EarlyStopping(monitor="nothing", mode="min"), [1]),
            ValueError,
            "'nothing' is not logged; there are loss, val_loss",
        ),
        (lambda: Checkpoint("a").on_fit_begin(None), ValueError, "Checkpoint works in Sequential.fit"),
    ],
)
def test_errors(make_it, error, message):
    with pytest.raises(error, match=message):
        make_it()


def test_checkpoint_needs_a_folder(data, tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        make().fit(*data, callbacks=[Checkpoint(tmp_path / "no" / "a.safetensors")], verbose=0)
