"""Steps and gradients for arrays like the last ones: the bits of the long way, whatever has changed in between."""

import copy
import dataclasses
import pickle
import threading

import numpy as np
import pytest
import scipy.sparse

import fastbp
from fastbp.engine import teams
from fastbp.engine.gradients import new_gradients
from fastbp.engine.rows import Rows
from fastbp.engine.session import Session
from fastbp.objectives import Objective
from fastbp.optimizers import Rule
from tests.kernels.oracles import INTERPRETED

RULES = [
    Rule(),
    Rule("sgd", momentum=0.9, nesterov=True),
    Rule("adam"),
    Rule("nadam"),
    Rule("adagrad", initial_accumulator=0.1),
    Rule("rprop"),
]


def model(dtype="float32", n_inputs=4, outputs=2, **options):
    layers = [fastbp.Dense(5, "tanh", **options), fastbp.Dense(outputs)]
    return fastbp.Sequential(layers, n_inputs=n_inputs, dtype=dtype, seed=0)


def batches(rng, dtype, count, n=6, outputs=2):
    return [
        (rng.normal(size=(n, 4)).astype(dtype), rng.normal(size=(n, outputs)).astype(dtype))
        for _ in range(count)
    ]


class Pair:
    """Two trainers of the same model: one takes prepared steps, the other always goes the long way."""

    def __init__(self, dtype="float32", loss="mse", optimizer="adam", outputs=2, options=None, **extra):
        nets = [model(dtype, outputs=outputs, **(options or {})) for _ in range(2)]
        self.trainers = [fastbp.Trainer(net, loss, optimizer, n_threads=1, **extra) for net in nets]

    @property
    def prepared(self):
        return self.trainers[0].session.prepared

    def step(self, x, y, **given):
        """Step both; the loss, the parameters and the optimizer's state must be the same bits."""
        short, long = self.trainers
        long.session.prepared = None
        losses = [trainer.step(x, y, **given) for trainer in self.trainers]
        assert losses[0] == losses[1] or np.isnan(losses).all()
        assert np.array_equal(short.engine.theta, long.engine.theta, equal_nan=True)
        for name, values in short.slots.items():
            assert np.array_equal(values, long.slots[name], equal_nan=True)
        assert short.steps == long.steps
        assert short.session.loss_sum == long.session.loss_sum
        return losses[0]


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "nadam", "rmsprop", "rprop"])
@pytest.mark.parametrize("n", [1, 6])
def test_a_step_has_the_bits_of_the_long_way(optimizer, n, dtype, rng):
    pair = Pair(dtype, optimizer=optimizer)
    for x, y in batches(rng, dtype, 5, n):
        pair.step(x, y)
        assert pair.prepared is not None


@pytest.mark.parametrize(
    "given",
    [
        {"options": {"l1": 0.01, "l2": 0.02}},
        {"max_grad_norm": 0.1},
        {"loss": "huber(0.5)"},
        {"optimizer": fastbp.Adam(fastbp.CosineDecay(0.1, 3))},
    ],
    ids=lambda given: next(iter(given)),
)
def test_a_step_with(given, rng):
    pair = Pair(**given)
    for x, y in batches(rng, "float32", 5):
        pair.step(x, y)
    assert pair.prepared is not None


def test_a_step_drops_other_units_each_time(rng):
    nets = [
        fastbp.Sequential([fastbp.Dense(50, "tanh"), fastbp.Dropout(0.5), fastbp.Dense(1)], n_inputs=4)
        for _ in range(2)
    ]
    short, long = (fastbp.Trainer(net, optimizer="adam", seed=3) for net in nets)
    for x, y in batches(rng, "float32", 5, outputs=1):
        long.session.prepared = None
        assert short.step(x, y) == long.step(x, y)
        assert np.array_equal(short.engine.theta, long.engine.theta)


