"""Losses, gradients and 60 steps of every optimizer beside torch, on random networks."""

import numpy as np
import pytest

from fastbp import optimizers
from fastbp.layers import ACTIVATION_NAMES, Dense
from fastbp.objectives import OBJECTIVE_NAMES
from fastbp.optimizers import RULE_NAMES, SGD, Adagrad, Adam, AdamW, NAdam, RMSProp, Rprop
from fastbp.schedules import ExponentialDecay
from fastbp.sequential import Sequential
from fastbp.training import Trainer

torch = pytest.importorskip("torch")


ACTIVATIONS = {
    "identity": torch.nn.Identity(),
    "relu": torch.nn.ReLU(),
    "sigmoid": torch.nn.Sigmoid(),
    "tanh": torch.nn.Tanh(),
    "leaky_relu": torch.nn.LeakyReLU(0.01),
    "elu": torch.nn.ELU(),
    "selu": torch.nn.SELU(),
    "gelu": torch.nn.GELU(),
    "silu": torch.nn.SiLU(),
    "softplus": torch.nn.Softplus(),
    "softsign": torch.nn.Softsign(),
    # torch.nn.Hardsigmoid multiplies its gradient by a float32 1/6, also in float64
    "hard_sigmoid": lambda z: torch.clip(z / 6 + 0.5, 0, 1),
    "hard_tanh": torch.nn.Hardtanh(),
    "mish": torch.nn.Mish(),
    "exp": torch.exp,
}


def quantile(q):
    return lambda z, y: torch.maximum(q * (y - z), (q - 1) * (y - z)).mean()


LOSSES = {
    "mse": torch.nn.MSELoss(),
    "mae": torch.nn.L1Loss(),
    "huber": torch.nn.HuberLoss(),
    "huber(0.3)": torch.nn.HuberLoss(delta=0.3),
    "log_cosh": lambda z, y: torch.log(torch.cosh(z - y)).mean(),
    "quantile": quantile(0.5),
    "quantile(0.9)": quantile(0.9),
    "poisson": torch.nn.PoissonNLLLoss(log_input=True, full=False),
    "binary_cross_entropy": torch.nn.BCEWithLogitsLoss(),
    "cross_entropy": torch.nn.CrossEntropyLoss(),
    "half_squared_error": lambda z, y: (0.5 * (z - y) ** 2).sum(1).mean(),
}


class Twin:
    """A torch copy of a `Sequential` without dropout."""

    def __init__(self, net):
        self.dense = net.layers
        self.W = [torch.tensor(np.ascontiguousarray(W), requires_grad=True) for W in net.weights]
        self.b = [None if b is None else torch.tensor(np.array(b), requires_grad=True) for b in net.biases]

    def parameters(self):
        return [p for p in (*self.W, *self.b) if p is not None]

    def __call__(self, x):
        for layer, W, b in zip(self.dense, self.W, self.b, strict=True):
            x = x @ W if b is None else x @ W + b
            x = ACTIVATIONS[layer.activation](x)
        return x

    def penalty(self):
        return sum(
            layer.l1 * W.abs().sum() + layer.l2 * (W**2).sum()
            for layer, W in zip(self.dense, self.W, strict=True)
        )

    def distance(self, net):
        """The largest difference of a parameter, relative to the largest parameter of its array."""
        worst = 0.0
        for mine, theirs in zip((*net.weights, *net.biases), (*self.W, *self.b), strict=True):
            if theirs is not None:
                value = theirs.detach().numpy()
                worst = max(worst, float(np.abs(mine - value).max() / np.abs(value).max()))
        return worst


