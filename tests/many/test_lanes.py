"""Small nets in one call: those of one shape share their vectors, and end as each alone but for rounding."""

import numpy as np
import pytest

import fastbp as fb
from fastbp.engine.lanes import Lanes, lanes_of, pays
from fastbp.engine.layout import layout_of
from fastbp.engine.teams import TrainingLock
from fastbp.layers import Layer
from fastbp.many import training
from fastbp.many.lanes import grouped
from tests.many.test_fit import each_alone, theta


@pytest.fixture
def data(rng):
    x = rng.normal(size=(40, 4)).astype(np.float32)
    return x, np.sin(x[:, :1]) * x[:, 1:2]


@pytest.fixture
def calls(monkeypatch):
    """How many models each call of the kernel has trained, in how many passes."""
    seen = []
    train = Lanes.train

    def counted(self, *arguments):
        sums = train(self, *arguments)
        seen.append(sums.shape)
        return sums

    monkeypatch.setattr(Lanes, "train", counted)
    return seen


def make(n, units=5, dtype="float32", **options):
    layers = [fb.Dense(units, "tanh", **options), fb.Dense(1)]
    return [fb.Sequential(layers, n_inputs=4, dtype=dtype, seed=i) for i in range(n)]


def assert_near(nets, others, dtype):
    room = 1e-6 if np.dtype(dtype) == np.float32 else 1e-13
    for one, other in zip(nets, others, strict=True):
        np.testing.assert_allclose(one.engine.theta, other.engine.theta, rtol=0, atol=room)


CASES = {
    "plain": {},
    "rates": {"learning_rate": list(np.linspace(0.001, 0.02, 37))},
    "schedules": {
        "learning_rate": [fb.CosineDecay(0.01) if i % 2 else fb.StepDecay(0.02, 1) for i in range(37)]
    },
    "momentum": {"optimizer": fb.SGD(0.01, momentum=0.9, nesterov=True)},
    "rows": {"rows": [np.arange(i, i + 4) for i in range(36)] + [np.arange(4)]},
    "rows of all": {"rows": np.arange(7)},
    "seeds": {"seed": list(range(37))},
    "one batch": {"batch_size": None, "optimizer": "rprop"},
    "in order": {"shuffle": False, "loss": "log_cosh"},
}


@pytest.mark.parametrize("case", CASES)
def test_each_net_is_near_what_its_own_fit_leaves(case, data, dtype, calls):
    x, y = (value.astype(dtype) for value in data)
    given = {"epochs": 3, "batch_size": 8, "optimizer": "adam", **CASES[case]}
    nets, others = (make(37, dtype=dtype) for _ in "ab")
    histories = fb.fit_many(nets, x, y, **given)
    assert sum(models for models, _ in calls) >= 32
    alone = each_alone(others, x, y, **given)
    assert_near(nets, others, dtype)
    for one, other in zip(histories, alone, strict=True):
        np.testing.assert_allclose(one.loss, other.loss, rtol=1e-5)
        np.testing.assert_allclose(one.learning_rate, other.learning_rate, rtol=1e-12)
        assert len(one.epoch_seconds) == 3