def test_a_step_with_class_codes(rng):
    pair = Pair(loss="cross_entropy", outputs=3)
    for _ in range(4):
        pair.step(rng.normal(size=(6, 4)).astype(np.float32), rng.integers(3, size=6))
    before = pair.trainers[0].engine.theta.copy()
    for wrong in (3, -1):
        with pytest.raises(ValueError, match="class codes from 0 to 2"):
            pair.trainers[0].step(np.zeros((6, 4), np.float32), np.array([0, 1, 2, 0, 1, wrong]))
    assert np.array_equal(pair.trainers[0].engine.theta, before)
    one_hot = np.eye(3, dtype=np.float32)[rng.integers(3, size=6)]
    pair.step(rng.normal(size=(6, 4)).astype(np.float32), one_hot)


def test_a_step_notices_another_form_of_batch(rng):
    """Arrays that kernels do not take as they are go the long way, and so do other numbers of rows."""
    pair = Pair()
    x, y = batches(rng, "float32", 1)[0]
    frozen = x.copy()
    frozen.flags.writeable = False
    shifted = np.zeros(x.nbytes + 1, np.uint8)[1:].view(np.float32).reshape(x.shape)
    shifted[...] = x
    forms = [
        (x.astype(np.float64), y),
        (x, y.astype(np.float64)),
        (x.tolist(), y.tolist()),
        (np.asfortranarray(x), y),
        (x, np.asfortranarray(y)),
        (x[::2], y[::2]),
        (x[:5], y[:5]),
        (np.vstack([x, x]), np.vstack([y, y])),
        (frozen, y),
        (shifted, y),
        (scipy.sparse.csr_matrix(x), y),
        (x.astype(x.dtype.newbyteorder()), y),
    ]
    for form in forms:
        pair.step(x, y)
        pair.step(*form)
        pair.step(x, y)
    pair.step(x, y, sample_weight=rng.uniform(size=6))
    pair.step(x, y)
    with pytest.raises(ValueError, match="X has 3 columns"):
        pair.trainers[0].step(x[:, :3].copy().tolist(), y)
    with pytest.raises(ValueError, match=r"x must have shape \(n, 4\)"):
        pair.trainers[0].step(x[:, :3].copy(), y)
    with pytest.raises(ValueError, match=r"y must have shape \(6, 2\)"):
        pair.trainers[0].step(x, y[:4])


def test_a_step_is_made_anew_after_a_change(rng):
    """What a prepared step relies on: rule, number of steps, and the size of the workspace."""
    pair = Pair(optimizer="rprop")
    (x, y), (larger, targets) = batches(rng, "float32", 1)[0], batches(rng, "float32", 1, 9)[0]

    def both(change):
        pair.step(x, y)
        pair.step(x, y)
        for trainer in pair.trainers:
            change(trainer)
        pair.step(x, y)

    both(lambda trainer: setattr(trainer, "steps", 0))  # the steps of Rprop begin anew
    both(lambda trainer: setattr(trainer, "steps", 7))
    rule = dataclasses.replace(pair.trainers[0].session.rule, eta_plus=1.9, step_max=0.02)
    both(lambda trainer: setattr(trainer.session, "rule", rule))
    both(lambda trainer: trainer.reserve(20))
    both(lambda trainer: trainer.engine.theta.__imul__(0.5))
    both(lambda trainer: trainer.session.run(x, y, np.arange(6), 0.1))
    both(lambda trainer: trainer.slots["step_size"].fill(0.001))
    pair.step(larger, targets)
    pair.step(x, y)


def test_a_step_reports_what_is_not_finite(rng):
    pair = Pair()
    x, y = batches(rng, "float32", 1)[0]
    pair.step(x, y)
    pair.step(x, y)
    x[2, 1] = np.nan
    assert np.isnan(pair.step(x, y))


def test_a_step_after_a_stopped_call(rng, monkeypatch):
    """Ctrl-C in a long call stops the kernel. That must not stop the next step, which would train on nothing."""

    def interrupted(call, team, stop, *, apart):
        stop()
        raise KeyboardInterrupt

    pair = Pair()
    x, y = batches(rng, "float32", 1)[0]
    pair.step(x, y)
    monkeypatch.setattr(teams, "together", interrupted)
    for trainer in pair.trainers:
        trainer.session._seconds_per_row = 1.0
        with pytest.raises(KeyboardInterrupt):
            trainer.session.run(x, y, np.arange(6), 0.1)
    before = pair.trainers[0].engine.theta.copy()
    assert pair.step(x, y) > 0
    assert not np.array_equal(pair.trainers[0].engine.theta, before)


