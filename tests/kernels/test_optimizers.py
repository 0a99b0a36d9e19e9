"""Every update rule over many steps against its twin in reference.py, by enumeration of the kernels' table."""

import math

import numpy as np
import pytest

from fastbp import reference
from fastbp.kernels import optimizers, plan
from fastbp.kernels.optimizers import CODES, SLOTS, TABLE
from fastbp.kernels.plan import network_at
from tests.kernels.oracles import INTERPRETED, Guarded, compiled

# The kernels' name of a rule: the reference's. SGD with momentum keeps a state, so it has a kernel of its own.
TWINS = {name: "sgd" if name == "momentum" else name for name in TABLE}
# Configurations: (kernel's name, hyper-parameters by the reference's names)
CASES = [
    ("sgd", {}),
    ("sgd", {"weight_decay": 0.02}),
    ("momentum", {"momentum": 0.9}),
    ("momentum", {"momentum": 0.8, "nesterov": True, "weight_decay": 0.01}),
    ("momentum", {"momentum": 0.8, "velocity": True}),
    ("momentum", {"momentum": 0.8, "velocity": True, "nesterov": True}),
    ("adagrad", {"eps": 1e-10}),
    ("adagrad", {"eps": 1e-3, "initial_accumulator": 0.1, "weight_decay": 0.05}),
    ("rmsprop", {"alpha": 0.99, "eps": 1e-8}),
    ("rmsprop", {"alpha": 0.9, "eps": 1e-4, "weight_decay": 0.01}),
    ("adam", {"eps": 1e-8}),
    ("adam", {"beta1": 0.5, "beta2": 0.9, "eps": 1e-3, "weight_decay": 0.1}),
    ("adam", {"eps": 1e-4, "eps_inside": False}),
    ("adamw", {"eps": 1e-8, "weight_decay": 0.1}),
    ("nadam", {"eps": 1e-8, "momentum_decay": 0.004}),
    ("nadam", {"beta1": 0.8, "beta2": 0.99, "eps": 1e-5, "momentum_decay": 0.1, "weight_decay": 0.02}),
    ("rprop", {"eta_minus": 0.5, "eta_plus": 1.2, "step_min": 1e-6, "step_max": 50.0}),
    ("rprop", {"eta_minus": 0.3, "eta_plus": 2.0, "step_min": 0.01, "step_max": 0.05}),
]
IDS = [f"{name} {' '.join(f'{k}={v}' for k, v in hyper.items())}".strip() for name, hyper in CASES]
PLACES = {
    "beta1": plan.BETA1,
    "beta2": plan.BETA2,
    "eps": plan.EPS,
    "momentum": plan.MOMENTUM,
    "weight_decay": plan.WEIGHT_DECAY,
    "alpha": plan.ALPHA,
    "momentum_decay": plan.MOMENTUM_DECAY,
    "eta_minus": plan.ETA_MINUS,
    "eta_plus": plan.ETA_PLUS,
    "step_min": plan.STEP_MIN,
    "step_max": plan.STEP_MAX,
}
FLAGS = {"nesterov": plan.NESTEROV, "velocity": plan.VELOCITY, "eps_inside": plan.EPS_INSIDE}


@compiled
def step(words, rate, t, product, coefficients, params, grad, state, start, stop, l1, l2, scale):
    record = network_at(words, 0)
    after = optimizers.coefficients(record, rate, t, product, coefficients)
    optimizers.update(record, coefficients, params, grad, start, state, start, stop, l1, l2, scale)
    return after


@compiled
def norm_squared(params, grad, start, stop, l1, l2):
    return optimizers.norm_squared(params, grad, start, stop, l1, l2)


@compiled
def penalty(params, start, stop, l1, l2):
    return optimizers.penalty(params, start, stop, l1, l2)


