"""Many independent small models, each with its own rows, trained for five epochs: hyper-parameter sweeps, ensembles."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from bench.peers.subject import Case
from bench.peers.workloads import ADAM, Array, Workload, initial_parameters, loss_of, make_data, make_orders

EPOCHS = 5
# (models, rows of each, units of the hidden layer, rows of a batch) by the name of a case.
CASES = {
    "256x20-32-1": (256, 2016, (20, 32, 1), 32),
    "1024x10-16-1": (1024, 512, (10, 16, 1), 16),
    "4096x4-8-1": (4096, 200, (4, 8, 1), 8),
}


class Many(ABC):
    """Base: data of shape (models, rows, inputs), targets (models, rows), one order of the rows per epoch for all."""

    check_runs = 1

    def __init__(self, case: Case) -> None:
        models, rows, sizes, batch = CASES[case.name]
        if case.quick:
            models, rows = 8, 64
        self.case = case
        self.workload = Workload("small", sizes, "relu", "mse", batch, "adam", 1e-3, rows)
        sets = [make_data(self.workload.sizes, "mse", rows, case.dtype, seed) for seed in range(models)]
        self.x = np.stack([x for x, _ in sets])
        self.y = np.stack([y for _, y in sets])
        starts = [initial_parameters(self.workload.sizes, case.dtype, seed) for seed in range(models)]
        self.start = [
            np.stack([weights[level] if kind == 0 else biases[level] for weights, biases in starts])
            for level in range(2)
            for kind in range(2)
        ]  # W1 (models, inputs, units), b1 (models, units), W2, b2
        self.orders = make_orders(rows, EPOCHS)
        self.work = float(models * rows * EPOCHS)
        self.build()

    def build(self) -> None:
        """Compile and allocate, before any clock runs."""

    @abstractmethod
    def reset(self) -> None:
        """Initial parameters, fresh optimizers."""

    @abstractmethod
    def train(self) -> None:
        """All models, all epochs."""

    @abstractmethod
    def parameters(self) -> list[Array]:
        """W1, b1, W2, b2 with the models along the first axis."""

    def run(self, times: int) -> None:
        """Train, `times` over."""
        for _ in range(times):
            self.train()

    def check(self) -> list[float]:
        """Losses of the first four models."""
        self.reset()
        self.run(1)
        W1, b1, W2, b2 = self.parameters()
        return [
            loss_of(self.workload, self.x[i], self.y[i], [W1[i], W2[i]], [b1[i], b2[i]]) for i in range(4)
        ]

    def shares(self) -> list[slice]:
        """The models split among the threads."""
        bounds = np.linspace(0, len(self.x), self.case.threads + 1).astype(int)
        return [slice(low, high) for low, high in zip(bounds, bounds[1:], strict=False)]


class Fastbp(Many):
    """`fastbp.fit_many` on a list of models."""

    nets: Any

    def build(self) -> None:
        """Make the networks; a first call loads the kernels."""
        import fastbp

        inputs, units, _ = self.workload.sizes
        layers = [fastbp.Dense(units, "relu"), fastbp.Dense(1)]
        self.make(fastbp.Sequential(layers, n_inputs=inputs, dtype=self.case.dtype))
        self.optimizer = fastbp.Adam(self.workload.learning_rate, **ADAM)
        # The orders of all epochs are one pass without shuffling, so that its batches are those of the others.
        self.rows = self.orders.reshape(-1)
        self.train()

    def make(self, net: Any) -> None:
        """Make the models, of the architecture of `net`."""
        self.nets = [net.copy() for _ in self.x]

    def reset(self) -> None:
        """Initial parameters; every call starts a new optimizer."""
        for i, net in enumerate(self.nets):
            W1, b1, W2, b2 = (values[i] for values in self.start)
            net.set_weights([W1, W2], [b1, b2])

    def train(self) -> None:
        """One call."""
        import fastbp

        fastbp.fit_many(
            self.nets,
            self.x,
            self.y,
            rows=self.rows,
            shuffle=False,
            optimizer=self.optimizer,
            batch_size=self.workload.batch_size,
            n_threads=self.case.threads,
        )

    def parameters(self) -> list[Array]:
        """Stacked."""
        return [
            np.stack([values(net) for net in self.nets])
            for values in (
                lambda net: net.weights[0],
                lambda net: net.biases[0],
                lambda net: net.weights[1],
                lambda net: net.biases[1],
            )
        ]


class FastbpStack(Fastbp):
    """`fastbp.fit_many` on a `Stack`, whose models are one array, as with the other peers."""

    def make(self, net: Any) -> None:
        """Make the stack."""
        import fastbp

        self.nets = fastbp.Stack(net, len(self.x))

    def reset(self) -> None:
        """Initial parameters; every call starts a new optimizer."""
        self.nets.theta[...] = np.concatenate(
            [values.reshape(len(self.x), -1) for values in self.start], axis=1
        )

    def parameters(self) -> list[Array]:
        """The stack's array, taken apart."""
        bounds = np.cumsum([values[0].size for values in self.start])[:-1]
        parts = np.split(self.nets.theta, bounds, axis=1)
        return [part.reshape(values.shape) for part, values in zip(parts, self.start, strict=True)]


