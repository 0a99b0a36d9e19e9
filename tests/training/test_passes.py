"""Several short epochs in one call: the history and the bits of epochs one by one, and whoever looks sees the same."""

import contextlib
import io
import warnings

import numpy as np
import pytest
import scipy.sparse

import fastbp as fb
from fastbp.engine.session import Session
from fastbp.engine.workspace import Workspace
from fastbp.estimators.stochastic import StochasticLoop
from fastbp.training.model_loop import ModelLoop


@pytest.fixture
def data(rng):
    x = rng.normal(size=(53, 4)).astype(np.float32)
    return x, np.sin(x[:, :1]) * x[:, 1:2]


@pytest.fixture
def calls(monkeypatch):
    """How many epochs each call of the kernel has trained."""
    counts = []
    passes = Session.passes

    def counted(self, rows, order, learning_rate, count):
        counts.append(count)
        return passes(self, rows, order, learning_rate, count)

    monkeypatch.setattr(Session, "passes", counted)
    return counts


@contextlib.contextmanager
def one_by_one(monkeypatch):
    """Train every epoch alone."""
    with monkeypatch.context() as patch:
        for loop in (ModelLoop, StochasticLoop):
            patch.setattr(loop, "ahead", lambda self: 0)
        yield


def history(record):
    return {name: values for name, values in dict(record).items() if name != "epoch_seconds"}


def fitted(x, y, **given):
    net = fb.Sequential([fb.Dense(6, "tanh"), fb.Dropout(0.1), fb.Dense(1)], n_inputs=4, seed=0)
    given = {"epochs": 30, "batch_size": 10, "verbose": 0, "optimizer": fb.Adam(0.01), **given}
    try:
        record = net.fit(x, y, **given)
    except fb.DivergenceError as error:
        return str(error), net.engine.theta
    return {name: list(getattr(record, name)) for name in ("loss", "learning_rate")}, net.engine.theta


CASES = {
    "adam": {},
    "one batch": {"batch_size": None},
    "row by row": {"batch_size": 1, "optimizer": fb.SGD(0.01)},
    "in order": {"shuffle": False},
    "rprop": {"batch_size": None, "optimizer": fb.Rprop()},
    "rate per step": {"optimizer": fb.Adam(fb.CosineDecay(0.05, warmup=7))},
    "rate per epoch": {"optimizer": fb.SGD(fb.StepDecay(0.05, 4))},
    "clipped": {"max_grad_norm": 0.1},
}


@pytest.mark.parametrize("case", CASES)
def test_fit(case, data, calls, monkeypatch):
    together = fitted(*data, **CASES[case])
    assert max(calls) > 1
    assert sum(calls) == 30
    before = len(calls)
    with one_by_one(monkeypatch):
        alone = fitted(*data, **CASES[case])
    assert len(calls) == before
    assert together[0] == alone[0]
    assert np.array_equal(together[1], alone[1])


def test_weighted_losses_are_means_of_each_epoch(data, calls):
    """The weight of an epoch depends on its order, which one call for several does not leave behind."""
    fitted(*data, sample_weight=np.linspace(0.1, 2, 53))
    assert calls == []


def test_sparse(data, calls, monkeypatch):
    x, y = scipy.sparse.csr_matrix(data[0] * (data[0] > 0)), data[1]
    together = fitted(x, y)
    with one_by_one(monkeypatch):
        alone = fitted(x, y)
    assert max(calls) > 1
    assert together[0] == alone[0]
    assert np.array_equal(together[1], alone[1])


@pytest.mark.parametrize("rate", [1e3, 1e8])
@pytest.mark.parametrize("raises", [True, False])
def test_divergence(rate, raises, data, calls, monkeypatch):
    """In the same epoch, with the same message, and the same weights are left."""

    def run():
        given = {} if raises else {"callbacks": [fb.callbacks.TerminateOnNaN(raise_error=False)]}
        net = fb.Sequential([fb.Dense(6), fb.Dense(6), fb.Dense(1)], n_inputs=4, seed=0)
        try:
            record = net.fit(*data, optimizer=fb.SGD(rate), epochs=60, batch_size=53, verbose=0, **given)
        except fb.DivergenceError as error:
            assert raises
            return [str(error)], net.engine.theta
        return [record.loss, record.learning_rate], net.engine.theta

    together = run()
    assert max(calls) > 1
    with one_by_one(monkeypatch):
        alone = run()
    for one, other in zip([*together[0], together[1]], [*alone[0], alone[1]], strict=True):
        if isinstance(one, str):
            assert one == other
        else:
            assert np.array_equal(one, other, equal_nan=True)


class Look(fb.callbacks.Callback):
    """Sees the model after each epoch."""

    def __init__(self):
        self.seen = []

    def on_fit_begin(self, run=None):
        self.run = run

    def on_epoch_end(self, epoch, logs):
        self.seen.append((epoch, logs["loss"], self.run.theta.copy()))


