"""Losses and update rules of the user's own: the same as the built-in ones, wherever those go; and what is refused."""

import copy
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse
from numba import njit
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

import fastbp as fb
from fastbp import reference
from fastbp.engine import session
from tests.entries import targets, with_parameters
from tests.kernels.oracles import INTERPRETED, assert_near

LOSSES = with_parameters()


def own_pair(loss, name=None, **extra):
    """Return a built-in loss, such as "huber(0.3)", as functions of the user's, by the specification's formulas."""
    word, _, number = loss.rstrip(")").partition("(")
    entry, parameter = reference.LOSSES[word], float(number) if number else None

    def value(y, out):
        pairs = zip(out.tolist(), y.tolist(), strict=True)
        return np.array([entry.value(z, row, parameter) for z, row in pairs])

    def grad(y, out):
        pairs = zip(out.tolist(), y.tolist(), strict=True)
        return np.array([entry.delta(z, row, parameter) for z, row in pairs])

    return fb.Loss(value, grad, name or f"own {word}", **extra)


def asymmetric_value(y, out):
    return (np.where(out < y, 2.0, 1.0) * (out - y) ** 2).sum(axis=1)


def asymmetric_grad(y, out):
    return np.where(out < y, 2.0, 1.0) * 2.0 * (out - y)


def half_square(y, out):
    return 0.5 * ((out - y) ** 2).sum(axis=1)


def half_square_grad(y, out):
    return out - y


ASYMMETRIC = fb.Loss(asymmetric_value, asymmetric_grad)
HALF = fb.Loss(half_square, half_square_grad)


def make(dtype="float32", outputs=3, seed=0):
    layers = [
        fb.Dropout(0.1),
        fb.Dense(8, "tanh", l2=1e-3),
        fb.Dropout(0.2),
        fb.Dense(outputs, use_bias=False),
    ]
    return fb.Sequential(layers, n_inputs=4, dtype=dtype, seed=seed)


@pytest.fixture
def rows_of(rng):
    def rows(n, dtype="float32", outputs=3):
        return rng.normal(size=(n, 4)).astype(dtype), rng.normal(size=(n, outputs)).astype(dtype)

    return rows


# A loss of one's own, wherever a loss goes ------------------------------------------------------------------


@pytest.mark.parametrize("loss", LOSSES)
def test_every_built_in_loss_as_an_own_one(loss, dtype, rng):
    """Sixty steps of fit, with dropout, penalties, clipping and weights: the same parameters to rounding."""
    x, y = rng.normal(size=(57, 4)).astype(dtype), targets(loss, rng, 57, 3, dtype)
    weight = rng.uniform(0.5, 2.0, 57)
    nets, histories = [], []
    for one in (loss, own_pair(loss)):
        nets.append(make(dtype))
        histories.append(
            nets[-1].fit(
                x,
                y,
                loss=one,
                optimizer=fb.SGD(0.05, momentum=0.9),
                epochs=10,
                batch_size=10,
                sample_weight=weight,
                max_grad_norm=1.0,
                validation_data=(x, y),
                verbose=0,
            )
        )
    assert_near(nets[1].engine.theta, nets[0].engine.theta, dtype, 3)
    assert_near(histories[1].loss, histories[0].loss, dtype, 3)
    assert_near(histories[1].val_loss, histories[0].val_loss, dtype, 3)


@pytest.mark.parametrize("loss", ["mse", "cross_entropy", "quantile(0.3)"])
def test_evaluate_and_value_and_grad(loss, dtype, rng):
    net = make(dtype)
    x, y = rng.normal(size=(300, 4)).astype(dtype), targets(loss, rng, 300, 3, dtype)
    weight = rng.uniform(0.0, 2.0, 300)
    own = own_pair(loss)
    for w in (None, weight):
        assert_near(
            net.evaluate(x, y, own, sample_weight=w), net.evaluate(x, y, loss, sample_weight=w), dtype
        )
        value, got = net.value_and_grad(x, y, own, sample_weight=w, inputs=True)
        expected_value, expected = net.value_and_grad(x, y, loss, sample_weight=w, inputs=True)
        assert_near(value, expected_value, dtype)
        assert_near(got.theta, expected.theta, dtype)
        assert_near(got.inputs, expected.inputs, dtype)
    for _ in range(3):  # the built-in ones are prepared at the third call
        assert net.value_and_grad(x, y, own)[0] == pytest.approx(net.evaluate(x, y, own), rel=1e-6)


