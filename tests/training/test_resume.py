"""A training that is stopped, killed or crashed goes on to the very weights of an uninterrupted one."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

from fastbp.callbacks import (
    Callback,
    Checkpoint,
    CSVLogger,
    DivergenceError,
    EarlyStopping,
    ReduceLROnPlateau,
    TimeLimit,
)
from fastbp.engine import session
from fastbp.formats import FormatError, load
from fastbp.formats._container import read, write
from fastbp.layers import Dense, Dropout
from fastbp.optimizers import OPTIMIZERS, SGD, Adam, NAdam
from fastbp.schedules import OneCycle
from fastbp.sequential import Sequential
from fastbp.training.model_loop import ModelLoop
from tests.formats.forging import altered, forge, opened, places


class Stop(Callback):
    """Ends the training after so many chunks or epochs."""

    def __init__(self, *, chunks=0, epochs=0):
        self.chunks, self.epochs = chunks, epochs

    def on_chunk_end(self, seconds, samples):
        self.chunks -= 1
        return self.chunks == 0

    def on_epoch_end(self, epoch, logs):
        return epoch + 1 == self.epochs


@pytest.fixture
def data(rng):
    x = rng.normal(size=(230, 5)).astype("float32")
    return x, np.sin(x[:, :1]) + 0.1 * rng.normal(size=(230, 1)).astype("float32")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.safetensors"


@pytest.fixture(autouse=True)
def chunk_per_batch(monkeypatch):
    monkeypatch.setattr(session, "CHUNK_SECONDS", 0.0)


def make():
    return Sequential(
        [Dropout(0.1), Dense(9, "relu"), Dropout(0.3), Dense(7, "tanh", use_bias=False), Dense(1)], 5
    )


def assert_resumes(path, fit, stop, *, same=("val_loss",)):
    """Train at one go, and in two parts separated by `stop`: the same weights, bit for bit."""
    whole = make()
    expected = fit(whole, [])
    fit(make(), [Checkpoint(path), stop])
    second = make()
    history = fit(second, [Checkpoint(path)], resume_from=path)
    np.testing.assert_array_equal(second.engine.theta, whole.engine.theta)
    for name in ("loss", *same):
        assert history[name] == expected[name]
    return history


def test_the_product_of_nadam_is_in_the_file(data, path):
    """After a million steps it cannot be told from their number to the last bit."""
    x, y = data
    optimizer = NAdam(beta1=0.99999999, momentum_decay=1e3)
    make().fit(x, y, epochs=2, batch_size=20, optimizer=optimizer, callbacks=[Checkpoint(path)], verbose=0)
    kind, state = read(path)
    state["training"]["product"] = 0.125
    write(path, kind, state)
    products = []
    begin = ModelLoop.begun

    def begun(loop):
        products.append(loop.trainer.session.product)
        begin(loop)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ModelLoop, "begun", begun)
        make().fit(
            x,
            y,
            epochs=3,
            batch_size=20,
            optimizer=optimizer,
            verbose=0,
            resume_from=path,
        )
    assert products == [0.125]


@pytest.mark.parametrize("stop", [{"epochs": 2}, {"chunks": 1}, {"chunks": 17}, {"chunks": 27}])
@pytest.mark.parametrize("kind", OPTIMIZERS.values(), ids=lambda kind: kind.__name__)
def test_every_optimizer(kind, stop, data, path):
    x, y = data

    def fit(net, callbacks, **arguments):
        optimizer = SGD(0.05, momentum=0.9) if kind is SGD else kind()
        return net.fit(
            x, y, epochs=4, batch_size=20, optimizer=optimizer, callbacks=callbacks, verbose=0, **arguments
        )

    assert_resumes(path, fit, Stop(**stop), same=())


@pytest.mark.parametrize("stop", [{"epochs": 5}, {"chunks": 31}, {"chunks": 75}])
def test_with_everything(stop, data, path):
    x, y = data
    weight = np.random.default_rng(2).integers(0, 3, len(x))

    def fit(net, callbacks, **arguments):
        others = [EarlyStopping(6, monitor="val_loss"), ReduceLROnPlateau(0.5, 1)]
        return net.fit(
            x,
            y,
            epochs=12,
            batch_size=16,
            optimizer=Adam(OneCycle(0.02)),
            validation_split=0.2,
            sample_weight=weight,
            metrics="r2",
            max_grad_norm=1.0,
            seed=7,
            callbacks=[*callbacks, *others],
            verbose=0,
            **arguments,
        )

    assert_resumes(path, fit, Stop(**stop), same=("val_loss", "r2", "val_r2", "learning_rate"))


def test_batches_from_an_iterable(data, path):
    x, y = data
    batches = [(x[i : i + 20], y[i : i + 20]) for i in range(0, len(x), 20)]

    def fit(net, callbacks, **arguments):
        return net.fit(batches, epochs=3, callbacks=callbacks, verbose=0, **arguments)

    assert_resumes(path, fit, Stop(epochs=1), same=())
    fit(make(), [Checkpoint(path, every_seconds=0.0), Stop(chunks=1)])
    fit(make(), [Checkpoint(path)], resume_from=path)


def test_converted_memmaps(data, path, tmp_path, monkeypatch):
    from fastbp.engine import sources

    monkeypatch.setattr(sources, "CONVERTED_BYTES", 5 * 4 * 60)
    x, y = data
    mapped = np.memmap(tmp_path / "x.dat", "float64", "w+", shape=x.shape)
    mapped[:] = x

    def fit(net, callbacks, **arguments):
        return net.fit(mapped, y, epochs=3, batch_size=20, callbacks=callbacks, verbose=0, **arguments)

    assert_resumes(path, fit, Stop(chunks=17), same=())


def test_three_parts_of_a_time_limit(data, path):
    x, y = data
    whole = make()
    whole.fit(x, y, epochs=6, batch_size=10, verbose=0)
    resume = None
    for chunks in (5, 31, 40, 2, 0):
        net = make()
        net.fit(
            x,
            y,
            epochs=6,
            batch_size=10,
            callbacks=[Checkpoint(path), Stop(chunks=chunks)],
            resume_from=resume,
            verbose=0,
        )
        resume = path
    np.testing.assert_array_equal(net.engine.theta, whole.engine.theta)
    limited = make().fit(x, y, epochs=6, callbacks=[Checkpoint(path), TimeLimit(0.0)], verbose=0)
    assert len(limited) == 1


def test_more_epochs_later(data, path):
    x, y = data
    whole, net = make(), make()
    whole.fit(x, y, epochs=5, verbose=0)
    net.fit(x, y, epochs=2, callbacks=[Checkpoint(path)], verbose=0)
    history = make().fit(x, y, epochs=2, resume_from=path, verbose=0)
    assert len(history) == 2
    net = make()
    assert len(net.fit(x, y, epochs=5, resume_from=path, verbose=0)) == 5
    np.testing.assert_array_equal(net.engine.theta, whole.engine.theta)


def test_a_run_that_stopped_early_stays_stopped(data, path):
    x, y = data

    def fit(net, **arguments):
        hooks = [EarlyStopping(2), Checkpoint(path)]
        return net.fit(
            x,
            y,
            optimizer=SGD(0.5),
            epochs=200,
            validation_split=0.3,
            callbacks=hooks,
            verbose=0,
            **arguments,
        )

    first, second = make(), make()
    history = fit(first)
    assert 2 < len(history) < 200
    assert fit(second, resume_from=path).loss == history.loss
    np.testing.assert_array_equal(first.engine.theta, second.engine.theta)


def test_csv_goes_on(data, path, tmp_path):
    x, y = data
    log = tmp_path / "log.csv"
    make().fit(
        x,
        y,
        epochs=4,
        batch_size=20,
        callbacks=[Checkpoint(path, every=2), CSVLogger(log), Stop(chunks=40)],
        verbose=0,
    )
    make().fit(x, y, epochs=4, batch_size=20, callbacks=[CSVLogger(log)], resume_from=path, verbose=0)
    assert [line.split(",")[0] for line in log.read_text().splitlines()] == ["epoch", "1", "2", "3", "4"]


def test_the_file_is_a_model(data, path):
    x, y = data
    net = make()
    net.metadata["unit"] = "mm"
    net.fit(x, y, callbacks=[Checkpoint(path)], verbose=0)
    again = load(path)
    np.testing.assert_array_equal(again.predict(x), net.predict(x))
    assert again.metadata == {"unit": "mm"}


def test_every(data, path):
    x, y = data
    saved = []

    class Look(Callback):
        def on_epoch_begin(self, epoch, logs):
            saved.append(path.exists())
            path.unlink(missing_ok=True)

    make().fit(x, y, epochs=7, callbacks=[Checkpoint(path, every=3), Look()], verbose=0)
    assert saved == [False, False, False, True, False, False, True]
    assert path.exists()  # the last epoch is always saved


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 10}, "batch_size=20, this call has 10"),
        ({"loss": "mae"}, "loss="),
        ({"optimizer": "sgd"}, "optimizer="),
        ({"shuffle": False}, "shuffle=True, this call has False"),
        ({"validation_split": 0.5}, "rows=230"),
        ({"max_grad_norm": 1.0}, "max_grad_norm=None"),
    ],
)
def test_another_training(change, message, data, path):
    x, y = data
    make().fit(x, y, batch_size=20, callbacks=[Checkpoint(path)], verbose=0)
    net = make()
    before = net.engine.theta.copy()
    with pytest.raises(ValueError, match=message):
        net.fit(x, y, resume_from=path, **{"batch_size": 20, "verbose": 0, "epochs": 3, **change})
    np.testing.assert_array_equal(net.engine.theta, before)


LIES = [..., None, -1, 2, "x", [], {}, 10**60, {"$float": "nan"}, {"$array": "weights.0"}, {"$tuple": [1, 2]}]


@pytest.mark.parametrize("lie", LIES, ids=str)
def test_forged_checkpoints(lie, data, path, tmp_path):
    """Any part of the record replaced: an error of one line that names the file, or a training that goes on."""
    x, y = data

    def fit(net, path, *callbacks):
        hooks = [EarlyStopping(9), ReduceLROnPlateau(), *callbacks]
        arguments = {"optimizer": NAdam(), "seed": 1, "n_threads": 1, "verbose": 0, "resume_from": path}
        return net.fit(x, y, epochs=2, batch_size=115, callbacks=hooks, **arguments)

    fit(make(), None, Checkpoint(path), Stop(epochs=1))
    document, arrays = opened(path)
    forged, refused = tmp_path / "forged", 0
    for place in places(document):
        if place[:2] != ("state", "training") or (place[2:] == ("product",) and lie is ...):
            continue
        forge(forged, altered(document, place, lie), arrays)
        net = make()
        before = net.engine.theta.copy()
        try:
            fit(net, forged)
        except DivergenceError:  # a learning rate of 1e60 is possible
            np.testing.assert_array_equal(net.engine.theta, before)
        except ValueError as error:
            refused += 1
            assert str(forged) in str(error), place
            assert "\n" not in str(error), place
            assert len(str(error)) < 1000, place
            np.testing.assert_array_equal(net.engine.theta, before)
    assert refused > 25


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("step",), 2**53 + 1, "training.step must be an integer <= 9007199254740992"),
        (("batches_done",), 2, "training.batches_done is 2, but samples_done 0"),
        (("slots",), {}, "training.slots lacks the entry"),
        (("slots", "more:flat"), {"$array": "weights.0"}, "must be an array of kind f with 1 axes"),
        (("generator", "bit_generator"), 3, "training.generator.bit_generator must be of type str, got 3"),
        (("generator", "bit_generator"), "eval", "its contents do not fit together"),
        (("history", "loss"), ["low"], r"training.history\['loss'\]\[0\] must be a number"),
        (("callbacks", 0), ["EarlyStopping"], r"training.callbacks\[0\] must be a list of 2 items"),
        (("callbacks", 0, 1, "wait"), -1, "the state of EarlyStopping.wait must be an integer >= 0"),
        (("callbacks", 1, 1, "cool"), ..., "the state of ReduceLROnPlateau lacks the entry 'cool'"),
    ],
)
def test_what_is_said_of_a_forged_checkpoint(place, value, message, data, path):
    x, y = data
    hooks = [EarlyStopping(9), ReduceLROnPlateau()]
    make().fit(x, y, callbacks=[Checkpoint(path), *hooks], verbose=0)
    document, arrays = opened(path)
    forge(path, altered(document, ("state", "training", *place), value), arrays)
    with pytest.raises(FormatError, match=message):
        make().fit(x, y, callbacks=hooks, resume_from=path, verbose=0)


def test_a_checkpoint_is_never_one_that_load_refuses(data, path):
    x, y = data
    net = make()
    net.layers[1] = Dense(9, "tanh")
    with pytest.raises(ValueError, match="describes another network"):
        net.fit(x, y, callbacks=[Checkpoint(path)], verbose=0)
    assert not path.exists()


def test_another_file(data, path):
    x, y = data
    make().save(path)
    with pytest.raises(ValueError, match="without the state of a training; Checkpoint writes one"):
        make().fit(x, y, resume_from=path, verbose=0)
    Sequential([Dense(1)], 5).fit(x, y, callbacks=[Checkpoint(path)], verbose=0)
    with pytest.raises(ValueError, match="has layers="):
        make().fit(x, y, resume_from=path, verbose=0)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ValueError, match="not a complete safetensors file"):
        Sequential([Dense(1)], 5).fit(x, y, resume_from=path, verbose=0)


# The training of the kill tests, as a program of its own: many chunks per epoch, a file after each of them, and a pause
# that makes it last without using the processor. Arguments: file, result, how many calls of os.replace until it kills
# itself within one (0: never), and the pause.
PROGRAM = """
import os, signal, sys, time
import numpy as np
from fastbp.engine import session
from fastbp.callbacks import Callback, DivergenceError, Checkpoint, EarlyStopping
from fastbp.layers import Dense, Dropout
from fastbp.optimizers import NAdam
from fastbp.schedules import CosineDecay
from fastbp.sequential import Sequential