def test_a_pass_under_way_keeps_its_sum(rng):
    pair = Pair()
    x, y = batches(rng, "float32", 1)[0]
    pair.step(x, y)
    for trainer in pair.trainers:
        trainer.session.loss_sum = 2.5
    pair.step(x, y)
    assert pair.trainers[0].session.loss_sum == 2.5


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.kernel)
def test_a_session_prepares_for_its_last_batch(rule, dtype, rng):
    """train_batch and prepared steps, one after the other."""
    results = []
    for prepared in (False, True):
        net, local = model(dtype), np.random.default_rng(1)
        session = Session(net.engine, Objective(), rule, batch_size=6, alpha=0.1, seed=3)
        losses = []
        for x, y in batches(local, dtype, 6):
            if session.prepared is not None:
                losses.append(session.prepared(x, y, 0.01))
                continue
            rows = Rows(net.engine.layout, x, y)
            losses.append(session.update(rows, 0.01))
            if prepared:
                session.prepare(x, y, rows)
        assert (session.prepared is not None) == prepared
        results.append([losses, net.engine.theta, *session.slots.values()])
    for short, long in zip(*results, strict=True):
        assert np.array_equal(short, long)


# Gradients


def agree(net, x, y, loss="mse", **given):
    """The gradient of a call, prepared or not, against a model that has never computed one."""
    value, grads = net.value_and_grad(x, y, loss, **given)
    given.pop("out", None)
    expected, fresh = net.copy().value_and_grad(x, y, loss, **given)
    assert value == expected
    assert np.array_equal(grads.theta, fresh.theta)
    for mine, theirs in zip([*grads.weights, *grads.biases], [*fresh.weights, *fresh.biases], strict=True):
        assert np.array_equal(mine, theirs)
    return grads


@pytest.mark.parametrize("n", [1, 6, 256, 257])
def test_a_gradient_has_the_bits_of_the_long_way(n, dtype, rng):
    net = model(dtype)
    for k, (x, y) in enumerate(batches(rng, dtype, 4, n)):
        agree(net, x, y)
        assert (net.engine.prepared is not None) == (k > 0 and n <= 256)


def test_a_gradient_notices_what_is_different(rng):
    net = model()
    (x, y), (others, targets) = batches(rng, "float32", 1)[0], batches(rng, "float32", 1, 9)[0]
    weights = rng.uniform(size=6)
    for change in [
        lambda: agree(net, x, y, "huber(2.0)"),
        lambda: agree(net, x, y, Objective("huber", 0.3)),
        lambda: agree(net, x, y, Objective("huber", 0.7)),
        lambda: agree(net, x, y, Objective("mse", summed=True)),
        lambda: agree(net, x, y, sample_weight=weights),
        lambda: agree(net, x, y, inputs=True),
        lambda: agree(net, others, targets),
        lambda: agree(net, x.astype(float), y.tolist()),
        lambda: agree(net, scipy.sparse.csr_matrix(x), y),
        lambda: agree(net, x, y, n_threads=2),
        lambda: net.engine.theta.__imul__(0.5),
        lambda: net.weights[0].fill(0.25),
        lambda: net.fit(x, y, epochs=2, verbose=0),
    ]:
        for _ in range(2):
            agree(net, x, y)
            agree(net, x, y)
            change()
        agree(net, x, y)
    for bad, message in ((np.nan, "X holds nan in row 2, column 1"), (np.inf, "X holds inf")):
        broken = x.copy()
        broken[2, 1] = bad
        with pytest.raises(ValueError, match=message):
            net.value_and_grad(broken, y)
    broken = y.copy()
    broken[0, 0] = np.nan
    with pytest.raises(ValueError, match="y holds nan"):
        net.value_and_grad(x, broken)
    with pytest.raises(TypeError, match="loss must be one of"):
        net.value_and_grad(x, y, np.zeros(3))