def test_sixty_steps_beside_torch(rng):
    torch = pytest.importorskip("torch")
    net = fb.Sequential([fb.Dense(9, "tanh"), fb.Dense(2)], n_inputs=4, dtype="float64", seed=1)
    W = [torch.tensor(np.array(w), requires_grad=True) for w in net.weights]
    b = [torch.tensor(np.array(v), requires_grad=True) for v in net.biases]
    adam = torch.optim.Adam([*W, *b], lr=0.01, foreach=False)
    trainer = fb.Trainer(net, ASYMMETRIC, fb.Adam(0.01))
    for _ in range(60):
        x, y = rng.normal(size=(16, 4)), rng.normal(size=(16, 2))
        out = torch.tanh(torch.tensor(x) @ W[0] + b[0]) @ W[1] + b[1]
        error = out - torch.tensor(y)
        loss = (torch.where(error < 0, 2.0, 1.0) * error**2).sum(1).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        assert trainer.step(x, y) == pytest.approx(loss.item(), rel=1e-9)
    for mine, theirs in zip((*net.weights, *net.biases), (*W, *b), strict=True):
        assert np.abs(mine - theirs.detach().numpy()).max() < 1e-9


@njit
def compiled_value(y, out):
    """`asymmetric_value` in Numba's words."""
    values = np.zeros(len(out))
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            values[i] += (2.0 if out[i, j] < y[i, j] else 1.0) * (out[i, j] - y[i, j]) ** 2
    return values


compiled_grad = njit(asymmetric_grad)
COMPILED = fb.Loss(compiled_value, compiled_grad, "compiled")
LARGE = [fb.Dense(300, "relu"), fb.Dropout(0.2), fb.Dense(200, "relu"), fb.Dense(3)]


def in_kernel(loss, dtype="float32"):
    return fb.Trainer(make(dtype), loss).session._address is not None


@pytest.mark.parametrize("batch_size", [1, 10, 57])
def test_compiled_functions(batch_size, dtype, rows_of, rng):
    """The kernel calls them; the numbers are those of the functions of NumPy."""
    assert in_kernel(COMPILED, dtype) is not INTERPRETED
    x, y = rows_of(57, dtype)
    weight = rng.uniform(0.5, 2.0, 57)
    for w in (None, weight):
        plain, compiled = make(dtype), make(dtype)
        histories = [
            net.fit(
                x,
                y,
                loss=loss,
                optimizer=fb.SGD(0.002),
                epochs=4,
                batch_size=batch_size,
                sample_weight=w,
                verbose=0,
            )
            for net, loss in ((plain, ASYMMETRIC), (compiled, COMPILED))
        ]
        assert_near(compiled.engine.theta, plain.engine.theta, dtype, 3)
        assert_near(histories[1].loss, histories[0].loss, dtype, 3)
    whole, parts, given = (fb.Trainer(make(dtype), COMPILED) for _ in range(3))
    for _ in range(2):
        whole.step(x, y)
        parts.apply(parts.gradient(x, y)[1])
        given.step_from(x, asymmetric_grad(y, given.forward(x)) / len(x))
    assert_near(parts.engine.theta, whole.engine.theta, dtype, 3)
    assert_near(given.engine.theta, whole.engine.theta, dtype, 3)
    steps = [fb.Trainer(make(dtype), loss).step(x, y) for loss in (ASYMMETRIC, COMPILED)]
    assert steps[1] == pytest.approx(steps[0], rel=1e-6)


def test_compiled_functions_on_any_number_of_threads(rng):
    x, y = rng.normal(size=(2000, 50)).astype("float32"), rng.normal(size=(2000, 3)).astype("float32")
    thetas = []
    for threads in (1, 2, 3):
        net = fb.Sequential(LARGE, n_inputs=50, seed=0)
        net.fit(x, y, loss=COMPILED, batch_size=900, epochs=2, n_threads=threads, verbose=0)
        thetas.append(net.engine.theta)
    assert np.array_equal(thetas[0], thetas[1])
    assert np.array_equal(thetas[0], thetas[2])


@njit
def spoiled_grad(y, out):
    """NaN for a row whose first target is 17, an exception for one of 18."""
    slopes = 2.0 * (out - y)
    for i in range(len(y)):
        if y[i, 0] == 17.0:
            slopes[i, 1] = np.nan
        if y[i, 0] == 18.0:
            raise RuntimeError("the user's own error")
    return slopes


@njit
def square_value(y, out):
    values = np.zeros(len(out))
    for i in range(out.shape[0]):
        values[i] = ((out[i] - y[i]) ** 2).sum()
    return values