def test_a_callback_sees_the_model_of_its_epoch(data, calls):
    look = Look()
    record, theta = fitted(*data, callbacks=[look])
    assert not calls
    assert [loss for _, loss, _ in look.seen] == record["loss"]
    assert np.array_equal(look.seen[-1][2], theta)
    for epochs in (1, 7):
        assert np.array_equal(fitted(*data, epochs=epochs)[1], look.seen[epochs - 1][2])


@pytest.mark.parametrize(
    "given",
    [
        {"callbacks": [fb.callbacks.EarlyStopping(monitor="loss")]},
        {"callbacks": [fb.callbacks.ReduceLROnPlateau(monitor="loss")]},
        {"callbacks": [type("Mine", (fb.callbacks.TerminateOnNaN,), {})()]},
        {"metrics": "mae"},
        {"validation_split": 0.2},
    ],
    ids=["early stopping", "plateau", "subclass", "metrics", "validation"],
)
def test_who_looks_between_two_epochs(given, data, calls):
    fitted(*data, **given)
    assert not calls


def test_a_progress_bar_counts_every_epoch(data, calls):
    file = io.StringIO()
    file.isatty = lambda: True
    fitted(*data, callbacks=[fb.callbacks.ProgressBar(file)])
    assert max(calls) > 1
    assert "epoch 30/30" in file.getvalue()


def test_resuming(data, calls, tmp_path):
    """From a file of a run with a callback, in passes."""
    path = tmp_path / "state.safetensors"
    fitted(*data, epochs=4, callbacks=[fb.callbacks.Checkpoint(path)])
    assert not calls
    record, theta = fitted(*data, resume_from=path)
    assert sum(calls) == 26
    whole, expected = fitted(*data)
    assert record == whole
    assert np.array_equal(theta, expected)


@pytest.mark.parametrize(
    "given",
    [
        {"tol": 0.01, "n_iter_no_change": 3},
        {"tol": 0.1, "n_iter_no_change": 5, "solver": "sgd", "learning_rate": "adaptive"},
        {"solver": "sgd", "learning_rate": "invscaling", "tol": 0.0},
        {"early_stopping": True, "n_iter_no_change": 3},
        {"shuffle": False, "n_iter_no_change": 1000},
        {"solver": "sgd", "learning_rate_init": 1e7},
    ],
    ids=lambda given: "-".join(map(str, given.values())),
)
@pytest.mark.parametrize("kind", [fb.MLPRegressor, fb.MLPClassifier])
def test_estimators(kind, given, data, calls, monkeypatch):
    def run():
        target = data[1][:, 0] if kind is fb.MLPRegressor else np.digitize(data[1][:, 0], [-0.2, 0.3])
        options = {"hidden_layer_sizes": (6,), "max_iter": 150, "random_state": 0, "batch_size": 10, **given}
        model = kind(**options)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                model.fit(data[0], target)
            except ValueError as error:
                return str(error), [str(w.message) for w in caught], []
        return (
            [model.n_iter_, model.t_, model.loss_, model.best_loss_, model.loss_curve_],
            [str(warning.message) for warning in caught],
            [*model.coefs_, *model.intercepts_],
        )

    together = run()
    assert ("early_stopping" in given or given.get("learning_rate") == "invscaling") or max(calls) > 1
    with one_by_one(monkeypatch):
        alone = run()
    assert together[:2] == alone[:2]
    for one, other in zip(together[2], alone[2], strict=True):
        assert np.array_equal(one, other)


def test_a_warm_start_goes_on_in_the_same_order(data, monkeypatch):
    def run():
        model = fb.MLPRegressor(hidden_layer_sizes=(6,), max_iter=7, warm_start=True, random_state=0, tol=0.0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for _ in range(3):
                model.fit(data[0], data[1][:, 0])
            model.partial_fit(data[0], data[1][:, 0])
        return [*model.coefs_, *model.intercepts_, model.loss_curve_]

    together = run()
    with one_by_one(monkeypatch):
        alone = run()
    for one, other in zip(together, alone, strict=True):
        assert np.array_equal(one, other)


def test_ctrl_c_leaves_whole_epochs(data, monkeypatch):
    """What is interrupted within some epochs is as it was before them: weights and history belong together."""
    call, done = Workspace.call, []

    def interrupted(self, *args, **given):
        result = call(self, *args, **given)
        done.append(given.get("span"))
        if len(done) == 3:
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(Session, "passes_in_a_call", lambda self, span: 4)
    monkeypatch.setattr(Workspace, "call", interrupted)
    model = fb.MLPRegressor(hidden_layer_sizes=(6,), max_iter=50, random_state=0)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        model.fit(data[0], data[1][:, 0])
    assert model.n_iter_ == 8
    monkeypatch.undo()
    other = fb.MLPRegressor(hidden_layer_sizes=(6,), max_iter=8, random_state=0)
    with pytest.warns(UserWarning, match="Maximum iterations"):
        other.fit(data[0], data[1][:, 0])
    for one, two in zip(model.coefs_, other.coefs_, strict=True):
        assert np.array_equal(one, two)