def test_data_of_each_net(data, dtype, calls):
    """One array for all, or arrays; with class codes."""
    side = lanes_of(dtype)
    x = np.stack([data[0].astype(dtype) * (i + 1) / side for i in range(side)])
    codes = np.stack([(data[1][:, 0] * (i - 3) > 0).astype(int) for i in range(side)])
    layers = [fb.Dense(3, "relu"), fb.Dense(2)]
    results = []
    for xs, ys in ((x, codes[:, :, None]), (list(x), list(codes))):
        nets = [fb.Sequential(layers, 4, dtype, seed=i) for i in range(side)]
        fb.fit_many(nets, xs, ys, loss="cross_entropy", epochs=2, batch_size=9)
        results.append(theta(nets))
    assert calls
    others = [fb.Sequential(layers, 4, dtype, seed=i) for i in range(side)]
    each_alone(others, list(x), list(codes), loss="cross_entropy", epochs=2, batch_size=9)
    assert_near(nets, others, dtype)
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("y", "loss"), [("numbers", "mse"), ("codes", "cross_entropy")], ids=["numbers", "codes"]
)
@pytest.mark.parametrize("width", [1, 4, 17, 33])
def test_rows_that_are_kept_turned_are_those_of_the_data(y, loss, width, dtype, rng, monkeypatch):
    """The same bits as without: an order that takes some rows more often than others, and not the first ones."""
    side = lanes_of(dtype)
    n = side + side // 2
    x = rng.normal(size=(n, 30, width)).astype(dtype)
    rows = np.concatenate([rng.permutation(np.arange(4, 25)) for _ in range(3)])[:-5]
    given = {"rows": rows, "loss": loss, "epochs": 2, "batch_size": 7, "shuffle": False}
    given["optimizer"] = fb.SGD(0.01)  # keeps what rounds otherwise as small as it is
    targets = x[:, :, :1] if y == "numbers" else (x[:, :, 0] > 0).astype(int)[:, :, None]
    outputs = 1 if y == "numbers" else 2
    asked, kept = [], Lanes._kept
    monkeypatch.setattr(Lanes, "_kept", lambda self, *args: asked.append(kept(self, *args)) or asked[-1])
    results = []
    for most in (2**20, 0):
        monkeypatch.setattr("fastbp.engine.lanes.KEPT_BYTES", most)
        nets = [
            fb.Sequential([fb.Dense(5, "tanh"), fb.Dense(outputs)], width, dtype, seed=i) for i in range(n)
        ]
        fb.fit_many(nets, x, targets, **given)
        results.append(theta(nets))
    assert asked == 2 * [(4, 21)] + 2 * [(0, 0)]  # two groups, two calls
    for one, other in zip(*results, strict=True):
        assert np.array_equal(one, other)
    others = [fb.Sequential([fb.Dense(5, "tanh"), fb.Dense(outputs)], width, dtype, seed=i) for i in range(n)]
    each_alone(others, list(x), list(targets), **given)
    assert_near(nets, others, dtype)


def test_rows_are_kept_turned_if_that_pays(data, monkeypatch):
    """Not for one pass, not if all models see the same row anyway, not if each has its own order."""
    side = lanes_of(np.dtype(np.float32))
    kept, asked = Lanes._kept, []
    monkeypatch.setattr(Lanes, "_kept", lambda self, *args: asked.append(kept(self, *args)) or asked[-1])
    x, y = (np.stack([value + i for i in range(side)]) for value in data)
    for x_of, y_of, given in (
        (x, y, {"epochs": 2}),
        (x, y, {"epochs": 1}),
        (*data, {"epochs": 2}),
        (x, y, {"epochs": 2, "seed": list(range(side))}),
    ):
        fb.fit_many(make(side), x_of, y_of, **given)
    assert asked == [(0, 40), (0, 0)]  # the others are not asked about


def test_penalties_of_each_net(data, dtype, calls):
    x, y = (value.astype(dtype) for value in data)
    pairs = []
    for _ in "ab":
        pairs.append(
            [make(1, dtype=dtype, l1=0.001 * i, l2=0.01 * (i % 3))[0] for i in range(lanes_of(dtype))]
        )
    histories = fb.fit_many(pairs[0], x, y, epochs=2)
    assert calls
    alone = each_alone(pairs[1], x, y, epochs=2)
    assert_near(*pairs, dtype)
    for one, other in zip(histories, alone, strict=True):
        np.testing.assert_allclose(one.loss, other.loss, rtol=1e-5)


def test_the_same_bits_for_any_number_of_threads(data):
    results = []
    for threads in (1, 2, 5):
        nets = [*make(40), *make(3, 6), *make(20, 7)]
        fb.fit_many(nets, *data, epochs=3, n_threads=threads, seed=[i % 5 for i in range(63)])
        results.append(theta(nets))
    for others in results[1:]:
        for one, other in zip(results[0], others, strict=True):
            assert np.array_equal(one, other)