# Ours, torch's name, torch's arguments. The plain entries check the defaults.
CASES = {
    "sgd": (SGD(0.05), "SGD", {"lr": 0.05}),
    "sgd default": (SGD(), "SGD", {}),
    "sgd momentum": (SGD(0.05, momentum=0.9), "SGD", {"lr": 0.05, "momentum": 0.9}),
    "sgd nesterov": (
        SGD(0.05, momentum=0.9, nesterov=True, weight_decay=1e-2),
        "SGD",
        {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-2},
    ),
    "adagrad": (Adagrad(), "Adagrad", {}),
    "adagrad decay": (
        Adagrad(0.05, initial_accumulator=0.1, weight_decay=1e-2),
        "Adagrad",
        {"lr": 0.05, "initial_accumulator_value": 0.1, "weight_decay": 1e-2},
    ),
    "rmsprop": (RMSProp(), "RMSprop", {}),
    "rmsprop decay": (
        RMSProp(0.003, alpha=0.9, weight_decay=1e-2),
        "RMSprop",
        {"lr": 0.003, "alpha": 0.9, "weight_decay": 1e-2},
    ),
    "adam": (Adam(), "Adam", {}),
    "adam decay": (
        Adam(0.01, beta1=0.8, beta2=0.99, eps=1e-5, weight_decay=1e-2),
        "Adam",
        {"lr": 0.01, "betas": (0.8, 0.99), "eps": 1e-5, "weight_decay": 1e-2},
    ),
    "adamw": (AdamW(), "AdamW", {}),
    "adamw decay": (AdamW(0.01, weight_decay=0.1), "AdamW", {"lr": 0.01, "weight_decay": 0.1}),
    "nadam": (NAdam(), "NAdam", {}),
    "nadam decay": (
        NAdam(0.01, momentum_decay=0.01, weight_decay=1e-2),
        "NAdam",
        {"lr": 0.01, "momentum_decay": 0.01, "weight_decay": 1e-2},
    ),
    "rprop": (Rprop(), "Rprop", {}),
    "rprop other": (
        Rprop(1e-3, eta_minus=0.4, eta_plus=1.3, step_min=1e-4, step_max=0.1),
        "Rprop",
        {"lr": 1e-3, "etas": (0.4, 1.3), "step_sizes": (1e-4, 0.1)},
    ),
}


def targets(loss, n, k, rng, dtype):
    name = loss.partition("(")[0]
    if name == "cross_entropy":
        return rng.integers(0, k, n)
    if name == "binary_cross_entropy":
        return rng.integers(0, 2, (n, k)).astype(dtype)
    if name == "poisson":
        return rng.poisson(2.0, (n, k)).astype(dtype)
    return rng.normal(size=(n, k)).astype(dtype)


def problem(loss, dtype, seed=0, activations=("tanh", "sigmoid"), **dense):
    rng = np.random.default_rng(seed)
    n, i, k = 37, 5, 3
    layers = [*(Dense(int(rng.integers(3, 20)), a, **dense) for a in activations), Dense(k, **dense)]
    net = Sequential(layers, i, dtype=dtype, seed=seed)
    for b in net.biases:
        if b is not None:
            b[...] = rng.normal(scale=0.3, size=b.shape)
    return net, rng.normal(size=(n, i)).astype(dtype), targets(loss, n, k, rng, dtype)


def random_network(seed, dtype):
    rng = np.random.default_rng(seed)
    widths = rng.integers(2, 24, size=rng.integers(1, 4))
    layers = [
        Dense(int(w), str(rng.choice(["tanh", "sigmoid", "softplus"])), use_bias=bool(rng.integers(2)))
        for w in widths
    ]
    return Sequential([*layers, Dense(3, l2=1e-3)], 6, dtype=dtype, seed=seed), rng


def test_everything_has_its_counterpart():
    assert set(ACTIVATIONS) == set(ACTIVATION_NAMES)
    assert {loss.partition("(")[0] for loss in LOSSES} == set(OBJECTIVE_NAMES)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("loss", LOSSES)
def test_loss_and_gradients_are_torchs(loss, dtype):
    rtol = 1e-9 if dtype == "float64" else 3e-4
    net, x, y = problem(loss, dtype, l1=1e-3, l2=1e-2)
    twin = Twin(net)
    tx = torch.tensor(x, requires_grad=True)
    expected = LOSSES[loss](twin(tx), torch.tensor(y)) + twin.penalty()
    expected.backward()
    value, grads = net.value_and_grad(x, y, loss=loss, inputs=True)
    assert value == pytest.approx(expected.item(), rel=rtol)
    assert net.evaluate(x, y, loss=loss) == pytest.approx(expected.item(), rel=rtol)
    pairs = [(grads.inputs, tx.grad)]
    pairs += [(mine, theirs.grad) for mine, theirs in zip(grads.weights, twin.W, strict=True)]
    pairs += [(mine, theirs.grad) for mine, theirs in zip(grads.biases, twin.b, strict=True)]
    for mine, theirs in pairs:
        theirs = theirs.numpy()
        assert mine.shape == theirs.shape
        np.testing.assert_allclose(mine, theirs, rtol=rtol, atol=rtol * np.abs(theirs).max())


