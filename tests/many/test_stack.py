"""A stack: many models of one architecture in one array."""

import copy
import pickle

import numpy as np
import pytest

import fastbp as fb
from fastbp.many import training
from tests.many.test_fit import no_groups


@pytest.fixture
def net():
    return fb.Sequential(
        [fb.Dense(5, "tanh", initializer="he_normal"), fb.Dense(2, use_bias=False)], n_inputs=3, seed=1
    )


@pytest.fixture
def data(rng):
    x = rng.normal(size=(30, 3)).astype(np.float32)
    return x, x[:, :2] * x[:, 1:]


def test_rows_of_theta_are_models(net):
    stack = fb.Stack(net, 4, seed=3)
    assert stack.theta.shape == (4, 3 * 5 + 5 + 5 * 2)
    for i, model in enumerate(stack):
        assert np.array_equal(model.weights[0].ravel(), stack.theta[i, :15])
        assert np.array_equal(model.biases[0], stack.theta[i, 15:20])
        assert np.array_equal(model.weights[1].ravel(), stack.theta[i, 20:])
        assert model.biases[1] is None
        model.weights[0][...] = 0.0  # a copy
    assert stack.theta.all(axis=0)[:15].all()
    assert len(stack) == 4
    assert [type(model) for model in stack[1:3]] == [fb.Sequential] * 2
    assert np.array_equal(stack[-1].weights[0], stack[3].weights[0])
    with pytest.raises(IndexError):
        stack[4]
    assert "Stack of 4" in repr(stack)


def test_a_model_starts_alike_whatever_their_number(net, monkeypatch):
    few, many = fb.Stack(net, 2, seed=5), fb.Stack(net, 100, seed=5)
    assert np.array_equal(few.theta, many.theta[:2])
    monkeypatch.setattr("fastbp.many.stack.BLOCK_BYTES", 1000)  # drawn block by block
    assert np.array_equal(fb.Stack(net, 100, seed=5).theta, many.theta)
    assert not np.array_equal(fb.Stack(net, 2, seed=6).theta, few.theta)
    spread = many.theta[:, :15].std()
    assert spread == pytest.approx(np.sqrt(2 / 3), rel=0.1)


@pytest.mark.parametrize("per_lane", [True, False])
def test_models_end_as_their_own_fit_leaves_them(per_lane, net, data, monkeypatch):
    if not per_lane:
        monkeypatch.setattr(training, "grouped", no_groups)
    n = 19
    given = {"epochs": 3, "batch_size": 8}
    rates = np.linspace(0.001, 0.01, n)
    rows = [np.arange(i, i + 10) for i in range(n)]
    stack = fb.fit_many(net, *data, n=n, seed=7, learning_rate=rates, rows=rows, **given)
    start = fb.Stack(net, n, seed=7)
    assert len(stack.histories) == n
    for i, model in enumerate(start):
        x, y = (value[rows[i]] for value in data)
        history = model.fit(x, y, optimizer=fb.Adam(rates[i]), seed=7, verbose=0, **given)
        np.testing.assert_allclose(
            stack[i].engine.theta, model.engine.theta, rtol=0, atol=1e-6 if per_lane else 0
        )
        np.testing.assert_allclose(stack.histories[i].loss, history.loss, rtol=1e-5 if per_lane else 0)


def test_a_stack_goes_on(net, data):
    stack = fb.fit_many(net, *data, n=3, epochs=2)
    models = stack[:]
    assert fb.fit_many(stack, *data, epochs=4) is stack
    fb.fit_many(models, *data, epochs=4)
    for one, other in zip(stack, models, strict=True):
        assert np.array_equal(one.engine.theta, other.engine.theta)
    with pytest.raises(ValueError, match="n must be left out, since nets is a Stack of 3"):
        fb.fit_many(stack, *data, n=4)


def test_the_net_stays_as_it_is(net, data):
    before = net.engine.theta.copy()
    fb.fit_many(net, *data, n=3)
    assert np.array_equal(net.engine.theta, before)


def test_a_failed_fit_leaves_the_stack_as_it_was(net, data):
    stack = fb.Stack(net, 3)
    before = stack.theta.copy()

    class Fails(fb.callbacks.Callback):
        def on_epoch_end(self, epoch, logs):
            if epoch == 1:
                raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        fb.fit_many(stack, *data, epochs=[1, 1, 3], callbacks=[Fails()])
    assert np.array_equal(stack.theta, before)
    with pytest.warns(UserWarning, match="1 of 3 nets diverged"):
        fb.fit_many(stack, *data, optimizer="sgd", learning_rate=[1e-3, 1e30, 1e-3], epochs=3)
    assert np.array_equal(stack.theta[1], before[1])
    assert not np.array_equal(stack.theta[0], before[0])


def test_predictions_are_those_of_the_models(net, data):
    stack = fb.Stack(net, 5, seed=2)
    outputs = stack.predict(data[0])
    assert outputs.shape == (5, 30, 2)
    for model, own in zip(stack, outputs, strict=True):
        assert np.array_equal(model.predict(data[0]), own)


def test_copies_and_pickles(net):
    stack = fb.Stack(net, 3)
    for twin in (copy.deepcopy(stack), pickle.loads(pickle.dumps(stack))):
        assert np.array_equal(twin.theta, stack.theta)
        twin.theta[...] = 0.0
        assert stack.theta.any()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"n": 0}, "n must be an integer >= 1"),
        ({"n": 2.0}, "n must be an integer"),
        ({"seed": -1}, "seed must be an integer >= 0"),
        ({"net": 1}, "net must be a Sequential, got int"),
    ],
)
def test_wrong_arguments(given, message, net):
    with pytest.raises((TypeError, ValueError), match=message):
        fb.Stack(**{"net": net, "n": 2, **given})


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda history: pickle.loads(pickle.dumps(history))]
)
def test_a_history_of_a_stack_is_copied_without_the_others(copied, rng):
    """What all models have recorded is one array, which a copy must not take along."""
    x = rng.normal(size=(30, 2)).astype("float32")
    net = fb.Sequential([fb.Dense(3, "tanh"), fb.Dense(1)], n_inputs=2, seed=0)
    stack = fb.fit_many(net, x, x[:, :1], n=300, epochs=2)
    one = copied(stack.histories[7])
    assert one.logs == stack.histories[7].logs
    assert len(one) == 2 and one.error is None
    assert len(pickle.dumps(one)) < 1000
    assert not hasattr(one, "accuracy")
