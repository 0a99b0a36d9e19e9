"""Losses, gradients and 60 steps of every optimizer beside torch, on random networks."""

import dataclasses

import numpy as np
import pytest

from fastbp import optimizers
from fastbp.layers import ACTIVATION_NAMES, Dense
from fastbp.optimizers import SGD, Adagrad, Adam, AdamW, NAdam, RMSProp, Rprop
from fastbp.schedules import ExponentialDecay
from fastbp.sequential import Sequential
from fastbp.training import Trainer
from tests.entries import targets, torch_activation, torch_loss, torch_optimizer, with_parameters

torch = pytest.importorskip("torch")


LOSSES = with_parameters()


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
            if (
                layer.activation == "hard_sigmoid"
            ):  # torch's multiplies its gradient by a float32 1/6, also in float64
                x = torch.clip(x / 6 + 0.5, 0, 1)
            else:
                x = torch_activation(layer.activation)(x)
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


# Optimizers that differ from their defaults; torch gets the same fields.
OTHERS = [
    SGD(0.05),
    SGD(0.05, momentum=0.9),
    SGD(0.05, momentum=0.9, nesterov=True, weight_decay=1e-2),
    Adagrad(0.05, initial_accumulator=0.1, weight_decay=1e-2),
    RMSProp(0.003, alpha=0.9, weight_decay=1e-2),
    Adam(0.01, beta1=0.8, beta2=0.99, eps=1e-5, weight_decay=1e-2),
    AdamW(0.01, weight_decay=0.1),
    NAdam(0.01, momentum_decay=0.01, weight_decay=1e-2),
    Rprop(1e-3, eta_minus=0.4, eta_plus=1.3, step_min=1e-4, step_max=0.1),
]
# The plain entries check the defaults: torch gets no arguments.
CASES = [
    *(pytest.param(name, kind(), {}, id=name) for name, kind in optimizers.OPTIMIZERS.items()),
    *(pytest.param(one.rule().kind, one, dataclasses.asdict(one), id=str(one)) for one in OTHERS),
]


def problem(loss, dtype, seed=0, activations=("tanh", "sigmoid"), **dense):
    rng = np.random.default_rng(seed)
    n, i, k = 37, 5, 3
    layers = [*(Dense(int(rng.integers(3, 20)), a, **dense) for a in activations), Dense(k, **dense)]
    net = Sequential(layers, i, dtype=dtype, seed=seed)
    for b in net.biases:
        if b is not None:
            b[...] = rng.normal(scale=0.3, size=b.shape)
    return net, rng.normal(size=(n, i)).astype(dtype), targets(loss, rng, n, k, dtype, codes=True)


def random_network(seed, dtype):
    rng = np.random.default_rng(seed)
    widths = rng.integers(2, 24, size=rng.integers(1, 4))
    layers = [
        Dense(int(w), str(rng.choice(["tanh", "sigmoid", "softplus"])), use_bias=bool(rng.integers(2)))
        for w in widths
    ]
    return Sequential([*layers, Dense(3, l2=1e-3)], 6, dtype=dtype, seed=seed), rng


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("loss", LOSSES)
def test_loss_and_gradients_are_torchs(loss, dtype):
    rtol = 1e-9 if dtype == "float64" else 3e-4
    net, x, y = problem(loss, dtype, l1=1e-3, l2=1e-2)
    twin = Twin(net)
    tx = torch.tensor(x, requires_grad=True)
    expected = torch_loss(loss)(twin(tx), torch.tensor(y)) + twin.penalty()
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
@pytest.mark.parametrize(("name", "ours", "arguments"), CASES)
def test_sixty_steps_are_torchs(name, ours, arguments, dtype):
    for seed in (0, 1):
        net, rng = random_network(seed, dtype)
        twin = Twin(net)
        theirs = torch_optimizer(name, twin.parameters(), **arguments)
        trainer = Trainer(net, loss="mse", optimizer=ours)
        x, y = (rng.normal(size=(64, k)).astype(dtype) for k in (6, 3))
        whole = np.arange(64)
        for _ in range(60):
            batch = (
                whole if name == "rprop" else rng.permutation(64)[:16]
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