@pytest.mark.parametrize("loss", ["half_squared_error", "mse", "mae", "huber", "log_cosh", "quantile"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_gradient_shows_what_is_not_finite(loss, bad, dtype, rng):
    """Wherever it stands, whatever the first layer makes of it: units that are dead, saturated, or have no weights."""
    for activation in fastbp.reference.ACTIVATIONS:
        net = fastbp.Sequential([fastbp.Dense(5, activation), fastbp.Dense(2)], 4, dtype=dtype, seed=0)
        (x, y) = batches(rng, dtype, 1, 19)[0]
        for weight, bias in ((None, 0.0), (None, -50.0), (0.0, 0.0), (1e-30, 1.0)):
            if weight is not None:
                net.weights[0].fill(weight)
            net.biases[0].fill(bias)
            grads = net.value_and_grad(x, y, loss)[1]
            net.value_and_grad(x, y, loss)
            _, n, _, gradient = net.engine.prepared
            assert n == 19
            assert gradient(x, y, grads) is not None
            for array in (x, y):
                place = tuple(rng.integers(array.shape))
                kept, array[place] = array[place], bad
                assert gradient(x, y, None) is None
                name = "X" if array is x else "y"
                with pytest.raises(ValueError, match=f"^{name} holds {bad}"):
                    net.value_and_grad(x, y, loss, out=grads)
                array[place] = kept


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "poisson"])
def test_a_gradient_still_checks_the_range_of_targets(loss, rng):
    net, x = model(), rng.normal(size=(6, 4)).astype(np.float32)
    for _ in range(3):
        net.value_and_grad(x, np.ones((6, 2), np.float32), loss)
    with pytest.raises(ValueError, match=f"loss='{loss}' takes"):
        net.value_and_grad(x, np.full((6, 2), -1, np.float32), loss)


def test_a_gradient_counts_penalties(rng):
    net = model(l2=0.1)
    for x, y in batches(rng, "float32", 4):
        agree(net, x, y)


@pytest.mark.parametrize(
    "change", [lambda net: net.copy(), lambda net: pickle.loads(pickle.dumps(net)), copy.deepcopy]
)
def test_a_copy_has_its_own_gradient(change, rng):
    net = model()
    x, y = batches(rng, "float32", 1)[0]
    for _ in range(3):
        agree(net, x, y)
    twin = change(net)
    twin.weights[0][...] += 1
    assert twin.value_and_grad(x, y)[0] != agree(net, x, y)
    agree(twin, x, y)