class Run:
    """A rule over a block of parameters between guard bands, as the network's kernel drives it."""

    def __init__(self, name, hyper, theta, rate):
        self.size = theta.size
        self.params, self.grad = Guarded(theta), Guarded(np.zeros_like(theta))
        whole = self.params.whole.size
        self.state = np.zeros(max(1, len(SLOTS[name])) * whole, theta.dtype)
        self.plan = np.zeros(plan.HEADER, np.int64)
        numbers = self.plan.view(np.float64)
        self.plan[plan.RULE], self.plan[plan.N_PARAMS] = CODES[name], whole
        self.plan[plan.EPS_INSIDE] = 1
        numbers[plan.BETA1], numbers[plan.BETA2] = 0.9, 0.999
        for key, value in hyper.items():
            if key in FLAGS:
                self.plan[FLAGS[key]] = value
            elif key in PLACES:
                numbers[PLACES[key]] = value
        if name == "adagrad":
            self.state[...] = hyper.get("initial_accumulator", 0.0)
        if name == "rprop":
            self.state[whole:] = rate
        self.coefficients = np.zeros(optimizers.N_COEFFICIENTS)
        self.product, self.t = 1.0, 0

    def step(self, grad, rate, *, l1=0.0, l2=0.0, scale=1.0):
        self.t += 1
        self.grad.content[...] = grad
        first = self.params.start
        self.product = step(
            self.plan, rate, self.t, self.product, self.coefficients, self.params.whole,
            self.grad.whole, self.state, first, first + self.size, l1, l2, scale,
        )  # fmt: skip
        assert self.params.intact() and self.grad.intact()
        return self.params.content


def gradients(rng, size, steps):
    for t in range(steps):
        grad = rng.normal(size=size)
        grad[t % size :: 5] = 0.0
        yield grad


def test_every_rule_has_a_twin():
    assert list(CODES) == list(TABLE)
    assert set(TWINS.values()) == set(reference.RULES)
    assert {name for name, _ in CASES} == set(TABLE)


def test_state_is_what_the_rule_takes():
    """At most two arrays as long as theta: the engine's layout, and checkpoints', rests on these names."""
    assert {name: len(slots) for name, slots in SLOTS.items()} == {
        "sgd": 0, "momentum": 1, "adagrad": 1, "rmsprop": 2, "adam": 2, "adamw": 2, "nadam": 2, "rprop": 2,
    }  # fmt: skip
    for slots in SLOTS.values():
        assert len(set(slots)) == len(slots)
        assert not set(slots) & set(optimizers.PLACE)


@pytest.mark.parametrize(("name", "hyper"), CASES, ids=IDS)
def test_many_steps(name, hyper, dtype, rng):
    size, steps = 32, 6 if INTERPRETED else 25
    theta = rng.normal(size=size).astype(dtype)
    run = Run(name, hyper, theta, 0.05)
    mine, state = theta.astype(float).tolist(), {}
    for t, grad in enumerate(gradients(rng, size, steps), start=1):
        grad = grad.astype(dtype)
        rate = 0.05 / math.sqrt(t) if name != "rprop" else 0.05
        got = run.step(grad, rate)
        mine = reference.RULES[TWINS[name]](mine, grad.astype(float).tolist(), state, t, rate, **hyper)
        assert np.allclose(got, mine, rtol=0, atol=200 * t * np.finfo(dtype).eps)


@pytest.mark.parametrize(("name", "hyper"), CASES, ids=IDS)
def test_penalties_and_clipping(name, hyper, dtype, rng):
    """g = scale (grad + l1 sign + l2 theta), before weight decay; sign(0) is 0."""
    size, l1, l2, scale = 32, 0.03, 0.2, 0.5
    theta = rng.normal(size=size).astype(dtype)
    theta[3] = 0.0
    theta[4] = -0.0
    run = Run(name, hyper, theta, 0.05)
    mine, state = theta.astype(float).tolist(), {}
    for t in range(1, 5):
        grad = rng.normal(size=size).astype(dtype)
        got = run.step(grad, 0.05, l1=l1, l2=l2, scale=scale)
        full = [
            scale * (g + l1 * reference.sign(p) + l2 * p)
            for g, p in zip(grad.astype(float).tolist(), mine, strict=True)
        ]
        mine = reference.RULES[TWINS[name]](mine, full, state, t, 0.05, **hyper)
        assert np.allclose(got, mine, rtol=0, atol=400 * t * np.finfo(dtype).eps)


