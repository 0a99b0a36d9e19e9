"""A step in parts: outputs, dE/d out, gradient, update. Together they have the bits of the step, dropout included."""

import numpy as np
import pytest
import scipy.sparse

from fastbp import reference
from fastbp.layers import Dense, Dropout, Layer
from fastbp.optimizers import OPTIMIZERS, SGD, Adam, NAdam, Rprop
from fastbp.schedules import OneCycle
from fastbp.sequential import Sequential
from fastbp.training import Trainer
from tests.kernels.oracles import assert_near, assert_same_gradients, random_net, rows

NARROW = 40  # inputs: a layer of one or two outputs stores W'


def make(dtype="float32", seed=0, outputs=2):
    layers = [
        Dropout(0.2),
        Dense(9, "gelu", l1=1e-3),
        Dropout(0.4),
        Dense(7, "tanh", use_bias=False, l2=1e-2),
        Dense(outputs),
    ]
    return Sequential(layers, n_inputs=NARROW, dtype=dtype, seed=seed)


def data(rng, n, dtype, outputs=2):
    return rng.normal(size=(n, NARROW)).astype(dtype), rng.normal(size=(n, outputs)).astype(dtype)


def assert_same_bits(trainer, other):
    assert np.array_equal(trainer.engine.theta, other.engine.theta)
    assert trainer.steps == other.steps
    for name, values in trainer.slots.items():
        assert np.array_equal(values, other.slots[name]), name


@pytest.mark.parametrize("clip", [None, 0.05])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_gradient_and_apply_are_a_step(name, clip, dtype, rng):
    """With dropout, penalties, clipping, weights of rows, and batches of several heights; to the last bit."""
    pair = [Trainer(make(dtype), "huber", OPTIMIZERS[name](), max_grad_norm=clip, seed=3) for _ in range(2)]
    whole, parts = pair
    for n in (33, 1, 20, 33):
        x, y = data(rng, n, dtype)
        weight = rng.uniform(0.5, 2.0, n) if n == 20 else None
        value = whole.step(x, y, sample_weight=weight)
        loss, gradient = parts.gradient(x, y, sample_weight=weight)
        parts.apply(gradient)
        assert_near(loss, value, dtype)
        assert_same_bits(parts, whole)


@pytest.mark.parametrize(
    "optimizer", [SGD(0.1, momentum=0.9, nesterov=True), SGD(OneCycle(0.1)), NAdam(0.01), Rprop()], ids=str
)
def test_gradient_and_apply_are_a_step_for_other_settings(optimizer, rng):
    pair = [Trainer(make(), "mse", optimizer) for _ in range(2)]
    for trainer in pair:
        trainer.schedule = trainer.schedule.bind(10, 1)
    whole, parts = pair
    out = None
    for _ in range(4):
        x, y = data(rng, 17, "float32")
        whole.step(x, y)
        _, out = parts.gradient(x, y, out)
        parts.apply(out)
        assert_same_bits(parts, whole)


@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_batches_in_parts_and_teams(n_threads, rng):
    """More rows than fit in a workspace at once, more work than one thread is for."""
    layers = [Dense(300, "relu"), Dropout(0.1), Dense(200, "tanh"), Dense(3)]
    nets = [Sequential(layers, n_inputs=50, seed=1) for _ in range(3)]
    x = rng.normal(size=(1300, 50)).astype("float32")
    y = rng.normal(size=(1300, 3)).astype("float32")
    whole, parts = Trainer(nets[0], n_threads=1), Trainer(nets[1], n_threads=n_threads)
    for _ in range(2):
        whole.step(x, y)
        parts.apply(parts.gradient(x, y)[1])
        assert_same_bits(parts, whole)
    outputs = [Trainer(nets[2], n_threads=n).forward(x) for n in (1, n_threads)]
    assert np.array_equal(*outputs)


def test_class_codes_and_sparse_rows(rng):
    x = scipy.sparse.random(30, 12, 0.2, "csr", np.float32, random_state=rng)
    codes = rng.integers(0, 3, 30)
    nets = [Sequential([Dense(8, "relu"), Dropout(0.3), Dense(3)], n_inputs=12) for _ in range(3)]
    whole, parts, given = (Trainer(net, "cross_entropy") for net in nets)
    whole.step(x, codes)
    parts.apply(parts.gradient(x, codes)[1])
    assert_same_bits(parts, whole)
    out = given.forward(x).astype(float)
    chances = np.exp(out - out.max(1, keepdims=True))
    chances /= chances.sum(1, keepdims=True)
    given.step_from(x, (chances - np.eye(3)[codes]) / 30)
    assert_near(given.engine.theta, whole.engine.theta, "float32")