SPOILED = fb.Loss(square_value, spoiled_grad, "spoiled")


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize(
    ("target", "kind", "message"),
    [(17.0, ValueError, "is .*nan.* in row 1200"), (18.0, RuntimeError, "the user's own error")],
)
def test_a_fault_of_compiled_functions(target, kind, message, n_threads, rng):
    """Within an epoch, within several at once, with a team: the error is that of a call from Python."""
    for n, layers, batch_size, epochs in ((2000, LARGE, 900, 2), (1300, [fb.Dense(3)], 32, 30)):
        x, y = rng.normal(size=(n, 50)).astype("float32"), rng.normal(size=(n, 3)).astype("float32")
        y[1200, 0] = target
        net = fb.Sequential(layers, n_inputs=50, seed=0)
        before = net.engine.theta.copy()
        with pytest.raises(kind, match=message):
            net.fit(x, y, loss=SPOILED, batch_size=batch_size, epochs=epochs, n_threads=n_threads, verbose=0)
        assert np.array_equal(net.engine.theta, before)
        trainer = fb.Trainer(net, SPOILED, n_threads=n_threads)
        trainer.step(x[:1000], y[:1000])
        before = net.engine.theta.copy()
        with pytest.raises(kind, match=message.replace("1200", "200")):
            trainer.step(x[1000:], y[1000:])
        assert np.array_equal(net.engine.theta, before)
        trainer.step(x[:1000], y[:1000])
        assert trainer.steps == 2


def test_a_step_of_compiled_functions_is_prepared(dtype, rows_of):
    """The bits of the long way; a pair of NumPy's goes that way every time."""
    for n in (1, 10):
        x, y = rows_of(n, dtype)
        short, long = (fb.Trainer(make(dtype), COMPILED) for _ in range(2))
        for _ in range(5):
            long.session.prepared = None
            assert short.step(x, y) == long.step(x, y)
            assert np.array_equal(short.engine.theta, long.engine.theta)
            assert (short.session.prepared is None) is INTERPRETED
        assert short.steps == long.steps == 5
        plain = fb.Trainer(make(dtype), ASYMMETRIC)
        plain.step(x, y)
        assert plain.session.prepared is None


@pytest.mark.parametrize(
    ("target", "kind", "message"),
    [(17.0, ValueError, "is .*nan.* in row 3"), (18.0, RuntimeError, "the user's own error")],
)
def test_a_fault_in_a_prepared_step(target, kind, message, rows_of):
    """It is answered as ever, and the next step begins where the last one ended."""
    x, y = rows_of(10)
    trainer, other = (fb.Trainer(make(), SPOILED) for _ in range(2))
    spoiled = y.copy()
    spoiled[3, 0] = target
    for _ in range(3):
        trainer.step(x, y)
        other.step(x, y)
        before = trainer.engine.theta.copy()
        with pytest.raises(kind, match=message):
            trainer.step(x, spoiled)
        assert np.array_equal(trainer.engine.theta, before)
        assert trainer.steps == other.steps
    assert trainer.step(x, y) == other.step(x, y)
    assert np.array_equal(trainer.engine.theta, other.engine.theta)


def test_compiled_functions_that_return_something_else(rows_of):
    """No kernel takes them. Called from Python, they are told what they must return."""
    x, y = rows_of(10)
    total = njit(lambda y, out: ((out - y) ** 2).sum())
    wrong = fb.Loss(total, compiled_grad, "total")
    assert not in_kernel(wrong)
    with pytest.raises(ValueError, match="one number per row"):
        fb.Trainer(make(), wrong).step(x, y)
    wide = np.concatenate([y, y], axis=1)
    net = make()
    loss = fb.Loss(
        njit(lambda y, out: ((out - y[:, :3]) ** 2).sum(axis=1)),
        njit(lambda y, out: 2 * (out - y[:, :3])),
        "wide",
    )
    net.fit(x, wide, loss=loss, epochs=2, verbose=0)
    other = make()
    other.fit(
        x, y, loss=fb.Loss(square_value, njit(lambda y, out: 2 * (out - y)), "narrow"), epochs=2, verbose=0
    )
    assert_near(other.engine.theta, net.engine.theta, "float32", 3)


