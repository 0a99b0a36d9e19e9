"""The two examples that SimpleChains.jl publishes: one gradient of 24-8-2, and full-batch Adam on 4-32-16-4."""

from __future__ import annotations

from abc import ABC, abstractmethod
from itertools import pairwise
from typing import Any

import numpy as np

from bench.peers.many_models import adam_in_place
from bench.peers.subject import Case
from bench.peers.workloads import ADAM, Array

LEARNING_RATE = 1e-3
NETWORKS = {"gradient-24-8-2": ((24, 8, 2), 200), "adam-4-32-16-4": ((4, 32, 16, 4), 10_000)}


def flops_per_row(name: str) -> int:
    """FLOPs of one row, forward and backward, by the formula of Workload.flops_per_sample."""
    products = [i * o for i, o in pairwise(NETWORKS[name][0])]
    return 4 * sum(products) + 2 * sum(products[1:])


class Chain(ABC):
    """Base: tanh hidden layers, identity outputs (without bias in the first example), mean squared error."""

    check_runs = 3

    def __init__(self, case: Case) -> None:
        self.case = case
        self.sizes, self.n_rows = NETWORKS[case.name]
        self.gradient_only = case.name.startswith("gradient")
        rng = np.random.default_rng(0)
        self.x = rng.standard_normal((self.n_rows, self.sizes[0])).astype(case.dtype)
        self.y = np.tanh(self.x @ rng.standard_normal((self.sizes[0], self.sizes[-1]))).astype(case.dtype)
        self.weights = [
            (rng.standard_normal(s) / np.sqrt(s[0])).astype(case.dtype) for s in pairwise(self.sizes)
        ]
        self.biases = [np.zeros(o, dtype=case.dtype) for o in self.sizes[1:]]
        self.work = float(self.n_rows)
        self.build()

    @abstractmethod
    def build(self) -> None:
        """Make the network."""

    @abstractmethod
    def reset(self) -> None:
        """Initial parameters, fresh optimizer."""

    @abstractmethod
    def run(self, times: int) -> None:
        """Gradients, or steps, `times` over."""

    @abstractmethod
    def loss(self) -> float:
        """Loss at the present parameters."""

    def check(self) -> list[float]:
        """Loss after three runs."""
        self.reset()
        self.run(self.check_runs)
        return [self.loss()]


class Fastbp(Chain):
    """`Sequential.value_and_grad`; a Session whose batch is the whole set."""

    def build(self) -> None:
        """The network."""
        import fastbp

        *hidden, last = self.sizes[1:]
        layers = [fastbp.Dense(units, "tanh") for units in hidden]
        layers.append(fastbp.Dense(last, use_bias=not self.gradient_only))
        self.net = fastbp.Sequential(layers, n_inputs=self.sizes[0], dtype=self.case.dtype)
        self.order = np.arange(self.n_rows)

    def reset(self) -> None:
        """Parameters, and a session for the second example."""
        from fastbp.engine.session import Session
        from fastbp.objectives import Objective
        from fastbp.optimizers import Rule

        biases = [*self.biases[:-1], None] if self.gradient_only else self.biases
        self.net.set_weights(self.weights, biases)
        self.objective = Objective("mse")
        if not self.gradient_only:
            self.session = Session(
                self.net.engine,
                self.objective,
                Rule("adam", **ADAM),
                batch_size=self.n_rows,
                n_threads=self.case.threads,
            )

    def run(self, times: int) -> None:
        """As many calls."""
        if self.gradient_only:
            call, x, y, objective = self.net.engine.value_and_grad, self.x, self.y, self.objective
            for _ in range(times):
                call(x, y, objective)
        else:
            for _ in range(times):
                self.session.run(self.x, self.y, self.order, LEARNING_RATE)

    def loss(self) -> float:
        """By the engine."""
        return float(self.net.engine.loss(self.x, self.y, self.objective))


class NumpyHand(Chain):
    """The textbook in NumPy."""

    def build(self) -> None:
        """Nothing to build."""

    def reset(self) -> None:
        """Copies of the initial parameters."""
        depth = len(self.weights)
        self.theta = [*(w.copy() for w in self.weights), *(b.copy() for b in self.biases)]
        self.m = [np.zeros_like(p) for p in self.theta]
        self.v = [np.zeros_like(p) for p in self.theta]
        self.t, self.depth = 0, depth

    def forward(self) -> list[Array]:
        """Outputs of every layer, the rows first."""
        a = [self.x]
        for level in range(self.depth):
            z = a[-1] @ self.theta[level]
            z += self.theta[self.depth + level]
            a.append(np.tanh(z, out=z) if level < self.depth - 1 else z)
        return a

    def gradient(self) -> list[Array]:
        """In the order of theta."""
        a = self.forward()
        delta = (a[-1] - self.y) * self.x.dtype.type(2 / self.y.size)
        weights, biases = [], []
        for level in range(self.depth - 1, -1, -1):
            weights.append(a[level].T @ delta)
            biases.append(delta.sum(axis=0))
            if level:
                delta = (delta @ self.theta[level].T) * (1 - a[level] * a[level])
        return weights[::-1] + biases[::-1]

    def run(self, times: int) -> None:
        """Gradients, or Adam steps."""
        for _ in range(times):
            grads = self.gradient()
            if not self.gradient_only:
                self.t += 1
                adam_in_place(self.theta, grads, self.m, self.v, self.t, LEARNING_RATE)

    def loss(self) -> float:
        """Mean over all elements."""
        return float(np.mean((self.forward()[-1] - self.y) ** 2))


class Jax(Chain):
    """One jitted call per gradient; many Adam steps inside one jitted loop."""

    def build(self) -> None:
        """Compile both."""
        import jax
        import jax.numpy as jnp

        from bench.peers.jax_peers import adam

        self.jax = jax
        data = jnp.asarray(self.x), jnp.asarray(self.y)

        def loss(params: Any) -> Any:
            a, y = data
            for W, b in params[:-1]:
                a = jnp.tanh(a @ W + b)
            W, b = params[-1]
            return jnp.mean((a @ W + (0 if self.gradient_only else b) - y) ** 2)

        def step(_: Any, state: Any) -> Any:
            params, m, v, t = state
            return (*adam(params, jax.grad(loss)(params), m, v, t + 1, LEARNING_RATE), t + 1)

        self.value = jax.jit(loss)
        self.value_and_grad = jax.jit(jax.value_and_grad(loss))
        self.steps = jax.jit(lambda state, times: jax.lax.fori_loop(0, times, step, state))

    def reset(self) -> None:
        """Initial state."""
        jnp, tree = self.jax.numpy, self.jax.tree_util.tree_map
        params = [(jnp.asarray(W), jnp.asarray(b)) for W, b in zip(self.weights, self.biases, strict=True)]
        zeros = tree(jnp.zeros_like, params)
        self.state = (params, zeros, zeros, jnp.zeros((), self.case.dtype))

    def run(self, times: int) -> None:
        """The clock waits for the results."""
        if self.gradient_only:
            for _ in range(times):
                self.jax.block_until_ready(self.value_and_grad(self.state[0]))
        else:
            self.state = self.jax.block_until_ready(self.steps(self.state, times))

    def loss(self) -> float:
        """At the present parameters."""
        return float(self.value(self.state[0]))