def test_locks_are_entered_in_one_order(data, monkeypatch):
    """Else two calls with the same nets, in another order, could wait for each other for ever."""
    side = lanes_of(np.dtype(np.float32))
    nets = [fb.Sequential([fb.Dense(3, "tanh"), fb.Dense(1)], n_inputs=4, seed=i) for i in range(side)]
    entered, enter = [], TrainingLock.__enter__
    monkeypatch.setattr(TrainingLock, "__enter__", lambda self: entered.append(self) or enter(self))
    fb.fit_many(nets, *data)
    orders = [list(entered)]
    entered.clear()
    fb.fit_many(nets[::-1], *data)
    orders.append(list(entered))
    assert orders[0] == orders[1]
    assert {id(lock) for lock in entered} == {id(net.engine.training_lock) for net in nets}


def test_which_nets_share_vectors(data, monkeypatch):
    """Not a few, not large ones, not those that somebody watches; the others of one shape and as many rows."""
    side = lanes_of(np.dtype(np.float32))

    seen = []

    class SeenError(Exception):
        """Nothing has to be trained."""

    def spy(alike):
        groups, alone = grouped(alike)
        seen.append(([sum(map(len, group)) for group in groups], len(alone)))
        raise SeenError

    monkeypatch.setattr(training, "grouped", spy)
    for nets, given in (
        (make(side + side // 2), {}),
        (make(side + side // 2 - 1), {}),
        (make(side), {"callbacks": [fb.EarlyStopping(monitor="loss")]}),
        (make(side), {"validation_rows": [0, 1]}),
        (make(side), {"sample_weight": np.ones(40)}),
        (make(side, 5000), {}),
        ([*make(side), *make(side, 6)], {"epochs": [1] * side + [2] * side}),
        (make(side, 500), {"epochs": 2, "batch_size": None}),
        (make(side, 500), {"epochs": 2, "batch_size": None, "rows": np.tile(np.arange(40), 100)}),
    ):
        with pytest.raises(SeenError):
            fb.fit_many(nets, *data, **given)
    assert seen == [
        ([side + side // 2], 0),
        ([side], side // 2 - 1),
        ([], side),
        ([], side),
        ([], side),
        ([], side),
        ([side, side], 0),
        ([side], 0),
        ([], side),
    ]


def test_when_it_pays():
    """The smaller the nets, the shorter the fits, the smaller the batches, and the more lanes a vector has."""
    layouts = {
        (units, dtype): layout_of(units // 2, [Layer(units), Layer(1)], dtype)
        for units in (8, 16, 32, 64, 128)
        for dtype in ("float32", "float64")
    }

    def largest(rows, batch_size=32, dtype="float32"):
        paying = [
            units
            for (units, kind), layout in layouts.items()
            if kind == dtype and pays(layout, batch_size, rows)
        ]
        assert all((units in paying) == (units <= max(paying)) for units, kind in layouts if kind == dtype)
        return max(paying)

    assert largest(10**3) > largest(10**6)
    assert largest(10**6, 8) > largest(10**6, 512)
    assert largest(10**3) >= largest(10**3, dtype="float64")


def test_a_net_that_diverges(data, calls):
    """Is trained again by itself, for its error; the others are as without it."""
    side = lanes_of(np.dtype(np.float32))
    nets, others = make(side), make(side)
    start = theta(nets)[2]
    rates = [0.01] * side
    rates[2] = 1e30
    with pytest.warns(UserWarning, match=f"1 of {side} nets diverged"):
        histories = fb.fit_many(nets, *data, optimizer="sgd", learning_rate=rates, epochs=4)
    assert np.array_equal(theta(nets)[2], start)
    assert isinstance(histories[2].error, fb.DivergenceError)
    fb.fit_many(others, *data, optimizer="sgd", learning_rate=0.01, epochs=4)
    for i in set(range(side)) - {2}:
        assert np.array_equal(theta(nets)[i], theta(others)[i])
    assert len(calls) >= 2


def test_padding_of_the_nets_stays_zero(data):
    nets = make(lanes_of(np.dtype(np.float32)))
    fb.fit_many(nets, *data)
    for net in nets:
        copy = net.engine.theta.copy()
        for view in (v for pair in zip(*net.engine.views(copy), strict=True) for v in pair):
            view[...] = 0.0
        assert not copy.any()