def test_targets_of_any_width(rng):
    """What a loss needs to know of a row goes in as columns of y: here an action and what it was worth."""

    def value(y, out):
        logits = out - out.max(1, keepdims=True)
        chosen = np.take_along_axis(logits, y[:, :1].astype(int), 1)[:, 0]
        return y[:, 1] * (np.log(np.exp(logits).sum(1)) - chosen)

    def grad(y, out):
        chances = np.exp(out - out.max(1, keepdims=True))
        chances /= chances.sum(1, keepdims=True)
        return y[:, 1:] * (chances - np.eye(out.shape[1])[y[:, 0].astype(int)])

    policy = fb.Loss(value, grad, "policy", activation="softmax")
    x = rng.normal(size=(50, 4)).astype("float32")
    action, worth = rng.integers(0, 3, 50), rng.normal(size=50)
    y = np.column_stack([action, worth])
    net, weighted = make(), make()
    history = net.fit(x, y, loss=policy, epochs=3, validation_data=(x, y), verbose=0)
    assert len(history.val_loss) == 3
    weighted.engine.theta[:] = net.engine.theta
    assert net.value_and_grad(x, y, policy)[0] == pytest.approx(net.evaluate(x, y, policy), rel=1e-6)
    # The same as weights of rows, which are not negative.
    y[:, 1] = np.abs(worth)
    assert net.evaluate(x, y, policy) == pytest.approx(
        (net.evaluate(x, action, "cross_entropy", sample_weight=np.abs(worth)) - net.engine.penalty())
        * np.abs(worth).mean()
        + net.engine.penalty(),
        rel=1e-5,
    )


def test_metrics_see_what_the_activation_makes(rng):
    own = own_pair("binary_cross_entropy", activation="sigmoid")
    x = rng.normal(size=(60, 4)).astype("float32")
    y = (x[:, :1] > 0).astype("float32")
    net = fb.Sequential([fb.Dense(1)], n_inputs=4)
    net.fit(x, y, loss=own, optimizer=fb.Adam(0.1), epochs=20, verbose=0)
    assert net.evaluate(x, y, own, metrics="accuracy")["accuracy"] > 0.9
    softmax = own_pair("cross_entropy", activation="softmax")
    net = fb.Sequential([fb.Dense(2)], n_inputs=4)
    hot = np.eye(2, dtype="float32")[(x[:, 0] > 0).astype(int)]
    net.fit(x, hot, loss=softmax, optimizer=fb.Adam(0.1), epochs=20, verbose=0)
    assert net.evaluate(x, hot, softmax, metrics="accuracy")["accuracy"] > 0.9
    with pytest.raises(ValueError, match="contains the sigmoid, and the last layer is 'sigmoid'"):
        fb.Sequential([fb.Dense(1, "sigmoid")], n_inputs=4).fit(x, y, loss=own, verbose=0)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_any_number_of_threads_has_the_same_bits(n_threads, rng):
    layers = [fb.Dense(300, "relu"), fb.Dropout(0.2), fb.Dense(200, "relu"), fb.Dense(3)]
    x, y = rng.normal(size=(1000, 50)).astype("float32"), rng.normal(size=(1000, 3)).astype("float32")
    thetas = []
    for threads in (1, n_threads):
        net = fb.Sequential(layers, n_inputs=50, seed=0)
        net.fit(x, y, loss=ASYMMETRIC, batch_size=500, epochs=2, n_threads=threads, verbose=0)
        thetas.append(net.engine.theta)
    assert np.array_equal(*thetas)


def test_sparse_rows_streams_and_maps(tmp_path, rows_of):
    x, y = rows_of(70)
    x[np.abs(x) < 0.7] = 0.0
    np.save(tmp_path / "x.npy", x.astype("float64"))
    sources = [
        (x, y),
        (scipy.sparse.csr_array(x), y),
        (np.load(tmp_path / "x.npy", mmap_mode="r"), y),
        ([(x[i : i + 32], y[i : i + 32]) for i in range(0, 70, 32)], None),
    ]
    nets = [fb.Sequential([fb.Dense(8, "tanh"), fb.Dense(3)], n_inputs=4) for _ in sources]
    for net, (inputs, outputs) in zip(nets, sources, strict=True):
        net.fit(inputs, outputs, loss=ASYMMETRIC, epochs=3, shuffle=False, verbose=0)
        assert_near(net.engine.theta, nets[0].engine.theta, "float32")


def test_resumed_trainings_have_the_same_bits(tmp_path, rows_of, monkeypatch):
    """Loss and rule of one's own, stopped within an epoch; the rule's state is in the file."""
    monkeypatch.setattr(session, "CHUNK_SECONDS", 0.0)
    x, y = rows_of(100)

    class Stop(fb.Callback):
        left = 7

        def on_chunk_end(self, seconds, samples):
            self.left -= 1
            return self.left == 0

    def fit(net, **extra):
        rule = fb.Rule(adam_rule, slots=("m", "v"), learning_rate=fb.OneCycle(0.05))
        return net.fit(x, y, loss=ASYMMETRIC, optimizer=rule, epochs=4, batch_size=30, verbose=0, **extra)

    whole, parts = make(), make()
    expected = fit(whole)
    path = tmp_path / "run.safetensors"
    fit(parts, callbacks=[fb.Checkpoint(path), Stop()])
    assert not np.array_equal(parts.engine.theta, whole.engine.theta)
    again = make(seed=3)
    got = fit(again, resume_from=path)
    assert np.array_equal(again.engine.theta, whole.engine.theta)
    assert got.loss == expected.loss
    with pytest.raises(ValueError, match="was written with loss="):
        again.fit(
            x,
            y,
            loss=HALF,
            optimizer=fb.Rule(adam_rule, ("m", "v")),
            epochs=4,
            batch_size=30,
            resume_from=path,
            verbose=0,
        )
    with pytest.raises(ValueError, match="was written with optimizer="):
        again.fit(
            x,
            y,
            loss=ASYMMETRIC,
            optimizer=fb.Rule(adam_rule, ("m",)),
            epochs=4,
            batch_size=30,
            resume_from=path,
            verbose=0,
        )