@pytest.mark.parametrize("optimizer", [SGD(0.1), Adam(0.01)], ids=str)
@pytest.mark.parametrize("clip", [None, 0.05])
def test_a_loss_computed_elsewhere_trains_as_the_built_in_one(optimizer, clip, dtype, rng):
    whole, parts = (Trainer(make(dtype), "mse", optimizer, max_grad_norm=clip) for _ in range(2))
    for n in (16, 1, 16):
        x, y = data(rng, n, dtype)
        whole.step(x, y)
        parts.step_from(x, 2 * (parts.forward(x) - y) / y.size)
        assert_near(parts.engine.theta, whole.engine.theta, dtype, 3)
        assert parts.steps == whole.steps


def test_one_row_and_plain_sgd(dtype, rng):
    """The step that goes once through the weights takes dE/d out as well."""
    nets = [Sequential([Dense(6, "tanh"), Dense(2)], n_inputs=4, dtype=dtype) for _ in range(2)]
    whole, parts = (Trainer(net, "mse", SGD(0.1)) for net in nets)
    for _ in range(3):
        x, y = rng.normal(size=(1, 4)).astype(dtype), rng.normal(size=(1, 2)).astype(dtype)
        whole.step(x, y)
        parts.step_from(x, parts.forward(x) - y)
        assert_near(parts.engine.theta, whole.engine.theta, dtype)


def test_forward_has_the_masks_of_the_coming_step(rng):
    trainer = Trainer(make(), seed=5)
    x, y = data(rng, 20, "float32")
    first = trainer.forward(x)
    assert np.array_equal(trainer.forward(x), first)
    assert not np.array_equal(first, trainer.net.predict(x))
    before = trainer.engine.theta.copy()
    trainer.step(x, y)
    trainer.engine.theta[:] = before
    assert not np.array_equal(trainer.forward(x), first)
    trainer.steps = 0
    assert np.array_equal(trainer.forward(x), first)
    first[:] = 0.0  # an array of the caller's own
    assert trainer.forward(x).any()


def test_without_dropout_forward_predicts(dtype, rng):
    net = Sequential([Dense(9, "gelu"), Dense(3)], n_inputs=5, dtype=dtype)
    x = rng.normal(size=(600, 5)).astype(dtype)
    assert np.array_equal(Trainer(net).forward(x), net.predict(x))


def test_step_from_needs_no_forward(rng):
    """The outputs are computed again: neither a forward that is missing nor one of other rows changes a step."""
    x, _ = data(rng, 20, "float32")
    other, grad = data(rng, 8, "float32")[0], rng.normal(size=(20, 2)).astype("float32")
    trainers = [Trainer(make()) for _ in range(3)]
    trainers[0].forward(x)
    trainers[1].forward(other)
    for trainer in trainers:
        trainer.step_from(x, grad)
    assert_same_bits(trainers[1], trainers[0])
    assert_same_bits(trainers[2], trainers[0])


def test_step_from_by_finite_differences(rng):
    """With plain SGD and rate 1, the step is the gradient of sum(grad * out) under the masks of this step."""
    layers = [Dropout(0.2), Dense(6, "gelu"), Dropout(0.4), Dense(2, "tanh")]
    net = Sequential(layers, n_inputs=5, dtype="float64", seed=1)
    trainer = Trainer(net, optimizer=SGD(1.0))
    x, grad = rng.normal(size=(7, 5)), rng.normal(size=(7, 2))
    theta = net.engine.theta.copy()
    trainer.step_from(x, grad)
    step = theta - net.engine.theta
    trainer.steps = 0
    used = np.zeros_like(theta)
    for view in (*net.engine.views(used)[0], *net.engine.views(used)[1]):
        view[...] = 1.0
    for place in np.flatnonzero(used):
        sides = []
        for sign in (1, -1):
            net.engine.theta[:] = theta
            net.engine.theta[place] += sign * 1e-6
            sides.append((grad * trainer.forward(x)).sum())
        assert abs((sides[0] - sides[1]) / 2e-6 - step[place]) < 1e-7


def test_padding_stays_zero(rng):
    """Whoever adds noise to the flat gradient adds it to the padding, too; the parameters' padding must not move."""
    clean, noisy = Trainer(make()), Trainer(make())
    x, y = data(rng, 10, "float32")
    gradient = clean.gradient(x, y)[1]
    padding = np.ones_like(gradient)
    for view in (*clean.engine.views(padding)[0], *clean.engine.views(padding)[1]):
        if view is not None:
            view[...] = 0.0
    assert padding.any()
    clean.apply(gradient)
    noisy.apply(gradient + padding)
    assert_same_bits(noisy, clean)


