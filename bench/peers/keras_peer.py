"""Keras: `compile` and `fit`, on the JAX backend or, without JAX, on PyTorch's (chosen by KERAS_BACKEND)."""

from __future__ import annotations

import keras
import numpy as np

from bench.peers.subject import Training
from bench.peers.workloads import ADAM, MOMENTUM, Array


class Keras(Training):
    """`model.fit`, one epoch a call so that each has its own order; jitted if the backend can."""

    def build(self) -> None:
        """Build the model with the workload's layers."""
        w = self.task.workload
        keras.config.set_floatx(self.task.dtype)
        layers = [keras.layers.Dense(units, activation=w.activation) for units in w.sizes[1:-1]]
        self.model = keras.Sequential([keras.Input((w.sizes[0],)), *layers, keras.layers.Dense(w.sizes[-1])])
        self.loss = "mse"
        if w.loss == "cross_entropy":
            self.loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        if w.optimizer == "adam":
            self.optimizer = keras.optimizers.Adam(
                w.learning_rate, beta_1=ADAM["beta1"], beta_2=ADAM["beta2"], epsilon=ADAM["eps"]
            )
        else:
            self.optimizer = keras.optimizers.SGD(
                w.learning_rate, momentum=MOMENTUM if w.optimizer == "momentum" else 0.0
            )
        self.model.compile(self.optimizer, self.loss, steps_per_execution=self._steps(w.n_batches))
        self.y = self.task.y if w.loss == "cross_entropy" else self.task.y[:, None]

    def _steps(self, n_batches: int) -> int:
        # Keras' own remedy for dispatch cost (it unrolls, so a moderate number that divides the epoch);
        # its PyTorch backend refuses it.
        if keras.backend.backend() == "torch":
            return 1
        return max(n for n in range(1, 9) if n_batches % n == 0)

    def reset(self) -> None:
        """Initial parameters; the optimizer's variables back to zero."""
        pairs = zip(self.task.weights, self.task.biases, strict=True)
        self.model.set_weights([value for pair in pairs for value in pair])
        self.optimizer.build(self.model.trainable_variables)
        rate = self.optimizer.learning_rate
        for variable in self.optimizer.variables:
            if variable is not rate:
                variable.assign(np.zeros(variable.shape, variable.dtype))

    def train(self, orders: list[Array]) -> None:
        """Rows are put in order before each call, shuffling turned off."""
        w = self.task.workload
        for order in orders:
            self.model.fit(
                self.task.x[order], self.y[order], batch_size=w.batch_size, epochs=1, shuffle=False, verbose=0
            )

    def parameters(self) -> tuple[list[Array], list[Array]]:
        """From `get_weights`: W, b, W, b, ..."""
        values = self.model.get_weights()
        return values[::2], values[1::2]