# The regressor -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_regressor(solver, weighted, rng):
    x, y = rng.normal(size=(120, 4)), rng.normal(size=120)
    weight = rng.uniform(0.5, 2.0, 120) if weighted else None
    settings = {"hidden_layer_sizes": (8,), "solver": solver, "random_state": 0, "max_iter": 20, "tol": 0.0}
    plain, own = (fb.MLPRegressor(loss, **settings) for loss in ("squared_error", HALF))
    for estimator in (plain, own):
        with pytest.warns(ConvergenceWarning):
            estimator.fit(x, y, weight)
    for mine, theirs in zip(own.coefs_, plain.coefs_, strict=True):
        assert np.abs(mine - theirs).max() < 1e-6
    assert own.loss_ == pytest.approx(plain.loss_, rel=1e-6)


def test_early_stopping_of_the_regressor(rng):
    x = rng.normal(size=(300, 4))
    y = x[:, 0] + 0.1 * rng.normal(size=300)
    plain, own = (
        fb.MLPRegressor(
            loss, (8,), early_stopping=True, learning_rate_init=0.01, random_state=0, max_iter=500
        )
        for loss in ("squared_error", HALF)
    )
    for estimator in (plain, own):
        estimator.fit(x, y, validation_set=(x[:50], y[:50]))
    assert own.n_iter_ == plain.n_iter_
    assert np.allclose(own.validation_scores_, plain.validation_scores_, rtol=1e-6)
    assert np.allclose(own.validation_loss_curve_, plain.validation_loss_curve_, rtol=1e-6)


def test_the_regressor_predicts_what_the_activation_makes(rng):
    x = rng.normal(size=(100, 3))
    y = rng.poisson(np.exp(x[:, 0])).astype(float)
    poisson = own_pair("poisson", activation="exp")
    estimator = fb.MLPRegressor(poisson, (), solver="lbfgs", random_state=0, alpha=0.0).fit(x, y)
    assert (estimator.predict(x) > 0).all()
    expected = fb.MLPRegressor("poisson", (), solver="lbfgs", random_state=0, alpha=0.0).fit(x, y)
    assert np.allclose(estimator.predict(x), expected.predict(x), rtol=1e-3)
    with pytest.raises(ValueError, match="which a regressor cannot predict"):
        fb.MLPRegressor(own_pair("cross_entropy", activation="softmax")).fit(x, y)


def test_the_regressor_is_cloned_pickled_and_not_saved(tmp_path, rng):
    estimator = fb.MLPRegressor(HALF, (4,), solver="lbfgs", random_state=0, max_iter=500)
    assert clone(estimator).loss == HALF
    x, y = rng.normal(size=(30, 2)), rng.normal(size=30)
    estimator.fit(x, y)
    other = pickle.loads(pickle.dumps(estimator))
    assert other.loss == HALF
    assert np.array_equal(other.predict(x), estimator.predict(x))
    with pytest.raises(TypeError, match="cannot save .*loss of type"):
        estimator.save(tmp_path / "m.safetensors")
    with pytest.warns(UserWarning, match="cannot train with loss="):
        assert np.allclose(estimator.to_sklearn().predict(x), estimator.predict(x))


# What is refused ---------------------------------------------------------------------------------------------


def broken(value=half_square, grad=half_square_grad, **extra):
    return fb.Loss(value, grad, "broken", **extra)


def nan_in(row, function):
    def spoiled(y, out):
        result = function(y, out)
        result[np.isclose(y[:, 0], row)] = np.nan
        return result

    return spoiled


def fails(y, out):
    raise RuntimeError("the user's own error")