@pytest.mark.parametrize("activation", ACTIVATION_NAMES)
def test_activation_gradients_are_torchs(activation):
    net, x, y = problem("mse", "float64", activations=(activation, activation), initializer="normal(0.4)")
    twin = Twin(net)
    tx = torch.tensor(x, requires_grad=True)
    torch.nn.functional.mse_loss(twin(tx), torch.tensor(y)).backward()
    _, grads = net.value_and_grad(x, y, inputs=True)
    for mine, theirs in [
        (grads.inputs, tx.grad),
        *((g, W.grad) for g, W in zip(grads.weights, twin.W, strict=True)),
    ]:
        theirs = theirs.numpy()
        np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-9 * np.abs(theirs).max())


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("case", CASES)
def test_sixty_steps_are_torchs(case, dtype):
    ours, name, arguments = CASES[case]
    for seed in (0, 1):
        net, rng = random_network(seed, dtype)
        twin = Twin(net)
        # foreach and fused variants round differently: the single-tensor code is the formula.
        theirs = getattr(torch.optim, name)(twin.parameters(), foreach=False, **arguments)
        trainer = Trainer(net, loss="mse", optimizer=ours)
        x, y = (rng.normal(size=(64, k)).astype(dtype) for k in (6, 3))
        whole = np.arange(64)
        for _ in range(60):
            batch = (
                whole if name == "Rprop" else rng.permutation(64)[:16]
            )  # signs of mini-batches are mostly noise
            theirs.zero_grad()
            loss = (
                torch.nn.functional.mse_loss(twin(torch.tensor(x[batch])), torch.tensor(y[batch]))
                + twin.penalty()
            )
            loss.backward()
            theirs.step()
            value = trainer.step(x[batch], y[batch])
            assert value == pytest.approx(loss.item(), rel=1e-7 if dtype == "float64" else 3e-4)
        assert twin.distance(net) <= (1e-7 if dtype == "float64" else 3e-4)


def test_every_optimizer_is_compared_with_torch():
    assert {type(case[0]) for case in CASES.values()} == set(optimizers.OPTIMIZERS)
    assert {case[0].rule().kind for case in CASES.values()} == set(RULE_NAMES)


def test_scheduled_steps_are_torchs():
    net, rng = random_network(5, "float64")
    twin = Twin(net)
    theirs = torch.optim.SGD(twin.parameters(), lr=0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(theirs, 0.9)
    trainer = Trainer(net, optimizer=SGD(ExponentialDecay(0.1, 0.9, per="step"), momentum=0.9))
    for _ in range(60):
        x, y = rng.normal(size=(8, 6)), rng.normal(size=(8, 3))
        theirs.zero_grad()
        (torch.nn.functional.mse_loss(twin(torch.tensor(x)), torch.tensor(y)) + twin.penalty()).backward()
        theirs.step()
        scheduler.step()
        trainer.step(x, y)
    assert twin.distance(net) <= 1e-7


def test_clipping_is_torchs():
    net, rng = random_network(6, "float64")
    twin = Twin(net)
    theirs = torch.optim.SGD(twin.parameters(), lr=0.5)
    trainer = Trainer(net, optimizer=SGD(0.5), max_grad_norm=0.1)
    for _ in range(10):
        x, y = rng.normal(size=(8, 6)), rng.normal(size=(8, 3))
        theirs.zero_grad()
        (torch.nn.functional.mse_loss(twin(torch.tensor(x)), torch.tensor(y)) + twin.penalty()).backward()
        torch.nn.utils.clip_grad_norm_(twin.parameters(), 0.1)
        theirs.step()
        trainer.step(x, y)
    assert twin.distance(net) <= 1e-5  # torch divides by norm + 1e-6