def fit_epochs(model: Any, x: Array, y: Array, epochs: int) -> Any:
    """Fit a warm-started scikit-learn model; a module-level function, so that joblib can send it."""
    model.max_iter = epochs
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(x, y)


class ScikitLearn(Many):
    """MLPRegressor under joblib's processes."""

    def build(self) -> None:
        """One estimator per model, made so that it holds coefficients."""
        from sklearn.neural_network import MLPRegressor

        options = {
            "hidden_layer_sizes": self.workload.sizes[1:-1],
            "alpha": 0.0,
            "batch_size": self.workload.batch_size,
            "learning_rate_init": 1e-3,
            "tol": 0.0,
            "n_iter_no_change": 1_000_000_000,
            "random_state": 2,
            "warm_start": True,
        }
        self.models = [
            fit_epochs(MLPRegressor(**options), x[:32], y[:32], 1)
            for x, y in zip(self.x, self.y, strict=True)
        ]

    def reset(self) -> None:
        """Initial coefficients."""
        for i, model in enumerate(self.models):
            W1, b1, W2, b2 = (values[i].copy() for values in self.start)
            model.coefs_, model.intercepts_ = [W1, W2], [b1, b2]

    def train(self) -> None:
        """One joblib task per model."""
        from joblib import Parallel, delayed

        self.models = Parallel(n_jobs=self.case.threads)(
            delayed(fit_epochs)(model, x, y, EPOCHS)
            for model, x, y in zip(self.models, self.x, self.y, strict=True)
        )

    def parameters(self) -> list[Array]:
        """Stacked."""
        return [
            np.stack([getattr(model, name)[level] for model in self.models])
            for level in range(2)
            for name in ("coefs_", "intercepts_")
        ]


class NumpyHand(Many):
    """All models in one stacked `matmul`: the per-call cost of NumPy is paid once for all of them."""

    def reset(self) -> None:
        """Initial parameters, step 0."""
        self.theta = [values.copy() for values in self.start]
        self.m = [np.zeros_like(p) for p in self.theta]
        self.v = [np.zeros_like(p) for p in self.theta]
        self.t = [0] * self.case.threads

    def _share(self, thread: int, models: slice) -> None:
        theta, m, v = ([p[models] for p in group] for group in (self.theta, self.m, self.v))
        W1, b1, W2, b2 = theta
        batch = self.workload.batch_size
        for order in self.orders:
            for start in range(0, len(order), batch):
                index = order[start : start + batch]
                x, y = self.x[models][:, index], self.y[models][:, index]
                a = np.maximum(x @ W1 + b1[:, None], 0)
                delta = (a @ W2 + b2[:, None] - y[..., None]) * (2 / batch)
                below = (delta @ W2.transpose(0, 2, 1)) * (a > 0)
                grads = [
                    x.transpose(0, 2, 1) @ below,
                    below.sum(axis=1),
                    a.transpose(0, 2, 1) @ delta,
                    delta.sum(axis=1),
                ]
                self.t[thread] += 1
                adam_in_place(theta, grads, m, v, self.t[thread], self.workload.learning_rate)

    def train(self) -> None:
        """Each thread its share of the models."""
        with ThreadPoolExecutor(self.case.threads) as pool:
            list(pool.map(self._share, range(self.case.threads), self.shares()))

    def parameters(self) -> list[Array]:
        """Already stacked."""
        return self.theta


def adam_in_place(
    theta: list[Array], grads: list[Array], m: list[Array], v: list[Array], t: int, lr: float
) -> None:
    """Adam on each array of `theta`."""
    beta1, beta2 = ADAM["beta1"], ADAM["beta2"]
    for p, g, mean, square in zip(theta, grads, m, v, strict=True):
        mean *= beta1
        mean += (1 - beta1) * g
        square *= beta2
        square += (1 - beta2) * g * g
        p -= (lr / (1 - beta1**t)) * mean / (np.sqrt(square / (1 - beta2**t)) + ADAM["eps"])