FAULTS = [
    (
        broken(grad=lambda y, out: (out - y)[:, :1]),
        ValueError,
        r"loss 'broken': grad.* shape \(\d+, 3\).*got \(\d+, 1\)",
    ),
    (
        broken(grad=lambda y, out: (out - y) * 1j),
        TypeError,
        "loss 'broken': grad.* array of floats, got dtype complex",
    ),
    (broken(grad=lambda y, out: None), TypeError, "grad.* got NoneType"),
    (
        broken(value=lambda y, out: half_square(y, out).mean()),
        ValueError,
        r"value.* one number per row, got \(\)",
    ),
    (broken(value=lambda y, out: half_square(y, out)[:, None]), ValueError, r"value.*got \(\d+, 1\)"),
    (
        broken(value=nan_in(17, half_square), check=False),
        ValueError,
        r"value\(y, out\) is nan in row 17, where out is",
    ),
    (
        broken(grad=nan_in(17, half_square_grad), check=False),
        ValueError,
        r"grad\(y, out\) is \[nan, nan, nan\] in row 17",
    ),
    (
        broken(grad=lambda y, out: 2 * (out - y)),
        ValueError,
        r"grad\(y, out\)\[0, 0\] is .*, but the value changes by",
    ),
    (broken(grad=fails), RuntimeError, "the user's own error"),
    (broken(value=fails), RuntimeError, "the user's own error"),
]


@pytest.mark.parametrize(("loss", "kind", "message"), FAULTS, ids=lambda item: getattr(item, "name", None))
def test_a_fault_of_the_functions_changes_nothing(loss, kind, message, rows_of):
    """Rows are called by their numbers in the data, though each epoch has an order of its own."""
    x, y = rows_of(40)
    y[:, 0] = np.arange(40)
    net = make()
    theta = net.engine.theta.copy()
    with pytest.raises(kind, match=message):
        net.fit(x, y, loss=loss, batch_size=10, verbose=0)
    assert np.array_equal(net.engine.theta, theta)
    trainer = fb.Trainer(net, loss)
    with pytest.raises(kind, match=message):
        trainer.step(x, y)
    assert np.array_equal(net.engine.theta, theta)
    assert trainer.steps == 0


def test_a_fault_at_a_later_step(rows_of):
    """The model is as it was before the step, and the trainer goes on."""
    x, y = rows_of(10)
    calls = []

    def grad(y, out):
        calls.append(1)
        if len(calls) == 4:
            raise RuntimeError("the user's own error")
        return half_square_grad(y, out)

    trainers = [fb.Trainer(make(), loss) for loss in (HALF, broken(grad=grad, check=False))]
    for _ in range(3):
        for trainer in trainers:
            trainer.step(x, y)
    with pytest.raises(RuntimeError):
        trainers[1].step(x, y)
    for trainer in trainers:
        trainer.step(x, y)
    assert np.array_equal(trainers[0].engine.theta, trainers[1].engine.theta)


def test_functions_may_keep_and_change_what_they_get(rows_of):
    x, y = rows_of(40)
    kept, before = [], y.copy()

    def value(y, out):
        kept.append((y, out, y.copy(), out.copy()))
        return half_square(y, out)

    def grad(y, out):
        out -= y
        y[:] = np.nan
        kept.append((out, out, out.copy(), out.copy()))
        return out

    nets = [make(), make()]
    for net, loss in zip(nets, (HALF, broken(value, grad)), strict=True):
        net.fit(x, y, loss=loss, epochs=2, batch_size=16, validation_data=(x, y), verbose=0)
    assert np.array_equal(nets[0].engine.theta, nets[1].engine.theta)
    assert np.array_equal(y, before)
    for y_kept, out_kept, y_then, out_then in kept:
        assert np.array_equal(y_kept, y_then)
        assert np.array_equal(out_kept, out_then)


def test_divergence_is_reported_as_ever(rows_of):
    x, y = rows_of(40)
    with np.errstate(all="ignore"), pytest.raises(fb.DivergenceError):
        make().fit(x, y, loss=HALF, optimizer=fb.SGD(1e30), epochs=20, verbose=0)


def test_a_wrong_gradient_passes_if_nobody_looks(rows_of):
    x, y = rows_of(10)
    wrong = broken(grad=lambda y, out: 2 * (out - y), check=False)
    assert fb.Trainer(make(), wrong).step(x, y) > 0
    with pytest.raises(ValueError, match="the value changes by"):
        fb.check_grad(wrong, y, y + 1)


@pytest.mark.parametrize("loss", LOSSES)
def test_check_grad_finds_the_built_in_losses_right(loss, rng):
    """Kinks included: outputs that hit their targets."""
    y = targets(loss, rng, 20, 3)
    out = rng.normal(size=(20, 3))
    out[:5] = y[:5]
    assert fb.check_grad(own_pair(loss), y, out) < 1e-5


