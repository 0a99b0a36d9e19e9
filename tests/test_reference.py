"""The specification against three independent oracles: finite differences, PyTorch, and closed forms by hand."""

import dataclasses
import doctest
import inspect
import math

import numpy as np
import pytest

from fastbp import reference as ref
from fastbp.engine import Engine
from fastbp.engine.session import Session
from fastbp.kernels import activations, losses, optimizers
from fastbp.layers import ACTIVATION_NAMES, Layer
from fastbp.objectives import OBJECTIVE_NAMES, Objective
from fastbp.optimizers import RULE_NAMES, Rule
from tests.entries import WORDS, other, read, targets, torch_activation, torch_loss, torch_optimizer

SMOOTH_POINTS = [-30.0, -4.0, -2.2, -0.7, -1e-3, 1e-3, 0.4, 1.3, 2.9, 3.5, 30.0]
KINKS = [-3.0, -1.0, 0.0, 1.0, 3.0]


def numerical(f, x, step=1e-6):
    """Central difference."""
    return (f(x + step) - f(x - step)) / (2 * step)


# Hyper-parameters that are not the defaults, by the entry's name.
HYPER = [
    *((name, {}) for name in ref.RULES),
    ("sgd", {"momentum": 0.9, "weight_decay": 0.01}),
    ("sgd", {"momentum": 0.9, "nesterov": True}),
    ("adagrad", {"weight_decay": 0.01, "eps": 1e-10}),
    ("adagrad", {"initial_accumulator": 0.1}),
    ("rmsprop", {"alpha": 0.9, "weight_decay": 0.01}),
    ("adam", {"weight_decay": 0.01}),
    ("adam", {"beta1": 0.8, "beta2": 0.95, "eps": 1e-3}),
    ("adamw", {"weight_decay": 0.1}),
    ("nadam", {"weight_decay": 0.01}),
]


def random_network(rng, sizes, activation, use_bias=True):
    layers = []
    for fan_in, fan_out in zip(sizes[:-1], sizes[1:], strict=True):
        W = rng.normal(size=(fan_in, fan_out)).tolist()
        layers.append(ref.Layer(W, rng.normal(size=fan_out).tolist() if use_bias else None, activation))
    return layers


def target_for(loss, rng, n, k):
    return targets(loss, rng, n, k).tolist()


def test_doctests():
    result = doctest.testmod(ref)
    assert result.attempted > 20
    assert result.failed == 0