@pytest.mark.skipif(INTERPRETED, reason="the interpreter mode runs one thread at a time")
def test_a_gradient_in_two_threads(dtype, rng):
    """One of them finds the prepared one in use and goes the long way."""
    net = model(dtype)
    data = batches(rng, dtype, 2, 200)
    expected = [net.copy().value_and_grad(x, y) for x, y in data]
    for _ in range(2):
        net.value_and_grad(*data[0])
    wrong = []

    def work(number):
        (x, y), (value, grads) = data[number], expected[number]
        for _ in range(300):
            mine, own = net.value_and_grad(x, y)
            if mine != value or not np.array_equal(own.theta, grads.theta):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(k % 2,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# out=


@pytest.mark.parametrize("options", [{}, {"l1": 0.01, "l2": 0.1}], ids=["plain", "penalized"])
def test_out_is_overwritten_and_returned(options, dtype, rng):
    net, out = model(dtype, **options), None
    for x, y in batches(rng, dtype, 5):
        grads = agree(net, x, y, out=out)
        assert out is None or grads is out
        out = grads
        out.theta[...] = np.nan
        for array in [*out.weights, *out.biases]:
            assert np.isnan(array).all()


def test_out_with_inputs(rng):
    net, out = model(), None
    for x, y in batches(rng, "float32", 3):
        value, grads = net.value_and_grad(x, y, inputs=True, out=out)
        _, fresh = net.copy().value_and_grad(x, y, inputs=True)
        assert np.array_equal(grads.inputs, fresh.inputs)
        out = grads
    with pytest.raises(ValueError, match=r"out\.inputs must be None, since inputs=False, got .* \(6, 4\)"):
        net.value_and_grad(x, y, out=out)
    with pytest.raises(ValueError, match=r"out\.inputs must be an array of shape \(5, 4\), got .* \(6, 4\)"):
        net.value_and_grad(x[:5], y[:5], inputs=True, out=out)
    with pytest.raises(ValueError, match=r"out\.inputs must be an array of shape \(6, 4\), got None"):
        net.value_and_grad(x, y, inputs=True, out=net.value_and_grad(x, y)[1])
    with pytest.raises(ValueError, match=r"out\.inputs must not share memory"):
        net.value_and_grad(out.inputs, y, inputs=True, out=out)


def test_out_of_a_copy_of_the_model(rng):
    net = model()
    x, y = batches(rng, "float32", 1)[0]
    out = net.copy().value_and_grad(x, y)[1]
    for _ in range(4):
        assert agree(net, x, y, out=out) is out


@pytest.mark.filterwarnings("ignore:Setting the (shape|dtype) on a NumPy array:DeprecationWarning")
def test_what_cannot_be_out(rng):
    net = model()
    x, y = batches(rng, "float32", 1)[0]

    def refused(out, error, message):
        """By the long way, and by a prepared gradient."""
        for twin in (net.copy(), net):
            before = twin.engine.theta.copy()
            with pytest.raises(error, match=message):
                twin.value_and_grad(x, y, out=out)
            assert np.array_equal(twin.engine.theta, before)

    for _ in range(3):
        good = net.value_and_grad(x, y)[1]
    assert net.engine.prepared is not None
    refused(np.zeros(3), TypeError, "out must be Gradients from an earlier call, got ndarray")
    refused(model(n_inputs=3).value_and_grad(x[:, :3].copy(), y)[1], ValueError, "the same layers and dtype")
    refused(model("float64").value_and_grad(x, y)[1], ValueError, "the same layers and dtype")
    for other in (
        copy.copy(good),
        copy.deepcopy(good),
        pickle.loads(pickle.dumps(good)),
        dataclasses.replace(good),
        dataclasses.replace(good, theta=net.engine.theta),
    ):
        refused(other, ValueError, "got a copy of some or others")
    for change in (
        lambda grads: setattr(grads.theta, "shape", (2, -1)),
        lambda grads: setattr(grads.theta, "dtype", np.int32),
        lambda grads: setattr(grads.theta.flags, "writeable", False),
    ):
        changed = net.value_and_grad(x, y)[1]
        change(changed)
        refused(changed, ValueError, r"out\.theta must be as an earlier call returned it")
    shared = good.theta[: 6 * 2].reshape(6, 2)
    for _ in range(2):
        with pytest.raises(ValueError, match=r"out\.theta must not share memory with X, y or sample_weight"):
            net.value_and_grad(x, shared, out=good)


def test_out_gets_its_views_back(rng):
    """Users clip gradients by putting other arrays into the lists."""
    net = model()
    x, y = batches(rng, "float32", 1)[0]
    out = net.value_and_grad(x, y)[1]
    for _ in range(4):
        out.weights[0] = np.clip(out.weights[0], -0.1, 0.1)
        out.biases[1] = None
        agree(net, x, y, out=out)
        assert np.shares_memory(out.weights[0], out.theta)


def test_gradients_of_a_layout(dtype):
    layout = model(dtype).engine.layout
    grads = new_gradients(layout, 3)
    assert grads.inputs.shape == (3, 4)
    assert [w.shape for w in grads.weights] == [(4, 5), (5, 2)]
    assert not grads.theta.any()


def test_a_signal_handler_that_trains_within_a_step_is_told():
    """It would wait for the step that it has interrupted, and that for the handler."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 4)).astype("float32"), rng.normal(size=(8, 1)).astype("float32")
    trainer = fastbp.Trainer(model(outputs=1), loss="mse", n_threads=1)
    trainer.step(x, y)
    trainer.step(x, y)
    session = trainer._session
    prepared = session.prepared
    assert prepared is not None
    session.prepared = lambda *_: trainer.step(x, y)  # the handler, at a call of the step
    with pytest.raises(RuntimeError, match="train it later"):
        trainer.step(x, y)
    session.prepared = prepared
    assert np.isfinite(trainer.step(x, y))
    trainer.step(x, y)
    assert session.prepared is not None
