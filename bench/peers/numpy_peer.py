"""Training in NumPy as a careful person writes it: every buffer allocated once, every ufunc with `out=`, flat Adam."""

from __future__ import annotations

import numpy as np

from bench.peers.subject import Training
from bench.peers.workloads import ADAM, MOMENTUM, Array


class NumpyHand(Training):
    """Hand-written NumPy: views of one flat parameter vector, products into preallocated arrays."""

    def build(self) -> None:
        """Allocate all that a batch needs."""
        task, sizes = self.task, self.task.workload.sizes
        n = task.workload.batch_size
        shapes = [*(w.shape for w in task.weights), *(b.shape for b in task.biases)]
        size = sum(int(np.prod(s)) for s in shapes)
        self.theta, self.grad, self.m, self.v, self.t1, self.t2 = np.zeros((6, size), dtype=task.dtype)
        self.W, self.b = self._views(self.theta)
        self.dW, self.db = self._views(self.grad)
        self.x = np.empty((n, sizes[0]), dtype=task.dtype)
        self.y = np.empty(n, dtype=task.y.dtype)
        self.a = [self.x, *(np.empty((n, o), dtype=task.dtype) for o in sizes[1:])]
        self.delta = [np.empty((n, o), dtype=task.dtype) for o in sizes[1:]]
        self.scratch = [np.empty((n, o), dtype=task.dtype) for o in sizes[1:]]
        self.column = np.empty((n, 1), dtype=task.dtype)
        self.rows = np.arange(n)

    def _views(self, flat: Array) -> tuple[list[Array], list[Array]]:
        views, at = [], 0
        for like in (*self.task.weights, *self.task.biases):
            views.append(flat[at : at + like.size].reshape(like.shape))
            at += like.size
        return views[: len(self.task.weights)], views[len(self.task.weights) :]

    def reset(self) -> None:
        """Initial parameters, no momentum, step 0."""
        for view, value in zip((*self.W, *self.b), (*self.task.weights, *self.task.biases), strict=True):
            view[:] = value
        self.m[:] = 0
        self.v[:] = 0
        self.t = 0

    def train(self, orders: list[Array]) -> None:
        """The whole loop, batch by batch."""
        n = self.task.workload.batch_size
        update = {"sgd": self._sgd, "momentum": self._momentum, "adam": self._adam}[
            self.task.workload.optimizer
        ]
        for order in orders:
            for start in range(0, len(order), n):
                index = order[start : start + n]
                # mode="clip": with the default, take() goes through a buffer whenever out= is given
                np.take(self.task.x, index, axis=0, out=self.x, mode="clip")
                np.take(self.task.y, index, out=self.y, mode="clip")
                self._gradient()
                update()

    def _gradient(self) -> None:
        relu, last = self.task.workload.activation == "relu", len(self.W) - 1
        for level in range(last + 1):
            a = self.a[level + 1]
            np.dot(self.a[level], self.W[level], out=a)
            a += self.b[level]
            if level < last:
                if relu:
                    np.maximum(a, 0, out=a)
                else:
                    np.tanh(a, out=a)
        self._output_delta(self.a[-1], self.delta[-1])
        for level in range(last, -1, -1):
            delta = self.delta[level]
            np.dot(self.a[level].T, delta, out=self.dW[level])
            delta.sum(axis=0, out=self.db[level])
            if level:
                below, a, s = self.delta[level - 1], self.a[level], self.scratch[level - 1]
                np.dot(delta, self.W[level].T, out=below)
                if relu:
                    np.sign(a, out=s)
                else:
                    np.multiply(a, a, out=s)
                    np.subtract(1, s, out=s)
                below *= s

    def _output_delta(self, z: Array, delta: Array) -> None:
        n = len(z)
        if self.task.workload.loss == "mse":
            np.subtract(z[:, 0], self.y, out=delta[:, 0])
            delta *= 2.0 / n
            return
        np.max(z, axis=1, keepdims=True, out=self.column)
        np.subtract(z, self.column, out=delta)
        np.exp(delta, out=delta)
        np.sum(delta, axis=1, keepdims=True, out=self.column)
        delta /= self.column
        delta[self.rows, self.y] -= 1
        delta *= 1.0 / n

    def _sgd(self) -> None:
        self.grad *= self.task.workload.learning_rate
        self.theta -= self.grad

    def _momentum(self) -> None:
        self.m *= MOMENTUM
        self.m += self.grad
        np.multiply(self.m, self.task.workload.learning_rate, out=self.t1)
        self.theta -= self.t1

    def _adam(self) -> None:
        self.t += 1
        beta1, beta2 = ADAM["beta1"], ADAM["beta2"]
        step = self.task.workload.learning_rate / (1 - beta1**self.t)
        self.m *= beta1
        np.multiply(self.grad, 1 - beta1, out=self.t1)
        self.m += self.t1
        self.v *= beta2
        np.multiply(self.grad, self.grad, out=self.t1)
        self.t1 *= 1 - beta2
        self.v += self.t1
        np.multiply(self.v, 1 / (1 - beta2**self.t), out=self.t1)
        np.sqrt(self.t1, out=self.t1)
        self.t1 += ADAM["eps"]
        np.divide(self.m, self.t1, out=self.t2)
        self.t2 *= step
        self.theta -= self.t2

    def parameters(self) -> tuple[list[Array], list[Array]]:
        """Views of theta."""
        return self.W, self.b