def test_the_gradient_is_that_of_the_loss(dtype, rng):
    net = Sequential([Dense(9, "gelu", l1=1e-3), Dense(2, l2=1e-2)], n_inputs=NARROW, dtype=dtype)
    x, y = data(rng, 25, dtype)
    trainer = Trainer(net, "log_cosh")
    value, gradient = trainer.gradient(x, y)
    expected, gradients = net.value_and_grad(x, y, "log_cosh")
    assert_near(value, expected, dtype)
    assert_near(gradient, gradients.theta, dtype)
    trainer.apply(gradients.theta)
    assert trainer.steps == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda t, x: t.step_from(x, np.zeros((5, 3))), r"grad must have shape \(5, 2\).*got \(5, 3\)"),
        (lambda t, x: t.step_from(x, np.zeros(5)), r"grad must have shape \(5, 2\)"),
        (
            lambda t, x: t.step_from(x, np.where(np.arange(5)[:, None] == 3, np.nan, np.zeros((5, 2)))),
            "grad holds nan in row 3",
        ),
        (lambda t, x: t.step_from(x[:, :3], np.zeros((5, 2))), "X has 3 columns"),
        (lambda t, x: t.forward(x[:0]), "X has 0 rows"),
        (lambda t, x: t.forward(np.full_like(x, np.inf)), "X holds inf in row 0"),
        (lambda t, x: t.apply(np.zeros(3)), "grad must have the shape of net.engine.theta"),
        (
            lambda t, x: t.apply(np.full_like(t.engine.theta, np.nan)),
            "grad: weights of layer 0 holds nan in row 0",
        ),
        (lambda t, x: t.gradient(x, np.zeros((5, 2)), np.zeros(3)), "out must be a contiguous"),
        (lambda t, x: t.gradient(x, np.zeros((5, 2)), t.engine.theta), "shares no memory"),
        (lambda t, x: t.gradient(x, np.zeros((5, 2)), sample_weight=np.zeros(5)), "sample_weight is zero"),
        (lambda t, x: t.net.pullback(x, np.zeros((4, 2))), r"grad must have shape \(5, 2\)"),
        (
            lambda t, x: t.net.pullback(scipy.sparse.csr_array(x), np.zeros((5, 2))),
            "inputs=True needs a dense x",
        ),
    ],
)
def test_what_does_not_fit_changes_nothing(call, message, rng):
    trainer = Trainer(make())
    x, _ = data(rng, 5, "float32")
    theta = trainer.engine.theta.copy()
    with pytest.raises(ValueError, match=message):
        call(trainer, x)
    assert np.array_equal(trainer.engine.theta, theta)
    assert trainer.steps == 0


def test_text_is_no_gradient(rng):
    trainer = Trainer(make())
    with pytest.raises(TypeError, match="grad must hold real numbers"):
        trainer.step_from(data(rng, 2, "float32")[0], [["a", "b"], ["c", "d"]])


# net.pullback ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [(5, 9, 2), (40, 7, 1), (1, 1), (3, 20, 20, 33)], ids=str)
@pytest.mark.parametrize("n", [1, 7, 300])
def test_pullback_against_the_specification(sizes, n, dtype, rng):
    layers = [
        Layer(units, name) for units, name in zip(sizes[1:], ("gelu", "tanh", "identity"), strict=False)
    ]
    net = random_net(rng, sizes[0], layers, dtype)
    model = Sequential([Dense(layer.units, layer.activation) for layer in layers], sizes[0], dtype)
    model.set_weights(net.engine.weights, net.engine.biases)
    x, grad = rng.normal(size=(n, sizes[0])).astype(dtype), rng.normal(size=(n, sizes[-1])).astype(dtype)
    expected, felt = reference.pullback(net.layers, rows(x), rows(grad))
    got = model.pullback(x, grad)
    assert_same_gradients(got, expected, dtype)
    assert_near(got.inputs, felt, dtype)
    assert model.pullback(x, grad, inputs=False).inputs is None
    assert model.pullback(x, grad, out=got) is got


def test_pullback_of_a_loss_is_its_gradient(dtype, rng):
    net = Sequential([Dense(9, "gelu", l1=1e-3), Dense(2)], n_inputs=NARROW, dtype=dtype)
    x, y = data(rng, 300, dtype)
    _, expected = net.value_and_grad(x, y, "half_squared_error", inputs=True)
    got = net.pullback(x, (net.predict(x) - y) / len(y))
    assert_near(got.inputs, expected.inputs, dtype)
    assert_near(got.weights[1], expected.weights[1], dtype)
    assert_near(got.weights[0] + 1e-3 * np.sign(net.weights[0]), expected.weights[0], dtype)


def test_pullback_against_torch(rng):
    torch = pytest.importorskip("torch")
    net = Sequential([Dense(9, "tanh"), Dense(2)], n_inputs=5, dtype="float64", seed=2)
    x = rng.normal(size=(20, 5))
    inputs = torch.tensor(x, requires_grad=True)
    W = [torch.tensor(np.array(w), requires_grad=True) for w in net.weights]
    b = [torch.tensor(np.array(v), requires_grad=True) for v in net.biases]
    out = torch.tanh(inputs @ W[0] + b[0]) @ W[1] + b[1]
    out.retain_grad()
    (torch.sin(out[:, 0] * out[:, 1]).sum() + out.max()).backward()
    got = net.pullback(x, out.grad.numpy())
    for mine, theirs in zip((*got.weights, *got.biases, got.inputs), (*W, *b, inputs), strict=True):
        assert np.abs(mine - theirs.grad.numpy()).max() < 1e-12
