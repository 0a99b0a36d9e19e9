"""What a short fit leaves for the next one, a session and the orders of its rows, changes no bit of it."""

import threading
import weakref

import numpy as np
import pytest

import fastbp as fb
from fastbp.engine import spare, teams
from fastbp.training import orders
from tests.kernels.oracles import INTERPRETED

OPTIMIZERS = [
    fb.SGD(0.1),
    fb.SGD(0.05, momentum=0.9),
    fb.SGD(0.05, momentum=0.8, nesterov=True),
    fb.Adagrad(0.05, initial_accumulator=0.5),
    fb.Adam(0.01),
    fb.Adam(0.01, beta1=0.5),
    fb.NAdam(fb.CosineDecay(0.01)),
    fb.Rprop(0.01),
    fb.Rprop(0.05, eta_plus=1.1),
]


@pytest.fixture(autouse=True)
def nothing_kept():
    forget()
    yield
    forget()


def forget():
    spare._KEPT.clear()
    orders._kept.cache_clear()


def make(dropout=0.0, dtype="float32", units=6):
    layers = [fb.Dense(units, "tanh", l2=1e-3), fb.Dropout(dropout), fb.Dense(2)]
    return fb.Sequential(layers, n_inputs=4, dtype=dtype, seed=0)


@pytest.fixture
def data(rng):
    return rng.normal(size=(50, 4)), rng.normal(size=(50, 2))


def results(history, net):
    return [*history.loss, *history.val_loss, *history.learning_rate], net.engine.theta.copy()


def assert_same(first, second):
    assert first[0] == second[0]
    assert np.array_equal(first[1], second[1])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"epochs": 3},
        {"seed": 5, "epochs": 2},
        {"batch_size": 1},
        {"batch_size": None},
        {"max_grad_norm": 0.1},
        {"shuffle": False, "epochs": 2},
        {"sample_weight": np.r_[np.zeros(7), np.ones(43)], "epochs": 2},
        {"validation_split": 0.2, "epochs": 2},
        {"metrics": "mae", "epochs": 2},
    ],
    ids=lambda options: " ".join(options) or "defaults",
)
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_a_fit_does_not_depend_on_those_before_it(options, dropout, data):
    """Each optimizer alone, and then all of them one after the other, on two models."""
    settings = {"epochs": 1, "batch_size": 16, "n_threads": 1, "verbose": 0, **options}
    alone = []
    for optimizer in OPTIMIZERS:
        forget()
        net = make(dropout)
        alone.append(results(net.fit(*data, optimizer=optimizer, **settings), net))
    forget()
    for _ in range(2):
        for optimizer, expected in zip(OPTIMIZERS, alone, strict=True):
            net = make(dropout)
            assert_same(results(net.fit(*data, optimizer=optimizer, **settings), net), expected)
    assert 0 < len(spare._KEPT) <= spare.MOST


def test_a_session_is_taken_once_and_begins_anew(data):
    net = make()
    net.fit(*data, verbose=0)
    (session,) = spare._KEPT.values()
    twin = make()
    net.fit(*data, verbose=0)
    twin.fit(*data, verbose=0)
    assert list(spare._KEPT.values()) == [session]
    trainer = fb.Trainer(twin)
    assert trainer.reserve(32) is session
    assert not spare._KEPT
    assert (trainer.steps, trainer.session.product, trainer.session.loss_sum) == (0, 1.0, 0.0)
    assert all(not values.any() for values in trainer.slots.values())
    assert trainer.session.engine is twin.engine
    assert fb.Trainer(twin).reserve(32) is not session


def test_other_arguments_get_a_session_of_their_own(data):
    make().fit(*data, verbose=0)
    (session,) = spare._KEPT.values()
    for net, options, rows in (
        (make(units=7), {}, 32),
        (make(dtype="float64"), {}, 32),
        (make(), {"optimizer": "sgd"}, 32),
        (make(), {"loss": "mae"}, 32),
        (make(), {"max_grad_norm": 1.0}, 32),
        (make(), {"n_threads": 1}, 32),
        (make(), {}, 31),
    ):
        assert fb.Trainer(net, **options).reserve(rows) is not session
    assert fb.Trainer(make()).reserve(32) is session