def test_check_grad_of_values_in_float32(rng):
    loss = fb.Loss(lambda y, out: half_square(y, out).astype(np.float32), half_square_grad)
    y = rng.normal(size=(20, 3))
    fb.check_grad(loss, y, y + rng.normal(size=(20, 3)))
    wrong = fb.Loss(loss.value, lambda y, out: -half_square_grad(y, out))
    with pytest.raises(ValueError, match="loss '<lambda>'"):
        fb.check_grad(wrong, y, y + 1)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: fb.Loss("mse", half_square_grad), TypeError, "value must be a function"),
        (lambda: fb.Loss(half_square, None), TypeError, "grad must be a function"),
        (lambda: fb.Loss(half_square, half_square_grad, "mse"), ValueError, "built-in loss"),
        (
            lambda: fb.Loss(half_square, half_square_grad, activation="tanh"),
            ValueError,
            "activation must be one of",
        ),
        (lambda: fb.check_grad("mse", [[0.0]], [[0.0]]), TypeError, "loss must be a fastbp.Loss"),
        (lambda: fb.check_grad(HALF, [[0.0]], [0.0]), ValueError, "out must have shape"),
        (lambda: make().compiled(HALF), TypeError, "train_one_from"),
        (
            lambda: make().fit(np.ones((4, 4)), np.ones((4, 3)), loss=half_square, verbose=0),
            TypeError,
            "fastbp.Loss",
        ),
        (lambda: make().evaluate(np.ones((4, 4)), None, HALF), ValueError, "y is missing"),
        (lambda: make().evaluate(np.ones((4, 4)), np.ones((3, 3)), HALF), ValueError, "y has 3 rows"),
    ],
)
def test_what_is_no_loss(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


def test_losses_and_rules_are_values(rows_of):
    assert fb.Loss(half_square, half_square_grad) == HALF
    assert hash(fb.Loss(half_square, half_square_grad)) == hash(HALF)
    assert HALF != ASYMMETRIC
    rule = fb.Rule(adam_rule, ("m", "v"), 0.1)
    for thing in (HALF, rule):
        assert pickle.loads(pickle.dumps(thing)) == thing
        assert copy.deepcopy(thing) == thing
    assert repr(HALF) == "Loss('half_square')"
    assert repr(rule) == "Rule('adam_rule', slots=('m', 'v'), learning_rate=0.1)"


# Rules -------------------------------------------------------------------------------------------------------


def adam_rule(theta, grad, state, step, rate):
    """Adam in NumPy, its state written in place."""
    state["m"][:] = 0.9 * state["m"] + 0.1 * grad
    state["v"][:] = 0.999 * state["v"] + 0.001 * grad**2
    m, v = state["m"] / (1 - 0.9**step), state["v"] / (1 - 0.999**step)
    return theta - rate * m / (np.sqrt(v) + 1e-8)


def momentum_rule(theta, grad, state, step, rate):
    """SGD with momentum; the state is replaced."""
    state["v"] = 0.9 * state["v"] + grad
    return theta - rate * state["v"]


@pytest.mark.parametrize(
    ("update", "slots", "built_in"),
    [(adam_rule, ("m", "v"), fb.Adam), (momentum_rule, ("v",), lambda rate: fb.SGD(rate, momentum=0.9))],
)
@pytest.mark.parametrize("loss", ["log_cosh", ASYMMETRIC], ids=str)
def test_a_rule_of_ones_own(update, slots, built_in, loss, dtype, rows_of):
    """Sixty steps beside the built-in rule, with a schedule, clipping, penalties and dropout."""
    x, y = rows_of(57, dtype)
    rate = fb.CosineDecay(0.03, warmup=5)
    nets = [make(dtype), make(dtype)]
    for net, optimizer in zip(nets, (built_in(rate), fb.Rule(update, slots, rate)), strict=True):
        net.fit(x, y, loss=loss, optimizer=optimizer, epochs=10, batch_size=10, max_grad_norm=0.5, verbose=0)
    assert_near(nets[1].engine.theta, nets[0].engine.theta, dtype, 4)


def test_the_parts_of_a_step_with_a_rule(rows_of):
    x, y = rows_of(10)
    whole, parts, given = (
        fb.Trainer(make(), "mse", fb.Rule(momentum_rule, ["v"], 0.1), max_grad_norm=0.5) for _ in range(3)
    )
    for _ in range(3):
        whole.step(x, y)
        parts.apply(parts.gradient(x, y)[1])
        given.step_from(x, 2 * (given.forward(x) - y) / y.size)
        assert np.array_equal(parts.engine.theta, whole.engine.theta)
        assert_near(given.engine.theta, whole.engine.theta, "float32")
    assert parts.steps == whole.steps == given.steps == 3
    assert np.array_equal(parts.slots["v"], whole.slots["v"])


def test_what_a_rule_gets(rows_of):
    x, y = rows_of(10)
    net = make()
    seen = []

    def update(theta, grad, state, step, rate):
        seen.append((theta.copy(), grad, dict(state), step, rate))
        theta[:] = np.nan
        return seen[-1][0] - rate * grad

    trainer = fb.Trainer(net, optimizer=fb.Rule(update, ["m"], fb.ExponentialDecay(0.1, 0.5)))
    flat = np.concatenate([net.weights[0].ravel(), net.biases[0], net.weights[1].ravel()])
    trainer.step(x, y)
    trainer.epoch = 1
    trainer.step(x, y)
    theta, grad, state, step, rate = seen[0]
    assert theta.shape == grad.shape == state["m"].shape == (net.n_parameters,)
    assert theta.dtype == grad.dtype == np.float32
    assert np.array_equal(theta, flat)
    assert [item[3] for item in seen] == [1, 2]
    assert [item[4] for item in seen] == [0.1, 0.05]
    assert np.isfinite(net.engine.theta).all()


@pytest.mark.parametrize(
    ("update", "kind", "message"),
    [
        (
            lambda theta, *_: theta[:3],
            ValueError,
            r"rule 'broken': update must have shape \(\d+,\), got \(3,\)",
        ),
        (lambda theta, *_: None, TypeError, "update must be an array of floats, got NoneType"),
        (lambda theta, *_: theta * 1j, TypeError, "got dtype complex"),
        (lambda theta, grad, state, *_: state.clear() or theta, ValueError, "state must hold"),
        (
            lambda theta, grad, state, *_: state.update(m=1.0) or theta,
            ValueError,
            r"state\['m'\] must have shape",
        ),
        (fails, TypeError, "positional"),
    ],
)
def test_a_fault_of_a_rule_changes_nothing(update, kind, message, rows_of):
    x, y = rows_of(10)
    net = make()
    theta = net.engine.theta.copy()
    trainer = fb.Trainer(net, optimizer=fb.Rule(update, ["m"], name="broken"))
    with pytest.raises(kind, match=message):
        trainer.step(x, y)
    assert np.array_equal(net.engine.theta, theta)
    assert trainer.steps == 0
    assert not trainer.slots["m"].any()


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: fb.Rule("adam"), TypeError, "update must be a function"),
        (lambda: fb.Rule(adam_rule, "mv"), TypeError, "slots must be a sequence"),
        (lambda: fb.Rule(adam_rule, ["m", "m"]), ValueError, "slots must be different"),
        (lambda: fb.Rule(adam_rule, ["m:flat"]), ValueError, "slots must be different identifiers"),
        (lambda: fb.Rule(adam_rule, ["m"], -1.0), ValueError, "Rule: learning_rate"),
    ],
)
def test_what_is_no_rule(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


# How compiled functions are kept -----------------------------------------------------------------------------

MODULE = """
import numpy as np
from numba import njit

FACTOR = {factor}

@njit(cache=True)
def value(y, out):
    return FACTOR * ((out - y) ** 2).sum(axis=1)

@njit(cache=True)
def grad(y, out):
    return 2 * FACTOR * (out - y)
"""
PROGRAM = """
import numpy as np
import kept
import fastbp as fb
net = fb.Sequential([fb.Dense(1, initializer="zeros")], n_inputs=1, dtype={dtype!r})
x = np.ones((4, 1), net.dtype)
from numba.core import event
with event.install_recorder("numba:compile") as recorder:
    fb.Trainer(net, fb.Loss(kept.value, kept.grad, "kept"), fb.SGD(0.25)).step(x, x)
names = [item.data["dispatcher"].py_func.__name__ for _, item in recorder.buffer if item.is_start]
print("rows" in names, net.weights[0].item())
"""


@pytest.mark.slow
@pytest.mark.skipif(INTERPRETED, reason="nothing is compiled")
def test_compiled_functions_are_kept_until_they_change(tmp_path):
    """By the next process too; not for the other dtype, nor with another number in a global they read."""

    def run(factor, dtype):
        (tmp_path / "kept.py").write_text(MODULE.format(factor=factor))
        code = PROGRAM.format(dtype=dtype)
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            cwd=tmp_path,
            env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / f"numba{factor}")},
        )
        compiled, weight = done.stdout.split()
        return compiled, float(weight)

    factor = 1.0 + np.random.default_rng().integers(2**40) / 2**41  # which no earlier run has kept
    step = pytest.approx(0.5 * factor)
    assert run(factor, "float64") == ("True", step)
    assert run(factor, "float64") == ("False", step)
    assert run(factor, "float32") == ("True", pytest.approx(0.5 * factor, rel=1e-6))
    assert run(factor / 2, "float64") == ("True", pytest.approx(0.25 * factor))