class TorchVmap(Many):
    """torch.func: the gradient of one model, mapped over the stacked parameters; Adam by hand on the stacks."""

    compiled = False

    def build(self) -> None:
        """Tensors, and the compiled step if asked for."""
        import torch

        torch.set_num_threads(self.case.threads)
        self.torch = torch
        self.tx, self.ty = torch.from_numpy(self.x), torch.from_numpy(self.y)
        self.theta = [torch.from_numpy(values.copy()) for values in self.start]
        self.m = [torch.zeros_like(p) for p in self.theta]
        self.v = [torch.zeros_like(p) for p in self.theta]
        self.t = torch.zeros((), dtype=self.tx.dtype)

        def loss(theta: list[Any], x: Any, y: Any) -> Any:
            W1, b1, W2, b2 = theta
            z = torch.relu(x @ W1 + b1) @ W2 + b2
            return torch.mean((z[:, 0] - y) ** 2)

        gradient = torch.func.vmap(torch.func.grad(loss))
        beta1, beta2, lr = ADAM["beta1"], ADAM["beta2"], self.workload.learning_rate

        def step(theta: list[Any], m: list[Any], v: list[Any], t: Any, x: Any, y: Any) -> None:
            grads = gradient(theta, x, y)
            t.add_(1)
            size, correction = lr / (1 - beta1**t), 1 / (1 - beta2**t)
            for p, g, mean, square in zip(theta, grads, m, v, strict=True):
                mean.mul_(beta1).add_(g, alpha=1 - beta1)
                square.mul_(beta2).add_(g * g, alpha=1 - beta2)
                p.sub_(size * mean / ((square * correction).sqrt() + ADAM["eps"]))

        self.step = torch.compile(step, dynamic=False) if self.compiled else step

    def reset(self) -> None:
        """In place."""
        for p, values in zip(self.theta, self.start, strict=True):
            p.copy_(self.torch.from_numpy(values))
        for state in (*self.m, *self.v, self.t):
            state.zero_()

    def train(self) -> None:
        """One step of all models at a time."""
        with self.torch.no_grad():
            for order in self.orders:
                for index in self.torch.from_numpy(order).split(self.workload.batch_size):
                    self.step(self.theta, self.m, self.v, self.t, self.tx[:, index], self.ty[:, index])

    def parameters(self) -> list[Array]:
        """As NumPy arrays."""
        return [p.numpy() for p in self.theta]


class TorchVmapCompile(TorchVmap):
    """The same step under torch.compile."""

    compiled = True


class JaxVmap(Many):
    """One jit: a scan over the batches of all epochs, each step mapped over the models."""

    mapped = False

    def build(self) -> None:
        """Compile; each thread gets a share of the models."""
        import jax
        import jax.numpy as jnp

        from bench.peers.jax_peers import adam, mean_loss

        self.jax = jax
        lr = self.workload.learning_rate

        def one(theta: Any, x: Any, y: Any, batches: Any) -> Any:
            zeros = jax.tree_util.tree_map(jnp.zeros_like, theta)

            def step(state: Any, index: Any) -> Any:
                params, m, v, t = state
                grads = jax.grad(lambda p: mean_loss(p, x[index], y[index], "relu", "mse"))(params)
                return (*adam(params, grads, m, v, t + 1, lr), t + 1), None

            start = (theta, zeros, zeros, jnp.zeros((), x.dtype))
            return jax.lax.scan(step, start, batches)[0][0]

        def all_models(theta: Any, x: Any, y: Any, batches: Any) -> Any:
            if self.mapped:
                return jax.lax.map(lambda item: one(*item, batches), (theta, x, y))
            return jax.vmap(one, in_axes=(0, 0, 0, None))(theta, x, y, batches)

        self.all_models = jax.jit(all_models)
        self.parts = [(jnp.asarray(self.x[s]), jnp.asarray(self.y[s])) for s in self.shares()]
        self.batches = jnp.asarray(self.orders.reshape(-1, self.workload.batch_size).astype(np.int32))

    def reset(self) -> None:
        """Initial parameters of each share."""
        W1, b1, W2, b2 = (self.jax.numpy.asarray(values) for values in self.start)
        self.theta = [[(W1[s], b1[s]), (W2[s], b2[s])] for s in self.shares()]
        self.jax.block_until_ready(self.theta)

    def train(self) -> None:
        """The shares run side by side."""

        def share(theta: Any, data: Any) -> Any:
            return self.jax.block_until_ready(self.all_models(theta, *data, self.batches))

        with ThreadPoolExecutor(self.case.threads) as pool:
            self.theta = list(pool.map(share, self.theta, self.parts))

    def parameters(self) -> list[Array]:
        """The shares put together."""
        flat = [[value for pair in theta for value in pair] for theta in self.theta]
        return [np.concatenate([np.asarray(values[k]) for values in flat]) for k in range(4)]


class JaxMap(JaxVmap):
    """`lax.map` instead: one model after the other inside the compiled code, which stays in the cache."""

    mapped = True