@pytest.mark.parametrize("name", ref.ACTIVATIONS)
@pytest.mark.parametrize("z", SMOOTH_POINTS)
def test_activation_derivative(name, z):
    f, f_prime, *_ = ref.ACTIVATIONS[name]
    expected = numerical(f, z, 1e-5)
    assert f_prime(z) == pytest.approx(expected, rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("name", ref.ACTIVATIONS)
def test_activation_is_torchs_kinks_included(name):
    torch = pytest.importorskip("torch")
    f, f_prime, *_ = ref.ACTIVATIONS[name]
    points = SMOOTH_POINTS + KINKS
    z = torch.tensor(points, dtype=torch.float64, requires_grad=True)
    a = torch_activation(name)(z)
    a.sum().backward()
    # torch's softplus is linear beyond 20, where the exact one differs by 2e-9
    assert [f(p) for p in points] == pytest.approx(a.tolist(), rel=1e-12, abs=3e-9)
    assert [f_prime(p) for p in points] == pytest.approx(z.grad.tolist(), rel=1e-7, abs=3e-9)


@pytest.mark.parametrize("name", ref.ACTIVATIONS)
@pytest.mark.parametrize("z", [-4.0, -2.1, -0.3, 0.6, 1.7, 5.0])
def test_activation_formulas_are_true(name, z):
    """What people read is what is computed, to the digits of the constants that are written."""
    entry = ref.ACTIVATIONS[name]
    known = {**WORDS, "z": z, "a": entry.f(z)}
    assert read(entry.formula, known) == pytest.approx(entry.f(z), rel=1e-4, abs=1e-6)
    assert read(entry.derivative, known) == pytest.approx(entry.f_prime(z), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("name", sorted({*ref.LOSSES} - {"cross_entropy"}))
@pytest.mark.parametrize("z", [-4.0, 0.3, 2.0])
def test_loss_formulas_are_true(name, z):
    entry = ref.LOSSES[name]
    symbols = {entry.parameter.symbol: entry.parameter.default} if entry.parameter else {}
    known = {**WORDS, **symbols, "z": z, "y": 1.0}
    arguments = z, 1.0, *(symbols.values() or (0.0,))
    assert read(entry.formula, dict(known)) == pytest.approx(entry.element(*arguments))
    assert read(entry.derivative, dict(known)) == pytest.approx(entry.slope(*arguments))


@pytest.mark.parametrize("name", ref.ACTIVATIONS)
def test_activation_limits(name):
    f, f_prime, *_ = ref.ACTIVATIONS[name]
    assert math.isnan(f(math.nan))
    assert all(math.isfinite(v) for v in (f(-700.0), f_prime(-700.0), f(700.0), f_prime(700.0)))


@pytest.mark.parametrize(
    ("name", "z", "value"),
    [
        ("sigmoid", math.log(3.0), 0.75),
        ("tanh", 0.5 * math.log(3.0), 0.5),
        ("elu", -math.log(2.0), -0.5),
        ("silu", math.log(3.0), 0.75 * math.log(3.0)),
        ("softplus", math.log(math.e - 1.0), 1.0),
        ("softsign", -3.0, -0.75),
        ("hard_sigmoid", 1.5, 0.75),
        ("mish", math.log(math.e - 1.0), math.log(math.e - 1.0) * math.tanh(1.0)),
        ("leaky_relu", -2.0, -0.02),
        ("exp", 1000.0, math.inf),
    ],
)
def test_activation_closed_form(name, z, value):
    assert ref.ACTIVATIONS[name].f(z) == pytest.approx(value, rel=1e-14)


def test_selu_keeps_mean_zero_and_variance_one():
    # What its two constants are for (Klambauer et al., 2017): by quadrature over the standard normal distribution.
    nodes, weights = np.polynomial.hermite_e.hermegauss(200)
    a = np.array([ref.ACTIVATIONS["selu"].f(z) for z in nodes])
    p = weights / weights.sum()
    assert p @ a == pytest.approx(0.0, abs=1e-3)
    assert p @ a**2 == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("name", ref.LOSSES)
def test_loss_derivative(name, rng):
    loss = ref.LOSSES[name]
    z = rng.normal(size=4).tolist()
    (y,) = target_for(name, rng, 1, 4)
    delta = loss.delta(z, y)
    for k in range(4):
        expected = numerical(lambda v, k=k: loss.value([*z[:k], v, *z[k + 1 :]], y), z[k])
        assert delta[k] == pytest.approx(expected, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("name", ref.LOSSES)
def test_loss_is_torchs(name, rng):
    torch = pytest.importorskip("torch")
    z = rng.normal(size=(5, 3))
    y = target_for(name, rng, 5, 3)
    t = torch.tensor(z, requires_grad=True)
    value = torch_loss(name)(t, torch.tensor(y, dtype=torch.float64))
    value.backward()
    loss = ref.LOSSES[name]
    rows = list(zip(z.tolist(), y, strict=True))
    assert sum(loss.value(a, b) for a, b in rows) / 5 == pytest.approx(value.item(), rel=1e-12)
    for (a, b), expected in zip(rows, t.grad.numpy(), strict=True):
        assert np.array(loss.delta(a, b)) / 5 == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(
    ("name", "parameter"), [(name, other(name)) for name in ref.LOSSES if other(name)], ids=str
)
def test_loss_parameter(name, parameter):
    loss = ref.LOSSES[name]
    for z in (-2.0, -0.1, 0.2, 5.0):
        expected = numerical(lambda v: loss.value([v], [0.0], parameter), z)
        assert loss.delta([z], [0.0], parameter) == pytest.approx([expected], rel=1e-6)
    assert loss.value([5.0], [0.0], parameter) != loss.value([5.0], [0.0])


def test_loss_at_the_target_is_flat():
    for loss in ref.LOSSES.values():
        if loss.activation != "identity":
            continue  # z is no prediction of y
        assert loss.value([1.5], [1.5]) == 0.0
        assert loss.delta([1.5], [1.5]) == [0.0]


def test_cross_entropy_takes_a_class_code():
    loss = ref.LOSSES["cross_entropy"]
    z = [0.3, -1.0, 2.0]
    assert loss.value(z, 2) == loss.value(z, [0.0, 0.0, 1.0])
    assert loss.delta(z, 2) == loss.delta(z, [0.0, 0.0, 1.0])
    assert loss.value([1000.0, 0.0], 1) == 1000.0


def test_losses_of_scikit_learn(rng):
    base = pytest.importorskip("sklearn.neural_network._base")
    z, y = rng.normal(size=(6, 3)), rng.integers(0, 5, size=(6, 3)).astype(float)

    def mean(name, y, extra=lambda row: 0.0, **flavor):
        rows = zip(z.tolist(), y.tolist(), strict=True)
        return sum(ref.LOSSES[name].value(a, b, **flavor) + extra(b) for a, b in rows) / 6

    poisson = mean("poisson", y, lambda row: sum(map(ref.poisson_constant, row)), summed=True)
    assert poisson == pytest.approx(base.poisson_loss(y, np.exp(z)), rel=1e-12)
    assert mean("half_squared_error", y, summed=False) == pytest.approx(base.squared_loss(y, z), rel=1e-12)
    labels = (y > 2).astype(float)
    p = 1 / (1 + np.exp(-z))
    log_loss = mean("binary_cross_entropy", labels, summed=True)
    assert log_loss == pytest.approx(base.binary_log_loss(labels, p), rel=1e-12)
    sure = np.array([[0.0, 1.0]])
    clip = float(np.finfo(np.float64).eps)
    expected = base.log_loss(np.array([[1.0, 0.0]]), sure)
    assert -ref.clipped_log(sure[0, 0], clip) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("activation", ref.ACTIVATIONS)
@pytest.mark.parametrize("use_bias", [True, False])
def test_gradients_against_finite_differences(activation, use_bias, rng):
    layers = random_network(rng, (3, 4, 2), activation, use_bias)
    layers = [layer._replace(l1=0.01, l2=0.02) for layer in layers]
    X, Y = rng.normal(size=(3, 3)).tolist(), rng.normal(size=(3, 2)).tolist()
    weights = [1.0, 0.0, 2.5]
    masks = [[ref.dropout_mask([1, 0, 1, 1], 0.25), None]] * 3

    def energy(theta, X=X):
        new = ref.unflatten(theta, layers)
        return ref.value_and_grad(new, X, Y, "mse", sample_weight=weights, masks=masks)[0]

    theta = ref.flatten(layers)
    value, gradients, felt = ref.value_and_grad(layers, X, Y, "mse", sample_weight=weights, masks=masks)
    assert value == energy(theta)
    grad = ref.flatten(gradients)
    assert len(grad) == len(theta) == (26 if use_bias else 20)
    for i in range(len(theta)):
        expected = numerical(lambda v, i=i: energy([*theta[:i], v, *theta[i + 1 :]]), theta[i])
        assert grad[i] == pytest.approx(expected, rel=2e-5, abs=1e-7)
    for r in range(3):
        for i in range(3):

            def moved(v, r=r, i=i):
                return energy(theta, [[*x[:i], v, *x[i + 1 :]] if k == r else x for k, x in enumerate(X)])

            assert felt[r][i] == pytest.approx(numerical(moved, X[r][i]), rel=2e-5, abs=1e-7)


@pytest.mark.parametrize("loss", ref.LOSSES)
def test_gradients_against_torch(loss, rng):
    torch = pytest.importorskip("torch")
    layers = random_network(rng, (3, 4, 2), "tanh")
    X, Y = rng.normal(size=(5, 3)).tolist(), target_for(loss, rng, 5, 2)
    a = torch.tensor(X, dtype=torch.float64, requires_grad=True)
    x = a
    parameters = []
    for layer in layers:
        pair = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (layer.W, layer.b)]
        parameters += pair
        a = torch.tanh(a @ pair[0] + pair[1])
    expected = torch_loss(loss)(a, torch.tensor(Y, dtype=torch.float64))
    expected.backward()
    value, gradients, felt = ref.value_and_grad(layers, X, Y, loss)
    assert value == pytest.approx(expected.item(), rel=1e-12)
    assert np.array(felt) == pytest.approx(x.grad.numpy(), rel=1e-9, abs=1e-12)
    for mine, theirs in zip([v for pair in gradients for v in pair], parameters, strict=True):
        assert np.array(mine) == pytest.approx(theirs.grad.numpy(), rel=1e-9, abs=1e-12)


def test_an_error_is_felt_through_every_edge():
    """Text B's Y2, Y3: a unit that feeds two others feels the sum of both."""
    layers = [ref.Layer([[1.0]]), ref.Layer([[2.0, 3.0]])]
    deltas, _, felt = ref.backward(layers, [1.0], ref.forward(layers, [1.0]), [10.0, 100.0])
    assert deltas == [[320.0], [10.0, 100.0]]
    assert felt == [320.0]


def test_linear_regression_in_closed_form(rng):
    """One layer, mse: dW = 2 X' (X w + b - y) / n."""
    X, y, w, b = rng.normal(size=(7, 3)), rng.normal(size=(7, 1)), rng.normal(size=(3, 1)), 0.7
    layers = [ref.Layer(w.tolist(), [b])]
    value, ((dW, db),), _ = ref.value_and_grad(layers, X.tolist(), y.tolist(), "mse")
    residual = X @ w + b - y
    assert value == pytest.approx(float(np.mean(residual**2)))
    assert np.array(dW) == pytest.approx(2 * X.T @ residual / 7)
    assert db == pytest.approx([float(2 * residual.mean())])


def test_sample_weights_are_repetitions(rng):
    layers = random_network(rng, (2, 2, 1), "tanh")
    X, Y = rng.normal(size=(3, 2)).tolist(), rng.normal(size=(3, 1)).tolist()
    weighted = ref.value_and_grad(layers, X, Y, sample_weight=[1.0, 2.0, 0.0])
    repeated = ref.value_and_grad(layers, [X[0], X[1], X[1]], [Y[0], Y[1], Y[1]])
    assert weighted[0] == pytest.approx(repeated[0])
    assert ref.flatten(weighted[1]) == pytest.approx(ref.flatten(repeated[1]))


@pytest.mark.parametrize(("name", "hyper"), HYPER, ids=str)
def test_rule_is_torchs_step_by_step(name, hyper, rng):
    torch = pytest.importorskip("torch")
    start = rng.normal(size=5)
    p = torch.tensor(start.copy(), requires_grad=True)
    peer = torch_optimizer(name, [p], learning_rate=0.05, **hyper)
    theta, state = start.tolist(), {}
    for t in range(1, 12):
        grad = rng.normal(size=5)
        grad[t % 5] = 0.0
        p.grad = torch.tensor(grad)
        peer.step()
        theta = ref.RULES[name](theta, grad.tolist(), state, t, 0.05, **hyper)
        # torch's nadam forms its momentum schedule in float32
        assert theta == pytest.approx(p.tolist(), rel=1e-6 if name == "nadam" else 1e-12)


@pytest.mark.parametrize("nesterov", [True, False])
def test_sgd_and_adam_are_scikit_learns(nesterov, rng):
    peers = pytest.importorskip("sklearn.neural_network._stochastic_optimizers")
    start = rng.normal(size=4)
    parameters = {"sgd": [start.copy()], "adam": [start.copy()]}
    sgd = peers.SGDOptimizer(parameters["sgd"], 0.1, "constant", momentum=0.9, nesterov=nesterov)
    adam = peers.AdamOptimizer(parameters["adam"], 0.01)
    mine, state = {"sgd": start.tolist(), "adam": start.tolist()}, {"sgd": {}, "adam": {}}
    for t in range(1, 10):
        grad = rng.normal(size=4)
        sgd.learning_rate_init = sgd.learning_rate = (
            0.1 / t
        )  # the two forms of momentum differ only when lr changes
        sgd.update_params(parameters["sgd"], [grad])
        adam.update_params(parameters["adam"], [grad])
        for name, lr, hyper in (
            ("sgd", 0.1 / t, {"momentum": 0.9, "nesterov": nesterov, "velocity": True}),
            ("adam", 0.01, {"eps_inside": False}),
        ):
            mine[name] = ref.RULES[name](mine[name], grad.tolist(), state[name], t, lr, **hyper)
            assert mine[name] == pytest.approx(parameters[name][0].tolist(), rel=1e-12)


def test_two_forms_of_momentum_agree_while_the_rate_is_constant(rng):
    for nesterov in (False, True):
        a = b = [1.0, -2.0]
        state_a, state_b = {}, {}
        for t in range(1, 8):
            grad = rng.normal(size=2).tolist()
            a = ref.RULES["sgd"](a, grad, state_a, t, 0.1, momentum=0.9, nesterov=nesterov)
            b = ref.RULES["sgd"](b, grad, state_b, t, 0.1, momentum=0.9, nesterov=nesterov, velocity=True)
            assert a == pytest.approx(b)


def test_clipping_is_torchs(rng):
    torch = pytest.importorskip("torch")
    for scale in (0.01, 10.0):
        grad = (scale * rng.normal(size=6)).tolist()
        p = torch.zeros(6, dtype=torch.float64, requires_grad=True)
        p.grad = torch.tensor(grad, dtype=torch.float64)
        torch.nn.utils.clip_grad_norm_([p], 1.0)
        assert ref.clip_by_global_norm(grad, 1.0) == pytest.approx(p.grad.tolist(), rel=1e-12)


def test_training_step_clips_before_the_rule():
    layers, x, y = ref.example()
    for bound, same in ((1e-3, False), (1e3, True)):
        clipped, _ = ref.train_step(layers, [x], [y], {}, 1, 0.5, max_grad_norm=bound)
        free, _ = ref.train_step(layers, [x], [y], {}, 1, 0.5)
        assert (ref.flatten(clipped) == pytest.approx(ref.flatten(free))) == same


@pytest.mark.parametrize("rule", ref.RULES)
def test_training_brings_the_example_to_its_target(rule):
    layers, x, y = ref.example()
    state = {}
    first = last = math.nan
    for t in range(1, 60):
        layers, last = ref.train_step(layers, [x], [y], state, t, 0.05, rule=rule)
        first = last if t == 1 else first
    assert last < first


def engine_and_layers(rng, sizes, activation, **extra):
    """The same random network for the compiled engine and for the specification."""
    plan = [Layer(units, activation, **extra) for units in sizes[1:]]
    net = Engine(sizes[0], plan, np.dtype(np.float64))
    layers = [
        layer._replace(l1=extra.get("l1", 0.0), l2=extra.get("l2", 0.0))
        for layer in random_network(rng, sizes, activation)
    ]
    net.set_parameters([np.array(layer.W) for layer in layers], [np.array(layer.b) for layer in layers])
    return net, layers


def test_the_engine_has_the_same_tables():
    """Names come from the specification, codes from the kernels: neither has an entry that the other lacks."""
    assert set(activations.CODES) == set(ref.ACTIVATIONS) == set(ACTIVATION_NAMES)
    assert set(losses.CODES) == set(ref.LOSSES) == set(OBJECTIVE_NAMES)
    # The kernels have SGD with momentum as a rule of its own, since it keeps a state.
    assert set(optimizers.CODES) == {*ref.RULES, "momentum"}
    assert set(RULE_NAMES) == set(ref.RULES)


@pytest.mark.parametrize("activation", ref.ACTIVATIONS)
@pytest.mark.parametrize("loss", ref.LOSSES)
def test_the_engine_computes_the_specification(activation, loss, rng):
    net, layers = engine_and_layers(rng, (2, 3, 2), activation, l1=0.01, l2=0.02)
    X, Y, w = rng.normal(size=(4, 2)), np.array(target_for(loss, rng, 4, 2)), rng.uniform(0, 2, 4)
    parameter = other(loss)
    value, grads = net.value_and_grad(X, Y, Objective(loss, parameter), sample_weight=w, inputs=True)
    expected, gradients, felt = ref.value_and_grad(
        layers, X.tolist(), Y.tolist(), loss, parameter, w.tolist()
    )
    assert value == pytest.approx(expected, rel=1e-12)
    assert grads.inputs == pytest.approx(np.array(felt), rel=1e-10, abs=1e-13)
    for (dW, db), their_dW, their_db in zip(gradients, grads.weights, grads.biases, strict=True):
        assert their_dW == pytest.approx(np.array(dW), rel=1e-10, abs=1e-13)
        assert their_db == pytest.approx(np.array(db), rel=1e-10, abs=1e-13)


@pytest.mark.parametrize("kind", ref.RULES)
@pytest.mark.parametrize("max_grad_norm", [None, 0.1])
def test_the_engine_takes_the_steps_of_the_specification(kind, max_grad_norm, rng):
    net, layers = engine_and_layers(rng, (2, 3, 1), "tanh")
    rule = Rule(kind=kind)
    known = inspect.signature(ref.RULES[kind].rule).parameters
    hyper = {name: value for name, value in dataclasses.asdict(rule).items() if name in known}
    session = Session(net, Objective("mse"), rule, batch_size=4, max_grad_norm=max_grad_norm)
    X, Y, state = rng.normal(size=(4, 2)), rng.normal(size=(4, 1)), {}
    for t in range(1, 9):
        session.run(X, Y, np.arange(4), 0.05)
        layers, _ = ref.train_step(
            layers, X.tolist(), Y.tolist(), state, t, 0.05, "mse", kind, max_grad_norm, **hyper
        )
    for layer, W, b in zip(layers, net.weights, net.biases, strict=True):
        assert np.array(layer.W) == pytest.approx(W, rel=1e-9, abs=1e-12)
        assert np.array(layer.b) == pytest.approx(b, rel=1e-9, abs=1e-12)


def test_pullback_by_finite_differences():
    """Of E = sum of c out, which no loss knows; masks included."""
    rng = np.random.default_rng(5)
    layers = [
        ref.Layer(rng.normal(size=(3, 4)).tolist(), rng.normal(size=4).tolist(), "gelu", l1=0.1),
        ref.Layer(rng.normal(size=(4, 2)).tolist(), None, "tanh", l2=0.1),
    ]
    X, C = rng.normal(size=(5, 3)).tolist(), rng.normal(size=(5, 2)).tolist()
    masks = [[ref.dropout_mask(rng.integers(0, 2, 4).tolist(), 0.5), None] for _ in X]

    def energy(theta, X):
        new = ref.unflatten(theta, layers)
        outputs = [ref.forward(new, x, mask)[-1][1] for x, mask in zip(X, masks, strict=True)]
        return sum(c * a for row, out in zip(C, outputs, strict=True) for c, a in zip(row, out, strict=True))

    gradients, felt = ref.pullback(layers, X, C, masks)
    theta, flat = ref.flatten(layers), ref.flatten(gradients)
    for place in range(len(theta)):
        sides = [energy([v + sign * 1e-6 * (k == place) for k, v in enumerate(theta)], X) for sign in (1, -1)]
        assert abs((sides[0] - sides[1]) / 2e-6 - flat[place]) < 1e-7
    for r in range(5):
        for i in range(3):
            moved = [
                [[v + sign * 1e-6 * ((k, j) == (r, i)) for j, v in enumerate(x)] for k, x in enumerate(X)]
                for sign in (1, -1)
            ]
            slope = (energy(theta, moved[0]) - energy(theta, moved[1])) / 2e-6
            assert abs(slope - felt[r][i]) < 1e-7