@pytest.mark.parametrize(("name", "hyper"), CASES, ids=IDS)
def test_padding_stays_zero(name, hyper, dtype, rng):
    """theta = 0 with gradient 0 is what rows are padded with: it must not move, penalties or not."""
    run = Run(name, hyper, np.zeros(32, dtype), 0.05)
    for _ in range(3):
        assert np.all(run.step(np.zeros(32), 0.05, l1=0.1, l2=0.1) == 0.0)


@pytest.mark.parametrize(("name", "hyper"), CASES, ids=IDS)
def test_nan_shows(name, hyper, dtype, rng):
    theta = rng.normal(size=32).astype(dtype)
    clean = Run(name, hyper, theta, 0.05)
    spoiled = Run(name, hyper, theta, 0.05)
    for t in range(2):
        grad = rng.normal(size=32)
        a = clean.step(grad, 0.05).copy()
        if t == 0:
            grad[5] = np.nan
        b = spoiled.step(grad, 0.05).copy()
        assert np.isnan(b[5])
        assert np.array_equal(np.delete(a, 5), np.delete(b, 5))


@pytest.mark.parametrize(("name", "hyper"), CASES, ids=IDS)
def test_a_block_at_a_time_is_the_whole(name, hyper, dtype, rng):
    """Parameters are independent: blocks of any length give the same bits as one loop over all."""
    theta = rng.normal(size=64).astype(dtype)
    whole, pieces = Run(name, hyper, theta, 0.05), Run(name, hyper, theta, 0.05)
    for _ in range(3):
        grad = rng.normal(size=64)
        a = whole.step(grad, 0.05)
        pieces.grad.content[...] = grad
        first = pieces.params.start
        pieces.t += 1
        product = pieces.product
        for begin in (0, 16, 48):
            end = {0: 16, 16: 48, 48: 64}[begin]
            pieces.product = step(
                pieces.plan, 0.05, pieces.t, product, pieces.coefficients, pieces.params.whole,
                pieces.grad.whole, pieces.state, first + begin, first + end, 0.0, 0.0, 1.0,
            )  # fmt: skip
        assert np.array_equal(a, pieces.params.content)


def test_norm(dtype, rng):
    """The squared norm of the gradient with its penalties' part, for clipping."""
    theta, grad = rng.normal(size=(2, 48)).astype(dtype)
    theta[7] = 0.0
    for l1, l2 in ((0.0, 0.0), (0.3, 0.0), (0.2, 0.7)):
        g = grad.astype(float) + l1 * np.sign(theta.astype(float)) + l2 * theta
        assert norm_squared(theta, grad, 0, 48, l1, l2) == pytest.approx(
            float(g @ g), rel=50 * float(np.finfo(dtype).eps)
        )
    inner = grad[16:32].astype(float)
    assert norm_squared(theta, grad, 16, 32, 0.0, 0.0) == pytest.approx(
        float(inner @ inner), rel=50 * float(np.finfo(dtype).eps)
    )
    grad[20] = np.nan
    assert math.isnan(norm_squared(theta, grad, 0, 48, 0.0, 0.0))


def test_penalty(dtype, rng):
    theta = rng.normal(size=48).astype(dtype)
    wide = theta.astype(float)
    for l1, l2 in ((0.5, 0.0), (0.0, 0.25), (0.1, 2.0)):
        want = l1 * np.abs(wide).sum() + 0.5 * l2 * (wide**2).sum()
        assert penalty(theta, 0, 48, l1, l2) == pytest.approx(
            float(want), rel=50 * float(np.finfo(dtype).eps)
        )
    theta[0] = np.nan
    assert math.isnan(penalty(theta, 0, 48, 1.0, 1.0))
