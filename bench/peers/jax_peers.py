"""JAX at its fastest: one `jit` around a `lax.scan` over the whole epoch, parameters donated."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from bench.peers.subject import Training
from bench.peers.workloads import ADAM, MOMENTUM, Array

Params = list[tuple[jax.Array, jax.Array]]


def network(params: Params, x: jax.Array, activation: str) -> jax.Array:
    """Outputs of the network, shape (n, sizes[-1])."""
    f = jax.nn.relu if activation == "relu" else jnp.tanh
    for W, b in params[:-1]:
        x = f(x @ W + b)
    W, b = params[-1]
    return x @ W + b


def mean_loss(params: Params, x: jax.Array, y: jax.Array, activation: str, loss: str) -> jax.Array:
    """Loss of one batch; y one-hot (n, classes) for cross-entropy, else (n,)."""
    z = network(params, x, activation)
    if loss == "mse":
        return jnp.mean((z[:, 0] - y) ** 2)
    return -jnp.mean(jnp.sum(y * jax.nn.log_softmax(z), axis=1))


def adam(params: Any, grads: Any, m: Any, v: Any, t: jax.Array, learning_rate: float) -> tuple[Any, Any, Any]:
    """One Adam step over pytrees (Kingma and Ba 2015), with the bias corrections folded into two scalars."""
    beta1, beta2 = ADAM["beta1"], ADAM["beta2"]
    tree = jax.tree_util.tree_map
    m = tree(lambda m, g: beta1 * m + (1 - beta1) * g, m, grads)
    v = tree(lambda v, g: beta2 * v + (1 - beta2) * g * g, v, grads)
    step, scale = learning_rate / (1 - beta1**t), 1 / (1 - beta2**t)
    params = tree(lambda p, m, v: p - step * m / (jnp.sqrt(v * scale) + ADAM["eps"]), params, m, v)
    return params, m, v


class JaxScan(Training):
    """The scan gathers each batch inside its body."""

    gather_first = False
    unroll = 1

    def build(self) -> None:
        """Put the data on the device and compile the epoch ahead of time."""
        w = self.task.workload
        self.x = jnp.asarray(self.task.x)
        y = self.task.y
        if w.loss == "cross_entropy":
            y = np.eye(w.sizes[-1], dtype=self.task.dtype)[y]
        self.y = jnp.asarray(y)
        self.epoch = partial(jax.jit, donate_argnums=(0,))(self._epoch)

    def _epoch(self, state: Any, x: jax.Array, y: jax.Array, order: jax.Array) -> Any:
        w = self.task.workload
        batches = order.reshape(-1, w.batch_size)
        gradient = jax.grad(partial(mean_loss, activation=w.activation, loss=w.loss))

        def step(state: Any, batch: Any) -> tuple[Any, None]:
            params, m, v, t = state
            xb, yb = batch if self.gather_first else (x[batch], y[batch])
            grads = gradient(params, xb, yb)
            if w.optimizer == "adam":
                t = t + 1
                params, m, v = adam(params, grads, m, v, t, w.learning_rate)
            elif w.optimizer == "momentum":
                m = jax.tree_util.tree_map(lambda m, g: MOMENTUM * m + g, m, grads)
                params = jax.tree_util.tree_map(lambda p, m: p - w.learning_rate * m, params, m)
            else:
                params = jax.tree_util.tree_map(lambda p, g: p - w.learning_rate * g, params, grads)
            return (params, m, v, t), None

        items = (x[batches], y[batches]) if self.gather_first else batches
        state, _ = lax.scan(step, state, items, unroll=self.unroll)
        return state

    def reset(self) -> None:
        """Initial parameters; moments only if the rule has them."""
        w = self.task.workload
        params = [
            (jnp.array(W), jnp.array(b)) for W, b in zip(self.task.weights, self.task.biases, strict=True)
        ]
        m = jax.tree_util.tree_map(jnp.zeros_like, params) if w.optimizer != "sgd" else ()
        v = jax.tree_util.tree_map(jnp.zeros_like, params) if w.optimizer == "adam" else ()
        self.state = (params, m, v, jnp.zeros((), self.task.dtype))
        jax.block_until_ready(self.state)

    def train(self, orders: list[Array]) -> None:
        """One call per epoch; the clock waits for the last."""
        for order in orders:
            self.state = self.epoch(self.state, self.x, self.y, order.astype(np.int32))
        jax.block_until_ready(self.state)

    def parameters(self) -> tuple[list[Array], list[Array]]:
        """As NumPy arrays."""
        params = self.state[0]
        return [np.asarray(W) for W, _ in params], [np.asarray(b) for _, b in params]


class JaxTuned(JaxScan):
    """All rows of the epoch gathered before the scan; small steps unrolled eight times."""

    gather_first = True

    def build(self) -> None:
        """Unroll the loop if a step is so small that the loop itself costs."""
        self.unroll = 8 if self.task.workload.batch_size == 1 else 1
        super().build()