path, result, replaces, pause = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
session.CHUNK_SECONDS = 0.0

class Slow(Callback):
    def on_fit_begin(self, run):
        print("begin", flush=True)
    def on_chunk_end(self, seconds, samples):
        time.sleep(pause)

plain = os.replace
def replace(source, target):
    global replaces
    replaces -= 1
    if replaces == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    plain(source, target)
os.replace = replace

rng = np.random.default_rng(0)
x = rng.normal(size=(600, 8)).astype("float32")
y = np.sin(x[:, :2]).astype("float32")
net = Sequential([Dense(24, "relu"), Dropout(0.2), Dense(2)], 8)
net.fit(x, y, epochs=6, batch_size=32, optimizer=NAdam(CosineDecay(1e-2, warmup=5)), validation_split=0.1, verbose=0,
        callbacks=[Slow(), Checkpoint(path, every_seconds=0.0), EarlyStopping(50)], n_threads=1,
        resume_from=path if os.path.exists(path) else None)
np.save(result, net.engine.theta)
print("end", flush=True)
"""


def program(folder, *, replaces=0, pause=0.002, kill_after=None):
    """Run the program; kill it that many seconds after the training began. Returns whether it finished."""
    path, result = folder / "run.safetensors", folder / "theta.npy"
    arguments = [
        sys.executable,
        "-c",
        textwrap.dedent(PROGRAM),
        str(path),
        str(result),
        str(replaces),
        str(pause),
    ]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        if kill_after is not None:
            assert process.stdout.readline() == "begin\n", process.stderr.read()
            time.sleep(kill_after)
            process.kill()
        out, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode in (0, -signal.SIGKILL), err
    return process.returncode == 0


def expected(folder):
    folder.mkdir()
    assert program(folder, pause=0.0)
    return np.load(folder / "theta.npy")


def kill_at_random_moments(tmp_path, times, seed):
    rng = np.random.default_rng(seed)
    killed = 0
    while killed < times:
        if program(tmp_path, kill_after=rng.uniform(0.0, 0.3)):
            (tmp_path / "run.safetensors").unlink()  # it was faster than the knife: once more from the start
        else:
            killed += 1
    assert program(tmp_path, pause=0.0)
    np.testing.assert_array_equal(np.load(tmp_path / "theta.npy"), expected(tmp_path / "whole"))


@pytest.mark.skipif(os.name != "posix", reason="kill -9 is POSIX'")
def test_killed_at_random_moments(tmp_path):
    kill_at_random_moments(tmp_path, 3, seed=0)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="kill -9 is POSIX'")
def test_killed_twenty_times(tmp_path):
    kill_at_random_moments(tmp_path, 20, seed=1)


@pytest.mark.skipif(os.name != "posix", reason="kill -9 is POSIX'")
def test_killed_within_a_write(tmp_path):
    assert not program(tmp_path, replaces=23)  # the new file is complete, but has not got its name
    leftovers = sorted(tmp_path.iterdir())
    assert len(leftovers) == 2
    largest = max(leftovers, key=lambda file: file.suffix == ".tmp")
    largest.write_bytes(largest.read_bytes()[:100])  # as if the kill had come earlier
    assert program(tmp_path, pause=0.0)
    np.testing.assert_array_equal(np.load(tmp_path / "theta.npy"), expected(tmp_path / "whole"))