def test_a_session_that_would_have_a_team_is_made(data, monkeypatch):
    make().fit(*data, verbose=0)
    (session,) = spare._KEPT.values()
    monkeypatch.setattr(teams, "TEAM_FLOPS", 1e-9)
    monkeypatch.setattr(teams, "default_threads", lambda: 2)
    assert fb.Trainer(make()).reserve(32) is not session


def test_what_somebody_may_still_see_is_not_kept(data):
    """A run saves what its session holds, and a callback of the user's may have kept the run."""

    class Keeps(fb.Callback):
        def on_fit_begin(self, run):
            self.run = run

    keeps = Keeps()
    make().fit(*data, callbacks=[keeps], verbose=0)
    assert not spare._KEPT
    assert not orders._kept.cache_info().currsize


def test_a_failed_fit_leaves_nothing(data):
    net = make()
    before = net.engine.theta.copy()
    with pytest.raises(fb.DivergenceError):
        net.fit(*data, optimizer=fb.SGD(1e30), epochs=3, verbose=0)
    assert np.array_equal(net.engine.theta, before)
    assert not spare._KEPT
    expected, other = make(), make()
    first = results(expected.fit(*data, optimizer=fb.SGD(0.1), verbose=0), expected)
    assert_same(results(other.fit(*data, optimizer=fb.SGD(0.1), verbose=0), other), first)


def test_large_sessions_are_not_kept_and_few_small_ones(data):
    wide = fb.Sequential([fb.Dense(20_000), fb.Dense(2)], n_inputs=4)
    wide.fit(*data, verbose=0)
    assert not spare._KEPT
    for batch_size in range(1, 20):
        make().fit(*data, batch_size=batch_size, verbose=0)
    assert len(spare._KEPT) == spare.MOST


def test_no_model_is_kept(data):
    net = make()
    net.fit(*data, verbose=0)
    engine = weakref.ref(net.engine)
    del net
    assert engine() is None
    assert spare._KEPT


def test_long_fits_draw_their_own_orders(data):
    epochs = orders.KEPT_BYTES // (8 * len(data[0])) + 1
    make().fit(*data, epochs=epochs, verbose=0)
    make().fit(*data, seed=np.random.default_rng(3), verbose=0)
    make().fit(*data, seed=None, verbose=0)
    assert not orders._kept.cache_info().currsize
    make().fit(*data, epochs=epochs - 1, verbose=0)
    assert orders._kept.cache_info().currsize == 1


def test_a_checkpoint_of_a_fit_that_repeats_another(data, tmp_path):
    """It holds the state of a real generator."""
    path = tmp_path / "run.safetensors"
    whole, part = make(), make()
    whole.fit(*data, epochs=4, verbose=0)
    part.fit(*data, epochs=2, callbacks=[fb.Checkpoint(path)], verbose=0)
    again = make()
    again.fit(*data, epochs=4, resume_from=path, verbose=0)
    assert np.array_equal(again.engine.theta, whole.engine.theta)


@pytest.mark.skipif(INTERPRETED, reason="the interpreter mode runs one thread at a time")
def test_fits_in_several_threads(data):
    """Of models of one layout: no two have one session at once."""
    expected = make(0.2)
    for _ in range(20):
        expected.fit(*data, verbose=0)
    nets = [make(0.2) for _ in range(4)]

    def work(net):
        for _ in range(20):
            net.fit(*data, verbose=0)

    threads = [threading.Thread(target=work, args=(net,)) for net in nets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for net in nets:
        assert np.array_equal(net.engine.theta, expected.engine.theta)
    assert len(spare._KEPT) == 1
