"""Prediction: one row through 20-64-64-1 again and again, and 100 000 rows through 784-100-10 at once."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from bench.peers.subject import Case
from bench.peers.workloads import Array, initial_parameters, make_data

NETWORKS = {"one-row": ((20, 64, 64, 1), 1), "100k-rows": ((784, 100, 10), 100_000)}


class Predicting(ABC):
    """Base: a peer gives `call`, which takes the rows and returns outputs, logits or probabilities, shape (n, o)."""

    check_runs = 1

    def __init__(self, case: Case) -> None:
        self.case = case
        self.sizes, n_rows = NETWORKS[case.name]
        self.regression = self.sizes[-1] == 1
        n_rows = min(n_rows, 500) if case.quick else n_rows
        self.x, _ = make_data(self.sizes, "mse", n_rows, case.dtype)
        self.weights, self.biases = initial_parameters(self.sizes, case.dtype)
        self.work = float(n_rows)
        self.call = self.build()

    @abstractmethod
    def build(self) -> Callable[[Array], Any]:
        """Make the model; return the call a user would make."""

    def reset(self) -> None:
        """Nothing changes by predicting."""

    def run(self, times: int) -> None:
        """Call, `times` over."""
        call, x = self.call, self.x
        for _ in range(times):
            call(x)

    def check(self) -> list[float]:
        """The value of one row; for many, how often the first class wins and the mean of the winners."""
        result = np.asarray(self.call(self.x), dtype=np.float64).reshape(len(self.x), -1)
        if self.regression:
            return [float(result[0, 0])]
        winners = result.argmax(axis=1)
        return [float(np.mean(winners == 0)), float(winners.mean())]


class Fastbp(Predicting):
    """`Sequential.predict`."""

    def build(self) -> Callable[[Array], Any]:
        """Make the network with the common parameters."""
        import fastbp

        *hidden, last = self.sizes[1:]
        layers = [*(fastbp.Dense(units, "relu") for units in hidden), fastbp.Dense(last)]
        self.net = fastbp.Sequential(layers, n_inputs=self.sizes[0], dtype=self.case.dtype)
        self.net.set_weights(self.weights, self.biases)
        return self.net.predict


class FastbpCompiled(Fastbp):
    """`kernels.predict_one` inside the user's own compiled loop."""

    def build(self) -> Callable[[Array], Any]:
        """Compile the loop."""
        super().build()
        import numba

        import fastbp.kernels

        predict_one = fastbp.kernels.predict_one

        @numba.njit
        def loop(state: Any, row: Any, out: Any, times: int) -> None:
            for _ in range(times):
                predict_one(state, row, out)

        state, row, out = self.net.compiled(), self.x[0].copy(), np.zeros(self.sizes[-1], self.x.dtype)
        self.loop = lambda times: loop(state, row, out, times)

        def call(_: Array) -> Array:
            loop(state, row, out, 1)
            return out[None]

        return call

    def run(self, times: int) -> None:
        """All calls inside the loop."""
        self.loop(times)


class NumpyHand(Predicting):
    """Preallocated: one `dot`, one add and one maximum per layer, in place."""

    def build(self) -> Callable[[Array], Any]:
        """Allocate the layers' outputs."""
        outs = [np.empty((len(self.x), o), dtype=self.x.dtype) for o in self.sizes[1:]]
        steps = list(zip(self.weights, self.biases, outs, strict=True))
        *hidden, (last_w, last_b, last_out) = steps

        def call(x: Array) -> Array:
            a = x
            for w, b, out in hidden:
                np.dot(a, w, out)
                np.add(out, b, out)
                np.maximum(out, 0, out)
                a = out
            np.dot(a, last_w, last_out)
            return np.add(last_out, last_b, last_out)

        return call


class ScikitLearn(Predicting):
    """`predict` of the regressor, `predict_proba` of the classifier."""

    def build(self) -> Callable[[Array], Any]:
        """Fit once on a few rows, then put the common parameters in."""
        from sklearn.neural_network import MLPClassifier, MLPRegressor

        x, _ = make_data(self.sizes, "mse", 200, self.case.dtype)
        y = np.arange(200) % self.sizes[-1] if not self.regression else x[:, 0]
        kind = MLPRegressor if self.regression else MLPClassifier
        model = kind(hidden_layer_sizes=self.sizes[1:-1], max_iter=1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(x, y)
        model.coefs_, model.intercepts_ = self.weights, self.biases
        return model.predict if self.regression else model.predict_proba


class TorchEager(Predicting):
    """`nn.Sequential` under inference_mode, tensors made from the NumPy rows (no copy)."""

    def module(self) -> Any:
        """The network as a torch module."""
        import torch
        from torch import nn

        torch.set_num_threads(self.case.threads)
        modules: list[Any] = []
        for (i, o), w, b in zip(pairwise(self.sizes), self.weights, self.biases, strict=True):
            linear = nn.Linear(i, o, dtype=torch.float64 if self.case.dtype == "float64" else torch.float32)
            linear.weight.data.copy_(torch.from_numpy(w.T))
            linear.bias.data.copy_(torch.from_numpy(b))
            modules += [linear, nn.ReLU()]
        return nn.Sequential(*modules[:-1]).eval()

    def build(self) -> Callable[[Array], Any]:
        """The call, from NumPy to NumPy."""
        import torch

        model = self.module()

        def call(x: Array) -> Array:
            with torch.inference_mode():
                return model(torch.from_numpy(x)).numpy()

        return call


class TorchJit(TorchEager):
    """The same module traced, frozen and optimized for inference."""

    def build(self) -> Callable[[Array], Any]:
        """Trace it."""
        import torch

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            traced = torch.jit.freeze(torch.jit.trace(self.module(), torch.from_numpy(self.x)))
        for _ in range(20):  # the fuser profiles its first calls
            traced(torch.from_numpy(self.x))

        def call(x: Array) -> Array:
            with torch.inference_mode():
                return traced(torch.from_numpy(x)).numpy()

        return call


class Jax(Predicting):
    """One jitted function of the parameters and the rows, back to NumPy."""

    def build(self) -> Callable[[Array], Any]:
        """Compile it."""
        import jax
        import jax.numpy as jnp

        from bench.peers.jax_peers import network

        params = [(jnp.asarray(w), jnp.asarray(b)) for w, b in zip(self.weights, self.biases, strict=True)]
        apply = jax.jit(lambda params, x: network(params, x, "relu"))
        return lambda x: np.asarray(apply(params, x))


class Keras(Predicting):
    """`model.predict_on_batch` for one row, `model.predict` with large batches for many."""

    def build(self) -> Callable[[Array], Any]:
        """Build and load the parameters."""
        import keras

        keras.config.set_floatx(self.case.dtype)
        *hidden, last = self.sizes[1:]
        layers = [keras.layers.Dense(units, activation="relu") for units in hidden]
        model = keras.Sequential([keras.Input((self.sizes[0],)), *layers, keras.layers.Dense(last)])
        pairs = zip(self.weights, self.biases, strict=True)
        model.set_weights([value for pair in pairs for value in pair])
        if len(self.x) == 1:
            return model.predict_on_batch
        return lambda x: model.predict(x, batch_size=4096, verbose=0)


class Skorch(TorchEager):
    """`NeuralNetRegressor.predict`."""

    def build(self) -> Callable[[Array], Any]:
        """Wrap the module."""
        from skorch import NeuralNetRegressor

        net = NeuralNetRegressor(self.module(), verbose=0).initialize()
        # initialize() copies the module with its parameters
        return net.predict
